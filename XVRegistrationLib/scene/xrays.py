"""X-rays in the scene: the image, its C-arm pose and its frustum, and reading them back.

Everything of one X-ray lies under its "C-arm pose" transform, whose matrix is the pose: camera -> RAS, mm. An X-ray is
*pending* while its geometry or its pose is not known: then it is an image only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import slicer.util

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import image_to_camera
from XVRegistrationLib.geometry.rigid import check_rigid
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.scene.attributes import (
    PREFIX,
    read_intrinsics,
    read_origins,
    read_scale,
    write_attributes,
    write_known,
)
from XVRegistrationLib.scene.frustum import add_frustum, update_frustum
from XVRegistrationLib.scene.hierarchy import add_to_folder, folder_of, remove_nodes
from XVRegistrationLib.scene.transforms import to_world
from XVRegistrationLib.scene.volumes import add_scalar_node, voxels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.imaging.colors import Color
    from XVRegistrationLib.imaging.xray import Scale

PART = PREFIX + "Part"
"""Attribute of every node that belongs to an X-ray, apart from the image: what it is of it."""
MARKED = ("Marks", "Pick")
"""References of the image to what the user has marked on it, without the prefix."""
DRAWN = ("Labels", "Targets", "Ellipses", "Drr")
"""The same for what is drawn on it for a pose and a geometry."""
OVERLAYS = (*DRAWN, *MARKED)
_FRUSTUM_REFERENCE = PREFIX + "Frustum"
_MASK_REFERENCE = PREFIX + "Mask"
_VOLUME_REFERENCE = PREFIX + "Volume"
_NAME = PREFIX + "Name"
_COLOR = PREFIX + "Color"
_FRUSTUM_COLORS: tuple[Color, ...] = ((1.0, 0.75, 0.1), (0.2, 0.75, 1.0), (1.0, 0.4, 0.6), (0.5, 0.9, 0.3))


@dataclass(frozen=True, eq=False)
class XrayNodes:
    """The nodes of one X-ray at its pose."""

    name: str
    pose: Any
    """vtkMRMLLinearTransformNode: camera -> RAS, mm."""
    frustum: Any
    """vtkMRMLModelNode under the pose."""
    xray: Any
    """vtkMRMLScalarVolumeNode of one slice on the detector plane, under the pose."""
    folder: int
    """Item of the data tree (subject hierarchy) that holds them."""


def add_pending_xray(
    scene: Any,
    name: str,
    pixels: NDArray[Any],
    known: Mapping[str, Any],
    origins: Mapping[str, str],
    missing: Sequence[str],
    scale: Scale,
    volume_node: Any = None,
) -> Any:
    """Add an X-ray (H, W) that has no pose yet; return its one-slice vtkMRMLScalarVolumeNode.

    `known` holds what is known of its geometry (fields of `Intrinsics`, `primary_angle`, `secondary_angle` in degrees,
    `sod` in mm), `origins` where that came from, `missing` the names of what somebody has to enter.
    """
    if pixels.ndim != 2 or 0 in pixels.shape:
        raise InputError(f"{name} is not a grey image: it has the shape {pixels.shape}.")
    name = _unused_name(scene, name)
    number = len(all_xrays_in(scene))
    node = add_scalar_node(scene, f"X-ray ({name})", pixels[None], _standing(known.get("spacing")))
    write_known(node, {**known, "size": pixels.shape[::-1]}, origins, missing, scale)
    set_window(node, pixels, scale)
    node.SetAttribute(_NAME, name)
    node.SetAttribute(_COLOR, str(number % len(_FRUSTUM_COLORS)))
    refer_to_volume(node, volume_node)
    add_to_folder(scene, [node], name)
    return node


def complete_xray(
    scene: Any,
    node: Any,
    intrinsics: Intrinsics,
    origins: Mapping[str, str],
    pose: ArrayLike,
    *,
    scale: Scale | None = None,
) -> XrayNodes:
    """Place an X-ray, pending or not, at a pose (4, 4), camera -> RAS, mm, with a geometry; the image node stays the same.

    What was drawn on it is removed: it belonged to another geometry. What the user has marked on it stays as it is, which
    `placing.place` moves to its pixels. `scale` replaces that of the grey values.
    """
    matrix = check_rigid(pose)
    pixels = voxels(node)
    if pixels.shape != (1, *intrinsics.size[::-1]):
        raise InputError(
            f"{node.GetName()} has {pixels.shape[::-1]} pixels, but the geometry is for {intrinsics.size}."
        )
    remove_nodes(scene, (node.GetNodeReference(PREFIX + overlay) for overlay in DRAWN))
    if scale is not None and scale != read_scale(node):
        set_window(node, pixels[0], scale)
    write_attributes(node, intrinsics, scale or read_scale(node), origins)
    transform = node.GetParentTransformNode()
    if transform is None or transform.GetAttribute(PART) != "Pose":
        transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", f"C-arm pose ({node.GetAttribute(_NAME)})")
        transform.SetAttribute(PART, "Pose")
    set_world_matrix(transform, matrix)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(image_to_camera(intrinsics)))
    node.SetAndObserveTransformNodeID(transform.GetID())
    frustum = node.GetNodeReference(_FRUSTUM_REFERENCE)
    if frustum is not None:
        update_frustum(frustum, intrinsics, color_of(node))
    nodes = nodes_of(node)
    assert nodes is not None
    add_to_folder(scene, [transform, node, nodes.frustum], nodes.folder)
    return nodes


def add_xray(scene: Any, xray: Xray, pose: ArrayLike, *, volume_node: Any = None, name: str | None = None) -> XrayNodes:
    """Add an X-ray at a pose (4, 4), camera -> RAS, mm; return its pose transform, frustum and one-slice volume.

    `volume_node` is the CT that the pose belongs to; the X-ray refers to it. `name` replaces the X-ray's own.
    """
    matrix = check_rigid(pose)
    known = xray.intrinsics.to_dict()
    node = add_pending_xray(scene, name or xray.name, xray.pixels, known, xray.origins, [], xray.scale, volume_node)
    return complete_xray(scene, node, xray.intrinsics, xray.origins, matrix)


def all_xrays_in(scene: Any, volume_node: Any = None) -> list[Any]:
    """Image nodes of all X-rays of a scene, also pending ones, in the order they were added; also those of a file.

    With `volume_node`, those that belong to this CT only.
    """
    count = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    nodes = (scene.GetNthNodeByClass(i, "vtkMRMLScalarVolumeNode") for i in range(count))
    found = [node for node in nodes if node.GetAttribute(_NAME) and node.GetImageData() is not None]
    return [node for node in found if volume_node is None or volume_node_of(node) is volume_node]


def xray_nodes_in(scene: Any, volume_node: Any = None) -> list[XrayNodes]:
    """All X-rays of a scene that have a pose, as `all_xrays_in`."""
    found = (nodes_of(node) for node in all_xrays_in(scene, volume_node))
    return [nodes for nodes in found if nodes is not None]


def nodes_of(node: Any) -> XrayNodes | None:
    """The nodes of the X-ray with this image node; None if it is pending, was not made here, or is gone.

    A frustum that somebody removed is made again.
    """
    scene, pose = node.GetScene(), node.GetParentTransformNode()
    name = node.GetAttribute(_NAME)
    if scene is None or scene.IsClosing() or not name or pose is None:
        return None
    try:
        intrinsics = read_intrinsics(node)
    except InputError:
        return None
    frustum = node.GetNodeReference(_FRUSTUM_REFERENCE)
    folder = folder_of(scene, node) or add_to_folder(scene, [node], name)
    if frustum is None:
        # While a file is read, the frustum may come after its image.
        if scene.IsBatchProcessing():
            return None
        frustum = add_frustum(scene, f"C-arm frustum ({name})", intrinsics, color_of(node), _played_frustum(node))
        frustum.SetAttribute(PART, "Frustum")
        node.SetNodeReferenceID(_FRUSTUM_REFERENCE, frustum.GetID())
        add_to_folder(scene, [frustum], folder)
    if frustum.GetParentTransformNode() is not pose:
        frustum.SetAndObserveTransformNodeID(pose.GetID())
    return XrayNodes(name, pose, frustum, node, folder)


def name_of(node: Any) -> str:
    """The name of an X-ray by its image node: the file's name, with a number if it was taken; empty for other nodes."""
    return node.GetAttribute(_NAME) or ""


def bundled(name: str) -> str:
    """A name without the characters that Slicer replaces, or forgets to, in the names of a bundle's files.

    These are those of the nodes: it would not find a sequence again, or not read the scene at all.
    """
    return re.sub(r"[^\w .,()+=@#-]", "_", name).strip(" .") or "X-ray"


def volume_node_of(xray_node: Any) -> Any:
    """The volume node that an X-ray was registered to; None if it was not said."""
    return xray_node.GetNodeReference(_VOLUME_REFERENCE)


def refer_to_volume(xray_node: Any, volume_node: Any) -> None:
    """Say to which CT an X-ray belongs; None for no one."""
    xray_node.SetNodeReferenceID(_VOLUME_REFERENCE, None if volume_node is None else volume_node.GetID())


def set_pose(nodes: XrayNodes, pose: ArrayLike) -> None:
    """Move the C-arm of an X-ray to a pose (4, 4), camera -> RAS, mm."""
    set_world_matrix(nodes.pose, check_rigid(pose))


def set_world_matrix(transform_node: Any, matrix: NDArray[np.float64]) -> None:
    """Set a linear transform so that with all its parents it is this matrix (4, 4), mm."""
    parent = transform_node.GetParentTransformNode()
    if parent is not None:
        matrix = np.linalg.inv(to_world(parent, transform_node.GetName())) @ matrix
    transform_node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))


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
    origins, mask = read_origins(xray_node), mask_of(xray_node)
    return Xray(name, array[0].copy(), intrinsics, read_scale(xray_node), origins=origins, mask=mask)


def set_mask(scene: Any, xray_node: Any, mask: NDArray[np.bool_] | None) -> None:
    """Keep which pixels (H, W) of an X-ray count as its file says, as a label map that is not shown; None for all."""
    remove_nodes(scene, [xray_node.GetNodeReference(_MASK_REFERENCE)])
    if mask is None or mask.all():
        return
    node = scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", f"Mask ({name_of(xray_node)})")
    node.SetHideFromEditors(True)
    node.SetAttribute(PART, "Mask")
    slicer.util.updateVolumeFromArray(node, mask[None].astype(np.uint8))
    xray_node.SetNodeReferenceID(_MASK_REFERENCE, node.GetID())


def mask_of(xray_node: Any) -> NDArray[np.bool_] | None:
    """(H, W) pixels of an X-ray that count as its file says; None for all, and where somebody removed the mask."""
    node = xray_node.GetNodeReference(_MASK_REFERENCE)
    image = voxels(xray_node)
    if node is None or node.GetImageData() is None or voxels(node).shape != image.shape:
        return None
    return np.asarray(voxels(node)[0] != 0)


def color_of(node: Any) -> Color:
    """The colour of an X-ray's frustum, by its image node."""
    number = node.GetAttribute(_COLOR) or "0"
    return _FRUSTUM_COLORS[int(number) % len(_FRUSTUM_COLORS) if number.isdecimal() else 0]


def _played_frustum(node: Any) -> Any:
    """What a run's browser has made instead of a frustum that somebody removed; None for all others."""
    browser, frusta = (node.GetNodeReference(PREFIX + part) for part in ("Browser", "Frusta"))
    return None if browser is None or frusta is None else browser.GetProxyNode(frusta)


def _standing(spacing: Any) -> NDArray[np.float64]:
    """IJK to RAS of an image without a pose: it stands upright with the true proportions, seen from the front."""
    dx, dy = spacing or (1.0, 1.0)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[-dx, 0, 0], [0, 0, -1.0], [0, -dy, 0]])
    return matrix


def set_window(node: Any, pixels: NDArray[Any], scale: Scale) -> None:
    """Dense structures are bright, as on a radiograph; the window leaves out extreme pixels, and air if it is bright."""
    if node.GetDisplayNode() is None:
        node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    low, high = (float(v) for v in np.percentile(pixels, [0.5, 90.0 if scale == "intensity" else 99.5]))
    display.SetAutoWindowLevel(False)
    display.SetWindowLevelMinMax(low, high if high > low else low + 1.0)
    grey = "InvertedGrey" if scale == "intensity" else "Grey"
    display.SetAndObserveColorNodeID(f"vtkMRMLColorTableNode{grey}")


def _unused_name(scene: Any, name: str) -> str:
    """The name as a bundle can hold it, with a number if an X-ray of the scene is called so already."""
    name = bundled(name)
    taken = {name_of(node) for node in all_xrays_in(scene)}
    candidates = (name if i == 1 else f"{name} {i}" for i in range(1, len(taken) + 2))
    return next(candidate for candidate in candidates if candidate not in taken)
