"""Stored values of CT slices to Hounsfield units: rescale, compressions, padding, damage, and what is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest

from Testing.Python.unit.ct_series import HEIGHTS, along_normal, ct_slice, hu, save, write_stack
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.volume import Volume, read_volume
from XVRegistrationLib.imaging.volumes.reading import Reading

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({"RescaleIntercept": -1024, "BitsStored": 12}, np.int16),
        ({"RescaleIntercept": -1024}, np.int16),
        ({"RescaleSlope": 0.5, "RescaleIntercept": -900.25}, np.float32),
    ],
)
def test_stored_values_become_hounsfield_units(tmp_path: Path, tags: dict[str, float], kind: type) -> None:
    stored = np.random.default_rng(0).integers(0, 2300, (8, 12, 14)).astype(np.uint16)
    carried = stored | np.uint16(0xA000) if tags.get("BitsStored") == 12 else stored  # overlays above the stored bits
    write_stack(tmp_path, carried, along_normal(HEIGHTS), **tags)
    volume = read_volume(tmp_path)
    expected = stored.astype(float) * tags.get("RescaleSlope", 1) + tags["RescaleIntercept"]
    np.testing.assert_allclose(volume.array, expected)
    assert volume.array.dtype == kind


def test_a_folder_gives_its_whole_name(tmp_path: Path) -> None:
    write_stack(tmp_path / "CT 1.25 mm", hu(), along_normal(HEIGHTS))
    assert read_volume(tmp_path / "CT 1.25 mm").name == "CT 1.25 mm"


def test_each_slice_has_its_own_rescale(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 2000, (8, 12, 14)).astype(np.uint16)
    for k, position in enumerate(along_normal(HEIGHTS)):
        save(ct_slice(stored[k], position, k, RescaleSlope=1 + k, RescaleIntercept=-1000 - k), tmp_path / f"{k}.dcm")
    scale, shift = (np.arange(8).reshape(-1, 1, 1) + first for first in (1, 1000))
    np.testing.assert_array_equal(read_volume(tmp_path).array, stored * scale - shift)


@pytest.mark.parametrize("syntax", ["DeflatedExplicitVRLittleEndian", "ExplicitVRBigEndian"])
def test_transfer_syntaxes_hold_the_same_voxels(tmp_path: Path, syntax: str) -> None:
    uid = getattr(pydicom.uid, syntax)
    stored = (hu() + 1024).astype(np.uint16)
    for k, position in enumerate(along_normal(HEIGHTS)):
        d = ct_slice(stored[k], position, k, RescaleIntercept=-1024)
        d.file_meta.TransferSyntaxUID = uid
        if not uid.is_little_endian:
            d["PixelData"].value = stored[k].astype(">u2").tobytes()
        save(d, tmp_path / f"{k}.dcm")
    np.testing.assert_array_equal(read_volume(tmp_path).array, hu())


@pytest.mark.parametrize("value", [-2000, 63536, -3024])
def test_padding_becomes_air(tmp_path: Path, value: int) -> None:
    array = hu()
    stored = array.copy()
    stored[:, :3] = value if value < 2**15 else value - 2**16
    for k, position in enumerate(along_normal(HEIGHTS)):
        d = ct_slice(stored[k], position, k)
        if value != -3024:  # said by no tag
            d.add_new("PixelPaddingValue", "US" if value > 0 else "SS", value)
        save(d, tmp_path / f"{k}.dcm")
    array[:, :3] = -1000
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, array)
    assert any("Padding" in note for note in volume.notes)
    # Whoever hands over the stored voxels, as Slicer does, means the same volume.
    assert Volume(stored, volume.ijk_to_ras).fingerprint == volume.fingerprint


@pytest.mark.parametrize("signed_first", [True, False])
def test_padding_has_the_sign_of_its_own_series(tmp_path: Path, signed_first: bool) -> None:
    array = hu()
    padded = array.copy()
    padded[:, :3] = -2000
    expected = np.where(padded == -2000, -1000, padded)
    for number, signed in enumerate((signed_first, not signed_first), start=1):
        # The bytes of the padding are those of -2000 and 63536; in implicit files nothing beside them says which.
        stored = padded if signed else (padded.astype(int) + 1024 * (padded != -2000)).astype(np.uint16)
        for k, position in enumerate(along_normal(HEIGHTS)):
            tags = {
                "SeriesNumber": number,
                "SeriesInstanceUID": f"1.2.{number}",
                "RescaleIntercept": -1024 * (not signed),
            }
            d = ct_slice(stored[k], position, k, **tags, PixelPaddingValue=int(stored[0, 0, 0]))
            d.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
            save(d, tmp_path / f"{number}-{k}.dcm")
    for number in (1, 2):
        np.testing.assert_array_equal(read_volume(f"{tmp_path}#{number}").array, expected)


def test_a_padding_of_tissues_value_is_not_believed(tmp_path: Path) -> None:
    write_stack(tmp_path, hu(), along_normal(HEIGHTS), PixelPaddingValue=0)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, hu())
    assert any("not believed" in note for note in volume.notes)


def test_damaged_slices_are_named(tmp_path: Path) -> None:
    write_stack(tmp_path, hu(), along_normal(HEIGHTS))
    files = sorted(tmp_path.iterdir())
    whole = files[3].read_bytes()
    files[3].write_bytes(whole[:-100])
    with pytest.raises(InputError, match=f"pixels of .*{files[3].name} cannot be decoded"):
        read_volume(tmp_path)
    files[3].write_bytes(whole[:200])
    with pytest.raises(InputError, match="irregular slice distances"):
        read_volume(tmp_path)


def test_other_modalities_and_values_are_refused_with_advice(tmp_path: Path) -> None:
    write_stack(tmp_path / "mr", hu(), along_normal(HEIGHTS), Modality="MR", RescaleType=None)
    with pytest.raises(InputError, match=r"modality MR.*give a segmentation"):
        read_volume(tmp_path / "mr")
    write_stack(tmp_path / "z", hu(), along_normal(HEIGHTS), RescaleType="Z_EFF")
    with pytest.raises(InputError, match="Z_EFF"):
        read_volume(tmp_path / "z")
    assert read_volume(tmp_path / "z", Reading(believed=True)).array.shape == (8, 12, 14)
    write_stack(tmp_path / "unplaced", hu(), along_normal(HEIGHTS), ImagePositionPatient=None)
    with pytest.raises(InputError, match="ImagePositionPatient"):
        read_volume(tmp_path / "unplaced")
