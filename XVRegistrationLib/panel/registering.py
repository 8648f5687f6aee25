"""Registering X-rays one after the other, and what came of it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.readiness import Readiness
from XVRegistrationLib.panel.registration_task import (
    BY_ANGLES,
    Task,
    basis_of,
    is_outdone_by_earlier,
    keep,
    starts_of,
)
from XVRegistrationLib.panel.table import RowMaker
from XVRegistrationLib.scene.attributes import read_intrinsics, read_scale
from XVRegistrationLib.scene.ignored import pixels_of
from XVRegistrationLib.scene.removal import remove_xray
from XVRegistrationLib.scene.results import registration_that_holds
from XVRegistrationLib.scene.runs import item_of, run_of, show_item
from XVRegistrationLib.scene.transforms import ijk_to_world
from XVRegistrationLib.scene.xrays import name_of, nodes_of, set_pose, volume_node_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from XVRegistrationLib.jobs.engine import Message
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.model import Model
    from XVRegistrationLib.panel.patient import Patient
    from XVRegistrationLib.panel.viewing import Viewing
    from XVRegistrationLib.panel.views import XrayRow
    from XVRegistrationLib.panel.xrays import Xrays


class Registering:
    """The queue of registrations."""

    def __init__(self, context: Context, patient: Patient, model: Model, xrays: Xrays, viewing: Viewing) -> None:
        self._context = context
        self._patient = patient
        self._model = model
        self._xrays = xrays
        self._viewing = viewing
        self._readiness = Readiness(context, patient, model, xrays)
        self._rows = RowMaker(xrays)
        self._queue: deque[Task] = deque()
        self._task: Task | None = None
        self._done = 0
        self.together: Callable[[], list[Any]] = list
        """Image nodes that are being registered together, by `joint.Joint`."""

    @property
    def busy(self) -> bool:
        return self._task is not None or bool(self._queue)

    @property
    def fraction(self) -> float | None:
        share = self._task.share if self._task is not None else 0.0
        count = self._done + len(self._queue) + (self._task is not None)
        return (self._done + share) / count if self.busy else None

    def rows(self) -> list[XrayRow]:
        queued = {task.node: "queued" for task in self._queue}
        doing = [*self.together(), *([self._task.node] if self._task is not None else [])]
        queued |= dict.fromkeys(doing, "registering")
        self._rows.prune(self._context.scene)
        return [self._rows.row(node, queued.get(node, ""), node is self._viewing.node) for node in self._xrays.nodes()]

    def is_under_way(self, node: Any) -> bool:
        """Whether an X-ray is being registered, or waits for it."""
        tasks = (task.node for task in (*self._queue, self._task) if task is not None)
        return any(other is node for other in (*tasks, *self.together()))

    def note(self, node: Any, state: str, text: str, item: int | None = None) -> None:
        """Keep what came of a try that left nothing in the scene; an empty state forgets it."""
        self._rows.outcome(node, state, text, item)

    def forget_outcome(self, node: Any) -> None:
        """An X-ray shows other pixels by now: what was said of it holds no more."""
        self._rows.forget(node)

    # What buttons do

    def can_register(self, nodes: Sequence[Any] | None = None) -> str:
        """Why these X-rays, or the checked ones, cannot be registered; empty if they can."""
        return self._readiness.to_register(nodes)

    def can_refine(self) -> str:
        return self._readiness.to_refine(self._viewing.node)

    def can_cancel(self) -> str:
        return "" if self.busy else _("Nothing is being registered.")

    def register(self, nodes: Sequence[Any] | None) -> None:
        obstacle = self.can_register(nodes)
        if obstacle:
            raise InputError(obstacle)
        chosen = self._xrays.checked() if nodes is None else list(nodes)
        self._enqueue([node for node in chosen if nodes_of(node) is not None], from_here=False)
        left = [name_of(node) for node in chosen if nodes_of(node) is None]
        if left:
            self._context.say(_("Left out until their geometry is entered: {names}.").format(names=", ".join(left)))

    def register_run(self, node: Any) -> None:
        """Register all frames of a run in turn, each also from where the one before it was found."""
        obstacle = self.can_register([node])
        if obstacle:
            raise InputError(obstacle)
        run = run_of(node)
        if run is None:
            raise InputError(_("{name} is a single image; register it as such.").format(name=name_of(node)))
        self._enqueue([node] * run.count, from_here=False, items=range(run.count))

    def refine_from_here(self, node: Any) -> None:
        if node is None:
            obstacle, node = self.can_refine(), self._viewing.node
        else:
            obstacle = self._readiness.to_refine(node)
        if obstacle:
            raise InputError(obstacle)
        self._enqueue([node], from_here=True)

    def cancel(self) -> None:
        """Stop; poses stay where they are."""
        names = [task.name for task in self._queue]
        self._queue.clear()
        if self._task is not None:
            names.insert(0, self._task.name)
            self._context.cancel(self._task.request)
            self._task = None
        if names:
            self._context.say(_("Cancelled: {names}.").format(names=", ".join(names)))
        self._context.changed.emit("xrays")

    def remove(self, node: Any) -> None:
        """Remove an X-ray from the scene, and from the queue."""
        if not alive(self._context.scene, node) or not name_of(node):
            raise InputError(_("Choose an X-ray of the table."))
        self._queue = deque(task for task in self._queue if task.node is not node)
        if self._task is not None and self._task.node is node:
            self._context.cancel(self._task.request)
            self._task = None
        nodes = self._xrays.nodes()
        if self._viewing.node is node:
            others = [other for other in nodes if other is not node]
            after = nodes.index(node) if node in nodes else 0
            self._context.parameters.xray = others[min(after, len(others) - 1)] if others else None
        self._rows.forget(node)
        remove_xray(self._context.scene, node)
        self._context.changed.emit("xrays")

    # Its life

    def tick(self) -> None:
        if self._task is not None and not alive(self._context.scene, self._task.node):
            self._drop(self._task)
            self._task = None
        if self._task is not None or not self._queue:
            return
        if self._model.problem or not self._patient.ready:
            if not self._patient.busy:
                self._give_up(self._model.problem or self._patient.view().problem or _("Choose the CT."))
        elif self._model.ready and not self._model.busy and not self._patient.busy:
            self._begin(self._queue.popleft())

    def forget(self) -> None:
        self._queue.clear()
        self._task = None
        self._rows.forget()

    def _enqueue(self, nodes: Sequence[Any], *, from_here: bool, items: Iterable[int] | None = None) -> None:
        waiting = {task.node for task in self._queue} | ({self._task.node} if self._task is not None else set())
        if not self.busy:
            self._done = 0
        numbers: list[int | None] = list(items) if items is not None else [None] * len(nodes)
        for node, item in zip(nodes, numbers, strict=True):
            if node not in waiting:
                self._rows.outcome(node, "", "")
                self._queue.append(Task(node, name_of(node), from_here, self._patient.node, item))
        self._context.changed.emit("xrays")

    def _begin(self, task: Task) -> None:
        if not alive(self._context.scene, task.node) or nodes_of(task.node) is None:
            self._drop(task)
            return
        self._task = task
        node = task.node
        if task.volume is not self._patient.node or volume_node_of(node) not in (None, task.volume):
            self._failed(task, _("another CT was chosen before its turn came; choose its own and register again"))
            return
        try:
            if task.item is not None:
                held = registration_that_holds(node) if task.item == item_of(node) + 1 else None
                task.before = None if held is None else held.pose
                show_item(node, task.item)
            task.shown = item_of(node)
            self._rows.outcome(node, "", "", task.shown)
            sources, starts = starts_of(task, self._context.parameters, self._patient, self._model, self._xrays)
            intrinsics = read_intrinsics(node)
            task.basis, task.place = basis_of(task, self._patient.said), ijk_to_world(task.volume)
            arrays = pixels_of(node)
        except InputError as e:
            self._failed(task, str(e))
            return
        self._context.say(_("Registering {name}...").format(name=task.name))
        task.request = self._context.ask(
            "register",
            lambda message: self._registered(task, message),
            on_error=lambda text: self._failed(task, text),
            on_progress=lambda fields: self._progress(task, fields),
            arrays=arrays,
            volume=self._patient.key,
            model=str(self._model.folder),
            name=task.name,
            intrinsics=intrinsics.to_dict(),
            scale=read_scale(node),
            sources=sources,
            starts=starts,
            by_angles=list(BY_ANGLES),
        )
        self._context.changed.emit("xrays")

    # What the engine says

    def _progress(self, task: Task, fields: dict[str, Any]) -> None:
        if task is self._task:
            share = float(fields["level"]) / max(float(fields["levels"]), 1.0)
            if share != task.share:
                task.share = share
                self._context.changed.emit("xrays")

    def _registered(self, task: Task, message: Message) -> None:
        if task is not self._task:
            return  # cancelled, or removed, in the last moment
        nodes = nodes_of(task.node) if alive(self._context.scene, task.node) else None
        if (
            nodes is not None
            and alive(self._context.scene, task.volume)
            and basis_of(task, self._patient.said) != task.basis
        ):
            self._failed(task, _("its geometry, its frame or the CT was changed meanwhile; register again"))
            return
        if nodes is not None and is_outdone_by_earlier(task.node, message.fields):
            text = _(
                "similarity {number} now; the earlier result is better and was kept, and the C-arm stays where it was"
            )
            self._failed(task, text.format(number=f"{float(message.fields['similarity']):.2f}"))
            return
        if nodes is not None:
            try:
                set_pose(nodes, message.fields["pose"])
            except InputError as e:  # its C-arm is under a transform that is not linear
                self._failed(task, str(e))
                return
        self._task = None
        self._done += 1
        if nodes is None:
            self._drop(task)
            return
        volume = task.volume if alive(self._context.scene, task.volume) else None
        keep(task, message.fields, volume)
        self._patient.worked()
        self._xrays.moved(task.node)
        if volume is self._patient.node:
            self._viewing.refresh(task.node)
        row = self._rows.row(task.node, "", False)
        self._context.say(f"{task.name}: {row.outcome}")
        self._context.changed.emit("xrays")

    def _failed(self, task: Task, text: str) -> None:
        if task is not self._task:
            return
        self._task = None
        self._done += 1
        self.note(task.node, "failed", text, task.shown)
        self._context.say(_("{name} could not be registered: {reason}").format(name=task.name, reason=text))
        self._context.changed.emit("xrays")

    def _give_up(self, reason: str) -> None:
        for task in self._queue:
            self._rows.outcome(task.node, "failed", reason)
        self._queue.clear()
        self._context.say(reason)
        self._context.changed.emit("xrays")

    def _drop(self, task: Task) -> None:
        """The X-ray, or its pose, was deleted while it was being registered."""
        self._context.cancel(task.request)
        self._context.say(_("{name} was removed; its registration was dropped.").format(name=task.name))
        self._context.changed.emit("xrays")
