"""What the re-created widgets of CTK and Slicer are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PySide6 import QtWidgets
from PySide6.QtCore import Property

from Testing.Host import dialect

if TYPE_CHECKING:
    import types


def cpp_class(module: types.ModuleType) -> Any:
    """Decorator: the class stands for one of C++ in `module`, and refuses what that would refuse."""

    def publish(cls: Any) -> Any:
        raw = next(base for base in cls.__mro__ if base.__module__.startswith("PySide6"))
        for name, member in dialect.strict_members(raw).items():
            setattr(cls, name, member)
        cls._host_strict = True
        setattr(module, cls.__name__, cls)
        return cls

    return publish


def stored(kind: Any, name: str, default: Any, after: Any = None) -> Any:
    """A property that is only kept; `after(self)` is called when it was set."""
    key = f"_host_{name}"

    def read(self: Any) -> Any:
        value = self.__dict__.get(key, default)
        return tuple(value) if kind == "QStringList" else value  # as PythonQt gives it

    def write(self: Any, value: Any) -> None:
        self.__dict__[key] = value
        if after is not None:
            after(self)

    return Property(kind, read, write)


def widget_in(arguments: tuple[Any, ...]) -> Any:
    """The parent among the arguments of a constructor, or None."""
    return next((a for a in arguments if isinstance(a, QtWidgets.QWidget)), None)


def lay_out_row(widget: Any, *parts: Any) -> None:
    """Lay out the parts of a compound widget beside each other; the first takes the room and the keyboard."""
    row = QtWidgets.QHBoxLayout(widget)
    row.setContentsMargins(0, 0, 0, 0)
    for k, part in enumerate(parts):
        row.addWidget(part, 1 if k == 0 else 0)
    widget.setFocusProxy(parts[0])
