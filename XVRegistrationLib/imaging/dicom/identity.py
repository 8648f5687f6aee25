"""Whom an X-ray is of, for reports that are to say so. Nothing else reads these attributes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from XVRegistrationLib.imaging.dicom.dataset import quiet

if TYPE_CHECKING:
    from pathlib import Path

_SAID = {
    "PatientName": "patient",
    "PatientID": "patient ID",
    "PatientBirthDate": "born",
    "StudyDate": "study date",
    "AccessionNumber": "accession number",
}


def identity_of(path: Path) -> dict[str, str]:
    """What a DICOM file's header says of the patient and the study, by what it is called; empty for other files."""
    import pydicom

    try:
        with quiet():
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_SAID))
            found = {said: str(header.get(name) or "").strip() for name, said in _SAID.items()}
    except Exception:  # damaged headers raise whatever their bytes lead to, and their words may name somebody
        return {}
    return {said: value.replace("^", " ") for said, value in found.items() if value}
