"""How the image was cut out of the detector, and where the perpendicular ray therefore hits it.

PS3.3 C.8.11.4.1.1 and C.8.19.6.2: the field of view begins `FieldOfViewOrigin` elements from the top left-hand corner of
the physical detector (rows first); it is then turned clockwise, then flipped left-right, then stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.imaging.dicom.dataset import numbers
from XVRegistrationLib.imaging.dicom.stated import EXTENT_MM, SPACING_MM, Stated, is_stated, label, within, word

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

_ELEMENTS = (-1e5, 1e5)
_PERPENDICULAR = 0.5
"""Degrees within which a beam counts as perpendicular to its detector."""
_FARTHEST = 1.5
"""Image sizes from the middle beyond which a principal point is nonsense."""


def stored_turn(dataset: Dataset) -> int:
    """By how many degrees, 0, 90, 180 or 270, the image was turned clockwise from how the detector saw it."""
    value = numbers(dataset, "FieldOfViewRotation", 1)
    turn = 0 if value is None else value[0] % 360
    return int(turn) if turn in (90, 180, 270) else 0


def field_of_view(dataset: Dataset) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """Height and width in mm of the field of view, a circle's or hexagon's diameter for both; None where not stated."""
    shape = word(dataset, "FieldOfViewShape")
    notes: tuple[str, ...] = ()
    for keyword in ("FieldOfViewDimensionsInFloat", "FieldOfViewDimensions"):
        for count in (2, 1):
            if numbers(dataset, keyword, count) is None or (count == 2 and shape in ("ROUND", "HEXAGONAL")):
                continue
            sides, notes = within(dataset, keyword, count, EXTENT_MM)
            if sides is not None:
                return (sides[0], sides[-1]), ()
    return None, notes


def tilt(dataset: Dataset) -> tuple[str, ...]:
    """A sentence for a detector that is stated not to be perpendicular to the beam (PS3.3, C.8.7.5.1.4, C.8.11.5, C.8.7.6)."""
    found = []
    for keyword in ("DetectorPrimaryAngle", "DetectorSecondaryAngle", "ColumnAngulation"):
        angle, _ = within(dataset, keyword, 1, (-90.0, 90.0), "degrees")
        if angle is not None and abs(angle[0]) >= _PERPENDICULAR:
            found.append(f"{label(keyword)} {angle[0]:g} degrees")
    if not found:
        return ()
    which = ", ".join(found)
    said = f"The detector is tilted against the beam ({which}), so that its principal point is not known: give a calibration."
    return (said,)


def principal_point(
    dataset: Dataset, spacing: tuple[float, float] | None, mirrored: bool
) -> Stated[tuple[float, float]]:
    """Camera column and row, px, of the point on the detector that is nearest to the source.

    An Enhanced XA object states where the isocentre is projected (PS3.3 C.8.19.5); for others this is the detector's
    centre, which is how C-arms are built, though no element says it. None, the image's middle, where the header does
    not say how large the detector is: plain XA assumes that the isocentre is seen there (PS3.17 FFF.2.1.5.2).
    """
    rows, columns = numbers(dataset, "Rows", 1), numbers(dataset, "Columns", 1)
    if spacing is None or rows is None or columns is None or not is_stated(dataset, "FieldOfViewOrigin"):
        return Stated(None, "assumed")
    origin, notes = within(dataset, "FieldOfViewOrigin", 2, _ELEMENTS, "detector elements")
    pitch, more = _pitch(dataset)
    notes += more
    if origin is None or pitch is None:
        return Stated(None, "assumed", notes)
    center, said = _perpendicular(dataset, pitch)
    if center is None:
        said = f"{label('FieldOfViewOrigin')} is of no use, as the header does not state the detector's size."
        return Stated(None, "assumed", (*notes, said))
    turn = stored_turn(dataset)
    turned = turn in (90, 270)
    size = np.array([columns[0], rows[0]] if turned else [rows[0], columns[0]])
    step = np.array(spacing if turned else spacing[::-1])
    # From edges of elements to edges of pixels, then to centres.
    before = (center - np.array(origin)) * pitch / step - 0.5
    row, column = _stored(before, size, turn, word(dataset, "FieldOfViewHorizontalFlip"))
    if max(abs(row / (rows[0] - 1 or 1) - 0.5), abs(column / (columns[0] - 1 or 1) - 0.5)) > _FARTHEST:
        note = f"{label('FieldOfViewOrigin')} puts the image beside the detector: it was ignored."
        return Stated(None, "assumed", (*notes, note))
    return Stated((columns[0] - 1 - column if mirrored else column, row), "derived", (*notes, said))


def _pitch(dataset: Dataset) -> tuple[NDArray[np.float64] | None, tuple[str, ...]]:
    """Distance of detector elements in mm, between rows and between columns."""
    pitch, notes = within(dataset, "DetectorElementSpacing", 2, SPACING_MM)
    if pitch is None:
        return None, (*notes, f"{label('FieldOfViewOrigin')} is of no use without {label('DetectorElementSpacing')}.")
    return np.array(pitch), notes


def _perpendicular(dataset: Dataset, pitch: NDArray[np.float64]) -> tuple[NDArray[np.float64] | None, str]:
    """Where the perpendicular ray hits the physical detector: rows, columns of elements from its edges; and why there."""
    isocenter, _ = within(dataset, "PositionOfIsocenterProjection", 2, _ELEMENTS, "detector elements")
    if isocenter is not None:  # from the centre of the first element
        said = f"The principal point is where {label('PositionOfIsocenterProjection')} says that the isocentre is seen."
        return np.array(isocenter) + 0.5, said
    said = "The principal point is the detector's centre: the perpendicular ray is assumed to hit it there."
    whole, _ = within(dataset, "PhysicalDetectorSize", 2, EXTENT_MM)
    if whole is not None:
        return np.array(whole) / pitch / 2, said
    for count in (2, 1):
        active, _ = within(dataset, "DetectorActiveDimensions", count, EXTENT_MM)
        if active is not None:
            start = within(dataset, "DetectorActiveOrigin", 2, _ELEMENTS, "detector elements")[0] or (0.0, 0.0)
            return np.array(start) + np.broadcast_to(active, 2) / pitch / 2, said
    return None, said


def _stored(point: NDArray[np.float64], size: NDArray[np.float64], turn: int, flip: str) -> tuple[float, float]:
    """Row and column in the stored image of a pixel (row, column) of the field of view as the detector saw it."""
    (row, column), (height, width) = point, size
    if turn == 90:
        row, column, height, width = column, height - 1 - row, width, height
    elif turn == 180:
        row, column = height - 1 - row, width - 1 - column
    elif turn == 270:
        row, column, height, width = width - 1 - column, row, width, height
    return float(row), float(width - 1 - column if flip == "YES" else column)
