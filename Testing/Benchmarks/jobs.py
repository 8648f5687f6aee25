"""Kill -9 of a training's child process at random moments: does its model load every time, with a finite network?

A third of the moments lie in a child's first seconds, a third in its training, and a third are aimed at a save, where a
careless program would leave half a file.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import psutil
import torch
from rich.console import Console
from rich.table import Table

from XVRegistrationLib.cli.demo import INTRINSICS
from XVRegistrationLib.cli.progress import counting
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.demo_data import demo_data
from XVRegistrationLib.files import write_json
from XVRegistrationLib.imaging.volume import read_volume
from XVRegistrationLib.jobs.folder import read_job
from XVRegistrationLib.jobs.job_status import status
from XVRegistrationLib.jobs.train_patient import start_patient
from XVRegistrationLib.jobs.training_job import resume, start_training
from XVRegistrationLib.registration.model import load_model

if TYPE_CHECKING:
    from pathlib import Path

    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.jobs.job_status import Job
    from XVRegistrationLib.rendering.pyramid import Pyramid

_ROOM = 20.0  # seconds of training that each round may still do, so that none ends by itself
_LONGEST = 10.0  # seconds from a start, or from the beginning of the training, to the kill
_GIVE_UP = 120.0  # seconds
_SEED = 20_260_101


def run(data: Path, output: Path, kills: int) -> None:
    """Print and save the table: what the child was doing when it was killed, how often, and what was left."""
    volume = read_volume(demo_data(data).ct)
    root = output / "jobs"
    shutil.rmtree(root, ignore_errors=True)
    folder = root / "model"
    with counting("Bank") as count:
        pyramid = start_patient(folder, volume, INTRINSICS, progress=count).pyramid
    job = start_training(folder, minutes=_ROOM / 60, root=root)
    rng = np.random.default_rng(_SEED)
    rows = []
    with counting("Kills") as count:
        for i in range(kills):
            if i > 0:
                trained = load_model(folder, volume, pyramid).training.get("seconds", 0.0)
                resume(job, minutes=(trained + _ROOM) / 60)
            _wait(job, i % 3, rng)
            doing = _kill(job)
            left = _what_is_left(folder, volume, pyramid)
            rows.append({"doing": doing, "state": status(job).state, "left": left})
            count(i + 1, kills)
    table = Table("the child was", "and left", "kills", title=f"Kill -9 of a training of the chest CT, {kills} times")
    for (doing, left), number in sorted(Counter((row["doing"], row["left"]) for row in rows).items()):
        table.add_row(doing, left, str(number))
    Console(width=120).print(table)
    write_json(output / "jobs.json", rows)
    bad = [row for row in rows if row["left"].startswith("DAMAGED") or row["state"] != "interrupted"]
    if bad:
        raise SystemExit(f"{len(bad)} of {kills} kills did harm: {bad}")


def _wait(job: Job, which: int, rng: np.random.Generator) -> None:
    """Until the moment to kill: in the first seconds, in the training, or in the time that a save takes."""
    model, began = status(job).model, time.monotonic()
    if which == 1:
        while status(job).state != "running" and time.monotonic() - began < _GIVE_UP:
            time.sleep(0.05)
    if which == 2:
        while not _saving(model) and time.monotonic() - began < _GIVE_UP:
            time.sleep(0.001)
    time.sleep(rng.uniform(0.0, 0.05 if which == 2 else _LONGEST))


def _kill(job: Job) -> str:
    content, now = read_job(job.folder), status(job)
    process = psutil.Process(content["pid"])
    process.kill()
    process.wait()
    return "saving" if _saving(now.model) else {"starting": "loading"}.get(now.state, "training")


def _saving(model: Path) -> bool:
    return any(model.glob(".part-*"))


def _what_is_left(folder: Path, volume: Volume, pyramid: Pyramid) -> str:
    try:
        network = load_model(folder, volume, pyramid).network
    except InputError as e:
        return f"DAMAGED: {e}"
    if network is None:
        return "the bank, as before the first checkpoint"
    finite = all(bool(torch.isfinite(tensor).all()) for tensor in network.state_dict().values())
    return "a model whose network is finite" if finite else "DAMAGED: a network that is not finite"
