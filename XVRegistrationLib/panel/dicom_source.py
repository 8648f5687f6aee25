"""The DICOM file and frame that a volume node was loaded from by Slicer's DICOM module.

Slicer keeps pixels and spacing of an X-ray and drops its geometry, which is in the file. What it keeps is not always what
the file says: without ImagerPixelSpacing a CR has pixels of 1 mm, MONOCHROME1 is inverted, and the frames of a run are the slices of
a volume or the items of a sequence. So a node only tells which file and frame to read anew.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import slicer

from XVRegistrationLib.imaging.dicom.dataset import ENHANCED, PROJECTION_CLASSES
from XVRegistrationLib.scene.runs import browser_of

Frame = int | Literal["min", "max", "mean", "run"]
"""A frame counted from 0, what to make of all of them, or "run": each of them."""
SOURCE = "DICOM.instanceUIDs"
"""Attribute by which Slicer names the DICOM instances of a node."""
_SOP_CLASS = "0008,0016"
_MODALITY, _SERIES_NUMBER, _INSTANCE_NUMBER = "0008,0060", "0020,0011", "0020,0013"
_IDENTIFYING = ("0010,0010", "0010,0020", "0008,1030", "0008,103e")
"""Name and ID of the patient, descriptions of study and series: Slicer calls nodes after the last."""
_BY_SERIES = re.compile(r"(\d+): ")


@dataclass(frozen=True)
class Source:
    """Where an image came from."""

    file: Path
    uid: str
    """SOP instance UID."""
    frame: int | None
    """The frame that a sequence shows; None where the node holds all there is."""


def source_of(node: Any) -> Source | None:
    """The DICOM file of a node with one image, or with the frames of one X-ray; None if it came from elsewhere.

    None also where its file is gone, and for the slices of a volume.
    """
    uids = (node.GetAttribute(SOURCE) or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    image = node.GetImageData()
    if len(uids) != 1 or database is None or not database.isOpen or image is None:
        return None
    path = database.fileForInstance(uids[0])
    if not path or not Path(path).is_file():
        return None
    if image.GetDimensions()[2] > 1:
        projection = database.instanceValue(uids[0], _SOP_CLASS) in (*PROJECTION_CLASSES, *ENHANCED)
        return Source(Path(path), uids[0], None) if projection else None
    played = browser_of(node)
    several = played is not None and played[0].GetNumberOfItems() > 1
    return Source(Path(path), uids[0], played[1] if played is not None and several else None)


def public_name(node: Any) -> str:
    """What a node is called where others may read it: by its name, unless that has what may tell of the patient.

    Slicer's DICOM module calls nodes "5: description of the series"; such a one is "CT 5" then, and an image "XA 5-2".
    """
    name, uids = str(node.GetName() or ""), (node.GetAttribute(SOURCE) or "").split()
    if not uids:
        return name
    database = getattr(slicer, "dicomDatabase", None)
    if database is None or not database.isOpen or not database.fileForInstance(uids[0]):
        number = _BY_SERIES.match(name)
        return name if number is None else f"DICOM {number[1]}"

    def stated(tag: str) -> str:
        return str(database.instanceValue(uids[0], tag) or "").strip()

    if name and not any(value and value.lower() in name.lower() for value in map(stated, _IDENTIFYING)):
        return name
    numbers = [stated(_SERIES_NUMBER), stated(_INSTANCE_NUMBER) if len(uids) == 1 else ""]
    return f"{stated(_MODALITY) or 'DICOM'} {'-'.join(n for n in numbers if n)}".strip()
