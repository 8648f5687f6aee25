"""Levenberg-Marquardt refinement of poses, several at once, coarse to fine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.geometry.rigid import increment
from XVRegistrationLib.imaging.resample import resample
from XVRegistrationLib.registration.similarity import NormalEquations, normal_equations
from XVRegistrationLib.rendering.render import render_with_jacobian

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.rendering.grid import DensityGrid
    from XVRegistrationLib.rendering.pyramid import Pyramid

_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-2, 1e-6, 1e3
_STOP_AT_GAIN = 1e-4


@dataclass(frozen=True)
class Level:
    """One step of the coarse-to-fine schedule."""

    pixels: int
    """Longer side of the image, px."""
    patches: tuple[int, ...]
    """Patch sizes of the similarity, px; 0 is the whole image."""
    iterations: int
    """At most so many renders."""


@dataclass(frozen=True, eq=False)
class Target:
    """What a level compares with: the X-ray at its resolution and the grid that matches its pixels."""

    xray: torch.Tensor
    """(H, W) line integrals."""
    intrinsics: Intrinsics
    grid: DensityGrid
    step: float
    """Sample distance, mm."""
    patches: tuple[int, ...]


def target(xray: torch.Tensor, intrinsics: Intrinsics, pyramid: Pyramid, level: Level, depth: float) -> Target:
    """The X-ray (H, W) at a level's resolution, with the grid whose voxels match a pixel's footprint at `depth` mm."""
    camera = intrinsics.fitted(level.pixels)
    image, _ = resample(xray, intrinsics, camera)
    footprint = min(camera.spacing) * depth / camera.sdd
    grid = pyramid.matched_to(footprint)
    return Target(image, camera, grid, max(footprint / 2, float(grid.spacing.min())), level.patches)


def refine(
    poses: ArrayLike,
    target: Target,
    pivot: ArrayLike,
    iterations: int,
    progress: Callable[[float], None] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Refined poses (B, 4, 4) and their costs (B,) after at most `iterations` renders of each of the poses (B, 4, 4).

    Each pose is damped for itself (Marquardt's scaling by the Hessian's diagonal), and its cost never rises. `progress`
    is called before each further render with the lowest cost so far; an exception from it ends the work.
    """
    current = np.array(poses, dtype=np.float64)
    centre = np.asarray(pivot, dtype=np.float64)
    state = _evaluate(current, target, centre)
    damping = np.full(len(current), _FIRST_DAMPING)
    active = np.ones(len(current), dtype=bool)
    cost = state.cost.numpy().copy()
    gradient, hessian = state.gradient.numpy().copy(), state.hessian.numpy().copy()
    for _ in range(iterations - 1):
        index = np.flatnonzero(active)
        if not index.size:
            break
        if progress is not None:
            progress(float(cost.min()))
        step = _solve(hessian[index], gradient[index], damping[index])
        proposed = increment(step, centre) @ current[index]
        tried = _evaluate(proposed, target, centre)
        new_cost = tried.cost.numpy()
        better = new_cost < cost[index]
        won, lost = index[better], index[~better]
        gain = (cost[won] - new_cost[better]) / np.maximum(cost[won], 1e-12)
        current[won], cost[won] = proposed[better], new_cost[better]
        gradient[won], hessian[won] = tried.gradient.numpy()[better], tried.hessian.numpy()[better]
        damping[won] = np.maximum(damping[won] / 5, _LEAST_DAMPING)
        damping[lost] *= 8
        active[won[gain < _STOP_AT_GAIN]] = False
        active[lost[damping[lost] > _MOST_DAMPING]] = False
    return current, cost


def _evaluate(poses: NDArray[np.float64], target: Target, pivot: NDArray[np.float64]) -> NormalEquations:
    images, jacobians = render_with_jacobian(target.grid, poses, target.intrinsics, pivot, target.step)
    return normal_equations(images.cpu(), jacobians.cpu(), target.xray, target.patches)


def _solve(
    hessian: NDArray[np.float64], gradient: NDArray[np.float64], damping: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Marquardt steps (B, 6). A parameter that nothing depends on stays where it is."""
    diagonal = np.maximum(np.diagonal(hessian, axis1=1, axis2=2), 1e-15)
    damped = hessian + np.eye(6) * (damping[:, None] * diagonal)[:, :, None] + 1e-15 * np.eye(6)
    return -np.linalg.solve(damped, gradient[:, :, None]).astype(np.float64)[:, :, 0]
