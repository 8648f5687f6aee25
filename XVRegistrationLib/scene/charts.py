"""Curves as Slicer's plot nodes: a chart, and a series with a table for each curve, updated in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from XVRegistrationLib.scene.attributes import PREFIX
from XVRegistrationLib.scene.hierarchy import remove_nodes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.colors import Color

LINE, CIRCLES, DIAMONDS, CROSSES = "line", "circles", "diamonds", "crosses"
"""How a curve is drawn: as a line, or by marks of a shape alone, which is told without its colour."""
_WIDTH = 2
_MARK_SIZE = 9


@dataclass(frozen=True, eq=False)
class Curve:
    """One curve of a chart."""

    name: str
    """In the legend."""
    columns: tuple[str, str]
    """Names of the table's columns, with their units."""
    color: Color
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    style: str = LINE


def new_chart(scene: Any, name: str, title: str, x_title: str, y_title: str) -> Any:
    """A vtkMRMLPlotChartNode without curves."""
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", name)
    chart.SetTitle(title)
    chart.SetXAxisTitle(x_title)
    chart.SetYAxisTitle(y_title)
    return chart


def set_curves(scene: Any, chart: Any, curves: Sequence[Curve]) -> None:
    """Draw these curves in a chart, in this order and in place of those of the same names.

    One of fewer than two points is not drawn: VTK complains at every redraw.
    """
    series = [_set_series(scene, chart, curve) for curve in curves]
    wanted = [one.GetID() for one in series if one.GetTableNode().GetNumberOfRows() > 1]
    drawn = [chart.GetNthPlotSeriesNodeID(i) for i in range(chart.GetNumberOfPlotSeriesNodes())]
    if drawn != wanted:
        was_modifying = chart.StartModify()
        chart.RemoveAllPlotSeriesNodeIDs()
        for one in wanted:
            chart.AddAndObservePlotSeriesNodeID(one)
        chart.EndModify(was_modifying)


def nodes_of_chart(chart: Any) -> list[Any]:
    """The chart with its series and tables."""
    roles = [chart.GetNthNodeReferenceRole(i) for i in range(chart.GetNumberOfNodeReferenceRoles())]
    series = [chart.GetNodeReference(role) for role in roles if role.startswith(PREFIX)]
    return [
        chart,
        *(one for one in series if one is not None),
        *(one.GetTableNode() for one in series if one is not None),
    ]


def remove_chart(scene: Any, chart: Any) -> None:
    """Remove a chart with its series and tables; None, or one that is gone, is no error."""
    if chart is not None and chart.GetScene() is scene:
        remove_nodes(scene, nodes_of_chart(chart))


def _set_series(scene: Any, chart: Any, curve: Curve) -> Any:
    """Each series has a table of its own: curves differ in length, and a table has no empty cells."""
    role = PREFIX + curve.name.replace(" ", "")  # also while it is not drawn
    series = chart.GetNodeReference(role)
    if series is None:
        series = _new_series(scene, curve)
        series.SetSaveWithScene(chart.GetSaveWithScene())
        series.SetHideFromEditors(chart.GetHideFromEditors())
        chart.SetNodeReferenceID(role, series.GetID())
    table = series.GetTableNode()
    if table is None:
        table = scene.AddNewNodeByClass("vtkMRMLTableNode", f"{chart.GetName()}: {curve.name}")
        table.SetSaveWithScene(chart.GetSaveWithScene())
        table.SetHideFromEditors(chart.GetHideFromEditors())
    x, y = curve.x, curve.y
    if curve.style != LINE and len(x) == 1:
        x, y = np.repeat(x, 2), np.repeat(y, 2)
    _set_columns(table, curve.columns, (x, y))
    if series.GetTableNode() is not table:
        series.SetAndObserveTableNodeID(table.GetID())
    return series


def _new_series(scene: Any, curve: Curve) -> Any:
    kind = slicer.vtkMRMLPlotSeriesNode
    series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", curve.name)
    series.SetPlotType(kind.PlotTypeScatter)
    marks = {
        LINE: kind.MarkerStyleNone,
        CIRCLES: kind.MarkerStyleCircle,
        DIAMONDS: kind.MarkerStyleDiamond,
        CROSSES: kind.MarkerStyleCross,
    }
    series.SetMarkerStyle(marks[curve.style])
    series.SetMarkerSize(_MARK_SIZE)
    series.SetLineStyle(kind.LineStyleSolid if curve.style == LINE else kind.LineStyleNone)
    series.SetLineWidth(_WIDTH)
    series.SetColor(*curve.color)
    series.SetXColumnName(curve.columns[0])
    series.SetYColumnName(curve.columns[1])
    return series


def _set_columns(table: Any, names: tuple[str, ...], columns: tuple[NDArray[np.float64], ...]) -> None:
    content = vtk.vtkTable()
    for name, values in zip(names, columns, strict=True):
        array = numpy_to_vtk(np.ascontiguousarray(values), deep=True, array_type=vtk.VTK_DOUBLE)
        array.SetName(name)
        content.AddColumn(array)
    table.SetAndObserveTable(content)
