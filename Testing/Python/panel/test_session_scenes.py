"""Scenes that are saved and closed, several patients, an engine that dies, a disk that refuses: the session goes on."""

from __future__ import annotations

import time

import numpy as np
import slicer
import slicer.util

from Testing.Python.panel.patients import bones, patient, pose_of, write_xray
from Testing.Python.panel.sessions import TIMEOUT, add, choose, error_of, row_of
from XVRegistrationLib.panel.parameters import Parameters
from XVRegistrationLib.panel.session import Session
from XVRegistrationLib.scene.bundle import load_mrb, save_mrb
from XVRegistrationLib.scene.standalone.app import start
from XVRegistrationLib.scene.volumes import add_segmentation, add_volume
from XVRegistrationLib.scene.xrays import all_xrays_in, pose_from_node


def told(row):
    """What a row tells, without its node and picture."""
    return {name: value for name, value in vars(row).items() if name not in ("node", "node_id", "thumbnail")}


def test_everything_is_there_again_after_the_scene_was_saved_and_opened(session, files, root, tmp_path):
    choose(session, segmentation=add_segmentation(session.scene, bones()))
    first, _second = add(session, files)
    session.register([first])
    session.wait(TIMEOUT)
    rows = [told(row) for row in session.rows()]
    pose, folder = pose_from_node(first).copy(), session.model_view().folder
    save_mrb(session.scene, tmp_path / "scene.mrb")
    session.set_parameters(None)
    session.scene.Clear(0)

    load_mrb(start().scene, tmp_path / "scene.mrb")
    volume = next(n for n in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if n.GetName() == "patient")
    again = Session(start().scene, Parameters(volume=volume, xray=all_xrays_in(start().scene)[0]), root=root)
    try:
        again.wait(TIMEOUT)
        assert again.model_view().folder == folder
        assert again.parameters.segmentation.GetName() == "Segmentation"
        assert [told(row) for row in again.rows()] == rows
        np.testing.assert_allclose(pose_from_node(again.rows()[0].node), pose, atol=1e-9)
        again.refine_from_here(again.rows()[1].node)
        again.wait(TIMEOUT)
    finally:
        again.close()


def test_two_patients_in_one_scene_keep_their_own_xrays_models_and_segmentations(session, files, tmp_path):
    one = add_segmentation(session.scene, bones(2), name="bones of one")
    choose(session, segmentation=one)
    first = session.parameters.volume
    add(session, files[:1])
    model = session.model_view().folder

    choose(session, patient("other", flipped=True))
    assert session.parameters.segmentation is None
    assert session.rows() == []
    assert session.model_view().folder != model
    other = write_xray(tmp_path / "other.nii.gz", patient("other", flipped=True), 0)
    [node] = add(session, [other])
    session.register()
    session.wait(TIMEOUT)
    assert row_of(session, node).look == "converged"
    assert error_of(node, 0) < 1.0

    session.parameters.volume = first
    session.wait(TIMEOUT)
    assert session.parameters.segmentation is one
    assert session.model_view().folder == model
    assert [row.name for row in session.rows()] == ["front"]


def test_closing_the_scene_during_a_registration_forgets_it_and_the_session_goes_on(session, files):
    choose(session)
    add(session, files)
    session.register()
    session.tick()
    session.scene.Clear(0)
    session.set_parameters(Parameters())
    session.wait(TIMEOUT)
    assert session.rows() == []
    assert session.patient_view().problem == "Choose the CT."
    choose(session)
    assert session.model_view().state == "bank"


def test_an_engine_that_dies_is_replaced(session, files):
    choose(session)
    node = add(session, files[:1])[0]
    session._context._engine._process.popen.kill()
    session.register()
    session.wait(TIMEOUT)
    assert row_of(session, node).state in ("failed", "registered")
    session.wait(TIMEOUT)
    session.register()
    session.wait(TIMEOUT)
    assert row_of(session, node).look == "converged", session.log


def test_a_volume_that_is_moved_gets_a_model_at_its_new_place(session, files):
    choose(session)
    before = session.model_view().folder
    shift = session.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    matrix = np.eye(4)
    matrix[:3, 3] = 20.0, -10.0, 5.0
    shift.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    session.parameters.volume.SetAndObserveTransformNodeID(shift.GetID())
    session.wait(TIMEOUT)
    assert session.model_view().folder != before
    node = add(session, files[:1])[0]
    session.register()
    session.wait(TIMEOUT)
    np.testing.assert_allclose(pose_from_node(node), matrix @ pose_of(0), atol=1.0)


def test_closing_removes_the_voxels_that_were_handed_over(scene, tmp_path):
    session = Session(scene, Parameters(), root=tmp_path)
    choose(session)
    assert list((tmp_path / "sessions").iterdir())
    session.close()
    session.close()
    assert not list((tmp_path / "sessions").iterdir())


def test_a_library_that_cannot_be_written_is_said_and_tried_again(scene, tmp_path, monkeypatch):
    monkeypatch.setattr("XVRegistrationLib.panel.model._RETRY_SECONDS", 0.5)
    (tmp_path / "models").write_text("in the way of the folder")
    session = Session(scene, Parameters(volume=add_volume(scene, patient())), root=tmp_path)
    try:
        session.wait(TIMEOUT)
        assert session.model_view().state == "failed"
        assert session.can_register() == session.model_view().text
        assert "cannot be kept" in session.model_view().text
        (tmp_path / "models").unlink()
        time.sleep(0.6)
        session.wait(TIMEOUT)
        assert session.model_view().state == "bank"
    finally:
        session.close()
