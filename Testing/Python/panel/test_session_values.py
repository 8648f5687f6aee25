"""What a volume's values are: said by the user, kept in the scene, and never mixed with what they were said to be before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer.util

from Testing.Python.panel.patients import angiogram, bones, patient, write_xray
from Testing.Python.panel.sessions import TIMEOUT, add, chosen, error_of, row_of
from XVRegistrationLib.imaging.volume import Volume, read_volume, write_volume
from XVRegistrationLib.imaging.volumes.reading import Reading
from XVRegistrationLib.imaging.volumes.vessels import vessel_attenuation
from XVRegistrationLib.jobs.run_training import read_job_volume
from XVRegistrationLib.panel.parameters import Parameters
from XVRegistrationLib.registration.card import read_card, reading_of
from XVRegistrationLib.scene.bundle import load_mrb, save_mrb

WINDOW = (300.0, 1500.0)


def test_an_angiogram_is_asked_about_and_registers_as_its_vessels(session, tmp_path):
    chosen(session, angiogram())
    view = session.patient_view()
    assert not view.ok
    assert view.asks
    assert view.problem in session.can_train()
    assert view.problem in session.can_register()
    assert view.problem in session.model_view().text
    assert "not those of a CT in Hounsfield units" in view.problem
    assert "Say in the section Patient what its values are." in view.problem

    p = session.parameters
    p.volumeValues = "vessels"
    session.wait(TIMEOUT)
    view = session.patient_view()
    assert (view.ok, view.kind, view.asks, view.problem) == (True, "vessels", False, "")
    assert 200 < p.vesselsLow < 900 < p.vesselsHigh < 1650  # half of the way between 100 and 1700, on either side
    assert f"from {p.vesselsLow:g} to {p.vesselsHigh:g}" in view.check
    meant = Volume(
        vessel_attenuation(angiogram().array, (p.vesselsLow, p.vesselsHigh)), angiogram().ijk_to_ras, units="1/mm"
    )
    card = read_card(session.model_view().folder)
    assert card["volume"]["fingerprint"] == meant.fingerprint
    assert reading_of(card).vessels == (p.vesselsLow, p.vesselsHigh)
    [node] = add(session, [write_xray(tmp_path / "dsa.nii.gz", meant, 0)])
    session.register([node])
    session.wait(TIMEOUT)
    assert row_of(session, node).state == "registered", session.log
    assert error_of(node, 0) < 1.5


def test_a_model_of_another_window_is_not_used_and_that_of_the_same_is(session):
    chosen(session, angiogram(), volumeValues="vessels", vesselsLow=WINDOW[0], vesselsHigh=WINDOW[1])
    first = session.model_view().folder
    session.parameters.vesselsHigh = 2500.0
    session.wait(TIMEOUT)
    second = session.model_view().folder
    assert session.model_view().ready
    assert second != first
    prints = {read_card(folder)["volume"]["fingerprint"] for folder in (first, second)}
    assert len(prints) == 2
    session.parameters.vesselsHigh = WINDOW[1]
    session.wait(TIMEOUT)
    assert session.model_view().folder == first
    session.parameters.volumeValues = "hu"
    session.wait(TIMEOUT)
    assert session.model_view().folder not in (first, second)


def test_the_card_of_vessels_reads_the_file_alike(session, tmp_path):
    chosen(session, angiogram(), volumeValues="vessels", vesselsLow=WINDOW[0], vesselsHigh=WINDOW[1])
    card = read_card(session.model_view().folder)
    write_volume(tmp_path / "angiogram.nrrd", angiogram())
    assert read_volume(tmp_path / "angiogram.nrrd", reading_of(card)).fingerprint == card["volume"]["fingerprint"]
    assert reading_of(card) == Reading(vessels=WINDOW)


def test_a_mistake_in_what_is_said_is_a_sentence_and_mended_by_saying_it_right(session):
    chosen(session, angiogram(), volumeValues="vessels", vesselsLow=900.0, vesselsHigh=300.0)
    assert "must rise: 900 for no vessel is not below 300" in session.patient_view().problem
    session.parameters.vesselsLow, session.parameters.vesselsHigh = 5000.0, 6000.0
    session.wait(TIMEOUT)
    assert "no value above 5000" in session.patient_view().problem
    session.parameters.volumeValues = "mri"
    session.wait(TIMEOUT)
    assert session.patient_view().problem == (
        "A volume's values are one of ct, hu, vessels, structures, attenuation, not mri."
    )
    assert not session.model_view().ready
    session.parameters.volumeValues = "attenuation"
    session.wait(TIMEOUT)
    assert "Nothing in a patient has so much" in session.patient_view().problem
    session.parameters.volumeValues = "hu"
    session.wait(TIMEOUT)
    assert session.model_view().ready


def test_bones_that_were_cut_out_are_believed_where_the_user_says_so(session):
    array = np.where(bones().array > 0, 700, 0).astype(np.int16)
    node = chosen(session, Volume(array, bones().ijk_to_ras, "cut out"))
    assert session.patient_view().asks
    session.parameters.volumeValues = "hu"
    session.wait(TIMEOUT)
    assert session.patient_view().ok
    assert "as you say" in session.patient_view().check
    assert node.GetAttribute("XVRegistration.Patient.volumeValues") == "hu"


def test_what_was_said_belongs_to_the_volume_and_comes_back_with_the_scene(session, tmp_path):
    first = chosen(session, angiogram(), volumeValues="vessels", vesselsLow=WINDOW[0], vesselsHigh=WINDOW[1])
    p = session.parameters
    second = chosen(session, patient())
    assert (p.volumeValues, p.vesselsLow, p.vesselsHigh) == ("ct", 0.0, 0.0)
    assert session.patient_view().kind == "CT"
    p.volume = first
    session.wait(TIMEOUT)
    assert (p.volumeValues, p.vesselsLow, p.vesselsHigh) == ("vessels", *WINDOW)
    folder = session.model_view().folder
    session.scene.RemoveNode(second)

    save_mrb(session.scene, tmp_path / "scene.mrb")
    session.set_parameters(None)
    session.scene.Clear(0)
    load_mrb(session.scene, tmp_path / "scene.mrb")
    session.set_parameters(Parameters(volume=slicer.util.getNode("angiogram")))
    session.wait(TIMEOUT)
    p = session.parameters
    assert (p.volumeValues, p.vesselsLow, p.vesselsHigh) == ("vessels", *WINDOW)
    assert session.model_view().folder == folder


def test_a_training_is_given_the_vessels(session):
    chosen(session, angiogram(), volumeValues="vessels", vesselsLow=WINDOW[0], vesselsHigh=WINDOW[1])
    folder = Path(session.model_view().folder)
    card = read_card(folder)
    kept = session._model.job._keep_voxels(folder)
    volume = read_job_volume({"volume": str(kept)}, card)
    assert (volume.units, volume.reading) == ("1/mm", Reading(vessels=WINDOW))
    assert volume.fingerprint == card["volume"]["fingerprint"]
