"""What of a training goes into a model's folder, and a training that goes on from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.training.trainer import new_state

if TYPE_CHECKING:
    from XVRegistrationLib.networks.pose_network import PoseNetwork
    from XVRegistrationLib.training.trainer import TrainingSettings, TrainingState


def training_of(state: TrainingState, settings: TrainingSettings) -> dict[str, Any]:
    """What a model's card says of a training."""
    return {
        "seconds": state.elapsed,
        "budget": settings.seconds,
        "steps": state.steps,
        "images": state.images,
        "seed": settings.seed,
        "history": state.history,
    }


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The optimiser's state by name, as safetensors keep it."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{key}": torch.as_tensor(value) for index, row in state.items() for key, value in row.items()}


def restored_state(
    network: PoseNetwork, settings: TrainingSettings, training: dict[str, Any], tensors: dict[str, torch.Tensor]
) -> TrainingState:
    """The state of a training that goes on, from what its card says and from its optimiser's tensors.

    Raises InputError for tensors of another network.
    """
    state = new_state(network, settings)
    rows: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition(".")
        rows.setdefault(int(index), {})[key] = tensor
    try:
        state.optimizer.load_state_dict({"state": rows, "param_groups": state.optimizer.state_dict()["param_groups"]})
    except (ValueError, RuntimeError) as e:
        raise InputError("The optimiser's state does not fit the network; train the model again.") from e
    state.elapsed, state.steps, state.images = training["seconds"], training["steps"], training["images"]
    state.history = list(training["history"])
    return state
