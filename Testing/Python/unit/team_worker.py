"""One of several processes that train together, started by torchrun; run as a script by test_pretraining.py."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from Testing.Python.unit.fixed_xrays import PIXELS, FixedXrays, small_task
from XVRegistrationLib.networks.create import create_network
from XVRegistrationLib.networks.settings import GROUP, NetworkSettings
from XVRegistrationLib.training.team import Team, team
from XVRegistrationLib.training.trainer import Progress, TrainingSettings, new_state, train

STEPS, BATCH = 3, 8


def trained(crew: Team, source: FixedXrays, batch: int) -> dict[str, np.ndarray]:
    """Of three steps that began with other weights in each process: the first step's gradients, the last weights, what was seen."""
    torch.manual_seed(crew.rank)
    settings = TrainingSettings(seconds=3600.0, most_steps=STEPS, batch=batch)
    state = new_state(create_network(NetworkSettings(pixels=PIXELS, normalization=GROUP)), settings)
    first: list[torch.Tensor] = []

    def after_a_step(progress: Progress) -> None:
        if not first:
            first.append(torch.cat([p.grad.reshape(-1) for p in state.network.parameters()]))

    train(state, small_task(), settings, after_a_step, source=source, team=crew)
    weights = torch.cat([p.detach().reshape(-1) for p in state.network.parameters()])
    return {"gradients": first[0].numpy(), "weights": weights.numpy(), "counts": np.array([state.steps, state.images])}


def main(folder: Path) -> None:
    """Train on this process's part of each batch."""
    with team() as crew:
        found = trained(crew, FixedXrays(first=crew.rank, each=crew.size), BATCH // crew.size)
    np.savez(folder / f"{crew.rank}.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
