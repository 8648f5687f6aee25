"""What is drawn on an X-ray: its DRR, labels, targets and their ellipses, each one node that is updated in place.

All lie under the X-ray's pose, on its detector plane. Each function returns None when the X-ray's nodes are gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import slicer.util

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import image_to_camera, pixel_to_camera, project
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.scene.attributes import PREFIX, read_intrinsics
from XVRegistrationLib.scene.ellipses import depth_in_words, ellipse_mesh, uncertainty_of
from XVRegistrationLib.scene.hierarchy import add_to_folder, remove_nodes
from XVRegistrationLib.scene.placement import kept_placement
from XVRegistrationLib.scene.segments import copy_terminology, layers_of_masks, make_of_label_maps, replace_layers
from XVRegistrationLib.scene.transforms import ijk_to_world
from XVRegistrationLib.scene.volumes import update_voxels
from XVRegistrationLib.scene.xrays import PART, all_xrays_in, pose_from_node

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.imaging.colors import Color
    from XVRegistrationLib.registration.uncertainty import TargetUncertainty
    from XVRegistrationLib.scene.xrays import XrayNodes

VIEW_REFERENCE = PREFIX + "View"
"""Reference of an X-ray's image to the slice node of the view that shows it now."""
_SOURCE_REFERENCE = PREFIX + "Source"
_CROSS_SCALE = 6.0
"""A target's cross, in % of its view: it is open in the middle, where an ellipse of some pixels is seen."""
_WINDOW = PREFIX + "WindowSet"


def set_drr(scene: Any, nodes: XrayNodes, image: NDArray[np.float32]) -> Any:
    """Put a rendered X-ray (h, w), line integrals, in the place of an X-ray; return its vtkMRMLScalarVolumeNode.

    It covers the same detector with its own number of pixels, as a foreground for the X-ray's view. Its window is set
    from the first image that shows something, so that dense structures are bright, and then left to the user.
    """
    intrinsics = _same_detector(nodes, image.shape, "The DRR")
    node = overlay(scene, nodes, "Drr", "vtkMRMLScalarVolumeNode", f"DRR ({nodes.name})")
    if node is None:
        return None
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(image_to_camera(intrinsics)))
    update_voxels(node, image[None])
    display = _display_of(node)
    if node.GetAttribute(_WINDOW) is None:
        low, high = (float(v) for v in np.percentile(image, [0.5, 99.5]))
        display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
        display.SetAutoWindowLevel(False)
        if high > low:
            display.SetWindowLevelMinMax(low, high)
            node.SetAttribute(_WINDOW, "true")
    return node


def set_reprojected_labels(
    scene: Any,
    nodes: XrayNodes,
    labels_2d: Sequence[tuple[str, Color, NDArray[np.bool_]]],
    *,
    source_node: Any = None,
) -> Any:
    """Draw labels (name, colour, mask (h, w)) on an X-ray as its one vtkMRMLSegmentationNode; they may overlap.

    Masks cover the X-ray's detector with any number of pixels. Segments keep their identity and display by name; those
    that are not named any more go. Terminology is that of the segments of `source_node`, the CT's segmentation.
    """
    shapes = {mask.shape for _, _, mask in labels_2d}
    if len(shapes) > 1:
        raise InputError("The reprojections of an X-ray's labels must all have the same number of pixels.")
    intrinsics = [_same_detector(nodes, shape, f"The reprojection of {labels_2d[0][0]}") for shape in shapes]
    node = overlay(scene, nodes, "Labels", "vtkMRMLSegmentationNode", f"Labels ({nodes.name})")
    if node is None:
        return None
    make_of_label_maps(node)
    node.SetReferenceImageGeometryParameterFromVolumeNode(nodes.xray)
    masks = [(name, color, np.asarray(mask, dtype=bool)) for name, color, mask in labels_2d]
    replace_layers(node, layers_of_masks(masks, image_to_camera(intrinsics[0])) if masks else [])
    if source_node is not None:
        copy_terminology(source_node, node)
    _display_of(node)
    return node


def set_targets(scene: Any, nodes: XrayNodes, targets_node: Any, translated: Callable[[str], str] = str) -> Any:
    """Mark the control points of a markups node on an X-ray as its one locked vtkMRMLMarkupsFiducialNode; return that.

    Call it again when the targets or the pose moved. Names and colour are those of the targets; one without a position,
    or behind the source, is listed without one. None removes the marks. While the pose is the one that a registration
    found, their 95 % ellipses are drawn beside them, a vtkMRMLModelNode, and their descriptions hold the interval in depth, `translated` from English.
    """
    if targets_node is None or targets_node.GetScene() is not scene:
        _remove(scene, nodes, "Targets", "Ellipses")
        return None
    is_new = nodes.xray.GetNodeReference(PREFIX + "Targets") is None
    node = overlay(scene, nodes, "Targets", "vtkMRMLMarkupsFiducialNode", f"Targets ({nodes.name})")
    if node is None:
        return None
    if is_new:
        _display_of(node).SetGlyphType(_display_of(node).Cross2D)
        _display_of(node).SetGlyphScale(_CROSS_SCALE)
    node.SetLocked(True)
    if node.GetNodeReferenceID(_SOURCE_REFERENCE) != targets_node.GetID():
        node.SetNodeReferenceID(_SOURCE_REFERENCE, targets_node.GetID())
    display, color = _display_of(node), targets_node.GetDisplayNode()
    if color is not None:
        display.SetColor(color.GetColor())
        display.SetSelectedColor(color.GetSelectedColor())
    intrinsics = read_intrinsics(nodes.xray)
    points = _positions(targets_node)
    pixels = project(points, pose_from_node(nodes.pose), intrinsics)
    uncertainty = uncertainty_of(nodes.xray, points)
    names = [targets_node.GetNthControlPointLabel(i) for i in range(len(points))]
    _set_points(node, names, pixel_to_camera(pixels, intrinsics))
    for i in range(len(points)):
        node.SetNthControlPointDescription(i, translated(depth_in_words(uncertainty, i)))
    _set_ellipses(scene, nodes, uncertainty, display.GetSelectedColor())
    return node


def add_targets(
    scene: Any, nodes: XrayNodes, names: Sequence[str], points_ras: ArrayLike, *, targets_node: Any = None
) -> tuple[Any, Any]:
    """Mark targets (N, 3), RAS mm, in 3D and on an X-ray; return both vtkMRMLMarkupsFiducialNode.

    A `targets_node` that is passed in is left as it is, so that several X-rays can share it.
    """
    points = np.asarray(points_ras, dtype=np.float64).reshape(-1, 3)
    if len(names) != len(points):
        raise InputError(f"There are {len(names)} names for {len(points)} targets; give each target one name.")
    if targets_node is None:
        targets_node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Targets")
        targets_node.CreateDefaultDisplayNodes()
        _set_points(targets_node, names, points)
        add_to_folder(scene, [targets_node], None)
    return targets_node, set_targets(scene, nodes, targets_node)


def project_through_nodes(xray_node: Any, points_ras: ArrayLike) -> NDArray[np.float64]:
    """Stored pixels (..., 2) as (column, row) of RAS points (..., 3), mm, from the transforms of the nodes alone.

    The ray from the pose's origin is cut with the X-ray's plane, as it lies in the scene; NaN for points behind it.
    """
    ras_to_ijk = np.linalg.inv(ijk_to_world(xray_node))
    source = transform_points(ras_to_ijk, pose_from_node(xray_node)[:3, 3])
    ray = transform_points(ras_to_ijk, points_ras) - source
    # The plane is k = 0; what is in front of the source lies, seen from it, to the plane's side along k.
    share = -source[2] / np.where(ray[..., 2:] * source[2] < 0, ray[..., 2:], np.nan)
    return (source + share * ray)[..., :2]


def _set_ellipses(scene: Any, nodes: XrayNodes, uncertainty: TargetUncertainty | None, color: Color) -> None:
    """Draw the targets' ellipses as one vtkMRMLModelNode, or remove it where there are none."""
    mesh = None if uncertainty is None else ellipse_mesh(uncertainty, read_intrinsics(nodes.xray))
    if mesh is None:
        _remove(scene, nodes, "Ellipses")
        return
    node = overlay(scene, nodes, "Ellipses", "vtkMRMLModelNode", f"Ellipses ({nodes.name})")
    node.SetAndObservePolyData(mesh)
    _display_of(node).SetColor(color)


def _remove(scene: Any, nodes: XrayNodes, *parts: str) -> None:
    if nodes.xray.GetScene():
        remove_nodes(scene, [nodes.xray.GetNodeReference(PREFIX + part) for part in parts])


def overlay(scene: Any, nodes: XrayNodes, part: str, class_name: str, name: str) -> Any:
    """The node of this part (of OVERLAYS) of an X-ray, under its pose, made if there is none; None if the X-ray itself is gone."""
    if nodes.xray.GetScene() is not scene or nodes.pose.GetScene() is not scene:
        return None
    node = nodes.xray.GetNodeReference(PREFIX + part)
    if node is None:
        with kept_placement(scene):
            node = scene.AddNewNodeByClass(class_name, name)
        node.SetAttribute(PART, part)
        nodes.xray.SetNodeReferenceID(PREFIX + part, node.GetID())
        add_to_folder(scene, [node], nodes.folder)
        if class_name != "vtkMRMLScalarVolumeNode":
            _join_view(scene, nodes, _display_of(node))
    if node.GetTransformNodeID() != nodes.pose.GetID():
        node.SetAndObserveTransformNodeID(nodes.pose.GetID())
    return node


def _display_of(node: Any) -> Any:
    """Its display node; a new one is dressed as an overlay."""
    display = node.GetDisplayNode()
    if display is None:
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        if display.IsA("vtkMRMLSegmentationDisplayNode"):
            display.SetVisibility3D(False)
            display.SetOpacity2DFill(0.25)
        elif display.IsA("vtkMRMLModelDisplayNode"):
            display.SetVisibility2D(True)
            display.SetSliceIntersectionThickness(2)
            display.SetBackfaceCulling(False)
            display.SetLighting(False)
    return display


def _join_view(scene: Any, nodes: XrayNodes, display: Any) -> None:
    """A new overlay shows in the view of its X-ray, and not at all while another X-ray is shown there."""
    view = nodes.xray.GetNodeReference(VIEW_REFERENCE)
    if view is not None:
        display.SetViewNodeIDs([view.GetID()])
        return
    views = [other.GetNodeReference(VIEW_REFERENCE) for other in all_xrays_in(scene)]
    taken = next((other for other in views if other is not None), None)
    if taken is not None:
        display.SetViewNodeIDs([taken.GetID()])
        display.SetVisibility(False)


def _same_detector(nodes: XrayNodes, shape: tuple[int, ...], what: str) -> Intrinsics:
    """Geometry of an image of (h, w) pixels that covers an X-ray's detector; InputError for other proportions."""
    intrinsics = read_intrinsics(nodes.xray)
    width, height = intrinsics.size
    # Rounding to whole pixels may have changed the proportions by up to a pixel.
    if len(shape) != 2 or min(shape) < 1 or abs(shape[1] * height - shape[0] * width) > max(width, height):
        raise InputError(f"{what} has {shape[::-1]} pixels; the X-ray has {intrinsics.size}.")
    return intrinsics.resized((shape[1], shape[0]))


def _positions(markups_node: Any) -> NDArray[np.float64]:
    """Control points (N, 3), RAS mm; NaN for one that has no position (yet)."""
    found = np.full((markups_node.GetNumberOfControlPoints(), 3), np.nan)
    for i in range(len(found)):
        if markups_node.GetNthControlPointPositionStatus(i) == markups_node.PositionDefined:
            found[i] = markups_node.GetNthControlPointPositionWorld(i)
    return found


def _set_points(node: Any, names: Sequence[str], points: NDArray[np.float64]) -> None:
    """Points that are NaN (behind the source) are kept in the list but have no position."""
    was_modifying = node.StartModify()
    while node.GetNumberOfControlPoints() > len(names):
        node.RemoveNthControlPoint(node.GetNumberOfControlPoints() - 1)
    for index, (name, point) in enumerate(zip(names, points, strict=True)):
        position = np.nan_to_num(point).tolist()
        if index == node.GetNumberOfControlPoints():
            node.AddControlPoint(*position, str(name))
        else:
            node.SetNthControlPointPosition(index, *position)
            node.SetNthControlPointLabel(index, str(name))
        if not np.isfinite(point).all():
            node.UnsetNthControlPointPosition(index)
    node.EndModify(was_modifying)
