"""A number as a header states it: within sensible limits, or left out with a sentence that says why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from XVRegistrationLib.imaging.dicom.dataset import numbers

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

T = TypeVar("T")

DISTANCE_MM = (100.0, 5000.0)
"""From a source to a detector or an isocentre; what lies outside is no X-ray of a patient, or is in other units."""
SPACING_MM = (0.01, 10.0)
EXTENT_MM = (10.0, 2000.0)
"""Sides and diameters of detectors and fields of view."""
DEGREES = (-180.0, 180.0)

TO_RAS = {
    "R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1),
}  # fmt: skip
"""Letter of a direction (PS3.3 C.7.6.1.1.1) -> that direction."""


@dataclass(frozen=True)
class Stated(Generic[T]):
    """A value, where it came from, and what there is to say of it."""

    value: T | None = None
    origin: str = ""
    """"tag", "derived", "assumed" or "user"; for a value that is missing, the element that should have stated it."""
    notes: tuple[str, ...] = ()


def label(keyword: str) -> str:
    """Keyword and tag of an element, as in `DistanceSourceToDetector (0018,1110)`."""
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword) or 0
    return f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def is_stated(dataset: Dataset, keyword: str) -> bool:
    """Whether an element is there and not empty."""
    try:
        value = dataset.get(keyword)
    except (TypeError, ValueError):
        return True  # there, but no value of its kind
    return value is not None and str(value).strip() not in ("", "[]")


def within(
    dataset: Dataset, keyword: str, count: int, limits: tuple[float, float], unit: str = "mm"
) -> tuple[tuple[float, ...] | None, tuple[str, ...]]:
    """`count` numbers of an element, None where it has none within the limits, and a note on a value that was left out."""
    values = numbers(dataset, keyword, count)
    if values is not None and all(limits[0] <= v <= limits[1] for v in values):
        return values, ()
    if values is not None and not any(values) and limits[0] > 0:
        return None, ()  # zeros stand for "not known" in many headers
    if not is_stated(dataset, keyword):
        return None, ()
    try:
        shown = str(dataset.get(keyword))[:40]
    except (TypeError, ValueError):
        shown = "not a number"
    wanted = f"{count} numbers" if count > 1 else "one number"
    note = f"{label(keyword)} is {shown}, which is not {wanted} from {limits[0]:g} to {limits[1]:g} {unit}: it was ignored."
    return None, (note,)


def word(dataset: Dataset, keyword: str) -> str:
    """The text of an element in capitals, empty where there is none."""
    try:
        value = dataset.get(keyword)
    except (TypeError, ValueError):
        return ""
    return "" if value is None else str(value).strip().upper()
