"""Slicer's .seg.nrrd files, against what their headers say."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.Python.unit.ct_series import masks
from Testing.Python.unit.packages import wheel
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.segmentation import Code
from XVRegistrationLib.imaging.segmentation_files import read_segmentation
from XVRegistrationLib.imaging.volume import read_volume

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def slicers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that Slicer wrote: a chest CT and segmentations of it."""
    folder = tmp_path_factory.mktemp("slicer")
    archive = wheel("slicerio==1.4.0", "ae3432ee06386bfe3b2e8d2d07940411fcbaefab8ed89a3853ee9c5ac19e296b")
    archive.extractall(folder, [name for name in archive.namelist() if name.endswith(".nrrd")])
    return folder / "slicerio/data"


def raw_nrrd(path: Path) -> tuple[dict[str, str], np.ndarray]:
    """Header and voxels, read as the format's description says."""
    header, data = path.read_bytes().split(b"\n\n", 1)
    fields = dict(
        line.replace(":=", ": ", 1).split(": ", 1)
        for line in header.decode().splitlines()[3:]
        if ": " in line or ":=" in line
    )
    sizes = [int(n) for n in fields["sizes"].split()]
    return fields, np.frombuffer(gzip.decompress(data), np.uint8).reshape(sizes[::-1])


@pytest.mark.parametrize("name", ["Segmentation.seg.nrrd", "SegmentationOverlapping.seg.nrrd"])
def test_slicers_segments_are_those_that_its_header_describes(slicers: Path, name: str) -> None:
    found = read_segmentation(slicers / name)
    fields, voxels = raw_nrrd(slicers / name)
    layers = [voxels] if voxels.ndim == 3 else list(np.moveaxis(voxels, -1, 0))
    assert len(found.layers) == len(layers)
    for n, segment in enumerate(found.segments):
        prefix = f"Segment{n}_"
        layer, label = int(fields[f"{prefix}Layer"]), int(fields[f"{prefix}LabelValue"])
        assert segment.name == fields[f"{prefix}Name"]
        assert segment.layer == layer
        np.testing.assert_array_equal(found.mask(segment.value), layers[layer] == label)
        assert found.mask(segment.value).any()
        np.testing.assert_allclose(segment.color or (), [float(c) for c in fields[f"{prefix}Color"].split()])
    assert len({s.value for s in found.segments}) == len(found.segments)
    assert f"Segment{len(found.segments)}_Name" not in fields
    ribs = found.segments[0]
    assert ribs.name == "ribs"
    assert ribs.terminology is not None
    assert ribs.terminology.type == Code("SCT", "113197003", "Rib")
    lung = next(s for s in found.segments if s.name == "right lung").terminology
    assert lung is not None
    assert lung.type_modifier == Code("SCT", "24028007", "Right")


def test_slicers_chest_ct_and_segments_lie_on_each_other(slicers: Path) -> None:
    volume, found = (
        read_volume(slicers / "CTChest4.nrrd"),
        read_segmentation(slicers / "SegmentationOverlapping.seg.nrrd"),
    )
    assert volume.array.min() >= -1024  # its padding is -3024
    assert any("Padding" in note for note in volume.notes)
    on_ct = found.on_grid(volume.array.shape, volume.ijk_to_ras)
    lung, spine = (
        float(np.median(volume.array[on_ct.mask(found.values([name])[0])]))
        for name in ("right lung", "thoracic vertebral column")
    )
    assert lung < -700
    assert spine > 100


def test_layers_whose_labels_clash_get_labels_of_their_own(tmp_path: Path) -> None:
    # As before Slicer 4.11: each segment in a layer of its own, with the label 1, and nothing said of it.
    layers = masks().astype(np.uint8)
    image = sitk.GetImageFromArray(layers, isVector=True)
    image.SetSpacing((1.5, 2.0, 2.5))
    for n, name in enumerate(("body", "rib")):
        image.SetMetaData(f"Segment{n}_ID", f"Segment_{n + 1}")
        image.SetMetaData(f"Segment{n}_Name", name)
        image.SetMetaData(f"Segment{n}_Color", "1 0.5 x" if n else "0.25 0.5 0.75")
    sitk.WriteImage(image, str(tmp_path / "old.seg.nrrd"))
    found = read_segmentation(tmp_path / "old.seg.nrrd")
    assert found.names == {1: "body", 2: "rib"}
    assert found.colors == {1: (0.25, 0.5, 0.75)}
    np.testing.assert_array_equal(np.stack([found.mask(1), found.mask(2)], axis=-1), masks())
    image.SetMetaData("Segment1_Layer", "7")
    sitk.WriteImage(image, str(tmp_path / "bad.seg.nrrd"))
    with pytest.raises(InputError, match="layers that it does not hold"):
        read_segmentation(tmp_path / "bad.seg.nrrd")
