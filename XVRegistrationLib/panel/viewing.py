"""What is drawn on the X-rays: the DRR that follows the pose, labels and targets, and the X-ray's own view."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.labels import Labels
from XVRegistrationLib.panel.words import translated
from XVRegistrationLib.panel.xray_in_view import XrayInView
from XVRegistrationLib.scene.attributes import PREFIX, read_intrinsics
from XVRegistrationLib.scene.comparison import drr_of
from XVRegistrationLib.scene.overlays import set_drr, set_targets
from XVRegistrationLib.scene.xrays import name_of, nodes_of, pose_from_node, volume_node_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.colors import Color
    from XVRegistrationLib.jobs.engine import Message
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.patient import Patient
    from XVRegistrationLib.panel.xrays import Xrays
    from XVRegistrationLib.scene.xrays import XrayNodes

_LIVE_PIXELS, _STILL_PIXELS = 256, 512
"""Along the longer side of a DRR while the pose moves, and when it rests."""
_REST_SECONDS = 0.3
_LIVE_REQUESTS = 2
"""One is rendered while the result of the other waits for the next tick."""


class Viewing:
    """The current X-ray, and what is drawn on all of them."""

    def __init__(self, context: Context, patient: Patient, xrays: Xrays) -> None:
        self._context = context
        self._patient = patient
        self._xrays = xrays
        self._labels = Labels(context, patient)
        self._labels.changed = self._redraw_labels
        self.view = XrayInView(context)
        self.forget()

    def forget(self) -> None:
        """Let go of all nodes."""
        self._node: Any = None
        self._pose: NDArray[np.float64] | None = None
        self._moved_at: float | None = None
        self._fine: dict[str, tuple[Any, ...]] = {}
        """ID of an X-ray -> what its DRR was asked for, where that is a fine one."""
        self._live: Counter[str] = Counter()
        """Live DRRs that are under way, by the ID of the X-ray."""
        self._behind = False
        """Whether the pose has moved on since the last live DRR was asked for."""
        self._drawn_for: tuple[Any, ...] = ()
        self.view.forget()
        self._targets: tuple[Any, ...] = ()
        self._problem = ""
        self._outdated: set[str] = set()
        """IDs of X-rays whose labels are of an earlier pose: they are hidden until they are right."""
        self._labels.forget()

    @property
    def busy(self) -> bool:
        return self._labels.busy or (self._patient.ready and (self._moved_at is not None or self._behind))

    @property
    def node(self) -> Any:
        """Image node of the current X-ray, or None; one of another volume waits until that is chosen again."""
        p = self._context.parameters
        node = None if p is None else p.xray
        if not alive(self._context.scene, node) or not name_of(node):
            return None
        return node if volume_node_of(node) in (None, self._patient.node) else None

    def show(self, node: Any) -> None:
        if not alive(self._context.scene, node) or not name_of(node):
            raise InputError(_("Choose an X-ray of the table."))
        if self._context.parameters is not None:
            self._context.parameters.xray = node

    def structures(self) -> list[tuple[int, str, Color]]:
        """Value, name and colour of the structures that the engine can project."""
        return [(value, name, color) for value, (name, color) in self._labels.names.items()]

    def tick(self) -> None:
        if self._context.parameters is None or self._context.scene.IsClosing():
            return
        self._labels.tick()
        node = self.node
        if node is not self._node:
            self._node, self._pose, self._moved_at, self._behind = node, None, None, False
            self._context.changed.emit("view")
            self._context.changed.emit("xrays")
        nodes = None if node is None else nodes_of(node)
        if nodes is not None:
            self._follow(nodes)
        else:  # its pose was removed while it moved: there is nothing to wait for
            self._moved_at, self._behind = None, False
        self._follow_targets()
        self._show(node)

    def refresh(self, node: Any) -> None:
        """Draw everything on an X-ray anew at its present pose: it was registered."""
        nodes = nodes_of(node)
        if nodes is None:
            return
        if node is self._node:
            self._pose, self._moved_at, self._behind = _pose(nodes), None, False
        self._outdated.add(node.GetID())
        self._draw_targets(nodes)
        if self._patient.ready:
            self._draw_still(nodes)
            self._project_labels(node)

    def note_move(self, nodes: XrayNodes) -> None:
        """An X-ray that the user moved is no longer where it was put first, nor are its labels where they belong."""
        node = nodes.xray
        self._outdated.add(node.GetID())
        if self._xrays.is_first_placed(node) and not np.allclose(_pose(nodes), self._xrays.first_pose(node)[0]):
            self._xrays.moved(node)
        self._draw_targets(nodes)
        self._context.changed.emit("xrays")

    def draw_live(self, nodes: XrayNodes) -> bool:
        """Draw the DRR of an X-ray that is being moved, coarsely, and say whether; not where it is unwanted or lags behind."""
        name = nodes.xray.GetID()
        if not self._context.parameters.liveDrr or self._live[name] >= _LIVE_REQUESTS:
            return False
        self._live[name] += 1
        self._fine.pop(name, None)
        self._ask_drr(nodes, _LIVE_PIXELS, channel=f"live {name}", live=self._live)
        return True

    # The current X-ray

    def _follow(self, nodes: XrayNodes) -> None:
        """Draw what depends on the pose of the current X-ray when it has moved."""
        try:
            pose = _pose(nodes)
        except InputError as e:
            self._moved_at, self._behind = None, False
            if self._problem != str(e):
                self._problem = str(e)
                self._context.say(str(e))
            return
        self._problem = ""
        drawn_for = (self._patient.key, self._context.parameters.liveDrr, read_intrinsics(nodes.xray))
        if self._pose is None or not np.array_equal(pose, self._pose) or drawn_for != self._drawn_for:
            first = self._pose is None
            self._pose, self._drawn_for = pose, drawn_for
            self._moved_at, self._behind = time.monotonic(), not first
            if first:
                self._draw_targets(nodes)
            else:
                self.note_move(nodes)
        if not self._patient.ready:
            return
        if self._behind and self.draw_live(nodes):
            self._behind = False
        if self._moved_at is not None and time.monotonic() - self._moved_at > _REST_SECONDS:
            self._moved_at, self._behind = None, False
            self._draw_still(nodes)
            self._project_labels(nodes.xray)

    def _draw_still(self, nodes: XrayNodes) -> None:
        """Draw the DRR of an X-ray whose pose rests, unless it was drawn so: it was shown beside another one."""
        node = nodes.xray
        wanted = (self._patient.key, _pose(nodes).tobytes(), read_intrinsics(node))
        if self._fine.get(node.GetID()) == wanted and drr_of(node) is not None:
            return
        self._fine[node.GetID()] = wanted
        self._ask_drr(nodes, _STILL_PIXELS, channel=f"still {node.GetID()}")

    def _ask_drr(self, nodes: XrayNodes, pixels: int, *, channel: str, live: Counter[str] | None = None) -> None:
        key, node = self._patient.key, nodes.xray
        name = node.GetID()

        def over() -> None:
            if live is not None:
                live[name] -= 1

        def drawn(message: Message) -> None:
            over()
            present = nodes_of(node) if alive(self._context.scene, node) else None
            if present is not None and key == self._patient.key:
                set_drr(self._context.scene, present, message.arrays["image"])
                if live is not None:
                    self._context.changed.emit("view")
            else:
                self._fine.pop(name, None)

        def not_drawn(text: str) -> None:
            over()
            if text:
                self._fine.pop(name, None)
                self._context.say(text)

        self._context.ask(
            "drr",
            drawn,
            on_error=not_drawn,
            volume=key,
            pose=_pose(nodes).tolist(),
            intrinsics=read_intrinsics(node).to_dict(),
            pixels=pixels,
            channel=channel,
        )

    def _redraw_labels(self) -> None:
        """The segmentation changed: it shows on all X-rays of the volume that were registered, and on the current one."""
        for node in self._xrays.nodes():
            if nodes_of(node) is not None and (node is self._node or not self._xrays.is_first_placed(node)):
                self._project_labels(node)

    def _project_labels(self, node: Any) -> None:
        pose = _pose_of(node)
        if pose is None and nodes_of(node) is not None:
            return  # under a transform that is not rigid

        def done() -> None:
            now = _pose_of(node) if alive(self._context.scene, node) else None
            if now is not None and pose is not None and np.array_equal(now, pose):
                self._outdated.discard(node.GetID())

        self._labels.project(node, done)

    # Targets

    def _follow_targets(self) -> None:
        targets = self._target_node()
        now = (targets, 0 if targets is None else _mtime(targets), len(self._xrays.nodes()))
        if now == self._targets:
            return
        self._targets = now
        for node in self._xrays.nodes():
            nodes = nodes_of(node)
            if nodes is not None and _pose_of(node) is not None:
                self._draw_targets(nodes)

    def _draw_targets(self, nodes: XrayNodes) -> None:
        targets = self._target_node()
        if targets is not None or nodes.xray.GetNodeReference(PREFIX + "Targets") is not None:
            set_targets(self._context.scene, nodes, targets, translated)

    def _target_node(self) -> Any:
        targets = self._context.parameters.targets
        return targets if alive(self._context.scene, targets) else None

    # The view

    def look_of(self, node: Any) -> tuple[bool, bool, bool]:
        """Whether an X-ray's labels are to be filled, and outlined, and its targets to be shown."""
        if node is None:
            return False, False, False
        p = self._context.parameters
        # Before an X-ray is registered, or put somewhere by hand, nobody knows where anything is on it.
        placed = not self._xrays.is_first_placed(node)
        right = placed and node.GetID() not in self._outdated
        return p.showLabels and right, p.showOutlines and right, p.showTargets and placed

    def _show(self, node: Any) -> None:
        self.view.show(node, self._context.parameters.blend, *self.look_of(node))


def _pose_of(node: Any) -> NDArray[np.float64] | None:
    """The pose of an X-ray that is placed, or None."""
    nodes = nodes_of(node)
    try:
        return None if nodes is None else _pose(nodes)
    except InputError:
        return None


def _pose(nodes: XrayNodes) -> NDArray[np.float64]:
    return pose_from_node(nodes.pose)


def _mtime(targets: Any) -> tuple[Any, ...]:
    """What can be seen of targets: positions in the world, names and colours."""
    count = targets.GetNumberOfControlPoints()
    points = tuple(
        (targets.GetNthControlPointLabel(i), tuple(targets.GetNthControlPointPositionWorld(i))) for i in range(count)
    )
    display = targets.GetDisplayNode()
    return points, None if display is None else (display.GetColor(), display.GetSelectedColor())
