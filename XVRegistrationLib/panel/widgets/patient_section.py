"""1. Patient: the volume, what belongs to it, the view that is expected, and what was understood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt

from XVRegistrationLib.imaging.volumes.densities import read_densities, text_of_densities
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.volume_values import ATTENUATION, CT, HU, STRUCTURES, VESSELS
from XVRegistrationLib.panel.widgets.common import allow, answering, chosen, fill_choices, show_text
from XVRegistrationLib.panel.widgets.pictures import pixmap_of, with_markers
from XVRegistrationLib.panel.words import translated

if TYPE_CHECKING:
    from XVRegistrationLib.panel.session import Session

PICTURE = 146  # px, inside the frame of nominalLabel


class PatientSection:
    """The node selectors and spin boxes are bound to the parameter node by the module; here is the rest."""

    def __init__(self, ui: Any, session: Session) -> None:
        self.ui = ui
        self._session = session
        self._image: Any = None
        self._asked_of: Any = None
        """The volume that the user was last asked of what its values are."""
        self._not_scanned_purpose = str(ui.notScannedSpinBox.property("toolTip"))
        ui.presetComboBox.activated.connect(self.on_preset)
        ui.valuesComboBox.activated.connect(self.on_values)
        ui.densitiesButton.clicked.connect(self.on_densities)
        ui.usualDensitiesButton.clicked.connect(self.on_usual_densities)
        ui.valuesCollapsibleButton.collapsed = True  # a CT needs no answer

    def show(self) -> None:
        parameters = self._session.parameters
        presets = [(translated(preset.title), preset.name) for preset in self._session.presets()]
        fill_choices(self.ui.presetComboBox, presets, parameters.preset if parameters is not None else "")
        if parameters is not None:
            self._show_nodes(parameters)
        view = self._session.patient_view()
        # What stands in the way comes first: it is what the user has to do next.
        said = (view.problem, view.kind, view.size_text, view.check)
        show_text(self.ui.patientLabel, "\n".join(text for text in said if text))
        self._show_values(parameters, view.asks)
        self._show_picture(view.image, view.markers)

    def on_preset(self, index: int = 0) -> None:
        parameters = self._session.parameters
        if parameters is not None:
            parameters.preset = chosen(self.ui.presetComboBox)

    def on_values(self, index: int = 0) -> None:
        parameters = self._session.parameters
        if parameters is not None:
            parameters.volumeValues = chosen(self.ui.valuesComboBox)

    def on_densities(self, checked: bool = False) -> None:
        parameters = self._session.parameters
        with answering(self._session.say, _("The table of densities could not be read.")):
            file = self._asked_for_table()
            if file and parameters is not None:
                parameters.densities = text_of_densities(read_densities(file))

    def on_usual_densities(self, checked: bool = False) -> None:
        parameters = self._session.parameters
        if parameters is not None:
            parameters.densities = ""

    def _asked_for_table(self) -> str:
        title, pattern = _("Densities of structures"), _("Tables of densities (*.json)")
        given = qt.QFileDialog.getOpenFileName(self.ui.densitiesButton, title, "", pattern)
        # PySide6 also returns the pattern that was chosen.
        return str(given if isinstance(given, str) else given[0])

    def _show_nodes(self, parameters: Any) -> None:
        """Show the nodes in use also where a selector was asked for one that it did not know yet, as while a scene is read."""
        for selector, node in (
            (self.ui.volumeSelector, parameters.volume),
            (self.ui.segmentationSelector, parameters.segmentation),
            (self.ui.targetsSelector, parameters.targets),
        ):
            if node is not None and selector.currentNode() is not node:
                selector.setCurrentNode(node)

    def _show_values(self, parameters: Any, asks: bool) -> None:
        """What the values are said to be; the question opens by itself once for a volume that seems to be no CT."""
        ui = self.ui
        kind = CT if parameters is None else parameters.volumeValues
        fill_choices(ui.valuesComboBox, _choices(), kind)
        show_text(ui.valuesLabel, _hints().get(kind, ""))
        for widget in (ui.windowLabel, ui.vesselsLowSpinBox, ui.vesselsHighSpinBox):
            widget.setVisible(kind == VESSELS)
        for widget in (ui.densitiesLabel, ui.densitiesButton, ui.usualDensitiesButton):
            widget.setVisible(kind == STRUCTURES)
        own = parameters is not None and bool(parameters.densities)
        obstacle = "" if own else _("The usual table is in use.")
        allow(ui.usualDensitiesButton, obstacle, _("Use the table that comes along again (Resources/densities.json)."))
        said = parameters is not None and parameters.useNotScanned
        allow(ui.notScannedSpinBox, "" if said else _("Tick Not scanned first."), self._not_scanned_purpose)
        for widget in (ui.useNotScannedCheckBox, ui.notScannedSpinBox):
            widget.setVisible(kind != STRUCTURES)
        volume = None if parameters is None else parameters.volume
        if asks and volume is not self._asked_of:
            self._asked_of = volume
            ui.valuesCollapsibleButton.collapsed = False

    def _show_picture(self, image: Any, markers: dict[str, str]) -> None:
        if image is not None and image is self._image:
            return
        self._image = image
        if image is None:
            self.ui.nominalLabel.clear()
            self.ui.nominalLabel.setText(_("No view yet"))
        else:
            label = self.ui.nominalLabel
            label.setPixmap(with_markers(pixmap_of(image), markers, PICTURE, label.devicePixelRatioF()))


def _choices() -> list[tuple[str, str]]:
    return [
        (_("CT in Hounsfield units"), CT),
        (_("Vessels (rotational DSA, MRA)"), VESSELS),
        (_("MR: densities from the segmentation"), STRUCTURES),
        (_("Hounsfield units, whatever they look like"), HU),
        (_("Linear attenuation, 1/mm"), ATTENUATION),
    ]


def _hints() -> dict[str, str]:
    """What follows from a choice, and what else it needs."""
    return {
        CT: _("Values that cannot be Hounsfield units are refused: bone would not be told from air."),
        VESSELS: _(
            "No vessel up to the first value, full of contrast agent from the second; both 0: a window is proposed. X-rays are "
            "to be subtracted angiograms."
        ),
        STRUCTURES: _(
            "Each segment gets the density that its name has in the table; everything outside of them is air. The volume's own "
            "values do not count."
        ),
        HU: _("For parts that were cut out, or a CT without air: its values are used as they are."),
        ATTENUATION: _("As reconstructed, not scaled to Hounsfield units."),
    }
