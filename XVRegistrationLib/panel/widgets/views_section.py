"""Several X-rays: registering them as one, a second one beside the one that is shown, and what came of a run's frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.widgets.common import allow, answering, chosen, fill_choices, show_text
from XVRegistrationLib.scene.run_curves import color_of_axis

if TYPE_CHECKING:
    from XVRegistrationLib.panel.session import Session
    from XVRegistrationLib.panel.views import RunView, XrayRow
    from XVRegistrationLib.panel.widgets.setup_section import SetupSection


class ViewsSection:
    """The check boxes are bound to the parameter node by the module; here is the rest."""

    def __init__(self, ui: Any, session: Session, setup: SetupSection) -> None:
        self.ui = ui
        self._session = session
        self._setup = setup
        self._rows: list[XrayRow] = []
        ui.relationComboBox.activated.connect(self.on_relation)
        ui.registerTogetherButton.clicked.connect(self.on_register)
        ui.secondXrayComboBox.activated.connect(self.on_beside)
        ui.nextFrameButton.clicked.connect(self.on_next)

    def show(self, rows: list[XrayRow]) -> None:
        self._rows = rows
        self._show_relation()
        self._show_beside()
        self._show_run()

    def on_relation(self, index: int = 0) -> None:
        parameters = self._session.parameters
        if parameters is not None:
            parameters.relation = chosen(self.ui.relationComboBox)

    def on_register(self, checked: bool = False) -> None:
        with answering(self._session.say, _("The X-rays could not be registered together.")):
            self._session.register_together()

    def on_beside(self, index: int = 0) -> None:
        with answering(self._session.say, _("The X-ray could not be shown.")):
            wanted = chosen(self.ui.secondXrayComboBox)
            row = next((row for row in self._rows if row.node_id == wanted), None)
            if row is not None:
                self._session.show_beside(row.node)

    def on_next(self, checked: bool = False) -> None:
        with answering(self._session.say, _("The frame could not be shown.")):
            self._session.show_next_frame()

    def _show_relation(self) -> None:
        choices, way = self._session.relations(), self._session.relation
        fill_choices(self.ui.relationComboBox, [(choice.title, choice.name) for choice in choices], way)
        choice = next(choice for choice in choices if choice.name == way)
        several = sum(row.checked for row in self._rows) > 1
        show_text(self.ui.relationHintLabel, (choice.obstacle or choice.purpose) if several else "")
        obstacle = self._setup.obstacle or self._session.can_register_together()
        purpose = _(
            "Find one pose of the patient for all checked X-rays; the verdict is on all of them. Of runs alone, frame after frame."
        )
        allow(self.ui.registerTogetherButton, obstacle, purpose)

    def _show_beside(self) -> None:
        obstacle, beside = self._session.can_show_beside(), self._session.beside
        others = [(row.name, row.node_id) for row in self._rows if not row.current] if not obstacle else []
        fill_choices(self.ui.secondXrayComboBox, others, "" if beside is None else beside.GetID())
        on = self._session.parameters is not None and self._session.parameters.biplane
        allow(self.ui.secondXrayComboBox, obstacle, _("The X-ray that is shown beside this one."))
        # What is on can always be switched off.
        purpose = _("Show a second X-ray beside this one, such as the other plane of a biplane system.")
        allow(self.ui.biplaneCheckBox, "" if on else obstacle, purpose)

    def _show_run(self) -> None:
        view = self._session.run_view()
        show_text(self.ui.runLabel, "" if view is None else _summary(view))
        show_text(self.ui.curvesLabel, "" if view is None or not _registered(view) else _legend())
        self.ui.nextFrameButton.setVisible(view is not None)
        purpose = _("Show the next frame that is not converged, and neither accepted nor rejected.")
        allow(self.ui.nextFrameButton, self._session.can_show_next_frame(), purpose)


def _summary(view: RunView) -> str:
    counts = {
        _("{count} converged"): view.converged,
        _("{count} to check"): view.check,
        _("{count} failed"): view.failed,
        _("{count} not registered"): view.count - _registered(view),
        _("{count} accepted"): view.accepted,
        _("{count} rejected"): view.rejected,
    }
    words = [text.format(count=count) for text, count in counts.items() if count]
    return _("Of {count} frames: {words}.").format(count=view.count, words=", ".join(words))


def _registered(view: RunView) -> int:
    return view.converged + view.check + view.failed


def _legend() -> str:
    """What the colours and marks of the chart are: in a chart as small as this one a legend would cover the curves."""
    words = {
        "right": _("right"),
        "down": _("down"),
        "depth": _("depth"),
        "tilt": _("tilt"),
        "swing": _("swing"),
        "turn": _("turn"),
    }
    lines = [f'<font color="{color_of_axis(axis)}"><b>\u2014</b></font>\u00a0{word}' for axis, word in words.items()]
    text = _(
        "The chart shows since the first frame: {shifts} in mm; {turns} in degrees. Below: \u25cf converged, \u25c6 check, \u2715 failed."
    )
    return text.format(shifts=", ".join(lines[:3]), turns=", ".join(lines[3:]))
