"""5. See it, second part: how X-ray and DRR are compared, and the windows of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt

from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.widgets.common import allow, answering, chosen, fill_choices, quietly, show_text

if TYPE_CHECKING:
    from XVRegistrationLib.panel.session import Session
    from XVRegistrationLib.panel.views import ComparisonChoice

_PARTS = ("xray", "drr")


class CompareSection:
    """The list of ways, of which one that is not possible is disabled and says why, and four spin boxes."""

    def __init__(self, ui: Any, session: Session) -> None:
        self.ui = ui
        self._session = session
        self._obstacles: list[str] | None = None
        self._spins = {
            "xray": (ui.xrayWindowSpinBox, ui.xrayLevelSpinBox),
            "drr": (ui.drrWindowSpinBox, ui.drrLevelSpinBox),
        }
        self._purposes = {part: [str(s.property("toolTip")) for s in spins] for part, spins in self._spins.items()}
        self._blend_purpose = str(ui.blendSlider.property("toolTip"))
        self._buttons = {"xray": ui.xrayWindowButton, "drr": ui.drrWindowButton}
        ui.comparisonComboBox.activated.connect(self.on_way)
        for spin in (ui.xrayWindowSpinBox, ui.xrayLevelSpinBox):
            spin.valueChanged.connect(self.on_xray_window)
        for spin in (ui.drrWindowSpinBox, ui.drrLevelSpinBox):
            spin.valueChanged.connect(self.on_drr_window)
        ui.xrayWindowButton.clicked.connect(self.on_usual_xray)
        ui.drrWindowButton.clicked.connect(self.on_usual_drr)

    def show(self) -> None:
        choices = self._session.comparisons()
        combo, way = self.ui.comparisonComboBox, self._session.comparison
        fill_choices(combo, [(choice.title, choice.name) for choice in choices], way)
        obstacles = [choice.obstacle for choice in choices]
        if obstacles != self._obstacles:
            self._obstacles = obstacles
            for index, obstacle in enumerate(obstacles):
                # The item's flags: Qt keeps them one below the first role of the user.
                combo.setItemData(index, 0 if obstacle else 33, int(qt.Qt.UserRole) - 1)
                combo.setItemData(index, obstacle or choices[index].purpose, int(qt.Qt.ToolTipRole))
        # A scene may name a way that is not possible now.
        wanted = way if self._session.parameters is None else self._session.parameters.comparison
        show_text(self.ui.comparisonHintLabel, " ".join(_hint(choice) for choice in choices if choice.name == wanted))
        obstacle = "" if way == "blend" else _("Choose Blend above: nothing else is mixed of the two.")
        allow(self.ui.blendSlider, obstacle, self._blend_purpose)
        for part in _PARTS:
            self._show_window(part)

    def on_way(self, index: int = 0) -> None:
        with answering(self._session.say, _("That comparison could not be shown.")):
            way = chosen(self.ui.comparisonComboBox)
            if way:
                self._session.compare(way)

    def on_xray_window(self, value: float = 0.0) -> None:
        self._set_window("xray")

    def on_drr_window(self, value: float = 0.0) -> None:
        self._set_window("drr")

    def on_usual_xray(self, checked: bool = False) -> None:
        self._usual("xray")

    def on_usual_drr(self, checked: bool = False) -> None:
        self._usual("drr")

    def _set_window(self, part: str) -> None:
        with answering(self._session.say, _("The window could not be changed.")):
            window, level = (float(spin.property("value")) for spin in self._spins[part])
            self._session.set_window(part, window, level)

    def _usual(self, part: str) -> None:
        with answering(self._session.say, _("The window could not be changed.")):
            self._session.usual_window(part)
            self._show_window(part)

    def _show_window(self, part: str) -> None:
        view = self._session.window(part)
        obstacle = "" if view is not None else _("There is no image yet.")
        for spin, purpose in zip(self._spins[part], self._purposes[part], strict=True):
            allow(spin, obstacle, purpose)
        allow(self._buttons[part], obstacle, _("Go back to the window that the image had at first."))
        if view is None:
            return
        with quietly(*self._spins[part]):
            for spin, value in zip(self._spins[part], (view.window, view.level), strict=True):
                spin.setSingleStep(view.step)
                spin.setDecimals(_decimals(view.step))
                spin.setValue(value)


def _hint(choice: ComparisonChoice) -> str:
    """What is to be known of a way of comparing beside its name."""
    return choice.obstacle or ("" if choice.name == "blend" else choice.purpose)


def _decimals(step: float) -> int:
    """Digits behind the point that show steps of this size, and a tenth of them."""
    digits = 1
    while step < 1 and digits < 6:
        step, digits = step * 10, digits + 1
    return digits
