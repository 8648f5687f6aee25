"""Making a patient's model: the bank first, saved at once, then a network for a time budget, saved at every validation."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.networks.pose_network import NetworkSettings, PoseNetwork
from XVRegistrationLib.registration.model import (
    CARD,
    DEFAULT_SOD,
    load_model,
    load_network,
    load_optimizer,
    prepare_model,
    read_card,
    save_model,
)
from XVRegistrationLib.training.trainer import Task, TrainingSettings, TrainingState, new_state, train

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.geometry.views import PoseRange
    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.registration.model import PatientModel
    from XVRegistrationLib.training.trainer import Progress


def start_patient(
    folder: str | os.PathLike[str],
    volume: Volume,
    intrinsics: Intrinsics,
    *,
    view: str = "AP",
    sod: float = DEFAULT_SOD,
    pose_range: PoseRange | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PatientModel:
    """A model of `volume` that registers by its bank, saved in a new `folder`, in seconds.

    `progress` is called with renders done and renders in all. Raises InputError when the folder already holds a model.
    """
    check_new_folder(folder)
    model = prepare_model(volume, intrinsics, view, sod, pose_range, progress)
    save_model(folder, model)
    return model


def train_patient(
    folder: str | os.PathLike[str],
    model: PatientModel,
    *,
    minutes: float = 5.0,
    seed: int = 0,
    device: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> PatientModel:
    """The model of `folder` with a network trained from scratch for `minutes`; with 0 minutes the model as it is.

    An exception from `progress` (Ctrl-C) ends the training and leaves the last checkpoint in the folder, from which
    `resume_training` goes on.
    """
    check_minutes(minutes)
    if minutes == 0:
        return model
    torch.manual_seed(seed)
    network = PoseNetwork(NetworkSettings(translation_scale=max(model.pose_range.translation) or 1.0))
    settings = TrainingSettings(seconds=60 * minutes, seed=seed)
    state = new_state(network.to(_device(device)), settings)
    return _run(Path(folder), model, state, settings, progress)


def resume_training(
    folder: str | os.PathLike[str],
    *,
    volume: Volume | None = None,
    minutes: float | None = None,
    device: str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> PatientModel:
    """Go on with the training of a model folder, up to `minutes` in all or to the end of its first budget."""
    if minutes is not None:
        check_minutes(minutes)
    training = read_card(folder)["training"]
    if not training:
        raise InputError(f"{folder} holds a bank and no network whose training could go on; train into a new folder.")
    seconds = training["budget"] if minutes is None else 60 * minutes
    if seconds <= training["seconds"]:
        raise InputError(
            f"{folder} has been trained for {training['seconds'] / 60:.1f} minutes already; ask for more with --minutes."
        )
    model = load_model(folder, volume)
    assert model.network is not None
    settings = TrainingSettings(seconds=seconds, seed=training["seed"])
    state = new_state(model.network.to(_device(device)), settings)
    _restore_optimizer(state.optimizer, load_optimizer(folder))
    state.elapsed, state.steps, state.images = training["seconds"], training["steps"], training["images"]
    state.history = list(training["history"])
    return _run(Path(folder), model, state, settings, progress)


def check_new_folder(folder: str | os.PathLike[str]) -> None:
    """Raise InputError unless a model may be written to `folder`."""
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; give a folder for the model.")
    if (path / CARD).exists():
        raise InputError(f"{path} already holds a model; go on with --resume, or choose another folder.")


def check_minutes(minutes: float) -> None:
    """Raise InputError for a time budget that is none."""
    if not 0 <= minutes < float("inf"):
        raise InputError(f"The time budget must be 0 or more minutes, not {minutes}.")


def _run(
    folder: Path,
    model: PatientModel,
    state: TrainingState,
    settings: TrainingSettings,
    progress: Callable[[Progress], None] | None,
) -> PatientModel:
    def checkpoint(current: TrainingState) -> None:
        training = {
            "seconds": current.elapsed,
            "budget": settings.seconds,
            "steps": current.steps,
            "images": current.images,
            "seed": settings.seed,
            "history": current.history,
        }
        snapshot = dataclasses.replace(model, network=current.network, training=training)
        save_model(folder, snapshot, _optimizer_tensors(current.optimizer))

    task = Task(model.pyramid.finest, model.view, model.pose_range, model.intrinsics)
    train(state, task, settings, progress, checkpoint)
    card = read_card(folder)
    return dataclasses.replace(model, network=load_network(folder, card), training=card["training"])


def _device(name: str | None) -> torch.device:
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    state = optimizer.state_dict()["state"]
    return {f"{index}.{key}": torch.as_tensor(value) for index, row in state.items() for key, value in row.items()}


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    rows: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        rows.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": rows, "param_groups": optimizer.state_dict()["param_groups"]})
