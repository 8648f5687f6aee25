"""Structures on a DICOM X-ray as a DICOM segmentation (SEG) that refers to it: PS3.3, A.51 and C.8.20."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import XVRegistrationLib
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import replacing
from XVRegistrationLib.imaging.dicom.dataset import CR, quiet, read_dataset

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset
    from pydicom.sr.coding import Code as DicomCode

    from XVRegistrationLib.imaging.segmentation import Code
    from XVRegistrationLib.imaging.xray_labels import ProjectedLabel

_TISSUE = ("85756007", "SCT", "Tissue")
"""What a structure is where nobody has said it, as in Slicer."""
_OF_THE_PATIENT = (0x0010, 0x0012, 0x0032, 0x0038, 0x0040)
"""Groups of elements about the patient, a trial, requests, visits and procedures."""
_OF_THE_SEGMENTATION = (
    *(
        "SpecificCharacterSet",
        "ImageType",
        "InstanceCreationDate",
        "InstanceCreationTime",
        "SOPClassUID",
        "SOPInstanceUID",
    ),
    *("ContentDate", "ContentTime", "Modality", "Manufacturer", "ManufacturerModelName"),
    *("ReferencedSeriesSequence", "SourceImageSequence"),
)
"""All of group 0008 that is kept. The rest of it names people and institutions, in more elements than one can list."""


def can_segment() -> bool:
    """Whether there is what writes DICOM segmentations: Slicer does not come with it, and all else can be written without it."""
    return importlib.util.find_spec("highdicom") is not None


def import_ahead() -> None:
    """Import in the background what writes DICOM segmentations, which takes a second, where there is any."""
    if can_segment() and "highdicom" not in sys.modules:
        threading.Thread(target=_import_highdicom, daemon=True).start()


def _import_highdicom() -> None:
    with contextlib.suppress(Exception):  # said where it is needed
        importlib.import_module("highdicom")


def write_dicom_segmentation(
    path: str | os.PathLike[str],
    xray: str | os.PathLike[str],
    labels: Sequence[ProjectedLabel],
    *,
    frame: int | None = None,
    keep_identity: bool = False,
) -> None:
    """Write labels (H, W) that lie on the X-ray of a DICOM file as a SEG; of a run, on `frame`, counted from 0.

    Segments keep names, colours and codes, and may overlap. The SEG has the study's UID and names the X-ray's instance,
    which is what a segmentation is for; all else of the patient is left empty unless `keep_identity`. Raises
    InputError where the labels do not fit the image.
    """
    try:
        import highdicom as hd
    except ImportError as e:
        raise InputError("A DICOM segmentation is written by highdicom: install it (pip install highdicom).") from e
    from pydicom.uid import generate_uid

    image = read_dataset(Path(xray))
    source = _single(image)
    shape = (int(source.Rows), int(source.Columns))
    if any(label.mask.shape != shape for label in labels):
        raise InputError(f"The labels do not fit {xray}, which has {shape[1]} x {shape[0]} pixels.")
    # The last axis is the segments', but each mask stays in one piece: they are packed one by one.
    masks = np.moveaxis(np.stack([label.mask.view(np.uint8) for label in labels]), 0, -1)[None]
    with quiet():  # highdicom's warnings quote the patient's name
        written = hd.seg.Segmentation(
            [source],
            masks,
            hd.seg.SegmentationTypeValues.BINARY,
            [_described(hd, number, label) for number, label in enumerate(labels, start=1)],
            series_instance_uid=generate_uid(),
            series_number=9000,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="XVRegistration",
            manufacturer_model_name="XVRegistration",
            software_versions=XVRegistrationLib.__version__,
            device_serial_number="none",
            content_label="REPROJECTED",
            content_description="Structures of a volume where they fall on the X-ray",
            omit_empty_frames=False,
        )
    _refer(written, image, frame)
    if not keep_identity:
        _anonymise(written)
    with replacing(path) as temporary:
        written.save_as(temporary)


def _single(image: Dataset) -> Dataset:
    """The header of an X-ray as that of one plain image: where its frames lie says nothing here."""
    import copy

    from pydicom.dataset import Dataset as Empty
    from pydicom.uid import generate_uid

    source = Empty()
    source.update(
        {e.tag: e for e in image if e.keyword not in ("PixelData", "NumberOfFrames") and e.tag.group != 0x5200}
    )
    source = copy.deepcopy(source)
    source.file_meta = image.file_meta
    # highdicom takes XA and RF for objects with functional groups, which they are not; `_refer` says what it is.
    source.SOPClassUID = CR
    # A frame of reference would ask for a place in space, which a projection does not have.
    if "FrameOfReferenceUID" in source:
        del source.FrameOfReferenceUID
    for keyword, empty in (("PatientID", ""), ("PatientName", ""), ("PatientBirthDate", ""), ("PatientSex", "")):
        if keyword not in source:
            setattr(source, keyword, empty)
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        if not source.get(keyword):  # of files that were stripped of more than their patient
            setattr(source, keyword, generate_uid())
    for keyword in ("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"):
        if keyword not in source:
            setattr(source, keyword, "")
    return source


def _described(hd: Any, number: int, label: ProjectedLabel) -> Any:
    terms = label.terminology
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label.name[:64],
        segmented_property_category=_coded(terms.category if terms else None),
        segmented_property_type=_coded(terms.type if terms else None),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="XVRegistration", version=XVRegistrationLib.__version__, family=_registration()
        ),
        anatomic_regions=[_coded(terms.region)] if terms is not None and terms.region is not None else None,
        display_color=hd.color.CIELabColor.from_rgb(*(round(255 * c) for c in label.color)),
    )


def _coded(code: Code | None) -> DicomCode:
    from pydicom.sr.coding import Code as DicomCode

    if code is None:
        return DicomCode(*_TISSUE)
    return DicomCode(code.value, code.scheme, code.meaning or code.value)


def _registration() -> DicomCode:
    from pydicom.sr.codedict import codes

    return codes.DCM.Registration


def _refer(written: Dataset, image: Dataset, frame: int | None) -> None:
    """Name the X-ray's class wherever it is referred to, and of a run the frame (PS3.3, 10.3: counted from 1)."""
    several = int(image.get("NumberOfFrames") or 1) > 1

    def mend(item: Dataset, element: DataElement) -> None:
        if element.keyword == "ReferencedSOPInstanceUID" and element.value == image.get("SOPInstanceUID"):
            item.ReferencedSOPClassUID = image.SOPClassUID
            # Without a number all frames are meant, as where labels lie on the mean over the run.
            if several and frame is not None and "PurposeOfReferenceCodeSequence" in item:
                item.ReferencedFrameNumber = frame + 1

    written.walk(mend)


def _anonymise(written: Dataset) -> None:
    for element in list(written):
        foreign = element.tag.group == 0x0008 and element.keyword not in _OF_THE_SEGMENTATION
        if foreign or element.tag.group in _OF_THE_PATIENT or element.tag.is_private:
            del written[element.tag]
    # What the standard wants present may be empty (type 2).
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
        setattr(written, keyword, "")
    for keyword in ("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"):
        setattr(written, keyword, "")
    written.PatientIdentityRemoved = "YES"
    written.DeidentificationMethod = "Patient, study and institution left empty; UIDs kept"
    written.DeviceSerialNumber = "none"
