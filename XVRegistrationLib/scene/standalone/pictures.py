"""Pictures of registered X-rays standing around the patient in 3D."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import slicer.util
import vtk

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.frustum import frustum
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.scene.segments import show_surfaces
from XVRegistrationLib.scene.standalone.app import start
from XVRegistrationLib.scene.standalone.cameras import direction_facing, placement_seeing
from XVRegistrationLib.scene.standalone.views import ThreeDView, new_slice_logic
from XVRegistrationLib.scene.transforms import show_image_upright
from XVRegistrationLib.scene.xrays import intrinsics_from_node, pose_from_node, xray_nodes_in

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.scene.xrays import XrayNodes

_VIEW_NAME = "XVPicture"
# Texture of an X-ray in 3D, px along its longer side.
_TEXTURE = 1024
# Opacity and colour of a CT by HU: only bone, from reddish where it is spongy to white where it is cortical.
_OPACITY = ((-3024.0, 0.0), (200.0, 0.0), (350.0, 0.4), (700.0, 0.85), (3071.0, 0.95))
_COLORS = ((200.0, (0.85, 0.6, 0.5)), (350.0, (0.95, 0.88, 0.75)), (1200.0, (1.0, 1.0, 0.95)))


def picture_3d(
    scene: Any,
    path: str | os.PathLike[str],
    *,
    xray_nodes: Sequence[XrayNodes],
    segmentation_node: Any = None,
    segments: Sequence[str] | None = None,
    ct_node: Any = None,
    size: tuple[int, int] = (1200, 900),
    view_direction: ArrayLike | None = None,
) -> Path:
    """Write a PNG of X-rays on their detectors, their frusta, and the patient, as the 3D view draws them; return its path.

    The patient is the named `segments` of a segmentation as surfaces (all of it without names), or else the bones of
    `ct_node` by volume rendering. Without `view_direction` (3,), from the scene to the viewer in RAS, one is chosen that
    shows all X-rays from their front. The scene is as before afterwards, but for the surfaces.
    """
    if scene is not start().scene:
        raise InputError("Pictures are drawn of this process's own scene only: use start().scene.")
    if segmentation_node is not None:
        if segments is None:
            segmentation = segmentation_node.GetSegmentation()
            segments = [segmentation.GetNthSegment(i).GetName() for i in range(segmentation.GetNumberOfSegments())]
        show_surfaces(segmentation_node, segments)
    points = np.vstack([*(_corners(nodes) for nodes in xray_nodes), _patient(segmentation_node or ct_node)])
    if not len(points):
        raise InputError("There is nothing to draw: give X-rays, a segmentation or a CT.")
    with _scene_restored(scene), _others_hidden(scene, xray_nodes), _images_in_place(xray_nodes):
        view = ThreeDView(_VIEW_NAME, size)
        try:
            _dress(view.node)
            if ct_node is not None and segmentation_node is None:
                _render_bones(view, ct_node)
            _place_camera(view, points, xray_nodes, view_direction)
            return view.save_png(path)
        finally:
            view.close()


@contextmanager
def _scene_restored(scene: Any) -> Iterator[None]:
    """Remove every node that was added: views bring cameras, planes and display nodes with them."""
    before = {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}
    try:
        yield
    finally:
        added = [node for i in range(scene.GetNumberOfNodes()) if (node := scene.GetNthNode(i)).GetID() not in before]
        for node in added:
            scene.RemoveNode(node)


def _dress(view_node: Any) -> None:
    view_node.SetBoxVisible(False)
    view_node.SetAxisLabelsVisible(False)
    view_node.SetOrientationMarkerType(slicer.vtkMRMLAbstractViewNode.OrientationMarkerTypeCube)
    view_node.SetOrientationMarkerSize(slicer.vtkMRMLAbstractViewNode.OrientationMarkerSizeSmall)


def _place_camera(
    view: ThreeDView, points: NDArray[np.float64], xray_nodes: Sequence[XrayNodes], direction: ArrayLike | None
) -> None:
    if direction is None:
        direction = direction_facing([-pose_from_node(nodes.pose)[:3, 2] for nodes in xray_nodes])
    placement = placement_seeing(points, direction, view.camera.GetViewAngle(), view.size)
    view.camera.SetPosition(*placement.position)
    view.camera.SetFocalPoint(*placement.focal_point)
    view.camera.SetViewUp(*placement.view_up)
    view.renderer.ResetCameraClippingRange()


def _corners(nodes: XrayNodes) -> NDArray[np.float64]:
    """Source and detector corners (5, 3), RAS mm."""
    return transform_points(pose_from_node(nodes.pose), frustum(intrinsics_from_node(nodes.xray)).points)


def _patient(node: Any) -> NDArray[np.float64]:
    """Corners (8, 3), RAS mm, of the box around a volume or segmentation; none (0, 3) without."""
    if node is None:
        return np.zeros((0, 3))
    bounds = np.zeros(6)
    node.GetRASBounds(bounds)
    return np.array([[x, y, z] for x in bounds[:2] for y in bounds[2:4] for z in bounds[4:]])


@contextmanager
def _others_hidden(scene: Any, xray_nodes: Sequence[XrayNodes]) -> Iterator[None]:
    """Hide frusta and targets of the X-rays that are not asked for."""
    shown = {nodes.pose.GetID() for nodes in xray_nodes}
    poses = {nodes.pose.GetID() for nodes in xray_nodes_in(scene)} - shown
    displays = [
        node.GetNthDisplayNode(i)
        for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode", scene)
        if node.GetTransformNodeID() in poses
        for i in range(node.GetNumberOfDisplayNodes())
    ]
    before = [display.GetVisibility() for display in displays]
    for display in displays:
        display.SetVisibility(False)
    try:
        yield
    finally:
        for display, visible in zip(displays, before, strict=True):
            display.SetVisibility(visible)


@contextmanager
def _images_in_place(xray_nodes: Sequence[XrayNodes]) -> Iterator[None]:
    """Slice views, one an X-ray, lie on the detectors and show themselves in 3D."""
    application = start()
    logics = []
    try:
        for index, nodes in enumerate(xray_nodes):
            logic = new_slice_logic(application, f"{_VIEW_NAME}{index}")
            logics.append(logic)
            node = logic.GetSliceNode()
            columns, rows, _ = nodes.xray.GetImageData().GetDimensions()
            scale = _TEXTURE / max(columns, rows)
            texture = max(1, round(columns * scale)), max(1, round(rows * scale))
            logic.GetSliceCompositeNode().SetBackgroundVolumeID(nodes.xray.GetID())
            logic.ResizeSliceNode(*texture)
            show_image_upright(node, nodes.xray, texture)
            node.SetSliceVisible(True)
        yield
    finally:
        for logic in logics:
            application.logic.GetSliceLogics().RemoveItem(logic)
            logic.SetMRMLScene(None)


def _render_bones(view: ThreeDView, ct_node: Any) -> None:
    """Draw the CT's bones by volume rendering in this view."""
    scene = view.application.scene
    opacity, color = vtk.vtkPiecewiseFunction(), vtk.vtkColorTransferFunction()
    for hu, value in _OPACITY:
        opacity.AddPoint(hu, value)
    for hu, rgb in _COLORS:
        color.AddRGBPoint(hu, *rgb)
    properties = scene.AddNewNodeByClass("vtkMRMLVolumePropertyNode")
    shading = properties.GetVolumeProperty()
    shading.SetScalarOpacity(opacity)
    shading.SetColor(color)
    shading.SetInterpolationTypeToLinear()
    shading.SetShade(True)
    shading.SetAmbient(0.35)
    shading.SetDiffuse(0.8)
    display = scene.AddNewNodeByClass("vtkMRMLGPURayCastVolumeRenderingDisplayNode")
    display.SetAndObserveVolumePropertyNodeID(properties.GetID())
    display.SetViewNodeIDs([view.node.GetID()])
    ct_node.AddAndObserveDisplayNodeID(display.GetID())
