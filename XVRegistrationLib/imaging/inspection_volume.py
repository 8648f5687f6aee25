"""What is understood of a volume, derived, measured and missing, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.describe import describe, finite_range
from XVRegistrationLib.imaging.inspection import Fact, Inspection, percent
from XVRegistrationLib.imaging.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.dicom.plain_words import DicomWords
    from XVRegistrationLib.imaging.volumes.stored import Stored

_AIR = -1000.0
_METAL = 3000.0
_UNLIKE = (
    "Its values are unlike those of a whole part of a body, with air, soft tissue and bone: right for bones that were cut out "
    "of a CT, else they may be no Hounsfield units."
)


def inspect_volume(
    stored: Stored, words: DicomWords | None, understand: Callable[[], Sequence[str]] = tuple
) -> Inspection:
    """What is understood of a volume as it is `stored`, and what is done with its voxels before X-rays are rendered from it.

    `understand` gives the voxels a meaning, in place after they were looked at, and says what it found and did; its
    InputError is why it could not.
    """
    volume = Volume(stored.array, stored.ijk_to_ras)
    description = describe(volume)
    low, high = finite_range(volume.array)
    hounsfield = _hounsfield(volume)
    said, problem = stored.notes, ""
    try:
        said = tuple(understand())
    except InputError as e:
        problem = str(e)
    facts = _grid(volume)
    facts.append(Fact("range", "Values", f"{low:g} to {high:g}{'' if problem else ' HU'}", [low, high], "measured"))
    title = "file without a DICOM header" if words is None else words.kind
    if problem:
        return Inspection("volume", title, tuple(facts), said, (problem,))
    if description.kind == "unknown" and low < high:
        return Inspection("volume", title, (*facts, *hounsfield), (*said, _UNLIKE), ())  # it was accepted as a CT
    missing = () if description.ok else (f"X-rays cannot be expected to be rendered from it: {description.sentence}",)
    return Inspection("volume", title, (*facts, *hounsfield), said, missing)


def _grid(volume: Volume) -> list[Fact]:
    """Where the voxels lie."""
    size = volume.array.shape[::-1]
    extent = [float(n * s) for n, s in zip(size, volume.spacing, strict=True)]
    letters = axis_letters(volume)
    tilt = _tilt(volume)
    oblique = f", turned by up to {tilt:.1f} degrees" if tilt > 0.05 else ""
    return [
        Fact("size", "Voxels", " x ".join(f"{n}" for n in size), list(size), "tag"),
        Fact("spacing", "Voxel spacing", _joined(volume.spacing, 3), volume.spacing.tolist(), "tag"),
        Fact("extent", "Extent", _joined(np.array(extent), 0), extent, "derived"),
        Fact("orientation", "Axes run towards", f"{', '.join(letters)}{oblique}", list(letters), "tag"),
    ]


def _hounsfield(volume: Volume) -> list[Fact]:
    """The shares of voxels that are no tissue at all, and of those beyond what scanners store as bone."""
    padding, metal = float(np.mean(volume.array < _AIR)), float(np.mean(volume.array > _METAL))
    told = f"{percent(padding)}, taken as air" if padding else "nothing"
    return [
        Fact("padding", f"Below {_AIR:g} HU", told.replace("pixels", "voxels"), padding, "measured"),
        Fact("metal", f"Above {_METAL:g} HU (metal)", percent(metal).replace("pixels", "voxels"), metal, "measured"),
    ]


def axis_letters(volume: Volume) -> tuple[str, str, str]:
    """The patient's side (R, L, A, P, H or F) that the axes i, j, k run towards; of an oblique axis, the nearest."""
    directions = volume.ijk_to_ras[:3, :3] / volume.spacing
    letters = []
    for axis in directions.T:
        largest = int(np.argmax(np.abs(axis)))
        letters.append(("RL", "AP", "HF")[largest][0 if axis[largest] > 0 else 1])
    return letters[0], letters[1], letters[2]


def _tilt(volume: Volume) -> float:
    """Largest angle between an axis and the patient's nearest, degrees."""
    directions = volume.ijk_to_ras[:3, :3] / volume.spacing
    return float(np.rad2deg(np.arccos(np.clip(np.abs(directions).max(axis=0), 0, 1))).max())


def _joined(values: NDArray[np.float64], digits: int) -> str:
    return " x ".join(f"{v:.{digits}f}" for v in values) + " mm"
