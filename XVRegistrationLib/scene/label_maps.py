"""A segmentation as one label map on the grid of a volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import slicer.util
from vtk.util.numpy_support import vtk_to_numpy

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.scene.segments import segments_of
from XVRegistrationLib.scene.transforms import ijk_to_world, to_world

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.colors import Color

_BINARY_LABEL_MAP = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()


def label_map_of(
    segmentation_node: Any, volume_node: Any
) -> tuple[NDArray[np.uint16], NDArray[np.float64], dict[int, tuple[str, Color]]]:
    """Label map (K, J, I) of a segmentation on a volume's grid, its matrix (4, 4) IJK to RAS, mm, and its labels.

    Labels are 1, 2, ... in the order of the segments: value -> name and colour, only those with voxels on the grid. Where
    segments overlap, the smaller one is kept, so that a bone inside a body is not lost; the order does not matter.
    Raises InputError for a segmentation without voxels, or under a transform that is not linear.
    """
    segments = segments_of(segmentation_node)
    if not segments:
        raise InputError(f"The segmentation {segmentation_node.GetName()} is empty; choose one that has segments.")
    if not segmentation_node.CreateBinaryLabelmapRepresentation():
        raise InputError(f"The segmentation {segmentation_node.GetName()} cannot be turned into voxels.")
    grid = ijk_to_world(volume_node)
    parent = to_world(segmentation_node.GetParentTransformNode(), f"The segmentation {segmentation_node.GetName()}")
    reference = slicer.vtkOrientedImageData()
    reference.SetDimensions(volume_node.GetImageData().GetDimensions())
    reference.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(np.linalg.inv(parent) @ grid))
    values = {segment_id: value for value, (segment_id, _, _) in enumerate(segments, start=1)}
    layers = _layers(segmentation_node.GetSegmentation(), reference, values)
    # Most voxels are background: counting only the others takes a tenth of the time, which the user waits for.
    counts = np.sum([np.bincount(layer[layer > 0], minlength=len(segments) + 1) for layer in layers], axis=0)
    merged = layers[0] if len(layers) == 1 else _smallest_wins(layers, counts)
    labels = {value: segments[value - 1][1:] for value in range(1, len(counts)) if counts[value]}
    return merged, grid, labels


def content_of(segmentation_node: Any) -> tuple[Any, ...]:
    """What a segmentation holds, to be compared: names, when their voxels were changed last, and where they lie."""
    segmentation = segmentation_node.GetSegmentation()
    segments = [segmentation.GetNthSegment(i) for i in range(segmentation.GetNumberOfSegments())]
    images = [segment.GetRepresentation(_BINARY_LABEL_MAP) for segment in segments]
    found = [(s.GetName(), 0 if i is None else i.GetMTime()) for s, i in zip(segments, images, strict=True)]
    try:
        place = to_world(segmentation_node.GetParentTransformNode(), segmentation_node.GetName()).tobytes()
    except InputError:
        place = b""
    return tuple(found), place


def _layers(segmentation: Any, reference: Any, values: dict[str, int]) -> list[NDArray[np.uint16]]:
    """Each of the segmentation's images on the reference grid, with the values of the segments."""
    found = []
    for index in range(segmentation.GetNumberOfLayers(_BINARY_LABEL_MAP)):
        image = slicer.vtkOrientedImageData()
        slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
            segmentation.GetLayerDataObject(index, _BINARY_LABEL_MAP), reference, image, False, False
        )
        stored = _array(image, reference)
        ids = segmentation.GetSegmentIDsForLayer(index, _BINARY_LABEL_MAP)
        new_values = np.zeros(int(stored.max(initial=0)) + 1, np.uint16)
        for segment_id in ids:
            old = segmentation.GetSegment(segment_id).GetLabelValue()
            if old < len(new_values):
                new_values[old] = values[segment_id]
        layer = np.zeros(stored.shape, np.uint16)
        filled = stored > 0
        layer[filled] = new_values[stored[filled]]
        found.append(layer)
    return found


def _array(image: Any, reference: Any) -> NDArray[Any]:
    """Voxels (K, J, I) of an image, zero where it does not reach on the reference's grid."""
    shape = reference.GetDimensions()[::-1]
    i0, i1, j0, j1, k0, k1 = image.GetExtent()
    if image.GetPointData().GetScalars() is None or i1 < i0 or j1 < j0 or k1 < k0:
        return np.zeros(shape, np.uint8)
    stored = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(k1 - k0 + 1, j1 - j0 + 1, i1 - i0 + 1)
    if stored.shape == shape:
        return stored
    whole = np.zeros(shape, stored.dtype)
    whole[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1] = stored
    return whole


def _smallest_wins(layers: list[NDArray[np.uint16]], counts: NDArray[np.int64]) -> NDArray[np.uint16]:
    """One image of several: of all labels at a voxel, the one with the fewest voxels."""
    by_size = np.argsort(-counts[1:], kind="stable") + 1
    rank = np.zeros(len(counts), np.uint16)
    rank[by_size] = np.arange(1, len(counts))
    merged = rank[layers[0]]
    for layer in layers[1:]:
        np.maximum(merged, rank[layer], out=merged)
    return np.concatenate([[0], by_size]).astype(np.uint16)[merged]
