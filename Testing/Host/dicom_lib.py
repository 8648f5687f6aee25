"""`DICOMLib`: the two classes that a plugin of Slicer's DICOM module is made of, with what they declare and nothing else."""

from __future__ import annotations

from typing import Any


class DICOMLoadable:
    """A way to load some files; the fields are those of Modules/Scripted/DICOMLib/DICOMPlugin.py in Slicer 5.12."""

    __slots__ = ("confidence", "files", "name", "selected", "tooltip", "warning")

    def __init__(self) -> None:
        self.files: list[str] = []
        self.name = "Unknown"
        self.tooltip = "No further information available"
        self.warning = ""
        self.selected = False
        self.confidence = 0.5


class DICOMPlugin:
    """Base class of plugins: the DICOM module calls these methods, and shows `loadType`."""

    def __init__(self) -> None:
        self.loadType = "Generic DICOM"
        self.tags: dict[str, str] = {}

    def examineForImport(self, fileList: Any) -> list[Any]:
        return []

    def examine(self, fileList: Any) -> list[Any]:
        return self.examineForImport(fileList)

    def load(self, loadable: Any) -> Any:
        return True

    def examineForExport(self, subjectHierarchyItemID: Any) -> list[Any]:
        return []
