"""Training a pose network from scratch, for a time budget, on X-rays rendered on the fly."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.networks.predict import network_camera
from XVRegistrationLib.training.objective import LossWeights, TrainingLoss
from XVRegistrationLib.training.prefetch import Prefetched
from XVRegistrationLib.training.task import dense_points
from XVRegistrationLib.training.team import Team
from XVRegistrationLib.training.validation import Validation
from XVRegistrationLib.training.xray_sources import Pool, Randomization, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from XVRegistrationLib.networks.pose_network import PoseNetwork
    from XVRegistrationLib.training.task import Task
    from XVRegistrationLib.training.xray_sources import XraySource

_LEAST_RATE = 1e-3  # of the learning rate: what it falls to
_WARM_UP_SHARE = 0.05  # of the budget, at most
_MOST_THREADS = 4  # of the network: more wait for each other


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained."""

    seconds: float = 300.0
    """Time budget; the learning rate falls to zero over it."""
    most_steps: int = 0
    """Steps that are a budget too: what is used up first ends the training. 0: the time alone does."""
    batch: int = 16
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    warm_up: int = 50
    """Steps over which the learning rate rises, but no more than a twentieth of the budget."""
    largest_gradient: float = 50.0
    """Norm of the gradient, mm a unit of weight, to which longer ones are cut."""
    regulariser_weight: float = 5.0
    """mm that a network's regulariser of 1 adds to its loss, where it has one."""
    validate_every: float = 20.0
    """Seconds between validations, at most; each is followed by a checkpoint. Short trainings have at least eight."""
    pool: int = 0
    """X-rays of the pool that PSSS's incremental learning goes through in an epoch; 0: every X-ray is rendered for one use."""
    replaced: float = 0.25
    """Share of the pool that is new in each epoch."""
    losses: LossWeights = field(default_factory=LossWeights)
    randomization: Randomization = field(default_factory=Randomization)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.pool != 0 and not self.batch <= self.pool:
            raise InputError(f"A pool needs at least as many X-rays as a batch has ({self.batch}), not {self.pool}.")
        if not 0 <= self.replaced <= 1:
            raise InputError(f"The share of a pool that is replaced must lie between 0 and 1, not {self.replaced:g}.")


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
    """Averaged over the last steps, mm with the usual losses."""
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


def new_state(network: PoseNetwork, settings: TrainingSettings) -> TrainingState:
    """A training that has not begun."""
    # Fused: one pass over the weights instead of a dozen, which took up to a tenth of a step.
    optimizer = torch.optim.AdamW(
        network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    return TrainingState(network, optimizer)


def train(
    state: TrainingState,
    task: Task,
    settings: TrainingSettings,
    on_progress: Callable[[Progress], None] | None = None,
    on_checkpoint: Callable[[TrainingState], None] | None = None,
    source: XraySource | None = None,
    team: Team | None = None,
) -> TrainingState:
    """Train until the budget is used, and return the state.

    `on_checkpoint` is called with a consistent state after each validation. Raising from `on_progress` (as Ctrl-C does)
    ends the training; the last checkpoint stays valid. X-rays are the task's unless a `source` gives others; they are made
    by a thread while the network learns. The processes of a `team` train one network together.
    """
    network, team = state.network, team or Team()
    device = next(network.parameters()).device
    camera = network_camera(task.intrinsics, network.settings.pixels)
    points = dense_points(task.grid)
    validation = Validation(task, camera, points, device)
    # A resumed training goes on with new poses, not with those that it has seen.
    stream = Stream(
        task, camera, settings.randomization, device, settings.seed * 1_000_003 + state.images + 7_919 * team.rank
    )
    criterion = TrainingLoss(settings.losses, task, camera, stream.grid, stream.step, points)
    if source is None:
        source = Pool(stream, settings.pool, settings.replaced) if settings.pool else stream

    team.share(network)
    network.train()
    # Convolutions of few channels run a third faster on the CPU with channels last.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    mean_loss = math.nan
    began, before = time.monotonic(), state.elapsed
    last = before, _used(state, settings)
    with threads_for_both(device), Prefetched(source, settings.batch) as batches:
        while True:
            state.elapsed = team.agreed(before + time.monotonic() - began)
            used = _used(state, settings)
            done = used >= 1
            due = state.elapsed - last[0] >= settings.validate_every or used - last[1] >= 1 / 8
            if (done or due) and state.steps > 0:
                team.share(network)
                error = validation.error(network)
                row = {"seconds": state.elapsed, "images": state.images, "loss": mean_loss, "validation": error}
                state.history.append(row)
                last = state.elapsed, used
                if on_checkpoint is not None:
                    on_checkpoint(state)
                if on_progress is not None:
                    on_progress(_progress(state, settings, mean_loss, error))
            if done:
                return state
            value = _step(state, settings, criterion, batches, team)
            mean_loss = value if math.isnan(mean_loss) else 0.95 * mean_loss + 0.05 * value
            if on_progress is not None:
                on_progress(_progress(state, settings, mean_loss, None))


def _step(
    state: TrainingState, settings: TrainingSettings, criterion: TrainingLoss, batches: Prefetched, team: Team
) -> float:
    """One step of the optimiser, and its loss; FloatingPointError where it is not finite."""
    progress = _used(state, settings)
    batches.difficulty = settings.randomization.difficulty(progress)
    for group in state.optimizer.param_groups:
        group["lr"] = settings.learning_rate * _rate(state.steps, progress, settings.warm_up)
    batch = batches.next()
    rotation, translation, regulariser = state.network.learning(batch.images)
    loss = criterion(rotation, translation, batch.motions, progress)
    state.optimizer.zero_grad(set_to_none=True)
    (loss if regulariser is None else loss + settings.regulariser_weight * regulariser.mean()).backward()
    team.average(state.network)
    torch.nn.utils.clip_grad_norm_(state.network.parameters(), settings.largest_gradient)
    state.optimizer.step()
    state.steps += 1
    state.images += settings.batch * team.size
    value = float(loss.detach())
    if not math.isfinite(value):
        raise FloatingPointError(f"The training diverged at step {state.steps}; the last checkpoint is still good.")
    return value


def _used(state: TrainingState, settings: TrainingSettings) -> float:
    """Share of the budget that is used, 0 to 1."""
    steps = state.steps / settings.most_steps if settings.most_steps else 0.0
    return min(1.0, max(steps, state.elapsed / settings.seconds))


def _rate(steps: int, progress: float, warm_up: int) -> float:
    """Share of the learning rate: rising over the first steps, then falling as half a cosine over the budget."""
    rise = max((steps + 1) / warm_up if warm_up > 0 else 1.0, progress / _WARM_UP_SHARE)
    return max(_LEAST_RATE, min(1.0, rise) * 0.5 * (1 + math.cos(math.pi * progress)))


def _progress(state: TrainingState, settings: TrainingSettings, loss: float, error: float | None) -> Progress:
    return Progress(state.elapsed, settings.seconds, state.steps, state.images, loss, error)


@contextmanager
def threads_for_both(device: torch.device) -> Iterator[None]:
    """On the CPU, half of torch's threads for the network: the other half of the cores makes the next X-rays meanwhile.

    Small networks gain little from a second thread, and lose where it has to be waited for.
    """
    threads = torch.get_num_threads()
    if device.type == "cpu" and threads > 1:
        torch.set_num_threads(min(_MOST_THREADS, max(1, threads // 2)))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
