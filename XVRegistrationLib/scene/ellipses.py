"""Where targets may be on an X-ray: 95 % ellipses as a mesh on the detector plane, and the interval in depth in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from XVRegistrationLib.geometry.camera import pixel_to_camera
from XVRegistrationLib.registration.uncertainty import ellipse_points, target_uncertainty
from XVRegistrationLib.scene.results import registration_that_holds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.registration.uncertainty import TargetUncertainty

_CORNERS = 64
_HALF_WIDTH = 1.0
"""mm along the beam. A slice view draws where its plane cuts a mesh, so lines within the plane would not be seen in it."""


def uncertainty_of(xray_node: Any, points: NDArray[np.float64]) -> TargetUncertainty | None:
    """95 % regions of points (N, 3), RAS mm, on a registered X-ray; NaN for those without a position.

    None where nothing is known: not registered, without a covariance, or moved or changed since.
    """
    found = registration_that_holds(xray_node)
    if found is None or found.uncertainty is None or not len(points):
        return None
    return target_uncertainty(found, points)


def depth_in_words(uncertainty: TargetUncertainty | None, i: int) -> str:
    """How far the i-th target may be along the beam; empty where that is not known."""
    if uncertainty is None or not _known(uncertainty)[i]:
        return ""
    return f"depth +-{uncertainty.depth_mm[i]:.1f} mm (95 %)"


def ellipse_mesh(uncertainty: TargetUncertainty, intrinsics: Intrinsics) -> Any:
    """vtkPolyData, in the camera frame, mm: one ring of quads around each target that has an ellipse; None without any.

    The rings stand on the detector plane and are cut by it at half their width.
    """
    rings = [
        pixel_to_camera(ellipse_points(uncertainty, i, _CORNERS), intrinsics)
        for i in np.flatnonzero(_known(uncertainty)).tolist()
    ]
    if not rings:
        return None
    along = np.array([0.0, 0.0, _HALF_WIDTH])
    corners = np.concatenate([edge for ring in rings for edge in (ring - along, ring + along)])
    points, quads = vtk.vtkPoints(), vtk.vtkCellArray()
    points.SetDataTypeToDouble()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(corners), deep=True))
    for first in range(0, len(corners), 2 * _CORNERS):
        for i in range(_CORNERS):
            a, b = first + i, first + (i + 1) % _CORNERS
            quads.InsertNextCell(4, (a, b, b + _CORNERS, a + _CORNERS))
    mesh = vtk.vtkPolyData()
    mesh.SetPoints(points)
    mesh.SetPolys(quads)
    return mesh


def _known(uncertainty: TargetUncertainty) -> NDArray[np.bool_]:
    """(N,) which targets have an ellipse and an interval."""
    u = uncertainty
    numbers = np.column_stack([u.pixels, u.semi_axes, u.angle_deg, u.depth_mm])
    return np.asarray(np.isfinite(numbers).all(axis=1))
