"""Writing plain DX images, for simulated X-rays and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.files import replacing

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    from XVRegistrationLib.geometry.camera import Intrinsics

_DX_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.1.1.1"


def make_dicom_ids(seed: int | None = None) -> tuple[str, str]:
    """UIDs of a new study and a series in it; random, or always the same ones for a seed."""
    return _uid(seed, "study"), _uid(seed, "series")


def _uid(seed: int | None, what: str) -> str:
    import uuid

    number = uuid.uuid4() if seed is None else uuid.uuid5(uuid.NAMESPACE_OID, f"XVRegistration {seed} {what}")
    return f"2.25.{number.int}"  # the root under which anyone may make UIDs out of UUIDs (PS3.5, B.2)


def write_dicom_dx(
    path: str | os.PathLike[str],
    pixels: NDArray[np.uint16],
    intrinsics: Intrinsics,
    *,
    ids: tuple[str, str] | None = None,
    seed: int | None = None,
    instance_number: int = 1,
    bits_stored: int = 16,
) -> None:
    """Write (H, W) linear intensities as a DX image For Processing, with its SID and spacing but no pose.

    Images that belong together share `ids`, the UIDs of study and series. With a `seed` the file is always the same.
    """
    pixels = np.ascontiguousarray(pixels)
    if pixels.dtype != np.uint16 or pixels.shape != intrinsics.size[::-1]:
        raise ValueError(f"{pixels.dtype} pixels {pixels.shape} given; uint16 {intrinsics.size[::-1]} are needed.")
    if not 1 <= bits_stored <= 16 or int(pixels.max()) >= 2**bits_stored:
        raise ValueError(f"Pixels up to {pixels.max()} do not fit into {bits_stored} bits.")
    dataset = _dx_dataset(pixels, intrinsics, ids or make_dicom_ids(seed), seed, instance_number, bits_stored)
    with replacing(path) as temporary:
        save(dataset, temporary)


def save(dataset: Dataset, path: Path) -> None:
    """Write a file with its preamble and meta information."""
    from pydicom import __version_info__ as version

    # The option has another name, and another sense, before pydicom 3, as in Slicer 5.10.
    whole: dict[str, Any] = {"enforce_file_format": True} if int(version[0]) >= 3 else {"write_like_original": False}
    dataset.save_as(path, **whole)


def _dx_dataset(
    pixels: NDArray[np.uint16], intrinsics: Intrinsics, ids: tuple[str, str], seed: int | None, number: int, bits: int
) -> Dataset:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian
    from pydicom.valuerep import format_number_as_ds

    (dx, dy), (width, height) = intrinsics.spacing, intrinsics.size
    row_column = [format_number_as_ds(dy), format_number_as_ds(dx)]
    d = Dataset()
    d.SOPClassUID = _DX_FOR_PROCESSING
    d.StudyInstanceUID, d.SeriesInstanceUID = ids
    d.SOPInstanceUID = _uid(seed, f"{d.SeriesInstanceUID} {number}")
    d.PatientName, d.PatientID = "Anonymous", "Anonymous"
    # What the standard wants present, but nobody needs to know. Which way the patient lies is part of the pose, and a
    # simulated X-ray must not give that away.
    d.PatientBirthDate = d.PatientSex = d.PatientOrientation = d.StudyDate = d.StudyTime = d.ContentDate = ""
    d.ContentTime = d.AcquisitionDate = d.AcquisitionTime = d.AccessionNumber = d.StudyID = ""
    d.ReferringPhysicianName = d.Manufacturer = ""
    d.PatientIdentityRemoved, d.DeidentificationMethod = "YES", "Simulated image, no patient data written"
    d.Modality, d.PresentationIntentType = "DX", "FOR PROCESSING"
    d.SeriesNumber, d.InstanceNumber = 1, number
    d.ImageType = ["ORIGINAL", "PRIMARY", ""]
    d.ImageLaterality, d.AnatomicRegionSequence, d.AcquisitionContextSequence = "U", [], []
    d.BurnedInAnnotation, d.LossyImageCompression = "NO", "00"
    d.DetectorType, d.DistanceSourceToDetector = "DIRECT", format_number_as_ds(intrinsics.sdd)
    d.ImagerPixelSpacing = d.DetectorElementSpacing = d.DetectorElementPhysicalSize = row_column
    d.DetectorActiveDimensions = [format_number_as_ds(height * dy), format_number_as_ds(width * dx)]
    d.DetectorActiveShape, d.DetectorConditionsNominalFlag = "RECTANGLE", "YES"
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.Rows, d.Columns = height, width
    d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 16, bits, bits - 1, 0
    d.PixelIntensityRelationship, d.PixelIntensityRelationshipSign = "LIN", 1
    d.RescaleIntercept, d.RescaleSlope, d.RescaleType = 0, 1, "US"
    d.PresentationLUTShape = "IDENTITY"
    d.add_new("PixelData", "OW", pixels.astype("<u2").tobytes())
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return d
