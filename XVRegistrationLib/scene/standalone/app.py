"""What Slicer's application does at start, without Qt: one scene, the application logic and the module logics."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import slicer
import vtk

from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    import os

# "Colors" comes before "Volumes", which asks it for the default colours of a new volume.
_MODULE_LOGICS = {
    "Colors": "vtkMRMLColorLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Models": "vtkSlicerModelsLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "Data": "vtkSlicerDataModuleLogic",
    "Cameras": "vtkSlicerCamerasModuleLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Tables": "vtkSlicerTablesLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
}


class StandaloneApplication:
    """The scene and the logics of this process. There is one: `start` makes it."""

    def __init__(self, temporary_folder: Path) -> None:
        self.temporary_folder = temporary_folder
        self.scene: Any = slicer.vtkMRMLScene()
        self.logic: Any = slicer.vtkSlicerApplicationLogic()
        self.module_logics: dict[str, Any] = {}
        self._start_application_logic()
        self._start_file_access()
        self._start_module_logics()
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)

    def _start_application_logic(self) -> None:
        self.logic.SetMRMLScene(self.scene)
        self.logic.SetTemporaryPath(str(self.temporary_folder))
        self.logic.SetSliceLogics(vtk.vtkCollection())
        self.logic.SetViewLogics(vtk.vtkCollection())
        self.logic.GetColorLogic().SetMRMLScene(self.scene)
        self.logic.GetColorLogic().AddDefaultColorNodes()
        self.scene.AddNode(slicer.vtkMRMLCrosshairNode())
        for factory in (
            slicer.vtkMRMLThreeDViewDisplayableManagerFactory,
            slicer.vtkMRMLSliceViewDisplayableManagerFactory,
        ):
            factory.GetInstance().SetMRMLApplicationLogic(self.logic)

    def _start_file_access(self) -> None:
        """Storage nodes and scene bundles look up their files through these two."""
        self._cache = slicer.vtkCacheManager()
        self._cache.SetRemoteCacheDirectory(str(self.temporary_folder))
        self._data_io = slicer.vtkDataIOManager()
        self._data_io.SetCacheManager(self._cache)
        self.scene.SetDataIOManager(self._data_io)
        self.scene.SetCacheManager(self._cache)

    def _start_module_logics(self) -> None:
        for name, class_name in _MODULE_LOGICS.items():
            logic = getattr(slicer, class_name)()
            logic.SetMRMLScene(self.scene)
            logic.SetMRMLApplicationLogic(self.logic)
            self.logic.SetModuleLogic(name, logic)
            self.module_logics[name] = logic


_application: StandaloneApplication | None = None


def start(temporary_folder: str | os.PathLike[str] | None = None) -> StandaloneApplication:
    """Return this process's scene and logics; brings them up at the first call.

    `slicer.mrmlScene` and `slicer.modules.<name>.logic()` work afterwards, as in Slicer. Temporary files go to
    `temporary_folder`, or to a folder that is removed when the process ends.
    """
    global _application
    if _application is None:
        if getattr(slicer, "mrmlScene", None) is not None:
            raise InputError("A scene is already there (is this 3D Slicer?); use slicer.mrmlScene.")
        if temporary_folder is None:
            folder = Path(tempfile.mkdtemp(prefix="XVRegistration-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
        else:
            folder = Path(temporary_folder).resolve()
            folder.mkdir(parents=True, exist_ok=True)
        _application = StandaloneApplication(folder)
        slicer.mrmlScene = _application.scene
        slicer.modules = SimpleNamespace(
            **{name.lower(): _module(logic) for name, logic in _application.module_logics.items()}
        )
    return _application


def _module(logic: Any) -> SimpleNamespace:
    return SimpleNamespace(logic=lambda: logic)
