"""Slicer's DICOM module loads X-rays by the module's plugin: on a real scene, with a stand-in of DICOMLib and the database."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pydicom
import pytest
import slicer
import slicer.util
from pydicom.uid import generate_uid
from vtk.util.numpy_support import vtk_to_numpy

from Testing.Host.dicom_lib import DICOMLoadable, DICOMPlugin
from Testing.Python.dicom_files import CR, CT, DX, NAMES, RF, XA, Database, write
from Testing.Python.unit.dicom_files import ENHANCED_XA, write_enhanced_xa
from Testing.Python.unit.dicom_files import item as elements
from XVRegistrationLib.geometry.angles import pose_from_angles
from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.geometry.frustum import frustum
from XVRegistrationLib.imaging.xray_files import read_run
from XVRegistrationLib.scene import dicom_plugin
from XVRegistrationLib.scene.attributes import read_missing, read_origins
from XVRegistrationLib.scene.bundle import load_mrb, save_mrb
from XVRegistrationLib.scene.dicom_import import offers
from XVRegistrationLib.scene.overlays import project_through_nodes
from XVRegistrationLib.scene.pairs import partner_of
from XVRegistrationLib.scene.runs import item_of, run_of, show_item
from XVRegistrationLib.scene.xrays import (
    all_xrays_in,
    intrinsics_from_node,
    name_of,
    nodes_of,
    pose_from_node,
    xray_from_node,
)

ENHANCED_XRF = "1.2.840.10008.5.1.4.1.1.12.2.1"
IMAGE = np.random.default_rng(0).integers(0, 60000, (40, 50)).astype(np.uint16)
RUN = np.random.default_rng(1).integers(0, 60000, (3, 40, 50)).astype(np.uint16)
POINTS = np.random.default_rng(2).uniform(-60, 60, (30, 3))


@pytest.fixture
def plugin(monkeypatch):
    """The plugin as Slicer's DICOM module finds it."""
    library = ModuleType("DICOMLib")
    library.DICOMLoadable, library.DICOMPlugin = DICOMLoadable, DICOMPlugin
    monkeypatch.setitem(sys.modules, "DICOMLib", library)
    monkeypatch.setattr(slicer.modules, "dicomPlugins", {}, raising=False)
    assert dicom_plugin.register()
    return slicer.modules.dicomPlugins[dicom_plugin.NAME]()


def use(monkeypatch, files):
    monkeypatch.setattr(slicer, "dicomDatabase", Database(files), raising=False)
    return [str(file) for file in files]


def test_without_slicers_dicom_nothing_is_registered(monkeypatch, scene):
    monkeypatch.setitem(sys.modules, "DICOMLib", None)
    monkeypatch.delattr(slicer.modules, "dicomPlugins", raising=False)
    assert not dicom_plugin.register()
    assert not hasattr(slicer.modules, "dicomPlugins")


def test_xrays_are_offered_with_confidence_and_nothing_else_is(plugin, monkeypatch, scene, tmp_path):
    files = [
        write(tmp_path / "xa", IMAGE, XA, PositionerPrimaryAngle=-30, PositionerSecondaryAngle=20),
        write(tmp_path / "cr", IMAGE, CR, PixelSpacing=[0.2, 0.2]),
        write(tmp_path / "dx", IMAGE, DX, DistanceSourceToDetector=1800, ImagerPixelSpacing=[0.14, 0.14]),
        write(tmp_path / "ct", IMAGE, CT),
    ]
    broken = tmp_path / "broken"
    broken.write_bytes(b"\x00" * 200 + b"garbage")
    found = plugin.examineForImport([use(monkeypatch, files[:2]), use(monkeypatch, files)[2:]])
    assert [(x.name, x.confidence, x.selected) for x in found] == [
        ("XA 5-2 RAO 30 CRA 20", 0.95, True),
        ("CR 5-2", 0.9, True),
        ("DX 5-2", 0.95, True),
    ]
    assert "distance source-detector" in found[1].warning
    assert found[0].warning == found[2].warning == ""
    assert offers([str(broken), str(tmp_path / "gone")]) == []


@pytest.mark.filterwarnings("error")  # pydicom's quote what a file holds
@pytest.mark.parametrize(
    ("element", "damaged", "name"),
    [
        (b"\x28\x00\x08\x00IS\x02\x003 ", b"3x", "XA 5-2 LAO 0 CRA 0"),
        (b"\x18\x00\x10\x11DS\x04\x001020", b"10x0", "XA 5-2 LAO 0 CRA 0"),
        (b"\x18\x00\x10\x15DS\x04\x0030.5", b"nan ", "XA 5-2"),
        (b"\x18\x00\x10\x15DS\x04\x0030.5", b"3,05", "XA 5-2"),
        (b"\x20\x00\x11\x00IS\x02\x005 ", b"5x", "XA 2 LAO 0 CRA 0"),
    ],
)
def test_a_value_that_is_none_does_not_keep_the_other_files_from_being_offered(tmp_path, element, damaged, name):
    stated = {
        "PositionerPrimaryAngle": "30.5" if element.endswith(b"30.5") else "0",
        "DistanceSourceToDetector": "1020",
    }
    file, good = write(tmp_path / "a", RUN, **stated), write(tmp_path / "b", IMAGE)
    content = file.read_bytes()
    assert content.count(element) == 1
    file.write_bytes(content.replace(element, element[: -len(damaged)] + damaged))
    found = offers([str(file), str(good)])
    assert [offer.name for offer in found] == [name, "XA 5-2 LAO 0 CRA 0"]
    assert bool(found[0].warning) == (damaged == b"10x0")


def test_an_xray_is_loaded_under_its_carm(plugin, monkeypatch, scene, tmp_path):
    file = write(tmp_path / "xa", IMAGE, PositionerPrimaryAngle=-30, PositionerSecondaryAngle=20)
    [loadable] = plugin.examineForImport([use(monkeypatch, [file])])
    node = plugin.load(loadable)
    assert all_xrays_in(scene) == [node]
    assert name_of(node) == "XA 5-2 RAO 30 CRA 20"
    pose = pose_from_angles(-30.0, 20.0, 700.0, np.zeros(3))
    camera = Intrinsics.centered(1020.0, (5.0, 5.0), (50, 40), mirrored=True)
    assert intrinsics_from_node(node) == camera
    assert np.abs(project_through_nodes(node, POINTS) - project(POINTS, pose, camera)).max() < 0.01
    assert np.array_equal(xray_from_node(node).pixels, IMAGE)
    assert read_origins(node)["sdd"] == "tag"
    assert node.GetAttribute("DICOM.instanceUIDs") == slicer.dicomDatabase.instanceForFile(str(file))


def test_what_a_file_does_not_state_is_asked_for_and_not_the_one_millimetre_of_other_readers(
    plugin, monkeypatch, scene, tmp_path
):
    file = write(tmp_path / "cr", IMAGE, CR)
    [loadable] = plugin.examineForImport([use(monkeypatch, [file])])
    node = plugin.load(loadable)
    assert read_missing(node) == ["sdd", "spacing"]
    assert nodes_of(node) is None


def shown_where_stated(node, states, stored):
    """Whether each frame of an X-ray lies where its file says, with its own pixels, as whoever plays it sees it."""
    assert run_of(node).count == len(states)
    for item in (*range(len(states)), 0):
        run_of(node).browser.SetSelectedItemNumber(item)
        state, camera = states[item], intrinsics_from_node(node)
        assert np.array_equal(xray_from_node(node).pixels, stored[item])
        pose = pose_from_angles(state.primary_angle, state.secondary_angle, state.sod or 700.0, np.zeros(3))
        assert (camera.sdd, camera.spacing) == (state.sdd, state.spacing)
        assert np.abs(project_through_nodes(node, POINTS) - project(POINTS, pose, camera)).max() < 0.01
        corners = vtk_to_numpy(nodes_of(node).frustum.GetPolyData().GetPoints().GetData())
        assert np.abs(corners - frustum(camera).points).max() < 1e-3
        assert nodes_of(node).frustum.GetParentTransformNode() is nodes_of(node).pose


def test_fluoroscopy_is_loaded_frame_by_frame(plugin, monkeypatch, scene, tmp_path):
    angles = {"PositionerPrimaryAngle": 20, "PositionerSecondaryAngle": -10}
    file = write(tmp_path / "rf", RUN, RF, PositionerPrimaryAngleIncrement=[0, 5, 10], **angles)
    [loadable] = plugin.examineForImport([use(monkeypatch, [file])])
    assert (loadable.name, loadable.confidence, loadable.warning) == ("RF 5-2 LAO 20 CAU 10", 0.95, "")
    assert "3 frames as a sequence" in loadable.tooltip
    node = plugin.load(loadable)
    states = read_run(file)
    assert len({state.primary_angle for state in states}) == 3
    shown_where_stated(node, states, RUN)


@pytest.mark.parametrize(("sop_class", "modality"), [(ENHANCED_XA, "XA"), (ENHANCED_XRF, "RF")])
def test_an_enhanced_run_is_loaded_with_the_distance_of_each_frame(
    plugin, monkeypatch, scene, tmp_path, sop_class, modality
):
    """The detector may be moved between frames: geometry, pose and frustum are those of the frame that is shown."""
    file = tmp_path / "enhanced"
    stored = RUN % 4096
    write_enhanced_xa(file, stored, SeriesNumber=5, InstanceNumber=2)
    d = pydicom.dcmread(file)
    d.SOPClassUID = d.file_meta.MediaStorageSOPClassUID = sop_class
    d.Modality = modality
    for i, frame in enumerate(d.PerFrameFunctionalGroupsSequence):
        frame.XRayGeometrySequence = [
            elements(DistanceSourceToDetector=1100.0 + 20 * i, DistanceSourceToIsocenter=720.0)
        ]
    del d.SharedFunctionalGroupsSequence[0].XRayGeometrySequence
    d.save_as(file)
    [loadable] = plugin.examineForImport([use(monkeypatch, [file])])
    assert (loadable.name, loadable.confidence, loadable.warning) == (f"{modality} 5-2", 0.95, "")
    node = plugin.load(loadable)
    states = read_run(file)
    assert [(state.sdd, state.sod) for state in states] == [(1100.0, 720.0), (1120.0, 720.0), (1140.0, 720.0)]
    shown_where_stated(node, states, stored)
    load_mrb(scene, save_mrb(scene, tmp_path / "run.mrb"))
    [node] = all_xrays_in(scene)
    shown_where_stated(node, states, stored)


def test_a_run_is_loaded_as_a_sequence_of_frames_at_their_own_angles(plugin, monkeypatch, scene, tmp_path):
    file = write(tmp_path / "run", RUN, PositionerPrimaryAngleIncrement=[0, 15, 30])
    [loadable] = plugin.examineForImport([use(monkeypatch, [file])])
    assert "3 frames as a sequence" in loadable.tooltip
    node = plugin.load(loadable)
    states = read_run(file)
    assert run_of(node).count == 3
    assert {part.primary_angle for part in states} != {0.0}
    load_mrb(scene, save_mrb(scene, tmp_path / "run.mrb"))
    [node] = all_xrays_in(scene)
    for item, state in enumerate(states):
        show_item(node, item)
        assert np.array_equal(xray_from_node(node).pixels, RUN[item])
        pose = pose_from_angles(state.primary_angle, state.secondary_angle, 700.0, np.zeros(3))
        assert np.abs(pose_from_node(node) - pose).max() < 1e-6
        expected = project(POINTS, pose, intrinsics_from_node(node))
        assert np.abs(project_through_nodes(node, POINTS) - expected).max() < 0.01
        assert node.GetAttribute("DICOM.instanceUIDs")


@pytest.mark.parametrize("said", ["by the standard", "by the number"])
def test_the_planes_of_a_biplane_system_are_loaded_together(plugin, monkeypatch, scene, tmp_path, said):
    """They are two files, in two series or one."""
    from pydicom.dataset import Dataset

    study, series, uids = generate_uid(), generate_uid(), (generate_uid(), generate_uid())
    shared = {"StudyInstanceUID": study}
    planes = [dict(shared), dict(shared)]
    for i, plane in enumerate(planes):
        plane["SOPInstanceUID"] = uids[i]
        if said == "by the standard":
            other = Dataset()
            other.ReferencedSOPClassUID, other.ReferencedSOPInstanceUID = XA, uids[1 - i]
            plane |= {"ImageType": ["ORIGINAL", "PRIMARY", f"BIPLANE {'AB'[i]}"], "ReferencedImageSequence": [other]}
            plane["InstanceNumber"] = i + 1
        else:
            plane["SeriesInstanceUID"] = series
    files = [
        write(tmp_path / "lateral", RUN[::-1].copy(), PositionerPrimaryAngle=90, **planes[1]),
        write(tmp_path / "frontal", RUN, PositionerPrimaryAngle=0, **planes[0]),
        write(tmp_path / "other", IMAGE, InstanceNumber=7),
    ]
    names = use(monkeypatch, files)
    found = plugin.examineForImport([[name] for name in names])
    assert sorted(len(x.files) for x in found) == [1, 2]
    pair = next(x for x in found if len(x.files) == 2)
    plugin.load(pair)
    nodes = all_xrays_in(scene)
    assert [name_of(n)[-1] for n in nodes] == ["A", "B"]
    if said == "by the standard":
        assert np.array_equal(xray_from_node(nodes[0]).pixels, RUN[0])
    assert run_of(nodes[0]).browser is run_of(nodes[1]).browser
    assert [partner_of(n) for n in nodes] == nodes[::-1]
    show_item(nodes[0], 2)
    assert [item_of(n) for n in nodes] == [2, 2]


def test_nothing_of_the_patient_gets_into_the_scene(plugin, monkeypatch, scene, tmp_path):
    file = write(tmp_path / "run", RUN)
    [loadable] = plugin.examineForImport([use(monkeypatch, [file])])
    plugin.load(loadable)
    text = scene.GetURL() or ""
    scene.SetSaveToXMLString(1)
    scene.Commit()
    text += scene.GetSceneXMLString() + loadable.name + loadable.tooltip + loadable.warning
    scene.SetSaveToXMLString(0)
    assert "X-ray (XA 5-2" in text
    assert not [value for value in NAMES.values() if value in text]


def test_a_damaged_file_is_said_in_the_log_and_not_loaded(plugin, monkeypatch, scene, tmp_path, caplog):
    file = write(tmp_path / "xa", IMAGE)
    [loadable] = plugin.examineForImport([use(monkeypatch, [file])])
    file.write_bytes(file.read_bytes()[:-2000])
    assert plugin.load(loadable) is False
    assert "cannot be decoded" in caplog.text
    assert all_xrays_in(scene) == []
