"""X-rays that Slicer's DICOM module has loaded, and runs: on a real scene, with the real engine and Slicer's own reader."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer
import slicer.util

from Testing.Python.dicom_files import CR, CT, NAMES, XA, Database, grey, named, write
from Testing.Python.panel.patients import CAMERA, dsa_run, line_integrals, patient, pose_of
from Testing.Python.panel.sessions import TIMEOUT, choose, error_of, row_of
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.angles import pose_from_angles
from XVRegistrationLib.panel.dicom_source import source_of
from XVRegistrationLib.scene.dicom_import import load, offers
from XVRegistrationLib.scene.results import read_registration
from XVRegistrationLib.scene.runs import frame_of, item_of, run_of
from XVRegistrationLib.scene.volumes import add_volume
from XVRegistrationLib.scene.xrays import (
    intrinsics_from_node,
    mask_of,
    name_of,
    nodes_of,
    pose_from_node,
    xray_from_node,
)

FLAT = np.arange(70 * 78, dtype=np.uint16).reshape(70, 78) % 4000


@pytest.fixture
def run_file(tmp_path):
    """A run of three frames: nothing, and the patient from `pose_of` 0 and 1; not mirrored, as those poses see it."""
    frames = np.stack([FLAT, *(grey(line_integrals(patient(), number)) for number in range(2))])
    return write(tmp_path / "run.dcm", frames, PositionerPrimaryAngle=None, PositionerSecondaryAngle=None)


def by_slicer(monkeypatch, session, file, name="loaded"):
    """The node that Slicer's own reader makes of a file, and a database that knows the file."""
    database = Database([file])
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    node = slicer.modules.volumes.logic().AddArchetypeVolume(str(file), name, 0)
    node.SetAttribute("DICOM.instanceUIDs", database.instanceForFile(str(file)))
    return node


def added(session):
    session.wait(TIMEOUT)
    return session.rows()[-1].node


def test_a_run_of_a_file_is_one_xray_whose_shown_frame_is_registered(session, run_file):
    choose(session)
    session.add_files([run_file])
    node = added(session)
    assert len(session.rows()) == 1
    assert "3 frames" in "".join(session.log)
    assert (run_of(node).count, frame_of(node)) == (3, 0)
    for number in (1, 0):
        session.show_frame(node, number + 1)
        session.register()
        session.wait(TIMEOUT)
        assert row_of(session, node).look == "converged", session.log
        assert error_of(node, number) < 1.0
    session.show_frame(node, 0)
    session.wait(TIMEOUT)
    assert read_registration(node) is None
    assert row_of(session, node).state == "ready"
    session.show_frame(node, 2)
    session.wait(TIMEOUT)
    assert row_of(session, node).look == "converged"
    assert error_of(node, 1) < 1.0
    with pytest.raises(InputError, match="of which 3 is none"):
        session.show_frame(node, 3)


def test_all_frames_of_a_run_are_registered_in_turn(session, tmp_path):
    choose(session)
    frames = np.stack([grey(line_integrals(patient(), number)) for number in (0, 1, 0)])
    nothing = {"PositionerPrimaryAngle": None, "PositionerSecondaryAngle": None}
    session.add_files([write(tmp_path / "run.dcm", frames, **nothing)])
    node = added(session)
    assert name_of(node) == "run"
    session.register_run(node)
    assert session.registration_progress() == 0.0
    session.wait(TIMEOUT)
    for item, number in enumerate((0, 1, 0)):
        session.show_frame(node, item)
        assert error_of(node, number) < 1.0
        assert read_registration(node)["similarity"] > 0.9
    kinds = {start["kind"] for start in read_registration(node)["starts"]}
    assert "before" in kinds
    session.add_files([tmp_path / "run.dcm"], frame=0)
    with pytest.raises(InputError, match="single image"):
        session.register_run(added(session))


@pytest.mark.parametrize(("frame", "made"), [(1, 1), ("max", np.max), ("mean", np.mean)])
def test_one_frame_or_what_is_made_of_all_is_added_alone(session, run_file, frame, made):
    choose(session)
    session.add_files([run_file], frame=frame)
    node = added(session)
    stored = np.stack([FLAT, *(grey(line_integrals(patient(), number)) for number in range(2))])
    expected = stored[made] if isinstance(made, int) else made(stored, axis=0)
    assert run_of(node) is None
    assert np.allclose(xray_from_node(node).pixels, expected, atol=1.0)


def test_a_frame_that_is_not_there_is_a_sentence(session, run_file):
    choose(session)
    session.add_files([run_file], frame=7)
    session.wait(TIMEOUT)
    assert session.rows() == []
    assert "run.dcm" in session.status


def test_a_cr_that_slicer_gave_pixels_of_one_millimetre_gets_those_of_its_header(session, monkeypatch, tmp_path):
    choose(session)
    tags = {"DistanceSourceToDetector": 1020, "ImagerPixelSpacing": [5.0, 5.0]}
    node = by_slicer(monkeypatch, session, write(tmp_path / "cr.dcm", FLAT, CR, **tags), "chest")
    node.SetSpacing(1.0, 1.0, 1.0)
    session.add_nodes([node])
    xray = added(session)
    assert intrinsics_from_node(xray).spacing == (5.0, 5.0)
    assert intrinsics_from_node(xray).sdd == 1020.0
    assert name_of(xray) == "chest"
    assert xray.GetAttribute("DICOM.instanceUIDs") == node.GetAttribute("DICOM.instanceUIDs")


def test_an_xray_is_not_called_after_a_series_that_may_name_the_patient(session, monkeypatch, tmp_path):
    choose(session)
    file = write(tmp_path / "xa.dcm", FLAT)
    session.add_nodes([by_slicer(monkeypatch, session, file, f"5: {NAMES['SeriesDescription']}")])
    assert name_of(added(session)) == "XA 5-2"


@pytest.mark.parametrize(("known", "called"), [(True, "CT 5"), (False, "DICOM 7")])
def test_a_model_does_not_say_what_the_series_of_its_ct_is_called(session, root, monkeypatch, tmp_path, known, called):
    file = write(tmp_path / "ct.dcm", FLAT, CT)
    monkeypatch.setattr(slicer, "dicomDatabase", Database([file]), raising=False)
    new = patient(flipped=True)  # no model of it is in the library yet
    new.array[32, 40, 48] = 100 + known
    node = add_volume(session.scene, new)
    node.SetName(f"7: {NAMES['SeriesDescription']}")
    uid = slicer.dicomDatabase.instanceForFile(str(file)) if known else "1.2.3"
    node.SetAttribute("DICOM.instanceUIDs", f"{uid} {uid}.2")
    session.parameters.volume = node
    session.wait(TIMEOUT)
    cards = [json.loads(path.read_text("utf-8")) for path in root.rglob("model.json")]
    assert called in [card["volume"]["name"] for card in cards]
    assert named(path for path in root.rglob("*") if path.is_file()) == []


def test_the_millimetre_that_slicer_makes_up_is_not_taken_for_the_spacing(session, monkeypatch, tmp_path):
    choose(session)
    node = by_slicer(monkeypatch, session, write(tmp_path / "cr.dcm", FLAT, CR))
    assert node.GetSpacing()[:2] == (1.0, 1.0)  # the trap: Slicer's reader says so itself
    session.add_nodes([node])
    assert row_of(session, added(session)).missing == ("sdd", "spacing")
    monkeypatch.delattr(slicer, "dicomDatabase")
    session.add_nodes([node])
    assert row_of(session, added(session)).missing == ("sdd", "spacing")


def test_the_inverted_values_that_slicer_shows_of_monochrome1_are_not_used(session, monkeypatch, tmp_path):
    choose(session)
    tags = {
        "DistanceSourceToDetector": 1020,
        "ImagerPixelSpacing": [5.0, 5.0],
        "PhotometricInterpretation": "MONOCHROME1",
        "PixelIntensityRelationship": "LIN",
        "PixelIntensityRelationshipSign": 1,
    }
    node = by_slicer(monkeypatch, session, write(tmp_path / "cr.dcm", FLAT, CR, **tags))
    shown = slicer.util.arrayFromVolume(node)[0]
    assert np.corrcoef(shown.ravel(), FLAT.ravel())[0, 1] < -0.99  # the trap
    session.add_nodes([node])
    xray = xray_from_node(added(session))
    assert np.array_equal(xray.pixels, FLAT)
    assert xray.scale == "intensity"


def test_a_run_that_slicer_loaded_as_a_volume_becomes_a_run_again(session, monkeypatch, run_file):
    choose(session)
    node = by_slicer(monkeypatch, session, run_file)
    assert node.GetImageData().GetDimensions() == (78, 70, 3)  # the trap
    assert node in session.candidates()
    session.add_nodes([node])
    xray = added(session)
    assert run_of(xray).count == 3
    session.add_nodes([node], frame=2)
    assert np.array_equal(xray_from_node(added(session)).pixels, grey(line_integrals(patient(), 1)))


def test_of_a_sequence_the_frame_that_is_shown_is_added(session, monkeypatch, run_file):
    """As Slicer's plugin for image sequences makes it, of one-slice volumes with the instance's UID."""
    choose(session)
    scene, volume = session.scene, by_slicer(monkeypatch, session, run_file)
    frames = slicer.util.arrayFromVolume(volume)
    sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", "angiogram")
    item = slicer.vtkMRMLScalarVolumeNode()
    item.SetAttribute("DICOM.instanceUIDs", volume.GetAttribute("DICOM.instanceUIDs"))
    for number, frame in enumerate(frames):
        slicer.util.updateVolumeFromArray(item, frame[None].copy())
        sequence.SetDataNodeAtValue(item, str(number))
    browser = scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", "angiogram browser")
    browser.AddSynchronizedSequenceNode(sequence)
    browser.SetSelectedItemNumber(2)
    proxy = browser.GetProxyNode(sequence)
    assert source_of(proxy).frame == 2
    assert proxy in session.candidates()
    session.add_nodes([proxy])
    xray = added(session)
    assert run_of(xray) is None
    assert np.array_equal(xray_from_node(xray).pixels, grey(line_integrals(patient(), 1)))
    session.add_nodes([proxy], frame="run")
    assert run_of(added(session)).count == 3
    scene.RemoveNode(volume)


def test_the_slices_of_a_ct_are_no_run(session, monkeypatch, run_file):
    node = by_slicer(monkeypatch, session, run_file)
    monkeypatch.setattr(slicer.dicomDatabase, "instanceValue", lambda uid, tag: "1.2.840.10008.5.1.4.1.1.2")
    assert source_of(node) is None
    assert node not in session.candidates()


def test_what_slicers_dicom_module_loaded_is_placed_about_the_volume_and_registered(session, monkeypatch, tmp_path):
    angles = {"PositionerPrimaryAngle": 10, "PositionerSecondaryAngle": -5}
    image = np.stack([FLAT, grey(line_integrals(patient(), 0))])
    file = write(tmp_path / "a", image, XA, **angles)
    monkeypatch.setattr(slicer, "dicomDatabase", Database([file]), raising=False)
    [offer] = offers([str(file)])
    [node] = load(session.scene, offer)
    assert np.allclose(pose_from_node(node), pose_from_angles(10.0, -5.0, 700.0, np.zeros(3)))
    choose(session, patient())
    session.wait(TIMEOUT)
    center = patient().center
    expected = pose_from_angles(10.0, -5.0, 700.0, center)
    assert np.allclose(pose_from_node(node), expected)
    [late] = load(session.scene, offer)  # while the volume is already there
    session.wait(TIMEOUT)
    assert [row.node for row in session.rows()] == [node, late]
    for xray in (node, late):
        session.show_frame(xray, 1)
        assert np.allclose(pose_from_node(xray), expected)
        assert item_of(xray) == 1
    session.complete_geometry(node, mirrored=False)
    session.refine_from_here(node)
    session.wait(TIMEOUT)
    assert nodes_of(node) is not None


def test_shutters_of_the_header_are_kept_in_the_scene_and_reach_the_registration(session, monkeypatch, tmp_path):
    choose(session)
    image = grey(line_integrals(patient(), 0))
    image[:12] = 0
    edges = {
        "ShutterShape": "RECTANGULAR",
        "ShutterLeftVerticalEdge": 0,
        "ShutterRightVerticalEdge": 79,
        "ShutterUpperHorizontalEdge": 12,
        "ShutterLowerHorizontalEdge": 71,
    }
    nothing = {"PositionerPrimaryAngle": None, "PositionerSecondaryAngle": None}
    session.add_files([write(tmp_path / "shuttered.dcm", image, **edges, **nothing)])
    node = added(session)
    mask = mask_of(node)
    assert not mask[:10].any()
    assert mask[20:-2].all()
    session.register()
    session.wait(TIMEOUT)
    assert error_of(node, 0) < 1.5
    assert intrinsics_from_node(node).size == CAMERA.size
    assert np.abs(pose_from_node(node) - pose_of(0)).max() < 1.5


@pytest.mark.parametrize("count", [1, 3])
def test_what_a_file_leaves_to_say_of_its_geometry_is_in_the_row(session, tmp_path, count):
    choose(session)
    pixels = np.stack([FLAT] * count) if count > 1 else FLAT
    session.add_files([write(tmp_path / "prone.dcm", pixels, PatientPosition="HFP")])
    node = added(session)
    assert any("HFP" in note for note in row_of(session, node).notes)
    if count > 1:
        session.show_frame(node, 2)
        assert any("HFP" in note for note in row_of(session, node).notes)


def test_a_run_that_slicers_dicom_module_loaded_can_be_subtracted_by_its_file(session, monkeypatch, tmp_path):
    choose(session)
    file = dsa_run(tmp_path / "dsa.dcm")
    monkeypatch.setattr(slicer, "dicomDatabase", Database([file]), raising=False)
    [offer] = offers([str(file)])
    [node] = load(session.scene, offer)
    session.wait(TIMEOUT)
    assert session.file_of(node) == file
    assert session.can_subtract(node) == ""
    session.read_again(node, subtract=True)
    session.wait(TIMEOUT)
    assert row_of(session, node).source.subtracted
    assert run_of(node).count == 3
    for item in range(3):
        session.show_frame(node, item)
        assert node.GetAttribute("DICOM.instanceUIDs") == offer.uids[0]


def test_one_plane_of_a_biplane_run_is_read_anew_and_the_other_stays_as_it_is(session, monkeypatch, tmp_path):
    choose(session)
    tags = {"SeriesInstanceUID": "1.2.5", "StudyInstanceUID": "1.2.6"}
    planes = [write(tmp_path / f"{n}.dcm", np.stack([FLAT, FLAT + n]), **tags) for n in (1, 2)]
    monkeypatch.setattr(slicer, "dicomDatabase", Database(planes), raising=False)
    [offer] = offers([str(file) for file in planes])
    a, b = load(session.scene, offer)
    assert run_of(a).browser is run_of(b).browser
    session.read_again(a, frame="max")
    session.wait(TIMEOUT)
    assert run_of(a) is None
    assert np.array_equal(xray_from_node(a).pixels, FLAT + 1)
    session.show_frame(b, 1)
    assert np.array_equal(xray_from_node(b).pixels, FLAT + 2)
    assert np.array_equal(xray_from_node(a).pixels, FLAT + 1)
    session.read_again(a, frame="run")
    session.wait(TIMEOUT)
    session.show_frame(a, 0)
    assert np.array_equal(xray_from_node(a).pixels, FLAT)
    assert np.array_equal(xray_from_node(b).pixels, FLAT + 2)
