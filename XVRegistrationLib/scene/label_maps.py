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
    from collections.abc import Generator, Iterator

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.colors import Color

_BINARY_LABEL_MAP = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()


Made = tuple["NDArray[np.uint16]", "NDArray[np.float64]", "dict[int, tuple[str, Color]]"]
"""Label map (K, J, I), its matrix (4, 4) IJK to RAS, mm, and value -> name and colour."""

_SLAB = 1 << 22  # voxels that are counted or given their values at once: some 10 ms


def label_map_of(segmentation_node: Any, volume_node: Any) -> Made:
    """What `label_map_in_steps` makes, at once."""
    *_steps, made = label_map_in_steps(segmentation_node, volume_node)
    assert made is not None
    return made


def label_map_in_steps(segmentation_node: Any, volume_node: Any) -> Iterator[Made | None]:
    """Label map (K, J, I) of a segmentation on a volume's grid, its matrix (4, 4) IJK to RAS, mm, and its labels.

    A large one takes half a second; each step takes a part of it, the resampling of one image at most, so that a window can
    live between them, and yields None, the last one what was made. From the first step on the segmentation has label maps.
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
    # Looked at now: between the steps the user may add and remove segments.
    images = _images(segmentation_node.GetSegmentation(), values)
    layers, counts = [], np.zeros(len(segments) + 1, np.int64)
    for image, value_of in images:
        yield None
        stored = _on_grid(image, reference)
        new_values = np.zeros(max(*value_of, int(stored.max(initial=0))) + 1, np.uint16)
        new_values[list(value_of)] = list(value_of.values())
        layers.append(np.zeros(stored.shape, np.uint16))
        for part in _slabs(stored):
            yield None
            # Most voxels are background: looking at only the others takes a tenth of the time.
            filled = stored[part] > 0
            found = new_values[stored[part][filled]]
            layers[-1][part][filled] = found
            counts += np.bincount(found, minlength=len(counts))
    counts[0] = 0
    merged = layers[0] if len(layers) == 1 else (yield from _smallest_wins(layers, counts))
    labels = {value: segments[value - 1][1:] for value in range(1, len(counts)) if counts[value]}
    yield merged, grid, labels


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


def _images(segmentation: Any, values: dict[str, int]) -> list[tuple[Any, dict[int, int]]]:
    """The segmentation's images, and of each the segments' values by the numbers that stand in it."""
    found = []
    for index in range(segmentation.GetNumberOfLayers(_BINARY_LABEL_MAP)):
        ids = segmentation.GetSegmentIDsForLayer(index, _BINARY_LABEL_MAP)
        value_of = {int(segmentation.GetSegment(segment_id).GetLabelValue()): values[segment_id] for segment_id in ids}
        found.append((segmentation.GetLayerDataObject(index, _BINARY_LABEL_MAP), {0: 0} | value_of))
    return found


def _on_grid(image: Any, reference: Any) -> NDArray[Any]:
    """Voxels (K, J, I) of an image on the reference grid."""
    there = slicer.vtkOrientedImageData()
    resample = slicer.vtkOrientedImageDataResample
    resample.ResampleOrientedImageToReferenceOrientedImage(image, reference, there, False, False)
    return _array(there, reference)


def _slabs(array: NDArray[Any]) -> list[slice]:
    """The image's slices, some at a time."""
    depth = max(1, _SLAB // max(1, array[:1].size))
    return [slice(k, k + depth) for k in range(0, len(array), depth)]


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


def _smallest_wins(
    layers: list[NDArray[np.uint16]], counts: NDArray[np.int64]
) -> Generator[None, None, NDArray[np.uint16]]:
    """One image of several: of all labels at a voxel, the one with the fewest voxels."""
    by_size = np.argsort(-counts[1:], kind="stable") + 1
    rank = np.zeros(len(counts), np.uint16)
    rank[by_size] = np.arange(1, len(counts))
    of_rank = np.concatenate([[0], by_size]).astype(np.uint16)
    merged = np.empty_like(layers[0])
    for part in _slabs(merged):
        yield None
        merged[part] = of_rank[np.max([rank[layer[part]] for layer in layers], axis=0)]
    return merged
