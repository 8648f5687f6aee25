"""Where to click in the host's views, found from what is drawn there."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import slicer.util
import vtk


def pixel_of(view: Any, place: Any) -> tuple[float, float]:
    """The pixel of the 3D view at which it shows a place (3,), RAS mm."""
    renderer = view.renderWindow().GetRenderers().GetFirstRenderer()
    renderer.SetWorldPoint(*place, 1.0)
    renderer.WorldToDisplay()
    x, y = renderer.GetDisplayPoint()[:2]
    return x, view.height - 1 - y


def handle_in(view: Any, pose: Any) -> tuple[float, float]:
    """A pixel of the 3D view where a handle of the pose is grasped."""
    from Testing.Host.mouse import move

    center = vtk.vtkMatrix4x4()
    pose.GetMatrixTransformToWorld(center)
    x, y = pixel_of(view, center.MultiplyPoint([*pose.GetCenterOfTransformation(), 1.0])[:3])
    for radius in range(10, 130, 8):
        for angle in np.radians(range(0, 360, 15)):
            place = x + radius * np.cos(angle), y + radius * np.sin(angle)
            move(view, *place)
            if pose.GetDisplayNode().GetActiveInteractionType() > 0:
                return place
    raise AssertionError("no handle is there")


def click_on_pixel(host: Any, node: Any, pixel: Any) -> None:
    """A click of the mouse in the X-ray's view on a stored pixel."""
    from PySide6 import QtCore, QtTest

    from XVRegistrationLib.scene.transforms import ijk_to_world

    widget = slicer.app.layoutManager().sliceWidget("XVXray")
    view = widget.sliceView()
    world = ijk_to_world(node) @ [*pixel, 0.0, 1.0]
    to_xy = np.linalg.inv(slicer.util.arrayFromVTKMatrix(widget.mrmlSliceNode().GetXYToRAS()))
    x, y = (to_xy @ world)[:2]
    at = QtCore.QPoint(round(x), round(view.height - 1 - y))
    QtTest.QTest.mouseMove(view, at)
    host.process(0.03)
    QtTest.QTest.mouseClick(view, QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier.NoModifier, at)
    host.process(0.05)
