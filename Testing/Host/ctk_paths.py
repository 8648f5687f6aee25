"""CTK's widgets for files and folders, re-created on PySide6."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6 import QtWidgets
from PySide6.QtCore import Property, Signal, Slot

from Testing.Host import dialect
from Testing.Host.cpp_classes import cpp_class, lay_out_row, stored, widget_in
from Testing.Host.ctk_widgets import ctk


@cpp_class(ctk)
class ctkPathLineEdit(QtWidgets.QWidget):
    """A path that can be typed or browsed for."""

    Dirs, Files, Drives, Readable, Writable, Executable = 0x001, 0x002, 0x004, 0x010, 0x020, 0x040
    Hidden, NoDotAndDotDot, NoDot, NoDotDot = 0x100, 0x1000, 0x2000, 0x4000
    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(widget_in(arguments))
        self._host_combo_box, self._host_button = QtWidgets.QComboBox(), QtWidgets.QToolButton()
        self._host_combo_box.setEditable(True)
        self._host_button.setText("...")
        lay_out_row(self, self._host_combo_box, self._host_button)
        self._host_combo_box.editTextChanged.connect(self.currentPathChanged)
        self._host_button.clicked.connect(lambda: self.browse())

    currentPath = Property(
        str,
        lambda self: self._host_combo_box.currentText,
        lambda self, path: self._host_combo_box.setEditText(path),
    )
    filters = stored("QVariant", "filters", 0x007)
    nameFilters = stored("QStringList", "nameFilters", [])
    settingKey, label = stored(str, "settingKey", ""), stored(str, "label", "")
    showBrowseButton, showHistoryButton = stored(bool, "browse", True), stored(bool, "history", True)

    @Slot(str)
    def setCurrentPath(self, path: str) -> None:
        self._host_combo_box.setEditText(path)

    @Slot()
    def browse(self) -> None:
        files = int(self.filters) & self.Files
        dialog = dialect.qt.QFileDialog
        path = dialog.getOpenFileName(self) if files else dialog.getExistingDirectory(self)
        if path:
            self.setCurrentPath(path)

    @Slot()
    def addCurrentPathToHistory(self) -> None:
        self._host_combo_box.addItem(self.currentPath)

    def comboBox(self) -> Any:
        return self._host_combo_box


@cpp_class(ctk)
class ctkDirectoryButton(QtWidgets.QWidget):
    """A button that shows a folder and lets another be chosen."""

    directoryChanged = Signal(str)
    directorySelected = Signal(str)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(widget_in(arguments))
        self._host_folder = str(Path.cwd())
        self._host_button = QtWidgets.QPushButton(self._host_folder)
        lay_out_row(self, self._host_button)
        self._host_button.clicked.connect(lambda: self.browse())

    def _host_set(self, path: str) -> None:
        folder = str(Path(path).absolute())
        if folder != self._host_folder:
            self._host_folder = folder
            self._host_button.setText(folder)
            self.directoryChanged.emit(folder)

    directory = Property(str, lambda self: self._host_folder, _host_set, notify=directoryChanged)
    caption = stored(str, "caption", "")

    @Slot()
    def browse(self) -> str:
        folder = dialect.qt.QFileDialog.getExistingDirectory(self)
        if folder:
            self._host_set(folder)
            self.directorySelected.emit(folder)
        return folder
