"""Volumes and label maps, to MRML nodes and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import slicer
import slicer.util

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.colors import color_of_label
from XVRegistrationLib.imaging.segmentation import Segmentation, of_label_map
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.scene.hierarchy import add_to_folder
from XVRegistrationLib.scene.segments import Layer, add_layers, new_segmentation, set_terminology, show_surfaces
from XVRegistrationLib.scene.transforms import ijk_to_world

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.colors import Color
    from XVRegistrationLib.imaging.volume import LabelMap

# Window and level, HU, in which both soft tissue and bone can be told apart.
_CT_WINDOW, _CT_LEVEL = 1000.0, 300.0
# A volume that reaches from air to bone is taken for a CT.
_AIR_HU, _BONE_HU = -500, 200


def add_volume(scene: Any, volume: Volume) -> Any:
    """Add a volume to the scene as a vtkMRMLScalarVolumeNode; a CT gets a window for soft tissue and bone."""
    node = add_scalar_node(scene, volume.name, volume.array, volume.ijk_to_ras)
    if volume.array.min() < _AIR_HU and volume.array.max() > _BONE_HU:
        node.GetDisplayNode().SetAutoWindowLevel(False)
        node.GetDisplayNode().SetWindowLevel(_CT_WINDOW, _CT_LEVEL)
    add_to_folder(scene, [node], None)
    return node


def add_scalar_node(scene: Any, name: str, array: NDArray[Any], ijk_to_parent: NDArray[np.float64]) -> Any:
    """Add a vtkMRMLScalarVolumeNode of an array (K, J, I) with its display node; the voxels are copied."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(np.asarray(ijk_to_parent, dtype=np.float64)))
    slicer.util.updateVolumeFromArray(node, _as_slicer_stores(array))
    node.CreateDefaultDisplayNodes()
    return node


def update_voxels(node: Any, array: NDArray[Any]) -> None:
    """Replace the voxels (K, J, I) of a scalar volume node, without a new image where shape and type are the same."""
    stored = _as_slicer_stores(array)
    image = node.GetImageData()
    if image is not None and image.GetPointData().GetScalars() is not None:
        present = slicer.util.arrayFromVolume(node)
        if (present.shape, present.dtype) == (stored.shape, stored.dtype):
            present[...] = stored
            slicer.util.arrayFromVolumeModified(node)
            return
    slicer.util.updateVolumeFromArray(node, stored)


def volume_from_node(node: Any) -> Volume:
    """The volume of a scalar volume node, its linear parent transforms applied to `ijk_to_ras`; voxels are copied.

    Raises InputError for a node without voxels, with colour, with one slice, or under a transform that is not linear.
    """
    return Volume(voxels(node).copy(), ijk_to_world(node), name=node.GetName())


def voxels(node: Any) -> NDArray[Any]:
    """Voxels (K, J, I) of a scalar volume node, shared with it; InputError if it has none, or colour."""
    image = node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None:
        raise InputError(f"The volume {node.GetName()} has no voxels; load it again, or choose another.")
    if image.GetNumberOfScalarComponents() != 1:
        raise InputError(f"The volume {node.GetName()} has colour or several values a voxel; choose a scalar volume.")
    return slicer.util.arrayFromVolume(node)


def add_segmentation(
    scene: Any,
    labels: LabelMap | Segmentation,
    reference_node: Any = None,
    colors: dict[int, Color] | None = None,
    *,
    name: str = "Segmentation",
    show_in_3d: Iterable[str] = (),
) -> Any:
    """Add structures to the scene as a vtkMRMLSegmentationNode, an image for each layer.

    `reference_node` is the volume that the labels belong to. Labels without a colour of their own, in `colors` or the
    segmentation, get one that depends on the label value only. Structures named in `show_in_3d` appear as surfaces in 3D views, which takes seconds.
    """
    found = labels if isinstance(labels, Segmentation) else of_label_map(labels)
    own = {**found.colors, **(colors or {})}
    node = new_segmentation(scene, name)
    if reference_node is not None:
        node.SetReferenceImageGeometryParameterFromVolumeNode(reference_node)
    layers = []
    for array in found.layers:
        present = [int(value) for value in np.unique(array) if value != 0]
        segments = {v: (found.names.get(v, f"label {v}"), own.get(v) or color_of_label(v)) for v in present}
        layers.append(Layer(_as_slicer_stores(array), found.ijk_to_ras, segments))
    add_layers(node, layers)
    set_terminology(node, {s.name: s.terminology for s in found.segments if s.terminology is not None})
    shown = list(show_in_3d)
    if shown:
        show_surfaces(node, shown)
    add_to_folder(scene, [node], None)
    return node


def _as_slicer_stores(array: NDArray[Any]) -> NDArray[Any]:
    """The same values in a type that Slicer stores and draws: no booleans, half floats or 64-bit integers."""
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype in (np.int64, np.uint64):
        small = array.size == 0 or (array.min() >= -(2**31) and array.max() < 2**31)
        return array.astype(np.int32 if small else np.float64)
    # VTK knows no other byte order than the machine's.
    return array.astype(array.dtype.newbyteorder("="), copy=False)
