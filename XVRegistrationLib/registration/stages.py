"""The coarse-to-fine schedule: hypotheses compete at low resolution, the best is finished at the detector's useful one."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.geometry.rigid import invert, rotation_angle
from XVRegistrationLib.registration.objective import Estimates, FreeParameters, costs
from XVRegistrationLib.registration.refine import refine
from XVRegistrationLib.registration.similarity import Similarity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.registration.objective import DepthPrior, Rendered, View


@dataclass(frozen=True)
class Stage:
    """One resolution of the schedule."""

    pixels: int
    """Longer side of the image, px."""
    similarity: Similarity
    iterations: int
    """At most so many renders of each hypothesis; 0: they compete as they are."""
    keep: int
    """So many hypotheses go on to the next stage."""
    response: bool = False
    """Whether the detector's response is estimated with the pose."""
    coarsening: float = 1.0
    """Voxels may be so many times a pixel's footprint, as long as they are small."""
    margin_mm: float = 10.0
    """How far from where a hypothesis puts the volume the image is looked at; above the error that may be left."""
    near_mm: float = 10.0
    """How far from the render pixels count where the X-ray shows more than the volume."""
    stop_at_gain: float = 1e-3
    """A hypothesis rests when a step lowers its cost by less than this share."""
    stop_at_mm: float = 0.0
    """... or moves it by less than this."""
    damping: float = 1e-2
    """Marquardt's first; small where the start is near enough for Gauss-Newton's own steps."""


_FINISH = (
    Stage(128, Similarity((0, 16), robust=0.3), 12, 1, True, stop_at_gain=0.0, stop_at_mm=0.1, damping=1e-5),
    Stage(256, Similarity((12,), robust=0.3), 3, 1, True, 2.0, 6.0, stop_at_gain=0.0, stop_at_mm=0.1, damping=1e-6),
)
STAGES = (
    Stage(48, Similarity((0,)), 6, 3, margin_mm=30.0, stop_at_gain=1e-2, stop_at_mm=1.0, damping=1e-5),
    Stage(64, Similarity((0, 16)), 10, 1, margin_mm=20.0, stop_at_mm=0.5, damping=1e-5),
    *_FINISH,
)
"""From coarse to fine, for a few hypotheses."""
MANY_STAGES = (
    Stage(32, Similarity((0,)), 5, 8, margin_mm=40.0, stop_at_gain=1e-2, damping=1e-3),
    Stage(64, Similarity((0, 16)), 10, 2, margin_mm=20.0, stop_at_mm=0.5, damping=1e-5),
    *_FINISH,
)
"""For dozens of hypotheses."""
SCATTERED_STAGES = (
    Stage(32, Similarity((0,)), 0, 32, margin_mm=50.0),
    Stage(48, Similarity((0,)), 8, 6, margin_mm=30.0, stop_at_gain=1e-2),
    *MANY_STAGES[1:],
)
"""For hundreds, scattered about a start: those that look most alike go on."""
_GRADIENTS = Similarity((0, 8), image=False, highpass_px=4.0, by_render=True)
STRUCTURE_STAGES = (
    Stage(32, _GRADIENTS, 0, 96, margin_mm=30.0, near_mm=25.0),
    Stage(
        32, Similarity((0, 8), highpass_px=4.0, by_render=True), 7, 20, margin_mm=25.0, near_mm=20.0, stop_at_gain=1e-2
    ),
    Stage(48, Similarity((0, 12), highpass_px=5.5, by_render=True), 8, 5, margin_mm=25.0, near_mm=20.0),
    Stage(80, Similarity((0, 10), highpass_px=5.0, by_render=True), 12, 2, margin_mm=15.0, near_mm=10.0),
    Stage(144, Similarity((0, 18), highpass_px=9.0, by_render=True), 10, 1, margin_mm=10.0, near_mm=6.0),
    Stage(256, Similarity((0, 32), highpass_px=17.0, by_render=True), 5, 1, margin_mm=6.0, near_mm=4.0),
)
"""For a structure that other things lie over: finer from the beginning, without what is smooth, weighed by what is rendered."""
_SINGLE = STRUCTURE_STAGES[2:]
SINGLE_STRUCTURE_STAGES = (
    dataclasses.replace(_SINGLE[0], keep=40),
    dataclasses.replace(_SINGLE[1], keep=12, near_mm=14.0),
    dataclasses.replace(_SINGLE[2], keep=6),
    _SINGLE[3],
)
"""The same for one view, in which a coarse image cannot tell tilts apart: finer from the beginning, and more go on."""
FEW, DOZENS = 16, 64
"""More hypotheses than these are many, or scattered."""


def stages_for(hypotheses: int, surroundings: bool = False, views: int = 1) -> tuple[Stage, ...]:
    """The schedule for so many hypotheses, in so many X-rays, that may show more than the volume."""
    if surroundings:
        return STRUCTURE_STAGES if views > 1 else SINGLE_STRUCTURE_STAGES
    if hypotheses <= FEW:
        return STAGES
    return MANY_STAGES if hypotheses <= DOZENS else SCATTERED_STAGES


@dataclass(frozen=True)
class _Apart:
    """How far apart two poses are that do not mean the same: by any of these."""

    in_plane_mm: float
    depth_mm: float
    turn_rad: float


_REPEATS = _Apart(2.0, 2.0, np.radians(1.0))  # nearer, a hypothesis would only repeat the other
# Nearer, both are on their way to one pose: at the resolution where hypotheses compete that is about how precise they are.
_RIVALS = _Apart(3.0, 20.0, np.radians(5.0))


@dataclass(frozen=True, eq=False)
class SearchResult:
    """Where the stages ended."""

    estimates: Estimates
    """The best alone."""
    cost: float
    start: int
    """Which hypothesis it came from."""
    first_costs: NDArray[np.float64]
    """(B,) of every hypothesis after the first stage."""
    lead: float
    """By which share the cost of the next best, another pose, was higher at the last stage with several; inf without one."""
    trace: tuple[tuple[NDArray[np.float64], float], ...]
    """Poses (S, 4, 4) of the best at the end of each stage, and its cost in the view that it explains least."""
    renders: int
    views: Sequence[View]
    """Those of the last stage."""
    free: FreeParameters
    """What the last stage estimated."""
    shown: tuple[Rendered, ...]
    """What the best looks like in each of the last stage's views."""


def run_stages(
    start: Estimates,
    views_at: Callable[[Stage, Estimates], Sequence[View]],
    pivots: NDArray[np.float64],
    stages: Sequence[Stage] = STAGES,
    prior: DepthPrior | None = None,
    progress: Callable[[int, float], None] | None = None,
    geometry: bool = False,
) -> SearchResult:
    """Refine all hypotheses through the stages. `views_at` makes a stage's views for what is estimated so far.

    `progress` is called before each further render with stages done and the lowest cost so far; an exception from it ends
    the work. With `geometry` the last stage also estimates each view's geometry.
    """
    estimates, origin = start, np.arange(len(start))
    first_costs = np.full(len(start), np.nan)
    lead = np.inf
    trace: list[tuple[NDArray[np.float64], float]] = []
    renders, free = 0, FreeParameters()
    views: Sequence[View] = ()
    cost = np.zeros(len(start))
    shown: tuple[Rendered, ...] = ()
    for n, stage in enumerate(stages):
        free = FreeParameters(stage.response, geometry and n == len(stages) - 1)
        views = views_at(stage, estimates)
        if not stage.iterations:
            cost = costs(estimates, views)
            renders += cost.size * len(views) * len(pivots)
            if n == 0:
                first_costs = cost
            kept = distinct(estimates, cost, pivots, stage.keep)
            estimates, origin = estimates[kept], origin[kept]
            continue
        done = refine(
            estimates,
            views,
            pivots,
            stage.iterations,
            free,
            prior,
            None if progress is None else lambda cost, n=n: progress(n, cost),  # type: ignore[misc]
            stage.stop_at_gain,
            stage.stop_at_mm,
            stage.damping,
        )
        renders += done.renders
        if n == 0:
            first_costs = done.cost
        kept = distinct(done.estimates, done.cost, pivots, stage.keep)
        if len(estimates) > 1:
            best, *others = done.cost[distinct(done.estimates, done.cost, pivots, 2, _RIVALS)]
            lead = (others[0] - best) / max(best, 1e-9) if others else np.inf
        worst = max(float(view.cost[0]) for view in done.shown[kept[0]])
        trace.append((done.estimates.poses[kept[0]], worst))
        estimates, cost, origin, shown = done.estimates[kept], done.cost[kept], origin[kept], done.shown[kept[0]]
        views = [view.of(kept[:1]) for view in views]
    return SearchResult(
        estimates,
        float(cost[0]),
        int(origin[0]),
        first_costs,
        float(lead),
        tuple(trace),
        renders,
        views,
        free,
        shown,
    )


def distinct(
    estimates: Estimates,
    cost: NDArray[np.float64],
    pivots: NDArray[np.float64],
    most: int,
    apart: _Apart = _REPEATS,
) -> NDArray[np.intp]:
    """Indices of the `most` hypotheses of lowest cost that do not mean the same pose of the first structure."""
    into_camera = invert(estimates.poses[:, 0])
    where = into_camera[:, :3, :3] @ pivots[0] + into_camera[:, :3, 3]
    open_ = np.ones(len(cost), dtype=bool)
    chosen: list[int] = []
    for i in np.argsort(cost, kind="stable"):
        if len(chosen) == most:
            break
        if open_[i]:
            chosen.append(int(i))
            shift = where - where[i]
            turn = rotation_angle(into_camera[:, :3, :3] @ into_camera[i, :3, :3].T)
            open_ &= (
                (np.linalg.norm(shift[:, :2], axis=1) >= apart.in_plane_mm)
                | (np.abs(shift[:, 2]) >= apart.depth_mm)
                | (turn >= apart.turn_rad)
            )
    return np.array(chosen, dtype=np.intp)
