"""File dialogs as PythonQt gives them: without the chosen filter. In a test they answer what the test has prepared."""

from __future__ import annotations

from typing import Any

from PySide6 import QtWidgets

from Testing.Host.dialect import qt


class FileDialogs:
    """`host.dialogs.answers.append([...])` prepares the answer to the next file dialog, a path or a list of paths."""

    def __init__(self, testing: bool) -> None:
        self.answers: list[Any] = []
        self._testing = testing
        dialog = qt.QFileDialog
        dialog.getOpenFileNames = staticmethod(lambda *a: tuple(self._ask("getOpenFileNames", a)))
        dialog.getOpenFileName = staticmethod(lambda *a: self._ask("getOpenFileName", a))
        dialog.getSaveFileName = staticmethod(lambda *a: self._ask("getSaveFileName", a))
        dialog.getExistingDirectory = staticmethod(lambda *a: self._ask("getExistingDirectory", a))

    def _ask(self, function: str, arguments: tuple[Any, ...]) -> Any:
        if self.answers:
            return self.answers.pop(0)
        if self._testing:
            raise AssertionError(
                f"QFileDialog.{function} was called and no answer was prepared: it would wait for ever"
            )
        answer = getattr(QtWidgets.QFileDialog, function)(*arguments)
        return answer[0] if isinstance(answer, tuple) else answer
