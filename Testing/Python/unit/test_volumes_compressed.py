"""CT slices in every compression that scanners and archives use read as the same slices without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest

from Testing.Python.unit.ct_series import HEIGHTS, along_normal, ct_slice, save
from Testing.Python.unit.dicom_files import compressed, pydicom_data
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.volume import read_volume
from XVRegistrationLib.imaging.volumes.pixels import read_voxels
from XVRegistrationLib.imaging.volumes.slices import series_of

if TYPE_CHECKING:
    from pathlib import Path

LOSSLESS = (
    "RLELossless", "JPEGLosslessProcess14", "JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless"
)  # fmt: skip
"""As GDCM names them."""


def body() -> np.ndarray:
    """(8, 24, 30) HU that are smooth, as tissue is, with noise, air, and metal at the end of the range."""
    rng = np.random.default_rng(0)
    k, y, x = np.indices((8, 24, 30))
    hu = 40 + 300 * np.exp(-((y - 12) ** 2 + (x - 15) ** 2) / 40) + rng.normal(0, 12, (8, 24, 30)) + 3 * k
    hu[:, :4] = -1000
    hu[3, 12, 14:17] = 3071
    return np.round(hu).astype(np.int16)


def write(folder: Path, kind: str, stored: np.ndarray, intercept: float, bits: int, syntaxes: tuple[str, ...]) -> None:
    """Slices of stored values, each in the next of the transfer syntaxes; "" is uncompressed."""
    folder.mkdir()
    for k, position in enumerate(along_normal(HEIGHTS)):
        plain, packed = folder / f"{k}.dcm", folder / f"{k}-packed.dcm"
        save(ct_slice(stored[k].astype(kind), position, k + 1, RescaleIntercept=intercept, BitsStored=bits), plain)
        syntax = syntaxes[k % len(syntaxes)]
        if syntax:
            compressed(plain, syntax, packed)
            plain.unlink()


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize(
    ("kind", "bits", "intercept"), [("u2", 12, -1024), ("u2", 16, -1024), ("i2", 16, 0), ("i2", 13, -24), ("u2", 16, -1024.5)]
)  # fmt: skip
def test_a_compressed_series_holds_the_same_voxels(
    tmp_path: Path, syntax: str, kind: str, bits: int, intercept: float
) -> None:
    stored = body() - int(np.floor(intercept))
    write(tmp_path / "packed", kind, stored, intercept, bits, (syntax,))
    files = list((tmp_path / "packed").iterdir())
    assert all(pydicom.dcmread(f, stop_before_pixels=True).file_meta.TransferSyntaxUID.is_compressed for f in files)
    volume = read_volume(tmp_path / "packed")
    np.testing.assert_array_equal(volume.array, stored + intercept)
    write(tmp_path / "plain", kind, stored, intercept, bits, ("",))
    plain = read_volume(tmp_path / "plain")
    assert (volume.array.dtype, volume.fingerprint) == (plain.array.dtype, plain.fingerprint)
    np.testing.assert_allclose(volume.ijk_to_ras, plain.ijk_to_ras, atol=1e-12)


def test_a_folder_may_mix_compressions(tmp_path: Path) -> None:
    write(tmp_path / "mixed", "u2", body() + 1024, -1024, 12, ("", *LOSSLESS))
    found = {
        pydicom.dcmread(f, stop_before_pixels=True).file_meta.TransferSyntaxUID for f in (tmp_path / "mixed").iterdir()
    }
    assert len(found) == 6
    np.testing.assert_array_equal(read_volume(tmp_path / "mixed").array, body())


def test_a_lossy_series_is_close_to_what_was_scanned(tmp_path: Path) -> None:
    write(tmp_path / "lossy", "u2", body() + 1024, -1024, 12, ("JPEG2000", "JPEGLSNearLossless"))
    assert np.abs(read_volume(tmp_path / "lossy").array.astype(int) - body()).max() <= 4


def test_a_real_slice_is_the_same_compressed_or_not() -> None:
    """From pydicom-data; its makers' JPEG 2000 is of 16 bits, the plain one of 14."""
    found = []
    for name in ("693_UNCR", "693_J2KR"):
        series, _ = series_of([pydicom_data(f"{name}.dcm")])
        found.append(read_voxels(series[0].slices)[0])
    assert found[0].shape == (1, 512, 512)
    assert np.ptp(found[0]) > 1000
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_a_slice_that_was_cut_short_is_named(tmp_path: Path, syntax: str) -> None:
    write(tmp_path / "cut", "u2", body() + 1024, -1024, 12, (syntax,))
    path = tmp_path / "cut" / "3-packed.dcm"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=path.name):
        read_volume(tmp_path / "cut")
