"""What a session exports, read back by Slicer's own readers, and that nothing of it names the patient."""

from __future__ import annotations

import json
import sys

import numpy as np
import pydicom
import pytest
import slicer
import slicer.util

from Testing.Python.dicom_files import NAMES, Database, grey, named, write
from Testing.Python.panel.patients import bones, line_integrals, patient
from Testing.Python.panel.sessions import TIMEOUT, choose
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics, pixel_to_camera, project
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.scene.bundle import load_mrb, save_mrb
from XVRegistrationLib.scene.results import read_registration
from XVRegistrationLib.scene.runs import show_item
from XVRegistrationLib.scene.transforms import ijk_to_world
from XVRegistrationLib.scene.volumes import add_segmentation
from XVRegistrationLib.scene.xrays import all_xrays_in, nodes_of, pose_from_node, set_pose

TARGET = (5.0, 20.0, -40.0)


@pytest.fixture
def registered(session, monkeypatch, tmp_path):
    """A run that Slicer's DICOM module knows, full of names, whose second frame was registered."""
    images = np.stack([np.full((70, 78), 100), grey(line_integrals(patient(), 0))])
    nothing = {"PositionerPrimaryAngle": None, "PositionerSecondaryAngle": None}
    file = write(tmp_path / "IM0001", images, **nothing)
    monkeypatch.setattr(slicer, "dicomDatabase", Database([file]), raising=False)
    loaded = slicer.modules.volumes.logic().AddArchetypeVolume(str(file), "loaded", 0)
    loaded.SetAttribute("DICOM.instanceUIDs", slicer.dicomDatabase.instanceForFile(str(file)))
    targets = session.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Targets")
    targets.AddControlPoint(*TARGET, "entry")
    segmentation = add_segmentation(session.scene, bones(3))
    tag = "Segmentation category and type - DICOM master list~SCT^123037004^Anatomical Structure~SCT^272673000^Bone~^^~~^^~^^"
    segmentation.GetSegmentation().GetNthSegment(0).SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), tag)
    choose(session, segmentation=segmentation, targets=targets)
    session.add_nodes([loaded])
    session.wait(TIMEOUT)
    session.scene.RemoveNode(loaded)
    [row] = session.rows()
    with pytest.raises(InputError, match="Register an X-ray first"):
        session.export(tmp_path / "nothing")
    session.show_frame(row.node, 1)
    session.register()
    session.wait(TIMEOUT)
    return row.node


def test_what_a_session_exports_is_read_by_slicer_and_names_nobody(session, registered, root, tmp_path):
    pose = pose_from_node(registered)
    camera = Intrinsics.from_dict(read_registration(registered)["intrinsics"])
    written = session.export(tmp_path / "out")
    assert {path.name for path in written} == {path.name for path in (tmp_path / "out").iterdir()}
    assert {"loaded_labels.dcm", "loaded_overlay.png", "scene.mrb", "README.txt"} <= {path.name for path in written}

    transforms = slicer.vtkMRMLTransformStorageNode()
    for suffix, exact in (("tfm", 1e-6), ("h5", 1e-9)):
        node = session.scene.AddNewNodeByClass("vtkMRMLTransformNode", suffix)
        transforms.SetFileName(str(tmp_path / "out" / f"loaded_pose_LPS.{suffix}"))
        assert transforms.ReadData(node)
        assert np.abs(slicer.util.arrayFromTransformMatrix(node) - pose).max() < exact
    for suffix in ("nii.gz", "nrrd"):
        node = slicer.modules.volumes.logic().AddArchetypeVolume(
            str(tmp_path / "out" / f"loaded_labels.{suffix}"), suffix, 1
        )
        pixels = np.array([[0.0, 0.0], [77.0, 30.0]])
        found = transform_points(ijk_to_world(node), [[*p, 0] for p in pixels])
        assert np.abs(found - transform_points(pose, pixel_to_camera(pixels, camera))).max() < 1e-3
        assert set(np.unique(slicer.util.arrayFromVolume(node))) == {0, 1, 2, 3}

    [entry] = json.loads((tmp_path / "out" / "registrations.json").read_text())
    assert entry["targets"][0]["pixel"] == pytest.approx(project(TARGET, pose, camera))
    raw = pydicom.dcmread(tmp_path / "out" / "loaded_labels.dcm")
    assert [s.SegmentLabel for s in raw.SegmentSequence] == ["bone 1", "bone 2", "bone 3"]
    assert [s.SegmentedPropertyTypeCodeSequence[0].CodeMeaning for s in raw.SegmentSequence][:2] == ["Bone", "Tissue"]
    source = raw.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert source.ReferencedSOPInstanceUID == registered.GetAttribute("DICOM.instanceUIDs")
    assert source.ReferencedFrameNumber == 2

    kept = [path for path in root.rglob("*") if path.is_file()]
    assert kept  # models and the engine's log
    assert named([slicer.dicomDatabase.fileForInstance(registered.GetAttribute("DICOM.instanceUIDs"))])  # it finds
    assert named([*written, *kept]) == []
    assert not [text for text in session.log if any(value in text for value in NAMES.values())]


def test_of_an_x_ray_from_the_disk_a_dicom_segmentation_is_written_too(session, tmp_path, monkeypatch):
    file = write(tmp_path / "IM0001.dcm", grey(line_integrals(patient(), 0)))
    choose(session, segmentation=add_segmentation(session.scene, bones(3)))
    session.add_files([file])
    session.wait(TIMEOUT)
    session.register()
    session.wait(TIMEOUT)
    written = session.export(tmp_path / "out", bundle=False)
    raw = pydicom.dcmread(tmp_path / "out" / "IM0001_labels.dcm")
    referred = {element.value for element in raw.iterall() if element.keyword == "ReferencedSOPInstanceUID"}
    assert referred == {pydicom.dcmread(file).SOPInstanceUID}
    assert named(written) == []
    monkeypatch.setitem(sys.modules, "highdicom", None)  # as in Slicer, which does not have it
    without = {path.name for path in session.export(tmp_path / "without", bundle=False)}
    assert without == {path.name for path in written} - {"IM0001_labels.dcm"}
    assert "install highdicom" in session.status
    monkeypatch.undo()
    save_mrb(session.scene, tmp_path / "scene.mrb")
    session.parameters.volume = session.parameters.xray = session.parameters.segmentation = None
    load_mrb(session.scene, tmp_path / "scene.mrb")
    session.parameters.volume = slicer.util.getNode("patient")
    session.wait(TIMEOUT)
    again = {path.name for path in session.export(tmp_path / "again", bundle=False)}
    assert again == without
    assert "No DICOM segmentation, for want of their files, of: IM0001." in session.status


def test_a_ct_of_slicers_dicom_module_leaves_its_patient_out_of_the_exported_scene(session, registered, tmp_path):
    ct = session.parameters.volume
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(session.scene)
    person = tree.CreateSubjectItem(tree.GetSceneItemID(), f"{NAMES['PatientName']} ({NAMES['PatientID']})")
    tree.SetItemAttribute(person, "DICOM.PatientBirthDate", NAMES["PatientBirthDate"])
    tree.SetItemUID(person, "DICOM", NAMES["PatientID"])
    study = tree.CreateStudyItem(person, f"{NAMES['StudyDescription']} ({NAMES['StudyDate']})")
    item = tree.GetItemByDataNode(ct) or tree.CreateItem(study, ct)
    tree.SetItemParent(item, study)
    tree.SetItemUID(item, "DICOM", "1.2.3")
    ct.SetName(f"4: {NAMES['SeriesDescription']}")
    assert named(session.export(tmp_path / "out")) == []
    assert (ct.GetName(), tree.GetItemName(person)[:10]) == (f"4: {NAMES['SeriesDescription']}", "Mustermann")
    session.tick()
    session.wait(TIMEOUT)
    assert session.rows()[0].look == "converged"
    whole = [path for path in session.export(tmp_path / "whole", keep_identity=True) if path.suffix == ".mrb"]
    assert {value for _file, value in named(whole)} >= {NAMES["PatientName"], NAMES["SeriesDescription"]}


def test_the_exported_scene_is_the_session_again(session, registered, tmp_path):
    pose = pose_from_node(registered)
    session.export(tmp_path / "out")
    session.parameters.volume = session.parameters.xray = None
    session.parameters.segmentation = session.parameters.targets = None
    load_mrb(session.scene, tmp_path / "out" / "scene.mrb")
    [node] = all_xrays_in(session.scene)
    assert np.abs(pose_from_node(node) - pose).max() < 1e-9
    show_item(node, 0)
    assert read_registration(node) is None
    show_item(node, 1)
    assert read_registration(node)["similarity"] > 0.9


def test_an_xray_that_was_moved_since_is_not_exported_as_registered(session, registered, tmp_path):
    moved = pose_from_node(registered).copy()
    moved[0, 3] += 5
    set_pose(nodes_of(registered), moved)
    with pytest.raises(InputError, match="not registered where it stands"):
        session.export(tmp_path / "out", [registered])
    assert not (tmp_path / "out").exists()
