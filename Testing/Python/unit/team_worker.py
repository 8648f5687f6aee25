"""One of several processes that train together, started by torchrun; run as a script by test_pretraining.py."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from Testing.Python.unit.conftest import phantom_hu
from Testing.Python.unit.many_patients import CAMERA, patient
from XVRegistrationLib.geometry.views import NominalView, PoseRange
from XVRegistrationLib.networks.create import create_network
from XVRegistrationLib.networks.settings import GROUP, NetworkSettings
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.training.task import Task
from XVRegistrationLib.training.team import Team, team
from XVRegistrationLib.training.trainer import TrainingSettings, new_state, train

SETTINGS = NetworkSettings(pixels=32, normalization=GROUP)


def gradients(images: torch.Tensor, targets: torch.Tensor, crew: Team) -> torch.Tensor:
    """The gradient of a mean over images, after the team has met."""
    torch.manual_seed(3)
    network = create_network(SETTINGS)
    rotation, translation = network(images)
    loss = rotation[:, 0, 1] + (translation - targets).square().sum(dim=1)
    loss.mean().backward()
    crew.average(network)
    return torch.cat([p.grad.reshape(-1) for p in network.parameters()])


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """The joined batch: images, and translations that they are of."""
    generator = torch.Generator().manual_seed(5)
    return torch.rand(8, 32, 32, generator=generator), 30 * torch.randn(8, 3, generator=generator)


def trained(crew: Team) -> tuple[torch.Tensor, int, int]:
    """Weights after a second of training that began with other weights in each process, steps and images."""
    torch.manual_seed(crew.rank)
    volume = patient(phantom_hu((24, 36, 40)), 1)
    view = NominalView("AP", tuple(volume.center.tolist()), 700.0)
    task = Task(density_grid(volume), view, PoseRange(), CAMERA)
    settings = TrainingSettings(seconds=1.0, batch=4)
    state = train(new_state(create_network(SETTINGS), settings), task, settings, team=crew)
    return torch.cat([p.detach().reshape(-1) for p in state.network.parameters()]), state.steps, state.images


def main(folder: Path) -> None:
    """Write this process's gradients and weights."""
    with team() as crew:
        images, targets = batch()
        mine = slice(crew.rank, None, crew.size)
        found = gradients(images[mine], targets[mine], crew)
        weights, steps, count = trained(crew)
    np.savez(folder / f"{crew.rank}.npz", gradients=found.numpy(), weights=weights.numpy(), counts=[steps, count])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
