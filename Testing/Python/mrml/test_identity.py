"""A scene with what Slicer's DICOM module writes about a patient: saved for others it names nobody, and stays as it was."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import slicer
import slicer.util
import vtk

from Testing.Python.dicom_files import NAMES, named, write
from Testing.Python.mrml.scene_state import state_of
from XVRegistrationLib.scene.bundle import load_mrb, save_mrb
from XVRegistrationLib.scene.identity import without_identity

C = slicer.vtkMRMLSubjectHierarchyConstants
PATIENT, STUDY, SERIES = NAMES["PatientID"], "1.2.826.1.5", "1.2.826.1.5.7"
VOXELS = np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6)).astype(np.int16)


def tree_of(scene):
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)


def load_as_slicer(scene, name, series=SERIES, number="5"):
    """A volume as DICOMPlugin.addSeriesInSubjectHierarchy of Slicer 5.12 leaves it."""
    node = slicer.util.addVolumeFromArray(VOXELS, name=name)
    node.SetAttribute("DICOM.instanceUIDs", f"{series}.1 {series}.2")
    tree = tree_of(scene)
    item = tree.GetItemByDataNode(node) or tree.CreateItem(tree.GetSceneItemID(), node)
    tree.SetItemUID(item, C.GetDICOMUIDName(), series)
    tree.SetItemUID(item, C.GetDICOMInstanceUIDName(), f"{series}.1 {series}.2")
    tree.SetItemAttribute(item, C.GetDICOMSeriesModalityAttributeName(), "CT")
    tree.SetItemAttribute(item, C.GetDICOMSeriesNumberAttributeName(), number)
    logic = slicer.vtkSlicerSubjectHierarchyModuleLogic
    logic.InsertDicomSeriesInHierarchy(tree, PATIENT, STUDY, series)
    patient = tree.GetItemByUID(C.GetDICOMUIDName(), PATIENT)
    tree.SetItemName(patient, f"{NAMES['PatientName']} ({PATIENT})")
    for key in ("PatientName", "PatientID", "PatientBirthDate", "PatientComments"):
        tree.SetItemAttribute(patient, f"DICOM.{key}", NAMES[key])
    tree.SetItemAttribute(patient, "DICOM.PatientSex", "F")
    study = tree.GetItemByUID(C.GetDICOMUIDName(), STUDY)
    tree.SetItemName(study, f"{NAMES['StudyDescription']} ({NAMES['StudyDate']})")
    for key in ("StudyID", "StudyDescription", "StudyDate", "StudyTime"):
        tree.SetItemAttribute(study, f"DICOM.{key}", NAMES[key])
    assert tree.GetItemParent(item) == study
    assert tree.GetItemParent(study) == patient
    return node


@pytest.fixture
def patient_scene(scene):
    """CT, what was made of it, and notes of a user, all named after the patient."""
    ct = load_as_slicer(scene, f"5: {NAMES['SeriesDescription']}")
    cropped = slicer.util.addVolumeFromArray(VOXELS, name=f"{ct.GetName()} cropped")
    cropped.SetDescription(f"For {NAMES['PatientName']}, born {NAMES['PatientBirthDate']}")
    cropped.SetAttribute("Note", f"{NAMES['PatientComments']} ({PATIENT})")
    cropped.SetAttribute("DICOM.PatientName", NAMES["PatientName"])
    markups = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Mustermann, Erika")
    markups.AddControlPoint(1.0, 2.0, 3.0, "entry")
    frames = scene.AddNewNodeByClass("vtkMRMLSequenceNode", f"Frames of {ct.GetName()}")
    frames.SetDataNodeAtValue(ct, "0")
    scene.RegisterNodeClass(slicer.vtkMRMLSceneViewNode())
    scene.AddNewNodeByClass("vtkMRMLSceneViewNode", "View").StoreScene()
    return scene


def test_what_is_saved_for_others_names_nobody_and_the_scene_stays_as_it_was(patient_scene, tmp_path):
    whole = save_mrb(patient_scene, tmp_path / "whole.mrb")  # the first time storage nodes are made
    before = state_of(patient_scene)
    found = {value for _file, value in named([whole])}
    assert found >= {NAMES["PatientName"], NAMES["StudyDescription"], NAMES["SeriesDescription"], PATIENT}
    with without_identity(patient_scene):
        bundle = save_mrb(patient_scene, tmp_path / "others.mrb")
    assert named([bundle]) == []
    for _name, data in contents(bundle):
        for part in (b"Mustermann", b"Erika", b"Herzkatheter"):
            assert part not in data
    assert state_of(patient_scene) == before
    assert {value for _file, value in named([save_mrb(patient_scene, tmp_path / "again.mrb")])} == found


def contents(bundle):
    with zipfile.ZipFile(bundle) as opened:
        return [(name, name.encode() + opened.read(name)) for name in opened.namelist()]


def test_what_is_saved_for_others_is_the_same_scene(patient_scene, tmp_path):
    with without_identity(patient_scene):
        bundle = save_mrb(patient_scene, tmp_path / "others.mrb")
    load_mrb(patient_scene, bundle)
    ct = slicer.util.getNode("CT 5")
    assert np.array_equal(slicer.util.arrayFromVolume(ct), VOXELS)
    assert np.array_equal(slicer.util.arrayFromVolume(slicer.util.getNode("CT 5 cropped")), VOXELS)
    assert ct.GetAttribute("DICOM.instanceUIDs") == f"{SERIES}.1 {SERIES}.2"
    tree = tree_of(patient_scene)
    item = tree.GetItemByDataNode(ct)
    assert (tree.GetItemUID(item, "DICOM"), tree.GetItemAttribute(item, "DICOM.Modality")) == (SERIES, "CT")
    study = tree.GetItemParent(item)
    assert [tree.GetItemName(i) for i in (study, tree.GetItemParent(study))] == ["Study", "Patient"]
    assert tree.GetItemUID(study, "DICOM") == STUDY


def test_the_path_of_the_files_that_a_volume_came_from_is_not_saved(scene, tmp_path):
    folder = tmp_path / "Mustermann^Erika"
    folder.mkdir()
    file = write(folder / "PID4711XYZ.dcm", np.zeros((8, 9), np.uint16))
    node = slicer.modules.volumes.logic().AddArchetypeVolume(str(file), f"5: {NAMES['SeriesDescription']}", 0)
    node.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    with without_identity(scene):
        bundle = save_mrb(scene, tmp_path / "others.mrb")
    assert named([bundle]) == []
    assert node.GetStorageNode().GetFileName() == str(file)


def test_a_scene_without_patients_is_saved_as_it_is_and_an_exception_leaves_it_so(scene, patient_scene):
    before = state_of(patient_scene)
    with pytest.raises(RuntimeError, match="full"), without_identity(patient_scene):
        raise RuntimeError("disk full")
    assert state_of(patient_scene) == before
    scene.Clear(0)
    model = scene.AddNewNodeByClass("vtkMRMLModelNode", "Max Ray")
    model.SetAndObservePolyData(vtk.vtkPolyData())
    before = state_of(scene)
    with without_identity(scene):
        assert state_of(scene) == before
