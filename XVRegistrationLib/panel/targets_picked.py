"""A point picked in two X-rays or more: where it is in space, how well the picks agree, and making it a target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.epipolar import triangulate
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.targets import known_pose
from XVRegistrationLib.panel.views import Pick, PickedView
from XVRegistrationLib.scene.attributes import read_intrinsics
from XVRegistrationLib.scene.hierarchy import add_to_folder
from XVRegistrationLib.scene.picks import is_of_other_frame, make_pick, pick_node, pick_of, remove_pick
from XVRegistrationLib.scene.xrays import name_of, nodes_of

if TYPE_CHECKING:
    from XVRegistrationLib.geometry.epipolar import Triangulation
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.targets import Targets
    from XVRegistrationLib.panel.viewing import Viewing
    from XVRegistrationLib.panel.xrays import Xrays

_APART_MM = 3.0
"""From a ray: neither a click nor a registration to be trusted is off by so much."""


class PickedTarget:
    """One pick on each X-ray, all of one thing."""

    def __init__(self, context: Context, xrays: Xrays, viewing: Viewing, targets: Targets) -> None:
        self._context = context
        self._xrays = xrays
        self._viewing = viewing
        self._targets = targets
        self.forget()

    def forget(self) -> None:
        self._seen: tuple[Any, ...] = ()
        self._found: Triangulation | None = None
        self._problem = ""

    def tick(self) -> None:
        """Look whether something was picked, or the C-arm of an X-ray with a pick was moved."""
        if self._context.parameters is None or self._context.scene.IsClosing():
            return
        seen = []
        for node in self._xrays.nodes():
            pixel = self._pick(node)
            pose = None if pixel is None else known_pose(self._xrays, node)
            if pixel is not None and pose is not None:
                seen.append((node, pixel, pose.tobytes(), read_intrinsics(node)))
        if tuple(seen) != self._seen:
            self._seen = tuple(seen)
            self._triangulate()
            self._context.changed.emit("targets")

    def picks(self) -> list[tuple[Any, tuple[float, float]]]:
        """X-ray's image node and stored (column, row) of each pick on an X-ray whose pose is known, as of the last tick."""
        return [(node, pixel) for node, pixel, *_rest in self._seen]

    def view(self) -> PickedView:
        found = self._found
        rows = []
        for i, (node, pixel) in enumerate(self.picks()):
            beside = (None, None) if found is None else (float(found.residual_px[i]), float(found.distance_mm[i]))
            rows.append(Pick(name_of(node), pixel, *beside))
        r, a, s = (0.0, 0.0, 0.0) if found is None else (float(v) for v in found.point)
        return PickedView(tuple(rows), None if found is None else (r, a, s), self._problem)

    # What can be done

    def can_pick(self) -> str:
        node = self._viewing.node
        if node is None:
            return _("Choose an X-ray of the table.")
        if known_pose(self._xrays, node) is None:
            return _("Register {name} first: where its rays run is not known.").format(name=name_of(node))
        return ""

    def can_clear(self) -> str:
        there = any(pick_node(node) is not None for node in self._xrays.nodes())
        return "" if there else _("Nothing was picked.")

    def can_add(self) -> str:
        return "" if self._found is not None else self._problem or _("Pick the same thing in two registered X-rays.")

    def pick(self, pixel: tuple[float, float] | None = None) -> None:
        """Pick a point on the current X-ray; without a pixel (column, row), where the user clicks next."""
        _check(self.can_pick())
        nodes = nodes_of(self._viewing.node)
        assert nodes is not None
        make_pick(self._context.scene, nodes, pixel)
        self._context.parameters.linkCursors = True
        if pixel is None:
            self._context.say(_("Click in the X-ray's view; then pick the same thing in another X-ray."))
        self.tick()

    def clear(self) -> None:
        """Remove all picks."""
        for node in self._xrays.nodes():
            remove_pick(self._context.scene, node)
        self.tick()
        self._context.changed.emit("targets")

    def add(self, name: str = "") -> str:
        """Make the point a target, in the list that is chosen or else in a new one; the picks go. Returns its name."""
        self.tick()
        _check(self.can_add())
        assert self._found is not None
        scene, node = self._context.scene, self._targets.node()
        if node is None:
            node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", _("Targets"))
            node.CreateDefaultDisplayNodes()
            add_to_folder(scene, [node], None)
            self._context.parameters.targets = node
        name = name or _free_name([label for label, _point in self._targets.points()])
        # In the world, whatever transform the list is under.
        node.AddControlPointWorld(*self._found.point.tolist(), name)
        beside = " + ".join(f"{v:.1f}" for v in self._found.residual_px)
        self._context.say(
            _("{name} is a target; it falls {beside} px beside the picks.").format(name=name, beside=beside)
        )
        self.clear()
        return name

    # Inside

    def _pick(self, node: Any) -> tuple[float, float] | None:
        if pick_node(node) is None or nodes_of(node) is None:
            return None
        if is_of_other_frame(node):
            remove_pick(self._context.scene, node)
            return None
        try:
            return pick_of(node)
        except InputError as e:
            remove_pick(self._context.scene, node)
            self._context.say(str(e))
            return None

    def _triangulate(self) -> None:
        self._found, self._problem = None, ""
        picks = self._seen
        if len(picks) < 2:
            return
        poses = [np.frombuffer(pose).reshape(4, 4) for _node, _pixel, pose, _camera in picks]
        try:
            self._found = triangulate([pick[1] for pick in picks], poses, [pick[3] for pick in picks])
        except InputError as e:
            self._problem = str(e)
            return
        if self._found.distance_mm.max() > _APART_MM:
            self._problem = _("The rays do not meet: look whether the picks show the same thing, and at the poses.")


def _free_name(taken: list[str]) -> str:
    """The first of P1, P2, ... that is no target's name."""
    return next(name for n in range(1, len(taken) + 2) if (name := f"P{n}") not in taken)


def _check(obstacle: str) -> None:
    if obstacle:
        raise InputError(obstacle)
