"""Which X-rays belong together: the two planes of a biplane system, and where a calibration says that their cameras stood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import check_rigid
from XVRegistrationLib.scene.attributes import PREFIX
from XVRegistrationLib.scene.xrays import name_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PARTNER = PREFIX + "Partner"
_CALIBRATED = PREFIX + "CalibratedPose"


def pair(node: Any, other: Any) -> None:
    """Say that two X-rays are the planes of one biplane acquisition."""
    node.SetNodeReferenceID(_PARTNER, other.GetID())
    other.SetNodeReferenceID(_PARTNER, node.GetID())


def partner_of(node: Any) -> Any:
    """Image node of the other plane, by that of one; None for an X-ray that has none."""
    other = node.GetNodeReference(_PARTNER)
    return other if other is not None and name_of(other) else None


def keep_calibrated_pose(node: Any, pose: NDArray[np.float64] | None) -> None:
    """Keep where a calibration says that an X-ray's camera stood, (4, 4), camera -> the calibration's world, mm; None forgets it."""
    node.SetAttribute(_CALIBRATED, None if pose is None else " ".join(repr(float(v)) for v in pose.ravel()))


def calibrated_pose(node: Any) -> NDArray[np.float64] | None:
    """What `keep_calibrated_pose` kept; None where there is nothing, or nothing sound."""
    try:
        numbers = np.array((node.GetAttribute(_CALIBRATED) or "").split(), dtype=np.float64)
        return check_rigid(numbers.reshape(4, 4))
    except (InputError, ValueError):
        return None
