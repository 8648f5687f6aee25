"""The targets on the current X-ray: where each falls, how sure that is, and the one that is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.views import TargetRow
from XVRegistrationLib.scene.attributes import read_intrinsics
from XVRegistrationLib.scene.ellipses import uncertainty_of
from XVRegistrationLib.scene.pointer import jump_to
from XVRegistrationLib.scene.results import REGISTRATION, read_registration, read_trust, registration_that_holds
from XVRegistrationLib.scene.runs import item_of
from XVRegistrationLib.scene.xrays import name_of, nodes_of, pose_from_node

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.viewing import Viewing
    from XVRegistrationLib.panel.xrays import Xrays

Point = tuple[float, float, float]


class Targets:
    """The control points of the parameter `targets`, on the X-ray that is shown."""

    def __init__(self, context: Context, xrays: Xrays, viewing: Viewing) -> None:
        self._context = context
        self._xrays = xrays
        self._viewing = viewing
        self.forget()

    def forget(self) -> None:
        self._seen: tuple[Any, ...] = ()
        self._selected: tuple[Any, int] | None = None

    def tick(self) -> None:
        """Look whether a target, the X-ray, its pose or what is known of that changed."""
        if self._context.parameters is None or self._context.scene.IsClosing():
            return
        points, node = self.points(), self._viewing.node
        state: tuple[Any, ...] = ()
        if node is not None:
            pose = known_pose(self._xrays, node)
            now = None if pose is None else pose.tobytes()
            state = (node, item_of(node), now, node.GetAttribute(REGISTRATION), read_intrinsics_of(node))
        seen = (points, state)
        if seen != self._seen:
            self._seen = seen
            self._context.changed.emit("targets")

    def node(self) -> Any:
        """vtkMRMLMarkupsFiducialNode of the targets, or None."""
        p = self._context.parameters
        node = None if p is None else p.targets
        return node if alive(self._context.scene, node) else None

    def points(self) -> list[tuple[str, Point | None]]:
        """Name and place, RAS mm, of each target; None for one that has no place yet."""
        node = self.node()
        found: list[tuple[str, Point | None]] = []
        for i in range(0 if node is None else node.GetNumberOfControlPoints()):
            placed = node.GetNthControlPointPositionStatus(i) == node.PositionDefined
            r, a, s = node.GetNthControlPointPositionWorld(i)
            found.append((node.GetNthControlPointLabel(i), (r, a, s) if placed else None))
        return found

    @property
    def selected(self) -> Point | None:
        """Place, RAS mm, of the target that is looked at; None if none is."""
        node, number = self._selected or (None, 0)
        points = self.points()
        return points[number][1] if node is not None and node is self.node() and number < len(points) else None

    def select(self, number: int | None) -> None:
        """Look at a target, by its place in the list from 0: slice views and crosshair go there. None: at none."""
        if number is None:
            self._selected = None
            return
        points = self.points()
        if not 0 <= number < len(points):
            raise InputError(_("Choose a target of the table."))
        name, point = points[number]
        self._selected = (self.node(), number)
        if point is None:
            raise InputError(_("The target {name} has no place yet.").format(name=name))
        jump_to(self._context.scene, point)

    def rows(self) -> list[TargetRow]:
        """All targets in their order."""
        targets = self.points()
        node = self._viewing.node
        pose = None if node is None else known_pose(self._xrays, node)
        if pose is None:
            return [TargetRow(name, point, note=self.hint() if point else _no_place()) for name, point in targets]
        camera = read_intrinsics(node)
        nowhere = (np.nan, np.nan, np.nan)
        points = np.array([point or nowhere for _name, point in targets], dtype=np.float64).reshape(-1, 3)
        pixels = project(points, pose, camera)
        spread = uncertainty_of(node, points)
        rows = []
        for i, (name, point) in enumerate(targets):
            if point is None or not np.isfinite(pixels[i]).all():
                note = _no_place() if point is None else _("It lies behind the X-ray's source.")
                rows.append(TargetRow(name, point, note=note))
                continue
            column, row = (float(v) for v in pixels[i])
            inside = bool((pixels[i] >= -0.5).all() and (pixels[i] <= np.array(camera.size) - 0.5).all())
            in_plane, depth = (None, None) if spread is None else (spread.in_plane_mm[i], spread.depth_mm[i])
            note = "" if inside else _("It lies outside of the image.")
            if spread is None and inside:
                note = _("How sure this is, is known at a registered pose alone.")
            rows.append(TargetRow(name, point, (column, row), _finite(in_plane), _finite(depth), inside, note))
        return rows

    def hint(self) -> str:
        """What is to be known of all of them, a sentence; empty if there is nothing."""
        if not self.points():
            return _("Choose targets, markups points, in the section Patient.")
        node = self._viewing.node
        if node is None:
            return _("Choose an X-ray of the table.")
        if known_pose(self._xrays, node) is None:
            return _("Register {name} to see where the targets are on it.").format(name=name_of(node))
        found = read_registration(node)
        trust = None if found is None else read_trust(found)
        if trust is not None and trust.verdict == "failed" and registration_that_holds(node) is not None:
            return _("The registration of {name} failed: the targets are elsewhere.").format(name=name_of(node))
        return ""


def known_pose(xrays: Xrays, node: Any) -> NDArray[np.float64] | None:
    """The pose (4, 4) of an X-ray that was registered, or put somewhere by hand; None where nobody knows it."""
    nodes = nodes_of(node)
    if nodes is None or xrays.is_first_placed(node):
        return None
    try:
        return pose_from_node(nodes.pose)
    except InputError:
        return None  # under a transform that is not rigid


def read_intrinsics_of(node: Any) -> Any:
    """An X-ray's geometry, to be compared; None while something of it is missing."""
    return None if nodes_of(node) is None else read_intrinsics(node)


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None


def _no_place() -> str:
    return _("It has no place yet: put it in a view of the CT.")
