"""What a volume seems to be, judged by its values and its size, in words for the user."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.volume import Volume

Kind = Literal["CT", "CT without offset", "labels", "unknown", "vessels", "densities"]

_SAMPLES = 2_000_000
_MOST_LABELS = 256
# Of what is not air or lung, so much of a patient is fat and soft tissue on the Hounsfield scale. Bones alone stay below.
_SOFT_SHARE = 0.2
_OFFSETS = (1024, 1000)  # what is added to CT numbers so that they fit unsigned integers
_SMALLEST, _LARGEST = 40.0, 2500.0  # mm: no CT of a patient is smaller in its longest side, or larger
_THICK = 5.0  # mm
_HIGHEST_ATTENUATION = 10.0  # 1/mm; gold has 9 at 60 keV, lead 6, iron 1 (NIST, XCOM)

_SAME = "All its voxels have the same value, so that it shows nothing."


@dataclass(frozen=True)
class Description:
    """What is known of a volume without knowing whose it is."""

    kind: Kind
    """"vessels" and "densities" (of structures) are never found by looking: a user says so."""
    value_range: tuple[float, float]
    """Lowest and highest value; of Hounsfield units those of up to two million voxels."""
    ok: bool
    """Whether X-rays can be expected to be rendered from it."""
    sentence: str
    """What it is and what to look out for."""


def describe(volume: Volume) -> Description:
    """Whether a volume is a CT in Hounsfield units, or has attenuation that there is, and what speaks against it."""
    if volume.units == "1/mm":
        return _attenuation(*finite_range(volume.array))  # of all voxels: vessels may be in few of them
    stride = max(1, round((volume.array.size / _SAMPLES) ** (1 / 3)))
    sample = np.asarray(volume.array[::stride, ::stride, ::stride], dtype=np.float32).ravel()
    sample = sample[np.isfinite(sample)]
    if not sample.size or sample.min() == sample.max():
        value = (0.0, 0.0) if not sample.size else (float(sample[0]), float(sample[0]))
        return Description("unknown", value, False, _SAME)
    low, high = float(sample.min()), float(sample.max())
    said = f"from {low:.0f} to {high:.0f}"
    if _is_ct(sample):
        return Description("CT", (low, high), True, " ".join([f"A CT with values {said} HU.", *doubts(volume)]))
    for offset in _OFFSETS:
        if low >= 0 and _is_ct(sample - offset) and _has_gap(sample - offset):
            advice = (
                f"Its values, {said}, look like a CT's with {offset} added; subtract {offset} to have Hounsfield units."
            )
            return Description("CT without offset", (low, high), False, advice)
    if np.issubdtype(volume.array.dtype, np.integer) and low >= 0 and len(np.unique(sample)) <= _MOST_LABELS:
        return Description(
            "labels", (low, high), False, f"It looks like a label map with values {said}, not like a CT."
        )
    advice = f"Its values, {said}, are not those of a CT in Hounsfield units; X-rays cannot be rendered from it."
    return Description("unknown", (low, high), False, advice)


def _attenuation(low: float, high: float) -> Description:
    """Of values that are said to be linear attenuation in 1/mm."""
    if low == high:
        return Description("unknown", (low, high), False, _SAME)
    said = f"Linear attenuation up to {f'{high:.0f}' if high >= 10 else f'{high:.3g}'} per mm."
    if high > _HIGHEST_ATTENUATION:
        return Description("unknown", (low, high), False, f"{said} Nothing in a patient has so much; say what it is.")
    if high <= 0:
        return Description("unknown", (low, high), False, f"{said} What absorbs nothing shows nothing; say what it is.")
    return Description("unknown", (low, high), True, said)


def finite_range(array: NDArray[Any]) -> tuple[float, float]:
    """Lowest and highest of all values (K, J, I) that are numbers; zeros where none is."""
    low, high = np.inf, -np.inf
    for plane in array:
        values = plane if plane.dtype.kind in "iu" else plane[np.isfinite(plane)]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    return (low, high) if low <= high else (0.0, 0.0)


def _is_ct(sample: NDArray[Any]) -> bool:
    """Whether there is something like air or fat, something like bone, and a good deal of soft tissue."""
    tissue = sample[sample > -500]
    if not tissue.size:
        return False
    soft = np.count_nonzero(np.abs(tissue) <= 200) / tissue.size
    return bool(sample.min() < -50 and sample.max() > 150 and soft >= _SOFT_SHARE)


def _has_gap(sample: NDArray[Any]) -> bool:
    """Whether few values lie between lung and fat, as in a CT; an MR shifted by an offset has many there."""
    between = np.count_nonzero((sample > -500) & (sample < -250))
    return bool(sample.min() < -700 and between < 0.5 * np.count_nonzero(np.abs(sample) <= 200))


def doubts(volume: Volume) -> list[str]:
    """Sentences about sizes that are unusual."""
    longest = max(n * s for n, s in zip(volume.array.shape[::-1], volume.spacing, strict=True))
    doubts = []
    if not _SMALLEST <= longest <= _LARGEST:
        doubts.append(f"But its longest side is {longest:.0f} mm: check the voxel spacing in its header.")
    if volume.spacing.max() > _THICK:
        doubts.append(f"Its voxels are up to {volume.spacing.max():.1f} mm long, which limits how exact poses are.")
    return doubts
