"""Segmentations that Slicer itself writes, read without it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import slicer

from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.imaging.segmentation import Code
from XVRegistrationLib.imaging.segmentation_files import read_segmentation
from XVRegistrationLib.scene.segments import Layer, add_layers, new_segmentation
from XVRegistrationLib.scene.volumes import add_volume

if TYPE_CHECKING:
    from pathlib import Path

    from XVRegistrationLib.imaging.volume import Volume

_RIB = "Segmentation category and type~SCT^123037004^Anatomical Structure~SCT^113197003^Rib~SCT^7771000^Left~Anatomic codes~SCT^51185008^Thorax~^^"


def written(scene: Any, ct: Volume, path: Path, overlapping: bool) -> np.ndarray:
    """A bone in a body on the CT's oblique grid, saved by Slicer; their masks (2, K, J, I)."""
    body = np.zeros(ct.array.shape, bool)
    body[3:-4, 5:-3, 4:-6] = True
    bone = np.zeros_like(body)
    bone[5:9, 8:12, 7:11] = True
    if not overlapping:
        body &= ~bone
    colors = (0.25, 0.5, 0.75), (1.0, 0.0, 0.5)
    node = new_segmentation(scene, "seg")
    node.SetReferenceImageGeometryParameterFromVolumeNode(add_volume(scene, ct))
    layers = [
        Layer(mask.astype(np.uint8) * n, ct.ijk_to_ras, {n: (name, color)})
        for n, (mask, name, color) in enumerate(zip((body, bone), ("body", "left rib"), colors, strict=True), start=1)
    ]
    add_layers(node, layers)
    segment = node.GetSegmentation().GetNthSegment(1)
    segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), _RIB)
    node.AddDefaultStorageNode()
    if not overlapping:
        node.GetSegmentation().CollapseBinaryLabelmaps(False)
    storage = node.GetStorageNode()
    storage.SetFileName(str(path))
    assert storage.WriteData(node)
    return np.stack([body, bone])


@pytest.mark.parametrize("overlapping", [True, False])
def test_slicers_own_file_has_its_segments_at_their_places(
    scene: Any, ct: Volume, tmp_path: Path, overlapping: bool
) -> None:
    masks = written(scene, ct, tmp_path / "s.seg.nrrd", overlapping)
    found = read_segmentation(tmp_path / "s.seg.nrrd")
    assert [s.name for s in found.segments] == ["body", "left rib"]
    assert len(found.layers) == (2 if overlapping else 1)
    np.testing.assert_allclose([s.color for s in found.segments], [(0.25, 0.5, 0.75), (1.0, 0.0, 0.5)], atol=1e-4)
    terminology = found.segments[1].terminology
    assert terminology is not None
    assert terminology.type == Code("SCT", "113197003", "Rib")
    assert terminology.type_modifier == Code("SCT", "7771000", "Left")
    assert terminology.region == Code("SCT", "51185008", "Thorax")
    on_ct = found.on_grid(ct.array.shape, ct.ijk_to_ras)
    for segment, mask in zip(found.segments, masks, strict=True):
        np.testing.assert_array_equal(on_ct.mask(segment.value), mask)
        expected = transform_points(ct.ijk_to_ras, np.argwhere(mask)[:, ::-1])
        np.testing.assert_allclose(found.points([segment.value]).mean(axis=0), expected.mean(axis=0), atol=1e-3)
