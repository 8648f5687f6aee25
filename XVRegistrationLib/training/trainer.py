"""Training a pose network from scratch, for a time budget, on X-rays rendered on the fly."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from XVRegistrationLib.geometry.rigid import point_distance, transform_points
from XVRegistrationLib.geometry.views import draw_poses
from XVRegistrationLib.imaging.resample import cover_as
from XVRegistrationLib.networks.predict import network_camera, predict
from XVRegistrationLib.rendering.grid import matched_to
from XVRegistrationLib.rendering.render import render, sample_distance
from XVRegistrationLib.training.losses import geodesic_distance
from XVRegistrationLib.training.randomize import randomized

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.geometry.views import NominalView, PoseRange
    from XVRegistrationLib.networks.pose_network import PoseNetwork
    from XVRegistrationLib.rendering.grid import DensityGrid

_VALIDATION_SIZE = 64
# Voxels and steps of the training's renders, in pixel footprints: twice coarser than needed costs no accuracy that a network
# of this resolution has, and saves half of the time that it has to learn.
_COARSENESS = 2.0
_DENSE = 0.03  # 1/mm at 60 keV: bone, metal and contrast


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained."""

    seconds: float = 300.0
    """Time budget; the learning rate falls to zero over it."""
    batch: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    warm_up: int = 50
    """Steps over which the learning rate rises."""
    regulariser_weight: float = 5.0
    """mm that a network's regulariser of 1 adds to its loss, where it has one."""
    validate_every: float = 20.0
    """Seconds between validations, at most; each is followed by a checkpoint. Short trainings have at least eight."""
    seed: int = 0


@dataclass(frozen=True)
class Progress:
    """How far a training is."""

    elapsed: float
    """Seconds, over all its runs."""
    budget: float
    """Seconds."""
    steps: int
    images: int
    loss: float
    """Geodesic distance, mm, averaged over the last steps."""
    validation: float | None
    """Median error in mm on X-rays with a fixed seed, where just measured."""


@dataclass
class TrainingState:
    """A network in training; everything that a checkpoint needs to go on."""

    network: PoseNetwork
    optimizer: torch.optim.Optimizer
    elapsed: float = 0.0
    steps: int = 0
    images: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    """Rows of seconds, images, loss (mm) and validation (median mm)."""


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be learnt: one patient, seen by one camera from poses about one view."""

    grid: DensityGrid
    view: NominalView
    pose_range: PoseRange
    intrinsics: Intrinsics


def new_state(network: PoseNetwork, settings: TrainingSettings) -> TrainingState:
    """A training that has not begun."""
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    return TrainingState(network, optimizer)


def train(
    state: TrainingState,
    task: Task,
    settings: TrainingSettings,
    on_progress: Callable[[Progress], None] | None = None,
    on_checkpoint: Callable[[TrainingState], None] | None = None,
) -> TrainingState:
    """Train until the time budget is used, and return the state; deterministic but for how many steps fit the time.

    `on_checkpoint` is called with a consistent state after each validation. Raising from `on_progress` (as Ctrl-C does)
    ends the training; the last checkpoint stays valid.
    """
    network = state.network
    device = next(network.parameters()).device
    camera = network_camera(task.intrinsics, network.settings.pixels)
    footprint = camera.footprint(task.view.sod)
    grid = matched_to(task.grid, footprint * _COARSENESS).to(device)
    step_length = sample_distance(grid, footprint * _COARSENESS)
    # A resumed training goes on with new poses, not with those that it has seen.
    rng = np.random.default_rng([settings.seed, state.images])
    generator = torch.Generator(device).manual_seed(settings.seed * 1_000_003 + state.images)
    validation = _validation_set(task, camera, device)
    points = dense_points(task.grid)
    offsets = points - np.array(task.view.isocenter)
    radius = float(np.sqrt((offsets**2).sum(axis=1).mean()))

    network.train()
    # Depthwise convolutions run a third faster on the CPU with channels last.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    mean_loss = math.nan
    began, before = time.monotonic(), state.elapsed
    interval = min(settings.validate_every, settings.seconds / 8)
    next_validation = before + interval
    while True:
        state.elapsed = before + time.monotonic() - began
        done = state.elapsed >= settings.seconds
        if (done or state.elapsed >= next_validation) and state.steps > 0:
            error = _validation_error(network, task, validation, points)
            state.history.append(
                {"seconds": state.elapsed, "images": state.images, "loss": mean_loss, "validation": error}
            )
            next_validation = state.elapsed + interval
            if on_checkpoint is not None:
                on_checkpoint(state)
            if on_progress is not None:
                on_progress(Progress(state.elapsed, settings.seconds, state.steps, state.images, mean_loss, error))
        if done:
            return state
        rate = (
            min(1.0, (state.steps + 1) / settings.warm_up)
            * 0.5
            * (1 + math.cos(math.pi * state.elapsed / settings.seconds))
        )
        for group in state.optimizer.param_groups:
            group["lr"] = settings.learning_rate * max(rate, 1e-3)

        poses = draw_poses(task.view, task.pose_range, settings.batch, rng)
        motion = torch.from_numpy(task.view.relative(poses)).float().to(device)
        images = cover_as(render(grid, poses, camera, step_length), camera, task.intrinsics)
        images = randomized(images, generator)
        rotation, translation, regulariser = network.learning(images)
        loss = geodesic_distance(rotation, translation, motion[:, :3, :3], motion[:, :3, 3], radius).mean()
        state.optimizer.zero_grad(set_to_none=True)
        _regularised(loss, regulariser, settings).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 50.0)
        state.optimizer.step()
        state.steps += 1
        state.images += settings.batch
        value = float(loss.detach())
        if not math.isfinite(value):
            raise FloatingPointError(f"The training diverged at step {state.steps}; the last checkpoint is still good.")
        mean_loss = value if math.isnan(mean_loss) else 0.95 * mean_loss + 0.05 * value
        if on_progress is not None:
            on_progress(Progress(state.elapsed, settings.seconds, state.steps, state.images, mean_loss, None))


def _regularised(loss: torch.Tensor, regulariser: torch.Tensor | None, settings: TrainingSettings) -> torch.Tensor:
    return loss if regulariser is None else loss + settings.regulariser_weight * regulariser.mean()


def dense_points(grid: DensityGrid, count: int = 200, seed: int = 0) -> NDArray[np.float64]:
    """Centres (count, 3) of dense voxels drawn at random, RAS mm; of any voxels that are not air where none is dense."""
    data = grid.data.cpu().numpy()
    kji = np.argwhere(data > _DENSE)
    if len(kji) < count:
        kji = np.argwhere(data > _DENSE / 5)
    chosen = np.random.default_rng(seed).choice(len(kji), min(count, len(kji)), replace=False)
    return transform_points(grid.grid_to_ras, kji[chosen][:, ::-1])


def _validation_set(task: Task, camera: Intrinsics, device: torch.device) -> tuple[torch.Tensor, NDArray[np.float64]]:
    """X-rays from a finer grid than the training's, with detectors of a fixed seed, and their poses."""
    poses = draw_poses(task.view, task.pose_range, _VALIDATION_SIZE, np.random.default_rng(1_234_567))
    footprint = camera.footprint(task.view.sod)
    images = render(matched_to(task.grid, footprint / 2), poses, camera, footprint / 2)
    images = cover_as(images, camera, task.intrinsics)
    return randomized(images, torch.Generator().manual_seed(7)).to(device), poses


def _validation_error(
    network: PoseNetwork, task: Task, validation: tuple[torch.Tensor, NDArray[np.float64]], points: NDArray[np.float64]
) -> float:
    images, poses = validation
    predicted = predict(network, task.view, images)
    network.train()
    return float(np.median(point_distance(predicted, poses, points)))
