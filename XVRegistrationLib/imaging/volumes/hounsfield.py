"""Whether values are Hounsfield units, and what was not scanned made air."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.volumes.pixels import AIR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.volumes.stored import Stored

LOWEST = -1024
"""HU. What a scanner calculates is not below; scanners fill up with -2000, -2048 or -3024 what they do not see."""
_TWELVE_BITS = 3071  # HU: the highest value of a CT that stores 12 bits
_NORMALISED = 20.0
_HIGHEST = 100_000.0  # HU; steel has 32,000 at 70 keV
_MUCH = 0.2  # of the voxels; noise keeps any one value of a scanned body far below
_NO_AIR = -200.0  # HU: neither air nor fat is above
_CT_LIKE = ("", "CT", "XA", "OT")
_ADVICE = (
    "for MR and other modalities give a segmentation whose structures have densities; for an angiogram the window of its "
    "vessels"
)


def checked_hounsfield(stored: Stored, name: str, believed: bool = False) -> tuple[NDArray[Any], list[str]]:
    """(K, J, I) HU with air for padding, and what was found, in sentences; the array is changed in place.

    Raises InputError with advice for what cannot be a CT in Hounsfield units, unless that is `believed`: another modality
    or kind of values by the header, values of 0 to 1, or neither air nor fat.
    """
    if not believed:
        _check_header(stored, name)
    notes = []
    array = stored.array
    if not believed:
        # Before what is no number becomes air, which would make a CT of anything.
        _check_range(array, name)
    padded = clamp_padding(array)
    if padded:
        share = padded / array.size
        how_much = f"{share:.0%}" if share >= 0.01 else "less than 1%"
        notes.append(f"Padding below {LOWEST} HU ({how_much} of the voxels) was set to air.")
    high = float(array.max())
    notes += _cut_out(array)
    if high == _TWELVE_BITS:
        notes.append("Its highest value is 3071 HU, where 12 bits end: metal in it is denser than it says.")
    elif high > _TWELVE_BITS:
        notes.append(f"It has values up to {high:.0f} HU, which only metal has.")
    return array, notes


def _cut_out(array: NDArray[Any]) -> list[str]:
    """A sentence where a corner's value, which is not air, fills much of a volume: what is about a bone that was cut out."""
    value = array[0, 0, 0]
    if not value > _NO_AIR:
        return []
    share = sum(np.count_nonzero(plane == value) for plane in array) / array.size
    if share < _MUCH:
        return []
    said = f"{share:.0%} of the voxels are exactly {value:g} HU and will absorb as such"
    return [f"{said}: if they were not scanned or were cut away, say that {value:g} is what was not scanned."]


def clamp_padding(array: NDArray[Any]) -> int:
    """How many voxels were below what a scanner calculates, or no number; they are air now."""
    if array.dtype.kind == "u" or (array.dtype.kind == "i" and np.iinfo(array.dtype).min > LOWEST):
        return 0
    count = 0
    for plane in array:  # one at a time: a mask of the whole volume would take half of its memory
        if not plane.min() >= LOWEST:  # also where it is no number
            outside = ~(plane >= LOWEST)
            count += int(np.count_nonzero(outside))
            plane[outside] = AIR
    return count


def _scanned(array: NDArray[Any]) -> tuple[float, float, bool]:
    """Lowest and highest value of what was scanned, and whether numbers below that, as CTs have, say what was not."""
    low, high, padded = np.inf, -np.inf, False
    for plane in array:
        scanned = plane
        if not plane.min() >= LOWEST:  # also where it is no number
            scanned = plane[plane >= LOWEST]
            padded = padded or bool((plane < LOWEST).any())
        if scanned.size:
            low, high = min(low, float(scanned.min())), max(high, float(scanned.max()))
    return (low, high, padded) if low <= high else (AIR, AIR, padded)


def _check_header(stored: Stored, name: str) -> None:
    if stored.modality.upper() not in _CT_LIKE:
        raise InputError(
            f"{name} is of modality {stored.modality} (0008,0060) and has no Hounsfield units: {_ADVICE}.",
            give=("segmentation", "vessels"),
        )
    if stored.rescale_type.upper() not in ("", "HU", "HU_MOD", "US"):
        raise InputError(
            f"{name} holds values of the type {stored.rescale_type} (0028,1054), not Hounsfield units; "
            "choose another series of the scan."
        )


def _check_range(array: NDArray[Any], name: str) -> None:
    low, high, padded = _scanned(array)
    said = f"{name} has values from {low:g} to {high:g}"
    if low > -_NORMALISED and high < _NORMALISED:
        raise InputError(
            f"{said}, which are no Hounsfield units but look normalised; give the original, or say so where they "
            "are linear attenuation in 1/mm.",
            give=("attenuation",),
        )
    if high > _HIGHEST:
        raise InputError(f"{said}, further than those of a CT go; check RescaleSlope (0028,1053), or the file's scale.")
    if low > _NO_AIR and not padded:
        raise InputError(
            f"{said}: there is no air, so that they are no Hounsfield units. For a CT with an offset subtract it (1000 or "
            f"1024); for a bone cut out of its CT say that {low:g} is what was not scanned; {_ADVICE}. "
            "Where they are Hounsfield units all the same, say so.",
            give=("background", "segmentation", "vessels", "believed"),
        )
