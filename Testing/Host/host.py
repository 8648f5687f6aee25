"""The host: Slicer's main window with one module in it, and hands to use it with."""

from __future__ import annotations

import atexit
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Without a screen Qt needs to be told, before it starts.
if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from Testing.Host import dialect

qt = dialect.install()

import slicer
import slicer.util
from PySide6 import QtCore, QtTest, QtWidgets

from Testing.Host import parameter_node, scripted_module, ui_loader
from Testing.Host.application import qSlicerApplication
from Testing.Host.dialogs import FileDialogs
from Testing.Host.errors import Errors
from Testing.Host.layout import qSlicerLayoutManager

if TYPE_CHECKING:
    from collections.abc import Callable

_PANEL_WIDTH = 480
_PAUSE = 0.003  # s between two rounds of events
_PATIENCE = 3.0  # s for which a user waits until a button can be pressed


class _ModuleSelector:
    """`slicer.util.moduleSelector()`: as there is one module, it can only be entered."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def selectModule(self, name: str) -> None:
        module = self._host.module
        if module is None or module.name != name:
            raise ValueError(f"There is no module {name}")
        if not module.widgetRepresentation().isEntered:
            self._host.enter_module()


class _MainWindow(qt.QMainWindow):
    """`slicer.util.mainWindow()`."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self._host_selector = _ModuleSelector(host)

    def moduleSelector(self) -> _ModuleSelector:
        return self._host_selector


class Host:
    """A running stand-in for Slicer. There is one in a process: `Testing.Host.start_host` makes it."""

    def __init__(self, size: tuple[int, int], testing: bool) -> None:
        self.errors = Errors()
        self.app: Any = qSlicerApplication(testing)
        self.dialogs = FileDialogs(testing)
        scripted_module.install()
        parameter_node.install()
        self.window: Any = _MainWindow(self)
        self.window.setObjectName("qSlicerMainWindow")
        self.window.setWindowTitle("XVRegistration host (not 3D Slicer)")
        self.panel: Any = qt.QScrollArea()
        self.panel.setObjectName("modulePanel")
        self.panel.setWidgetResizable(True)
        viewport = qt.QWidget()
        splitter = qt.QSplitter()
        splitter.addWidget(self.panel)
        splitter.addWidget(viewport)
        splitter.setStretchFactor(1, 1)
        self.window.setCentralWidget(splitter)
        self.window.statusBar()
        self.window.resize(*size)
        self.app._host_layout_manager = qSlicerLayoutManager(self.app.applicationLogic(), viewport)
        splitter.setSizes([_PANEL_WIDTH, size[0] - _PANEL_WIDTH])
        self.window.show()
        self.module: Any = None
        self._is_closed = False
        atexit.register(self.close)
        self.process(0.05)

    @property
    def scene(self) -> Any:
        """`slicer.mrmlScene`."""
        return self.app.mrmlScene()

    def open_module(self, path: str | os.PathLike[str]) -> Any:
        """Load a scripted module and show its panel, as choosing it in Slicer does; return its widget object."""
        self.close_module()
        self.module = scripted_module.load_module(Path(path).resolve())
        self.app.startupCompleted.emit()  # Slicer has loaded its modules then, and opened none
        representation = self.module.widgetRepresentation()
        self.panel.setWidget(representation)
        representation.enter()
        self.process(0.05)
        return representation.self()

    def close_module(self) -> None:
        """Leave the module and unload it, as Slicer does when it ends."""
        if self.module is None:
            return
        module, self.module = self.module, None
        representation = self.panel.takeWidget()
        if representation is None:  # it could not be made
            return
        if representation.isEntered:
            representation.exit()
        self.app.moduleManager().moduleAboutToBeUnloaded.emit(module.name)
        representation.deleteLater()
        self.process(0.05)

    def leave_module(self) -> None:
        """What choosing another module does: the widget's exit() is called."""
        self.module.widgetRepresentation().exit()

    def enter_module(self) -> None:
        """Come back to the module after `leave_module`."""
        self.module.widgetRepresentation().enter()

    def reload_module(self) -> Any:
        """What the Reload button of Slicer's developer mode does; return the new widget object."""
        self.module.widgetRepresentation().self().onReload()
        self.process(0.05)
        return self.module.widgetRepresentation().self()

    def process(self, seconds: float = 0.05) -> None:
        """Let the window live for a while: events, timers, drawing."""
        end = time.monotonic() + seconds
        while True:
            self.app.processEvents()
            # Objects given up with deleteLater are only deleted by an event loop, which there is none of.
            QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.Type.DeferredDelete.value)
            if time.monotonic() >= end:
                return
            time.sleep(_PAUSE)

    def wait_until(self, predicate: Callable[[], Any], timeout: float = 10.0) -> Any:
        """Process until `predicate()` is true and return what it returned; TimeoutError after `timeout` s."""
        end = time.monotonic() + timeout
        while True:
            self.process(0.01)
            found = predicate()
            if found:
                return found
            if time.monotonic() > end:
                raise TimeoutError(f"Not within {timeout:g} s" + (f"; errors: {self.errors}" if self.errors else ""))

    def click(self, widget: Any) -> None:
        """Click a widget where a user would, after scrolling it into sight; one that stays disabled or hidden is an error."""
        self._reach(widget)
        at = widget.rect.center()
        if isinstance(widget, QtWidgets.QCheckBox | QtWidgets.QRadioButton):
            at = QtCore.QPoint(8, widget.height // 2)  # a click beside the text does nothing
        elif widget.className() == "ctkCollapsibleButton":
            at = QtCore.QPoint(widget.width // 2, 10)
        QtTest.QTest.mouseClick(widget, QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier.NoModifier, at)
        self.process(0.02)

    def click_cell(self, table: Any, row: int, column: int) -> None:
        """Click into a cell of a table; on its check box, if it has one."""
        self._reach(table)
        index = table.model().index(row, column)
        table.scrollTo(index)
        rectangle = table.visualRect(index)
        at = rectangle.center()
        if table.model().data(index, QtCore.Qt.ItemDataRole.CheckStateRole) is not None:
            at = QtCore.QPoint(rectangle.left() + 10, at.y())
        self._mouse(table.viewport(), at)

    def key(self, widget: Any, key: Any, modifiers: Any = None) -> None:
        """Type text, or press one key (`qt.Qt.Key_...`), with modifiers (`qt.Qt.ShiftModifier`), the focus in the widget."""
        self._reach(widget)
        self.window.activateWindow()  # else it has no shortcuts
        self.process(0.01)
        target = widget.focusProxy() or widget
        target.setFocus()
        if isinstance(key, str):
            QtTest.QTest.keyClicks(target, key)
        else:
            QtTest.QTest.keyClick(target, key, modifiers or QtCore.Qt.KeyboardModifier.NoModifier)
        self.process(0.02)

    def enter_text(self, widget: Any, text: str) -> None:
        """Replace the contents of a line edit or spin box by typing, and press Return."""
        self._reach(widget)
        target = widget.focusProxy() or widget
        target.setFocus()
        target.selectAll()
        QtTest.QTest.keyClicks(target, text)
        QtTest.QTest.keyClick(target, QtCore.Qt.Key.Key_Return)
        self.process(0.02)

    def choose(self, combo_box: Any, text: str) -> None:
        """Choose an entry of a combo box from its list with the mouse."""
        index = combo_box.findText(text)
        if index < 0:
            raise AssertionError(f"{combo_box.objectName} has no entry {text!r}")
        self._choose_index(combo_box, index)

    def select_node(self, node_combo_box: Any, node: Any) -> None:
        """Choose a node (None: the entry for none) from a qMRMLNodeComboBox's list with the mouse."""
        inner = node_combo_box._host_combo_box
        index = inner.findData(node.GetID()) if node is not None else 0
        if index < 0 or (node is None and not node_combo_box.noneEnabled):
            raise AssertionError(f"{node_combo_box.objectName} does not offer {node.GetName() if node else None}")
        self._choose_index(inner, index)

    def screenshot(self, path: str | os.PathLike[str]) -> Path:
        """Write a picture of the window; return its absolute path."""
        self.process(0.1)
        target = Path(path).absolute()
        target.parent.mkdir(parents=True, exist_ok=True)
        if not self.window.grab().save(str(target)):
            raise OSError(f"{target} could not be written")
        return target

    def save_scene(self, path: str | os.PathLike[str]) -> Path:
        """Save the scene (.mrb or .mrml) as Slicer does; return the absolute path."""
        target = Path(path).absolute()
        if not slicer.util.saveScene(str(target)):
            raise OSError(f"{target} could not be written")
        return target

    def load_scene(self, path: str | os.PathLike[str]) -> None:
        """Add a saved scene to this one; close the scene first for it alone."""
        slicer.util.loadScene(str(Path(path).absolute()))
        self.process(0.05)

    def close_scene(self) -> None:
        """What File > Close Scene does: everything but singletons (views, layout) is removed."""
        self.scene.Clear(0)
        self.process(0.05)

    def close(self) -> None:
        """End as Slicer does: the module is left and cleaned up, the window closed. The process can only end then."""
        if self._is_closed:
            return
        self._is_closed = True
        self.close_module()
        self.window.hide()
        self.app._host_layout_manager._host_close()
        self.app.processEvents()

    def _reach(self, widget: Any) -> None:
        """Make sure that a user could use the widget, who waits a moment for it."""
        name = f"{widget.className()} {widget.objectName}"
        end = time.monotonic() + _PATIENCE
        while not (widget.isEnabled() and widget.isVisible()) and time.monotonic() < end:
            self.process(0.01)
        if not widget.isEnabled():
            raise AssertionError(f"{name} is disabled ({widget.toolTip})")
        if not widget.isVisible():
            raise AssertionError(f"{name} cannot be seen")
        if self.panel.isAncestorOf(widget):
            self.panel.ensureWidgetVisible(widget)
            self.process(0.01)

    def _choose_index(self, combo_box: Any, index: int) -> None:
        self._reach(combo_box)
        chosen: list[int] = []
        combo_box.activated.connect(chosen.append)
        combo_box.showPopup()
        self.process(0.02)
        entries = combo_box.view()
        entry = combo_box.model().index(index, combo_box.modelColumn)
        entries.scrollTo(entry)
        # Qt ignores the release of the very click that opened the list: it waits for the double-click interval.
        self._mouse(entries.viewport(), entries.visualRect(entry).center())
        if not chosen:
            entries.setCurrentIndex(entry)
            QtTest.QTest.keyClick(entries, QtCore.Qt.Key.Key_Return)
            self.process(0.02)
        combo_box.hidePopup()
        combo_box.activated.disconnect(chosen.append)

    def _mouse(self, widget: Any, at: Any) -> None:
        none = QtCore.Qt.KeyboardModifier.NoModifier
        QtTest.QTest.mouseClick(widget, QtCore.Qt.MouseButton.LeftButton, none, at)
        self.process(0.02)


__all__ = ["Host", "ui_loader"]
