"""Learning from many patients: what is left out and why, several processes, and going on after a kill."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from Testing.Python.unit import team_worker
from Testing.Python.unit.conftest import phantom_hu
from Testing.Python.unit.fixed_xrays import FixedXrays
from Testing.Python.unit.many_patients import CAMERA, leg, write_patients
from Testing.Python.unit.waiting import wait_until
from XVRegistrationLib.cli.main import main
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.volume import Volume, write_volume
from XVRegistrationLib.jobs.folder import read_job
from XVRegistrationLib.jobs.interpreter import child_environment
from XVRegistrationLib.jobs.job_status import status
from XVRegistrationLib.jobs.prepare_patients import held_out, prepare_patients
from XVRegistrationLib.jobs.pretrain import pretrain, pretrain_in_background, start_pretraining
from XVRegistrationLib.jobs.pretraining_plan import Plan, find_volumes, read_plan, stem_of, write_plan
from XVRegistrationLib.jobs.training_job import resume
from XVRegistrationLib.registration.card import read_pretrained_card
from XVRegistrationLib.registration.pretrained import load_pretrained
from XVRegistrationLib.training.objective import LossWeights, Weight
from XVRegistrationLib.training.team import Team
from XVRegistrationLib.training.trainer import TrainingSettings

SMALL = (24, 36, 40)
REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def cts(tmp_path_factory) -> Path:
    """Three patients, the copy of one, a leg, a label map, and what is no volume."""
    folder = tmp_path_factory.mktemp("cts")
    first, *_ = write_patients(folder, phantom_hu(SMALL), 3)
    write_volume(folder / "p9 copy.nrrd", first)
    write_volume(folder / "q leg.nrrd", Volume(leg(SMALL), first.ijk_to_ras, "leg"))
    write_volume(folder / "r labels.nrrd", Volume((first.array > 300).astype(np.uint8), first.ijk_to_ras, "labels"))
    (folder / "s damaged.nrrd").write_bytes((folder / "p1.nrrd").read_bytes()[:3000])
    return folder


@pytest.fixture(scope="module")
def prepared(cts, tmp_path_factory) -> Path:
    """A folder in which all CTs have been prepared."""
    folder = tmp_path_factory.mktemp("prepared")
    plan = _plan(cts)
    write_plan(folder, plan)
    prepare_patients(folder, plan, Team())
    return folder


def _plan(cts: Path, **changes: object) -> Plan:
    volumes = find_volumes(cts)
    return dataclasses.replace(Plan(volumes, volumes[0], CAMERA, seconds=2.0), **changes)


def test_cts_that_cannot_be_learnt_from_are_left_out_each_with_its_reason(prepared):
    plan = read_plan(prepared)
    before = {path: path.stat().st_mtime_ns for path in (prepared / "prepared").iterdir()}
    template, found = prepare_patients(prepared, plan, Team())
    assert before == {path: path.stat().st_mtime_ns for path in (prepared / "prepared").iterdir()}, "all was ready"
    assert len(found.patients) == 3
    reasons = {Path(path).stem: why for path, why in found.left_out}
    assert "same voxels" in reasons["p9 copy"]
    assert "does not register to the template" in reasons["q leg"]
    assert "no Hounsfield units" in reasons["r labels"]
    assert "s damaged" in reasons
    assert template.name == "template"
    assert not [path for path in before if "leg" in path.name or "p1" in path.name]
    drawn = [path for path in before if path.suffix == ".png"]
    assert len(drawn) == 5, "three patients, a copy and the leg are drawn on the template"
    assert max(path.stat().st_size for path in drawn) < 200_000


def test_a_template_that_is_none_or_to_which_others_do_not_register_ends_it(cts, prepared, tmp_path):
    plan = _plan(cts, template=str(cts / "r labels.nrrd"))
    with pytest.raises(
        InputError, match=r"The template is no good: .*r labels\.nrrd has values from 0 to 1.*Choose another"
    ):
        pretrain(tmp_path / "labels", plan)
    odd = _plan(cts, volumes=tuple(str(cts / f"p{n}.nrrd") for n in (0, 1)), template=str(cts / "q leg.nrrd"))
    with pytest.raises(InputError, match=r"do not register to the template q leg\.nrrd"):
        pretrain(tmp_path / "leg", odd)
    chest = dataclasses.replace(odd, anatomy="thorax-ap")
    with pytest.raises(InputError, match="The template is no good: q leg shows no lungs, so it is not of a thorax"):
        pretrain(tmp_path / "chest", chest)
    assert [path.name for path in tmp_path.iterdir()] == ["leg"], "nothing is written where the template is none"
    # Where nothing was trained, another plan takes the place of one that was refused, and of what it had prepared.
    with pytest.raises(InputError, match="The template is no good"):
        start_pretraining(tmp_path / "leg", chest)
    assert read_plan(tmp_path / "leg") == odd
    better = _plan(cts, pictures=False)
    start_pretraining(tmp_path / "leg", better)
    assert read_plan(tmp_path / "leg") == better
    assert [path.name for path in (tmp_path / "leg" / "prepared").iterdir()] == ["template.safetensors"]
    # What it would prepare in the same way stays.
    folder = shutil.copytree(prepared, tmp_path / "same")
    there = set((folder / "prepared").iterdir())
    start_pretraining(folder, _plan(cts, seconds=9.0, seed=3))
    assert set((folder / "prepared").iterdir()) == there
    assert read_plan(folder).seed == 3
    with pytest.raises(InputError, match="holds no CTs"):
        find_volumes(tmp_path / "leg" / "prepared")


def test_a_plan_is_read_as_it_was_written_and_a_damaged_one_is_refused(cts, tmp_path):
    settings = TrainingSettings(batch=8, most_steps=4, losses=LossWeights(euler=Weight(0.5, begins=0.2)))
    plan = _plan(cts, anatomy="thorax", seed=4, pictures=False, training=settings)
    write_plan(tmp_path, plan)
    assert read_plan(tmp_path) == plan
    (tmp_path / "pretraining.json").write_text(
        json.dumps({"format": "xvregistration pretraining", "format_version": 1})
    )
    with pytest.raises(InputError, match="is damaged"):
        read_plan(tmp_path)
    with pytest.raises(InputError, match="holds no pretraining"):
        read_plan(cts)


def test_a_tenth_is_held_out_where_there_are_five_or_more(prepared):
    _, found = prepare_patients(prepared, read_plan(prepared), Team())
    few = found.patients
    assert held_out(few) == held_out(few[::-1])
    assert len(held_out(few)[0]) == len(held_out(few)[1]) == 3
    many = [dataclasses.replace(few[0], fingerprint=f"{n:02d}") for n in range(20)]
    training, validation = held_out(many)
    assert (len(training), len(validation)) == (18, 2)
    assert not {p.fingerprint for p in training} & {p.fingerprint for p in validation}


def test_two_processes_have_the_gradients_of_one_with_the_joined_batch(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [*command, "-m", "Testing.Python.unit.team_worker", str(tmp_path)],
        cwd=REPOSITORY,
        env={**child_environment(), "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        timeout=300,
    )
    first, second = (np.load(tmp_path / f"{rank}.npz") for rank in range(2))
    together = team_worker.trained(Team(), FixedXrays(), team_worker.BATCH)
    largest = np.abs(together["gradients"]).max()
    for one in (first, second):
        np.testing.assert_allclose(one["gradients"], together["gradients"], atol=1e-4 * largest)
    half = team_worker.trained(Team(), FixedXrays(first=0, each=2), team_worker.BATCH // 2)
    assert np.abs(half["gradients"] - together["gradients"]).max() > 0.1 * largest, "half a batch has another gradient"
    np.testing.assert_array_equal(first["weights"], second["weights"])
    assert first["counts"].tolist() == [team_worker.STEPS, team_worker.STEPS * team_worker.BATCH]


@pytest.mark.long
def test_several_processes_are_refused_in_one_sentence(cts, tmp_path):
    """By each of them with the code of bad input, also where it is not the first one that finds what is wrong."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    words = ["-m", "XVRegistrationLib.cli.main", "pretrain", str(cts), "-o", str(tmp_path / "model")]
    for wrong, sentence in (
        (["--template", str(cts / "r labels.nrrd")], "The template is no good"),
        (["--template", str(cts / "q leg.nrrd"), "--anatomy", "thorax-ap"], "q leg shows no lungs"),
        (["--template", str(cts / "q leg.nrrd")], "do not register to the template"),
    ):
        done = subprocess.run(
            [*command, *words, *wrong],
            cwd=REPOSITORY,
            env={**child_environment(), "OMP_NUM_THREADS": "1"},
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )
        said = [line for line in done.stderr.splitlines() if line.startswith("xvregistration: ")]
        assert len(said) == 1, done.stderr
        assert sentence in said[0]
        assert "XVRegistrationLib/" not in done.stderr, "no traceback of ours"
        assert "exitcode  : 2" in done.stderr
        assert not (tmp_path / "model" / "model.json").exists()


def test_a_pretraining_that_used_up_its_steps_goes_on_for_more_minutes(prepared, cts, tmp_path):
    folder = shutil.copytree(prepared, tmp_path / "model")
    write_plan(folder, _plan(cts, seconds=3600.0, training=TrainingSettings(batch=2, most_steps=2)))
    first = pretrain(folder).training
    assert (first["steps"], first["images"]) == (2, 4)
    second = pretrain(folder, minutes=(first["seconds"] + 2.0) / 60).training
    assert second["steps"] > first["steps"]
    assert second["images"] == 2 * second["steps"]


def test_a_killed_pretraining_goes_on_from_its_last_checkpoint(prepared, cts, tmp_path, capsys):
    folder = prepared
    job = pretrain_in_background(folder, minutes=0.2, root=tmp_path)
    wait_until(job, lambda now: now.validation is not None)
    psutil.Process(read_job(job.folder)["pid"]).kill()
    deadline = time.monotonic() + 30
    while status(job).active and time.monotonic() < deadline:
        time.sleep(0.05)
    assert status(job).state == "interrupted"
    assert "the model has the checkpoint of" in status(job).message
    killed = read_pretrained_card(folder)["training"]
    stem = stem_of(folder, str(cts / "p1.nrrd"))
    stem.with_name(f"{stem.name}.npy").write_bytes(b"cut short")
    stem.with_name(f"{stem.name}.png").unlink()

    wait_until(resume(job, minutes=killed["seconds"] / 60 + 0.03), lambda now: now.state == "done")
    assert stem.with_name(f"{stem.name}.png").exists(), "what is prepared again is drawn again"
    model = load_pretrained(folder)
    assert model.training["images"] > killed["images"] > 0
    assert model.training["history"][: len(killed["history"])] == killed["history"]
    assert model.patients == 3
    assert not list(folder.rglob(".part-*"))
    with pytest.raises(InputError, match="already; ask for more"):
        pretrain(folder, minutes=0.001)
    assert main(["pretrain", str(cts), "-o", str(folder)]) == 2
    assert "already holds a model" in capsys.readouterr().err
    card = (folder / "model.json").read_text("utf-8")
    assert str(cts) not in card, "a card that may be handed on does not tell whose CTs it has learnt"
