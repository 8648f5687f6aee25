"""What a registration found, kept on the X-ray's image node and so in the scene."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.registration.result import VERDICTS, Registration, Trust
from XVRegistrationLib.scene.attributes import PREFIX, read_intrinsics, read_scale
from XVRegistrationLib.scene.transforms import ijk_to_world
from XVRegistrationLib.scene.xrays import nodes_of, pose_from_node, refer_to_volume, volume_node_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

Change = Literal["", "geometry", "volume", "pose"]
_MOVED = 1e-3
"""A pose whose entries differ by more, mm for the position, is another."""
REGISTRATION = PREFIX + "Registration"
"""Attribute of an X-ray's image node that holds its last result."""
SCALE, VOLUME_PLACE = "scale", "volume_ijk_to_ras"
"""What may be kept with a result besides it: scale of the grey values, and the CT's matrix (4, 4), IJK to RAS, mm."""


def write_registration(node: Any, result: Mapping[str, Any], volume_node: Any = None) -> None:
    """Keep the result of a registration, as `Registration.to_dict` gives it, on an X-ray's image node.

    With `volume_node`, the X-ray belongs to this CT from now on.
    """
    node.SetAttribute(REGISTRATION, json.dumps(dict(result), default=_plain))
    if volume_node is not None:
        refer_to_volume(node, volume_node)


def read_registration(node: Any) -> dict[str, Any] | None:
    """The last registration's result; None if there is none, it is damaged, or the X-ray has no pose any more."""
    return None if nodes_of(node) is None else _kept(node)


def _kept(node: Any) -> dict[str, Any] | None:
    try:
        found = json.loads(node.GetAttribute(REGISTRATION) or "null")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def forget_registration(node: Any) -> None:
    """The X-ray counts as not registered from now on."""
    node.SetAttribute(REGISTRATION, None)


def read_trust(found: Mapping[str, Any]) -> Trust | None:
    """How far a result, as `read_registration` gives it, can be trusted; None if it does not say so."""
    try:
        trust = Trust(**found["trust"])
    except (KeyError, TypeError):
        return None
    return trust if trust.verdict in VERDICTS else None


def registration_that_holds(node: Any) -> Registration | None:
    """The last registration if it is true of the X-ray as it is now; else None."""
    found = read_registration(node)
    return None if found is None or changed_since(node, found) else _read(found)


def frame_registration(frame: Any, pose: NDArray[np.float64], image: Any) -> Registration | None:
    """`registration_that_holds` of a frame of a run, shown or not, by its node, its pose (4, 4) and the run's image node."""
    found = _kept(frame)
    if found is None or _was_changed(frame, found) or _volume_was_moved(image, found) or _is_elsewhere(pose, found):
        return None
    return _read(found)


def _read(found: Mapping[str, Any]) -> Registration | None:
    """The registration that was kept; None where it is damaged."""
    try:
        registration = Registration.from_dict(dict(found))
        s = registration.uncertainty
        sound = s is None or (s.pivot.shape, s.covariance.shape, s.scale.shape) == ((3,), (6, 6), (6, 6))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return None
    return registration if sound else None


def changed_since(node: Any, found: Mapping[str, Any]) -> Change:
    """What changed so that a result no longer holds for the X-ray as it is now; empty if it does.

    A pose means something only together with the geometry that it was found for and with the place of the volume.
    """
    if _was_changed(node, found):
        return "geometry"
    if _volume_was_moved(node, found):
        return "volume"
    return "pose" if _was_moved(node, found) else ""


def _was_changed(node: Any, found: Mapping[str, Any]) -> bool:
    """Whether geometry or scale of the grey values are others than those that were registered, as far as these were kept."""
    try:
        known = found.get("intrinsics")
        if known is not None and Intrinsics.from_dict(known) != read_intrinsics(node):
            return True
    except (AttributeError, InputError, KeyError, TypeError, ValueError):
        return True
    return bool(found.get(SCALE, read_scale(node)) != read_scale(node))


def _volume_was_moved(node: Any, found: Mapping[str, Any]) -> bool:
    """Whether the volume that the X-ray was registered to, if it still is there, stands elsewhere than it did."""
    place, volume = found.get(VOLUME_PLACE), volume_node_of(node)
    if place is None or volume is None:
        return False
    try:
        return not np.allclose(ijk_to_world(volume), np.array(place, dtype=np.float64), atol=_MOVED)
    except (InputError, TypeError, ValueError):
        return True


def _was_moved(node: Any, found: Mapping[str, Any]) -> bool:
    """Whether the pose is no longer the one that was found."""
    nodes = nodes_of(node)
    try:
        return nodes is None or _is_elsewhere(pose_from_node(nodes.pose), found)
    except InputError:
        return True


def _is_elsewhere(pose: NDArray[np.float64], found: Mapping[str, Any]) -> bool:
    try:
        return not np.allclose(pose, np.array(found["pose"], dtype=np.float64), atol=_MOVED)
    except (KeyError, TypeError, ValueError):
        return True


def _plain(value: Any) -> Any:
    """Arrays and numbers of NumPy, for JSON."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be stored with a registration.")
