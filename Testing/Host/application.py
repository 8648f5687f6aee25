"""`slicer.app`: what of Slicer's application panels and `slicer.util` use, on the scene of slicer-core."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import slicer
import slicer_core
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Signal

from Testing.Host import dialect
from Testing.Host.core_io import qSlicerCoreIOManager
from Testing.Host.cpp_classes import cpp_class
from XVRegistrationLib.scene.standalone.app import start


@cpp_class(slicer)
class qSlicerModuleManager(QtCore.QObject):
    """`slicer.app.moduleManager()`."""

    moduleLoaded = Signal(str)
    moduleAboutToBeUnloaded = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._host_modules: dict[str, Any] = {}

    def module(self, name: str) -> Any:
        return self._host_modules.get(name)

    def modulesNames(self) -> tuple[str, ...]:
        return tuple(self._host_modules)


@cpp_class(slicer)
class qSlicerApplication(QtCore.QObject):
    """`slicer.app`. Strict as every other C++ object: what is not here is not there."""

    startupCompleted = Signal()
    aboutToQuit = Signal()

    def __init__(self, testing: bool) -> None:
        super().__init__()
        QtWidgets.QApplication.setStyle("fusion")
        existing = QtWidgets.QApplication.instance()
        self._host_qt: Any = existing or QtWidgets.QApplication(["Slicer"])
        self._host_qt.setOrganizationName("XVRegistrationHost")
        self._host_qt.setApplicationName("Slicer")
        self._host_qt.setQuitOnLastWindowClosed(True)
        self._host_core = start()
        self._host_testing = testing
        self._host_folder = Path(self._host_core.temporary_folder)
        # Settings of this process only: what a test or a trial sets, nobody finds later.
        QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
        QtCore.QSettings.setPath(
            QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Scope.UserScope, str(self._host_folder / "settings")
        )
        self._host_module_manager = qSlicerModuleManager()
        self._host_io_manager = qSlicerCoreIOManager(self._host_core)
        self._host_layout_manager: Any = None
        self._host_paused = 0
        self._host_publish()

    def _host_publish(self) -> None:
        """Put what `import slicer` offers inside Slicer where it belongs."""
        slicer.app = self
        slicer.moduleNames = SimpleNamespace()
        slicer.selfTests = {}
        # In Slicer the wrapped libraries are modules of their own: from MRMLCorePython import vtkMRMLModelNode.
        for name in dir(slicer_core):
            library = getattr(slicer_core, name)
            if isinstance(library, ModuleType) and not name.startswith("_"):
                sys.modules.setdefault(name.removesuffix("Python") + "Python", library)

    temporaryPath = Property(str, lambda self: str(self._host_folder))
    slicerHome = Property(str, lambda self: str(self._host_folder))
    applicationName = Property(str, lambda self: "Slicer")
    applicationVersion = Property(str, lambda self: "5.13.0-host")
    mainApplicationName = Property(str, lambda self: "Slicer")
    revision = Property(str, lambda self: "host")
    majorVersion = Property(int, lambda self: 5)
    minorVersion = Property(int, lambda self: 13)

    def mrmlScene(self) -> Any:
        return self._host_core.scene

    def applicationLogic(self) -> Any:
        return self._host_core.logic

    def moduleLogic(self, name: str) -> Any:
        return self._host_core.module_logics.get(name)

    def layoutManager(self) -> Any:
        return self._host_layout_manager

    def moduleManager(self) -> Any:
        return self._host_module_manager

    def coreIOManager(self) -> Any:
        return self._host_io_manager

    def ioManager(self) -> Any:
        return self._host_io_manager

    def settings(self) -> Any:
        return dialect.qt.QSettings()

    def userSettings(self) -> Any:
        return dialect.qt.QSettings()

    def revisionUserSettings(self) -> Any:
        return dialect.qt.QSettings()

    def testingEnabled(self) -> bool:
        return self._host_testing

    def commandOptions(self) -> Any:
        return SimpleNamespace(noMainWindow=False, testingEnabled=self._host_testing)

    def processEvents(self, *_: Any) -> None:
        self._host_qt.processEvents()

    def topLevelWidgets(self) -> list[Any]:
        return self._host_qt.topLevelWidgets()

    def setOverrideCursor(self, cursor: Any) -> None:
        self._host_qt.setOverrideCursor(cursor)

    def restoreOverrideCursor(self) -> None:
        self._host_qt.restoreOverrideCursor()

    def pauseRender(self) -> None:
        self._host_paused += 1

    def resumeRender(self) -> None:
        self._host_paused -= 1

    def setRenderPaused(self, pause: bool) -> None:
        self._host_paused += 1 if pause else -1

    def translate(self, _context: str, text: str, *_: Any) -> str:
        return text
