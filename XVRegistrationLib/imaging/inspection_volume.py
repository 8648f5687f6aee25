"""What is understood of a volume, derived, measured and missing, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.describe import describe, finite_range
from XVRegistrationLib.imaging.inspection import Fact, Inspection, percent
from XVRegistrationLib.imaging.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.dicom.plain_words import DicomWords
    from XVRegistrationLib.imaging.volumes.reading import Reading
    from XVRegistrationLib.imaging.volumes.stored import Stored

_AIR = -1000.0
_METAL = 3000.0
_UNLIKE = (
    "Its values are unlike those of a whole part of a body, with air, soft tissue and bone: right for bones that were cut out "
    "of a CT, else they may be no Hounsfield units."
)


def inspect_volume(
    stored: Stored, words: DicomWords | None, reading: Reading, understand: Callable[[], Volume]
) -> tuple[Inspection, Volume | None]:
    """What is understood of a volume as it is `stored`, and what X-rays are rendered from; None where they cannot be.

    `understand` gives the voxels the meaning that `reading` says, in place after they were looked at; its InputError is why
    it could not.
    """
    raw = Volume(stored.array, stored.ijk_to_ras)
    low, high = finite_range(raw.array)
    facts = _grid(raw)
    measured = _not_scanned(raw, reading) + (_hounsfield(raw) if _own_hounsfield(reading) else [])
    title = "file without a DICOM header" if words is None else words.kind
    try:
        volume = understand()
    except InputError as e:
        facts.append(Fact("range", "Values", f"{low:g} to {high:g}", [low, high], "measured"))
        return Inspection("volume", title, tuple(facts), stored.notes, (str(e),)), None
    unit = " HU" if _own_hounsfield(reading) else " per mm" if reading.units == "1/mm" else ""
    facts.append(Fact("range", "Values", f"{low:g} to {high:g}{unit}", [low, high], "measured"))
    facts += [_meaning(stored, reading), *measured, *_rendered(volume)]
    notes, missing = _doubts(volume)
    return Inspection("volume", title, tuple(facts), (*volume.notes, *notes), missing), volume


def _own_hounsfield(reading: Reading) -> bool:
    """Whether a volume's own values are taken for Hounsfield units."""
    return reading.units == "HU" and reading.vessels is None and reading.segmentation is None


def _meaning(stored: Stored, reading: Reading) -> Fact:
    """What the values are, and who says so."""
    told, value, origin, where = "Hounsfield units", "hu", "user", ""
    if reading.segmentation is not None:
        told, value = "not used: the densities are those of structures", "structures"
    elif reading.vessels is not None:
        low, high = reading.vessels
        told, value = f"an angiogram: no vessel up to {low:g}, full of contrast agent from {high:g}", "vessels"
    elif reading.units == "1/mm":
        told, value = "linear attenuation, 1/mm", "attenuation"
    elif not reading.believed:
        # PS3.3 C.8.2.1.1.2: of an original CT image they are Hounsfield units where RescaleType is absent.
        stated = stored.rescale_type.upper() in ("HU", "HU_MOD"), stored.modality.upper() == "CT"
        origin = "tag" if any(stated) else "assumed"
        where = "RescaleType (0028,1054)" if stated[0] else "Modality (0008,0060)" if stated[1] else ""
    return Fact("meaning", "What they are", told, value, origin, where)


def _rendered(volume: Volume) -> list[Fact]:
    """What X-rays are rendered from, where that is not the volume's own values."""
    reading = volume.reading
    if reading is None or (reading.vessels is None and reading.segmentation is None):
        return []
    low, high = finite_range(volume.array)
    said = f"{low:g} to {high:g} HU" if volume.units == "HU" else f"contrast agent of {low:g} to {high:g} per mm"
    return [Fact("rendered", "X-rays are rendered from", said, [low, high], "derived")]


def _doubts(volume: Volume) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is unusual of Hounsfield units that nobody vouches for, and why no X-rays can be expected of them."""
    description = describe(volume)
    low, high = description.value_range
    if volume.reading is None or not _own_hounsfield(volume.reading) or description.ok:
        return (), ()
    if volume.reading.believed and low < high:
        return (), ()
    if description.kind == "unknown" and low < high:
        return (_UNLIKE,), ()  # it was accepted as a CT
    return (), (f"X-rays cannot be expected to be rendered from it: {description.sentence}",)


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


def _not_scanned(volume: Volume, reading: Reading) -> list[Fact]:
    """The share of voxels with the value that says so, where there is one."""
    value = reading.background
    if value is None:
        return []
    share = float(np.mean(volume.array == value))
    said = f"{_voxels(share)}, of value {value:g}, taken as air" if share else f"nothing has the value {value:g}"
    return [Fact("not_scanned", "Not scanned", said, share, "user")]


def _hounsfield(volume: Volume) -> list[Fact]:
    """The shares of voxels that are no tissue at all, and of those beyond what scanners store as bone."""
    padding, metal = float(np.mean(volume.array < _AIR)), float(np.mean(volume.array > _METAL))
    told = f"{_voxels(padding)}, taken as air" if padding else "nothing"
    return [
        Fact("padding", f"Below {_AIR:g} HU", told, padding, "measured"),
        Fact("metal", f"Above {_METAL:g} HU (metal)", _voxels(metal), metal, "measured"),
    ]


def _voxels(share: float) -> str:
    return percent(share).replace("pixels", "voxels")


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
