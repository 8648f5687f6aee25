"""From a network that knows other patients to a patient's own model, and the list of models of both kinds."""

from __future__ import annotations

import dataclasses
import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from Testing.Python.unit.conftest import phantom_hu
from Testing.Python.unit.many_patients import CAMERA, leg, patient
from XVRegistrationLib.cli.main import main
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.patients import cut_off
from XVRegistrationLib.geometry.rigid import invert, point_distance, rigid, rotation_from_euler_zxy
from XVRegistrationLib.geometry.views import NominalView, PoseRange, draw_poses
from XVRegistrationLib.imaging.volume import Volume, read_volume, write_volume
from XVRegistrationLib.jobs.finetune_patient import finetune_patient, learnt_model, start_finetuning
from XVRegistrationLib.jobs.train_patient import resume_training
from XVRegistrationLib.networks.create import create_network
from XVRegistrationLib.networks.predict import network_camera, predict
from XVRegistrationLib.networks.settings import GROUP, NetworkSettings
from XVRegistrationLib.registration.card import read_card
from XVRegistrationLib.registration.library import models_in
from XVRegistrationLib.registration.model import load_model, prepare_model, save_model
from XVRegistrationLib.registration.pretrained import PretrainedModel, load_pretrained, save_pretrained
from XVRegistrationLib.rendering.render import render
from XVRegistrationLib.training.preregistration import coarse_template

if TYPE_CHECKING:
    from pathlib import Path

SMALL = (24, 36, 40)
MOTION = rigid(rotation_from_euler_zxy([5.0, -14.0, 8.0]), [90.0, -40.0, 120.0])


@pytest.fixture(scope="module")
def first() -> Volume:
    return patient(phantom_hu(SMALL), 1, name="first")


@pytest.fixture(scope="module")
def pretrained(first, tmp_path_factory) -> Path:
    """A pretrained model in whose place an untrained network stands, with an output that looks at the image."""
    torch.manual_seed(0)
    network = create_network(NetworkSettings(pixels=64, translation_scale=20.0, normalization=GROUP))
    with torch.no_grad():
        network.head[-1].weight.mul_(30)
    template = coarse_template(first)
    view = NominalView("AP", tuple(template.center.tolist()), 700.0)
    folder = tmp_path_factory.mktemp("models") / "pretrained"
    training = {"seconds": 7200.0, "images": 900, "steps": 50, "history": [{"validation": 9.5}]}
    poses = PoseRange((15.0,) * 3, (20.0,) * 3)
    model = PretrainedModel(template, view, poses, CAMERA, network, "phantoms", 12, training)
    save_pretrained(folder, model)
    return folder


@pytest.fixture(scope="module")
def moved(first) -> Volume:
    """The same patient, elsewhere and turned."""
    return Volume(first.array, MOTION @ first.ijk_to_ras, "moved")


@pytest.fixture(scope="module")
def finetuned(pretrained, moved, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "moved"
    start_finetuning(folder, load_pretrained(pretrained), moved, bank_size=64)
    return folder


def test_the_pretrained_network_predicts_of_a_patient_where_the_template_says(pretrained, finetuned, first, moved):
    general, model = load_pretrained(pretrained), load_model(finetuned, moved)
    assert model.network is not None
    camera = network_camera(CAMERA, 64)
    poses = draw_poses(model.view, model.pose_range, 4, np.random.default_rng(1))
    images = render(model.pyramid.finest, poses, camera)
    of_template = predict(general.network, general.view, images)
    of_patient = predict(model.network, model.view, images)
    assert np.linalg.norm(of_template[0] - of_template[1]) > 1.0, "it looks at the images"
    distance = point_distance(of_patient, MOTION @ of_template, [moved.center])
    assert distance.max() < 3.0, "but for how exactly the CT was laid onto the template"
    to_template = np.array(model.origin["to_template"])
    np.testing.assert_allclose(of_patient, invert(to_template) @ of_template, atol=1e-6)
    assert model.origin["pretrained"] == general.identity


def test_finetuning_goes_on_from_the_pretrained_weights_and_is_resumed_as_any_training(finetuned, moved, tmp_path):
    folder = shutil.copytree(finetuned, tmp_path / "model")
    before = load_model(folder, moved)
    model = resume_training(folder, volume=moved, minutes=0.02)
    assert model.training["images"] > 0
    assert model.origin == before.origin
    pairs = zip(model.network.state_dict().values(), before.network.state_dict().values(), strict=True)
    went = [float((a - b).abs().max()) for a, b in pairs if a.is_floating_point() and a.ndim > 1]
    assert 0 < max(went) < 1.0
    more = resume_training(folder, volume=moved, minutes=model.training["seconds"] / 60 + 0.02)
    assert more.training["images"] > model.training["images"]
    assert read_card(folder)["origin"] == before.origin


def _bad(what: str, pretrained: Path, folder: Path, volume: Volume) -> tuple[Path, Volume]:
    """A pretrained model and a CT of which one is spoilt."""
    spoilt = shutil.copytree(pretrained, folder / "spoilt")
    card = json.loads((spoilt / "model.json").read_text())
    weights = spoilt / card["files"]["network"]
    if what == "cut short":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif what == "gone":
        (spoilt / card["files"]["template"]).unlink()
    elif what == "version":
        (spoilt / "model.json").write_text(json.dumps({**card, "format_version": 99}))
    elif what == "entries":
        (spoilt / "model.json").write_text(json.dumps({k: v for k, v in card.items() if k != "template"}))
    elif what == "network":
        card["network"]["head_channels"] = 8
        (spoilt / "model.json").write_text(json.dumps(card))
    elif what == "leg":
        return spoilt, Volume(leg(SMALL), volume.ijk_to_ras, "leg")
    elif what == "truncated":
        return spoilt, Volume(volume.array[:8], volume.ijk_to_ras, "truncated")
    elif what == "metal":
        array = volume.array.copy()
        array[8:16, 12:24, 12:24] = 3071
        return spoilt, Volume(array, volume.ijk_to_ras, "metal")
    return spoilt, volume


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ("cut short", r"network-0000050\.safetensors is damaged"),
        ("gone", r"template\.safetensors is missing"),
        ("version", "has format version 99; this program reads 1"),
        ("entries", r"model\.json is damaged"),
        ("network", "do not fit the network that its card describes"),
        ("leg", "leg: it does not register to the template"),
        ("truncated", r"truncated: it does not register .* covers \d\d%"),
        ("metal", "metal is full of metal"),
    ],
)
def test_what_cannot_be_finetuned_is_refused_and_nothing_is_written(pretrained, moved, tmp_path, what, sentence):
    source, volume = _bad(what, pretrained, tmp_path, moved)
    with pytest.raises(InputError, match=sentence):
        finetune_patient(tmp_path / "new", source, volume, minutes=0.02)
    assert not (tmp_path / "new").exists()


def test_a_ct_of_another_part_of_the_body_is_refused_and_one_that_is_cut_off_is_said(pretrained, tmp_path):
    whole = patient(phantom_hu(), 1, name="whole")
    template = coarse_template(whole)
    view = NominalView("AP", tuple(template.center.tolist()), 700.0)
    chest = dataclasses.replace(load_pretrained(pretrained), template=template, view=view, anatomy="thorax-ap")
    heard: list[str] = []
    belly = Volume(np.where(whole.array == -800, np.int16(40), whole.array), whole.ijk_to_ras, "belly")
    with pytest.raises(InputError, match="belly shows no lungs, so it is not of a thorax"):
        start_finetuning(tmp_path / "belly", chest, belly, on_doubt=heard.append)
    assert not (tmp_path / "belly").exists()
    assert heard == []
    ended = cut_off(whole, (1.0, 1.0, 0.7))
    model = start_finetuning(tmp_path / "chest", chest, ended, bank_size=8, on_doubt=heard.append)
    assert "ends within the X-rays' field of view" in " ".join(heard)
    assert model.anatomy == "thorax-ap"


def test_another_patients_own_model_is_finetuned_in_its_space(pretrained, first, moved, tmp_path):
    """As a pretrained one of a single patient, whose CT is the template and must be at hand."""
    write_volume(tmp_path / "first.nrrd", first)
    of_first = prepare_model(
        read_volume(tmp_path / "first.nrrd"), CAMERA, pose_range=PoseRange((15.0,) * 3, (20.0,) * 3), bank_size=8
    )
    save_model(tmp_path / "bank", of_first)
    with pytest.raises(InputError, match="holds a bank alone, and no network"):
        learnt_model(tmp_path / "bank")
    of_first.network = load_pretrained(pretrained).network
    of_first.anatomy = "thorax-ap"
    save_model(tmp_path / "learnt", of_first)
    model = start_finetuning(tmp_path / "second", learnt_model(tmp_path / "learnt"), moved, bank_size=8)
    assert (model.origin["patients"], model.patients, model.anatomy) == (1, 2, "thorax-ap")
    images = render(model.pyramid.finest, model.view.pose[None], network_camera(CAMERA, 64))
    there = predict(of_first.network, of_first.view, images)
    here = predict(model.network, model.view, images)
    assert point_distance(here, MOTION @ there, [moved.center]).max() < 3.0
    (tmp_path / "first.nrrd").rename(tmp_path / "elsewhere.nrrd")
    with pytest.raises(InputError, match="no longer at"):
        learnt_model(tmp_path / "learnt")
    again = learnt_model(tmp_path / "learnt", tmp_path / "elsewhere.nrrd")
    assert again.identity == model.origin["pretrained"]
    write_volume(tmp_path / "other.nrrd", patient(phantom_hu(SMALL), 5))
    for template, source, sentence in (
        ("other.nrrd", tmp_path / "learnt", "is not the CT that .*learnt has learnt"),
        ("elsewhere.nrrd", pretrained, "holds its template; leave the template out"),
    ):
        with pytest.raises(InputError, match=sentence):
            learnt_model(source, tmp_path / template)


def test_models_of_the_other_kind_and_folders_that_hold_one_are_refused(pretrained, finetuned, moved):
    before = (finetuned / "model.json").read_bytes()
    with pytest.raises(InputError, match="already holds a model"):
        start_finetuning(finetuned, load_pretrained(pretrained), moved)
    assert (finetuned / "model.json").read_bytes() == before
    with pytest.raises(InputError, match="is the model of one patient"):
        load_pretrained(finetuned)
    with pytest.raises(InputError, match="is pretrained over many patients and registers none"):
        load_model(pretrained, moved)


def test_a_model_of_another_volume_is_refused_unless_it_is_wanted(finetuned, moved):
    later = Volume(moved.array + np.int16(1), moved.ijk_to_ras, "later")
    with pytest.raises(InputError, match="was made for another volume"):
        load_model(finetuned, later)
    assert load_model(finetuned, later, other_volume=True).volume is later


def test_the_models_of_a_folder_are_listed_with_what_is_wrong_with_the_others(pretrained, finetuned, tmp_path, capsys):
    shutil.copytree(pretrained, tmp_path / "a pelvis")
    shutil.copytree(finetuned, tmp_path / "b patient")
    shutil.copytree(finetuned, tmp_path / "c cut short")
    (tmp_path / "c cut short" / read_card(finetuned)["files"]["bank"]).unlink()
    (tmp_path / "d foreign").mkdir()
    (tmp_path / "d foreign" / "model.json").write_text('{"format": "another"}')
    (tmp_path / "e empty").mkdir()
    models, damaged = models_in(tmp_path)
    assert [(m.folder.name, m.kind, m.anatomy, m.patients, m.error) for m in models] == [
        ("a pelvis", "pretrained", "phantoms", 12, 9.5),
        ("b patient", "finetuned", "phantoms", 13, None),
    ]
    assert {folder.name: why.split(";")[0].split(" is ")[-1] for folder, why in damaged} == {
        "c cut short": "missing",
        "d foreign": "not the card of an XVRegistration model.",
        "e empty": "missing. Make one with `xvregistration train`.",
    }
    assert main(["models", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    for word in ("a pelvis", "12 patients", "120:00", "9.5 mm", "b patient", "c cut short:", "d foreign:", "e empty:"):
        assert word in out
    assert main(["models", str(tmp_path), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [m["seconds"] for m in content["models"]] == [7200.0, 0.0]
    assert len(content["unusable"]) == 3
    assert main(["models", str(tmp_path / "nothing")]) == 2


def test_the_command_finetunes_draws_and_says_how_alike_both_are(pretrained, moved, tmp_path, capsys):
    write_volume(tmp_path / "ct.nrrd", moved)
    ct, model = str(tmp_path / "ct.nrrd"), tmp_path / "model"
    command = ["finetune", str(pretrained), ct, "-o", str(model), "--minutes", "0.02"]
    write_volume(tmp_path / "leg.nrrd", Volume(leg(SMALL), moved.ijk_to_ras, "leg"))
    assert main(["finetune", str(pretrained), str(tmp_path / "leg.nrrd"), "-o", str(model)]) == 2
    said = capsys.readouterr()
    assert (said.out + said.err).count("does not register to the template") == 1
    assert not model.exists()
    assert main(["finetune", str(pretrained), ct, "-o", str(tmp_path / "as it is"), "--minutes", "0"]) == 0
    assert (tmp_path / "as it is" / "preregistration.png").read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert main([*command, "--picture", str(tmp_path / "placed.png")]) == 0
    out = capsys.readouterr().out
    assert "it registers to the template (similarity 0.9" in out
    assert "network that knows 12 patients, finetuned on" in out
    assert (tmp_path / "placed.png").read_bytes().startswith(b"\x89PNG")
    assert not (model / "preregistration.png").exists()
    assert main(command) == 2
    assert "already holds a model" in capsys.readouterr().err
