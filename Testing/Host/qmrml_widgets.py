"""Slicer's own widgets that panels use (qMRML...), re-created on PySide6; their nodes and scene are MRML's real ones."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtGui, QtWidgets
from PySide6.QtCore import Signal, Slot
from vtk.util.numpy_support import vtk_to_numpy

from Testing.Host.cpp_classes import cpp_class, stored
from Testing.Host.ctk_widgets import ctkDoubleSpinBox, ctkSliderWidget


class _SceneWidget(QtWidgets.QWidget):
    """Hands the scene on to the widgets that are connected to its signal."""

    mrmlSceneChanged = Signal(object)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._host_scene: Any = None

    @Slot(object)
    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._host_scene:
            self._host_scene = scene
            self.mrmlSceneChanged.emit(scene)


@cpp_class(slicer)
class qMRMLWidget(_SceneWidget):
    """The widget at the root of a panel."""

    def mrmlScene(self) -> Any:
        return self._host_scene


@cpp_class(slicer)
class qSlicerWidget(_SceneWidget):
    """The same, of Slicer's base library."""


@cpp_class(slicer)
class qMRMLSliderWidget(ctkSliderWidget):
    """A slider that knows the units of the scene; here it only knows the scene."""

    quantity = stored(str, "quantity", "")

    @Slot(object)
    def setMRMLScene(self, scene: Any) -> None:
        self._host_scene = scene


@cpp_class(slicer)
class qMRMLSpinBox(ctkDoubleSpinBox):
    """A spin box that knows the units of the scene; here it only knows the scene."""

    quantity = stored(str, "quantity", "")

    @Slot(object)
    def setMRMLScene(self, scene: Any) -> None:
        self._host_scene = scene


class qMRMLUtils:
    """Conversions between Qt and VTK."""

    @staticmethod
    def vtkImageDataToQImage(image: Any, target: Any) -> bool:
        """Write an image of unsigned char with 1 to 4 components into a QImage, bottom row last as Qt has it."""
        width, height, _ = image.GetDimensions()
        pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1]
        form = {
            1: QtGui.QImage.Format.Format_Grayscale8,
            3: QtGui.QImage.Format.Format_RGB888,
            4: QtGui.QImage.Format.Format_RGBA8888,
        }[pixels.shape[2]]
        target.swap(QtGui.QImage(pixels.tobytes(), width, height, width * pixels.shape[2], form).copy())
        return True


slicer.qMRMLUtils = qMRMLUtils
