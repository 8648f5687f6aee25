"""How large a pixel is on the detector, as a DICOM X-ray states it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.imaging.dicom.dataset import numbers
from XVRegistrationLib.imaging.dicom.distances import magnification_at_patient
from XVRegistrationLib.imaging.dicom.field_of_view import field_of_view, stored_turn
from XVRegistrationLib.imaging.dicom.stated import EXTENT_MM, SPACING_MM, Stated, label, within, word
from XVRegistrationLib.imaging.partial import user_spacing

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Spacing = tuple[float, float]
"""Along columns and along rows, mm: (dx, dy). DICOM gives the distance between rows first."""

NO_SPACING = "ImagerPixelSpacing (0018,1164)"
_AGREE = 0.02
_SQUARE = 0.05
"""Part by which the sides of a derived pixel may differ: more says that the field of view is not the image."""
_CASSETTE = re.compile(r"(\d{1,2})(CM|IN)X(\d{1,2})\2")


def pixel_spacing(dataset: Dataset, spacing: float | Spacing | None) -> Stated[Spacing]:
    """Pixel spacing on the detector (PS3.3 10.7.1 and C.8.11.4.1.1).

    In this order: the user's; ImagerPixelSpacing; PixelSpacing at a stated depth, times the magnification there;
    detector elements times binning; the field of view over the pixels; PixelSpacing of which nobody says that it is
    not at the detector; the image intensifier's size; the cassette's.
    """
    if spacing is not None:
        return Stated(user_spacing(spacing), "user")
    imager, notes = within(dataset, "ImagerPixelSpacing", 2, SPACING_MM)
    if imager is not None:
        found = (imager[1], imager[0])
        return Stated(found, "tag", notes + _doubts(dataset, found))
    plain, more = within(dataset, "PixelSpacing", 2, SPACING_MM)
    notes += more
    in_patient = _calibrated_in_patient(dataset)
    missing = f"{NO_SPACING} (its PixelSpacing (0028,0030) is calibrated in the patient)"
    if plain is None:
        in_patient, missing = False, NO_SPACING
    elif word(dataset, "PixelSpacingCalibrationType") == "GEOMETRY":
        corrected = _at_detector(dataset, (plain[1], plain[0]))
        notes += () if corrected is None else corrected.notes
        if corrected is not None and corrected.value is not None:
            return Stated(corrected.value, corrected.origin, notes)
    for way in (_elements, _field_of_view):
        derived = way(dataset)
        notes += derived.notes
        if derived.value is not None:
            return Stated(derived.value, "derived", notes)
    if plain is not None and not in_patient:
        said = f"{label('PixelSpacing')} is taken to be at the detector: the file does not say where it holds."
        return Stated((plain[1], plain[0]), "assumed", (*notes, said))
    for way in (_intensifier, _cassette):
        derived = way(dataset)
        notes += derived.notes
        if derived.value is not None:
            return Stated(derived.value, "derived", notes)
    return Stated(None, missing, notes)


def _calibrated_in_patient(dataset: Dataset) -> bool:
    """Whether PixelSpacing holds, or may hold, at some depth in the patient: then it does not go with the distance."""
    if word(dataset, "PixelSpacingCalibrationType") in ("GEOMETRY", "FIDUCIAL"):
        return True
    stated = numbers(dataset, "EstimatedRadiographicMagnificationFactor", 1)
    return stated is not None and stated[0] > 0 and stated[0] != 1


def _at_detector(dataset: Dataset, spacing: Spacing) -> Stated[Spacing] | None:
    """A spacing that was corrected for the geometry at the patient's depth (10.7.1.3), back at the detector."""
    magnification = magnification_at_patient(dataset)
    if magnification is None:
        return None
    value = (spacing[0] * magnification, spacing[1] * magnification)
    said = f"The spacing is {label('PixelSpacing')}, which holds in the patient, times the magnification {magnification:.4g}."
    return _sensible(value, (said,))


def _elements(dataset: Dataset) -> Stated[Spacing]:
    """Distance of detector elements times those that make a pixel."""
    pitch, notes = within(dataset, "DetectorElementSpacing", 2, SPACING_MM)
    binning = numbers(dataset, "DetectorBinning", 2)
    # Less than one where pixels were made up between elements (PS3.3, C.8.11.4.1.1).
    if pitch is None or binning is None or min(binning) <= 0 or max(binning) > 64:
        return Stated(None, "", notes)
    said = f"The spacing is {label('DetectorElementSpacing')} times {label('DetectorBinning')}."
    return _sensible((pitch[1] * binning[1], pitch[0] * binning[0]), (*notes, said))


def _field_of_view(dataset: Dataset) -> Stated[Spacing]:
    sides, notes = field_of_view(dataset)
    size = _rows_columns(dataset)
    if sides is None or size is None:
        return Stated(None, "", notes)
    (rows, columns), (height, width) = size, _as_shown(dataset, sides, size)
    dx, dy = width / columns, height / rows
    if abs(dx / dy - 1) > _SQUARE:
        said = (
            f"The field of view, {height:g} x {width:g} mm, would make pixels of {dy:.3g} x {dx:.3g} mm: it is not what the "
            "image shows, and was ignored."
        )
        return Stated(None, "", (*notes, said))
    said = f"The spacing is the field of view's {height:g} x {width:g} mm over the image's pixels, if that is what it shows."
    return _sensible((dx, dy), (*notes, said))


def _as_shown(dataset: Dataset, sides: tuple[float, float], size: tuple[int, int]) -> tuple[float, float]:
    """Height and width, mm, of the field of view in an image of (rows, columns).

    For an image that was turned, the standard leaves open whether the sides are named before that or after it
    (PS3.3, C.8.11.4.1.1): what makes the pixels square is meant.
    """
    if stored_turn(dataset) in (0, 180):
        return sides
    height, width = sides
    return min((sides, (width, height)), key=lambda s: abs(np.log(s[1] * size[0] / (s[0] * size[1]))))


def _cassette(dataset: Dataset) -> Stated[Spacing]:
    """Nominal size of a storage phosphor's cassette over the pixels (PS3.3, C.8.1.2), the longer side over more of them."""
    named = _CASSETTE.fullmatch(word(dataset, "CassetteSize"))
    size = _rows_columns(dataset)
    if named is None or size is None:
        return Stated()
    unit = 10.0 if named[2] == "CM" else 25.4
    short, long = sorted(unit * float(named[i]) for i in (1, 3))
    one, other = long / max(size), short / min(size)
    if abs(one / other - 1) > _SQUARE:
        return Stated(None, "", (f"{label('CassetteSize')} is not of the image's shape: it was ignored.",))
    mean = (one + other) / 2
    said = f"The spacing is {label('CassetteSize')} over the pixels, if the image shows all of the plate; it is a nominal size."
    return _sensible((mean, mean), (said,))


def _intensifier(dataset: Dataset) -> Stated[Spacing]:
    """Diameter of the image intensifier (or a flat detector's side) over the longer side of the image."""
    diameter, notes = within(dataset, "IntensifierSize", 1, EXTENT_MM)
    size = _rows_columns(dataset)
    if diameter is None or size is None:
        return Stated(None, "", notes)
    one = diameter[0] / max(size)
    said = f"The spacing is {label('IntensifierSize')} over the longer side, if the image shows all of the detector."
    return _sensible((one, one), (*notes, said))


def _sensible(spacing: Spacing, notes: tuple[str, ...]) -> Stated[Spacing]:
    """A derived spacing, none where no pixel is so small or large."""
    if SPACING_MM[0] <= min(spacing) <= max(spacing) <= SPACING_MM[1]:
        return Stated(spacing, "derived", notes)
    return Stated(None, "", (*notes[:-1], f"A derived spacing of {spacing[1]:.3g} x {spacing[0]:.3g} mm was ignored."))


def _doubts(dataset: Dataset, spacing: Spacing) -> tuple[str, ...]:
    """What contradicts a stated spacing: the image may have been resampled or cut since."""
    found: list[str] = []
    sides, _ = field_of_view(dataset)
    size = _rows_columns(dataset)
    if sides is not None and size is not None:
        shown = np.array([spacing[1] * size[0], spacing[0] * size[1]])
        stated = np.array(_as_shown(dataset, sides, size))
        if (np.abs(shown / stated - 1) > _SQUARE).any():
            said = (
                f"{label('ImagerPixelSpacing')} makes the image {shown[0]:.4g} x {shown[1]:.4g} mm, but its field of view is "
                f"{stated[0]:.4g} x {stated[1]:.4g} mm: it may have been resampled or cut out."
            )
            found.append(said)
    elements = _elements(dataset).value
    if elements is not None and not np.allclose(elements, spacing, rtol=_AGREE):
        said = (
            f"{label('ImagerPixelSpacing')} is not {label('DetectorElementSpacing')} times {label('DetectorBinning')}: "
            "the image may have been resampled."
        )
        found.append(said)
    plain = numbers(dataset, "PixelSpacing", 2)
    other = plain is not None and min(plain) > 0 and not np.allclose(plain[::-1], spacing, rtol=_AGREE)
    if other and not _calibrated_in_patient(dataset):
        found.append(f"{label('PixelSpacing')} is another, and nothing says where it holds: it was ignored.")
    return tuple(found)


def _rows_columns(dataset: Dataset) -> tuple[int, int] | None:
    rows, columns = (numbers(dataset, keyword, 1) for keyword in ("Rows", "Columns"))
    if rows is None or columns is None or rows[0] < 1 or columns[0] < 1:
        return None
    return int(rows[0]), int(columns[0])
