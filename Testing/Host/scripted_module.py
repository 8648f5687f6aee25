"""`slicer.ScriptedLoadableModule` and `slicer.i18n`: the base classes of a module in Python, and its loading."""

from __future__ import annotations

import importlib.util
import sys
import unittest
from pathlib import Path
from types import ModuleType
from typing import Any

import slicer
import slicer.util
from PySide6 import QtCore, QtWidgets
from PySide6.QtCore import Property, Slot

from Testing.Host.cpp_classes import cpp_class, stored
from Testing.Host.qmrml_widgets import qSlicerWidget


@cpp_class(slicer)
class qSlicerScriptedLoadableModule(QtCore.QObject):
    """`slicer.modules.<name>`: the `parent` that a module's class describes itself to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._host_path = path
        self._host_widget: Any = None
        self.setObjectName(path.stem)

    name = Property(str, lambda self: self._host_path.stem)
    path = Property(str, lambda self: str(self._host_path))
    title, helpText = stored(str, "title", ""), stored(str, "helpText", "")
    acknowledgementText = stored(str, "acknowledgementText", "")
    categories, contributors = stored("QStringList", "categories", []), stored("QStringList", "contributors", [])
    dependencies, associatedNodeTypes = (
        stored("QStringList", "dependencies", []),
        stored("QStringList", "nodeTypes", []),
    )
    icon, hidden = stored("QVariant", "icon", None), stored(bool, "hidden", False)
    index = stored(int, "index", -1)

    def widgetRepresentation(self) -> Any:
        if self._host_widget is None:
            self._host_widget = qSlicerScriptedLoadableModuleWidget(self.name)
            self._host_widget._host_setup()
        return self._host_widget


@cpp_class(slicer)
class qSlicerScriptedLoadableModuleWidget(qSlicerWidget):
    """The widget in the module panel, whose inside the module's widget class makes."""

    def __init__(self, module_name: str) -> None:
        super().__init__()
        self._host_module_name = module_name
        self._host_entered = False
        self._host_python: Any = None
        QtWidgets.QVBoxLayout(self)
        self.setMRMLScene(slicer.mrmlScene)

    def _host_setup(self) -> None:
        widget_class = getattr(sys.modules[self._host_module_name], f"{self._host_module_name}Widget")
        self._host_python = widget_class(self)
        setattr(slicer.modules, f"{self._host_module_name}Widget", self._host_python)
        self._host_python.setup()
        self.layout().addStretch(1)

    isEntered = Property(bool, lambda self: self._host_entered)

    def self(self) -> Any:
        """The module's own widget object."""
        return self._host_python

    def enter(self) -> None:
        self._host_entered = True
        if hasattr(self._host_python, "enter"):
            self._host_python.enter()

    def exit(self) -> None:
        self._host_entered = False
        if hasattr(self._host_python, "exit"):
            self._host_python.exit()

    @Slot()
    def reload(self) -> None:
        self._host_setup()


class ScriptedLoadableModule:
    """Base class of a module's description."""

    def __init__(self, parent: Any) -> None:
        super().__init__()
        self.parent = parent
        self.moduleName = type(self).__name__
        slicer.selfTests[self.moduleName] = self.runTest

    def resourcePath(self, name: str) -> str:
        return str(Path(self.parent.path).parent / "Resources" / name)

    def runTest(self, msec: int = 100, **options: Any) -> None:
        """Run the module's test class."""
        test = getattr(sys.modules[self.moduleName], f"{self.moduleName}Test")()
        test.messageDelay = msec
        test.runTest(**options)


class ScriptedLoadableModuleWidget:
    """Base class of a module's widget."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__()  # of VTKObservationMixin, where a module's widget has that too
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.developerMode = False
        if parent is None:
            parent = slicer.qMRMLWidget()
            QtWidgets.QVBoxLayout(parent)
            parent.setMRMLScene(slicer.mrmlScene)
        self.parent = parent
        self.layout = parent.layout()

    def resourcePath(self, name: str) -> str:
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / name)

    def setup(self) -> None:
        """Make the widgets."""
        manager = slicer.app.moduleManager()
        manager.connect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)

    def cleanup(self) -> None:
        """Undo what setup did, before the module is reloaded or Slicer closes."""

    def onReload(self) -> None:
        slicer.util.reloadScriptedModule(self.moduleName)

    def _onModuleAboutToBeUnloaded(self, name: str) -> None:
        if name == self.moduleName:
            self.cleanup()
            manager = slicer.app.moduleManager()
            manager.disconnect("moduleAboutToBeUnloaded(QString)", self._onModuleAboutToBeUnloaded)


class ScriptedLoadableModuleLogic:
    """Base class of a module's logic."""

    isSingletonParameterNode = True

    def __init__(self, parent: Any = None) -> None:
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self) -> Any:
        """The module's own node in the scene, which is added if it is not there."""
        scene = slicer.mrmlScene
        node = scene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = scene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
            node.UnRegister(None)  # the scene keeps it from here
            node.SetSingletonTag(self.moduleName)
            node.SetName(self.moduleName)
            node = scene.AddNode(node)
        node.SetModuleName(self.moduleName)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    """Base class of a module's own test."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*(arguments or ("runTest",)), **options)
        super(unittest.TestCase, self).__init__()  # TestCase does not call the class after it
        self.messageDelay = 0

    def delayDisplay(self, message: str, *_: Any, **__: Any) -> None:
        print(message)
        slicer.app.processEvents()

    def runTest(self) -> None:
        """Run the tests."""


def install() -> None:
    """Make `from slicer.ScriptedLoadableModule import ...` and `slicer.i18n` work."""
    module = ModuleType("slicer.ScriptedLoadableModule")
    classes = (
        ScriptedLoadableModule,
        ScriptedLoadableModuleWidget,
        ScriptedLoadableModuleLogic,
        ScriptedLoadableModuleTest,
    )
    for cls in classes:
        setattr(module, cls.__name__, cls)
    module.__dict__["__all__"] = [cls.__name__ for cls in classes]
    translation = ModuleType("slicer.i18n")
    translation.__dict__.update(tr=lambda text: text, translate=lambda _context, text: text)
    slicer.ScriptedLoadableModule, slicer.i18n = module, translation
    sys.modules.update({"slicer.ScriptedLoadableModule": module, "slicer.i18n": translation})


def load_module(path: Path) -> Any:
    """Import <Name>.py as Slicer does at start; return `slicer.modules.<name>`. Its panel is not made yet."""
    name = path.stem
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    python_module = importlib.util.module_from_spec(spec)
    sys.modules[name] = python_module
    spec.loader.exec_module(python_module)
    module = qSlicerScriptedLoadableModule(path)
    setattr(slicer.modules, name.lower(), module)
    setattr(slicer.modules, f"{name}Instance", getattr(python_module, name)(module))
    setattr(slicer.moduleNames, name, name)
    slicer.app.moduleManager()._host_modules[name] = module
    return module
