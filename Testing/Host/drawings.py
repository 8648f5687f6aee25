"""What the host's views draw: the scene by Slicer's displayable managers, and plots."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from XVRegistrationLib.scene.standalone.graphics import offscreen_window
from XVRegistrationLib.scene.standalone.views import SliceView, ThreeDView

_START_SIZE = (300, 300)


class SliceDrawing(SliceView):
    """A slice view that follows its node's layers and the mouse; `on_update` is called when it must be drawn again."""

    def __init__(self, name: str) -> None:
        super().__init__(name, _START_SIZE)
        self.on_update: Any = lambda: None
        self._connection: Any = None
        # As ctkVTKSliceView makes it.
        self.annotation: Any = vtk.vtkCornerAnnotation()
        self.annotation.SetMaximumLineHeight(0.07)
        self.annotation.GetTextProperty().ShadowOn()
        self.renderer.AddViewProp(self.annotation)
        self._style = slicer.vtkMRMLSliceViewInteractorStyle()
        self._style.SetSliceLogic(self.logic)
        self._style.SetDisplayableManagers(self._group)
        self.interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
        self._style.SetInteractor(self.interactor)
        self.logic.AddObserver(vtk.vtkCommand.ModifiedEvent, self._follow_layers)
        self._group.AddObserver("UpdateEvent", lambda *_: self.on_update())

    def _follow_layers(self, *_: Any) -> None:
        connection = self.logic.GetImageDataConnection()
        if connection is not self._connection:
            self._connection = connection
            self._mapper.SetInputConnection(connection)
            self._image_actor.SetVisibility(connection is not None)
        self.on_update()


class ThreeDDrawing(ThreeDView):
    """A 3D view that follows the mouse; `on_update` is called when it must be drawn again."""

    def __init__(self, name: str) -> None:
        super().__init__(name, _START_SIZE)
        self.on_update: Any = lambda: None
        self.interactor.SetInteractorStyle(vtk.vtkInteractorStyle3D())
        self._style.SetInteractor(self.interactor)
        self.renderer.GradientBackgroundOn()
        self._group.AddObserver("UpdateEvent", lambda *_: self.on_update())

    def reset_focal_point(self) -> None:
        """Center the camera on what is visible."""
        bounds = [0.0] * 6
        self.renderer.ComputeVisiblePropBounds(bounds)
        if vtk.vtkMath.AreBoundsInitialized(bounds):
            self.renderer.ResetCamera(bounds)
            self.renderer.ResetCameraClippingRange()


class PlotDrawing:
    """A chart of MRML's plot nodes, drawn by VTK as Slicer's plot view does."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.on_update: Any = lambda: None
        self.window: Any = offscreen_window(_START_SIZE)
        self.interactor: Any = vtk.vtkGenericRenderWindowInteractor()
        # vtkContextView would do all this, but first opens a window of its own.
        self.renderer: Any = vtk.vtkRenderer()
        self.renderer.SetBackground(1.0, 1.0, 1.0)
        self.window.AddRenderer(self.renderer)
        self.window.SetMultiSamples(0)
        context = vtk.vtkContextActor()
        self.renderer.AddActor(context)
        context.GetScene().SetRenderer(self.renderer)
        self.interactor.SetRenderWindow(self.window)
        self.interactor.Initialize()
        self._chart: Any = vtk.vtkChartXY()
        context.GetScene().AddItem(self._chart)
        self._observed: list[tuple[Any, int]] = []
        # Slicer's plot view looks at the chart that was chosen last, unless it has been given one of its own.
        node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._changed())
        self._changed()

    def image(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """(H, W, 3) red, green, blue of the plot as it is now."""
        self._chart.SetSize(vtk.vtkRectf(0, 0, *self.window.GetSize()))
        self.window.Render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self.window)
        grabber.ReadFrontBufferOff()
        grabber.Update()
        width, height, _ = grabber.GetOutput().GetDimensions()
        rows = vtk_to_numpy(grabber.GetOutput().GetPointData().GetScalars()).reshape(height, width, -1)
        return np.ascontiguousarray(rows[::-1, :, :3])

    @property
    def number_of_plots(self) -> int:
        """How many curves are drawn."""
        return int(self._chart.GetNumberOfPlots())

    def close(self) -> None:
        """Forget the scene and free the graphics memory."""
        self._unobserve()
        self.window.Finalize()

    def _unobserve(self) -> None:
        for observed, tag in self._observed:
            observed.RemoveObserver(tag)
        self._observed = []

    def _changed(self, *_: Any) -> None:
        """Build the chart again from the nodes."""
        self._unobserve()
        self._chart.ClearPlots()
        chart = self.node.GetPlotChartNode()
        if chart is not None:
            self._observed = [
                (chart, chart.AddObserver(event, self._changed))
                for event in (vtk.vtkCommand.ModifiedEvent, chart.PlotModifiedEvent)
            ]
            self._show_axes(chart)
            for i in range(chart.GetNumberOfPlotSeriesNodes()):
                self._add_series(chart.GetNthPlotSeriesNode(i))
        self.on_update()

    def _show_axes(self, chart: Any) -> None:
        self._chart.SetTitle(chart.GetTitle() or "" if chart.GetTitleVisibility() else "")
        self._chart.SetShowLegend(bool(chart.GetLegendVisibility()))
        across, up = vtk.vtkAxis.BOTTOM, vtk.vtkAxis.LEFT
        for axis, title, logarithmic, automatic, limits in (
            (across, chart.GetXAxisTitle(), chart.GetXAxisLogScale(), chart.GetXAxisRangeAuto(), chart.GetXAxisRange()),
            (up, chart.GetYAxisTitle(), chart.GetYAxisLogScale(), chart.GetYAxisRangeAuto(), chart.GetYAxisRange()),
        ):
            self._chart.GetAxis(axis).SetBehavior(vtk.vtkAxis.AUTO if automatic else vtk.vtkAxis.FIXED)
            if not automatic:
                self._chart.GetAxis(axis).SetRange(*limits)
            self._chart.GetAxis(axis).SetTitle(title or "")
            self._chart.GetAxis(axis).SetLogScale(bool(logarithmic))
            self._chart.GetAxis(axis).SetGridVisible(bool(chart.GetGridVisibility()))

    def _add_series(self, series: Any) -> None:
        table_node = series.GetTableNode() if series is not None else None
        if table_node is None or table_node.GetTable() is None:
            return
        table = table_node.GetTable()
        columns = [table.GetColumnByName(name) for name in (series.GetXColumnName(), series.GetYColumnName())]
        if any(column is None for column in columns) or table.GetNumberOfRows() < 1:
            return
        as_line = series.GetPlotType() == series.PlotTypeLine or series.GetLineStyle() != series.LineStyleNone
        plot = self._chart.AddPlot(vtk.vtkChart.LINE if as_line else vtk.vtkChart.POINTS)
        plot.SetInputData(table, series.GetXColumnName(), series.GetYColumnName())
        plot.SetLabel(series.GetName())
        plot.SetColorF(*series.GetColor())
        plot.SetWidth(series.GetLineWidth())
        if hasattr(plot, "SetMarkerStyle"):
            plot.SetMarkerStyle(series.GetMarkerStyle())
            plot.SetMarkerSize(series.GetMarkerSize())
