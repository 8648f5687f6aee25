"""The curve of a training as Slicer's table, plot series and chart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import slicer.util
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from XVRegistrationLib.scene.attributes import PREFIX
from XVRegistrationLib.scene.hierarchy import remove_nodes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

_CHART_REFERENCE = PREFIX + "TrainingChart"
# Name of a series -> its columns, and its colour.
_SERIES = {
    "loss": (("minutes", "loss (mm)"), (0.55, 0.6, 0.65)),
    "validation error": (("minutes", "validation error (mm)"), (0.95, 0.5, 0.1)),
}


def set_training_curve(scene: Any, volume_node: Any, rows: Iterable[tuple[float, float, float | None]]) -> Any:
    """Draw a training's curve (seconds, loss, validation error or None; mm) for a CT; return its vtkMRMLPlotChartNode.

    There is one chart for a volume node, with two series and their tables; they are updated in place.
    """
    data = np.array([(s, loss, np.nan if v is None else v) for s, loss, v in rows], dtype=np.float64).reshape(-1, 3)
    minutes = data[:, 0] / 60
    validated = np.isfinite(data[:, 2])
    curves = {"loss": (minutes, data[:, 1]), "validation error": (minutes[validated], data[validated, 2])}
    chart = volume_node.GetNodeReference(_CHART_REFERENCE)
    if chart is None:
        chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", f"Training ({volume_node.GetName()})")
        chart.SetTitle("Training")
        chart.SetXAxisTitle("minutes")
        chart.SetYAxisTitle("mm")
        volume_node.SetNodeReferenceID(_CHART_REFERENCE, chart.GetID())
    for name, (x, y) in curves.items():
        _set_series(scene, chart, name, x, y)
    return chart


def training_chart_of(volume_node: Any) -> Any:
    """The chart that `set_training_curve` made for a volume node; None if there is none."""
    return volume_node.GetNodeReference(_CHART_REFERENCE)


def remove_training_curve(scene: Any, volume_node: Any) -> None:
    """Remove a volume's chart with its series and tables."""
    chart = training_chart_of(volume_node)
    if chart is None:
        return
    series = [chart.GetNodeReference(_role(name)) for name in _SERIES]
    tables = [one.GetTableNode() for one in series if one is not None]
    remove_nodes(scene, [chart, *series, *tables])


def _set_series(scene: Any, chart: Any, name: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Each series has a table of its own: validations are fewer, and a table has no empty cells."""
    columns, color = _SERIES[name]
    series = chart.GetNodeReference(_role(name))
    if series is None:
        series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", name)
        series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
        series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
        series.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleSolid)
        series.SetLineWidth(2)
        series.SetColor(*color)
        series.SetXColumnName(columns[0])
        series.SetYColumnName(columns[1])
        chart.SetNodeReferenceID(_role(name), series.GetID())
    table = series.GetTableNode()
    if table is None:
        table = scene.AddNewNodeByClass("vtkMRMLTableNode", f"{chart.GetName()}: {name}")
    _set_columns(table, columns, (x, y))
    if series.GetTableNode() is not table:
        series.SetAndObserveTableNodeID(table.GetID())
    # A line of fewer than two points cannot be drawn: VTK complains at every redraw.
    drawn = chart.HasPlotSeriesNodeID(series.GetID())
    if drawn and len(x) < 2:
        chart.RemovePlotSeriesNodeID(series.GetID())
    elif len(x) >= 2 and not drawn:
        chart.AddAndObservePlotSeriesNodeID(series.GetID())


def _role(name: str) -> str:
    """The chart's reference to a series, also while that is not drawn."""
    return PREFIX + name.replace(" ", "")


def _set_columns(table: Any, names: tuple[str, ...], columns: tuple[NDArray[np.float64], ...]) -> None:
    content = vtk.vtkTable()
    for name, values in zip(names, columns, strict=True):
        array = numpy_to_vtk(np.ascontiguousarray(values), deep=True, array_type=vtk.VTK_DOUBLE)
        array.SetName(name)
        content.AddColumn(array)
    table.SetAndObserveTable(content)
