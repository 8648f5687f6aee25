"""Grey values of a DICOM X-ray, and what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.dicom.dataset import RF, XA

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from XVRegistrationLib.imaging.xray import Scale


def modality_values(dataset: Dataset, path: Path) -> NDArray[Any]:
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


def stored_values(path: str, frame: int | None) -> NDArray[Any] | None:
    """(H, W) pixel values of a file, or of a frame of it, as they are stored; None where there is no such image."""
    import pydicom

    try:
        try:
            from pydicom.pixels.utils import pixel_array

            values = pixel_array(path, index=frame)
        except ImportError:  # before pydicom 3, as in Slicer 5.10
            whole = pydicom.dcmread(path).pixel_array
            values = whole if frame is None else whole[frame]
    except Exception:  # whoever reads the X-ray says what is wrong with it
        return None
    return values if values.ndim == 2 else None


def grey_scale(dataset: Dataset, values: NDArray[Any]) -> tuple[NDArray[Any], Scale, str]:
    """Pixels (H, W), their scale, and whether a tag said so.

    PixelIntensityRelationship and its sign describe the stored values and win over the photometric interpretation, which
    is only about display. XA and RF have no sign: there the relationship is a direct one, and the modality look-up table
    of a LOG image makes it linear (PS3.3, A.16.3). Without a relationship the image is one for display, where dense is
    dark in XA and RF and bright in DX and CR.
    """
    relationship = str(dataset.get("PixelIntensityRelationship") or "").upper()
    sign = dataset.get("PixelIntensityRelationshipSign")
    fluoroscopy = dataset.SOPClassUID in (XA, RF)
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
