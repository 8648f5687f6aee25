"""The module `ctk`: CTK's widgets that panels use, re-created on PySide6.

Only what PythonQt shows of them is public here: properties, public slots, invokable methods and signals. What Python
calls a method in Qt's own classes (`setCollapsed`) is not there in CTK's, and so not here. Names with `_host` are ours.
"""

from __future__ import annotations

import sys
import types
from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal, Slot

from Testing.Host.cpp_classes import cpp_class, lay_out_row, stored, widget_in

ctk = sys.modules.setdefault("ctk", types.ModuleType("ctk", __doc__))
_HEADER_HEIGHT = 22  # of a collapsible button, px, or more for a large font
_UNLIMITED = 16777215  # Qt's QWIDGETSIZE_MAX
_MOST_STEPS = 2**31 - 1  # of a QSlider


@cpp_class(ctk)
class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A section with a title that hides its contents when clicked."""

    contentsCollapsed = Signal(bool)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(widget_in(arguments))
        self._host_is_collapsed = False
        self._host_is_forcing = False
        self.setText(next((a for a in arguments if isinstance(a, str)), ""))
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Policy.Preferred, QtWidgets.QSizePolicy.Policy.Preferred)
        self.setContentsMargins(0, self._host_header, 0, 0)
        self.toggled.connect(lambda checked: self._host_collapse(not checked))

    def _host_collapse(self, collapsed: bool) -> None:
        if collapsed == self._host_is_collapsed:
            return
        self._host_is_collapsed = collapsed
        self.setChecked(not collapsed)
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                if collapsed:
                    self._host_put_away(child)
                else:
                    self._host_force(child, not child.property("_host_hidden"))
        self.setMaximumHeight(self._host_header + 8 if collapsed else _UNLIMITED)
        self.updateGeometry()
        self.contentsCollapsed.emit(collapsed)

    def _host_put_away(self, child: QtWidgets.QWidget) -> None:
        """Hide a child; what was hidden by itself stays hidden when the section is opened again."""
        by_itself = child.testAttribute(QtCore.Qt.WidgetAttribute.WA_WState_ExplicitShowHide)
        child.setProperty("_host_hidden", by_itself and child.isHidden())
        child.installEventFilter(self)
        self._host_force(child, False)

    def childEvent(self, event: Any) -> None:
        super().childEvent(event)
        child = event.child()
        is_new = isinstance(child, QtWidgets.QWidget) and child.property("_host_hidden") is None
        if event.polished() and self._host_is_collapsed and is_new:
            self._host_put_away(child)

    def _host_force(self, child: QtWidgets.QWidget, visible: bool) -> None:
        self._host_is_forcing = True
        child.setVisible(visible)
        # As if nobody had: else Qt would say nothing when it is hidden or shown once more.
        child.setAttribute(QtCore.Qt.WidgetAttribute.WA_WState_ExplicitShowHide, bool(child.property("_host_hidden")))
        self._host_is_forcing = False

    def eventFilter(self, child: Any, event: Any) -> bool:
        """What is shown in a collapsed section is only seen once that is opened."""
        kinds = QtCore.QEvent.Type.ShowToParent, QtCore.QEvent.Type.HideToParent
        if self._host_is_collapsed and not self._host_is_forcing and event.type() in kinds:
            child.setProperty("_host_hidden", event.type() == kinds[1])
            self._host_force(child, False)
        return False

    collapsed = Property(
        bool, lambda self: self._host_is_collapsed, lambda self, on: self._host_collapse(on), notify=contentsCollapsed
    )
    collapsedHeight = stored(int, "collapsedHeight", 14)
    flat = stored(bool, "flat", False)

    @property
    def _host_header(self) -> int:
        return max(_HEADER_HEIGHT, self.fontMetrics().height() + 6)

    def changeEvent(self, event: Any) -> None:
        super().changeEvent(event)
        if event.type() == QtCore.QEvent.Type.FontChange:
            self.setContentsMargins(0, self._host_header, 0, 0)
            self.updateGeometry()

    def hitButton(self, position: Any) -> bool:
        return position.y() <= self._host_header

    def sizeHint(self) -> Any:
        return self._host_size(QtCore.QSize(100, self._host_header + 4), "totalSizeHint")

    def minimumSizeHint(self) -> Any:
        return self._host_size(QtCore.QSize(60, self._host_header + 4), "totalMinimumSize")

    def _host_size(self, header: Any, of_contents: str) -> Any:
        layout = self.layout()
        if self._host_is_collapsed or layout is None:
            return header
        return getattr(layout, of_contents)().expandedTo(header)

    def paintEvent(self, event: Any) -> None:
        painter = QtWidgets.QStylePainter(self)
        header = QtWidgets.QStyleOptionButton()
        header.initFrom(self)
        header.rect = QtCore.QRect(0, 0, self.width, self._host_header)
        header.state |= QtWidgets.QStyle.StateFlag.State_Raised
        painter.drawControl(QtWidgets.QStyle.ControlElement.CE_PushButtonBevel, header)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(6, 5, 12, 12)
        right, down = (QtWidgets.QStyle.PrimitiveElement[f"PE_IndicatorArrow{where}"] for where in ("Right", "Down"))
        painter.drawPrimitive(right if self._host_is_collapsed else down, arrow)
        alignment = (
            QtCore.Qt.AlignmentFlag.AlignVCenter
            | QtCore.Qt.AlignmentFlag.AlignLeft
            | QtCore.Qt.TextFlag.TextShowMnemonic
        )
        painter.drawText(header.rect.adjusted(24, 0, -4, 0), int(alignment), self.text)
        if not self._host_is_collapsed:
            painter.setPen(self.palette.mid().color())
            painter.drawRect(0, self._host_header - 1, self.width - 1, self.height - self._host_header)


def _of_inner(name: str, kind: Any = float) -> Any:
    """A property that is the same one of the Qt widget inside."""
    return Property(
        kind,
        lambda self: getattr(self._host_spin_box, name),
        lambda self, value: setattr(self._host_spin_box, name, value),
    )


@cpp_class(ctk)
class ctkDoubleSpinBox(QtWidgets.QWidget):
    """A spin box for lengths and angles; it contains Qt's and is none itself."""

    valueChanged = Signal(float)
    decimalsChanged = Signal(int)
    editingFinished = Signal()

    def __init__(self, *arguments: Any) -> None:
        super().__init__(widget_in(arguments))
        self._host_spin_box = QtWidgets.QDoubleSpinBox()
        lay_out_row(self, self._host_spin_box)
        self._host_spin_box.valueChanged.connect(self.valueChanged)
        self._host_spin_box.editingFinished.connect(self.editingFinished)

    minimum, maximum = _of_inner("minimum"), _of_inner("maximum")
    singleStep, value = _of_inner("singleStep"), _of_inner("value")
    prefix, suffix = _of_inner("prefix", str), _of_inner("suffix", str)
    decimals, readOnly = _of_inner("decimals", int), _of_inner("readOnly", bool)

    @Slot(float)
    def setValue(self, value: float) -> None:
        self._host_spin_box.setValue(value)

    @Slot(int)
    def setDecimals(self, decimals: int) -> None:
        self._host_spin_box.setDecimals(decimals)
        self.decimalsChanged.emit(decimals)


@cpp_class(ctk)
class ctkComboBox(QtWidgets.QComboBox):
    """A combo box with a text for "nothing chosen"."""

    defaultText = stored(str, "defaultText", "")


@cpp_class(ctk)
class ctkCheckBox(QtWidgets.QCheckBox):
    """A check box."""


@cpp_class(ctk)
class ctkPushButton(QtWidgets.QPushButton):
    """A button."""


@cpp_class(ctk)
class ctkDoubleSlider(QtWidgets.QWidget):
    """A slider over real numbers."""

    valueChanged = Signal(float)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(widget_in(arguments))
        orientation = next(
            (a for a in arguments if isinstance(a, QtCore.Qt.Orientation)), QtCore.Qt.Orientation.Horizontal
        )
        self._host_range, self._host_step, self._host_number = (0.0, 100.0), 1.0, 0.0
        self._host_slider = QtWidgets.QSlider(orientation)
        lay_out_row(self, self._host_slider)
        self._host_slider.valueChanged.connect(
            lambda position: self.setValue(self._host_range[0] + position * self._host_step)
        )
        self._host_show()

    def _host_show(self) -> None:
        low, high = self._host_range
        if high - low > _MOST_STEPS * self._host_step:  # unbounded: there is nothing that could be shown
            return
        self._host_slider.blockSignals(True)
        self._host_slider.setRange(0, round((high - low) / self._host_step))
        self._host_slider.setValue(round((self._host_number - low) / self._host_step))
        self._host_slider.blockSignals(False)

    def _host_limit(self, low: float, high: float) -> None:
        self._host_range = low, max(low, high)
        self.setValue(self._host_number)
        self._host_show()

    def _host_set_step(self, step: float) -> None:
        self._host_step = step
        self._host_show()

    @Slot(float)
    def setValue(self, value: float) -> None:
        value = min(max(float(value), self._host_range[0]), self._host_range[1])
        if value != self._host_number:
            self._host_number = value
            self._host_show()
            self.valueChanged.emit(value)

    minimum = Property(
        float, lambda self: self._host_range[0], lambda self, low: self._host_limit(low, self._host_range[1])
    )
    maximum = Property(
        float, lambda self: self._host_range[1], lambda self, high: self._host_limit(self._host_range[0], high)
    )
    singleStep = Property(float, lambda self: self._host_step, _host_set_step)
    value = Property(float, lambda self: self._host_number, lambda self, value: self.setValue(value))


def _of_both(name: str, kind: Any = float, slider: bool = True) -> Any:
    """A property of a slider widget's spin box that its slider may have too."""

    def write(self: Any, value: Any) -> None:
        setattr(self._host_spin_box, name, value)
        if slider:
            setattr(self._host_slider, name, value)

    return Property(kind, lambda self: getattr(self._host_spin_box, name), write)


@cpp_class(ctk)
class ctkSliderWidget(QtWidgets.QWidget):
    """A slider and a spin box that show one number."""

    valueChanged = Signal(float)
    valueIsChanging = Signal(float)
    decimalsChanged = Signal(int)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._host_slider, self._host_spin_box = ctkDoubleSlider(), QtWidgets.QDoubleSpinBox()
        self._host_spin_box.setRange(0.0, 100.0)
        self._host_spin_box.setSingleStep(1.0)
        self._host_spin_box.setKeyboardTracking(False)
        lay_out_row(self, self._host_slider, self._host_spin_box)
        self._host_slider.valueChanged.connect(self._host_spin_box.setValue)
        self._host_spin_box.valueChanged.connect(self._host_changed)

    def _host_changed(self, value: float) -> None:
        self._host_slider.setValue(value)
        self.valueChanged.emit(value)

    minimum, maximum, singleStep = _of_both("minimum"), _of_both("maximum"), _of_both("singleStep")
    value = _of_both("value", slider=False)
    decimals = _of_both("decimals", int, slider=False)
    prefix, suffix = _of_both("prefix", str, slider=False), _of_both("suffix", str, slider=False)
    pageStep, tickInterval = stored(float, "pageStep", 10.0), stored(float, "tickInterval", 0.0)
    tracking, popupSlider = stored(bool, "tracking", True), stored(bool, "popupSlider", False)
    spinBoxVisible = Property(
        bool,
        lambda self: not self._host_spin_box.isHidden(),
        lambda self, on: self._host_spin_box.setVisible(on),
    )

    @Slot(float)
    def setValue(self, value: float) -> None:
        self._host_spin_box.setValue(value)

    @Slot(int)
    def setDecimals(self, decimals: int) -> None:
        self._host_spin_box.setDecimals(decimals)

    @Slot(bool)
    def setSpinBoxVisible(self, visible: bool) -> None:
        self._host_spin_box.setVisible(visible)

    @Slot()
    def reset(self) -> None:
        self.setValue(self.minimum)


@cpp_class(ctk)
class ctkMessageBox(QtWidgets.QMessageBox):
    """A message box that can be told not to come again."""

    dontShowAgain = stored(bool, "dontShowAgain", False)
    dontShowAgainSettingsKey = stored(str, "dontShowAgainSettingsKey", "")
    dontShowAgainVisible = stored(bool, "dontShowAgainVisible", False)


@cpp_class(ctk)
class ctkColorPickerButton(QtWidgets.QPushButton):
    """A button that shows a color."""

    colorChanged = Signal(QtGui.QColor)
    color = stored(QtGui.QColor, "color", QtGui.QColor("black"), lambda self: self.colorChanged.emit(self.color))
