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

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.imaging.colors import Color
    from XVRegistrationLib.scene.xrays import XrayNodes

RAY_COLOR: Color = (0.94, 0.89, 0.26)
MARK_COLOR: Color = (0.34, 0.71, 0.91)  # of Okabe and Ito's, as the ray's: told apart by all eyes
_HALF_WIDTH = 1.0
"""mm along the beam. A slice view draws where its plane cuts a mesh, so lines within the plane would not be seen in it."""
_SIZE = 0.03
"""Of a mark, from its middle, as a share of the image's longer side."""
_CORNERS = 48
_POINT_RADIUS = 1.5  # mm
_MARK, _LINES, _POINT, _RAYS = NAMES = ("Pointer", "Epipolar lines", "Point picked", "Rays")
"""Of the nodes."""


def set_mark(scene: Any, node: Any, nodes: XrayNodes, pixel: ArrayLike, *, ring: bool = False) -> Any:
    """Mark a stored pixel (2,) of an X-ray by a cross that is open in the middle, or by a ring about it."""
    camera = read_intrinsics(nodes.xray)
    if ring:
        angles = np.linspace(0, 2 * np.pi, _CORNERS + 1)
        corners = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        shape = np.stack([corners[:-1], corners[1:]], axis=1)
    else:
        arms = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
        shape = np.stack([0.3 * arms, arms], axis=1)
    # As long in mm to all sides, whatever the pixels' proportions.
    size = _SIZE * max(np.multiply(camera.size, camera.spacing)) / np.array(camera.spacing)
    return _set_on_detector(scene, node, nodes, np.asarray(pixel, dtype=np.float64) + size * shape, _MARK, MARK_COLOR)


def set_lines(scene: Any, node: Any, nodes: XrayNodes, lines: Sequence[NDArray[np.float64]]) -> Any:
    """Draw lines, each its two ends (2, 2) in stored pixels, on an X-ray's detector, in slice views alone."""
    return _set_on_detector(scene, node, nodes, np.stack(list(lines)), _LINES, RAY_COLOR)


def set_point(scene: Any, node: Any, point: ArrayLike) -> Any:
    """Mark a point (3,), RAS mm, in 3D and in the slices that it lies in."""
    ball = vtk.vtkSphereSource()
    ball.SetCenter(*np.asarray(point, dtype=np.float64).tolist())
    ball.SetRadius(_POINT_RADIUS)
    ball.Update()
    return _set(scene, node, ball.GetOutput(), _POINT, RAY_COLOR, in_slices=True, in_3d=True)


def set_rays(scene: Any, node: Any, rays: Sequence[ArrayLike]) -> Any:
    """Draw rays, each its two ends (2, 3), RAS mm, in 3D."""
    corners = np.concatenate([np.asarray(ends, dtype=np.float64) for ends in rays])
    mesh, lines = _mesh(corners), vtk.vtkCellArray()
    for first in range(0, len(corners), 2):
        lines.InsertNextCell(2, (first, first + 1))
    mesh.SetLines(lines)
    return _set(scene, node, mesh, _RAYS, RAY_COLOR, in_slices=False, in_3d=True)


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


def _set_on_detector(
    scene: Any, node: Any, nodes: XrayNodes, lines: NDArray[np.float64], name: str, color: Color
) -> Any:
    """Lines (N, 2, 2), stored px, as quads that stand on the detector plane and are cut by it at half their width."""
    along = np.array([0.0, 0.0, _HALF_WIDTH])
    ends = pixel_to_camera(lines, read_intrinsics(nodes.xray))
    corners = np.concatenate([(a - along, b - along, b + along, a + along) for a, b in ends])
    mesh, quads = _mesh(corners), vtk.vtkCellArray()
    for first in range(0, len(corners), 4):
        quads.InsertNextCell(4, tuple(range(first, first + 4)))
    mesh.SetPolys(quads)
    node = _set(scene, node, mesh, name, color, in_slices=True, in_3d=False)
    if node.GetTransformNodeID() != nodes.pose.GetID():
        node.SetAndObserveTransformNodeID(nodes.pose.GetID())
    return node


def _mesh(corners: NDArray[np.float64]) -> Any:
    """vtkPolyData with these points (N, 3) and no cells."""
    points = vtk.vtkPoints()
    points.SetDataTypeToDouble()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(corners), deep=True))
    mesh = vtk.vtkPolyData()
    mesh.SetPoints(points)
    return mesh


def _set(scene: Any, node: Any, mesh: Any, name: str, color: Color, *, in_slices: bool, in_3d: bool) -> Any:
    """Put a mesh into a vtkMRMLModelNode that is not saved; one that has lost its display node gets a new one."""
    if node is None or node.GetScene() is not scene:
        node = slicer.vtkMRMLModelNode()
        node.SetName(name)
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        node = scene.AddNode(node)
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.SetColor(*color)
        display.SetVisibility2D(in_slices)
        display.SetVisibility3D(in_3d)
        display.SetSliceIntersectionThickness(2)
        display.SetLineWidth(2)
        display.SetBackfaceCulling(False)
        display.SetLighting(False)
    node.SetAndObservePolyData(mesh)
    return node
