"""DICOM X-rays: reading single-frame DX, CR, XA and RF images with their geometry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.partial import PartialXray, mirrored_origin, user_distance, user_spacing

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset, FileDataset

    from XVRegistrationLib.imaging.xray import Scale, Xray

_CR = "1.2.840.10008.5.1.4.1.1.1"
_DX_FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"
_DX_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
_XA = "1.2.840.10008.5.1.4.1.1.12.1"
_RF = "1.2.840.10008.5.1.4.1.1.12.2"
_ENHANCED = ("1.2.840.10008.5.1.4.1.1.12.1.1", "1.2.840.10008.5.1.4.1.1.12.2.1")
_PROJECTION_CLASSES = (_CR, _DX_FOR_PRESENTATION, _DX_FOR_PROCESSING, _XA, _RF)
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

_NO_SID, _NO_SPACING = "DistanceSourceToDetector (0018,1110)", "ImagerPixelSpacing (0018,1164)"
_GIVE = {
    "sdd": "the distance source-detector in mm with --sid",
    "spacing": "the pixel spacing on the detector in mm with --spacing",
}


def read_dicom_xray(
    path: str | os.PathLike[str],
    *,
    sid: float | None = None,
    spacing: float | tuple[float, float] | None = None,
    mirrored: bool = False,
) -> Xray:
    """X-ray of a single-frame DX, CR, XA or RF file, with its geometry in mm.

    `sid` (mm) and `spacing` (mm, or mm along columns and rows) take precedence over the header. A secondary capture says
    nothing reliable about its geometry and needs both. Raises InputError, which names the field that is missing.
    """
    return whole(read_dicom_parts(path, sid=sid, spacing=spacing, mirrored=mirrored), path)


def whole(parts: PartialXray, path: str | os.PathLike[str]) -> Xray:
    """The X-ray of a DICOM file's parts; raises InputError, which names the field that is missing."""
    if parts.missing:
        advice = [_GIVE[name] for name in parts.missing]
        raise InputError(f"{path} does not state {' and '.join(parts.absent.values())}; give {' and '.join(advice)}.")
    return parts.complete()


def read_dicom_parts(
    path: str | os.PathLike[str],
    *,
    sid: float | None = None,
    spacing: float | tuple[float, float] | None = None,
    mirrored: bool | None = None,
) -> PartialXray:
    """What a single-frame DX, CR, XA or RF file states of an X-ray, in mm and degrees; what it lacks is left open.

    With `mirrored` None an image of a C-arm that states its angle is taken as mirrored (see geometry.angles). Raises
    InputError for a file that holds no X-ray.
    """
    path = Path(path)
    dataset = _read_dataset(path)
    _check_image(dataset, path)
    values = _modality_values(dataset, path)
    distance, distance_origin = _distance(dataset, sid)
    pixel_spacing, spacing_origin = _pixel_spacing(dataset, spacing)
    pixels, scale, scale_origin = _grey_scale(dataset, values)
    angles = _angles(dataset)
    sod = None if dataset.SOPClassUID == _SECONDARY_CAPTURE else _positive(dataset, "DistanceSourceToPatient", 1)
    origins = {
        "sdd": distance_origin,
        "spacing": spacing_origin,
        "principal_point": "assumed",
        "size": "tag",
        "mirrored": mirrored_origin(mirrored),
        "scale": scale_origin,
        "primary_angle": "tag",
        "secondary_angle": "tag",
        "sod": "tag",
    }
    optional = {"primary_angle": angles[0], "secondary_angle": angles[1], "sod": None if sod is None else sod[0]}
    needed = {"sdd": distance, "spacing": pixel_spacing}
    unknown = {name for name, value in {**optional, **needed}.items() if value is None}
    return PartialXray(
        name=path.stem,
        pixels=pixels,
        scale=scale,
        path=str(path.resolve()),
        mirrored=angles[0] is not None if mirrored is None else mirrored,
        sdd=distance,
        spacing=pixel_spacing,
        primary_angle=optional["primary_angle"],
        secondary_angle=optional["secondary_angle"],
        sod=optional["sod"],
        origins={name: origin for name, origin in origins.items() if name not in unknown},
        absent={name: origins[name] for name in needed if name in unknown},
    )


def _read_dataset(path: Path) -> FileDataset:
    import pydicom
    from pydicom.errors import InvalidDicomError

    if not path.is_file():
        what = "is a folder; give the file of one X-ray" if path.is_dir() else "does not exist"
        raise InputError(f"{path} {what}.")
    try:
        return pydicom.dcmread(path)
    except InvalidDicomError as e:
        raise InputError(f"{path} is not a DICOM file.") from e
    # A damaged file may fail anywhere in the parser; whatever it is, the file is at fault and not the program.
    except Exception as e:
        raise InputError(f"{path} cannot be read as DICOM: {e}") from e


def _check_image(dataset: Dataset, path: Path) -> None:
    """Raise InputError unless this is one frame of grey values of a projection X-ray."""
    sop_class = dataset.get("SOPClassUID")
    if sop_class is None:
        raise InputError(f"{path} has no SOPClassUID (0008,0016), so that it is not known what it holds.")
    if "PixelData" not in dataset:
        raise InputError(f"{path} holds no image ({sop_class.name}); give a DX, CR, XA or RF image.")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise InputError(
            f"{path} holds {frames} frames; only single-frame X-rays are read. Export the frame to register as one image."
        )
    if sop_class in _ENHANCED:
        raise InputError(
            f"{path} is an {sop_class.name} object, which is not read; export it as a plain XA or RF image."
        )
    if sop_class not in (*_PROJECTION_CLASSES, _SECONDARY_CAPTURE):
        raise InputError(f"{path} is not a projection X-ray but {sop_class.name}; give a DX, CR, XA or RF image.")
    if int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise InputError(f"{path} is a colour image; an X-ray of grey values (SamplesPerPixel 1) is needed.")


def _modality_values(dataset: Dataset, path: Path) -> NDArray[Any]:
    """(H, W) pixel values after the modality transform (rescale or look-up table)."""
    try:
        from pydicom.pixels.processing import apply_modality_lut
    except ImportError:  # before pydicom 3, as in Slicer 5.10
        from pydicom.pixel_data_handlers.util import apply_modality_lut  # type: ignore[no-redef,unused-ignore]

    try:
        stored = dataset.pixel_array
        # For DX the rescale is the identity; an identity must not turn integers into floats.
        identity = "ModalityLUTSequence" not in dataset and (
            float(dataset.get("RescaleSlope") or 1) == 1 and float(dataset.get("RescaleIntercept") or 0) == 0
        )
        values = stored if identity else apply_modality_lut(stored, dataset)
    except Exception as e:
        reason = " ".join(str(e).split())
        raise InputError(f"The pixels of {path} cannot be decoded: {reason}") from e
    if values.ndim != 2:
        raise InputError(f"{path} does not hold one two-dimensional image: its pixels have shape {values.shape}.")
    return values


def _distance(dataset: Dataset, sid: float | None) -> tuple[float | None, str]:
    """Distance source-detector in mm, None if missing, and where it came from."""
    if sid is not None:
        return user_distance(sid), "user"
    value = _positive(dataset, "DistanceSourceToDetector", 1)
    if value is None or dataset.SOPClassUID == _SECONDARY_CAPTURE:
        return None, _NO_SID
    return value[0], "tag"


def _pixel_spacing(
    dataset: Dataset, spacing: float | tuple[float, float] | None
) -> tuple[tuple[float, float] | None, str]:
    """Pixel spacing (dx, dy) on the detector in mm and where it came from, or None and what is missing."""
    if spacing is not None:
        return user_spacing(spacing), "user"
    if dataset.SOPClassUID == _SECONDARY_CAPTURE:
        return None, _NO_SPACING
    # DICOM gives the distance between rows first.
    imager = _positive(dataset, "ImagerPixelSpacing", 2)
    if imager is not None:
        return (imager[1], imager[0]), "tag"
    plain = _positive(dataset, "PixelSpacing", 2)
    if plain is None:
        return None, _NO_SPACING
    calibration = str(dataset.get("PixelSpacingCalibrationType") or "").upper()
    magnification = _positive(dataset, "EstimatedRadiographicMagnificationFactor", 1)
    # With either of these, PixelSpacing holds at some depth in the patient and must not be combined with the distance.
    if calibration in ("GEOMETRY", "FIDUCIAL") or (magnification is not None and magnification[0] != 1):
        return None, f"{_NO_SPACING} (its PixelSpacing (0028,0030) is calibrated in the patient)"
    return (plain[1], plain[0]), "assumed"


def _angles(dataset: Dataset) -> tuple[float | None, float | None]:
    """Primary and secondary angle of the C-arm in degrees, None where not stated."""
    if dataset.SOPClassUID == _SECONDARY_CAPTURE:
        return None, None
    primary, secondary = (_numbers(dataset, f"Positioner{which}Angle", 1) for which in ("Primary", "Secondary"))
    return None if primary is None else primary[0], None if secondary is None else secondary[0]


def _positive(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """`count` positive numbers of an element, or None if it is absent, empty, zero or malformed."""
    values = _numbers(dataset, keyword, count)
    return values if values is not None and min(values) > 0 else None


def _numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """`count` numbers of an element, or None if it is absent, empty or malformed."""
    try:
        values = np.atleast_1d(np.array(dataset.get(keyword), dtype=np.float64))
    except (TypeError, ValueError):
        return None
    if values.shape != (count,) or not np.isfinite(values).all():
        return None
    return tuple(float(v) for v in values)


def _grey_scale(dataset: Dataset, values: NDArray[Any]) -> tuple[NDArray[Any], Scale, str]:
    """Pixels (H, W), their scale, and whether a tag said so.

    PixelIntensityRelationship and its sign describe the stored values and win over the photometric interpretation, which
    is only about display. XA and RF have no sign: there the relationship is a direct one, and the modality look-up table
    of a LOG image makes it linear (PS3.3, A.16.3). Without a relationship the image is one for display, where dense is
    dark in XA and RF and bright in DX and CR.
    """
    relationship = str(dataset.get("PixelIntensityRelationship") or "").upper()
    sign = dataset.get("PixelIntensityRelationshipSign")
    fluoroscopy = dataset.SOPClassUID in (_XA, _RF)
    stated = relationship in ("LIN", "LOG") and (sign in (1, -1) or fluoroscopy)
    if stated:
        rises_with_intensity = sign != -1
        linear = relationship == "LIN" or (fluoroscopy and "ModalityLUTSequence" in dataset)
    else:
        shown_inverted = str(dataset.get("PhotometricInterpretation") or "").upper() == "MONOCHROME1"
        rises_with_intensity = sign == 1 if sign in (1, -1) else fluoroscopy != shown_inverted
        linear = relationship == "LIN"
    if linear != rises_with_intensity:
        values = _top(dataset, values) - values
    return values, "intensity" if linear else "attenuation", "tag" if stated else "assumed"


def _top(dataset: Dataset, values: NDArray[Any]) -> Any:
    """The value that inversion subtracts from: the highest that can be stored, so that inverting twice changes nothing."""
    top = 2 ** int(dataset.get("BitsStored") or 16) - 1
    if values.dtype.kind != "u" or int(values.max()) > top:
        return values.max()
    return values.dtype.type(top)
