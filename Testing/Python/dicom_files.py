"""DICOM X-rays as hospitals have them, made up: runs, planes of a biplane system, and a patient who is named everywhere."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

CR, DX = "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1"
XA, RF = "1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.2"
CT = "1.2.840.10008.5.1.4.1.1.2"
MODALITY = {CR: "CR", DX: "DX", XA: "XA", RF: "RF", CT: "CT"}

NAMES = {
    "PatientName": "Mustermann^Erika",
    "PatientID": "PID4711XYZ",
    "OtherPatientIDs": "OTHER0815ID",
    "PatientBirthDate": "19470811",
    "PatientAddress": "Heidestrasse 17 Koeln",
    "PatientTelephoneNumbers": "0221445566",
    "PatientComments": "Kommentar zur Patientin",
    "AccessionNumber": "ACC99887766",
    "StudyID": "STUDYID5544",
    "StudyDate": "20190302",
    "StudyTime": "112233",
    "StudyDescription": "Herzkatheter bei Erika",
    "SeriesDescription": "LCA fuer Mustermann",
    "InstitutionName": "Klinikum Beispielstadt",
    "InstitutionAddress": "Klinikallee 1",
    "ReferringPhysicianName": "Ueberweiser^Otto",
    "PerformingPhysicianName": "Operateur^Ina",
    "OperatorsName": "Assistent^Udo",
    "StationName": "CATHLAB77",
    "DeviceSerialNumber": "SN556677",
    "ProtocolName": "Protokoll Mustermann",
    "ImageComments": "Bild von Erika M",
    "NameOfPhysiciansReadingStudy": "Befunder^Karl",
    "AdmittingDiagnosesDescription": "Diagnose der Patientin",
}
"""Tag -> what must not be found anywhere."""
PEOPLE = (
    "ReferringPhysicianIdentificationSequence",
    "ConsultingPhysicianIdentificationSequence",
    "PhysiciansOfRecordIdentificationSequence",
    "PhysiciansReadingStudyIdentificationSequence",
    "OperatorIdentificationSequence",
)
"""Sequences whose items name people and where they work."""


def write(path: Path, pixels: NDArray[Any], sop_class: str = XA, **tags: Any) -> Path:
    """A file of `pixels` ((H, W), or (N, H, W) for a run) with these tags, None leaving one out, and all of `NAMES`."""
    d = Dataset()
    d.SOPClassUID, d.SOPInstanceUID = sop_class, tags.pop("SOPInstanceUID", generate_uid())
    d.StudyInstanceUID, d.SeriesInstanceUID = generate_uid(), generate_uid()
    d.Modality, d.SeriesNumber, d.InstanceNumber = MODALITY[sop_class], 5, 2
    for keyword, value in NAMES.items():
        setattr(d, keyword, value)
    for keyword in PEOPLE:
        person = Dataset()
        person.InstitutionName, person.PersonAddress = NAMES["InstitutionName"], NAMES["InstitutionAddress"]
        setattr(d, keyword, [person])
    d.SamplesPerPixel, d.PhotometricInterpretation = 1, "MONOCHROME2"
    d.Rows, d.Columns = pixels.shape[-2:]
    d.BitsAllocated = d.BitsStored = 16
    d.HighBit, d.PixelRepresentation = 15, 0
    if pixels.ndim == 3:
        d.NumberOfFrames = len(pixels)
        d.FrameTime, d.FrameIncrementPointer = 66.7, 0x00181063
    if sop_class in (XA, RF):
        d.PixelIntensityRelationship = "LIN"
        d.DistanceSourceToDetector, d.DistanceSourceToPatient = 1020, 700
        d.ImagerPixelSpacing = [5.0, 5.0]
        d.PositionerPrimaryAngle, d.PositionerSecondaryAngle = 0, 0
    for keyword, value in tags.items():
        if value is None:
            if keyword in d:
                delattr(d, keyword)
        else:
            setattr(d, keyword, value)
    d.add_new("PixelData", "OW", pixels.astype("<u2").tobytes())
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.save_as(path, enforce_file_format=True)
    return path


def grey(line_integrals: NDArray[Any]) -> NDArray[np.uint16]:
    """Linear detector values of line integrals."""
    return np.round(60000 * np.exp(-np.asarray(line_integrals))).astype(np.uint16)


class Database:
    """What Slicer's DICOM database answers of these files: `ctkDICOMDatabase` is not in slicer-core."""

    isOpen = True

    def __init__(self, files: list[Path]) -> None:
        import pydicom

        self._headers = {str(file): pydicom.dcmread(file, stop_before_pixels=True) for file in files}
        self._files = {str(header.SOPInstanceUID): file for file, header in self._headers.items()}

    def fileForInstance(self, uid: str) -> str:
        return self._files.get(uid, "")

    def instanceForFile(self, file: str) -> str:
        return str(self._headers[file].SOPInstanceUID)

    def fileValue(self, file: str, tag: str) -> str:
        group, element = tag.split(",")
        found = self._headers[file].get((int(group, 16), int(element, 16)))
        return "" if found is None else str(found.value)

    def instanceValue(self, uid: str, tag: str) -> str:
        return self.fileValue(self._files[uid], tag) if uid in self._files else ""


def named(paths: Iterable[str | Path]) -> list[tuple[str, str]]:
    """(file, value) wherever something of the patient is in files, their names, or what is packed in them."""
    return [
        (name, value)
        for path in map(Path, paths)
        for name, data in _contents(path.name, path.read_bytes())
        for value in NAMES.values()
        if value.encode() in data or value in name
    ]


def _contents(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Names and bytes of a file and of all that is packed in it: gzip, zip (.mrb, also in one another) and NRRD."""
    yield name, data
    if data[:2] == b"\x1f\x8b":
        yield from _contents(f"{name}!", gzip.decompress(data))
    if data[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(data)) as bundle:
            for entry in bundle.infolist():
                yield from _contents(f"{name}!{entry.filename}", bundle.read(entry))
    if b"encoding: gzip" in data[:2000]:
        yield from _contents(f"{name}!", gzip.decompress(data.partition(b"\n\n")[2]))
