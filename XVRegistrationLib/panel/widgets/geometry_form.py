"""The form below the table: how the selected X-ray was taken, where each value comes from, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt

from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.widgets.common import allow, answering, chosen, fill_choices, quietly, set_title, show_text

if TYPE_CHECKING:
    from XVRegistrationLib.panel.session import Session
    from XVRegistrationLib.panel.views import XrayRow


class GeometryForm:
    """A spin box at its minimum says "not known"; what is entered changes nothing before the button is pressed."""

    def __init__(self, ui: Any, session: Session) -> None:
        self.ui = ui
        self._session = session
        self._row: XrayRow | None = None
        self._shown: tuple[object, ...] = ()
        for spin in (ui.sddSpinBox, ui.columnSpacingSpinBox, ui.rowSpacingSpinBox):
            spin.valueChanged.connect(self.on_edited)
        for box in (ui.mirroredCheckBox, ui.denseIsBrightCheckBox):
            box.toggled.connect(self.on_edited)
        ui.geometryButton.clicked.connect(self.on_use)
        ui.cArmComboBox.activated.connect(self.on_c_arm)
        ui.calibrationButton.clicked.connect(self.on_calibration)

    def show(self, row: XrayRow | None) -> None:
        """Show the selected X-ray. What the user has begun to enter stays as long as nothing new is known of it."""
        self._row = row
        self.ui.geometryGroupBox.setVisible(row is not None)
        if row is None:
            self._shown = ()
            return
        shown = (row.node_id, row.name, row.missing, repr(row.values), repr(row.origins), row.notes)
        if shown != self._shown:
            self._shown = shown
            self._fill(row)
        self._show_button()

    def on_edited(self, value: Any = None) -> None:
        self._show_button()

    def on_use(self, checked: bool = False) -> None:
        row = self._row
        with answering(self._session.say, _("The geometry could not be set.")):
            if row is not None:
                self._session.complete_geometry(row.node, **self._edited(row))

    def on_c_arm(self, index: int = 0) -> None:
        row, name = self._row, chosen(self.ui.cArmComboBox)
        with answering(self._session.say, _("The geometry could not be set.")):
            if row is not None and name:
                self._session.complete_by_c_arm(row.node, name)
        self.ui.cArmComboBox.setCurrentIndex(0)  # it asks for a choice again, also where nothing came of this one

    def on_calibration(self, checked: bool = False) -> None:
        row = self._row
        with answering(self._session.say, _("The calibration could not be read.")):
            title, pattern = _("Calibration: MayaCam or OpenCV"), _("All files (*)")
            given = qt.QFileDialog.getOpenFileName(self.ui.calibrationButton, title, "", pattern)
            # PySide6 also returns the pattern that was chosen.
            file = str(given if isinstance(given, str) else given[0])
            if row is not None and file:
                undistorted = bool(self.ui.undistortedCheckBox.isChecked())
                self._session.complete_by_calibration(row.node, file, undistorted=undistorted)

    def _fill(self, row: XrayRow) -> None:
        ui, values = self.ui, row.values
        set_title(ui.geometryGroupBox, _("Geometry of {name}").format(name=row.name))
        arms = [(title, name) for name, title in self._session.c_arms()]
        fill_choices(ui.cArmComboBox, [(_("Choose one for what the file lacks"), ""), *arms], "")
        missing = [words for key, words in _names().items() if key in row.missing]
        asked = _("The file does not say all. Please enter: {values}.").format(values=", ".join(missing))
        show_text(ui.geometryLabel, "\n".join([*([asked] if missing else []), *row.notes]))
        boxes = (ui.mirroredCheckBox, ui.denseIsBrightCheckBox)
        spins = (ui.sddSpinBox, ui.columnSpacingSpinBox, ui.rowSpacingSpinBox)
        with quietly(*spins, *boxes):
            for spin, value in zip(spins, _lengths(row), strict=True):
                spin.setValue(value)
            ui.mirroredCheckBox.setChecked(bool(values.get("mirrored", False)))
            ui.denseIsBrightCheckBox.setChecked(bool(values.get("dense_is_bright", True)))
        for label, key in (
            (ui.sddOriginLabel, "sdd"),
            (ui.columnSpacingOriginLabel, "spacing"),
            (ui.rowSpacingOriginLabel, "spacing"),
            (ui.mirroredOriginLabel, "mirrored"),
            (ui.scaleOriginLabel, "dense_is_bright"),
        ):
            label.setText(_origin(row, key))

    def _edited(self, row: XrayRow) -> dict[str, Any]:
        """What differs from what is known, as keywords of `complete_geometry`: the rest keeps its origin."""
        ui = self.ui
        spins = (ui.sddSpinBox, ui.columnSpacingSpinBox, ui.rowSpacingSpinBox)
        sdd, dx, dy = (float(spin.property("value")) for spin in spins)
        # A spin box rounds what it shows: compare with what it made of the known values.
        known_sdd, known_dx, known_dy = (
            round(value, int(spin.property("decimals"))) for spin, value in zip(spins, _lengths(row), strict=True)
        )
        edited: dict[str, Any] = {}
        if sdd > 0 and sdd != known_sdd:
            edited["sdd"] = sdd
        if dx > 0 and dy > 0 and (dx, dy) != (known_dx, known_dy):
            known = row.values.get("spacing") or (0.0, 0.0)
            edited["spacing"] = (known[0] if dx == known_dx else dx, known[1] if dy == known_dy else dy)
        for key, box in (("mirrored", ui.mirroredCheckBox), ("dense_is_bright", ui.denseIsBrightCheckBox)):
            if box.isChecked() != bool(row.values.get(key, key == "dense_is_bright")):
                edited[key] = box.isChecked()
        return edited

    def _show_button(self) -> None:
        row = self._row
        edited = self._edited(row) if row is not None else {}
        lacking = [words for key, words in _names().items() if row is not None and key in row.missing]
        unknown = _("Enter {values} first.").format(values=", ".join(lacking))
        obstacle = "" if edited else (unknown if lacking else _("These are the values in use."))
        spacings = [float(s.property("value")) for s in (self.ui.columnSpacingSpinBox, self.ui.rowSpacingSpinBox)]
        if min(spacings) == 0 < max(spacings):
            obstacle = _("Enter the spacing of columns and of rows; they are equal on most detectors.")
        allow(self.ui.geometryButton, obstacle, _("Use these values for this X-ray."))


def _names() -> dict[str, str]:
    return {"sdd": _("the distance from source to detector"), "spacing": _("the spacing on the detector")}


def _lengths(row: XrayRow) -> tuple[float, float, float]:
    """Distance and spacings, mm; 0 where one is not known."""
    dx, dy = row.values.get("spacing") or (0.0, 0.0)
    return float(row.values.get("sdd") or 0.0), float(dx), float(dy)


def _origin(row: XrayRow, key: str) -> str:
    words = {
        "tag": _("from the file"),
        "derived": _("derived from the file"),
        "assumed": _("assumed: please check"),
        "estimated": _("estimated from several X-rays"),
        "user": _("entered"),
    }
    origin = row.origins.get(key, "")
    return _("needed") if key in row.missing else words.get(origin, origin)
