"""DICOM segmentations (PS3.3, A.51 and C.8.20): binary, fractional and label maps."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.conventions import lps_to_ras
from XVRegistrationLib.imaging.colors import rgb_of_cielab
from XVRegistrationLib.imaging.dicom.dataset import understanding
from XVRegistrationLib.imaging.segmentation import Code, Segment, Segmentation, Terminology
from XVRegistrationLib.imaging.volumes.straight import without_shear

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_MOST_SLICES = 10_000
_OFF_PLACE = 0.05  # of the slice distance, and mm
_SAME_PLACE = 1e-3  # mm
_SAME_DIRECTION = 1e-3


@dataclass(frozen=True, eq=False)
class _Frames:
    """Where the frames of a segmentation lie on one grid."""

    matrix: NDArray[np.float64]
    """(4, 4) IJK to RAS, mm; perhaps sheared."""
    shape: tuple[int, int, int]
    index: list[int]
    """Slice of each frame."""
    segments: list[int]
    """Segment number of each frame; 0 where the voxels say it themselves."""


def is_segmentation(path: Path) -> bool:
    """Whether a DICOM file is a segmentation."""
    import pydicom

    try:
        return pydicom.dcmread(path, specific_tags=["SOPClassUID"], stop_before_pixels=True).SOPClassUID in _CLASSES
    except Exception:  # damaged: no segmentation that could be read
        return False


def read_dicom_segmentation(path: Path) -> Segmentation:
    """The segments with voxels or without; fractional ones are where at least half is inside. InputError for anything else."""
    import pydicom

    with understanding(path):
        dataset = pydicom.dcmread(path)
        if dataset.get("SOPClassUID") not in _CLASSES:
            what = getattr(dataset.get("SOPClassUID"), "name", "of an unknown kind")
            raise InputError(
                f"{path} is no DICOM segmentation but {what}; give a SEG object, .seg.nrrd or a label map."
            )
        described = _described(dataset)
        frames = _frames(dataset, path)
        layers, layer_of = _layers(dataset, frames, list(described))
        straightened = [without_shear(layer, frames.matrix, str(path), 0, labels=True)[:2] for layer in layers]
        segments = tuple(
            Segment(number, name, layer_of.get(number, 0), color, terminology)
            for number, (name, color, terminology) in described.items()
        )
        return Segmentation(tuple(layer for layer, _ in straightened), straightened[0][1], segments)


def _described(dataset: Dataset) -> dict[int, tuple[str, Any, Terminology | None]]:
    found = {}
    for item in dataset.SegmentSequence:
        lab = item.get("RecommendedDisplayCIELabValue")
        region = _first(item, "AnatomicRegionSequence")
        kind = _first(item, "SegmentedPropertyTypeCodeSequence")
        terminology = Terminology(
            _code(_first(item, "SegmentedPropertyCategoryCodeSequence")),
            _code(kind),
            _code(_first(kind, "SegmentedPropertyTypeModifierCodeSequence")),
            _code(region),
            _code(_first(region, "AnatomicRegionModifierSequence")),
        )
        number = int(item.SegmentNumber)
        name = str(item.get("SegmentLabel") or f"segment {number}")
        color = None if lab is None or len(lab) != 3 else rgb_of_cielab(*(int(part) for part in lab))
        found[number] = (name, color, None if terminology == Terminology() else terminology)
    found.pop(0, None)  # the background of a label map may be described too
    return found


def _first(item: Dataset | None, keyword: str) -> Dataset | None:
    return None if item is None else next(iter(item.get(keyword) or ()), None)


def _code(item: Dataset | None) -> Code | None:
    if item is None:
        return None
    value = item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue") or ""
    return Code(str(item.get("CodingSchemeDesignator") or ""), str(value), str(item.get("CodeMeaning") or ""))


def _frames(dataset: Dataset, path: Path) -> _Frames:
    shared = _first(dataset, "SharedFunctionalGroupsSequence")
    groups = list(dataset.PerFrameFunctionalGroupsSequence)

    def macro(group: Dataset, keyword: str) -> Dataset | None:
        return _first(group, keyword) or _first(shared, keyword)

    places = [macro(group, "PlanePositionSequence") for group in groups]
    planes, measures = macro(groups[0], "PlaneOrientationSequence"), macro(groups[0], "PixelMeasuresSequence")
    if planes is None or measures is None or any(place is None for place in places):
        raise InputError(f"{path} does not say where its segments lie in the patient (drawn on an X-ray?).")
    orientation = np.array(planes.ImageOrientationPatient, dtype=np.float64)
    if any(not _is_alike(macro(group, "PlaneOrientationSequence"), orientation) for group in groups):
        raise InputError(f"{path} has frames in several orientations; save the segmentation on the grid of its CT.")
    rows, columns = orientation[:3], orientation[3:]
    normal = np.cross(rows, columns)
    positions = np.array([place.ImagePositionPatient for place in places if place is not None], dtype=np.float64)
    heights = positions @ normal
    low, high = positions[heights.argmin()], positions[heights.argmax()]
    distance = _slice_distance(heights, measures)
    places_of = (heights - heights.min()) / distance
    index = np.rint(places_of).astype(int)
    if np.abs(places_of - index).max() * distance > _OFF_PLACE * (1 + distance):
        raise InputError(f"{path} has irregular slice distances; save the segmentation on the grid of its CT.")
    if index.max() >= _MOST_SLICES:
        raise InputError(f"{path} would have {index.max() + 1} slices; the positions of its frames are damaged.")
    dy, dx = (float(s) for s in measures.PixelSpacing)
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1] = rows * dx, columns * dy
    lps[:3, 2] = (high - low) / index.max() if index.max() else normal * distance
    lps[:3, 3] = low
    segments = []
    for group in groups:
        identified = macro(group, "SegmentIdentificationSequence")
        segments.append(0 if identified is None else int(identified.ReferencedSegmentNumber))
    # A grid has two slices at least.
    shape = (max(2, int(index.max()) + 1), int(dataset.Rows), int(dataset.Columns))
    return _Frames(lps_to_ras(lps), shape, index.tolist(), segments)


def _is_alike(planes: Dataset | None, orientation: NDArray[np.float64]) -> bool:
    return planes is not None and np.allclose(
        np.array(planes.ImageOrientationPatient, dtype=np.float64), orientation, atol=_SAME_DIRECTION
    )


def _slice_distance(heights: NDArray[np.float64], measures: Dataset) -> float:
    """That of the frames; where these are a single slice, what the file says, else 1 mm."""
    steps = np.diff(np.sort(heights))
    steps = steps[steps > _SAME_PLACE]
    said = measures.get("SpacingBetweenSlices") or measures.get("SliceThickness")
    stated = float(said) if said else 0.0
    if not steps.size:
        return stated if stated > 0 else 1.0
    # Positions are rounded: hundreds of slices on, a rounded distance would be a slice off.
    least = float(steps[steps < (1 + _OFF_PLACE) * steps.min() + _SAME_PLACE].mean())
    # Frames without voxels may be left out, so that the distances found are multiples of the true one.
    multiple = least / stated if stated > 0 else 0.0
    return least / round(multiple) if multiple >= 1 and abs(multiple - round(multiple)) < _OFF_PLACE else least


def _layers(dataset: Dataset, frames: _Frames, numbers: Sequence[int]) -> tuple[list[NDArray[Any]], dict[int, int]]:
    """As few layers as come easily, and the layer of each segment."""
    dtype = np.uint8 if max(numbers, default=0) < 256 else np.uint16
    kind = str(dataset.get("SegmentationType") or "BINARY").upper()
    if kind == "LABELMAP":
        layer = np.zeros(frames.shape, dtype)
        for frame, image in _images(dataset, range(len(frames.index))):
            layer[frames.index[frame]] = image
        return [layer], {}
    least = 1.0 if kind == "BINARY" else 0.5 * float(dataset.get("MaximumFractionalValue") or 255)
    of_segment: dict[int, list[int]] = defaultdict(list)
    for frame, number in enumerate(frames.segments):
        of_segment[number].append(frame)
    layers: list[NDArray[Any]] = []
    layer_of: dict[int, int] = {}
    for number in numbers:
        masks = [(frames.index[frame], image >= least) for frame, image in _images(dataset, of_segment[number])]
        chosen = next((n for n, x in enumerate(layers) if not any(x[k][m].any() for k, m in masks)), None)
        if chosen is None:
            chosen = len(layers)
            layers.append(np.zeros(frames.shape, dtype))
        layer_of[number] = chosen
        for k, mask in masks:
            layers[chosen][k][mask] = number
    return layers or [np.zeros(frames.shape, dtype)], layer_of


def _images(dataset: Dataset, wanted: Sequence[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Number and stored values (J, I) of frames, one at a time: all of them unpacked may be many times the file."""
    if not wanted:
        return
    try:
        from pydicom.pixels.utils import iter_pixels
    except ImportError:  # before pydicom 3, as in Slicer 5.10
        whole = dataset.pixel_array.reshape(-1, int(dataset.Rows), int(dataset.Columns))
        yield from ((n, whole[n]) for n in wanted)
        return
    yield from zip(wanted, iter_pixels(dataset, indices=list(wanted)), strict=True)
