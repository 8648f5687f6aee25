"""The file that a volume node was loaded from by Slicer's DICOM module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer


def dicom_file(node: Any) -> Path | None:
    """The one DICOM file of a one-slice volume node; None if it did not come from DICOM, or its file is gone.

    Slicer keeps pixels and spacing of an X-ray and drops its geometry, which is in the file.
    """
    uids = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    if len(uids) != 1 or database is None or not database.isOpen:
        return None
    path = database.fileForInstance(uids[0])
    return Path(path) if path and Path(path).is_file() else None
