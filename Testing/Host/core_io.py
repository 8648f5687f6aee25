"""`slicer.app.coreIOManager()`: loading and saving through MRML's storage nodes, behind `slicer.util.load...`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
import slicer.util
from PySide6 import QtCore

from Testing.Host.cpp_classes import cpp_class

_TYPES = {
    ".mrml": "SceneFile",
    ".mrb": "SceneFile",
    ".vtk": "ModelFile",
    ".vtp": "ModelFile",
    ".stl": "ModelFile",
    ".obj": "ModelFile",
    ".ply": "ModelFile",
    ".h5": "TransformFile",
    ".tfm": "TransformFile",
    ".json": "MarkupsFile",
    ".fcsv": "MarkupsFile",
    ".csv": "TableFile",
    ".tsv": "TableFile",
    ".txt": "TextFile",
}
_CLASSES = {
    "ModelFile": "vtkMRMLModelNode",
    "TransformFile": "vtkMRMLTransformNode",
    "MarkupsFile": "vtkMRMLMarkupsFiducialNode",
    "TableFile": "vtkMRMLTableNode",
    "TextFile": "vtkMRMLTextNode",
    "SegmentationFile": "vtkMRMLSegmentationNode",
}


@cpp_class(slicer)
class qSlicerCoreIOManager(QtCore.QObject):
    """Reads and writes nodes and scenes."""

    def __init__(self, core: Any) -> None:
        super().__init__()
        self._host_core = core

    def fileType(self, path: str) -> str:
        if str(path).endswith(".seg.nrrd"):
            return "SegmentationFile"
        return _TYPES.get(Path(path).suffix.lower(), "VolumeFile")

    def loadNodes(self, file_type: str, properties: dict[str, Any], loaded: Any = None, _messages: Any = None) -> bool:
        path = str(properties["fileName"])
        if not Path(path).exists():
            return False
        if file_type == "SceneFile":
            return self._host_load_scene(path, clear=properties.get("clear", False))
        name = properties.get("name") or Path(path).name.partition(".")[0]
        if file_type == "VolumeFile":
            node = self._host_load_volume(path, name, properties)
        elif file_type == "SegmentationFile" and not path.endswith(".seg.nrrd"):
            node = self._host_load_label_map(path, name)
        else:
            node = self._host_load(path, name, _CLASSES[file_type])
        if node is not None and loaded is not None:
            loaded.AddItem(node)
        return node is not None

    def saveNodes(self, file_type: str, properties: dict[str, Any], _messages: Any = None) -> bool:
        path = str(properties["fileName"])
        scene = self._host_core.scene
        if file_type != "SceneFile":
            return self._host_write(scene.GetNodeByID(properties["nodeID"]), path)
        if path.endswith(".mrml"):
            return bool(scene.Commit(path))
        # A relative path fails half-way, when the scene is empty already.
        return bool(scene.WriteToMRB(str(Path(path).absolute()), None))

    def exportNodes(self, ids: Any, paths: Any, _properties: Any, _harden: bool = False, _messages: Any = None) -> bool:
        nodes = [self._host_core.scene.GetNodeByID(node_id) for node_id in ids]
        written = [self._host_write(node, path) for node, path in zip(nodes, paths, strict=True)]
        return all(written)

    def fileWriterFileType(self, node: Any) -> str:
        return str(node.GetClassName())

    def fileWriterExtensions(self, node: Any) -> tuple[str, ...]:
        storage = node.CreateDefaultStorageNode()
        storage.SetScene(self._host_core.scene)
        known = storage.GetSupportedWriteFileTypes()
        return tuple(known.GetValue(i) for i in range(known.GetNumberOfValues()))

    def extractKnownExtension(self, path: str, node: Any) -> str:
        formats = self.fileWriterExtensions(node)
        known = [slicer.vtkDataFileFormatHelper.GetFileExtensionFromFormatString(text) for text in formats]
        return max((e for e in known if str(path).lower().endswith(e)), key=len, default="")

    def _host_load_scene(self, path: str, clear: bool) -> bool:
        scene = self._host_core.scene
        if path.endswith(".mrb"):
            return bool(scene.ReadFromMRB(path, clear))
        scene.SetURL(path)
        return bool(scene.Connect() if clear else scene.Import())

    def _host_load_volume(self, path: str, name: str, properties: dict[str, Any]) -> Any:
        is_label_map = bool(properties.get("labelmap"))
        options = (1 if is_label_map else 0) | (4 if properties.get("singleFile") else 0)
        node = self._host_core.module_logics["Volumes"].AddArchetypeVolume(path, name, options)
        if node is not None and properties.get("show", True):
            slicer.util.setSliceViewerLayers(**{"label" if is_label_map else "background": node}, fit=True)
        return node

    def _host_load_label_map(self, path: str, name: str) -> Any:
        scene = self._host_core.scene
        labels = self._host_core.module_logics["Volumes"].AddArchetypeVolume(path, name, 1)
        if labels is None:
            return None
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
        node.CreateDefaultDisplayNodes()
        slicer.vtkSlicerSegmentationsModuleLogic.ImportLabelmapToSegmentationNode(labels, node)
        scene.RemoveNode(labels)
        return node

    def _host_load(self, path: str, name: str, class_name: str) -> Any:
        scene = self._host_core.scene
        node = scene.AddNewNodeByClass(class_name, scene.GenerateUniqueName(name))
        node.AddDefaultStorageNode(path)
        storage = node.GetStorageNode()
        storage.SetFileName(path)
        if not storage.ReadData(node):
            scene.RemoveNode(storage)
            scene.RemoveNode(node)
            return None
        if hasattr(node, "CreateDefaultDisplayNodes"):
            node.CreateDefaultDisplayNodes()
        return node

    def _host_write(self, node: Any, path: str) -> bool:
        storage = node.CreateDefaultStorageNode()
        self._host_core.scene.AddNode(storage)
        storage.SetFileName(str(path))
        written = bool(storage.WriteData(node))
        self._host_core.scene.RemoveNode(storage)
        return written
