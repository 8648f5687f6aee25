"""What a volume is taken for."""

from __future__ import annotations

import numpy as np
import pytest

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.describe import describe
from XVRegistrationLib.imaging.volume import Volume, read_volume, write_volume


def volume_of(array, spacing=(3.0, 3.0, 3.0)) -> Volume:
    return Volume(np.asarray(array), np.diag([*spacing, 1.0]))


def test_a_ct_is_one_in_every_type(phantom):
    for dtype in (np.int16, np.int32, np.float32, np.float64):
        found = describe(Volume(phantom.array.astype(dtype), phantom.ijk_to_ras))
        assert (found.kind, found.ok) == ("CT", True)
        assert "HU" in found.sentence


def test_a_ct_with_padding_that_is_not_a_number_is_one(phantom):
    array = phantom.array.astype(np.float32)
    array[:, :5] = np.nan
    assert describe(volume_of(array)).ok


@pytest.mark.parametrize("offset", [1024, 1000])
def test_a_ct_with_its_offset_is_told_how_to_become_one(phantom, offset):
    found = describe(volume_of((phantom.array.astype(np.int32) + offset).astype(np.uint16)))
    assert (found.kind, found.ok) == ("CT without offset", False)
    assert "to have Hounsfield units" in found.sentence


def test_what_is_not_a_ct_is_said_to_be_none(phantom):
    rng = np.random.default_rng(0)
    shape = phantom.array.shape
    labels = (phantom.array > 300).astype(np.uint8) * 5
    for array, kind in [
        (labels, "labels"),
        (rng.gamma(2.0, 200.0, shape).astype(np.float32), "unknown"),  # like MR
        (rng.uniform(0, 1, shape), "unknown"),
        (np.zeros(shape, np.int16), "unknown"),
        (np.full(shape, np.nan), "unknown"),
    ]:
        found = describe(volume_of(array))
        assert (found.kind, found.ok) == (kind, False)
        assert found.sentence.endswith(".")


def test_sizes_that_are_unusual_are_pointed_out(phantom):
    assert "check the voxel spacing" in describe(volume_of(phantom.array, (0.1, 0.1, 0.1))).sentence
    assert "8.0 mm long" in describe(volume_of(phantom.array, (3, 3, 8))).sentence


def test_a_written_volume_is_read_back_at_its_place(phantom, tmp_path):
    for name in ("a.nrrd", "b.nii.gz", "c.mha"):
        write_volume(tmp_path / name, phantom)
        back = read_volume(tmp_path / name)
        assert back.fingerprint == phantom.fingerprint
        assert np.allclose(back.ijk_to_ras, phantom.ijk_to_ras, atol=1e-3)
    with pytest.raises(InputError, match="cannot be written"):
        write_volume(tmp_path / "a.xyz", phantom)
    assert not list(tmp_path.glob(".part*"))
