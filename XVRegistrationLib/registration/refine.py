"""Levenberg-Marquardt refinement of several hypotheses at once, of everything that is estimated in each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.registration.objective import (
    DepthPrior,
    Estimates,
    FreeParameters,
    Rendered,
    View,
    active_bounds,
    evaluate,
)
from XVRegistrationLib.registration.uncertainty import REACH_MM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

POSES_ALONE = FreeParameters()
_LEAST_DAMPING, _MOST_DAMPING = 1e-8, 1e3


@dataclass(frozen=True, eq=False)
class Refined:
    """Where a refinement ended."""

    estimates: Estimates
    cost: NDArray[np.float64]
    """(B,) 1 - similarity."""
    renders: int
    """Images rendered, with their derivatives."""
    shown: tuple[tuple[Rendered, ...], ...]
    """What each hypothesis looks like there, in each view."""


def refine(
    start: Estimates,
    views: Sequence[View],
    pivots: NDArray[np.float64],
    iterations: int,
    free: FreeParameters = POSES_ALONE,
    prior: DepthPrior | None = None,
    progress: Callable[[float], None] | None = None,
    stop_at_gain: float = 1e-4,
    stop_at_mm: float = 0.0,
    damping: float = 1e-2,
) -> Refined:
    """Estimates and costs after at most `iterations` renders of each hypothesis; `pivots` (S, 3), RAS mm, one a structure.

    Each hypothesis is damped for itself; Marquardt's scaling by the Hessian's diagonal makes millimetres, radians and the
    detector's parameters count by their effect on the image. Its cost never rises. `progress` is called before each
    further render with the lowest cost so far; an exception from it ends the work. A hypothesis rests when a step lowers its
    cost by less than the share `stop_at_gain`, or moves less than `stop_at_mm`.
    """
    current = start
    structures, n = current.poses.shape[1], len(views)
    chosen = free.mask(structures, n)
    renders = len(current) * n * structures
    state, images = evaluate(current, views, pivots, free, prior)
    shown = [tuple(view.only(b) for view in images) for b in range(len(current))]
    cost = state.cost.numpy().copy()
    gradient, hessian = state.gradient.numpy().copy(), state.hessian.numpy().copy()
    damped = np.full(len(current), damping)
    active = np.ones(len(current), dtype=bool)
    for _ in range(iterations - 1):
        index = np.flatnonzero(active)
        if not index.size:
            break
        if progress is not None:
            progress(float(cost.min()))
        free_now = chosen[None, :] & ~active_bounds(current[index], gradient[index])
        step = _solve(hessian[index], gradient[index], damped[index], free_now)
        proposed = current[index].moved(step, pivots)
        tried, images = evaluate(proposed, [view.of(index) for view in views], pivots, free, prior)
        renders += index.size * n * structures
        new_cost = tried.cost.numpy()
        better = new_cost < cost[index]
        won, lost = index[better], index[~better]
        gain = (cost[won] - new_cost[better]) / np.maximum(cost[won], 1e-12)
        current, cost[won] = current.replaced(won, proposed[np.flatnonzero(better)]), new_cost[better]
        gradient[won], hessian[won] = tried.gradient.numpy()[better], tried.hessian.numpy()[better]
        for b, place in zip(won, np.flatnonzero(better), strict=True):
            shown[b] = tuple(view.only(int(place)) for view in images)
        damped[won] = np.maximum(damped[won] / 10, _LEAST_DAMPING)
        damped[lost] *= 8
        active[won[gain < stop_at_gain]] = False
        # A step that hardly moves anything ends it as well, in valleys so flat that the cost says nothing.
        active[index[_movement(step[:, : 6 * structures]) < stop_at_mm]] = False
        active[lost[damped[lost] > _MOST_DAMPING]] = False
    return Refined(current, cost, renders, tuple(shown))


def _movement(step: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far (B,) in mm steps (B, 6 S) move points at `REACH_MM` from the pivots, at most."""
    xi = step.reshape(len(step), -1, 6)
    moved: NDArray[np.float64] = (
        np.linalg.norm(xi[..., :3], axis=-1) + REACH_MM * np.linalg.norm(xi[..., 3:], axis=-1)
    ).max(axis=1)
    return moved


def _solve(
    hessian: NDArray[np.float64],
    gradient: NDArray[np.float64],
    damping: NDArray[np.float64],
    free: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Marquardt steps (B, P) of the parameters that are `free` (B, P). One that nothing depends on stays where it is."""
    both = free[:, :, None] & free[:, None, :]
    diagonal = np.maximum(np.diagonal(hessian, axis1=1, axis2=2), 1e-15)
    diagonal = np.where(free, diagonal * (1 + damping[:, None]) + 1e-15, 1.0)
    damped = np.where(both, hessian, 0.0)
    place = np.arange(hessian.shape[1])
    damped[:, place, place] = diagonal
    pull = np.where(free, gradient, 0.0)
    return -np.linalg.solve(damped, pull[:, :, None]).astype(np.float64)[:, :, 0]
