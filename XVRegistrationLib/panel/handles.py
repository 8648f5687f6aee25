"""The handles by which a C-arm is moved by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk


def show_handles(pose: Any, volume_node: Any = None) -> None:
    """Show a pose transform's handles, in the middle of the volume: the C-arm turns about the patient.

    At the transform's own origin, the X-ray source, they would be outside most views, and a turn would throw the patient
    out of the picture.
    """
    if volume_node is not None:
        bounds = [0.0] * 6
        volume_node.GetRASBounds(bounds)
        world = np.append(np.reshape(bounds, (3, 2)).mean(axis=1), 1.0)
        matrix = vtk.vtkMatrix4x4()
        pose.GetMatrixTransformFromWorld(matrix)
        pose.SetCenterOfTransformation(*matrix.MultiplyPoint(world.tolist())[:3])
    pose.CreateDefaultDisplayNodes()
    display = pose.GetDisplayNode()
    display.SetEditorVisibility(True)
    display.SetEditorVisibility3D(True)


def hide_handles(pose: Any) -> None:
    """Hide a pose transform's handles; None, or one that was deleted, has none."""
    if handles_shown(pose):
        pose.GetDisplayNode().SetEditorVisibility(False)


def handles_shown(pose: Any) -> bool:
    """Whether a pose transform's handles are shown."""
    display = pose.GetDisplayNode() if pose is not None and pose.GetScene() is not None else None
    return display is not None and bool(display.GetEditorVisibility())
