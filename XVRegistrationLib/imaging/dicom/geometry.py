"""What a DICOM X-ray states of its geometry, each value with its origin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from XVRegistrationLib.imaging.dicom.dataset import SECONDARY_CAPTURE, numbers, positive
from XVRegistrationLib.imaging.partial import user_distance, user_spacing

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

NO_SID, NO_SPACING = "DistanceSourceToDetector (0018,1110)", "ImagerPixelSpacing (0018,1164)"


def distance(dataset: Dataset, sid: float | None) -> tuple[float | None, str]:
    """Distance source-detector in mm, None if missing, and where it came from."""
    if sid is not None:
        return user_distance(sid), "user"
    value = positive(dataset, "DistanceSourceToDetector", 1)
    if value is None or dataset.SOPClassUID == SECONDARY_CAPTURE:
        return None, NO_SID
    return value[0], "tag"


def pixel_spacing(
    dataset: Dataset, spacing: float | tuple[float, float] | None
) -> tuple[tuple[float, float] | None, str]:
    """Pixel spacing (dx, dy) on the detector in mm and where it came from, or None and what is missing."""
    if spacing is not None:
        return user_spacing(spacing), "user"
    if dataset.SOPClassUID == SECONDARY_CAPTURE:
        return None, NO_SPACING
    # DICOM gives the distance between rows first.
    imager = positive(dataset, "ImagerPixelSpacing", 2)
    if imager is not None:
        return (imager[1], imager[0]), "tag"
    plain = positive(dataset, "PixelSpacing", 2)
    if plain is None:
        return None, NO_SPACING
    calibration = str(dataset.get("PixelSpacingCalibrationType") or "").upper()
    magnification = positive(dataset, "EstimatedRadiographicMagnificationFactor", 1)
    # With either of these, PixelSpacing holds at some depth in the patient and must not be combined with the distance.
    if calibration in ("GEOMETRY", "FIDUCIAL") or (magnification is not None and magnification[0] != 1):
        return None, f"{NO_SPACING} (its PixelSpacing (0028,0030) is calibrated in the patient)"
    return (plain[1], plain[0]), "assumed"


def angles(dataset: Dataset) -> tuple[float | None, float | None]:
    """Primary and secondary angle of the C-arm in degrees, None where not stated."""
    if dataset.SOPClassUID == SECONDARY_CAPTURE:
        return None, None
    primary, secondary = (numbers(dataset, f"Positioner{which}Angle", 1) for which in ("Primary", "Secondary"))
    return None if primary is None else primary[0], None if secondary is None else secondary[0]
