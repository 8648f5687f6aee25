"""Segments: their colours, their voxels in shared layers, and surfaces of those shown in 3D."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import slicer.util
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from XVRegistrationLib.errors import check_names
from XVRegistrationLib.imaging.segmentation import Terminology

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.colors import Color

_BINARY_LABEL_MAP = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()


@dataclass(frozen=True, eq=False)
class Layer:
    """Voxels of segments that do not overlap, in one image."""

    array: NDArray[Any]
    """(K, J, I) label values; 0 is background."""
    ijk_to_parent: NDArray[np.float64]
    """(4, 4), mm: voxel indices to the segmentation node's own space."""
    segments: dict[int, tuple[str, Color]]
    """Label value -> name and colour."""


def new_segmentation(scene: Any, name: str) -> Any:
    """An empty vtkMRMLSegmentationNode made of binary label maps, with its display node."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.GetSegmentation().SetSourceRepresentationName(_BINARY_LABEL_MAP)
    node.CreateDefaultDisplayNodes()
    return node


def make_of_label_maps(node: Any) -> None:
    """Say that a segmentation without segments is made of binary label maps, as all of this package's are."""
    if node.GetSegmentation().GetNumberOfSegments() == 0:
        node.GetSegmentation().SetSourceRepresentationName(_BINARY_LABEL_MAP)


def add_layers(node: Any, layers: Iterable[Layer]) -> None:
    """Add the segments of layers to a vtkMRMLSegmentationNode, by label value; those of a layer share its image."""
    segmentation = node.GetSegmentation()
    was_modifying = node.StartModify()
    for value, name, color, image in _segments_of_layers(layers):
        segment = slicer.vtkSegment()
        segment.SetName(name)
        _fill(segment, value, color, image)
        segmentation.AddSegment(segment, segmentation.GenerateUniqueSegmentID(name))
    node.EndModify(was_modifying)


def replace_layers(node: Any, layers: Iterable[Layer]) -> None:
    """As `add_layers`, but segments of the same names are refilled, with their IDs and display, and all others removed."""
    segmentation = node.GetSegmentation()
    present: dict[str, list[str]] = {}
    for segment_id in segmentation.GetSegmentIDs():
        present.setdefault(segmentation.GetSegment(segment_id).GetName(), []).append(segment_id)
    was_modifying = node.StartModify()
    # Surfaces of the old voxels, if somebody made any.
    segmentation.InvalidateNonSourceRepresentations()
    for value, name, color, image in _segments_of_layers(layers):
        if present.get(name):
            _fill(segmentation.GetSegment(present[name].pop(0)), value, color, image)
        else:
            segment = slicer.vtkSegment()
            segment.SetName(name)
            _fill(segment, value, color, image)
            segmentation.AddSegment(segment, segmentation.GenerateUniqueSegmentID(name))
    for segment_id in [i for left in present.values() for i in left]:
        segmentation.RemoveSegment(segment_id)
    node.EndModify(was_modifying)


def copy_terminology(source_node: Any, node: Any) -> None:
    """Give segments the terminology of the segments of the same name in another segmentation."""
    tag = slicer.vtkSegment.GetTerminologyEntryTagName()
    source, segmentation = source_node.GetSegmentation(), node.GetSegmentation()
    for segment_id in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segment_id)
        original = source.GetSegment(source.GetSegmentIdBySegmentName(segment.GetName()))
        text = vtk.reference("")
        if original is not None and original.GetTag(tag, text):
            segment.SetTag(tag, str(text))


def set_terminology(node: Any, of: Mapping[str, Terminology]) -> None:
    """Say what segments are, by name; `terminology_of` is the inverse."""
    segmentation = node.GetSegmentation()
    for segment_id in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segment_id)
        if segment.GetName() in of:
            segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), of[segment.GetName()].entry)


def terminology_of(segment: Any) -> Terminology | None:
    """What a vtkSegment is by Slicer's tag; None where it has none."""
    text = vtk.reference("")
    found = segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), text)
    return Terminology.of_entry(str(text)) if found else None


def segments_of(node: Any) -> list[tuple[str, str, Color]]:
    """ID, name and colour of a segmentation's segments, in their order."""
    segmentation = node.GetSegmentation()
    segments = [(segment_id, segmentation.GetSegment(segment_id)) for segment_id in segmentation.GetSegmentIDs()]
    return [(segment_id, segment.GetName(), tuple(segment.GetColor())) for segment_id, segment in segments]


def segment_ids(node: Any, names: Iterable[str]) -> list[str]:
    """IDs of a segmentation node's segments by name, in the order given; InputError for a name that is not there."""
    segmentation = node.GetSegmentation()
    ids = {name: segmentation.GetSegmentIdBySegmentName(name) for name in names}
    there = [name for _, name, _ in segments_of(node)]
    check_names(ids, there, f"The segmentation {node.GetName()} has no segment named")
    return list(ids.values())


def show_surfaces(node: Any, names: Iterable[str]) -> None:
    """Show these segments, and no others, as surfaces in 3D views; makes the surfaces of all segments if need be."""
    shown = set(segment_ids(node, names))
    node.CreateClosedSurfaceRepresentation()
    display = node.GetDisplayNode()
    was_modifying = display.StartModify()
    for segment_id in node.GetSegmentation().GetSegmentIDs():
        display.SetSegmentVisibility3D(segment_id, segment_id in shown)
    display.EndModify(was_modifying)


def hide_segments(node: Any, names: Collection[str]) -> None:
    """Draw all segments but those of these names in slice views."""
    display = node.GetDisplayNode()
    if display is None:
        return
    was_modifying = display.StartModify()
    for segment_id, name, _color in segments_of(node):
        if display.GetSegmentVisibility(segment_id) == (name in names):
            display.SetSegmentVisibility(segment_id, name not in names)
    display.EndModify(was_modifying)


def layers_of_masks(
    masks: Iterable[tuple[str, Color, NDArray[np.bool_]]], ijk_to_parent: NDArray[np.float64]
) -> list[Layer]:
    """Put (name, colour, mask (H, W)) that may overlap into as few one-slice layers as comes easily.

    The label values are 1, 2, ... in the order given, over all layers.
    """
    layers: list[Layer] = []
    for value, (name, color, mask) in enumerate(masks, start=1):
        layer = next((x for x in layers if not x.array[0][mask].any()), None)
        if layer is None:
            layer = Layer(np.zeros((1, *mask.shape), np.uint16), ijk_to_parent, {})
            layers.append(layer)
        layer.array[0][mask] = value
        layer.segments[value] = name, color
    return layers


def _segments_of_layers(layers: Iterable[Layer]) -> list[tuple[int, str, Color, Any]]:
    """Label value, name, colour and image of each segment, by label value."""
    images = [(_oriented_image(layer), layer) for layer in layers]
    segments = [(value, *look, image) for image, layer in images for value, look in layer.segments.items()]
    return sorted(segments, key=lambda segment: segment[0])


def _fill(segment: Any, value: int, color: Color, image: Any) -> None:
    segment.SetColor(*color)
    segment.SetLabelValue(value)
    segment.AddRepresentation(_BINARY_LABEL_MAP, image)


def _oriented_image(layer: Layer) -> Any:
    """vtkOrientedImageData of the box around what is not background."""
    filled = layer.array != 0
    box = [np.flatnonzero(filled.any(axis=tuple(a for a in range(3) if a != axis))) for axis in (2, 1, 0)]
    (i0, i1), (j0, j1), (k0, k1) = ((b[0], b[-1]) if len(b) else (0, 0) for b in box)
    cropped = np.ascontiguousarray(layer.array[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1])
    image = slicer.vtkOrientedImageData()
    image.SetExtent(int(i0), int(i1), int(j0), int(j1), int(k0), int(k1))
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(layer.ijk_to_parent))
    image.GetPointData().SetScalars(numpy_to_vtk(cropped.ravel(), deep=True))
    return image
