"""Rectangles of an X-ray that do not count, such as burned-in text: flat regions of interest on it, which the user can drag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import image_to_camera
from XVRegistrationLib.imaging.markers import ignored
from XVRegistrationLib.scene.attributes import PREFIX, read_intrinsics
from XVRegistrationLib.scene.hierarchy import add_to_folder, remove_nodes
from XVRegistrationLib.scene.volumes import voxels
from XVRegistrationLib.scene.xrays import PART, mask_of, name_of, nodes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Rectangle = tuple[float, float, float, float]
"""Column and row of the first pixel, number of columns and of rows; px as stored, as `--ignore` takes them."""

_REFERENCE = PREFIX + "Ignored"
_COLOR = (0.84, 0.37, 0.0)  # as the steps are drawn
_DEPTH = 2.0  # mm, along the central ray, so that the X-ray's plane lies within
_SMALLEST = 0.5  # px
_LEAST_LEFT = 0.02  # of the image
_DIGITS = 3


def rectangles_of(node: Any) -> list[Rectangle]:
    """The rectangles of an X-ray, by its image node, clipped to it; those that were dragged off it are left out."""
    if nodes_of(node) is None:
        return []
    intrinsics = read_intrinsics(node)
    to_pixel, (width, height) = np.linalg.inv(image_to_camera(intrinsics)), intrinsics.size
    found = []
    for roi in rois_of(node):
        center, half = np.array(roi.GetCenter()), np.array(roi.GetSize()) / 2
        corners = np.array([[*(center - half), 1.0], [*(center + half), 1.0]])
        # The plane is at a pixel's third index 0, whatever the depth of the box.
        ends = np.round(np.sort((corners @ to_pixel.T)[:, :2] + 0.5, axis=0), _DIGITS)
        low, high = np.clip(ends, 0.0, [width, height])
        if (high - low).min() >= _SMALLEST:
            found.append((float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])))
    return found


def set_rectangles(node: Any, rectangles: Sequence[Sequence[float]]) -> None:
    """Let these rectangles of an X-ray not count, and no others; InputError for one that is empty or beside the image.

    Their nodes lie under the C-arm pose, so that they stay on the image wherever that goes.
    """
    nodes = nodes_of(node)
    if nodes is None:
        raise InputError(f"{name_of(node)} has no place in the scene yet; enter its geometry first.")
    ignored(voxels(node).shape[1:], rectangles, name_of(node))
    scene = node.GetScene()
    remove_nodes(scene, rois_of(node))
    node.RemoveNodeReferenceIDs(_REFERENCE)
    for number, rectangle in enumerate(rectangles):
        roi = _add(nodes, rectangle, number + 1)
        node.AddNodeReferenceID(_REFERENCE, roi.GetID())
        add_to_folder(scene, [roi], nodes.folder)


def counting_of(node: Any) -> NDArray[np.bool_] | None:
    """(H, W) pixels of an X-ray that count as its file and the rectangles say; None for all. InputError where none is left."""
    mask = mask_of(node)
    outside = ignored(voxels(node).shape[1:], rectangles_of(node), name_of(node))
    if outside is None:
        return mask
    counting = outside if mask is None else mask & outside
    if counting.mean() < _LEAST_LEFT:
        raise InputError(f"The rectangles on {name_of(node)} leave nothing of it; make them smaller.")
    return counting


def pixels_of(node: Any) -> dict[str, NDArray[Any]]:
    """An X-ray as the engine asks for it: "pixels" (H, W) and, where not all of them count, "mask" (H, W) uint8.

    InputError where the rectangles leave none.
    """
    arrays: dict[str, NDArray[Any]] = {"pixels": voxels(node)[0].copy()}
    mask = counting_of(node)
    return arrays if mask is None else {**arrays, "mask": mask.astype(np.uint8)}


def rois_of(node: Any) -> list[Any]:
    """The vtkMRMLMarkupsROINode of each rectangle of an X-ray, by its image node."""
    count = node.GetNumberOfNodeReferences(_REFERENCE)
    found = (node.GetNthNodeReference(_REFERENCE, i) for i in range(count))
    return [roi for roi in found if roi is not None]


def _add(nodes: Any, rectangle: Sequence[float], number: int) -> Any:
    """A new vtkMRMLMarkupsROINode on a rectangle."""
    x, y, w, h = rectangle
    scene, intrinsics = nodes.xray.GetScene(), read_intrinsics(nodes.xray)
    roi = scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", f"Ignored {number} ({nodes.name})")
    roi.SetAttribute(PART, "Ignored")
    roi.SetROIType(slicer.vtkMRMLMarkupsROINode.ROITypeBox)
    center = image_to_camera(intrinsics) @ [x + w / 2 - 0.5, y + h / 2 - 0.5, 0.0, 1.0]
    dx, dy = intrinsics.spacing
    roi.SetAndObserveTransformNodeID(nodes.pose.GetID())
    roi.SetSize(w * dx, h * dy, _DEPTH)
    roi.SetCenter(*center[:3])
    roi.CreateDefaultDisplayNodes()
    display = roi.GetDisplayNode()
    display.SetColor(*_COLOR)
    display.SetSelectedColor(*_COLOR)
    display.SetFillOpacity(0.25)
    display.SetPropertiesLabelVisibility(False)
    display.SetHandlesInteractive(True)
    display.SetTranslationHandleVisibility(True)
    display.SetScaleHandleVisibility(True)
    display.SetRotationHandleVisibility(False)
    return roi
