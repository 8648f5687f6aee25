"""How far source, patient and detector are apart, as a DICOM X-ray states it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from XVRegistrationLib.imaging.dicom.dataset import DX_FOR_PRESENTATION, DX_FOR_PROCESSING
from XVRegistrationLib.imaging.dicom.stated import DISTANCE_MM, Stated, is_stated, label, within, word
from XVRegistrationLib.imaging.partial import user_distance

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

NO_SID = "DistanceSourceToDetector (0018,1110)"
_MAGNIFICATION = (1.0, 20.0)
_AGREE = 0.02
"""Part by which a stated magnification may differ from that of the stated distances."""


def distances(dataset: Dataset, sid: float | None) -> tuple[Stated[float], Stated[float]]:
    """From the source to the detector, and to the isocentre, mm (PS3.3 C.8.7.5, C.8.11.5, C.8.19.6.14).

    The first is derived from the second and the magnification where it is not stated, and the other way round: the
    magnification is their ratio, DICOM says. A source that would be behind the detector is left out. What a DX image calls
    the distance to the patient ends at the table or bucky behind him (C.8.11.5), and is not one to an isocentre.
    """
    detector, notes = within(dataset, "DistanceSourceToDetector", 1, DISTANCE_MM)
    center, center_notes, center_keyword = _source_to_isocenter(dataset)
    magnification, more = within(dataset, "EstimatedRadiographicMagnificationFactor", 1, _MAGNIFICATION, "")
    ratio = None if magnification is None or magnification[0] == 1 else magnification[0]
    notes = notes + more
    if sid is not None:
        sdd = Stated(user_distance(sid), "user")
    elif detector is not None:
        sdd = Stated(detector[0], "tag", notes)
    elif center is not None and ratio is not None and center * ratio <= DISTANCE_MM[1]:
        said = f"The distance source-detector is {label(center_keyword)} times the magnification, {center:g} x {ratio:g} mm."
        sdd = Stated(center * ratio, "derived", (*notes, said))
    else:
        sdd = Stated(None, NO_SID, notes)
    if _ends_at_table(dataset, center_keyword):
        said = (
            f"{label(center_keyword)} of a radiograph ends at the table or bucky, not at an isocentre: it was not used."
        )
        return sdd, Stated(None, "", center_notes if center is None else (*center_notes, said))
    return sdd, _isocenter(sdd.value, center, center_keyword, ratio, center_notes)


def magnification_at_patient(dataset: Dataset) -> float | None:
    """How much larger things at the isocentre are on the detector: as stated, or by the stated distances; None if neither is."""
    stated, _ = within(dataset, "EstimatedRadiographicMagnificationFactor", 1, _MAGNIFICATION, "")
    if stated is not None:
        return stated[0]
    detector, _ = within(dataset, "DistanceSourceToDetector", 1, DISTANCE_MM)
    center, _, keyword = _source_to_isocenter(dataset)
    if detector is None or center is None or center >= detector[0] or _ends_at_table(dataset, keyword):
        return None
    return detector[0] / center


def _ends_at_table(dataset: Dataset, keyword: str) -> bool:
    """Whether that distance is a radiograph's to its table or bucky (PS3.3, C.8.11.5).

    A C-arm has neither, for which the standard leaves it open: it is taken to be to the isocentre, as in its XA images.
    """
    if keyword != "DistanceSourceToPatient" or dataset.get("SOPClassUID") not in (
        DX_FOR_PRESENTATION,
        DX_FOR_PROCESSING,
    ):
        return False
    kind = word(dataset, "PositionerType")
    return not (kind == "CARM" or (not kind and is_stated(dataset, "PositionerPrimaryAngle")))


def _source_to_isocenter(dataset: Dataset) -> tuple[float | None, tuple[str, ...], str]:
    """That distance in mm, notes, and the element that it is from; plain XA and RF call it the distance to the patient."""
    notes: tuple[str, ...] = ()
    for keyword in ("DistanceSourceToIsocenter", "DistanceSourceToPatient"):
        value, note = within(dataset, keyword, 1, DISTANCE_MM)
        notes += note
        if value is not None:
            return value[0], notes, keyword
    return None, notes, "DistanceSourceToPatient"


def _isocenter(
    sdd: float | None, center: float | None, keyword: str, ratio: float | None, notes: tuple[str, ...]
) -> Stated[float]:
    if center is not None and sdd is not None and center >= sdd:
        said = (
            f"{label(keyword)} is {center:g} mm, but the detector is only {sdd:g} mm from the source: it was ignored."
        )
        center, notes = None, (*notes, said)
    if center is None:
        if sdd is None or ratio is None or sdd / ratio < DISTANCE_MM[0]:
            return Stated(None, "", notes)
        said = f"The distance source-isocentre is that to the detector over the magnification, {sdd:g} / {ratio:g} mm."
        return Stated(sdd / ratio, "derived", (*notes, said))
    if sdd is not None and ratio is not None and abs(ratio * center / sdd - 1) > _AGREE:
        said = (
            f"{label('EstimatedRadiographicMagnificationFactor')} is {ratio:g}, but the distances give {sdd / center:.4g}: "
            "it was ignored."
        )
        notes = (*notes, said)
    return Stated(center, "tag", notes)
