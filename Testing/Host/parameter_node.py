"""`slicer.parameterNodeWrapper`, reduced: a class with typed fields, kept in a vtkMRMLScriptedModuleNode.

It stores in the format of Slicer's own, checks values as that does, and binds fields to the widgets that name them.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, get_type_hints

import slicer
import vtk

from Testing.Host import gui_binding, parameter_types
from Testing.Host.parameter_annotations import Choice, Decimals, Default, Maximum, Minimum, SingleStep, WithinRange

if TYPE_CHECKING:
    from collections.abc import Callable

SLICER_PARAMETER_NAME = "SlicerParameterName"
_UNSET = object()


class Parameter:
    """One field: a property of the wrapped class."""

    def __init__(self, name: str, annotation: Any, default: Any) -> None:
        self.name, self.annotation = name, annotation
        self.kind, self.annotations = parameter_types.kind_of(annotation)
        if default is _UNSET:
            given = [a.value for a in self.annotations if isinstance(a, Default)]
            default = given[0] if given else self.kind.default()
        self.default = default

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else self.kind.read(instance.parameterNode, instance._key(self.name))

    def __set__(self, instance: Any, value: Any) -> None:
        self.kind.validate(value)
        for annotation in self.annotations:
            if hasattr(annotation, "validate"):
                annotation.validate(value)
        node, key = instance.parameterNode, instance._key(self.name)
        was_modifying = node.StartModify()
        try:
            self.kind.write(node, key, value)
        finally:
            node.EndModify(was_modifying)


class _Wrapped:
    """What a class gets from @parameterNodeWrapper besides its fields."""

    _parameters: dict[str, Parameter]

    def __init__(self, parameterNode: Any, prefix: str | None = None) -> None:
        self.parameterNode = parameterNode
        self._prefix = prefix
        self._bindings: dict[int, tuple[int, list[Any]]] = {}
        self._is_showing = False
        was_modifying = parameterNode.StartModify()
        for name, parameter in self._parameters.items():
            if not parameter.kind.is_in(parameterNode, self._key(name)):
                parameter.__set__(self, parameter.default)
        parameterNode.EndModify(was_modifying)

    def _key(self, name: str) -> str:
        return f"{self._prefix}_{name}" if self._prefix else name

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        return int(self.parameterNode.AddObserver(event, callback, priority))

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def StartModify(self) -> int:
        return int(self.parameterNode.StartModify())

    def EndModify(self, previous: int) -> int:
        return int(self.parameterNode.EndModify(previous))

    def Modified(self) -> None:
        self.parameterNode.Modified()

    def allParameters(self) -> dict[str, Any]:
        return {name: parameter.annotation for name, parameter in self._parameters.items()}

    @classmethod
    def dataType(cls, name: str) -> Any:
        return cls._parameters[name].annotation

    @classmethod
    def default(cls, name: str) -> Any:
        return Default(cls._parameters[name].default)

    def getValue(self, name: str) -> Any:
        return self._parameters[name].__get__(self)

    def setValue(self, name: str, value: Any) -> None:
        self._parameters[name].__set__(self, value)

    def isCached(self, name: str) -> bool:
        """Slicer keeps the values of all types that this host knows at hand, too; the scene wins in both."""
        if name not in self._parameters:
            raise ValueError(f"'{name}' is not a parameter of {type(self).__name__}")
        return True

    def connectGui(self, gui: Any) -> int:
        """Bind all widgets that name a parameter in their property SlicerParameterName; return what unbinds them."""
        widgets = gui_binding.widgets_of(gui)
        return self.connectParametersToGui({name: w for w in widgets if (name := w.property(SLICER_PARAMETER_NAME))})

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        for name in mapping:
            if name not in self._parameters:
                raise ValueError(f"'{name}' is not a parameter of {type(self).__name__}")
        bindings = []
        for name, widget in mapping.items():
            binding = gui_binding.bind(widget, self._parameters[name])
            binding.write(self.getValue(name))
            binding.connect(self._taking_over(name, binding))
            bindings.append((name, binding))
        tag = max(self._bindings, default=-1) + 1

        def show(_caller: Any, _event: str) -> None:
            if self._is_showing:
                return
            self._is_showing = True
            try:
                for name, binding in bindings:
                    binding.write(self.getValue(name))
            finally:
                self._is_showing = False

        self._bindings[tag] = self.AddObserver(vtk.vtkCommand.ModifiedEvent, show), [b for _, b in bindings]
        return tag

    def disconnectGui(self, tag: int | None) -> None:
        if tag is None:
            return
        observer, bindings = self._bindings.pop(tag)
        self.RemoveObserver(observer)
        for binding in bindings:
            binding.disconnect()

    def _taking_over(self, name: str, binding: Any) -> Callable[[], None]:
        """What the widget's signal calls. It takes no arguments: the signal's value would fill one with a default."""

        def take_over() -> None:
            if not self._is_showing:  # else the widget is only shown what the node says already
                self.setValue(name, binding.read())

        return take_over


def parameterNodeWrapper(cls: type | None = None) -> Any:
    """Decorator: the class's annotated fields are kept in the MRML node that it is made with."""
    if cls is None:
        return parameterNodeWrapper
    hints = get_type_hints(cls, include_extras=True)
    parameters = {name: Parameter(name, hint, cls.__dict__.get(name, _UNSET)) for name, hint in hints.items()}
    members = {k: v for k, v in cls.__dict__.items() if k not in ("__dict__", "__weakref__", "__annotations__")}
    return type(cls.__name__, (_Wrapped,), {**members, **parameters, "_parameters": parameters})


def install() -> None:
    """Make `from slicer.parameterNodeWrapper import ...` work."""
    module = ModuleType("slicer.parameterNodeWrapper", __doc__)
    public = (parameterNodeWrapper, Choice, Decimals, Default, Maximum, Minimum, SingleStep, WithinRange)
    for member in public:
        setattr(module, member.__name__, member)
    module.__dict__["SlicerParameterNamePropertyName"] = SLICER_PARAMETER_NAME
    slicer.parameterNodeWrapper = module
    sys.modules["slicer.parameterNodeWrapper"] = module
