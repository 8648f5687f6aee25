"""What is shown over an X-ray in place of its DRR: one coloured picture in the scene, and the windows of X-ray and DRR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import slicer.util

from XVRegistrationLib.geometry.camera import image_to_camera
from XVRegistrationLib.scene.attributes import PREFIX, read_intrinsics, read_scale
from XVRegistrationLib.scene.hierarchy import remove_nodes
from XVRegistrationLib.scene.volumes import voxels
from XVRegistrationLib.scene.xrays import set_window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.scene.xrays import XrayNodes

_NAME = "X-ray and DRR compared"
_ATTRIBUTE = PREFIX + "Comparison"


def set_comparison(scene: Any, node: Any, nodes: XrayNodes, picture: NDArray[np.uint8]) -> Any:
    """Put a picture (h, w, 3) in the place of an X-ray into `node`, or with None into a new vtkMRMLVectorVolumeNode; return it.

    It is not saved with the scene and not offered for choice: it is made anew where it is wanted.
    """
    if node is None or node.GetScene() is not scene:
        node = slicer.vtkMRMLVectorVolumeNode()
        node.SetName(_NAME)
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        node.SetAttribute(_ATTRIBUTE, "true")
        node = scene.AddNode(node)
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(0, 255)
    was_modifying = node.StartModify()
    if node.GetTransformNodeID() != nodes.pose.GetID():
        node.SetAndObserveTransformNodeID(nodes.pose.GetID())
    camera = read_intrinsics(nodes.xray).resized((picture.shape[1], picture.shape[0]))
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(image_to_camera(camera)))
    now = slicer.util.arrayFromVolume(node) if node.GetImageData() is not None else None
    if now is not None and now.shape == (1, *picture.shape) and now.dtype == picture.dtype:
        now[0] = picture
        slicer.util.arrayFromVolumeModified(node)
    else:
        slicer.util.updateVolumeFromArray(node, picture[None])
    node.EndModify(was_modifying)
    return node


def remove_comparison(scene: Any, node: Any) -> None:
    """Remove the picture; None, or one that is gone, is no error."""
    remove_nodes(scene, [node])


def drr_of(xray_node: Any) -> Any:
    """The DRR's vtkMRMLScalarVolumeNode of an X-ray; None until one was rendered."""
    node = xray_node.GetNodeReference(PREFIX + "Drr")
    return None if node is None or node.GetImageData() is None else node


def window_of(volume_node: Any) -> tuple[float, float, bool]:
    """Which values are black and white, and whether the higher of them is black."""
    display = volume_node.GetDisplayNode()
    color = display.GetColorNodeID() or ""
    return float(display.GetWindowLevelMin()), float(display.GetWindowLevelMax()), "Inverted" in color


def set_window_level(volume_node: Any, window: float, level: float) -> None:
    """Show values from level - window / 2 to level + window / 2 between black and white."""
    display = volume_node.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    display.SetWindowLevel(window, level)


def usual_window(volume_node: Any) -> None:
    """Go back to the window that an X-ray, or its DRR, has at first."""
    pixels = voxels(volume_node)[0]
    if volume_node.GetAttribute(PREFIX + "Scale") is not None:
        set_window(volume_node, pixels, read_scale(volume_node))
        return
    low, high = (float(v) for v in np.percentile(pixels, [0.5, 99.5]))
    set_window_level(volume_node, max(high - low, 1e-6), (low + high) / 2)
