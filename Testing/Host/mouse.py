"""The mouse in a view of the host: moving, and dragging with the left button; pixels are counted from the upper left."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from PySide6 import QtCore, QtGui, QtWidgets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from Testing.Host.host import Host


def move(view: Any, x: float, y: float, *, shift: bool = False) -> None:
    """Move the pointer over a view, with the Shift key held down or without."""
    _send(view, "MouseMove", x, y, False, shift)


def drag(host: Host, view: Any, start: tuple[float, float], end: tuple[float, float], steps: int = 8) -> None:
    """Drag in a view from one pixel to another, in the rhythm of a hand."""
    with held(host, view, start, end, steps):
        pass


@contextlib.contextmanager
def held(host: Host, view: Any, start: tuple[float, float], end: tuple[float, float], steps: int = 8) -> Iterator[None]:
    """A drag in a view that has come to its end and whose button is released afterwards."""
    move(view, *start)
    _send(view, "MouseButtonPress", *start, True)
    for i in range(1, steps + 1):
        x, y = (a + (b - a) * i / steps for a, b in zip(start, end, strict=True))
        _send(view, "MouseMove", x, y, True)
        host.process(0.03)
    yield
    _send(view, "MouseButtonRelease", *end, False)


def _send(view: Any, event: str, x: float, y: float, pressed: bool, shift: bool = False) -> None:
    left, none = QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.MouseButton.NoButton
    at, kind = QtCore.QPointF(x, y), getattr(QtCore.QEvent.Type, event)
    there = QtCore.QPointF(view.mapToGlobal(at.toPoint()))
    button, held = none if event == "MouseMove" else left, left if pressed else none
    keys = QtCore.Qt.KeyboardModifier.ShiftModifier if shift else QtCore.Qt.KeyboardModifier.NoModifier
    sent = QtGui.QMouseEvent(kind, at, there, button, held, keys)
    QtWidgets.QApplication.sendEvent(view, sent)
