"""Exceptions that nobody catches: Qt and VTK print those of slots and observers and go on; a test must see them."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, Any

from PySide6 import QtCore

if TYPE_CHECKING:
    from types import TracebackType

# Said by Qt without a window system, or by its loader about classes that it only gets to know here.
_HARMLESS = ("propagateSizeHints", "This plugin does not support", "QStandardPaths: XDG_RUNTIME_DIR")


class Errors(list[str]):
    """The uncaught exceptions so far, each with its traceback, and Qt's own warnings."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []
        self._previous = sys.excepthook
        sys.excepthook = self._collect
        sys.unraisablehook = lambda unraisable: self._collect(
            unraisable.exc_type, unraisable.exc_value or unraisable.exc_type(), unraisable.exc_traceback
        )
        QtCore.qInstallMessageHandler(self._hear)

    def _collect(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        self.append("".join(traceback.format_exception(kind, error, trace)))
        self._previous(kind, error, trace)

    def _hear(self, level: Any, _context: Any, message: str) -> None:
        if level != QtCore.QtMsgType.QtDebugMsg and not any(text in message for text in _HARMLESS):
            self.warnings.append(message)
            print(f"Qt: {message}", file=sys.stderr)

    def check(self) -> None:
        """Raise AssertionError with what was collected since the last check, if anything was."""
        collected, self[:] = list(self), []
        if collected:
            raise AssertionError(
                f"{len(collected)} uncaught exceptions in slots or observers:\n" + "\n".join(collected)
            )
