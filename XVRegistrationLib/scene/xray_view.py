"""The X-ray's own slice view: the image upright, the DRR blended over it, and its labels and targets only there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import slicer.util

from XVRegistrationLib.scene.attributes import PREFIX
from XVRegistrationLib.scene.ignored import rois_of
from XVRegistrationLib.scene.overlays import VIEW_REFERENCE
from XVRegistrationLib.scene.transforms import center_on_image, ijk_to_world, show_image_upright
from XVRegistrationLib.scene.xrays import XrayNodes, all_xrays_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_SHOWN = PREFIX + "Shown"
# Width and height of the view, px, and the image's IJK to RAS, row by row, when it was last turned.
_PLACE = PREFIX + "Place"
_NOWHERE = 1e5
"""mm, by which a view that shows nothing looks beside the patient, whose segments its plane cuts."""


def show_in_view(
    slice_node: Any,
    composite_node: Any,
    nodes: XrayNodes | Any,
    blend: float,
    labels: bool = True,
    outlines: bool = True,
    targets: bool = True,
    over: Any = None,
) -> None:
    """Show an X-ray, by its nodes or (a pending one) its image node, with what is drawn on it, in a slice view alone.

    `blend` is the opacity of the DRR over the X-ray, 0 to 1; `labels` fills the labels, `outlines` draws their edges;
    `over` is an image that is laid over the X-ray in place of its DRR. `targets` shows these and their ellipses; rectangles that do not count are always shown. Overlays of other X-rays that this view showed are hidden. What is not ours
    stays as the user has it.
    """
    image = _image_of(nodes)
    scene = slice_node.GetScene()
    if image.GetScene() is not scene:
        return
    drr = image.GetNodeReference(PREFIX + "Drr") if over is None else over
    composite_node.SetBackgroundVolumeID(image.GetID())
    composite_node.SetForegroundVolumeID(None if drr is None else drr.GetID())
    composite_node.SetForegroundOpacity(float(np.clip(blend, 0.0, 1.0)))
    for other in all_xrays_in(scene):
        if other is not image:
            _leave_view(other, slice_node)
    image.SetNodeReferenceID(VIEW_REFERENCE, slice_node.GetID())
    for part, display in _displays(image):
        display.SetViewNodeIDs([slice_node.GetID()])
        if part == "Labels":
            display.SetVisibility2DFill(labels)
            display.SetVisibility2DOutline(outlines)
        display.SetVisibility({"Labels": labels or outlines, "Targets": targets, "Ellipses": targets}.get(part, True))
    keep_upright(slice_node, image)


def keep_upright(slice_node: Any, nodes: XrayNodes | Any) -> None:
    """Turn the view to an X-ray again after its pose, its geometry or the view's size changed.

    Where the user has panned and zoomed to stays, unless another image is shown, or the view's or the pixels' size changed.
    """
    image = _image_of(nodes)
    width, height = slice_node.GetDimensions()[:2]
    if image.GetScene() is not slice_node.GetScene() or image.GetImageData() is None or not (width and height):
        return
    now = ijk_to_world(image)
    before = slice_node.GetAttribute(_PLACE) if slice_node.GetNodeReferenceID(_SHOWN) == image.GetID() else None
    old = np.array((before or "nan").split(), dtype=float)
    if len(old) == 18 and (old[0], old[1]) == (width, height) and _same_pixels(old[2:].reshape(4, 4), now):
        center = slicer.util.arrayFromVTKMatrix(slice_node.GetSliceToRAS())[:, 3]
        column, row = (np.linalg.inv(old[2:].reshape(4, 4)) @ center)[:2]
        center_on_image(slice_node, image, (float(column), float(row)))
    else:
        slice_node.SetNodeReferenceID(_SHOWN, image.GetID())
        show_image_upright(slice_node, image, (width, height))
    slice_node.SetAttribute(_PLACE, " ".join(repr(float(v)) for v in (width, height, *now.ravel())))


def _same_pixels(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    """Whether two IJK to RAS matrices have columns and rows of the same spacing."""
    return np.allclose(np.linalg.norm(a[:3, :2], axis=0), np.linalg.norm(b[:3, :2], axis=0))


def clear_view(slice_node: Any, composite_node: Any) -> None:
    """Show nothing in an X-ray view, nor what its plane cuts of the patient; overlays of X-rays that it showed are hidden."""
    composite_node.SetBackgroundVolumeID(None)
    composite_node.SetForegroundVolumeID(None)
    slice_node.SetNodeReferenceID(_SHOWN, None)
    to_ras = slice_node.GetSliceToRAS()
    for i in range(3):
        to_ras.SetElement(i, 3, _NOWHERE * to_ras.GetElement(i, 0))
    slice_node.UpdateMatrices()
    for image in all_xrays_in(slice_node.GetScene()):
        _leave_view(image, slice_node)


def _leave_view(image: Any, slice_node: Any) -> None:
    """Hide an X-ray's overlays unless they are confined to another view."""
    if image.GetNodeReferenceID(VIEW_REFERENCE) == slice_node.GetID():
        image.SetNodeReferenceID(VIEW_REFERENCE, None)
    for _, display in _displays(image):
        if not display.GetViewNodeIDs() or slice_node.GetID() in display.GetViewNodeIDs():
            display.SetViewNodeIDs([slice_node.GetID()])
            display.SetVisibility(False)


def _displays(image: Any) -> Iterator[tuple[str, Any]]:
    parts = [
        (part, image.GetNodeReference(PREFIX + part)) for part in ("Labels", "Targets", "Ellipses", "Marks", "Pick")
    ]
    for part, node in [*parts, *(("Ignored", roi) for roi in rois_of(image))]:
        display = None if node is None else node.GetDisplayNode()
        if display is not None:
            yield part, display


def _image_of(nodes: XrayNodes | Any) -> Any:
    return nodes.xray if isinstance(nodes, XrayNodes) else nodes
