"""DICOM X-rays: reading single-frame DX, CR, XA and RF images with their geometry, and writing plain DX images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import replacing
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.imaging.xray import Scale, Xray

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset, FileDataset

_CR = "1.2.840.10008.5.1.4.1.1.1"
_DX_FOR_PRESENTATION = "1.2.840.10008.5.1.4.1.1.1.1"
_DX_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"
_XA = "1.2.840.10008.5.1.4.1.1.12.1"
_RF = "1.2.840.10008.5.1.4.1.1.12.2"
_ENHANCED = ("1.2.840.10008.5.1.4.1.1.12.1.1", "1.2.840.10008.5.1.4.1.1.12.2.1")
_PROJECTION_CLASSES = (_CR, _DX_FOR_PRESENTATION, _DX_FOR_PROCESSING, _XA, _RF)
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

_NO_SID, _GIVE_SID = "DistanceSourceToDetector (0018,1110)", "the distance source-detector in mm with --sid"
_NO_SPACING, _GIVE_SPACING = "ImagerPixelSpacing (0018,1164)", "the pixel spacing on the detector in mm with --spacing"


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
    path = Path(path)
    dataset = _read_dataset(path)
    _check_image(dataset, path)
    values = _modality_values(dataset, path)
    distance, distance_origin = _distance(dataset, sid)
    pixel_spacing, spacing_origin = _pixel_spacing(dataset, spacing)
    if distance is None or pixel_spacing is None:
        missing = [_NO_SID] * (distance is None) + [spacing_origin] * (pixel_spacing is None)
        advice = [_GIVE_SID] * (distance is None) + [_GIVE_SPACING] * (pixel_spacing is None)
        raise InputError(f"{path} does not state {' and '.join(missing)}; give {' and '.join(advice)}.")
    pixels, scale, scale_origin = _grey_scale(dataset, values)
    height, width = pixels.shape
    return Xray(
        name=path.stem,
        pixels=pixels,
        intrinsics=Intrinsics.centered(distance, pixel_spacing, (width, height), mirrored),
        scale=scale,
        path=str(path.resolve()),
        origins={
            "sdd": distance_origin,
            "spacing": spacing_origin,
            "principal_point": "assumed",
            "size": "tag",
            "mirrored": "user" if mirrored else "assumed",
            "scale": scale_origin,
        },
    )


def user_distance(sid: float) -> float:
    """The distance source-detector that a user gave, mm; InputError unless it is positive."""
    if not (np.isfinite(sid) and sid > 0):
        raise InputError(f"The distance from source to detector (--sid) must be a positive number of mm, not {sid}.")
    return float(sid)


def user_spacing(spacing: float | tuple[float, float]) -> tuple[float, float]:
    """The pixel spacing that a user gave as (dx, dy), mm; InputError unless it is positive."""
    values = np.broadcast_to(np.asarray(spacing, dtype=np.float64), (2,))
    if not (np.isfinite(values).all() and values.min() > 0):
        raise InputError(f"The pixel spacing (--spacing) must be one or two positive numbers of mm, not {spacing}.")
    return float(values[0]), float(values[1])


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
    from pydicom.pixels.processing import apply_modality_lut

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


def _positive(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """`count` positive numbers of an element, or None if it is absent, empty, zero or malformed."""
    try:
        values = np.atleast_1d(np.array(dataset.get(keyword), dtype=np.float64))
    except (TypeError, ValueError):
        return None
    if values.shape != (count,) or not np.isfinite(values).all() or values.min() <= 0:
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


def make_dicom_ids(seed: int | None = None) -> tuple[str, str]:
    """UIDs of a new study and a series in it; random, or always the same ones for a seed."""
    return _uid(seed, "study"), _uid(seed, "series")


def _uid(seed: int | None, what: str) -> str:
    import uuid

    number = uuid.uuid4() if seed is None else uuid.uuid5(uuid.NAMESPACE_OID, f"XVRegistration {seed} {what}")
    return f"2.25.{number.int}"  # the root under which anyone may make UIDs out of UUIDs (PS3.5, B.2)


def write_dicom_dx(
    path: str | os.PathLike[str],
    pixels: NDArray[np.uint16],
    intrinsics: Intrinsics,
    *,
    ids: tuple[str, str] | None = None,
    seed: int | None = None,
    instance_number: int = 1,
    bits_stored: int = 16,
) -> None:
    """Write (H, W) linear intensities as a DX image For Processing, with its SID and spacing but no pose.

    Images that belong together share `ids`, the UIDs of study and series. With a `seed` the file is always the same.
    """
    pixels = np.ascontiguousarray(pixels)
    if pixels.dtype != np.uint16 or pixels.shape != intrinsics.size[::-1]:
        raise ValueError(f"{pixels.dtype} pixels {pixels.shape} given; uint16 {intrinsics.size[::-1]} are needed.")
    if not 1 <= bits_stored <= 16 or int(pixels.max()) >= 2**bits_stored:
        raise ValueError(f"Pixels up to {pixels.max()} do not fit into {bits_stored} bits.")
    dataset = _dx_dataset(pixels, intrinsics, ids or make_dicom_ids(seed), seed, instance_number, bits_stored)
    with replacing(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)


def _dx_dataset(
    pixels: NDArray[np.uint16], intrinsics: Intrinsics, ids: tuple[str, str], seed: int | None, number: int, bits: int
) -> Dataset:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian
    from pydicom.valuerep import format_number_as_ds

    (dx, dy), (width, height) = intrinsics.spacing, intrinsics.size
    row_column = [format_number_as_ds(dy), format_number_as_ds(dx)]
    d = Dataset()
    d.SOPClassUID = _DX_FOR_PROCESSING
    d.StudyInstanceUID, d.SeriesInstanceUID = ids
    d.SOPInstanceUID = _uid(seed, f"{d.SeriesInstanceUID} {number}")
    d.PatientName, d.PatientID = "Anonymous", "Anonymous"
    # What the standard wants present, but nobody needs to know. Which way the patient lies is part of the pose, and a
    # simulated X-ray must not give that away.
    d.PatientBirthDate = d.PatientSex = d.PatientOrientation = d.StudyDate = d.StudyTime = d.ContentDate = ""
    d.ContentTime = d.AcquisitionDate = d.AcquisitionTime = d.AccessionNumber = d.StudyID = ""
    d.ReferringPhysicianName = d.Manufacturer = ""
    d.PatientIdentityRemoved, d.DeidentificationMethod = "YES", "Simulated image, no patient data written"
    d.Modality, d.PresentationIntentType = "DX", "FOR PROCESSING"
    d.SeriesNumber, d.InstanceNumber = 1, number
    d.ImageType = ["ORIGINAL", "PRIMARY", ""]
    d.ImageLaterality, d.AnatomicRegionSequence, d.AcquisitionContextSequence = "U", [], []
    d.BurnedInAnnotation, d.LossyImageCompression = "NO", "00"
    d.DetectorType, d.DistanceSourceToDetector = "DIRECT", format_number_as_ds(intrinsics.sdd)
    d.ImagerPixelSpacing = d.DetectorElementSpacing = d.DetectorElementPhysicalSize = row_column
    d.DetectorActiveDimensions = [format_number_as_ds(height * dy), format_number_as_ds(width * dx)]
    d.DetectorActiveShape, d.DetectorConditionsNominalFlag = "RECTANGLE", "YES"
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.Rows, d.Columns = height, width
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, bits, bits - 1, 0
    d.PixelIntensityRelationship, d.PixelIntensityRelationshipSign = "LIN", 1
    d.RescaleIntercept, d.RescaleSlope, d.RescaleType = 0, 1, "US"
    d.PresentationLUTShape = "IDENTITY"
    d.add_new("PixelData", "OW", pixels.astype("<u2").tobytes())
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return d
