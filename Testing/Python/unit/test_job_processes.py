"""Jobs with their real child process: parents that die, cancelling, kill -9, a disk that is full."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING
from unittest import mock

import numpy as np
import psutil
import pytest
import torch

from Testing.Python.unit.waiting import wait_until
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.views import PoseRange
from XVRegistrationLib.imaging.volume import write_volume
from XVRegistrationLib.jobs.folder import read_job
from XVRegistrationLib.jobs.interpreter import child_environment
from XVRegistrationLib.jobs.job_status import curve, status
from XVRegistrationLib.jobs.train_patient import start_patient
from XVRegistrationLib.jobs.training_job import (
    cancel,
    find_jobs,
    find_training,
    forget,
    kill,
    resume,
    start_training,
)
from XVRegistrationLib.networks.settings import NetworkSettings
from XVRegistrationLib.registration.card import read_card
from XVRegistrationLib.registration.model import load_model
from XVRegistrationLib.training.trainer import TrainingSettings

if TYPE_CHECKING:
    from pathlib import Path

    from XVRegistrationLib.jobs.job_status import Job

MINUTES = 0.16  # validated, and so saved, eight times


@pytest.fixture(scope="module")
def bank_folder(phantom, camera, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "bank"
    start_patient(folder, phantom, camera, pose_range=PoseRange((15.0,) * 3, (20.0,) * 3))
    return folder


@pytest.fixture
def model(bank_folder, tmp_path) -> Path:
    return shutil.copytree(bank_folder, tmp_path / "model")


@pytest.fixture
def voxels(phantom, tmp_path) -> Path:
    np.save(tmp_path / "voxels.npy", phantom.array)
    return tmp_path / "voxels.npy"


def _process(job: Job) -> psutil.Process:
    return psutil.Process(read_job(job.folder)["pid"])


def _weights(model: Path, volume) -> list[torch.Tensor]:
    network = load_model(model, volume).network
    assert network is not None
    weights = list(network.state_dict().values())
    assert all(torch.isfinite(tensor).all() for tensor in weights)
    return weights


def test_a_job_outlives_the_program_that_started_it_and_is_found_again(model, phantom, tmp_path):
    write_volume(tmp_path / "ct.nii.gz", phantom)
    command = [sys.executable, "-m", "XVRegistrationLib.cli.main", "train", "ct.nii.gz", "-o", "model"]
    subprocess.run(
        [*command, "--resume", "--background", "--minutes", "0.04"],
        env={**child_environment(), "XVREGISTRATION_HOME": str(tmp_path / "home")},
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    (job,) = find_jobs(tmp_path / "home")
    assert find_training(model, tmp_path / "home") == job
    done = wait_until(job, lambda now: now.state == "done")
    assert "validation error" in done.message
    assert done.model == model
    assert done.validation == read_card(model)["training"]["history"][-1]["validation"]
    assert done.images == read_card(model)["training"]["images"] > 0
    assert done.eta is None
    seconds, losses, validations = zip(*curve(job), strict=True)
    assert list(seconds) == sorted(seconds)
    assert min(losses) > 0
    assert len([v for v in validations if v is not None]) == len(read_card(model)["training"]["history"])
    _weights(model, phantom)
    with pytest.raises(InputError, match="already"):
        resume(job)
    forget(job)
    assert find_jobs(tmp_path / "home") == []
    _weights(model, phantom)


def test_a_killed_and_a_failed_training_go_on_from_their_last_checkpoint(model, voxels, phantom, tmp_path):
    network = NetworkSettings(rotation="euler")
    settings = TrainingSettings(batch=8)
    job = start_training(model, minutes=MINUTES, volume=voxels, network=network, settings=settings, root=tmp_path)
    running = wait_until(job, lambda now: now.validation is not None)
    assert running.state == "running"
    assert 0 <= running.eta <= 60 * MINUTES
    assert _process(job).nice() > psutil.Process().nice()
    _process(job).kill()
    interrupted = wait_until(job, lambda now: not now.active)
    assert interrupted.state == "interrupted"
    assert "checkpoint" in interrupted.message
    saved, before = read_card(model)["training"], _weights(model, phantom)
    assert read_card(model)["network"]["rotation"] == "euler"
    assert saved["settings"]["batch"] == 8

    # No file may become as large as the network's: what a full disk does, for this child only.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, hard))
    try:
        resume(job)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    failed = wait_until(job, lambda now: not now.active)
    assert failed.state == "failed"
    assert "disk is full" in failed.message
    assert read_card(model)["training"] == saved
    assert all(torch.equal(a, b) for a, b in zip(before, _weights(model, phantom), strict=True))

    minutes = read_card(model)["training"]["seconds"] / 60 + 0.02
    done = wait_until(resume(job, minutes=minutes), lambda now: now.state == "done")
    assert done.elapsed >= 60 * minutes
    assert done.images > saved["images"]
    assert read_card(model)["training"]["history"][0] == saved["history"][0]
    assert not list(model.glob(".part-*"))


def test_a_job_that_does_not_listen_is_killed_with_all_that_it_started(model, voxels, tmp_path):
    job = start_training(model, minutes=MINUTES, volume=voxels, root=tmp_path)
    process = _process(job)
    process.send_signal(signal.SIGSTOP)
    cancel(job, patience=0.2)
    assert status(job).state == "cancelled"
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert read_card(model)["training"] == {}


def test_a_job_that_is_killed_keeps_nobody_waiting(model, voxels, tmp_path):
    job = start_training(model, minutes=MINUTES, volume=voxels, root=tmp_path)
    process = _process(job)
    process.send_signal(signal.SIGSTOP)
    with mock.patch.object(psutil, "wait_procs", side_effect=AssertionError):
        kill(job)
    process.wait(10)
    assert status(job).state == "cancelled"


def test_the_copy_of_the_volume_is_removed_when_it_was_read_and_no_other_file_is(model, voxels, phantom, tmp_path):
    copy = shutil.copy(voxels, model / "volume.npy")
    job = start_training(model, minutes=MINUTES, volume=model / "volume.npy", root=tmp_path)
    wait_until(job, lambda now: now.validation is not None)
    assert not copy.exists()
    cancel(job)
    assert status(job).state == "cancelled"
    assert "checkpoint" in status(job).message
    _weights(model, phantom)
    with pytest.raises(InputError, match="has been removed"):
        resume(job)
    named_alike = voxels.rename(tmp_path / "volume.npy")
    wait_until(resume(job, volume=named_alike), lambda now: now.state == "running")
    assert named_alike.exists()
    cancel(job)


def test_a_volume_that_is_not_the_models_fails_in_one_sentence(model, phantom, tmp_path):
    np.save(tmp_path / "other.npy", phantom.array + 1)
    job = start_training(model, minutes=MINUTES, volume=tmp_path / "other.npy", root=tmp_path)
    failed = wait_until(job, lambda now: not now.active)
    assert failed.state == "failed"
    assert "another volume" in failed.message
    assert "Traceback" not in (job.folder / "log.txt").read_text()
