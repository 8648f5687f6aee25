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
    """A click of the mouse in the X-ray's view on a stored pixel, once it shows this X-ray."""
    from XVRegistrationLib.scene.transforms import ijk_to_world

    shown = slicer.app.layoutManager().sliceWidget("XVXray").mrmlSliceCompositeNode()
    host.wait_until(lambda: shown.GetBackgroundVolumeID() == node.GetID())
    click_on_place(host, "XVXray", (ijk_to_world(node) @ [*pixel, 0.0, 1.0])[:3])


def click_on_place(host: Any, name: str, place: Any) -> None:
    """A click of the mouse in a slice view of this name where it shows a place (3,), RAS mm, of its plane."""
    from PySide6 import QtCore, QtTest

    widget = slicer.app.layoutManager().sliceWidget(name)
    view = widget.sliceView()
    to_xy = np.linalg.inv(slicer.util.arrayFromVTKMatrix(widget.mrmlSliceNode().GetXYToRAS()))
    x, y = (to_xy @ [*place, 1.0])[:2]
    at = QtCore.QPoint(round(x), round(view.height - 1 - y))
    # From beside it: a mouse that is there already, from an earlier click, would not be seen to move, and places nothing.
    for beside in (QtCore.QPoint(3, 3), QtCore.QPoint(0, 0)):
        QtTest.QTest.mouseMove(view, at + beside)
        host.process(0.03)
    QtTest.QTest.mouseClick(view, QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier.NoModifier, at)
    host.process(0.05)


def drag_slider(host: Any, slider: Any, share: float) -> None:
    """Drag the handle of a horizontal slider from where it is to a share of its way, 0 to 1."""
    from PySide6 import QtCore, QtTest, QtWidgets

    option = QtWidgets.QStyleOptionSlider()
    slider.initStyleOption(option)
    style = QtWidgets.QStyle
    groove, handle = (
        slider.style().subControlRect(style.ComplexControl.CC_Slider, option, part, slider)
        for part in (style.SubControl.SC_SliderGroove, style.SubControl.SC_SliderHandle)
    )
    start = handle.center()
    end = QtCore.QPoint(round(groove.left() + share * groove.width()), start.y())
    left, none = QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier.NoModifier
    QtTest.QTest.mousePress(slider, left, none, start)
    for step in (0.5, 1.0):
        QtTest.QTest.mouseMove(slider, start + (end - start) * step)
        host.process(0.03)
    QtTest.QTest.mouseRelease(slider, left, none, end)
    host.process(0.03)
