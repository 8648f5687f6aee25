"""The rows of the table of X-rays: what is known of each in words, and what came of its registration in words and colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.views import AMBER, BLUE, GREEN, GREY, RED, XrayRow
from XVRegistrationLib.scene.attributes import read_intrinsics, read_known, read_missing, read_origins, read_scale
from XVRegistrationLib.scene.results import SCALE, VOLUME_PLACE, read_registration
from XVRegistrationLib.scene.thumbnails import thumbnail
from XVRegistrationLib.scene.transforms import ijk_to_world
from XVRegistrationLib.scene.xrays import name_of, nodes_of, pose_from_node, volume_node_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.panel.xrays import Xrays

LOOKS_RIGHT, TO_CHECK = 0.9, 0.75
"""Similarities from which a registration is called right, or to be checked. Experience, not calibration."""
_MOVED = 1e-3
"""A pose whose entries differ by more, mm for the position, is another."""


class RowMaker:
    """Makes rows, and keeps pictures and failures, which are not in the scene."""

    def __init__(self, xrays: Xrays) -> None:
        self._xrays = xrays
        self._failed: dict[Any, tuple[str, str]] = {}
        self._pictures: dict[Any, tuple[tuple[Any, ...], NDArray[Any] | None]] = {}

    def outcome(self, node: Any, state: str, text: str) -> None:
        """Keep the outcome of a try that left nothing in the scene; an empty state forgets it."""
        self._failed.pop(node, None)
        if state:
            self._failed[node] = state, text

    def forget(self, node: Any = None) -> None:
        """Forget what is kept of a node, or of all."""
        for kept in (self._failed, self._pictures):
            if node is None:
                kept.clear()
            else:
                kept.pop(node, None)

    def prune(self, scene: Any) -> None:
        """Forget nodes that are no longer in the scene."""
        for node in {*self._failed, *self._pictures}:
            if not alive(scene, node):
                self.forget(node)

    def row(self, node: Any, doing: str, current: bool) -> XrayRow:
        """The row of an X-ray's image node; `doing` is "queued", "registering" or empty."""
        known = read_known(node)
        missing = tuple(read_missing(node)) or tuple(f for f in ("sdd", "spacing") if f not in known)
        state, outcome, color = self._outcome(node, doing, missing)
        return XrayRow(
            node_id=node.GetID(),
            node=node,
            name=name_of(node),
            checked=self._xrays.is_checked(node),
            current=current,
            state=state,
            outcome=outcome,
            color=color,
            hint=_hint(state, outcome),
            geometry=_geometry(known),
            values={**known, "dense_is_bright": read_scale(node) == "attenuation"},
            origins=_origins(node),
            missing=missing,
            thumbnail=self._picture(node),
        )

    def _outcome(self, node: Any, doing: str, missing: tuple[str, ...]) -> tuple[str, str, str]:
        """State, words and colour."""
        if doing == "registering":
            return doing, _("being registered..."), BLUE
        if doing == "queued":
            return doing, _("waiting"), BLUE
        if missing:
            return "incomplete", _("geometry missing"), GREY
        if node in self._failed:
            state, text = self._failed[node]
            return state, _("failed: {reason}").format(reason=text), RED
        found = read_registration(node)
        if found is None:
            return "ready", _("not registered"), GREY
        similarity = float(found.get("similarity", 0.0))
        number = f"{similarity:.2f}"
        changed = _changed_since(node, found, number)
        if changed:
            return "registered", changed, AMBER
        if similarity >= LOOKS_RIGHT:
            return "registered", _("registered, similarity {number}: looks right").format(number=number), GREEN
        if similarity >= TO_CHECK:
            return "registered", _("check: similarity {number}").format(number=number), AMBER
        return "registered", _("failed: similarity {number}").format(number=number), RED

    def _picture(self, node: Any) -> NDArray[Any] | None:
        display, image = node.GetDisplayNode(), node.GetImageData()
        if image is None:
            return None
        looks = () if display is None else (display.GetWindow(), display.GetLevel(), display.GetColorNodeID())
        key = (image.GetMTime(), node.GetSpacing(), looks)
        if node not in self._pictures or self._pictures[node][0] != key:
            try:
                self._pictures[node] = key, thumbnail(node)
            except InputError:
                self._pictures[node] = key, None
        return self._pictures[node][1]


def _changed_since(node: Any, found: dict[str, Any], number: str) -> str:
    """Why an outcome, of the similarity `number`, no longer holds for the X-ray as it is now; empty if it does.

    A pose means something only together with the geometry that it was found for and with the place of the volume.
    """
    if _was_changed(node, found):
        return _("geometry changed since; register again")
    if _volume_was_moved(node, found):
        return _("the CT was moved since; register again")
    if _was_moved(node, found):
        return _("moved since; was registered, similarity {number}").format(number=number)
    return ""


def _was_changed(node: Any, found: dict[str, Any]) -> bool:
    """Whether geometry or scale of the grey values are others than those that were registered, as far as these were kept."""
    try:
        known = found.get("intrinsics")
        if known is not None and Intrinsics.from_dict(known) != read_intrinsics(node):
            return True
    except (AttributeError, InputError, KeyError, TypeError, ValueError):
        return True
    return bool(found.get(SCALE, read_scale(node)) != read_scale(node))


def _volume_was_moved(node: Any, found: dict[str, Any]) -> bool:
    """Whether the volume that the X-ray was registered to, if it still is there, stands elsewhere than it did."""
    place, volume = found.get(VOLUME_PLACE), volume_node_of(node)
    if place is None or volume is None:
        return False
    try:
        return not np.allclose(ijk_to_world(volume), np.array(place, dtype=np.float64), atol=_MOVED)
    except (InputError, TypeError, ValueError):
        return True


def _was_moved(node: Any, found: dict[str, Any]) -> bool:
    """Whether the pose is no longer the one that was found."""
    nodes = nodes_of(node)
    try:
        pose = None if nodes is None else pose_from_node(nodes.pose)
        return pose is None or not np.allclose(pose, np.array(found["pose"], dtype=np.float64), atol=_MOVED)
    except (InputError, KeyError, TypeError, ValueError):
        return True


def _hint(state: str, outcome: str) -> str:
    if state != "registered":
        return outcome
    return _(
        "Similarity of the X-ray and the volume rendered at the pose that was found, at most 1. From {right} on it usually "
        "is right, below {check} it usually is not; these limits are experience and not calibrated. Look at the "
        "blended image."
    ).format(right=LOOKS_RIGHT, check=TO_CHECK)


def _geometry(known: dict[str, Any]) -> str:
    """Distance, spacing and size in words."""
    parts = []
    if known.get("sdd") is not None:
        parts.append(_("distance {mm} mm").format(mm=f"{known['sdd']:.0f}"))
    if known.get("spacing") is not None:
        dx, dy = known["spacing"]
        same = np.isclose(dx, dy)
        parts.append(_("pixel {mm} mm").format(mm=f"{dx:.3g}" if same else f"{dx:.3g} x {dy:.3g}"))
    if known.get("size") is not None:
        parts.append(f"{known['size'][0]} x {known['size'][1]}")
    if known.get("mirrored"):
        parts.append(_("mirrored"))
    return ", ".join(parts)


def _origins(node: Any) -> dict[str, str]:
    """The scale's origin under the name that it has among the values."""
    origins = read_origins(node)
    if "scale" in origins:
        origins["dense_is_bright"] = origins.pop("scale")
    return origins
