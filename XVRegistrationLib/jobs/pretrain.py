"""Pretraining a network over many patients: preparation, training, checkpoints, and going on after an interruption."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.jobs.checks import check_device_name, check_minutes
from XVRegistrationLib.jobs.home import PLAN
from XVRegistrationLib.jobs.prepare_patients import held_out, prepare_patients
from XVRegistrationLib.jobs.pretraining_plan import Plan, read_plan, write_plan
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
    from collections.abc import Callable

    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.jobs.job_status import Job
    from XVRegistrationLib.jobs.prepare_patients import OnPlaced, Preparation
    from XVRegistrationLib.training.trainer import Progress, TrainingState


def start_pretraining(folder: str | os.PathLike[str], plan: Plan) -> None:
    """Write a plan into a new `folder`: `pretrain` does all the rest. InputError for a folder that holds a model."""
    root = Path(folder)
    if root.exists() and not root.is_dir():
        raise InputError(f"{root} is a file; give a folder for the model.")
    if (root / CARD).exists() or (root / PLAN).exists():
        raise InputError(f"{root} already holds a model; go on with what it holds, or choose another folder.")
    check_minutes(plan.seconds / 60)
    write_plan(root, plan)


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
    on_placed: OnPlaced | None = None,
    on_prepared: Callable[[Preparation], None] | None = None,
) -> PretrainedModel:
    """Pretrain by a plan in a new `folder`, or without one go on where that of the folder ended, up to `minutes` in all.

    In the end the folder holds the model and, in `prepared`, the CTs as it saw them. `preparing` is told how many CTs are done
    of how many; `on_placed` and `on_prepared` see what becomes of them. Whatever ends it, a call without a plan goes on.
    Raises InputError for a new folder that holds anything of this, for a template that cannot be one, and for CTs that do
    not register to it.
    """
    root, team = Path(folder), team or Team()
    if plan is not None:
        if team.first:
            start_pretraining(root, plan)
        team.wait()
    plan = read_plan(root)
    if team.first:
        for half in root.rglob(".part-*"):  # what a killed process had begun to write
            half.unlink(missing_ok=True)
    where = check_device(device or own_device())
    settings = TrainingSettings(seconds=plan.seconds if minutes is None else 60 * minutes, seed=plan.seed)
    before = load_pretrained(root) if (root / CARD).exists() else None
    if before is not None and before.training["seconds"] >= settings.seconds:
        done = before.training["seconds"] / 60
        raise InputError(f"{folder} has been trained for {done:.1f} minutes already; ask for more minutes.")
    template, prepared = prepare_patients(root, plan, team, preparing, on_placed)
    if on_prepared is not None and team.first:
        on_prepared(prepared)
    model = before or _new_model(plan, template, len(prepared.patients))
    model.network.to(where)
    if before is None:
        state = new_state(model.network, settings)
    else:
        state = restored_state(model.network, settings, before.training, load_optimizer(root))
    _train(root, model, state, settings, prepared, where, team, progress)
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
    device: torch.device,
    team: Team,
    progress: Callable[[Progress], None] | None,
) -> None:
    def checkpoint(current: TrainingState) -> None:
        model.training = training_of(current, settings)
        save_pretrained(folder, model, optimizer_tensors(current.optimizer))

    training, validation = held_out(prepared.patients)
    patients = PreparedPatients(training, validation, device, (settings.seed, state.images, team.rank))
    task = Task(density_grid(model.template), model.view, model.pose_range, model.intrinsics, patients=patients)
    train(state, task, settings, progress if team.first else None, checkpoint if team.first else None, team=team)
