"""Damaged, absurd and hostile files, made from good ones; the same for a number every time."""

from __future__ import annotations

import io
import os
import re
import struct
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from Testing.Python.unit.dicom_files import compressed, write_enhanced_xa, write_xray
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.imaging.dicom.writer import write_dicom_dx

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

XA = "1.2.840.10008.5.1.4.1.1.12.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
SIZE = (48, 40)
GEOMETRY = (
    *("DistanceSourceToDetector", "DistanceSourceToPatient", "ImagerPixelSpacing", "PixelSpacing"),
    *("PositionerPrimaryAngle", "PositionerSecondaryAngle", "EstimatedRadiographicMagnificationFactor"),
    *("FieldOfViewOrigin", "FieldOfViewRotation", "FieldOfViewDimensions", "FieldOfViewHorizontalFlip"),
    *(
        "FieldOfViewShape",
        "IntensifierSize",
        "DetectorActiveDimensions",
        "DetectorActiveOrigin",
        "DetectorElementSpacing",
    ),
    *("DetectorBinning", "PatientOrientation", "PatientPosition", "PixelSpacingCalibrationType"),
    *("ImageOrientationPatient", "ImagePositionPatient", "SliceThickness", "SpacingBetweenSlices"),
)
PIXELS = (
    *(
        "Rows",
        "Columns",
        "BitsAllocated",
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "SamplesPerPixel",
        "NumberOfFrames",
    ),
    *(
        "RescaleSlope",
        "RescaleIntercept",
        "PixelPaddingValue",
        "PixelIntensityRelationship",
        "PixelIntensityRelationshipSign",
    ),
    *("WindowCenter", "WindowWidth", "PhotometricInterpretation", "ShutterShape", "ShutterLeftVerticalEdge"),
    *("ShutterUpperHorizontalEdge", "CenterOfCircularShutter", "RadiusOfCircularShutter", "SOPClassUID", "RescaleType"),
)
NUMBERS = (
    "0",
    "-1",
    "nan",
    "inf",
    "-inf",
    "",
    "1e9",
    "1e-300",
    "abc",
    "0\\0",
    "-1\\1",
    "nan\\nan",
    "1e9\\1e9",
    "1\\2\\3",
    "9" * 400,
)
SHORTS = (b"", b"\0\0", b"\xff\xff", b"\1\0\1\0", b"\0\xca\x9a\x3b", b"\1", b"\x01\x00" * 50)
NAMES = (
    *(
        "a b.dcm",
        "%s%n{0}{x}.dcm",
        "new\nline.dcm",
        "tab\tand\x1b[31mred.dcm",
        "ü漢字🩻.dcm",
        "'quoted\" `id` $(id).dcm",
    ),
    *("a" * 200 + ".dcm", "..dcm", "no suffix", "dot.", "[bold]x.dcm", "a.nii.gz.dcm", ".dcm", "CON.dcm"),
)


def good_files(folder: Path) -> dict[str, Path]:
    """A good file of each kind."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    body = 2 * np.maximum(1 - ((y - 24) / 20) ** 2 - ((x - 18) / 15) ** 2, 0) ** 0.5
    image = np.round(3000 * np.exp(-body) * rng.normal(1, 0.02, SIZE)).astype(np.uint16)
    files = {"dx": folder / "dx.dcm", "xa": folder / "xa.dcm", "ct": folder / "ct"}
    write_dicom_dx(files["dx"], image, Intrinsics.centered(1000.0, (0.3, 0.3), SIZE[::-1]), seed=1, bits_stored=12)
    dataset = pydicom.dcmread(files["dx"])
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = XA
    dataset.Modality, dataset.PositionerPrimaryAngle, dataset.PositionerSecondaryAngle = "XA", 20, -10
    dataset.DistanceSourceToPatient, dataset.FieldOfViewDimensions, dataset.FieldOfViewShape = 700, [12], "ROUND"
    del dataset.PixelIntensityRelationshipSign
    dataset.save_as(files["xa"])
    run = np.stack([np.roll(image, k, axis=1) for k in range(3)])
    files["run"] = compressed(
        write_xray(folder / "plain.dcm", run, bits=12, ShutterShape="CIRCULAR", CenterOfCircularShutter=[24, 20]),
        "RLELossless",
        folder / "run.dcm",
    )
    files["exa"] = write_enhanced_xa(folder / "exa.dcm", run)
    hu = np.clip(rng.normal(40, 30, (6, 20, 24)), -1000, 3000).astype(np.int16)
    hu[:, :6], hu[:, 10:12] = -1000, 900
    _ct_series(files["ct"], hu)
    volume = sitk.GetImageFromArray(hu)
    volume.SetSpacing((2.0, 2.0, 5.0))
    for suffix in ("nii", "nii.gz", "nrrd", "mha", "mhd"):
        files[suffix] = folder / f"volume.{suffix}"
        sitk.WriteImage(volume, str(files[suffix]))
    for suffix in ("png", "tif", "jpg"):
        files[suffix] = folder / f"picture.{suffix}"
        sitk.WriteImage(sitk.GetImageFromArray((image / 12).astype(np.uint8)), str(files[suffix]))
    return files


def _ct_series(folder: Path, hu: np.ndarray) -> None:
    folder.mkdir()
    for k, pixels in enumerate(hu):
        path = folder / f"{k}.dcm"
        write_dicom_dx(
            path,
            np.zeros(pixels.shape, np.uint16),
            Intrinsics.centered(1.0, (1.0, 1.0), pixels.shape[::-1]),
            ids=("2.25.1", "2.25.2"),
            seed=k,
            instance_number=k + 1,
        )
        d = pydicom.dcmread(path)
        d.SOPClassUID = d.file_meta.MediaStorageSOPClassUID = CT
        d.Modality, d.PixelSpacing, d.SliceThickness = "CT", [2, 2], 5
        d.ImageOrientationPatient, d.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [0, 0, 5 * k]
        d.PixelRepresentation, d.FrameOfReferenceUID = 1, "2.25.3"
        d.PixelData = pixels.astype("<i2").tobytes()
        d.save_as(path)


def absurd(source: Path, target: Path, keyword: str, value: bytes) -> None:
    """The file in implicit VR with one element's value replaced, whatever its type may hold."""
    dataset = pydicom.dcmread(source)
    tag = tag_for_keyword(keyword)
    assert tag is not None
    encoded = {int(element.tag): _encoded(element) for element in dataset if element.tag != tag}
    value += b" " * (len(value) % 2)
    encoded[tag] = struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value
    meta = io.BytesIO()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    pydicom.dcmwrite(meta, _only_meta(dataset), enforce_file_format=True)
    target.write_bytes(meta.getvalue() + b"".join(encoded[t] for t in sorted(encoded)))


def _only_meta(dataset: pydicom.Dataset) -> pydicom.FileDataset:
    empty = pydicom.Dataset()
    empty.file_meta = dataset.file_meta
    return empty  # type: ignore[return-value]


def _encoded(element: pydicom.DataElement) -> bytes:
    alone = pydicom.Dataset()
    alone.add(element)
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, True
    write_dataset(buffer, alone)
    return buffer.getvalue()


def absurd_values(keyword: str) -> tuple[bytes, ...]:
    """What is written into an element in turn."""
    text = tuple(n.encode() for n in NUMBERS)
    return SHORTS if dictionary_VR(keyword) in ("US", "SS", "US or SS") else text


def flipped(data: bytes, rng: np.random.Generator, first: int | None = None) -> bytes:
    """Up to 20 bits turned, all of them within the `first` bytes if given."""
    changed = bytearray(data)
    for position in rng.integers(0, min(len(data), first or len(data)), rng.integers(1, 21)):
        changed[position] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def reworded(data: bytes, rng: np.random.Generator) -> bytes:
    """A number in the first kilobyte, as in a header of text, replaced by an absurd one."""
    found = list(re.finditer(rb"-?\d+(\.\d+)?", data[:1000]))
    if not found:
        return flipped(data, rng, 400)
    match = found[rng.integers(len(found))]
    value = (b"0", b"-1", b"nan", b"inf", b"1e9", b"99999999999", b"", b"x", b"1 1")[rng.integers(9)]
    return data[: match.start()] + value + data[match.end() :]


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """The bytes of a file cut off, with bits turned, with a number of the header replaced, or something put in."""
    how: tuple[Callable[[], bytes], ...] = (
        lambda: data[: rng.integers(0, len(data))],
        lambda: flipped(data, rng),
        lambda: flipped(data, rng, 1000),
        lambda: reworded(data, rng),
        lambda: data[: (cut := int(rng.integers(0, len(data))))] + rng.bytes(int(rng.integers(1, 300))) + data[cut:],
    )
    return how[rng.integers(len(how))]()


def special(folder: Path) -> list[Path]:
    """What is no regular file, or leads elsewhere."""
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "empty.nii").write_bytes(b"")
    (folder / "folder.dcm").mkdir()
    (folder / "loop.dcm").symlink_to(folder / "loop.dcm")
    (folder / "dangling.nrrd").symlink_to(folder / "nowhere")
    for name in ("pipe.dcm", "pipe.nii", "pipe.png"):
        os.mkfifo(folder / name)
    header = "ObjectType = Image\nNDims = 3\nDimSize = 8 8 8\nElementType = MET_SHORT\nElementDataFile = {}\n"
    for i, other in enumerate(("/etc/passwd", "../../../../etc/passwd", "/dev/zero", "LIST\n/etc/passwd", "LOCAL")):
        (folder / f"leads{i}.mhd").write_text(header.format(other))
    nrrd = "NRRD0004\ntype: short\ndimension: 3\nsizes: {}\nencoding: raw\ndata file: {}\n\n"
    (folder / "leads.nhdr").write_text(nrrd.format("8 8 8", "/etc/passwd"))
    (folder / "huge.nrrd").write_text(nrrd.format("99999 99999 99999", "/dev/zero"))
    return [*folder.iterdir(), folder / "not there.dcm", folder / "x\0y.dcm"]
