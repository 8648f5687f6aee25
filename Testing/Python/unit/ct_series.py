"""CT slices written by pydicom, as scanners write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian

if TYPE_CHECKING:
    from pathlib import Path

CT, ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1"
TILTED = (0.96, 0.28, 0.0, -0.28 * 0.8, 0.96 * 0.8, 0.6)
"""Directions of rows and columns of an oblique stack."""
NORMAL = np.cross(TILTED[:3], TILTED[3:])
HEIGHTS = np.arange(8) * 2.5
SHAPE = (8, 12, 14)


def hu(shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> np.ndarray:
    array = np.random.default_rng(seed).integers(-900, 1500, shape).astype(np.int16)
    array[0, 0, 0] = -1000
    return array


def masks() -> np.ndarray:
    """(8, 12, 14, 2): a body with a bone in it, neither symmetric nor in the first slices."""
    found = np.zeros((*SHAPE, 2), bool)
    found[2:7, 1:11, 2:12, 0] = True
    found[3:6, 3:6, 4:11, 1] = True
    found[3, 3, 4] = False
    return found


def ct_slice(stored: np.ndarray, position: Any, number: int = 1, **tags: Any) -> Dataset:
    """A slice of stored values (J, I), whose first pixel is at `position`, LPS mm; `tags` replace what is usual, None removes."""
    d = Dataset()
    d.SOPClassUID = CT
    series = tags.get("SeriesInstanceUID", "1.2.826.0.1.3680043.2.1125.1")
    d.SOPInstanceUID = f"{series}.{number}"
    d.StudyInstanceUID, d.SeriesInstanceUID = "1.2.826.0.1.3680043.2.1125", series
    d.PatientName, d.PatientID, d.PatientBirthDate = "Doe^Jane", "4711", "19500101"
    d.PatientSex = d.AccessionNumber = d.StudyID = d.StudyDate = d.StudyTime = d.ReferringPhysicianName = ""
    d.FrameOfReferenceUID = "1.2.826.0.1.3680043.2.1125.9"
    d.Modality, d.SeriesNumber, d.SeriesDescription, d.InstanceNumber = "CT", 3, "Thorax", number
    d.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    d.Rows, d.Columns = stored.shape
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.BitsAllocated, d.BitsStored, d.HighBit = 16, 16, 15
    d.PixelRepresentation = int(stored.dtype.kind == "i")
    d.RescaleIntercept, d.RescaleSlope, d.RescaleType = 0, 1, "HU"
    d.PixelSpacing, d.SliceThickness = [2.0, 1.5], 2.5
    d.ImageOrientationPatient = list(TILTED)
    d.ImagePositionPatient = [f"{x:.6f}" for x in position]
    for keyword, value in tags.items():
        if value is None:
            del d[keyword]
        else:
            setattr(d, keyword, value)
    if "BitsStored" in tags:
        d.HighBit = d.BitsStored - 1
    d.add_new("PixelData", "OW", stored.astype("<u2" if stored.dtype.kind == "u" else "<i2").tobytes())
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return d


def save(dataset: Dataset, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


def write_stack(folder: Path, stored: np.ndarray, positions: Any, **tags: Any) -> None:
    """Slices (K, J, I) at `positions` (K, 3), under names that are in no order."""
    for k, (plane, position) in enumerate(zip(stored, positions, strict=True)):
        save(ct_slice(plane, position, k + 1, **tags), folder / f"{(k * 7) % 101:03d}-{k}.dcm")


def along_normal(heights: Any, lean: Any = (0.0, 0.0, 0.0)) -> np.ndarray:
    """Positions (K, 3) at these heights above (10, -20, 30), shifted by `lean` a mm, LPS mm."""
    return np.array([10.0, -20.0, 30.0]) + np.outer(heights, NORMAL + np.asarray(lean))


def enhanced_ct(stored: np.ndarray, positions: Any) -> Dataset:
    """An Enhanced CT object (PS3.3, A.38) of slices (K, J, I), the second half of the frames first."""
    d = ct_slice(stored[0], positions[0])
    for keyword in (
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "RescaleSlope",
        "RescaleIntercept",
    ):
        del d[keyword]
    del d["RescaleType"]
    d.SOPClassUID, d.NumberOfFrames = ENHANCED_CT, len(stored)
    shared = Dataset()
    shared.PlaneOrientationSequence = Sequence([Dataset()])
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = list(TILTED)
    shared.PixelMeasuresSequence = Sequence([Dataset()])
    shared.PixelMeasuresSequence[0].PixelSpacing, shared.PixelMeasuresSequence[0].SliceThickness = [2.0, 1.5], 2.5
    d.SharedFunctionalGroupsSequence = Sequence([shared])
    order = np.roll(np.arange(len(stored)), len(stored) // 2)
    groups = []
    for k in order:
        group = Dataset()
        group.PlanePositionSequence = Sequence([Dataset()])
        group.PlanePositionSequence[0].ImagePositionPatient = [f"{x:.6f}" for x in positions[k]]
        group.PixelValueTransformationSequence = Sequence([Dataset()])
        values = group.PixelValueTransformationSequence[0]
        values.RescaleIntercept, values.RescaleSlope, values.RescaleType = -1024, 1, "HU"
        groups.append(group)
    d.PerFrameFunctionalGroupsSequence = Sequence(groups)
    d["PixelData"].value = stored[order].astype("<u2").tobytes()
    return d
