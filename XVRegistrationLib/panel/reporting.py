"""The report of a session's X-rays: what is known of each is taken down at once, the engine draws the pictures, and the PDF
is printed a sheet at a time, so that the panel is never blocked."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.reported_run import curves_of
from XVRegistrationLib.evaluation.xray_report import (
    XrayReport,
    check_place,
    files_folder,
    status_sentences,
    write_xray_report,
)
from XVRegistrationLib.evaluation.xray_report_page import printed_page
from XVRegistrationLib.files import staging
from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.panel.exporting import dicom_files, not_segmented
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.report_contents import facts_of, identify, left_out_of, reported
from XVRegistrationLib.panel.report_files import ReportFiles, terms_of
from XVRegistrationLib.panel.report_task import Ask, ReportTask
from XVRegistrationLib.panel.words import translated
from XVRegistrationLib.scene.attributes import read_scale
from XVRegistrationLib.scene.export import targets_of
from XVRegistrationLib.scene.ignored import pixels_of

if TYPE_CHECKING:
    from pathlib import Path

    from XVRegistrationLib.jobs.engine import Message
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.model import Model
    from XVRegistrationLib.panel.patient import Patient
    from XVRegistrationLib.panel.registering import Registering
    from XVRegistrationLib.panel.report_task import PrintPdf
    from XVRegistrationLib.panel.structures import Structures
    from XVRegistrationLib.panel.viewing import Viewing
    from XVRegistrationLib.panel.xrays import Xrays

_ASKED_AT_A_TIME = 2
"""The engine draws an X-ray while it writes the files of the one before; more would keep a live DRR waiting."""
_STEP_SECONDS = 0.02
"""After so long a step of the printing is the last one until the next tick."""


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
        structures: Structures,
    ) -> None:
        self._context = context
        self._patient = patient
        self._model = model
        self._xrays = xrays
        self._registering = registering
        self._viewing = viewing
        self._structures = structures
        self._task: ReportTask | None = None

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

    def report(self, path: Path, keep_identity: bool, pdf: PrintPdf | None, files: bool) -> None:
        """Begin a report of all X-rays, with `files` for other programs beside it; `tick` ends it."""
        obstacle = self.can_report()
        if obstacle:
            raise InputError(obstacle)
        check_place(path)
        rows = self._registering.rows()
        xrays = [reported(row) for row in rows]
        said = identify(rows, xrays, self._xrays.files) if keep_identity else ""
        targets, shows_targets = tuple(self._targets()), self._context.parameters.showTargets
        left_out = left_out_of(self._structures, bool(targets) and not shows_targets)
        report = XrayReport((), targets, np.array(self._patient.center), facts_of(self._model.folder), left_out)
        nodes, shown = [row.node for row in rows], [i for i, x in enumerate(xrays) if x.group in ("accepted", "open")]
        waiting: deque[tuple[Ask, int]] = deque()
        task = ReportTask(path, pdf, report, xrays, nodes, waiting, self._patient.key, staging(path.parent), said=said)
        if files:
            task.files = self._files(task, [nodes[i] for i in shown], keep_identity)
        asks = [self._ask, self._ask_files] if task.files is not None and task.files.begin() else [self._ask]
        # All of one X-ray, then of the next: the engine keeps what pictures and files both need.
        waiting += ((ask, i) for i in shown for ask in asks)
        waiting += ((self._ask_run, i) for i, xray in enumerate(xrays) if xray.run is not None)
        task.count, self._task = len(waiting), task
        self._context.say(_("Writing the report..."))
        self._context.changed.emit("report")
        self._go_on(task)
        self._context.changed.emit("xrays")

    def forget(self) -> None:
        """The scene closes: the report is given up, and an earlier file stays as it was."""
        task, self._task = self._task, None
        if task is not None:
            for request in task.asked:
                self._context.cancel(request)
            task.close()

    @property
    def fraction(self) -> float | None:
        """Share that is done, 0 to 1; None while no report is written."""
        return None if self._task is None else self._task.fraction

    def can_cancel(self) -> str:
        """Why there is no report to be stopped; empty if there is one."""
        return "" if self.busy else _("No report is being written.")

    def cancel(self) -> None:
        """Stop the report under way: earlier files of its name stay as they were."""
        obstacle = self.can_cancel()
        if obstacle:
            raise InputError(obstacle)
        self.forget()
        self._context.say(_("The report was stopped; nothing was written."))
        self._context.changed.emit("xrays")

    def tick(self) -> None:
        """Print a little more."""
        task = self._task
        if task is None or task.printing is None:
            return
        until = time.monotonic() + _STEP_SECONDS
        try:
            while time.monotonic() < until:
                task.printed = next(task.printing)
        except StopIteration:
            self._write(task)
        except InputError as e:
            self._write(task, str(e))
        else:
            self._context.changed.emit("report")

    def _files(self, task: ReportTask, nodes: list[Any], keep_identity: bool) -> ReportFiles:
        """The files beside the report, of the X-rays with these image nodes."""
        segmentation = self._context.parameters.segmentation
        return ReportFiles(
            self._context,
            task.place / files_folder(task.path).name,
            task.volume,
            nodes,
            terms_of(self._viewing.structures(), segmentation if alive(self._context.scene, segmentation) else None),
            [row.name for row in self._structures.rows() if not self._structures.draws(row.name)],
            task.report.targets,
            self._context.parameters.showTargets,
            dicom_files(self._xrays, nodes),
            keep_identity,
            not_segmented(self._xrays, nodes) if self._viewing.structures() else "",
        )

    def _targets(self) -> list[tuple[str, Any]]:
        node = self._context.parameters.targets
        return targets_of(node if alive(self._context.scene, node) else None)

    def _go_on(self, task: ReportTask) -> None:
        """Ask for the next ones of what is to be drawn and written; when all of it is answered, finish the report."""
        while task is self._task and task.waiting and task.unanswered < _ASKED_AT_A_TIME:
            ask, number = task.waiting.popleft()
            task.unanswered += 1
            try:
                request = ask(task, number)
            except InputError as e:
                self._say_missing(task, ask, number, str(e))
                request = None
            if request is None:
                task.unanswered -= 1
            else:
                task.asked.append(request)
        if task is self._task and not task.unanswered and task.printing is None:
            self._finish(task)

    def _answered(self, task: ReportTask) -> None:
        """One of what was asked for is there, or never will be."""
        task.unanswered -= 1
        self._context.changed.emit("report")
        self._go_on(task)

    def _ask(self, task: ReportTask, number: int) -> int | None:
        node, xray = task.nodes[number], task.xrays[number]
        if not alive(self._context.scene, node):
            raise InputError(_("it was removed"))
        found = xray.registration
        assert found is not None  # by its group
        targets = task.report.targets if xray.usable and self._context.parameters.showTargets else ()
        return self._context.ask(
            "draw_report",
            lambda message: self._drawn(task, number, message),
            on_error=lambda text: self._not_drawn(task, self._ask, number, text),
            arrays=pixels_of(node),
            volume=task.volume,
            registration=found.to_dict(),
            scale=read_scale(node),
            structures=[found for found in self._viewing.structures() if self._structures.draws(found[1])],
            targets=[(name, list(map(float, point))) for name, point in targets],
            files=(self._ask_files, number) in task.waiting,
        )

    def _drawn(self, task: ReportTask, number: int, message: Message) -> None:
        from XVRegistrationLib.evaluation.report_pictures import ReportPictures

        if task is not self._task:
            return
        files = {name: message.arrays[name].tobytes() for name in ("xray", "overlay", "drr")}
        legend = tuple((str(what), str(color)) for what, color in message.fields["legend"])
        task.xrays[number] = replace(task.xrays[number], pictures=ReportPictures(**files, legend=legend))
        self._answered(task)

    def _ask_run(self, task: ReportTask, number: int) -> int | None:
        run = task.xrays[number].run
        curves = None if run is None else curves_of(run)
        if curves is None:
            return None
        return self._context.ask(
            "draw_run",
            lambda message: self._run_drawn(task, number, message),
            on_error=lambda text: self._not_drawn(task, self._ask_run, number, text),
            numbers=curves.numbers,
            poses=[None if pose is None else pose.tolist() for pose in curves.poses],
            verdicts=curves.verdicts,
            shown=curves.shown,
            pivot=list(map(float, self._patient.center)),
            mirrored=curves.mirrored,
        )

    def _run_drawn(self, task: ReportTask, number: int, message: Message) -> None:
        run = task.xrays[number].run
        if task is not self._task or run is None:
            return
        curves = message.arrays["curves"].tobytes()
        task.xrays[number] = replace(task.xrays[number], run=replace(run, curves=curves))
        self._answered(task)

    def _ask_files(self, task: ReportTask, number: int) -> int | None:
        assert task.files is not None
        if not alive(self._context.scene, task.nodes[number]):
            return None

        def done() -> None:
            if task is self._task:
                self._answered(task)
            else:  # it was stopped meanwhile, and the engine may have written since
                task.close()

        return task.files.ask(task.nodes[number], task.xrays[number], done)

    def _not_drawn(self, task: ReportTask, ask: Ask, number: int, text: str) -> None:
        if task is self._task:
            self._say_missing(task, ask, number, text)
            self._answered(task)

    def _say_missing(self, task: ReportTask, ask: Ask, number: int, why: str) -> None:
        xray = task.xrays[number]
        if ask == self._ask_run:
            task.said += _(" The poses of {name} are not drawn: {why}").format(name=xray.name, why=why)
        elif task.files is not None and ask == self._ask_files:
            task.files.miss(f"{xray.name}: {why}")
        else:
            task.xrays[number] = replace(xray, reason=_("There is no picture: {why}").format(why=why))

    def _finish(self, task: ReportTask) -> None:
        """All pictures are there: print the PDF, if there is to be one, and then write the page."""
        task.report = replace(task.report, xrays=tuple(task.xrays))
        if task.files is not None and task.files.finish():
            files, explained = files_folder(task.path).name, task.files.explained
            task.report = replace(task.report, files=files, explained=explained)
        if task.pdf is None:
            self._write(task)
        else:
            task.printing = task.pdf(printed_page(task.report), task.place / f"{task.path.stem}.pdf")

    def _write(self, task: ReportTask, not_printed: str = "") -> None:
        """Write the page; `not_printed` says why there is no PDF beside it."""
        self._task = None
        try:
            write_xray_report(task.path, task.report, task.place)
        except InputError as e:
            self._context.say(str(e))
        else:
            place = _("The report is {path}.").format(path=task.path)
            said = task.said + ("" if task.files is None else task.files.said)
            status = " ".join(map(translated, status_sentences(task.report)))
            self._context.say(f"{status} {place}{said} {not_printed}".rstrip())
        finally:
            task.close()
        self._context.changed.emit("xrays")
