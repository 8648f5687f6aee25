"""The panel: its sections, the timer that drives the session, and what is shown anew when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt
import slicer.util

from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.widgets.adjust_section import AdjustSection
from XVRegistrationLib.panel.widgets.common import show_text
from XVRegistrationLib.panel.widgets.compare_section import CompareSection
from XVRegistrationLib.panel.widgets.landmark_section import LandmarkSection
from XVRegistrationLib.panel.widgets.layout import Views
from XVRegistrationLib.panel.widgets.model_section import ModelSection
from XVRegistrationLib.panel.widgets.patient_section import PatientSection
from XVRegistrationLib.panel.widgets.register_section import RegisterSection
from XVRegistrationLib.panel.widgets.report_section import ReportSection
from XVRegistrationLib.panel.widgets.setup_section import SetupSection
from XVRegistrationLib.panel.widgets.steps_window import StepsWindow
from XVRegistrationLib.panel.widgets.structure_section import StructureSection
from XVRegistrationLib.panel.widgets.target_section import TargetSection
from XVRegistrationLib.panel.widgets.view_section import ViewSection
from XVRegistrationLib.panel.widgets.views_section import ViewsSection
from XVRegistrationLib.panel.widgets.xray_section import XraySection

if TYPE_CHECKING:
    from XVRegistrationLib.panel.session import Session

TOPICS = frozenset({"patient", "model", "xrays", "status", "view", "targets", "adjust", "run", "report"})
OPEN_MS, AWAY_MS = 33, 500
"""Between two looks at the child processes while the module is open, and while another one is: a training goes on."""


class Panel:
    """All behavior of the widgets in XVRegistration.ui that are not simply bound to the parameter node."""

    def __init__(self, ui: Any, session: Session) -> None:
        """`ui` has the widgets as attributes, by their names."""
        self.ui = ui
        self.session = session
        self._parameters: Any = None
        self._to_show = set(TOPICS)
        self._failure = ""
        self._status = ""
        self._setup = SetupSection(ui, session.say, self._use_parameters)
        self._patient = PatientSection(ui, session)
        self._model = ModelSection(ui, session, self._setup)
        self._xrays = XraySection(ui, session)
        self._register = RegisterSection(ui, session, self._setup)
        self._view = ViewSection(ui, session, self._setup)
        self._compare = CompareSection(ui, session)
        self._targets = TargetSection(ui, session)
        self._structures = StructureSection(ui, session)
        self._adjust = AdjustSection(ui, session)
        self._landmarks = LandmarkSection(ui, session)
        self._report = ReportSection(ui, session, self._setup)
        self._several = ViewsSection(ui, session, self._setup)
        self._views = Views(session)
        self._steps = StepsWindow()
        session.changed.connect(self._to_show.add)
        self._timer = qt.QTimer()
        self._timer.setInterval(AWAY_MS)
        self._timer.timeout.connect(self.on_timer)
        self._timer.start()

    def set_parameters(self, parameters: Any) -> None:
        """Work with this parameter node, or, between two scenes, with none."""
        self._parameters = parameters
        if parameters is None:
            self._view.forget()
        self._use_parameters()

    def show_everything(self, caller: Any = None, event: Any = None) -> None:
        """Show all anew at the next tick: a parameter changed."""
        self._to_show.update(TOPICS)

    def enter(self) -> None:
        """The user opens the module."""
        self._setup.show()
        self._use_parameters()
        self._views.enter()
        self._adjust.enter()
        self._timer.setInterval(OPEN_MS)

    def exit(self) -> None:
        """The user opens another module; a training is still watched."""
        self._views.exit()
        self._adjust.exit()
        self._timer.setInterval(AWAY_MS)

    def attach_views(self) -> None:
        """Find the X-ray view again, after a scene was read or closed."""
        self._views.attach()

    def close(self) -> None:
        """The module goes: the user's views are given back, and nothing is called any more. Trainings go on."""
        self._views.exit()
        self._steps.close()
        self._adjust.exit()
        self._timer.stop()
        self._timer.timeout.disconnect(self.on_timer)
        self.session.changed.disconnect(self._to_show.add)
        self.session.close()

    def on_timer(self) -> None:
        """Take in what happened and show what changed by it. A failure is reported once, not thirty times a second."""
        try:
            self.session.tick()
            self._model.tick()
            self._show()
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
            if failure == self._failure:
                return
            self._failure = failure
            self.ui.statusLabel.setText(_("Something went wrong: {failure}").format(failure=failure))
            raise
        self._failure = ""

    def _use_parameters(self) -> None:
        # Nothing can be computed without the packages; the session begins as soon as they are there.
        self.session.set_parameters(None if self._setup.missing else self._parameters)
        self.show_everything()

    def _show(self) -> None:
        if not self._to_show:
            return
        topics = set(self._to_show)
        self._to_show.clear()
        if "patient" in topics:
            self._patient.show()
        if topics & {"patient", "model", "xrays", "run"}:
            self._model.show()
        if topics & {"patient", "xrays", "view", "model", "run"}:
            rows = self.session.rows()
            self._xrays.show(rows)
            self._register.show()
            current = next((row for row in rows if row.current), None)
            self._view.show(current)
            self._report.show(current)
            self._several.show(rows)
            parameters = self.session.parameters
            self._views.show(parameters.volume if parameters is not None else None, rows)
        if topics & {"patient", "xrays", "view", "model", "adjust"}:
            self._compare.show()
            self._adjust.show()
            self._landmarks.show()
        if topics & {"patient", "xrays", "view", "targets"}:
            self._targets.show()
            self._structures.show()
        if "report" in topics:
            self._report.show_progress()
        if "steps" in topics and self.session.steps is not None:
            self._steps.show(self.session.steps)
        self._show_status()

    def _show_status(self) -> None:
        status = self.session.status
        if status == self._status:
            return
        self._status = status
        show_text(self.ui.statusLabel, status)
        slicer.util.showStatusMessage(status, 5000)  # the panel's own line may be scrolled out of sight
        self.ui.logTextEdit.setPlainText("\n".join(self.session.log))
        self.ui.logTextEdit.moveCursor(qt.QTextCursor.End)
