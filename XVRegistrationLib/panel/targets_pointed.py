"""Linked cursors: what is pointed at in one view is shown in the others, while the parameter `linkCursors` says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.geometry.camera import pixel_to_camera, project
from XVRegistrationLib.geometry.epipolar import epipolar_line
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.panel.targets import known_pose
from XVRegistrationLib.scene.attributes import read_intrinsics
from XVRegistrationLib.scene.hierarchy import remove_nodes
from XVRegistrationLib.scene.overlays import VIEW_REFERENCE
from XVRegistrationLib.scene.pointer import pointed_at
from XVRegistrationLib.scene.sights import hide_sight, set_lines, set_mark, set_point, set_rays, show_sight
from XVRegistrationLib.scene.transforms import ijk_to_world
from XVRegistrationLib.scene.xrays import nodes_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.targets import Point, Targets
    from XVRegistrationLib.panel.targets_picked import PickedTarget
    from XVRegistrationLib.panel.xrays import Xrays

Pixel = tuple[float, float]
_RAYS, _POINT = "rays", "point"
_MARK, _RING, _LINES = "mark", "ring", "lines"


class Pointing:
    """Marks, rays and lines, drawn anew at a tick that finds the pointer, a pose, a pick or what is shown changed."""

    def __init__(self, context: Context, xrays: Xrays, targets: Targets, picked: PickedTarget) -> None:
        self._context = context
        self._xrays = xrays
        self._targets = targets
        self._picked = picked
        self._nodes: dict[tuple[str, str], Any] = {}
        self.forget()

    def forget(self) -> None:
        """Draw nothing any more; what is drawn goes, unless the scene takes it along."""
        self._clear()
        self._seen: tuple[Any, ...] = ()

    def tick(self) -> None:
        p = self._context.parameters
        if p is None or self._context.scene.IsClosing():
            return
        linked = p.linkCursors
        target = self._targets.selected if p.showTargets else None
        if not linked and target is None:
            if self._nodes:
                self._clear()
            self._seen = ()
            return
        xrays = {node.GetID(): _Shown(self._xrays, node) for node in self._xrays.nodes()}
        pointed = pointed_at(self._context.scene) if linked else None
        picks = self._picked.picks() if linked else []
        point = self._picked.view().point if linked else None
        seen = (linked, target, pointed, tuple(picks), point, tuple((key, x.state) for key, x in xrays.items()))
        if seen == self._seen:
            return
        self._seen = seen
        usable = {key: x for key, x in xrays.items() if x.pose is not None}
        over = None if pointed is None or not pointed.view_id else _over(xrays, pointed.view_id)
        pixels: list[tuple[str, Pixel]] = [(node.GetID(), pixel) for node, pixel in picks]
        if over is not None and pointed is not None and over in usable:
            pixel = usable[over].on_image(_pixel_at(usable[over].node, pointed.point))
            pixels += [] if pixel is None else [(over, pixel)]
        in_ct = pointed.point if pointed is not None and over is None else None
        self._draw(usable, pixels, in_ct, target, point)

    def _draw(
        self,
        xrays: dict[str, _Shown],
        pixels: list[tuple[str, Pixel]],
        in_ct: Point | None,
        target: Point | None,
        found: Point | None,
    ) -> None:
        """Draw everything that is wanted, and hide the rest."""
        wanted: dict[tuple[str, str], str] = {}
        scene = self._context.scene
        rays = [xrays[key].ray(pixel) for key, pixel in pixels if key in xrays]
        if rays:
            self._nodes[_RAYS, ""] = set_rays(scene, self._nodes.get((_RAYS, "")), rays)
            wanted[_RAYS, ""] = ""
        if found is not None:
            self._nodes[_POINT, ""] = set_point(scene, self._nodes.get((_POINT, "")), found)
            wanted[_POINT, ""] = ""
        for key, xray in xrays.items():
            nodes = nodes_of(xray.node) if xray.view_id else None
            if nodes is None:
                continue
            for kind, point in ((_MARK, in_ct), (_RING, target)):
                pixel = None if point is None else xray.pixel_of(point)
                if pixel is not None:
                    before = self._nodes.get((kind, key))
                    self._nodes[kind, key] = set_mark(scene, before, nodes, pixel, ring=kind == _RING)
                    wanted[kind, key] = xray.view_id
            lines = [xray.line(pixel, xrays[a]) for a, pixel in pixels if a != key and a in xrays]
            there = [line for line in lines if line is not None]
            if there:
                self._nodes[_LINES, key] = set_lines(scene, self._nodes.get((_LINES, key)), nodes, there)
                wanted[_LINES, key] = xray.view_id
        for name, node in list(self._nodes.items()):
            if name in wanted:
                show_sight(node, wanted[name])
            elif name[1] and name[1] not in xrays:
                remove_nodes(scene, [self._nodes.pop(name)])
            else:
                hide_sight(node)

    def _clear(self) -> None:
        scene = self._context.scene
        if not scene.IsClosing():
            remove_nodes(scene, [node for node in self._nodes.values() if alive(scene, node)])
        self._nodes = {}


class _Shown:
    """An X-ray: its pose if that is known, its camera, and the view that shows it."""

    def __init__(self, xrays: Xrays, node: Any) -> None:
        self.node = node
        self.pose: NDArray[np.float64] | None = known_pose(xrays, node)
        self.view_id: str = node.GetNodeReferenceID(VIEW_REFERENCE) or ""
        self.camera: Intrinsics | None = read_intrinsics(node) if self.pose is not None else None

    @property
    def state(self) -> tuple[Any, ...]:
        """All of it, to be compared."""
        return None if self.pose is None else self.pose.tobytes(), self.view_id, self.camera

    def ray(self, pixel: Pixel) -> NDArray[np.float64]:
        """Both ends (2, 3), RAS mm, of the ray from the source to a pixel."""
        assert self.pose is not None
        assert self.camera is not None
        end = transform_points(self.pose, pixel_to_camera(np.array(pixel), self.camera))
        return np.stack([self.pose[:3, 3], end])

    def line(self, pixel: Pixel, other: _Shown) -> NDArray[np.float64] | None:
        """Where on this X-ray a thing at a pixel of another may be: both ends (2, 2) in stored px."""
        assert self.pose is not None
        assert self.camera is not None
        assert other.pose is not None
        assert other.camera is not None
        return epipolar_line(pixel, other.pose, other.camera, self.pose, self.camera)

    def pixel_of(self, point: Point) -> Pixel | None:
        """Where a point falls; None where that is not on the image."""
        assert self.pose is not None
        assert self.camera is not None
        column, row = (float(v) for v in project(np.array(point), self.pose, self.camera))
        return self.on_image((column, row))

    def on_image(self, pixel: Pixel) -> Pixel | None:
        """The pixel, or None if it is not on the image."""
        assert self.camera is not None
        (column, row), (width, height) = pixel, self.camera.size
        return (column, row) if -0.5 <= column <= width - 0.5 and -0.5 <= row <= height - 0.5 else None


def _over(xrays: dict[str, _Shown], view_id: str) -> str | None:
    """ID of the X-ray that a view shows."""
    return next((key for key, xray in xrays.items() if xray.view_id == view_id), None)


def _pixel_at(node: Any, point: Point) -> Pixel:
    """Stored (column, row) of a point on an X-ray, RAS mm; InputError never: its pose is known to be rigid."""
    column, row, _depth = transform_points(np.linalg.inv(ijk_to_world(node)), np.array(point))
    return float(column), float(row)
