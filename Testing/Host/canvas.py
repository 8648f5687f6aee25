"""A Qt widget that shows what VTK draws offscreen, and passes mouse and keys on to it."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Qt

_BUTTONS = {
    Qt.MouseButton.LeftButton: "LeftButton",
    Qt.MouseButton.RightButton: "RightButton",
    Qt.MouseButton.MiddleButton: "MiddleButton",
}


class Canvas(QtWidgets.QWidget):
    """Shows a drawing, which has `window`, `interactor` and `image()` -> (H, W, 3).

    An image instead of a window of VTK's own can be grabbed, and works without a screen.
    """

    _host_seconds_drawn: ClassVar[float] = 0.0
    """For how long all of them have been drawn."""

    def __init__(self, drawing: Any, parent: Any = None) -> None:
        super().__init__(parent)
        self._host_drawing = drawing
        self._host_interactor = drawing.interactor
        self._host_image: Any = None
        self._host_stale = True
        self._host_render_count = 0
        self._host_on_resize: Any = None
        self._host_timer = QtCore.QTimer(self)
        self._host_timer.timeout.connect(self._host_interactor.TimerEvent)
        self._host_interactor.AddObserver("CreateTimerEvent", lambda *_: self._host_timer.start(10))
        self._host_interactor.AddObserver("DestroyTimerEvent", lambda *_: self._host_timer.stop())
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.WheelFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMinimumSize(64, 64)

    def _host_schedule(self) -> None:
        """Draw at the next chance; Qt makes one of several."""
        self._host_stale = True
        self.update()

    def _host_render(self) -> None:
        """Draw."""
        size = (max(self.width, 1), max(self.height, 1))
        if tuple(self._host_drawing.window.GetSize()) != size:
            self._host_drawing.window.SetSize(*size)
            self._host_interactor.UpdateSize(*size)
        # Before drawing: what changes while it is drawn asks for another one.
        self._host_stale = False
        began = time.perf_counter()
        pixels = self._host_drawing.image()
        Canvas._host_seconds_drawn += time.perf_counter() - began
        height, width, _ = pixels.shape
        image = QtGui.QImage(pixels.data, width, height, 3 * width, QtGui.QImage.Format.Format_RGB888)
        self._host_image = image.copy()
        self._host_render_count += 1

    def resizeEvent(self, event: Any) -> None:
        size = (max(self.width, 1), max(self.height, 1))
        self._host_drawing.window.SetSize(*size)
        self._host_interactor.UpdateSize(*size)
        if self._host_on_resize is not None:  # VTK 9.6 no longer says that the size changed
            self._host_on_resize(*size)
        self._host_stale = True

    def paintEvent(self, event: Any) -> None:
        if self._host_stale or self._host_image is None:
            self._host_render()
        painter = QtGui.QPainter(self)
        painter.drawImage(0, 0, self._host_image)
        painter.end()

    def _host_tell(self, event: Any) -> None:
        at, keys = event.position(), event.modifiers()
        control, shift = (
            int(bool(keys & k)) for k in (Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier)
        )
        self._host_interactor.SetEventInformationFlipY(int(at.x()), int(at.y()), control, shift, "\0", 0, None)
        self._host_interactor.SetAltKey(int(bool(keys & Qt.KeyboardModifier.AltModifier)))

    def mousePressEvent(self, event: Any) -> None:
        self._host_tell(event)
        self._host_interactor.InvokeEvent(f"{_BUTTONS.get(event.button(), 'LeftButton')}PressEvent")

    def mouseReleaseEvent(self, event: Any) -> None:
        self._host_tell(event)
        self._host_interactor.InvokeEvent(f"{_BUTTONS.get(event.button(), 'LeftButton')}ReleaseEvent")

    def mouseMoveEvent(self, event: Any) -> None:
        self._host_tell(event)
        self._host_interactor.MouseMoveEvent()

    def wheelEvent(self, event: Any) -> None:
        self._host_tell(event)
        forward = event.angleDelta().y() >= 0
        (self._host_interactor.MouseWheelForwardEvent if forward else self._host_interactor.MouseWheelBackwardEvent)()

    def enterEvent(self, event: Any) -> None:
        self._host_interactor.EnterEvent()

    def leaveEvent(self, event: Any) -> None:
        self._host_interactor.LeaveEvent()

    def keyPressEvent(self, event: Any) -> None:
        self._host_interactor.SetKeyEventInformation(0, 0, (event.text() or "\0")[0], 0, event.text() or "None")
        self._host_interactor.KeyPressEvent()
        self._host_interactor.CharEvent()
