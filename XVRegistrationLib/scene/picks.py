"""A point picked on an X-ray, one for each: to be found in space from two of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import image_to_camera, pixel_to_camera
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.scene.attributes import PREFIX, read_intrinsics
from XVRegistrationLib.scene.hierarchy import remove_nodes
from XVRegistrationLib.scene.landmarks import move_point, place_next
from XVRegistrationLib.scene.overlays import overlay
from XVRegistrationLib.scene.runs import item_of
from XVRegistrationLib.scene.sights import RAY_COLOR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.scene.xrays import XrayNodes

_PART = "Pick"
_ITEM = PREFIX + "Item"
_OFF_PLANE = 1.0  # mm


def make_pick(scene: Any, nodes: XrayNodes, pixel: tuple[float, float] | None = None) -> Any:
    """Pick a stored pixel (column, row) of an X-ray, or let the user's next click do so, in place of what was picked.

    Returns the vtkMRMLMarkupsFiducialNode, on the detector and in the X-ray's view alone. InputError where there are no views.
    """
    node = pick_node(nodes.xray)
    is_new = node is None
    node = overlay(scene, nodes, _PART, "vtkMRMLMarkupsFiducialNode", f"Picked ({nodes.name})")
    if is_new:
        display = node.GetDisplayNode()
        display.SetColor(*RAY_COLOR)
        display.SetSelectedColor(*RAY_COLOR)
        display.SetPointLabelsVisibility(False)
        display.SetPropertiesLabelVisibility(False)
    node.SetAttribute(_ITEM, str(item_of(nodes.xray)))
    if node.GetNumberOfControlPoints():
        node.RemoveAllControlPoints()
    if pixel is None:
        place_next(scene, node, "picked")
    else:
        node.AddControlPoint(*pixel_to_camera(np.array(pixel), read_intrinsics(nodes.xray)).tolist(), "picked")
    return node


def pick_node(xray_node: Any) -> Any:
    """vtkMRMLMarkupsFiducialNode of the point picked on an X-ray; None if nothing was."""
    return xray_node.GetNodeReference(PREFIX + _PART)


def pick_of(xray_node: Any) -> tuple[float, float] | None:
    """Stored (column, row) of what is picked on an X-ray; None if nothing is.

    InputError for a point that does not lie on the X-ray.
    """
    node = pick_node(xray_node)
    last = -1 if node is None else node.GetNumberOfControlPoints() - 1
    if last < 0 or node.GetNthControlPointPositionStatus(last) != node.PositionDefined:
        return None
    to_pixel = np.linalg.inv(image_to_camera(read_intrinsics(xray_node)))
    column, row, depth = transform_points(to_pixel, np.array(node.GetNthControlPointPosition(last)))
    if abs(depth) > _OFF_PLANE:
        raise InputError("That point does not lie on the X-ray: pick it in the X-ray's view.")
    return float(column), float(row)


def is_of_other_frame(xray_node: Any) -> bool:
    """Whether what is picked on a run is so on another frame than the one that is shown, where the thing may be elsewhere."""
    node = pick_node(xray_node)
    return node is not None and node.GetAttribute(_ITEM) != str(item_of(xray_node))


def keep_pick_at_pixel(xray_node: Any, motions: Sequence[NDArray[np.float64]]) -> None:
    """Move what is picked on an X-ray as the pixels of its frames moved: each motion is (4, 4), camera -> camera, mm."""
    node = pick_node(xray_node)
    item = ("" if node is None else node.GetAttribute(_ITEM)) or ""
    if item.isdecimal() and int(item) < len(motions):
        for i in range(node.GetNumberOfControlPoints()):
            move_point(node, i, motions[int(item)])


def remove_pick(scene: Any, xray_node: Any) -> None:
    """Remove what is picked on an X-ray."""
    remove_nodes(scene, [pick_node(xray_node)])
