"""Slicer's view widgets, re-created on PySide6: a bar, and a drawing of the scene by the real displayable managers."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtGui, QtWidgets
from PySide6.QtCore import Qt, Slot

from Testing.Host.canvas import Canvas
from Testing.Host.cpp_classes import cpp_class
from Testing.Host.drawings import PlotDrawing, SliceDrawing, ThreeDDrawing


class _View(Canvas):
    """What a view widget returns as its view."""

    def __init__(self, drawing: Any) -> None:
        super().__init__(drawing)
        drawing.on_update = self._host_schedule

    def renderWindow(self) -> Any:
        return self._host_drawing.window


class _SceneView(_View):
    """A view that displayable managers draw."""

    def interactor(self) -> Any:
        return self._host_drawing.interactor

    def cornerAnnotation(self) -> Any:
        return self._host_drawing.annotation

    def displayableManagerByClassName(self, name: str) -> Any:
        return self._host_drawing._group.GetDisplayableManagerByClassName(name)

    @Slot()
    def scheduleRender(self) -> None:
        self._host_schedule()

    @Slot()
    def forceRender(self) -> None:
        self._host_render()
        self.update()


@cpp_class(slicer)
class qMRMLSliceView(_SceneView):
    """The drawing in a slice widget."""

    def mrmlSliceNode(self) -> Any:
        return self._host_drawing.node


@cpp_class(slicer)
class qMRMLThreeDView(_SceneView):
    """The drawing in a 3D widget."""

    def mrmlViewNode(self) -> Any:
        return self._host_drawing.node

    def cameraNode(self) -> Any:
        return self.displayableManagerByClassName("vtkMRMLCameraDisplayableManager").GetCameraNode()

    @Slot()
    def resetFocalPoint(self) -> None:
        self._host_drawing.reset_focal_point()
        self._host_schedule()

    @Slot()
    def resetCamera(self) -> None:
        self.resetFocalPoint()


@cpp_class(slicer)
class qMRMLPlotView(_View):
    """The drawing in a plot widget."""

    @Slot()
    def fitToContent(self) -> None:
        self._host_drawing._chart.RecalculateBounds()
        self._host_schedule()


class _ViewWidget(QtWidgets.QWidget):
    """A bar in the view's color over the view."""

    def __init__(self, node: Any, drawing: Any, view: Any) -> None:
        super().__init__()
        self._host_node, self._host_drawing, self._host_view = node, drawing, view
        self._host_bar = QtWidgets.QFrame()
        self._host_bar.setAutoFillBackground(True)
        self._host_label = QtWidgets.QLabel(node.GetLayoutLabel() or node.GetLayoutName())
        self._host_row = QtWidgets.QHBoxLayout(self._host_bar)
        self._host_row.setContentsMargins(4, 1, 4, 1)
        self._host_row.addWidget(self._host_label)
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._host_bar)
        column.addWidget(view, 1)
        node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._host_show_name())
        self._host_show_name()

    def _host_show_name(self) -> None:
        self._host_label.setText(self._host_node.GetLayoutLabel() or self._host_node.GetLayoutName() or "")
        colors = self._host_bar.palette
        colors.setColor(QtGui.QPalette.ColorRole.Window, QtGui.QColor.fromRgbF(*self._host_node.GetLayoutColor()))
        self._host_bar.setPalette(colors)

    def _host_close(self) -> None:
        """Detach from the scene; the widget cannot be used afterwards."""
        self._host_drawing.on_update = lambda: None
        self._host_drawing.close()

    def mrmlAbstractViewNode(self) -> Any:
        return self._host_node

    def viewWidget(self) -> Any:
        return self._host_view


@cpp_class(slicer)
class qMRMLSliceWidget(_ViewWidget):
    """A slice view with a slider for its offset."""

    def __init__(self, node: Any) -> None:
        drawing = SliceDrawing(node.GetLayoutName())
        super().__init__(node, drawing, qMRMLSliceView(drawing))
        self._host_slider = QtWidgets.QSlider(Qt.Orientation.Horizontal)
        self._host_offset = QtWidgets.QLabel("")
        self._host_row.addWidget(self._host_slider, 1)
        self._host_row.addWidget(self._host_offset)
        self._host_slider.valueChanged.connect(lambda hundredths: drawing.logic.SetSliceOffset(hundredths / 100))
        self._host_view._host_on_resize = drawing.logic.ResizeSliceNode
        drawing.logic.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._host_show_offset())

    def _host_show_offset(self) -> None:
        logic, limits, resolution = self._host_drawing.logic, [0.0, 0.0], vtk.reference(1.0)
        if logic.GetSliceOffsetRangeResolution(limits, resolution):
            self._host_slider.blockSignals(True)
            self._host_slider.setRange(round(limits[0] * 100), round(limits[1] * 100))
            self._host_slider.setValue(round(logic.GetSliceOffset() * 100))
            self._host_slider.blockSignals(False)
            self._host_offset.setText(f"{logic.GetSliceOffset():.1f} mm")

    def sliceView(self) -> Any:
        return self._host_view

    def sliceLogic(self) -> Any:
        return self._host_drawing.logic

    def mrmlSliceNode(self) -> Any:
        return self._host_node

    def mrmlSliceCompositeNode(self) -> Any:
        return self._host_drawing.logic.GetSliceCompositeNode()

    def sliceController(self) -> Any:
        return self._host_bar

    @Slot()
    def fitSliceToBackground(self) -> None:
        self._host_drawing.logic.FitSliceToBackground()


@cpp_class(slicer)
class qMRMLThreeDWidget(_ViewWidget):
    """A 3D view."""

    def __init__(self, node: Any) -> None:
        drawing = ThreeDDrawing(node.GetLayoutName())
        super().__init__(node, drawing, qMRMLThreeDView(drawing))

    def threeDView(self) -> Any:
        return self._host_view

    def mrmlViewNode(self) -> Any:
        return self._host_node

    def viewLogic(self) -> Any:
        return self._host_drawing.logic

    def threeDController(self) -> Any:
        return self._host_bar


@cpp_class(slicer)
class qMRMLPlotWidget(_ViewWidget):
    """A view of a chart."""

    def __init__(self, node: Any) -> None:
        drawing = PlotDrawing(node)
        super().__init__(node, drawing, qMRMLPlotView(drawing))

    def plotView(self) -> Any:
        return self._host_view

    def mrmlPlotViewNode(self) -> Any:
        return self._host_node

    def plotController(self) -> Any:
        return self._host_bar


VIEW_WIDGETS = {
    "vtkMRMLSliceNode": qMRMLSliceWidget,
    "vtkMRMLViewNode": qMRMLThreeDWidget,
    "vtkMRMLPlotViewNode": qMRMLPlotWidget,
}
"""Class of the view's node -> its widget, which is made with the node."""
