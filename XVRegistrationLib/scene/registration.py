"""X-rays at their poses in the scene, what is drawn on them, and reading both back.

Everything of one X-ray lies under its "C-arm pose" transform, whose matrix is the pose: camera -> RAS, mm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import slicer
import slicer.util

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import image_to_camera, pixel_to_camera, project
from XVRegistrationLib.geometry.rigid import check_rigid, transform_points
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.scene.attributes import PREFIX, read_intrinsics, read_origins, read_scale, write_attributes
from XVRegistrationLib.scene.frustum import add_frustum
from XVRegistrationLib.scene.hierarchy import add_to_folder, folder_of
from XVRegistrationLib.scene.segments import add_layers, layers_of_masks, new_segmentation
from XVRegistrationLib.scene.transforms import ijk_to_world, to_world
from XVRegistrationLib.scene.volumes import add_scalar_node, voxels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.imaging.colors import Color
    from XVRegistrationLib.imaging.xray import Scale

_FRUSTUM_REFERENCE = PREFIX + "Frustum"
_VOLUME_REFERENCE = PREFIX + "Volume"
_NAME = PREFIX + "Name"
_FRUSTUM_COLORS: tuple[Color, ...] = ((1.0, 0.75, 0.1), (0.2, 0.75, 1.0), (1.0, 0.4, 0.6), (0.5, 0.9, 0.3))


@dataclass(frozen=True, eq=False)
class XrayNodes:
    """The nodes of one X-ray."""

    name: str
    pose: Any
    """vtkMRMLLinearTransformNode: camera -> RAS, mm."""
    frustum: Any
    """vtkMRMLModelNode under the pose."""
    xray: Any
    """vtkMRMLScalarVolumeNode of one slice on the detector plane, under the pose."""
    folder: int
    """Item of the data tree (subject hierarchy) that holds them."""


def add_xray(scene: Any, xray: Xray, pose: ArrayLike, *, volume_node: Any = None, name: str | None = None) -> XrayNodes:
    """Add an X-ray at a pose (4, 4), camera -> RAS, mm; return its pose transform, frustum and one-slice volume.

    `volume_node` is the CT that the pose belongs to; the X-ray refers to it. `name` replaces the X-ray's own.
    """
    matrix = check_rigid(pose)
    name = _unused_name(scene, name or xray.name)
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", f"C-arm pose ({name})")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    color = _FRUSTUM_COLORS[len(xray_nodes_in(scene)) % len(_FRUSTUM_COLORS)]
    frustum = add_frustum(scene, f"C-arm frustum ({name})", xray.intrinsics, color)
    image = add_scalar_node(scene, f"X-ray ({name})", xray.pixels[None], image_to_camera(xray.intrinsics))
    _set_window(image, xray)
    write_attributes(image, xray.intrinsics, xray.scale, xray.origins)
    image.SetAttribute(_NAME, name)
    image.SetNodeReferenceID(_FRUSTUM_REFERENCE, frustum.GetID())
    if volume_node is not None:
        image.SetNodeReferenceID(_VOLUME_REFERENCE, volume_node.GetID())
    for node in (frustum, image):
        node.SetAndObserveTransformNodeID(transform.GetID())
    folder = add_to_folder(scene, [transform, image, frustum], name)
    return XrayNodes(name, transform, frustum, image, folder)


def xray_nodes_in(scene: Any) -> list[XrayNodes]:
    """All X-rays of a scene, in the order they were added; also those read from a file."""
    volumes = [
        scene.GetNthNodeByClass(i, "vtkMRMLScalarVolumeNode")
        for i in range(scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode"))
    ]
    found = []
    for image in volumes:
        name, pose, frustum = (
            image.GetAttribute(_NAME),
            image.GetParentTransformNode(),
            image.GetNodeReference(_FRUSTUM_REFERENCE),
        )
        if name and pose is not None and frustum is not None:
            found.append(
                XrayNodes(name, pose, frustum, image, folder_of(scene, image) or add_to_folder(scene, [image], name))
            )
    return found


def volume_node_of(xray_node: Any) -> Any:
    """The volume node that an X-ray was registered to; None if it was not said."""
    return xray_node.GetNodeReference(_VOLUME_REFERENCE)


def set_pose(nodes: XrayNodes, pose: ArrayLike) -> None:
    """Move the C-arm of an X-ray to a pose (4, 4), camera -> RAS, mm."""
    nodes.pose.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(check_rigid(pose)))


def pose_from_node(node: Any) -> NDArray[np.float64]:
    """Pose (4, 4), camera -> RAS, mm, of a transform node, or of a node under its pose (X-ray, frustum).

    Raises InputError where the transform is not rigid, or there is none.
    """
    transform = node if node.IsA("vtkMRMLTransformNode") else node.GetParentTransformNode()
    if transform is None:
        raise InputError(f"{node.GetName()} has no C-arm pose: put it under a linear transform.")
    try:
        return check_rigid(to_world(transform, node.GetName()), f"transform {transform.GetName()}")
    except ValueError as e:
        raise InputError(str(e)) from e


def intrinsics_from_node(xray_node: Any) -> Intrinsics:
    """Geometry of an X-ray's volume node, exactly as it was stored; InputError if it has none."""
    return read_intrinsics(xray_node)


def xray_from_node(xray_node: Any) -> Xray:
    """The X-ray of a volume node that `add_xray` made: pixels (copied), geometry, and what is known about both."""
    array = voxels(xray_node)
    intrinsics = read_intrinsics(xray_node)
    if array.shape != (1, *intrinsics.size[::-1]):
        raise InputError(
            f"The X-ray {xray_node.GetName()} has {array.shape[::-1]} pixels, but its geometry is for "
            f"{intrinsics.size}; it was resampled. Use the original."
        )
    name = xray_node.GetAttribute(_NAME) or xray_node.GetName()
    scale = cast("Scale", read_scale(xray_node))
    return Xray(name, array[0].copy(), intrinsics, scale, origins=read_origins(xray_node))


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


def add_reprojected_labels(
    scene: Any,
    nodes: XrayNodes,
    labels_2d: Sequence[tuple[str, Color, NDArray[np.bool_]]],
    *,
    view_node: Any = None,
    segmentation_node: Any = None,
) -> Any:
    """Draw labels (name, colour, mask (H, W)) on an X-ray as a vtkMRMLSegmentationNode under its pose; they may overlap.

    `segmentation_node` is refilled instead of a new one being made. With `view_node`, they show in that view only.
    """
    intrinsics = read_intrinsics(nodes.xray)
    for name, _, mask in labels_2d:
        if mask.shape != intrinsics.size[::-1]:
            raise InputError(
                f"The reprojection of {name} has {mask.shape[::-1]} pixels; the X-ray has {intrinsics.size}."
            )
    node = segmentation_node or new_segmentation(scene, f"Labels ({nodes.name})")
    node.GetSegmentation().RemoveAllSegments()
    node.SetAndObserveTransformNodeID(nodes.pose.GetID())
    node.SetReferenceImageGeometryParameterFromVolumeNode(nodes.xray)
    add_layers(node, layers_of_masks(labels_2d, image_to_camera(intrinsics)))
    display = node.GetDisplayNode()
    display.SetVisibility3D(False)
    display.SetOpacity2DFill(0.25)
    _show_only_in(display, view_node)
    add_to_folder(scene, [node], nodes.folder)
    return node


def add_targets(
    scene: Any,
    nodes: XrayNodes,
    names: Sequence[str],
    points_ras: ArrayLike,
    *,
    targets_node: Any = None,
    view_node: Any = None,
) -> tuple[Any, Any]:
    """Mark targets (N, 3), RAS mm, in 3D and on an X-ray; return both vtkMRMLMarkupsFiducialNode.

    The second is locked, on the detector plane, under the pose. A `targets_node` that is passed in is left as it is,
    so that several X-rays can share it.
    """
    points = np.asarray(points_ras, dtype=np.float64).reshape(-1, 3)
    if len(names) != len(points):
        raise InputError(f"There are {len(names)} names for {len(points)} targets; give each target one name.")
    if targets_node is None:
        targets_node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Targets")
        targets_node.CreateDefaultDisplayNodes()
        _set_points(targets_node, names, points)
        add_to_folder(scene, [targets_node], None)
    projected = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"Targets ({nodes.name})")
    projected.CreateDefaultDisplayNodes()
    projected.SetAndObserveTransformNodeID(nodes.pose.GetID())
    projected.SetLocked(True)
    _show_only_in(projected.GetDisplayNode(), view_node)
    update_projected_targets(nodes, projected, names, points)
    add_to_folder(scene, [projected], nodes.folder)
    return targets_node, projected


def update_projected_targets(
    nodes: XrayNodes, projected_node: Any, names: Sequence[str], points_ras: ArrayLike
) -> None:
    """Move the marks of targets (N, 3), RAS mm, on an X-ray to where its present pose projects them."""
    intrinsics = read_intrinsics(nodes.xray)
    pixels = project(np.asarray(points_ras, dtype=np.float64).reshape(-1, 3), pose_from_node(nodes.pose), intrinsics)
    _set_points(projected_node, names, pixel_to_camera(pixels, intrinsics))


def _set_points(node: Any, names: Sequence[str], points: NDArray[np.float64]) -> None:
    """Points that are NaN (behind the source) are kept in the list but have no position."""
    was_modifying = node.StartModify()
    node.RemoveAllControlPoints()
    for name, point in zip(names, points, strict=True):
        index = node.AddControlPoint(*np.nan_to_num(point).tolist(), str(name))
        if not np.isfinite(point).all():
            node.UnsetNthControlPointPosition(index)
    node.EndModify(was_modifying)


def _set_window(node: Any, xray: Xray) -> None:
    """Dense structures are bright, as on a radiograph; the window leaves out extreme pixels, and air if it is bright."""
    display = node.GetDisplayNode()
    low, high = (float(v) for v in np.percentile(xray.pixels, [0.5, 90.0 if xray.scale == "intensity" else 99.5]))
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(low, high if high > low else low + 1.0)
    if xray.scale == "intensity":
        display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeInvertedGrey")


def _show_only_in(display_node: Any, view_node: Any) -> None:
    if view_node is not None:
        display_node.SetViewNodeIDs([view_node.GetID()])


def _unused_name(scene: Any, name: str) -> str:
    """The name, with a number if an X-ray of the scene is called so already."""
    taken = {nodes.name for nodes in xray_nodes_in(scene)}
    candidates = (name if i == 1 else f"{name} {i}" for i in range(1, len(taken) + 2))
    return next(candidate for candidate in candidates if candidate not in taken)
