"""Pretraining a network over many patients: preparation, training, checkpoints, and going on after an interruption."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.jobs.checks import check_device_name, check_minutes, check_new_folder
from XVRegistrationLib.jobs.home import PLAN
from XVRegistrationLib.jobs.prepare_patients import (
    held_out,
    keep_template,
    kept_template,
    made_template,
    prepare_patients,
)
from XVRegistrationLib.jobs.pretraining_plan import PREPARED, Plan, read_plan, write_plan
from XVRegistrationLib.jobs.train_patient import check_device
from XVRegistrationLib.jobs.training_job import check_not_trained_now, new_job
from XVRegistrationLib.networks.create import create_network
from XVRegistrationLib.registration.card import CARD
from XVRegistrationLib.registration.model import load_optimizer
from XVRegistrationLib.registration.pretrained import PretrainedModel, load_pretrained, save_pretrained
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.training.checkpoints import optimizer_tensors, restored_state, training_of
from XVRegistrationLib.training.patients import PreparedPatients
from XVRegistrationLib.training.task import Task
from XVRegistrationLib.training.team import Team, own_device
from XVRegistrationLib.training.trainer import TrainingSettings, new_state, train

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.jobs.job_status import Job
    from XVRegistrationLib.jobs.prepare_patients import Preparation
    from XVRegistrationLib.rendering.grid import DensityGrid
    from XVRegistrationLib.training.trainer import Progress, TrainingState


def start_pretraining(folder: str | os.PathLike[str], plan: Plan) -> None:
    """Write a plan and its template into a new `folder`, in seconds: `pretrain` does all the rest.

    Where nothing has been trained yet, it takes the place of another plan; CTs that were prepared in the same way stay so. Raises
    InputError, and writes nothing, for a folder that holds a model and for a template that cannot be one.
    """
    root = Path(folder)
    check_new_folder(root)
    check_minutes(plan.seconds / 60)
    check_not_trained_now(root.absolute(), None)
    template = made_template(plan)
    if (root / PLAN).exists() and (root / PREPARED).exists() and not _prepared_alike(root, plan, template):
        shutil.rmtree(root / PREPARED)
    keep_template(root, template)
    write_plan(root, plan)


def _prepared_alike(root: Path, plan: Plan, template: Volume) -> bool:
    """Whether what a folder's plan has prepared is as another one would prepare it."""
    try:
        before = kept_template(root)
        same = before.fingerprint == template.fingerprint and np.array_equal(before.ijk_to_ras, template.ijk_to_ras)
        return bool(same) and read_plan(root).preparing == plan.preparing
    except InputError:
        return False


def pretrain_in_background(
    folder: str | os.PathLike[str], *, minutes: float | None = None, device: str | None = None, root: Path | None = None
) -> Job:
    """Do what the plan of a folder says, from where it is, in a child process, and return at once.

    Raises InputError where it could not begin.
    """
    model = Path(folder).absolute()
    plan = read_plan(model)
    if minutes is not None:
        check_minutes(minutes)
    check_device_name(device)
    check_not_trained_now(model, root)
    return new_job(model, plan.seconds if minutes is None else 60 * minutes, None, device, plan.seed, root)


def pretrain(
    folder: str | os.PathLike[str],
    plan: Plan | None = None,
    *,
    minutes: float | None = None,
    device: str | None = None,
    team: Team | None = None,
    progress: Callable[[Progress], None] | None = None,
    preparing: Callable[[int, int], None] | None = None,
    on_prepared: Callable[[Preparation], None] | None = None,
    structures: Sequence[DensityGrid] = (),
) -> PretrainedModel:
    """Pretrain by a plan in a new `folder`, or without one go on where that of the folder ended, up to `minutes` in all.

    In the end the folder holds the model and, in `prepared`, the CTs as it saw them. `preparing` is told how many CTs are done
    of how many, `on_prepared` what has become of them; `structures` are the template's, for a Dice loss. Whatever ends it, a call
    without a plan goes on; where the plan's number of steps has been made, by time alone. Raises InputError for what
    `start_pretraining` refuses, and for CTs that do not register to the template.
    """
    root, team = Path(folder), team or Team()
    with team.together():
        if plan is not None and team.first:
            start_pretraining(root, plan)
    with team.together():
        plan = read_plan(root)
        if team.first:
            for half in root.rglob(".part-*"):  # what a killed process had begun to write
                if half.is_file():
                    half.unlink(missing_ok=True)
        where = check_device(device or own_device())
        seconds = plan.seconds if minutes is None else 60 * minutes
        settings = dataclasses.replace(plan.training or TrainingSettings(), seconds=seconds, seed=plan.seed)
        before = load_pretrained(root) if (root / CARD).exists() else None
        if before is not None and before.training["seconds"] >= settings.seconds:
            done = before.training["seconds"] / 60
            raise InputError(f"{folder} has been trained for {done:.1f} minutes already; ask for more minutes.")
        if before is not None and before.training["steps"] >= settings.most_steps > 0:
            # As of a patient's training that goes on after its end, minutes are its only budget then.
            settings = dataclasses.replace(settings, most_steps=0)
    template, prepared = prepare_patients(root, plan, team, preparing)
    if on_prepared is not None and team.first:
        on_prepared(prepared)
    model = before or _new_model(plan, template, len(prepared.patients))
    model.network.to(where)
    if before is None:
        state = new_state(model.network, settings)
    else:
        state = restored_state(model.network, settings, before.training, load_optimizer(root))
    _train(root, model, state, settings, prepared, structures, where, team, progress)
    team.wait()
    return load_pretrained(root)


def _new_model(plan: Plan, template: Volume, patients: int) -> PretrainedModel:
    torch.manual_seed(plan.seed)
    x, y, z = template.center.tolist()
    view = NominalView(plan.view, (x, y, z), plan.sod)
    scale = max(plan.pose_range.translation) or 1.0
    network = create_network(dataclasses.replace(plan.network, translation_scale=scale))
    return PretrainedModel(template, view, plan.pose_range, plan.intrinsics, network, plan.anatomy, patients)


def _train(
    folder: Path,
    model: PretrainedModel,
    state: TrainingState,
    settings: TrainingSettings,
    prepared: Preparation,
    structures: Sequence[DensityGrid],
    device: torch.device,
    team: Team,
    progress: Callable[[Progress], None] | None,
) -> None:
    def checkpoint(current: TrainingState) -> None:
        model.training = training_of(current, settings)
        save_pretrained(folder, model, optimizer_tensors(current.optimizer))

    training, validation = held_out(prepared.patients)
    patients = PreparedPatients(training, validation, device, (settings.seed, state.images, team.rank))
    grid = density_grid(model.template)
    task = Task(grid, model.view, model.pose_range, model.intrinsics, tuple(structures), patients)
    train(state, task, settings, progress if team.first else None, checkpoint if team.first else None, team=team)
