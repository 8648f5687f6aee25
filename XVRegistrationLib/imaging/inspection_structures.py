"""What is understood of a segmentation, in words: its grid, and each structure with its size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.imaging.inspection import Fact, Inspection
from XVRegistrationLib.imaging.inspection_volume import axis_letters
from XVRegistrationLib.imaging.volume import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.segmentation import Segment, Segmentation
    from XVRegistrationLib.imaging.volumes.stored import Stored

_MOST_LABELS = 256
_ALIKE = 0.6
"""So many neighbours within structures have the same value. Of small structures at 3 mm 0.8 and more; of an MR of 8 bits 0.2."""


def looks_like_labels(stored: Stored) -> bool:
    """Whether voxels are labels: few whole numbers from 0, and where they are not 0, mostly the same as beside them."""
    array = stored.array
    if array.dtype.kind not in "iu" or array.min() < 0:
        return False
    beside, value = array[:, :, 1:], array[:, :, :-1]
    inside = (value > 0) & (beside > 0)
    if not inside.any() or np.mean(value[inside] == beside[inside]) < _ALIKE:
        return False
    return bool(len(np.unique(array)) <= _MOST_LABELS)


def inspect_structures(found: Segmentation, title: str) -> Inspection:
    """What is understood of a segmentation; of its structures the names are said as they are written in the file."""
    grid = Volume(found.layers[0], found.ijk_to_ras)
    size, spacing = grid.array.shape[::-1], grid.spacing
    letters = axis_letters(grid)
    facts = [
        Fact("size", "Voxels", " x ".join(str(n) for n in size), list(size), "tag"),
        Fact("spacing", "Voxel spacing", " x ".join(f"{s:.3f}" for s in spacing) + " mm", spacing.tolist(), "tag"),
        Fact("orientation", "Axes run towards", ", ".join(letters), list(letters), "tag"),
        Fact("structures", "Structures", str(len(found.segments)), len(found.segments), "tag"),
    ]
    counts = [_counts(layer) for layer in found.layers]
    ml = float(np.prod(spacing)) / 1000
    facts += [_structure(segment, counts[segment.layer], ml) for segment in found.segments]
    notes = [f"Structures may overlap: they lie in {len(found.layers)} layers."] if len(found.layers) > 1 else []
    empty = [segment.name for segment in found.segments if not _of(counts[segment.layer], segment)]
    if empty:
        notes.append(f"Without a voxel: {', '.join(empty)}.")
    missing = () if found.segments else ("It holds no structure.",)
    return Inspection("structures", title, tuple(facts), tuple(notes), missing)


def _structure(segment: Segment, counts: NDArray[np.int64], ml: float) -> Fact:
    voxels = _of(counts, segment)
    said = f"{voxels * ml:.1f} ml, {voxels} voxels"
    kind = None if segment.terminology is None else segment.terminology.type
    value = {"label": segment.value, "name": segment.name, "voxels": voxels, "ml": voxels * ml}
    meant = "" if kind is None or kind.meaning.lower() == segment.name.lower() else kind.meaning
    own = segment.name == f"label {segment.value}"  # what a label map's structures are called that nobody named
    what = segment.name if own else f"{segment.value} {segment.name}"
    return Fact(f"structure {segment.value}", what, said, value, "measured", meant)


def _counts(layer: NDArray[Any]) -> NDArray[np.int64]:
    """How many voxels have each label."""
    flat = layer.ravel()
    return np.bincount(flat[flat > 0])


def _of(counts: NDArray[np.int64], segment: Segment) -> int:
    return int(counts[segment.value]) if segment.value < len(counts) else 0
