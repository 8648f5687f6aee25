"""The C-arm's frustum as a model node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from XVRegistrationLib.geometry.frustum import frustum

if TYPE_CHECKING:
    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.imaging.colors import Color

_FACE_ALPHA = 12
_COLOR_ARRAY = "Color"


def add_frustum(scene: Any, name: str, intrinsics: Intrinsics, color: Color, model: Any = None) -> Any:
    """Add a vtkMRMLModelNode of rays and detector outline with faint faces, in the camera frame, mm; 3D views only.

    With `model`, make that one of the scene such a frustum.
    """
    if model is None:
        model = scene.AddNewNodeByClass("vtkMRMLModelNode", name)
    model.SetName(name)
    update_frustum(model, intrinsics, color)
    model.CreateDefaultDisplayNodes()
    display = model.GetDisplayNode()
    display.SetVisibility2D(False)
    display.SetColor(*color)
    display.SetLineWidth(2)
    display.SetBackfaceCulling(False)
    display.SetLighting(False)
    # One opacity would fade the lines with the faces; the cells bring their own.
    display.SetActiveScalar(_COLOR_ARRAY, vtk.vtkAssignAttribute.CELL_DATA)
    display.SetScalarRangeFlag(slicer.vtkMRMLDisplayNode.UseDirectMapping)
    display.SetScalarVisibility(True)
    return model


def update_frustum(model: Any, intrinsics: Intrinsics, color: Color) -> None:
    """Give a frustum's model node another geometry; its display stays as it is."""
    model.SetAndObservePolyData(_poly_data(intrinsics, color))


def _poly_data(intrinsics: Intrinsics, color: Color) -> Any:
    shape = frustum(intrinsics)
    points = vtk.vtkPoints()
    points.SetDataTypeToDouble()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(shape.points), deep=True))
    mesh = vtk.vtkPolyData()
    mesh.SetPoints(points)
    mesh.SetLines(_cells(shape.lines))
    mesh.SetPolys(_cells(shape.faces))
    rgb = [round(255 * c) for c in color]
    rgba = np.array([[*rgb, 255]] * len(shape.lines) + [[*rgb, _FACE_ALPHA]] * len(shape.faces), dtype=np.uint8)
    colors = numpy_to_vtk(rgba, deep=True)
    colors.SetName(_COLOR_ARRAY)
    mesh.GetCellData().AddArray(colors)
    return mesh


def _cells(indices: tuple[tuple[int, ...], ...]) -> Any:
    cells = vtk.vtkCellArray()
    for cell in indices:
        cells.InsertNextCell(len(cell), cell)
    return cells
