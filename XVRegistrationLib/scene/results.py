"""What a registration found, kept on the X-ray's image node and so in the scene."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.scene.attributes import PREFIX
from XVRegistrationLib.scene.xrays import nodes_of, refer_to_volume

if TYPE_CHECKING:
    from collections.abc import Mapping

_REGISTRATION = PREFIX + "Registration"
SCALE, VOLUME_PLACE = "scale", "volume_ijk_to_ras"
"""What may be kept with a result besides it: scale of the grey values, and the CT's matrix (4, 4), IJK to RAS, mm."""


def write_registration(node: Any, result: Mapping[str, Any], volume_node: Any = None) -> None:
    """Keep the result of a registration, as `Registration.to_dict` gives it, on an X-ray's image node.

    With `volume_node`, the X-ray belongs to this CT from now on.
    """
    node.SetAttribute(_REGISTRATION, json.dumps(dict(result), default=_plain))
    if volume_node is not None:
        refer_to_volume(node, volume_node)


def read_registration(node: Any) -> dict[str, Any] | None:
    """The last registration's result; None if there is none, it is damaged, or the X-ray has no pose any more."""
    text = node.GetAttribute(_REGISTRATION)
    if not text or nodes_of(node) is None:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def forget_registration(node: Any) -> None:
    """The X-ray counts as not registered from now on."""
    node.SetAttribute(_REGISTRATION, None)


def _plain(value: Any) -> Any:
    """Arrays and numbers of NumPy, for JSON."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be stored with a registration.")
