"""Registering several X-rays of one moment at once, or the frames of runs moment by moment: cameras in known relation, one pose for all."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.joint_moments import (
    Together,
    counted_differently,
    moments_of,
    pixels_of_all,
    registered_starts,
    view_of,
)
from XVRegistrationLib.panel.joint_relations import REGISTERED, choices, chosen_of, relations
from XVRegistrationLib.panel.registration_task import (
    BY_ANGLES,
    Task,
    basis_of,
    is_outdone_by_earlier,
    keep,
    starts_of,
)
from XVRegistrationLib.scene.attributes import read_intrinsics
from XVRegistrationLib.scene.results import read_trust
from XVRegistrationLib.scene.runs import item_of, show_item
from XVRegistrationLib.scene.transforms import ijk_to_world
from XVRegistrationLib.scene.xrays import name_of, nodes_of, pose_from_node, set_pose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from XVRegistrationLib.jobs.engine import Message
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.model import Model
    from XVRegistrationLib.panel.patient import Patient
    from XVRegistrationLib.panel.registering import Registering
    from XVRegistrationLib.panel.viewing import Viewing
    from XVRegistrationLib.panel.views import RelationChoice
    from XVRegistrationLib.panel.xray_geometry import XrayGeometry
    from XVRegistrationLib.panel.xrays import Xrays


class Joint:
    """One joint registration at a time."""

    def __init__(
        self,
        context: Context,
        patient: Patient,
        model: Model,
        xrays: Xrays,
        geometry: XrayGeometry,
        viewing: Viewing,
        registering: Registering,
    ) -> None:
        self._context = context
        self._patient = patient
        self._model = model
        self._xrays = xrays
        self._geometry = geometry
        self._viewing = viewing
        self._registering = registering
        self._now: Together | None = None
        registering.together = self.under_way

    @property
    def busy(self) -> bool:
        return self._now is not None

    @property
    def fraction(self) -> float | None:
        return None if self._now is None else self._now.fraction

    def under_way(self) -> list[Any]:
        """Image nodes of the X-rays that are being registered together."""
        return [] if self._now is None else self._now.nodes

    # What can be done

    def relations(self) -> list[RelationChoice]:
        """The ways to know how the cameras of the checked X-rays stand to each other."""
        return choices(self._xrays, self._chosen(None))

    @property
    def relation(self) -> str:
        """The way that is in use: the parameter `relation`, or with "" the surest that is possible."""
        p = self._context.parameters
        return chosen_of(self.relations(), "" if p is None else p.relation).name

    def can_register(self, nodes: Sequence[Any] | None = None) -> str:
        """Why these X-rays, or the checked ones, cannot be registered together; empty if they can."""
        obstacle = self._registering.can_register(nodes)
        if obstacle:
            return obstacle
        if self.busy or self._registering.busy:
            return _("Wait until the X-rays are registered.")
        chosen = self._chosen(nodes)
        if len(set(chosen)) < 2:
            return _("Check two X-rays or more that are to be registered together.")
        lacking = [name_of(node) for node in chosen if nodes_of(node) is None]
        if lacking:
            return _("Enter the geometry of {names}.").format(names=", ".join(lacking))
        if not self._model.ready:
            return self._model.problem or _("The model is being prepared.")
        obstacle = counted_differently(chosen)
        if obstacle:
            return obstacle
        if self._context.parameters.estimateGeometry and len(moments_of(chosen)) > 1:
            return _(
                "Distance and principal point are estimated of single X-rays, not of runs: do not estimate them here."
            )
        return chosen_of(choices(self._xrays, chosen), self._context.parameters.relation).obstacle

    def register(self, nodes: Sequence[Any] | None = None) -> None:
        """Begin to find the one pose of these X-rays, or of the checked ones; the first is where starts are given.

        Where all of them are runs, one pose for the frames of each number, in turn; else what is shown is registered.
        """
        obstacle = self.can_register(nodes)
        if obstacle:
            raise InputError(obstacle)
        chosen = list(dict.fromkeys(self._chosen(nodes)))
        way = chosen_of(choices(self._xrays, chosen), self._context.parameters.relation).name
        names = _(" and ").join(name_of(node) for node in chosen)
        items, relative = moments_of(chosen), relations(self._xrays, chosen, way)
        together = Together(chosen, names, self._patient.node, way, relative, deque(items), len(items))
        self._begin(together)
        self._context.changed.emit("xrays")

    def cancel(self) -> None:
        """Stop; poses stay where they are."""
        if self._now is None:
            return
        together, self._now = self._now, None
        self._context.cancel(together.request)
        self._context.say(_("Cancelled: {names}.").format(names=together.names))
        self._context.changed.emit("xrays")

    # Its life

    def tick(self) -> None:
        together = self._now
        if together is None:
            return
        if not all(alive(self._context.scene, node) for node in together.nodes):
            self._now = None
            self._context.cancel(together.request)
            self._context.say(_("An X-ray was removed; the joint registration was dropped."))
            self._context.changed.emit("xrays")
        elif not together.parts:
            self._go_on(together)

    def forget(self) -> None:
        self._now = None

    # Inside

    def _chosen(self, nodes: Sequence[Any] | None) -> list[Any]:
        if nodes is not None:
            return list(nodes)
        return [] if self._context.parameters is None else self._xrays.checked()

    def _go_on(self, together: Together) -> None:
        """Begin the next moment as soon as the model is ready for it."""
        if together.volume is not self._patient.node or self._model.problem:
            turn = together.items[0]
            together.items.clear()
            another = _("another CT was chosen before its turn came; choose its own and register again")
            self._failed(together, self._model.problem or another, turn)
        elif self._model.ready and not self._model.busy and not self._patient.busy:
            try:
                self._begin(together)
            except InputError as e:
                self._failed(together, str(e))
            self._context.changed.emit("xrays")

    def _begin(self, together: Together) -> None:
        """Ask for the next moment; InputError where it cannot be registered."""
        p, nodes, item = self._context.parameters, together.nodes, together.items.popleft()
        for node in nodes:
            if item is not None:
                show_item(node, item)
        parts = [self._part(node, together.volume) for node in nodes]
        parts[0].before = together.before
        # Poses of single frames differ by their errors: their relation is that of the frames it was asked for with.
        fixed = together.way == REGISTERED
        relative = together.relative if fixed else relations(self._xrays, nodes, together.way)
        sources, starts = starts_of(parts[0], p, self._patient, self._model, self._xrays)
        starts |= registered_starts(nodes, relative)
        if not sources and not starts:
            raise InputError(_("None of the chosen kinds of start is there; choose the bank as well."))
        together.parts, together.share, self._now = parts, 0.0, together
        for node in nodes:
            self._registering.note(node, "", "")
        self._context.say(_("Registering {names} together...").format(names=together.names))
        together.request = self._context.ask(
            "register_together",
            lambda message: self._registered(together, message),
            on_error=lambda text: self._failed(together, text),
            on_progress=lambda fields: self._progress(together, fields),
            arrays=pixels_of_all(nodes),
            volume=self._patient.key,
            model=str(self._model.folder),
            views=[view_of(node) for node in nodes],
            relative=[matrix.tolist() for matrix in relative],
            sources=sources,
            starts=starts,
            by_angles=list(BY_ANGLES),
            geometry=bool(p.estimateGeometry) and together.count == 1,
        )

    def _part(self, node: Any, volume: Any) -> Task:
        part = Task(node, name_of(node), from_here=False, volume=volume, shown=item_of(node))
        part.basis, part.place = basis_of(part, self._patient.said), ijk_to_world(volume)
        if part.basis is None or nodes_of(node) is None:
            raise InputError(_("{name} has no valid geometry.").format(name=part.name))
        pose_from_node(node)  # under transforms that can be undone
        return part

    def _progress(self, together: Together, fields: dict[str, Any]) -> None:
        share = float(fields["level"]) / max(float(fields["levels"]), 1.0)
        if together is self._now and share != together.share:
            together.share = share
            self._context.changed.emit("xrays")

    def _registered(self, together: Together, message: Message) -> None:
        if together is not self._now:
            return  # cancelled, or dropped, in the last moment
        views = message.fields["views"]
        obstacle = self._outdated(together, views)
        if obstacle:
            self._failed(together, obstacle)
            return
        for part, fields in zip(together.parts, views, strict=True):
            self._take(part, fields)
        trust = read_trust(views[0])
        if trust is None or trust.verdict != "failed":
            together.before = np.array(views[0]["pose"])
        self._end_moment(together)
        self._patient.worked()
        for row in self._registering.rows():  # none where another CT was chosen meanwhile
            if row.node is together.nodes[0]:
                self._context.say(f"{together.names}: {row.outcome}")
        self._context.changed.emit("xrays")

    def _end_moment(self, together: Together) -> None:
        together.parts, together.share = [], 0.0
        if not together.items:
            self._now = None

    def _outdated(self, together: Together, views: Sequence[dict[str, Any]]) -> str:
        """Why what was found must not be kept; empty if it may."""
        if not alive(self._context.scene, together.parts[0].volume):
            return _("the CT was removed")
        for part, fields in zip(together.parts, views, strict=True):
            gone = not alive(self._context.scene, part.node) or nodes_of(part.node) is None
            if gone or basis_of(part, self._patient.said) != part.basis:
                return _("its geometry, its frame or the CT was changed meanwhile; register again")
            if is_outdone_by_earlier(part.node, fields):
                return _("the earlier result of {name} is better and was kept").format(name=part.name)
            try:
                pose_from_node(part.node)
            except InputError as e:
                return str(e)
        return ""

    def _take(self, part: Task, fields: dict[str, Any]) -> None:
        """Put an X-ray where it was found, with the camera that was estimated."""
        found = Intrinsics.from_dict(fields["intrinsics"])
        if found != read_intrinsics(part.node):
            self._geometry.estimated(part.node, found)
        nodes = nodes_of(part.node)
        assert nodes is not None
        set_pose(nodes, fields["pose"])
        keep(part, fields, part.volume)
        self._xrays.moved(part.node)
        if part.volume is self._patient.node:
            self._viewing.refresh(part.node)

    def _failed(self, together: Together, text: str, turn: int | None = None) -> None:
        """A moment failed: the one asked for, else the frame `turn`, else what is shown."""
        if together is not self._now:
            return
        shown = {part.node: part.shown for part in together.parts}
        for node in together.nodes:
            if alive(self._context.scene, node):
                self._registering.note(node, "failed", text, shown.get(node, turn))
        self._end_moment(together)
        said = _("{names} could not be registered together: {reason}")
        self._context.say(said.format(names=together.names, reason=text))
        self._context.changed.emit("xrays")
