"""Training as the panel starts, watches and finds it again: real jobs on a small patient."""

from __future__ import annotations

import time

import numpy as np
import psutil
import pytest
import slicer.util

from Testing.Python.panel.patients import CAMERA, patient, write_xray
from Testing.Python.panel.sessions import TIMEOUT
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.jobs import training_job
from XVRegistrationLib.panel.parameters import Parameters
from XVRegistrationLib.panel.session import Session
from XVRegistrationLib.registration.card import read_card
from XVRegistrationLib.scene.plots import training_chart_of
from XVRegistrationLib.scene.results import read_registration
from XVRegistrationLib.scene.standalone.app import start
from XVRegistrationLib.scene.transforms import ijk_to_world
from XVRegistrationLib.scene.volumes import add_volume

LONG, SHORT = 0.6, 0.05
"""Minutes: one that is always ended by the test, and one that soon ends by itself."""


@pytest.fixture
def session(one_session, root):
    one_session.scene.Clear(0)
    parameters = Parameters(volume=add_volume(one_session.scene, patient()))
    one_session.set_parameters(parameters)
    one_session.wait(TIMEOUT)
    yield one_session
    one_session.set_parameters(None)
    one_session.scene.Clear(0)
    for job in training_job.find_jobs(root):
        training_job.cancel(job)
        training_job.forget(job)


def _until(session, condition):
    """Tick until something is so."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, session.log
        session.tick()
        time.sleep(0.02)


def _begin(session, minutes=LONG):
    """A training that has made its first report."""
    session.parameters.minutes = minutes
    session.start_training()
    _until(session, lambda: session.training_curve() and session.model_view().job_state == "running")


def _new_model(session):
    """A bank without a network, whatever earlier tests have trained."""
    for row in session.library():
        session.delete_model(row.folder)
    session.wait(TIMEOUT)
    assert session.model_view().state == "bank"


def test_a_training_is_watched_drawn_cancelled_and_resumed_and_its_network_is_used(session, tmp_path):
    _new_model(session)
    assert "shows no lungs, so it is not of a thorax" in session.model_view().text, "said, and not refused"
    assert session.can_resume_training() == "There is no training that could go on."
    _begin(session)
    view = session.model_view()
    assert (view.state, view.job_state, view.ready) == ("training", "running", True)
    assert view.eta > 0
    _until(session, lambda: session.model_view().fraction > 0)
    assert session.model_view().fraction < 1
    assert session.can_train() == "A training is under way."
    with pytest.raises(InputError, match="under way"):
        session.start_training()
    with pytest.raises(InputError, match="Cancel the training"):
        session.delete_model(view.folder)
    _until(session, lambda: session.model_view().network)  # its first checkpoint
    assert session.training
    chart = session.training_chart()
    assert chart is training_chart_of(session.parameters.volume)
    assert chart.GetNumberOfPlotSeriesNodes() >= 1

    session.add_files([write_xray(tmp_path / "front.nii.gz", patient(), 0)])
    session.wait(TIMEOUT)
    [row] = session.rows()
    session.complete_geometry(row.node, sdd=CAMERA.sdd)
    session.register()
    session.wait(TIMEOUT)
    assert {s["kind"] for s in read_registration(row.node)["starts"]} == {"bank", "network"}
    assert session.training

    session.cancel_training()
    _until(session, lambda: not session.training)
    assert session.model_view().job_state == "cancelled"
    assert session.can_cancel_training() == "No training is under way."
    trained = read_card(view.folder)["training"]["seconds"]
    assert trained > 0
    session.wait(TIMEOUT)
    assert (session.model_view().state, session.model_view().ready) == ("network", True)

    session.resume_training()
    _until(session, lambda: session.training_curve()[-1][0] > trained)
    assert session.model_view().state == "training"


def test_a_training_ends_by_itself_and_its_copy_of_the_volume_goes(session):
    _new_model(session)
    _begin(session, SHORT)
    folder = session.model_view().folder
    session.wait(TIMEOUT, training=True)
    session.wait(TIMEOUT)
    view = session.model_view()
    assert (view.state, view.job_state, view.folder) == ("network", "done", folder)
    assert view.error_mm > 0
    assert not list((session._context.root / "models").glob("*/volume.npy"))
    assert session.can_resume_training().startswith("The training is finished")
    [current] = [row for row in session.library() if row.current]
    assert current.fits
    assert "min" in current.title


@pytest.mark.long
def test_a_killed_training_is_told_from_a_cancelled_one_and_goes_on(session):
    _new_model(session)
    _begin(session)
    _until(session, lambda: session.model_view().network)
    job = training_job.find_training(session._model.folder, session._context.root)
    psutil.Process(training_job.process_of(training_job.read_job(job.folder), job.folder).pid).kill()
    _until(session, lambda: not session.training)
    assert session.model_view().job_state == "interrupted"
    session.wait(TIMEOUT)
    assert session.model_view().state == "network"
    session.resume_training()
    _until(session, lambda: session.model_view().job_state == "running")


def test_a_training_goes_on_without_its_volume_and_without_its_session_and_the_next_one_finds_it(session, root):
    _new_model(session)
    _begin(session)
    job = session.model_view().job
    session.scene.RemoveNode(session.parameters.volume)
    session.wait(TIMEOUT)
    assert session.patient_view().problem == "Choose the CT."
    assert session.model_view().state == "none"
    session.parameters.volume = add_volume(session.scene, patient())
    session.wait(TIMEOUT)
    assert session.model_view().state == "training"

    session.scene.Clear(0)
    session.set_parameters(None)
    session.tick()
    assert not session.training
    parameters = Parameters(volume=add_volume(start().scene, patient()))
    again = Session(start().scene, parameters, root=root)
    try:
        again.wait(TIMEOUT)
        assert (again.model_view().job, again.model_view().job_state) == (job, "running")
        _until(again, lambda: again.training_curve())
        again.cancel_training()
        _until(again, lambda: not again.training)
    finally:
        again.close()


def test_the_library_lists_chooses_and_deletes_models(session, tmp_path):
    _new_model(session)
    first = session.model_view().folder
    session.parameters.preset = "thorax-pa"
    session.wait(TIMEOUT)
    second = session.model_view().folder
    assert second != first
    assert {(str(row.folder), row.current) for row in session.library()} == {(first, False), (second, True)}
    session.choose_model(first)
    session.wait(TIMEOUT)
    assert session.model_view().folder == session.parameters.modelFolder == first
    session.delete_model(second)
    assert [str(row.folder) for row in session.library()] == [first]
    session.parameters.preset = "thorax-ap"
    session.wait(TIMEOUT)
    assert session.model_view().folder == first
    with pytest.raises(InputError, match="library"):
        session.delete_model(tmp_path)
    with pytest.raises(InputError, match="no model"):
        session.choose_model(tmp_path)
    session.parameters.modelFolder = str(tmp_path)
    session.wait(TIMEOUT)
    assert session.model_view().folder == first
    assert "holds no model of this volume" in "".join(session.log)


def test_a_model_of_another_volume_is_refused(session):
    folder = session.model_view().folder
    session.parameters.volume = add_volume(session.scene, patient("other", flipped=True))
    session.wait(TIMEOUT)
    assert session.model_view().folder != folder
    assert session.library()[0].fits
    with pytest.raises(InputError, match="another volume"):
        session.choose_model(folder)


def test_a_wrong_device_is_a_sentence_before_anything_starts(session):
    _new_model(session)
    session.parameters.device = "toaster"
    with pytest.raises(InputError, match="toaster"):
        session.start_training()
    assert not session.training
    assert slicer.util.getNodesByClass("vtkMRMLPlotChartNode") == []


def test_a_network_with_attention_is_trained_and_shows_where_it_looks(session, tmp_path):
    _new_model(session)
    session.parameters.network, session.parameters.minutes = "psss", SHORT
    session.start_training()
    session.wait(TIMEOUT, training=True)
    session.wait(TIMEOUT)
    settings = read_card(session.model_view().folder)["network"]
    assert (settings["architecture"], settings["backbone"]) == ("attention", "efficientnet_b0")
    session.add_files([write_xray(tmp_path / "front.nii.gz", patient(), 0)])
    session.wait(TIMEOUT)
    [row] = session.rows()
    session.complete_geometry(row.node, sdd=CAMERA.sdd)
    session.show(row.node)
    scene = session.scene
    view = scene.AddNewNodeByClass("vtkMRMLSliceNode"), scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    session.attach_view(*view)
    session.compare("attention")
    session.wait(TIMEOUT)
    session.tick()
    over = scene.GetNodeByID(view[1].GetForegroundVolumeID())
    assert over.IsA("vtkMRMLVectorVolumeNode"), session.log
    picture = slicer.util.arrayFromVolume(over)[0].astype(int)
    assert np.ptp(picture, axis=2).max() > 60, "it has colours"
    # It lies on the X-ray, corner on corner.
    corners = [
        ijk_to_world(node) @ [[-0.5, w - 0.5, -0.5], [-0.5, -0.5, h - 0.5], [0, 0, 0], [1, 1, 1]]
        for node, (w, h, _d) in ((n, n.GetImageData().GetDimensions()) for n in (row.node, over))
    ]
    np.testing.assert_allclose(*corners, atol=1e-6)
