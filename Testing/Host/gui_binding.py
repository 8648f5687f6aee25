"""Which widgets a parameter can be bound to, and how its value gets into them and out of them."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from Testing.Host.ctk_paths import ctkDirectoryButton, ctkPathLineEdit
from Testing.Host.ctk_widgets import ctkCheckBox, ctkComboBox, ctkDoubleSlider, ctkDoubleSpinBox, ctkSliderWidget
from Testing.Host.dialect import qt
from Testing.Host.node_combo_box import qMRMLNodeComboBox
from Testing.Host.parameter_annotations import Choice, Decimals, Maximum, Minimum, SingleStep, WithinRange
from Testing.Host.parameter_types import Enumeration, Kind, Maybe, Node, Plain, Real, Truth
from Testing.Host.qmrml_widgets import qMRMLSliderWidget, qMRMLSpinBox

if TYPE_CHECKING:
    from collections.abc import Callable

    from Testing.Host.parameter_node import Parameter

_REAL_WIDGETS = ("QDoubleSpinBox", ctkDoubleSlider, ctkDoubleSpinBox, ctkSliderWidget, qMRMLSliderWidget, qMRMLSpinBox)
# Qt's spin boxes need numbers; these are further than any length or angle.
_FAR = 1e300


class Binding:
    """One widget and the parameter it shows."""

    def __init__(self, widget: Any, parameter: Parameter) -> None:
        self.widget, self.parameter = widget, parameter
        self._slot: Callable[..., None] | None = None
        self.prepare()

    signal = ""
    attribute = ""

    def prepare(self) -> None:
        """Give the widget the limits or choices of the parameter."""

    def read(self) -> Any:
        return getattr(self.widget, self.attribute)

    def write(self, value: Any) -> None:
        setattr(self.widget, self.attribute, value)

    def connect(self, slot: Callable[[], None]) -> None:
        self._slot = slot
        getattr(self.widget, self.signal).connect(slot)

    def disconnect(self) -> None:
        getattr(self.widget, self.signal).disconnect(self._slot)

    def annotation(self, kind: type) -> Any:
        return next((a for a in self.parameter.annotations if isinstance(a, kind)), None)


class CheckBinding(Binding):
    signal, attribute = "toggled", "checked"

    def prepare(self) -> None:
        if not self.widget.checkable:
            raise RuntimeError("A button that is bound to a bool must be checkable")


class TextBinding(Binding):
    signal, attribute = "textChanged", "text"


class NumberBinding(Binding):
    signal, attribute = "valueChanged", "value"

    def prepare(self) -> None:
        bounds, low, high = self.annotation(WithinRange), self.annotation(Minimum), self.annotation(Maximum)
        if isinstance(self.widget, ctkSliderWidget) and bounds is None and (low is None or high is None):
            raise RuntimeError("Cannot have a connection to ctkSliderWidget where the float types is unbounded.")
        is_whole = self.parameter.kind.python_type is int
        far = 2**31 - 1 if is_whole else _FAR
        for annotation, name in ((Decimals, "decimals"), (SingleStep, "singleStep")):
            if (found := self.annotation(annotation)) is not None:
                setattr(self.widget, name, found.value)
        self.widget.minimum = bounds.minimum if bounds is not None else low.minimum if low is not None else -far
        self.widget.maximum = bounds.maximum if bounds is not None else high.maximum if high is not None else far

    def read(self) -> Any:
        return self.parameter.kind.python_type(self.widget.value)


class ChoiceBinding(Binding):
    signal = "currentIndexChanged"

    def prepare(self) -> None:
        kind = self.parameter.kind
        if isinstance(kind, Enumeration):
            self.choices = [(getattr(kind.python_type, "label", lambda m: m.name)(m), m) for m in kind.python_type]
        else:
            choice = self.annotation(Choice)
            if choice is None:
                raise RuntimeError("A combo box can only be bound to a parameter with the Choice annotation")
            self.choices = [(str(c), c) for c in choice.choices]
        self.widget.clear()
        for label, _ in self.choices:
            self.widget.addItem(label)

    def read(self) -> Any:
        return self.choices[self.widget.currentIndex][1]

    def write(self, value: Any) -> None:
        self.widget.currentIndex = next(i for i, (_, choice) in enumerate(self.choices) if choice == value)


class PathBinding(Binding):
    def __init__(self, widget: Any, parameter: Parameter) -> None:
        is_button = isinstance(widget, ctkDirectoryButton)
        self.signal = "directoryChanged" if is_button else "currentPathChanged"
        self.attribute = "directory" if is_button else "currentPath"
        super().__init__(widget, parameter)

    def read(self) -> Any:
        return self.parameter.kind.python_type(super().read())

    def write(self, value: Any) -> None:
        super().write(str(value))


class NodeBinding(Binding):
    signal = "currentNodeChanged"

    def read(self) -> Any:
        return self.widget.currentNode()

    def write(self, value: Any) -> None:
        self.widget.setCurrentNode(value)


def _is_path(kind: Kind) -> bool:
    return isinstance(kind, Plain) and issubclass(kind.python_type, PurePath)


def bind(widget: Any, parameter: Parameter) -> Binding:
    """The binding of a widget to a parameter; TypeError where Slicer has none."""
    kind = parameter.kind
    inner = kind.inner if isinstance(kind, Maybe) else kind
    made_by_qt = type(widget).__name__
    if isinstance(inner, Node) and isinstance(widget, qMRMLNodeComboBox):
        return NodeBinding(widget, parameter)
    if isinstance(kind, Truth) and (made_by_qt in ("QCheckBox", "QPushButton") or isinstance(widget, ctkCheckBox)):
        return CheckBinding(widget, parameter)
    if isinstance(kind, Real) and (made_by_qt in _REAL_WIDGETS or isinstance(widget, _REAL_WIDGETS[1:])):
        return NumberBinding(widget, parameter)
    if isinstance(kind, Plain) and kind.python_type is int and made_by_qt in ("QSpinBox", "QSlider", "ctkSliderWidget"):
        return NumberBinding(widget, parameter)
    if _is_path(kind) and isinstance(widget, ctkPathLineEdit | ctkDirectoryButton):
        return PathBinding(widget, parameter)
    if isinstance(kind, Enumeration | Plain | Real) and (made_by_qt == "QComboBox" or isinstance(widget, ctkComboBox)):
        return ChoiceBinding(widget, parameter)
    if isinstance(kind, Plain) and kind.python_type is str and made_by_qt == "QLineEdit":
        return TextBinding(widget, parameter)
    raise TypeError(
        f"Unable to create GUI connector from datatype '{parameter.annotation}' to widget type '{type(widget).__name__}'"
    )


def widgets_of(gui: Any) -> list[Any]:
    """The widgets below a widget, or among the attributes of an object such as childWidgetVariables gives."""
    if isinstance(gui, qt.QWidget):
        return list(gui.findChildren(qt.QWidget))
    return [value for value in vars(gui).values() if isinstance(value, qt.QWidget)]
