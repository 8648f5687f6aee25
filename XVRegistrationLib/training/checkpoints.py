"""What of a training goes into a model's folder, and a training that goes on from there."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.training.beam_objects import ObjectShares
from XVRegistrationLib.training.objective import LossWeights, Weight
from XVRegistrationLib.training.presentation import ShownShares
from XVRegistrationLib.training.trainer import TrainingSettings, new_state
from XVRegistrationLib.training.xray_sources import Randomization

if TYPE_CHECKING:
    from XVRegistrationLib.networks.pose_network import PoseNetwork
    from XVRegistrationLib.training.trainer import TrainingState


def training_of(state: TrainingState, settings: TrainingSettings) -> dict[str, Any]:
    """What a model's card says of a training."""
    return {
        "seconds": state.elapsed,
        "budget": settings.seconds,
        "steps": state.steps,
        "images": state.images,
        "seed": settings.seed,
        "history": state.history,
        "settings": {
            k: v for k, v in dataclasses.asdict(settings).items() if k not in ("seconds", "most_steps", "seed")
        },
    }


def settings_from(content: dict[str, Any], **changes: Any) -> TrainingSettings:
    """The settings of which `dataclasses.asdict` made `content`, with `changes`. TypeError or KeyError where it is damaged."""
    randomization = content["randomization"]
    parts = {
        "losses": LossWeights(**{name: Weight(**weight) for name, weight in content["losses"].items()}),
        "randomization": Randomization(
            **{
                **randomization,
                "objects": ObjectShares(**randomization["objects"]),
                "shown": ShownShares(**randomization["shown"]),
            }
        ),
    }
    return TrainingSettings(**{**content, **parts, **changes})


def kept_settings(training: dict[str, Any], usual: TrainingSettings, seconds: float) -> TrainingSettings:
    """How a training that a card describes goes on, for `seconds` in all; steps are no budget any more.

    The `usual` settings where the card tells none.
    """
    if "settings" not in training:
        return dataclasses.replace(usual, seconds=seconds, seed=training["seed"])
    try:
        return settings_from(training["settings"], seconds=seconds, seed=training["seed"])
    except (KeyError, TypeError) as e:
        raise InputError(
            "The settings of the model's training are not those of this version; give settings to go on with."
        ) from e


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
        raise InputError(
            "The optimiser's state does not fit the network, so that its training cannot go on; it registers as it is."
        ) from e
    state.elapsed, state.steps, state.images = training["seconds"], training["steps"], training["images"]
    state.history = list(training["history"])
    return state
