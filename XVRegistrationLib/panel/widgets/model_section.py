"""2. Model: its state, the training in the background, and the library."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import qt

from XVRegistrationLib.networks.settings import DEFAULT, PSSS
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.widgets.common import allow, answering, chosen, fill_choices, show_progress, show_text
from XVRegistrationLib.scene.layout import PLOT_VIEW

if TYPE_CHECKING:
    from XVRegistrationLib.panel.session import Session
    from XVRegistrationLib.panel.views import ModelView
    from XVRegistrationLib.panel.widgets.setup_section import SetupSection

SECONDS_TO_CONFIRM = 5.0


class ModelSection:
    """How long to train is bound to the parameter node by the module; here is the rest."""

    def __init__(self, ui: Any, session: Session, setup: SetupSection) -> None:
        self.ui = ui
        self._session = session
        self._setup = setup
        self._listed: tuple[object, ...] | None = None
        self._titles: dict[str, str] = {}
        """Folder of a model of the library -> its title, which the list may be too narrow for."""
        self._purpose = str(ui.modelComboBox.property("toolTip"))
        self._room = 0
        self._confirm_until = 0.0
        ui.deviceComboBox.activated.connect(self.on_device)
        ui.networkComboBox.activated.connect(self.on_network)
        ui.trainButton.clicked.connect(self.on_train)
        ui.resumeButton.clicked.connect(self.on_resume)
        ui.cancelTrainingButton.clicked.connect(self.on_cancel)
        ui.modelComboBox.activated.connect(self.on_choose)
        ui.deleteModelButton.clicked.connect(self.on_delete)

    def show(self) -> None:
        session, ui = self._session, self.ui
        parameters = session.parameters
        view = session.model_view()
        devices = [(_("Automatic"), ""), (_("Processor (CPU)"), "cpu"), (_("Graphics card"), "cuda")]
        fill_choices(ui.deviceComboBox, devices, parameters.device if parameters is not None else "")
        networks = [(_("Default"), DEFAULT), (_("With attention (PSSS)"), PSSS)]
        fill_choices(ui.networkComboBox, networks, parameters.network if parameters is not None else DEFAULT)
        settled = view.network or session.training
        allow(
            ui.networkComboBox,
            _("This model has its network; delete the model to train another.") if settled else "",
            _("What is trained. The network with attention can show where it looks; on a processor it learns slowly."),
        )
        show_text(ui.modelLabel, view.text)
        show_progress(ui.trainingProgressBar, view.fraction, _progress_text(view))
        show_text(ui.trainingLabel, _result_text(view))
        lacking = self._setup.obstacle
        allow(ui.trainButton, lacking or session.can_train(), _("Train in the background; Slicer may be closed."))
        allow(ui.resumeButton, lacking or session.can_resume_training(), _("Go on from the last checkpoint."))
        allow(ui.cancelTrainingButton, session.can_cancel_training(), _("Stop; the last checkpoint stays in use."))
        self._show_library(view)
        self._show_chart()

    def tick(self) -> None:
        """A question that was not answered is withdrawn, and titles are as long as the list is wide."""
        if self._room_for_titles() != self._room:
            self._fill_library(chosen(self.ui.modelComboBox))
        if self._confirm_until and time.monotonic() > self._confirm_until:
            self._ask_to_delete(False)

    def on_device(self, index: int = 0) -> None:
        parameters = self._session.parameters
        if parameters is not None:
            parameters.device = chosen(self.ui.deviceComboBox)

    def on_network(self, index: int = 0) -> None:
        parameters = self._session.parameters
        if parameters is not None:
            parameters.network = chosen(self.ui.networkComboBox)

    def on_train(self, checked: bool = False) -> None:
        with answering(self._session.say, _("The training could not be started.")):
            self._session.start_training()

    def on_resume(self, checked: bool = False) -> None:
        with answering(self._session.say, _("The training could not be resumed.")):
            self._session.resume_training()

    def on_cancel(self, checked: bool = False) -> None:
        with answering(self._session.say, _("The training could not be stopped.")):
            self._session.cancel_training()

    def on_choose(self, index: int = 0) -> None:
        self._ask_to_delete(False)
        with answering(self._session.say, _("This model cannot be used.")):
            folder = chosen(self.ui.modelComboBox)
            if folder:
                self._session.choose_model(folder)
        self._listed = None  # a model that was refused is not the one in use: show that again

    def on_delete(self, checked: bool = False) -> None:
        """Ask at the first click, in the button itself; delete at the second."""
        if not self._confirm_until:
            self._ask_to_delete(True)
            return
        self._ask_to_delete(False)
        with answering(self._session.say, _("The model could not be deleted.")):
            self._session.delete_model(chosen(self.ui.modelComboBox))
        self._listed = None

    def _ask_to_delete(self, asking: bool) -> None:
        self._confirm_until = time.monotonic() + SECONDS_TO_CONFIRM if asking else 0.0
        self.ui.deleteModelButton.setText(_("Delete for good?") if asking else _("Delete"))

    def _show_library(self, view: ModelView) -> None:
        # The library is read from the disk: only when it may have changed.
        volume = getattr(self._session.parameters, "volume", None)
        key = (view.folder, view.state, view.job_state, volume.GetID() if volume is not None else "")
        if key != self._listed:
            self._listed = key
            rows = self._session.library()
            current = next((str(row.folder) for row in rows if row.current), "")
            titles = [row.title if row.fits else _("{title} (other CT)").format(title=row.title) for row in rows]
            self._titles = {str(row.folder): title for row, title in zip(rows, titles, strict=True)}
            self._fill_library(current)
        obstacle = "" if chosen(self.ui.modelComboBox) else _("The library has no model yet.")
        allow(
            self.ui.deleteModelButton,
            obstacle or (_("Stop the training first.") if self._session.training else ""),
            _("Delete this model from the disk; you are asked once more."),
        )

    def _fill_library(self, current: str) -> None:
        """List the models; what does not fit of a title is left out of its middle, and is in its tooltip."""
        combo, self._room = self.ui.modelComboBox, self._room_for_titles()
        metrics = qt.QFontMetrics(combo.property("font"))
        short = [(metrics.elidedText(t, qt.Qt.ElideMiddle, self._room), folder) for folder, t in self._titles.items()]
        fill_choices(combo, short, current)
        for index, title in enumerate(self._titles.values()):
            combo.setItemData(index, title, int(qt.Qt.ToolTipRole))
        combo.setToolTip("\n".join(text for text in (self._titles.get(current, ""), self._purpose) if text))

    def _room_for_titles(self) -> int:
        """px beside the list's arrow."""
        combo = self.ui.modelComboBox
        return int(combo.property("width")) - 3 * int(qt.QFontMetrics(combo.property("font")).height())

    def _show_chart(self) -> None:
        scene = self._session.scene
        plot_view = scene.GetSingletonNode(PLOT_VIEW, "vtkMRMLPlotViewNode") if scene is not None else None
        chart = self._session.plot_chart()
        if plot_view is not None and chart is not None and plot_view.GetPlotChartNodeID() != chart.GetID():
            plot_view.SetPlotChartNodeID(chart.GetID())


def duration(seconds: float) -> str:
    """A time in words, as exact as one wants to know it."""
    if seconds < 90:
        return _("{count} s").format(count=max(1, round(seconds)))
    if seconds < 5400:
        return _("{count} min").format(count=round(seconds / 60))
    return _("{count} h").format(count=f"{seconds / 3600:.1f}")


def _progress_text(view: ModelView) -> str:
    if view.fraction is None:
        return ""
    done = _("{percent} %").format(percent=round(100 * max(0.0, view.fraction)))
    if view.eta is None:
        return done
    return _("{percent} %, about {time} left").format(percent=round(100 * view.fraction), time=duration(view.eta))


def _result_text(view: ModelView) -> str:
    if view.error_mm is None:
        return ""
    text = _("On X-rays that it has not seen, the network is {error} mm off before refinement.")
    return text.format(error=f"{view.error_mm:.1f}")
