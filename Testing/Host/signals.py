"""Connecting signals as PythonQt does: by attribute or by signature, with as many arguments as the function takes."""

from __future__ import annotations

import contextlib
import inspect
from typing import TYPE_CHECKING, Any

from PySide6 import QtCore

if TYPE_CHECKING:
    from collections.abc import Callable

_ABSENT = object()
_PYTHON_TYPES: dict[str, Any] = {"int": int, "bool": bool, "double": float, "QString": str}
_signal_connect = QtCore.SignalInstance.connect
_signal_disconnect = QtCore.SignalInstance.disconnect
_static_connect = QtCore.QObject.connect
_static_disconnect = QtCore.QObject.disconnect
# Signal instance -> what was connected to it: (the caller's function, what PySide calls). The instance is kept, so that
# its address is not used again; PySide itself forgets bound methods, PythonQt keeps them alive.
_connections: dict[int, tuple[Any, list[tuple[Any, Any]]]] = {}


def install() -> None:
    """Make `widget.clicked.connect(f)` keep `f` alive and pass it what it takes."""
    QtCore.SignalInstance.connect = connect_signal
    QtCore.SignalInstance.disconnect = disconnect_signal


def connect_signal(signal: Any, function: Any, *arguments: Any) -> Any:
    """`signal.connect(function)`."""
    if not callable(function) and not isinstance(function, QtCore.SignalInstance):
        raise TypeError(f"{function!r} cannot be called, so no signal can be connected to it")
    fitted = _fitted(function)
    _connections.setdefault(id(signal), (signal, []))[1].append((function, fitted))
    return _signal_connect(signal, fitted, *arguments)


def disconnect_signal(signal: Any, *arguments: Any) -> Any:
    """`signal.disconnect(function)`, or of everything without one."""
    made = _connections.get(id(signal), (signal, []))[1]
    if not arguments:
        made.clear()
        return _signal_disconnect(signal)
    for k, (function, fitted) in enumerate(made):
        if function == arguments[0]:
            del made[k]
            return _signal_disconnect(signal, fitted)
    return _signal_disconnect(signal, *arguments)


def connect(self: Any, *arguments: Any) -> Any:
    """`widget.connect("clicked(bool)", f)` or `widget.connect("clicked()", receiver, "slot()")`.

    PythonQt answers an unknown signal with False, which nobody looks at; here it raises.
    """
    if isinstance(arguments[0], QtCore.QObject):  # PySide comes by here itself when a signal instance is connected
        return _static_connect(*arguments)
    signal, count = _signal_by_signature(self, arguments[0])
    function = arguments[1]
    if isinstance(function, QtCore.QObject):
        function = getattr(function, arguments[2].partition("(")[0])
    connect_signal(signal, function if count else _Silent(function))
    return True


def disconnect(self: Any, *arguments: Any) -> Any:
    """The reverse of `connect` with the same arguments."""
    if isinstance(arguments[0], QtCore.QObject):
        return _static_disconnect(*arguments)
    signal, count = _signal_by_signature(self, arguments[0])
    function = arguments[1]
    if isinstance(function, QtCore.QObject):
        function = getattr(function, arguments[2].partition("(")[0])
    disconnect_signal(signal, function if count else _Silent(function))
    return True


class _Silent:
    """A function connected to a signal without arguments, which gets none even where Qt has one to give."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Silent) and self.function == other.function

    def __hash__(self) -> int:
        return hash(self.function)

    def __call__(self, *_arguments: Any) -> None:
        self.function()


def _signal_by_signature(sender: Any, signature: str) -> tuple[Any, int]:
    """The signal that a signature such as "valueChanged(int)" names, and its number of arguments."""
    if not isinstance(signature, str):
        raise TypeError(f"connect() takes a signature such as 'clicked(bool)', not {signature!r}")
    normal = bytes(QtCore.QMetaObject.normalizedSignature(signature.strip()).data()).decode()
    name, _, types = normal.rstrip(")").partition("(")
    # Python defines the signals of Slicer's widgets, and MRML's classes are objects to it.
    types = ",".join("PyObject" if t.startswith("vtk") else t for t in types.split(",") if t)
    meta = sender.metaObject()
    signals = [
        bytes(method.methodSignature().data()).decode()
        for method in (meta.method(i) for i in range(meta.methodCount()))
        if method.methodType() == QtCore.QMetaMethod.MethodType.Signal
    ]
    if f"{name}({types})" not in signals:
        # PythonQt knows signals without their default arguments too: clicked() is clicked(bool).
        if types or not any(s.startswith(f"{name}(") for s in signals):
            raise AttributeError(f"{meta.className()} has no signal '{signature}'")
        return getattr(sender, name), 0
    signal, kinds = getattr(sender, name), [t for t in types.split(",") if t]
    if kinds:
        wanted = tuple(_PYTHON_TYPES.get(t, t) for t in kinds)
        with contextlib.suppress(KeyError, IndexError, TypeError):  # a signal with one signature cannot be indexed
            signal = signal[wanted if len(wanted) > 1 else wanted[0]]
    return signal, len(kinds)


def _fitted(function: Any) -> Any:
    """What PySide has to call so that `function` is kept alive and gets at most the arguments that it takes."""
    if isinstance(function, QtCore.SignalInstance) or inspect.isbuiltin(function):
        return function
    plain = function.__func__ if inspect.ismethod(function) else function
    if not inspect.isfunction(plain) or plain.__code__.co_flags & inspect.CO_VARARGS:
        return _taking(4)(function)
    return _taking(min(plain.__code__.co_argcount - inspect.ismethod(function), 4))(function)


def _taking(count: int) -> Callable[[Any], Any]:
    """A wrapper with `count` optional parameters; from their number PySide chooses which form of a signal to deliver."""

    def given(*values: Any) -> list[Any]:
        return [value for value in values if value is not _ABSENT]

    return [
        lambda f: lambda: f(),
        lambda f: lambda a=_ABSENT: f(*given(a)),
        lambda f: lambda a=_ABSENT, b=_ABSENT: f(*given(a, b)),
        lambda f: lambda a=_ABSENT, b=_ABSENT, c=_ABSENT: f(*given(a, b, c)),
        lambda f: lambda a=_ABSENT, b=_ABSENT, c=_ABSENT, d=_ABSENT: f(*given(a, b, c, d)),
    ][count]
