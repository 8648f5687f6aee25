"""Making a patient's model: the bank first, saved at once, then a network for a time budget, saved at every validation."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.jobs.checks import check_device_name, check_minutes, check_new_folder, training_seconds
from XVRegistrationLib.networks.create import create_network
from XVRegistrationLib.networks.settings import NetworkSettings
from XVRegistrationLib.registration.card import DEFAULT_SOD, read_card
from XVRegistrationLib.registration.model import (
    load_model,
    load_network,
    load_optimizer,
    nominal_view,
    prepare_model,
    save_model,
)
from XVRegistrationLib.training.checkpoints import kept_settings, optimizer_tensors, restored_state, training_of
from XVRegistrationLib.training.suitability import suitability
from XVRegistrationLib.training.task import Task
from XVRegistrationLib.training.trainer import TrainingSettings, new_state, train

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.geometry.views import PoseRange
    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.registration.model import PatientModel
    from XVRegistrationLib.rendering.grid import DensityGrid
    from XVRegistrationLib.training.trainer import Progress, TrainingState


FINETUNING_RATE = 1e-3
"""Learning rate of a network that other patients have taught."""


def start_patient(
    folder: str | os.PathLike[str],
    volume: Volume,
    intrinsics: Intrinsics,
    *,
    view: str = "AP",
    sod: float = DEFAULT_SOD,
    pose_range: PoseRange | None = None,
    anatomy: str = "",
    forced: bool = False,
    on_doubt: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PatientModel:
    """A model of `volume` that registers by its bank, saved in a new `folder`, in seconds.

    `on_doubt` is called with each sentence that speaks against the volume, `progress` with renders done and renders in all.
    Raises InputError, and writes nothing, when the folder already holds a model, and unless `forced` for a CT full of metal or
    clearly of another part of the body than the preset `anatomy`.
    """
    check_new_folder(folder)
    nominal = nominal_view(volume, view, sod)
    found = suitability(volume, nominal, intrinsics, anatomy)
    if found.refusal and not forced:
        raise InputError(found.refusal, give=("forced",))
    if on_doubt is not None:
        for sentence in found.sentences:
            on_doubt(sentence)
    prepared = prepare_model(volume, intrinsics, nominal, pose_range=pose_range, progress=progress)
    model = dataclasses.replace(prepared, anatomy=anatomy)
    save_model(folder, model)
    return model


def train_patient(
    folder: str | os.PathLike[str],
    model: PatientModel,
    *,
    minutes: float = 5.0,
    seed: int = 0,
    device: str | None = None,
    network: NetworkSettings | None = None,
    settings: TrainingSettings | None = None,
    structures: Sequence[DensityGrid] = (),
    progress: Callable[[Progress], None] | None = None,
) -> PatientModel:
    """The model of `folder` with a network trained for `minutes`; with 0 minutes the model as it is.

    The network is trained from scratch, or goes on from what it has learnt of other patients where the model has one.

    `network` is what one from scratch is made of; `network_for` says in which unit of output. `settings` say how it is trained,
    but for `minutes` and `seed`; `structures` are what a Dice loss among them compares (`rendering.structure_grid`).

    An exception from `progress` (Ctrl-C) ends the training and leaves the last checkpoint in the folder, from which
    `resume_training` goes on.
    """
    check_minutes(minutes)
    where = check_device(device)
    if minutes == 0:
        return model
    how = dataclasses.replace(settings or _usual(model), seconds=60 * minutes, seed=seed)
    return _train_anew(Path(folder), model, how, where, network, structures, progress)


def resume_training(
    folder: str | os.PathLike[str],
    *,
    volume: Volume | None = None,
    minutes: float | None = None,
    seed: int = 0,
    device: str | None = None,
    network: NetworkSettings | None = None,
    settings: TrainingSettings | None = None,
    structures: Sequence[DensityGrid] = (),
    progress: Callable[[Progress], None] | None = None,
) -> PatientModel:
    """Go on with the training of a model folder, up to `minutes` in all or to the end of its first budget.

    It goes on as it began, or by other `settings`; `structures` are not kept in the folder. Where that holds a bank alone, a
    network is trained as by `train_patient`, by default for five minutes; `seed` and `network` are this one's.
    """
    card = read_card(folder)
    seconds = training_seconds(folder, card, minutes)
    where = check_device(device)
    for half in Path(folder).glob(".part-*"):  # what a killed process had begun to write
        if half.is_file():
            half.unlink(missing_ok=True)
    model = load_model(folder, volume)
    training = card["training"]
    if not training:
        how = dataclasses.replace(settings or _usual(model), seconds=seconds, seed=seed)
        return _train_anew(Path(folder), model, how, where, network, structures, progress)
    assert model.network is not None
    if settings is None:
        how = kept_settings(training, _usual(model), seconds)
    else:
        how = dataclasses.replace(settings, seconds=seconds, seed=training["seed"])
    state = restored_state(model.network.to(where), how, training, load_optimizer(folder))
    return _run(Path(folder), model, state, how, structures, progress)


def network_for(model: PatientModel, network: NetworkSettings | None = None) -> NetworkSettings:
    """What is trained for a model, the default or another: a unit of its output is the widest shift of the model's range."""
    scale = max(model.pose_range.translation) or 1.0
    return dataclasses.replace(network or NetworkSettings(), translation_scale=scale)


def check_device(name: str | None) -> torch.device:
    """The device of this name, by default a GPU where there is one; InputError for one that this computer lacks."""
    check_device_name(name)
    device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as e:  # torch built without CUDA asserts
        reason = str(e).strip().splitlines()[0]
        raise InputError(f"This computer cannot train on {device} ({reason}); use cpu.") from e
    return device


def _train_anew(
    folder: Path,
    model: PatientModel,
    settings: TrainingSettings,
    device: torch.device,
    made_of: NetworkSettings | None,
    structures: Sequence[DensityGrid],
    progress: Callable[[Progress], None] | None,
) -> PatientModel:
    """Train the network that the model has from other patients, or one from scratch."""
    torch.manual_seed(settings.seed)
    network = model.network if model.origin else None
    if network is None:
        network = create_network(network_for(model, made_of))
    return _run(folder, model, new_state(network.to(device), settings), settings, structures, progress)


def _usual(model: PatientModel) -> TrainingSettings:
    """How the model's network is trained where nothing is said: with smaller steps where it has learnt other patients before."""
    return TrainingSettings(learning_rate=FINETUNING_RATE) if model.origin else TrainingSettings()


def _run(
    folder: Path,
    model: PatientModel,
    state: TrainingState,
    settings: TrainingSettings,
    structures: Sequence[DensityGrid],
    progress: Callable[[Progress], None] | None,
) -> PatientModel:
    def checkpoint(current: TrainingState) -> None:
        snapshot = dataclasses.replace(model, network=current.network, training=training_of(current, settings))
        save_model(folder, snapshot, optimizer_tensors(current.optimizer))

    task = Task(model.pyramid.finest, model.view, model.pose_range, model.intrinsics, tuple(structures))
    train(state, task, settings, progress, checkpoint)
    card = read_card(folder)
    return dataclasses.replace(model, network=load_network(folder, card), training=card["training"])
