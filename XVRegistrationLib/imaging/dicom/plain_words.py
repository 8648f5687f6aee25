"""What a DICOM file is, in words, from attributes that can identify nobody.

Only values that the standard enumerates are passed on, never text that someone has typed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from XVRegistrationLib.imaging.dicom.dataset import quiet

if TYPE_CHECKING:
    from pathlib import Path

    from pydicom.dataset import Dataset

# Of PS3.3: C.8.7.1.1 (ViewPosition of CR), C.8.11.5 (DX), C.7.3.1.1.2 (PatientPosition), C.7.6.3.1.2 (photometry).
_ENUMERATED = {
    "ViewPosition": ("AP", "PA", "LL", "RL", "RLD", "LLD", "RLO", "LLO"),
    "PatientPosition": ("HFP", "HFS", "HFDR", "HFDL", "FFDR", "FFDL", "FFP", "FFS"),
    "PhotometricInterpretation": ("MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422"),
    "PixelIntensityRelationship": ("LIN", "LOG", "DISP", "DRM"),
    "PresentationIntentType": ("FOR PRESENTATION", "FOR PROCESSING"),
}
_NUMBERS = ("BitsStored", "NumberOfFrames", "Rows", "Columns")
_DIRECTION = re.compile(r"^[APRLHF]{1,3}$")  # C.7.6.1.1.1
_VOLUMES = ("CT Image", "MR Image", "Positron", "Nuclear Medicine", "Volume", "3D", "Segmentation", "RT Dose")


@dataclass(frozen=True)
class DicomWords:
    """A file's kind and the enumerated values in it."""

    kind: str
    """Name of its SOP class, "unknown kind of object" for one that the standard does not name."""
    compression: str
    """Name of its transfer syntax."""
    is_volume: bool
    """Whether it belongs to a volume instead of being an X-ray."""
    enumerated: dict[str, str]
    """Keyword -> value, where it is one of the standard's."""
    numbers: dict[str, int]
    orientation: tuple[str, str] | None
    """Letters of the patient's side that rows (to the right) and columns (downwards) run towards."""


def dicom_words(path: Path) -> DicomWords | None:
    """What a DICOM file says of itself; None for other files, and for one that is damaged."""
    import pydicom

    wanted = [*_ENUMERATED, *_NUMBERS, "SOPClassUID", "PatientOrientation"]
    try:
        with quiet():
            return _words(pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(wanted)))
    # A damaged file may fail anywhere in the parser; the reader of its pixels says so.
    except Exception:
        return None


def _words(dataset: Dataset) -> DicomWords:
    meta = getattr(dataset, "file_meta", None)
    kind = _name(dataset.get("SOPClassUID"), "unknown kind of object")
    numbers = {}
    for keyword in _NUMBERS:
        value = dataset.get(keyword)
        if isinstance(value, int) and 0 < int(value) < 2**31:
            numbers[keyword] = int(value)
    enumerated = {k: str(dataset.get(k) or "").upper() for k in _ENUMERATED}
    return DicomWords(
        kind=kind,
        compression=_name(None if meta is None else meta.get("TransferSyntaxUID"), "unknown transfer syntax"),
        is_volume=any(word in kind for word in _VOLUMES),
        enumerated={k: v for k, v in enumerated.items() if v in _ENUMERATED[k]},
        numbers=numbers,
        orientation=_orientation(dataset.get("PatientOrientation")),
    )


def _name(uid: object, otherwise: str) -> str:
    """The standard's name of a UID; a UID that it does not name is not shown, as it may tell the institution."""
    from pydicom.uid import UID

    name = UID(str(uid)).name
    return otherwise if uid is None or name == str(uid) else name


def _orientation(value: object) -> tuple[str, str] | None:
    if value is None or isinstance(value, str) or not hasattr(value, "__len__") or len(value) != 2:
        return None
    row, column = (str(v).upper().strip() for v in value)  # type: ignore[attr-defined,unused-ignore]
    return (row, column) if _DIRECTION.match(row) and _DIRECTION.match(column) else None
