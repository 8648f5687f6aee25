"""The X-ray beside the current one: which that is, and what is drawn on it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.xray_in_view import XrayInView
from XVRegistrationLib.scene.attributes import read_intrinsics
from XVRegistrationLib.scene.pairs import partner_of
from XVRegistrationLib.scene.runs import item_of
from XVRegistrationLib.scene.xrays import nodes_of, pose_from_node

if TYPE_CHECKING:
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.patient import Patient
    from XVRegistrationLib.panel.viewing import Viewing
    from XVRegistrationLib.panel.xrays import Xrays

_REST_SECONDS = 0.3


class SecondView:
    """Follows the parameters `biplane` and `secondXray`."""

    def __init__(self, context: Context, patient: Patient, xrays: Xrays, viewing: Viewing) -> None:
        self._context = context
        self._patient = patient
        self._xrays = xrays
        self._viewing = viewing
        self.view = XrayInView(context)
        self.forget()

    def forget(self) -> None:
        """Let go of all nodes."""
        self._node: Any = None
        self._beside: Any = None
        """The current X-ray when this was looked at last."""
        self._state: tuple[Any, ...] = ()
        self._moved_at: float | None = None
        self._behind = False
        """Whether the pose has moved on since the last live DRR was asked for."""
        self.view.forget()

    @property
    def busy(self) -> bool:
        """Whether what is drawn is not up to date."""
        return self._moved_at is not None and self._patient.ready

    @property
    def node(self) -> Any:
        """Image node of the X-ray beside the current one: the one that was chosen, its partner, or any other; None for none."""
        p = self._context.parameters
        if p is None or not p.biplane or self._viewing.node is None:
            return None
        others = self.others()
        partner = partner_of(self._viewing.node)
        wanted = next((node for node in (p.secondXray, partner) if node is not None and node in others), None)
        return wanted if wanted is not None or not others else others[0]

    def others(self) -> list[Any]:
        """The X-rays that may be shown beside the current one."""
        return [node for node in self._xrays.nodes() if node is not self._viewing.node]

    def can_show(self) -> str:
        """Why no second X-ray can be shown; empty if one can."""
        if self._viewing.node is None:
            return _("Choose an X-ray of the table.")
        return "" if self.others() else _("Add a second X-ray.")

    def choose(self, node: Any) -> None:
        """Show this X-ray beside the current one."""
        obstacle = self.can_show()
        if obstacle:
            raise InputError(obstacle)
        if node not in self.others():
            raise InputError(_("Choose another X-ray of this CT than the one that is shown."))
        self._context.parameters.secondXray, self._context.parameters.biplane = node, True
        self._context.changed.emit("view")

    def tick(self) -> None:
        p = self._context.parameters
        if p is None or self._context.scene.IsClosing():
            return
        self._change_places(p)
        node = self.node
        if node is not self._node:
            self._node, self._state, self._moved_at, self._behind = node, (), None, False
            self._context.changed.emit("view")
        if node is not None:
            self._follow(node)
        self.view.show(node, p.blend, *self._viewing.look_of(node))

    def _change_places(self, p: Any) -> None:
        """Where the X-ray beside becomes the current one, that one is shown beside it."""
        now, before = self._viewing.node, self._beside
        self._beside = now
        if p.biplane and now is not before and now is not None and now is self._node and before in self.others():
            p.secondXray = before

    def _follow(self, node: Any) -> None:
        """Draw what depends on its pose, and all of it when it rests."""
        nodes = nodes_of(node)
        if nodes is None or not self._patient.ready:
            self._state, self._moved_at, self._behind = (), None, False
            return
        try:
            pose = pose_from_node(nodes.pose).tobytes()
            state = (pose, item_of(node), self._patient.key, read_intrinsics(node))
        except InputError:  # under a transform that is not rigid
            self._state, self._moved_at, self._behind = (), None, False
            return
        if state != self._state:
            first = not self._state
            if not first:
                self._behind = True
                self._viewing.note_move(nodes)
            self._state, self._moved_at = state, time.monotonic() - (_REST_SECONDS if first else 0.0)
        if self._behind and self._viewing.draw_live(nodes):
            self._behind = False
        if self._moved_at is not None and time.monotonic() - self._moved_at >= _REST_SECONDS:
            self._moved_at, self._behind = None, False
            self._viewing.refresh(node)
