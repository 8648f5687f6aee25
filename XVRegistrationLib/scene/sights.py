"""What is drawn while cursors are linked: marks on X-rays, rays in 3D, and epipolar lines on X-rays.

They come and go with the pointer, so they are neither saved with the scene nor offered for choice. Each function updates the
node that it is given, or makes one where that is None or gone, and returns it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from XVRegistrationLib.geometry.camera import pixel_to_camera
from XVRegistrationLib.scene.attributes import read_intrinsics
from XVRegistrationLib.scene.placement import kept_placement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.imaging.colors import Color
    from XVRegistrationLib.scene.xrays import XrayNodes

RAY_COLOR: Color = (0.94, 0.89, 0.26)
MARK_COLOR: Color = (0.34, 0.71, 0.91)  # of Okabe and Ito's, as the ray's: told apart by all eyes
_RING, _DOT = "Circle2D", "CrossDot2D"
_RADIUS = 0.6
"""mm, of a ray."""
_HALF_WIDTH = 1.0
"""mm along the beam. A slice view draws where its plane cuts a mesh, so lines within the plane would not be seen in it."""


def set_mark(scene: Any, node: Any, nodes: XrayNodes, pixel: ArrayLike, *, ring: bool = False) -> Any:
    """Mark a stored pixel (2,) of an X-ray, in its view alone, by a cross or, about something that is there, by a ring."""
    place = pixel_to_camera(np.asarray(pixel, dtype=np.float64), read_intrinsics(nodes.xray))
    node = _markups(scene, node, _RING if ring else _DOT, 6.0 if ring else 3.0)
    if node.GetTransformNodeID() != nodes.pose.GetID():
        node.SetAndObserveTransformNodeID(nodes.pose.GetID())
    return _at(node, place)


def set_point(scene: Any, node: Any, point: ArrayLike) -> Any:
    """Mark a point (3,), RAS mm, in 3D and in the slices that it lies in."""
    return _at(_markups(scene, node, _DOT, 3.0), np.asarray(point, dtype=np.float64))


def set_rays(scene: Any, node: Any, rays: Sequence[ArrayLike]) -> Any:
    """Draw rays, each its two ends (2, 3), RAS mm, in 3D."""
    append = vtk.vtkAppendPolyData()
    for ends in rays:
        line, tube = vtk.vtkLineSource(), vtk.vtkTubeFilter()
        first, last = np.asarray(ends, dtype=np.float64)
        line.SetPoint1(*first)
        line.SetPoint2(*last)
        tube.SetInputConnection(line.GetOutputPort())
        tube.SetRadius(_RADIUS)
        tube.SetNumberOfSides(8)
        append.AddInputConnection(tube.GetOutputPort())
    append.Update()
    node = _model(scene, node, "Rays", in_slices=False)
    node.SetAndObservePolyData(append.GetOutput())
    return node


def set_lines(scene: Any, node: Any, nodes: XrayNodes, lines: Sequence[NDArray[np.float64]]) -> Any:
    """Draw lines, each its two ends (2, 2) in stored pixels, on an X-ray's detector, in slice views alone."""
    along = np.array([0.0, 0.0, _HALF_WIDTH])
    points, quads = vtk.vtkPoints(), vtk.vtkCellArray()
    points.SetDataTypeToDouble()
    ends = [pixel_to_camera(line, read_intrinsics(nodes.xray)) for line in lines]
    corners = np.concatenate([(a - along, b - along, b + along, a + along) for a, b in ends])
    points.SetData(numpy_to_vtk(np.ascontiguousarray(corners), deep=True))
    for first in range(0, len(corners), 4):
        quads.InsertNextCell(4, tuple(range(first, first + 4)))
    mesh = vtk.vtkPolyData()
    mesh.SetPoints(points)
    mesh.SetPolys(quads)
    node = _model(scene, node, "Epipolar lines", in_slices=True)
    if node.GetTransformNodeID() != nodes.pose.GetID():
        node.SetAndObserveTransformNodeID(nodes.pose.GetID())
    node.SetAndObservePolyData(mesh)
    return node


def show_sight(node: Any, view_id: str = "") -> None:
    """Show something that is drawn, in one view alone if its node's ID is given."""
    display = node.GetDisplayNode()
    if display is not None:
        wanted = (view_id,) if view_id else ()
        if tuple(display.GetViewNodeIDs() or ()) != wanted:
            display.SetViewNodeIDs(list(wanted))
        display.SetVisibility(True)


def hide_sight(node: Any) -> None:
    """Hide something that is drawn, until it is wanted again."""
    display = node.GetDisplayNode()
    if display is not None:
        display.SetVisibility(False)


def _markups(scene: Any, node: Any, glyph: str, size: float) -> Any:
    if node is not None and node.GetScene() is scene and node.GetDisplayNode() is not None:
        return node
    node = _new(scene, node, slicer.vtkMRMLMarkupsFiducialNode, "Pointer", MARK_COLOR)
    node.SetLocked(True)
    display = node.GetDisplayNode()
    display.SetGlyphType(display.GetGlyphTypeFromString(glyph))
    display.SetGlyphScale(size)
    display.SetPointLabelsVisibility(False)
    display.SetPropertiesLabelVisibility(False)
    return node


def _model(scene: Any, node: Any, name: str, *, in_slices: bool) -> Any:
    if node is not None and node.GetScene() is scene and node.GetDisplayNode() is not None:
        return node
    node = _new(scene, node, slicer.vtkMRMLModelNode, name, RAY_COLOR)
    display = node.GetDisplayNode()
    display.SetVisibility2D(in_slices)
    display.SetVisibility3D(not in_slices)
    display.SetSliceIntersectionThickness(2)
    display.SetBackfaceCulling(False)
    return node


def _new(scene: Any, node: Any, node_class: Any, name: str, color: Color) -> Any:
    """A node that is not saved, with its display node; one that has lost its display node gets a new one."""
    if node is None or node.GetScene() is not scene:
        node = node_class()
        node.SetName(name)
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        with kept_placement(scene):
            node = scene.AddNode(node)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetSaveWithScene(False)
    display.SetColor(*color)
    display.SetSelectedColor(*color)
    return node


def _at(node: Any, place: NDArray[np.float64]) -> Any:
    """Its one control point stands at `place` (3,), mm in the node's own space."""
    if node.GetNumberOfControlPoints() == 0:
        node.AddControlPoint(*place.tolist())
    else:
        node.SetNthControlPointPosition(0, *place.tolist())
    return node
