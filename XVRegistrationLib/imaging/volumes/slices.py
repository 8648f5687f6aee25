"""What the headers of DICOM files say of slices in space, without their pixels."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

# Objects whose frames are placed by functional groups (PS3.3, C.7.6.16): Enhanced and Legacy Converted CT, MR and PET,
# and reconstructions of rotational angiography and dental cone-beam CT.
MULTI_FRAME = (
    "1.2.840.10008.5.1.4.1.1.2.1",
    "1.2.840.10008.5.1.4.1.1.2.2",
    "1.2.840.10008.5.1.4.1.1.4.1",
    "1.2.840.10008.5.1.4.1.1.4.4",
    "1.2.840.10008.5.1.4.1.1.13.1.1",
    "1.2.840.10008.5.1.4.1.1.13.1.2",
    "1.2.840.10008.5.1.4.1.1.130",
    "1.2.840.10008.5.1.4.1.1.128.1",
)
IMPLICIT_LITTLE, EXPLICIT_LITTLE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "Modality", "ImageType", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription",
    "InstanceNumber", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope",
    "RescaleIntercept", "RescaleType", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
_SIGNED_OR_NOT = ("PixelPaddingValue", "PixelPaddingRangeLimit")
"""Elements whose sign is that of the pixels (PS3.6: US or SS)."""


@dataclass(frozen=True, eq=False)
class Slice:
    """One slice: where it lies, and how its stored values become the modality's."""

    path: Path
    position: NDArray[np.float64]
    """(3,) centre of the first pixel, LPS mm."""
    rows: NDArray[np.float64]
    """(3,) unit vector along a row (towards higher columns), LPS."""
    columns: NDArray[np.float64]
    """(3,) unit vector down a column (towards higher rows), LPS."""
    spacing: tuple[float, float]
    """Along columns and along rows of pixels (dx, dy), mm."""
    size: tuple[int, int]
    """Columns and rows, px."""
    rescale: tuple[float, float]
    """Slope and intercept (PS3.3, C.11.1.1.2)."""
    stored_range: tuple[int, int]
    """Lowest and highest value that the stored bits hold."""
    padding: tuple[float, float] | None = None
    """Stored values from .. to of what was not scanned (PS3.3, C.7.5.1.1.2)."""
    frame: int | None = None
    """In a multi-frame object, from 0."""
    instance: str = ""
    """SOPInstanceUID."""
    number: int = 0
    """InstanceNumber, or the frame's."""
    rescale_type: str = ""
    modality: str = ""
    localizer: bool = False
    pixels_at: int | None = None
    """Where in the file its native pixels would begin with their tag, bytes; None for compressed ones."""

    @property
    def normal(self) -> NDArray[np.float64]:
        """(3,) unit normal of the slice, LPS."""
        return np.cross(self.rows, self.columns)


@dataclass(eq=False)
class Series:
    """The slices of one DICOM series, in the order found."""

    uid: str
    number: str = ""
    description: str = ""
    modality: str = ""
    slices: list[Slice] = field(default_factory=list)
    unplaced: list[Path] = field(default_factory=list)
    """Images without a position or a size in space."""

    @property
    def key(self) -> str:
        """What finds the series again and does not tell its UID."""
        return series_key(self.uid)

    def __str__(self) -> str:
        """As a person tells series apart."""
        said = f"#{self.number}" if self.number else "without number"
        if self.description:
            said += f" '{self.description}'"
        return f"{said} ({self.modality or 'no modality'}, {len(self.slices) + len(self.unplaced)} images)"


def series_key(uid: str) -> str:
    """A digest of a SeriesInstanceUID: the UID itself tells whose images these are, and is kept in no file."""
    return "sha256:" + hashlib.sha256(uid.encode()).hexdigest()[:16]


def series_of(files: Iterable[Path]) -> tuple[list[Series], int]:
    """The series of images among files, in the order found, and how many DICOM files could not be read."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    found: dict[str, Series] = {}
    damaged = 0
    converted: dict[Any, Any] = {}
    for path in files:
        try:
            with path.open("rb") as file:
                dataset = _Header(pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS), converted)
                pixels_at = file.tell()
            if dataset.get("Rows") is None or dataset.get("SOPClassUID") is None:
                continue
            if dataset.get("PerFrameFunctionalGroupsSequence") and dataset.get("SOPClassUID") not in MULTI_FRAME:
                continue  # a segmentation, or a run of X-rays
            uid = str(dataset.get("SeriesInstanceUID") or "")
            series = found.get(uid) or Series(
                uid,
                str(dataset.get("SeriesNumber") or ""),
                str(dataset.get("SeriesDescription") or ""),
                str(dataset.get("Modality") or ""),
            )
            slices = [replace(s, pixels_at=_native_at(dataset, pixels_at)) for s in _slices(dataset, path)]
        except InvalidDicomError:
            continue  # a file of another kind
        except Exception:  # a damaged file fails anywhere in the parser; a gap in the stack tells of it later
            damaged += 1
            continue
        found[uid] = series
        series.slices += slices
        if not slices:
            series.unplaced.append(path)
    return list(found.values()), damaged


class _Header:
    """A data set that converts each value once for all slices that have the same bytes, which takes most of the time."""

    def __init__(self, dataset: Dataset, converted: dict[Any, Any]) -> None:
        self.file_meta = dataset.file_meta
        self._dataset, self._converted = dataset, converted

    def get(self, keyword: str) -> Any:
        """The element's value, None where it is absent."""
        from pydicom.dataelem import RawDataElement

        tag = _tags()[keyword]
        if tag not in self._dataset:
            return None
        raw = self._dataset.get_item(tag)
        # Of padding an implicit file does not even say the sign: that hangs on another element.
        by_itself = keyword not in _SIGNED_OR_NOT and getattr(raw, "VR", None) not in ("SQ", "US or SS", "UN")
        if not isinstance(raw, RawDataElement) or raw.value is None or not by_itself:
            return self._dataset[tag].value
        key = tag, raw.VR, raw.value, raw.is_little_endian
        if key not in self._converted:
            self._converted[key] = self._dataset[tag].value
        return self._converted[key]


@cache
def _tags() -> dict[str, Any]:
    from pydicom.datadict import tag_for_keyword
    from pydicom.tag import Tag

    return {keyword: Tag(tag_for_keyword(keyword) or 0) for keyword in _TAGS}


def files_below(folder: Path) -> Iterator[Path]:
    """All files in a folder and those below it, in the order of their names; hidden ones and linked folders left out."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent) / name for name in sorted(names) if not name.startswith("."))


def _slices(dataset: _Header, path: Path) -> Iterator[Slice]:
    if int(dataset.get("SamplesPerPixel") or 1) != 1:
        return
    frames = dataset.get("PerFrameFunctionalGroupsSequence")
    if not frames:
        if int(dataset.get("NumberOfFrames") or 1) == 1:
            found = _slice(dataset, [dataset], path, None)
            if found is not None:
                yield found
        return
    shared = next(iter(dataset.get("SharedFunctionalGroupsSequence") or ()), None)
    for frame, groups in enumerate(frames):
        # The macros that place a frame and give its values their meaning (PS3.3, C.7.6.16.2).
        macros = [
            item
            for name in (
                "PlanePositionSequence",
                "PlanePositionVolumeSequence",
                "PlaneOrientationSequence",
                "PlaneOrientationVolumeSequence",
                "PixelMeasuresSequence",
                "PixelValueTransformationSequence",
            )
            for group in (groups, shared)
            for item in list(() if group is None else group.get(name) or ())[:1]
        ]
        found = _slice(dataset, [*macros, dataset], path, frame)
        if found is not None:
            yield found


def _slice(dataset: _Header, parts: list[Any], path: Path, frame: int | None) -> Slice | None:
    """A slice from the first of `parts` that states each value; None where it cannot be placed."""

    def first(keyword: str) -> Any:
        values = (part.get(keyword) for part in parts)
        return next((value for value in values if value is not None and value != ""), None)

    def numbers(keyword: str, count: int) -> NDArray[np.float64] | None:
        values = np.atleast_1d(np.array(first(keyword), dtype=np.float64))
        return values if values.shape == (count,) and np.isfinite(values).all() else None

    position, orientation = numbers("ImagePositionPatient", 3), numbers("ImageOrientationPatient", 6)
    spacing = numbers("PixelSpacing", 2)
    if position is None or orientation is None or spacing is None or spacing.min() <= 0:
        return None
    rows, columns = orientation[:3], orientation[3:]
    lengths = np.linalg.norm(rows), np.linalg.norm(columns)
    if min(lengths) < 0.5 or abs(float(rows @ columns)) > 0.01:
        return None
    slope, intercept = first("RescaleSlope"), first("RescaleIntercept")
    rescale = 1.0 if slope is None else float(slope) or 1.0, 0.0 if intercept is None else float(intercept)
    if not np.isfinite(rescale).all():
        raise ValueError("RescaleSlope or RescaleIntercept is no number")
    bits, signed = int(dataset.get("BitsStored") or 16), int(dataset.get("PixelRepresentation") or 0) == 1
    image_type = [str(part).upper() for part in (dataset.get("ImageType") or ())]
    return Slice(
        path=path,
        position=position,
        rows=rows / lengths[0],
        columns=columns / lengths[1],
        spacing=(float(spacing[1]), float(spacing[0])),  # PixelSpacing is row spacing first (PS3.3, 10.7.1.3)
        size=(int(dataset.get("Columns")), int(dataset.get("Rows"))),
        rescale=rescale,
        stored_range=(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1),
        padding=_padding(dataset, signed),
        frame=frame,
        instance=str(dataset.get("SOPInstanceUID") or ""),
        number=frame if frame is not None else int(dataset.get("InstanceNumber") or 0),
        rescale_type=str(first("RescaleType") or ""),
        modality=str(dataset.get("Modality") or ""),
        localizer="LOCALIZER" in image_type,
    )


def _native_at(dataset: _Header, position: int) -> int | None:
    """`position` where the pixels of one frame of 16 bits lie there as they are."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    bits = dataset.get("BitsStored")
    plain = dataset.get("BitsAllocated") == 16 and bits is not None and int(dataset.get("HighBit") or 0) + 1 == bits
    return position if plain and syntax in (IMPLICIT_LITTLE, EXPLICIT_LITTLE) else None


def _padding(dataset: _Header, signed: bool) -> tuple[float, float] | None:
    value, limit = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    if not isinstance(value, int):
        return None
    ends = [value, limit if isinstance(limit, int) else value]
    if signed:  # some write the bit pattern of a negative number as an unsigned one
        bits = int(dataset.get("BitsAllocated") or 16)
        ends = [end - 2**bits if end >= 2 ** (bits - 1) else end for end in ends]
    return float(min(ends)), float(max(ends))
