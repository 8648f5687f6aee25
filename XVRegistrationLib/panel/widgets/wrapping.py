"""Rows of buttons and fields that are broken into several where the panel is too narrow for their words.

Neither Qt's layouts nor its style sheets do that. So each tick looks at the width and the font, as the session looks at the scene,
and at texts of several lines, which Qt's form layout leaves at too small a height when they have grown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt

if TYPE_CHECKING:
    from collections.abc import Sequence

Rows = tuple[tuple[Any, ...], ...]
"""Widgets, row by row."""

_GAP = 6  # px, of a layout where the style says none
_SPIN_EMS = 4.5
"""Width of a spin box in heights of its text: seven digits, and the arrows."""


class Wrapping:
    """The rows of the panel that may be broken."""

    def __init__(self, ui: Any) -> None:
        self._panel = ui.registerCollapsibleButton.parentWidget()
        self._rows = {
            "densitiesLayout": _by_number(ui.densitiesButton, ui.usualDensitiesButton),
            "trainingButtonsLayout": _by_number(ui.trainButton, ui.resumeButton, ui.cancelTrainingButton),
            "addLayout": _by_number(ui.addFilesButton, ui.removeButton),
            "runLayout": _by_number(ui.subtractCheckBox, ui.maskFramesLineEdit, ui.registerRunButton),
            "imageButtonsLayout": _by_number(ui.stepsButton, ui.ignoreButton, ui.ignoreNothingButton),
            "calibrationLayout": _by_number(ui.calibrationButton, ui.undistortedCheckBox),
            "startsLayout": _by_number(
                *(ui.startsLabel, ui.useBankCheckBox, ui.useNetworkCheckBox),
                *(ui.useHeaderCheckBox, ui.usePresetCheckBox, ui.useCurrentCheckBox),
                most=3,
            ),
            "registerButtonsLayout": _by_number(ui.registerButton, ui.cancelRegistrationButton),
            "overlaysLayout": _by_number(
                *(ui.showLabelsCheckBox, ui.showOutlinesCheckBox, ui.showTargetsCheckBox),
                *(ui.liveDrrCheckBox, ui.linkCursorsCheckBox),
                most=4,
            ),
            "windowsLayout": _windows(ui),
            "besideLayout": _by_number(ui.biplaneCheckBox, ui.secondXrayComboBox),
            "pickButtonsLayout": _by_number(ui.pickButton, ui.clearPicksButton, ui.addPickedButton),
            "structureButtonsLayout": _by_number(ui.allStructuresButton, ui.noStructuresButton),
            "motionLayout": _motions(ui),
            "keysLayout": (
                ((ui.keysButton, ui.stepLabel, ui.stepSpinBox),),
                ((ui.keysButton,), (ui.stepLabel, ui.stepSpinBox)),
            ),
            "poseHistoryLayout": _by_number(ui.undoPoseButton, ui.redoPoseButton, ui.resetPoseButton),
            "poseTextLayout": _by_number(ui.copyPoseButton, ui.pastePoseButton),
            "viewButtonsLayout": _by_number(ui.handlesButton, ui.refineButton),
            "landmarkButtonsLayout": _by_number(
                ui.markInCtButton, ui.markInXrayButton, ui.removeLandmarkButton, ui.fitLandmarksButton
            ),
            "reportButtonsLayout": _by_number(ui.reportButton, ui.cancelReportButton, ui.exportButton),
        }
        """Name of a grid layout -> the ways in which its widgets can stand, the widest first."""
        self._texts = [label for label in self._panel.findChildren(qt.QLabel) if label.property("wordWrap")]
        self._layouts = {name: self._panel.findChild(qt.QGridLayout, name) for name in self._rows}
        in_rows = [w for ways in self._rows.values() for row in ways[0] for w in row if w.inherits("QDoubleSpinBox")]
        self._spins = [*in_rows, ui.sddSpinBox, ui.columnSpacingSpinBox, ui.rowSpacingSpinBox]
        self._laid_out: dict[int, tuple[Any, ...]] = {}
        """Number of a text -> how it stood when it was looked at last."""
        self._stand: dict[str, Rows] = {}
        self._seen: tuple[Any, ...] = ()
        self._font = ""

    def tick(self) -> None:
        """Break and join rows, and lay out texts again, where the width, the font, the words or what can be seen are not as before."""
        self._break_rows()
        for number, label in enumerate(self._texts):
            size = label.property("size")
            state = (label.property("text"), size.width(), size.height(), self._font, label.isVisible())
            if state != self._laid_out.get(number):
                self._laid_out[number] = state
                if label.isVisible() and size.height() < label.heightForWidth(size.width()):
                    label.updateGeometry()

    def _break_rows(self) -> None:
        font = self._panel.property("font").toString()
        if font != self._font:
            self._font = font
            for spin in self._spins:
                spin.setMinimumWidth(round(_SPIN_EMS * qt.QFontMetrics(spin.property("font")).height()))
        too_wide = _hidden_width(self._panel)
        room = {name: layout.geometry().width() - too_wide for name, layout in self._layouts.items()}
        shown = tuple(any(w.isVisibleTo(self._panel) for row in ways[0] for w in row) for ways in self._rows.values())
        # What the words need is only known some events after a font has changed.
        seen = (font, room, shown, self._panel.property("minimumSizeHint").width())
        if seen == self._seen and not too_wide:
            return
        self._seen = seen
        for (name, ways), can_be_seen in zip(self._rows.items(), shown, strict=True):
            if can_be_seen:
                best = next((rows for rows in ways if _width(rows) <= room[name]), ways[-1])
                self._arrange(name, best)

    def _arrange(self, name: str, rows: Rows) -> None:
        if self._stand.get(name) == rows:
            return
        self._stand[name] = rows
        layout, columns = self._layouts[name], max(len(row) for row in rows)
        for widget in (w for row in rows for w in row):
            layout.removeWidget(widget)
        for number, row in enumerate(rows):
            for column, widget in enumerate(row):
                # The last of a shorter row has the rest of it.
                span = columns - column if column == len(row) - 1 else 1
                layout.addWidget(widget, number, column, 1, span)
        for column in range(max(columns, layout.columnCount())):
            fields = any(_is_field(row[column]) for row in rows if column < len(row))
            layout.setColumnStretch(column, 1 if fields else 0)


def _hidden_width(panel: Any) -> int:
    """px of the width that can only be seen by scrolling sideways."""
    area = panel
    while area is not None and not area.inherits("QScrollArea"):
        area = area.parentWidget()
    if area is None:
        return 0
    return max(0, int(area.widget().property("width")) - int(area.viewport().property("width")))


def _by_number(*widgets: Any, most: int = 9) -> tuple[Rows, ...]:
    """All in a row, or as many in each as is possible, up to `most`."""
    numbers = range(min(most, len(widgets)), 0, -1)
    return tuple(tuple(widgets[i : i + n] for i in range(0, len(widgets), n)) for n in numbers)


def _windows(ui: Any) -> tuple[Rows, ...]:
    of_xray = ui.xrayWindowLabel, ui.xrayWindowSpinBox, ui.xrayLevelLabel, ui.xrayLevelSpinBox, ui.xrayWindowButton
    of_drr = ui.drrWindowLabel, ui.drrWindowSpinBox, ui.drrLevelLabel, ui.drrLevelSpinBox, ui.drrWindowButton
    parts: Sequence[tuple[Any, ...]] = (of_xray[:2], of_xray[2:], of_drr[:2], of_drr[2:])
    return (of_xray, of_drr), tuple(parts)


def _motions(ui: Any) -> tuple[Rows, ...]:
    shifts = (ui.rightLabel, ui.rightSpinBox), (ui.downLabel, ui.downSpinBox), (ui.depthLabel, ui.depthSpinBox)
    turns = (ui.tiltLabel, ui.tiltSpinBox), (ui.swingLabel, ui.swingSpinBox), (ui.turnLabel, ui.turnSpinBox)
    return tuple((*shift, *turn) for shift, turn in zip(shifts, turns, strict=True)), (*shifts, *turns)


def _width(rows: Rows) -> int:
    """px that rows need: of each column the widest, and what is between them."""
    columns = max(len(row) for row in rows)
    widest = [max((_least(row[i]) for row in rows if i < len(row)), default=0) for i in range(columns)]
    return sum(widest) + _GAP * (columns - 1)


def _is_field(widget: Any) -> bool:
    return not (widget.inherits("QAbstractButton") or widget.inherits("QLabel"))


def _least(widget: Any) -> int:
    """px at which nothing of a widget's words is cut; of a field, what it may be made to."""
    if widget.isHidden():
        return 0
    if _is_field(widget):
        return int(widget.property("minimumWidth")) or int(widget.property("minimumSizeHint").width())
    return int(widget.property("sizeHint").width())
