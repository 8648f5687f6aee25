"""How the values of a parameter node are kept as text and node references in MRML, in Slicer's format."""

from __future__ import annotations

import enum
import types
from collections.abc import MutableSequence
from pathlib import Path, PurePath
from typing import Annotated, Any, Union, get_args, get_origin

import slicer


class Kind:
    """A type of parameter: `write` and `read` its value under a name in a vtkMRMLScriptedModuleNode."""

    python_type: Any = None

    def default(self) -> Any:
        return self.python_type()

    def validate(self, value: Any) -> None:
        if value is None:
            raise ValueError("Value must not be None")
        if not isinstance(value, self.python_type):
            raise TypeError(f"Value must be of type '{self.python_type}', is type '{type(value)}' value '{value}'")

    def is_in(self, node: Any, name: str) -> bool:
        return bool(node.HasParameter(name))

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, self.text(value))

    def read(self, node: Any, name: str) -> Any:
        return self.value(node.GetParameter(name))

    def remove(self, node: Any, name: str) -> None:
        node.UnsetParameter(name)

    def text(self, value: Any) -> str:
        return str(value)

    def value(self, text: str) -> Any:
        return self.python_type(text)


class Plain(Kind):
    """Text, whole number, or path."""

    def __init__(self, python_type: type) -> None:
        self.python_type = python_type


class Real(Kind):
    """A float, for which an int is taken too."""

    python_type = float

    def validate(self, value: Any) -> None:
        super().validate(float(value) if type(value) is int else value)

    def text(self, value: Any) -> str:
        return str(float(value))


class Truth(Kind):
    """A bool."""

    python_type = bool

    def value(self, text: str) -> bool:
        return text == "True"


class Enumeration(Kind):
    """A member of an Enum, by its name."""

    def __init__(self, python_type: type[enum.Enum]) -> None:
        self.python_type = python_type

    def default(self) -> Any:
        return next(iter(self.python_type))

    def text(self, value: Any) -> str:
        return str(value.name)

    def value(self, text: str) -> Any:
        return self.python_type[text]


class Node(Kind):
    """A node of the scene, as a node reference whose role is the parameter's name. None is no node."""

    def __init__(self, python_type: type) -> None:
        self.python_type = python_type

    def default(self) -> Any:
        return None

    def validate(self, value: Any) -> None:
        if value is not None:
            super().validate(value)

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, node: Any, name: str) -> Any:
        return node.GetNodeReference(name)

    def remove(self, node: Any, name: str) -> None:
        super().remove(node, name)
        node.SetNodeReferenceID(name, None)


class Maybe(Kind):
    """Optional: the value under name.0, or name.1 = "True" for None."""

    def __init__(self, inner: Kind) -> None:
        self.inner = inner

    def default(self) -> Any:
        return None

    def validate(self, value: Any) -> None:
        if value is not None:
            self.inner.validate(value)

    def is_in(self, node: Any, name: str) -> bool:
        return bool(node.HasParameter(f"{name}.1")) or self.inner.is_in(node, f"{name}.0")

    def write(self, node: Any, name: str, value: Any) -> None:
        if value is None:
            self.inner.remove(node, f"{name}.0")
            node.SetParameter(f"{name}.1", "True")
        else:
            node.UnsetParameter(f"{name}.1")
            self.inner.write(node, f"{name}.0", value)

    def read(self, node: Any, name: str) -> Any:
        return None if node.HasParameter(f"{name}.1") else self.inner.read(node, f"{name}.0")

    def remove(self, node: Any, name: str) -> None:
        node.UnsetParameter(f"{name}.1")
        self.inner.remove(node, f"{name}.0")


class Several(Kind):
    """A list: its length under name.len, its elements under name.0, name.1, ..."""

    python_type = (list, MutableSequence)

    def __init__(self, element: Kind) -> None:
        self.element = element

    def default(self) -> Any:
        return []

    def validate(self, value: Any) -> None:
        super().validate(value)
        for element in value:
            self.element.validate(element)

    def is_in(self, node: Any, name: str) -> bool:
        return bool(node.HasParameter(f"{name}.len"))

    def write(self, node: Any, name: str, value: Any) -> None:
        before = int(node.GetParameter(f"{name}.len") or 0)
        values = list(value)
        for i in range(len(values), before):
            self.element.remove(node, f"{name}.{i}")
        for i, element in enumerate(values):
            self.element.write(node, f"{name}.{i}", element)
        node.SetParameter(f"{name}.len", str(len(values)))

    def read(self, node: Any, name: str) -> Any:
        return WrittenList(self, node, name)

    def values(self, node: Any, name: str) -> list[Any]:
        return [self.element.read(node, f"{name}.{i}") for i in range(int(node.GetParameter(f"{name}.len") or 0))]


class WrittenList(MutableSequence[Any]):
    """A list whose every change is written back to the node."""

    def __init__(self, kind: Several, node: Any, name: str) -> None:
        self._kind, self._node, self._name = kind, node, name

    def _now(self) -> list[Any]:
        return self._kind.values(self._node, self._name)

    def _write(self, values: list[Any]) -> None:
        self._kind.validate(values)
        was_modifying = self._node.StartModify()
        self._kind.write(self._node, self._name, values)
        self._node.EndModify(was_modifying)

    def __getitem__(self, index: Any) -> Any:
        return self._now()[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        values = self._now()
        values[index] = value
        self._write(values)

    def __delitem__(self, index: Any) -> None:
        values = self._now()
        del values[index]
        self._write(values)

    def __len__(self) -> int:
        return len(self._now())

    def insert(self, index: int, value: Any) -> None:
        values = self._now()
        values.insert(index, value)
        self._write(values)

    def extend(self, values: Any) -> None:
        self._write([*self._now(), *values])  # one change, not one for each

    def __eq__(self, other: object) -> bool:
        return self._now() == list(other) if isinstance(other, list | WrittenList) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._now())


def kind_of(annotation: Any) -> tuple[Kind, tuple[Any, ...]]:
    """How a field with this annotation is kept, and what Annotated adds to its type."""
    if get_origin(annotation) is Annotated:
        inner, *extra = get_args(annotation)
        kind, more = kind_of(inner)
        return kind, (*more, *extra)
    arguments = get_args(annotation)
    if get_origin(annotation) in (Union, types.UnionType) and type(None) in arguments and len(arguments) == 2:
        return Maybe(kind_of(next(a for a in arguments if a is not type(None)))[0]), ()
    if get_origin(annotation) is list and arguments:
        return Several(kind_of(arguments[0])[0]), ()
    if isinstance(annotation, type):
        if annotation is bool:
            return Truth(), ()
        if annotation is float:
            return Real(), ()
        if issubclass(annotation, enum.Enum):
            return Enumeration(annotation), ()
        if annotation in (str, int) or issubclass(annotation, PurePath):
            return Plain(Path if annotation is PurePath else annotation), ()
        if issubclass(annotation, slicer.vtkMRMLNode):
            return Node(annotation), ()
    raise TypeError(f"The host's parameterNodeWrapper cannot keep {annotation!r}")
