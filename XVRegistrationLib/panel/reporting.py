"""The report of a session's X-rays: what is known of each is taken down at once, the engine draws the pictures."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.xray_report import (
    ReportedXray,
    XrayReport,
    facts_of_card,
    status_line,
    write_xray_report,
)
from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.words import translated
from XVRegistrationLib.registration.card import read_card
from XVRegistrationLib.scene.attributes import read_scale
from XVRegistrationLib.scene.export import targets_of
from XVRegistrationLib.scene.ignored import counting_of
from XVRegistrationLib.scene.results import registration_that_holds
from XVRegistrationLib.scene.reviews import read_review
from XVRegistrationLib.scene.volumes import voxels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from XVRegistrationLib.jobs.engine import Message
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.model import Model
    from XVRegistrationLib.panel.patient import Patient
    from XVRegistrationLib.panel.registering import Registering
    from XVRegistrationLib.panel.viewing import Viewing
    from XVRegistrationLib.panel.views import XrayRow
    from XVRegistrationLib.panel.xrays import Xrays

    WritePdf = Callable[[str, Path], str]
    """Prints a page of HTML into a file; returns why that was not possible, or nothing."""

PDF_WIDTH = 580
"""px, of the pictures of an X-ray on a page of A4."""


@dataclass(eq=False)
class _Task:
    """A report that is being made."""

    path: Path
    pdf: WritePdf | None
    report: XrayReport
    xrays: list[ReportedXray]
    nodes: list[Any]
    """Image node of each."""
    waiting: deque[int]
    """Which of them are still to be drawn."""
    volume: str
    """The engine's key."""
    said: str = ""
    request: int = 0


class Reporting:
    """Makes one report at a time."""

    def __init__(
        self,
        context: Context,
        patient: Patient,
        model: Model,
        xrays: Xrays,
        registering: Registering,
        viewing: Viewing,
    ) -> None:
        self._context = context
        self._patient = patient
        self._model = model
        self._xrays = xrays
        self._registering = registering
        self._viewing = viewing
        self._task: _Task | None = None

    @property
    def busy(self) -> bool:
        return self._task is not None

    def can_report(self) -> str:
        """Why no report can be made now; empty if one can."""
        if self._context.parameters is None or not self._patient.ready:
            return _("Choose the CT.")
        if self.busy:
            return _("A report is being written.")
        if self._registering.busy:
            return _("Wait until the X-rays are registered.")
        return "" if self._xrays.nodes() else _("Add an X-ray.")

    def report(self, path: Path, keep_identity: bool, pdf: WritePdf | None) -> None:
        """Begin a report of all X-rays; `tick` ends it."""
        obstacle = self.can_report()
        if obstacle:
            raise InputError(obstacle)
        rows = self._registering.rows()
        xrays = [_reported(row) for row in rows]
        said = self._identify(rows, xrays) if keep_identity else ""
        report = XrayReport((), tuple(self._targets()), np.array(self._patient.center), self._card())
        drawn = deque(i for i, xray in enumerate(xrays) if xray.group in ("accepted", "open"))
        nodes = [row.node for row in rows]
        self._task = _Task(path, pdf, report, xrays, nodes, drawn, self._patient.key, said)
        self._context.say(_("Writing the report..."))
        self._go_on()
        self._context.changed.emit("xrays")

    def forget(self) -> None:
        """The scene closes: the report is given up, and an earlier file stays as it was."""
        if self._task is not None:
            self._context.cancel(self._task.request)
        self._task = None

    def _targets(self) -> list[tuple[str, Any]]:
        node = self._context.parameters.targets
        return targets_of(node if alive(self._context.scene, node) else None)

    def _card(self) -> dict[str, str]:
        folder = self._model.folder
        try:
            return {} if folder is None else facts_of_card(read_card(folder))
        except InputError:  # its folder was removed: the report says nothing of it
            return {}

    def _identify(self, rows: list[XrayRow], xrays: list[ReportedXray]) -> str:
        """Put to each X-ray whom it is of; which are not known, a sentence."""
        from XVRegistrationLib.imaging.dicom.identity import identity_of

        unknown = []
        for i, row in enumerate(rows):
            file = self._xrays.files.of(row.node)
            said = {} if file is None else identity_of(file)
            xrays[i] = replace(xrays[i], identity=said)
            if not said:
                unknown.append(row.name)
        if not unknown:
            return ""
        return _(" Whom these are of is not known, for want of their files: {names}.").format(names=", ".join(unknown))

    # One after the other, so that the panel is never blocked

    def _go_on(self) -> None:
        """Ask for the next X-ray's pictures; without one, write the report."""
        task = self._task
        while task is not None and task.waiting:
            number = task.waiting.popleft()
            try:
                self._ask(task, number)
                return
            except InputError as e:
                _without_picture(task, number, str(e))
        if task is not None:
            self._finish(task)

    def _ask(self, task: _Task, number: int) -> None:
        node, xray = task.nodes[number], task.xrays[number]
        if not alive(self._context.scene, node):
            raise InputError(_("it was removed"))
        found = xray.registration
        assert found is not None  # by its group
        arrays = {"pixels": voxels(node)[0].copy()}
        mask = counting_of(node)
        if mask is not None:
            arrays["mask"] = mask.astype(np.uint8)
        targets = task.report.targets if xray.usable else ()
        task.request = self._context.ask(
            "draw_report",
            lambda message: self._drawn(task, number, message),
            on_error=lambda text: self._not_drawn(task, number, text),
            arrays=arrays,
            volume=task.volume,
            registration=found.to_dict(),
            scale=read_scale(node),
            structures=self._viewing.structures(),
            targets=[(name, list(map(float, point))) for name, point in targets],
        )

    def _drawn(self, task: _Task, number: int, message: Message) -> None:
        from XVRegistrationLib.evaluation.report_pictures import ReportPictures

        if task is not self._task:
            return
        files = {name: message.arrays[name].tobytes() for name in ("xray", "overlay", "drr")}
        legend = tuple((str(what), str(color)) for what, color in message.fields["legend"])
        task.xrays[number] = replace(task.xrays[number], pictures=ReportPictures(**files, legend=legend))
        self._go_on()

    def _not_drawn(self, task: _Task, number: int, text: str) -> None:
        if task is self._task:
            _without_picture(task, number, text)
            self._go_on()

    def _finish(self, task: _Task) -> None:
        self._task = None
        report = replace(task.report, xrays=tuple(task.xrays))
        try:
            write_xray_report(task.path, report)
        except InputError as e:
            self._context.say(str(e))
        else:
            said = f"{translated(status_line(report))} {_('The report is {path}.').format(path=task.path)}{task.said}"
            if task.pdf is not None:
                said += f" {_printed(task, report)}"
            self._context.say(said.rstrip())
        self._context.changed.emit("xrays")


def _printed(task: _Task, report: XrayReport) -> str:
    """Why there is no PDF beside the page; nothing if there is."""
    from XVRegistrationLib.evaluation.xray_report_page import page_of

    assert task.pdf is not None
    return task.pdf(page_of(report, PDF_WIDTH), task.path.with_suffix(".pdf"))


def _reported(row: XrayRow) -> ReportedXray:
    """What is known of an X-ray now."""
    name = row.name if row.count == 1 else _("{name}, frame {number}").format(name=row.name, number=row.item)
    found = registration_that_holds(row.node)
    review = read_review(row.node).review
    return ReportedXray(name, found, review, "" if found is not None else row.outcome)


def _without_picture(task: _Task, number: int, why: str) -> None:
    text = _("There is no picture: {why}").format(why=why)
    task.xrays[number] = replace(task.xrays[number], reason=text)
