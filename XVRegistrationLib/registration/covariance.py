"""What the images leave open about a pose: the sandwich covariance of the registration's own equations.

At the optimum the parameters' error is H^-1 times the sum of what the parts of the image pull with; the pulls g_l of parts that
are large enough to be independent give their spread as sum g_l g_l', whatever the correlation within a part, so that
C = H^-1 (sum g_l g_l') H^-1 (Huber 1967; clusters after Liang & Zeger 1986). To it comes what no residual shows: an error of
scale, of the volume's voxels, the detector's pixels or the distance to the source, moves the answer in depth and nothing else.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.geometry.rigid import increment, invert, transform_points
from XVRegistrationLib.registration.objective import GEOMETRY_SD, active_bounds, independent_parts
from XVRegistrationLib.registration.result import PoseUncertainty
from XVRegistrationLib.registration.similarity import normal_equations, patch_equations
from XVRegistrationLib.registration.uncertainty import around, camera_covariance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.registration.objective import DepthPrior, Estimates, View
    from XVRegistrationLib.registration.stages import SearchResult

SCALE_SD = 0.01
"""Relative standard deviation of the scale: of distances as a header states them, of the pixels and of the voxels."""
INFLATION = 1.4
"""The sandwich's standard deviations times this: model errors that all parts of an image share. What makes 95 % of the points
fall into their ellipses is 1.33, the median over two CTs (Testing/Benchmarks/calibration.py), and more over a wide range."""
FLOOR_MM, FLOOR_RAD = 0.01, np.radians(0.005)
"""What no registration is better than."""

# A pose that the images say nothing about lies within about a metre and a radian: open, not exact.
_ANYWHERE = (1e3, 1e3, 1e3, 1.0, 1.0, 1.0)
_PARTS = 8  # along the image's shorter side


@dataclass(frozen=True, eq=False)
class Sandwich:
    """The covariance of what was found, and what it is made of."""

    similarity: float
    """Mean normalised cross-correlation of image and gradients over the last stage's patches and views; 1 is perfect."""
    own: NDArray[np.float64]
    """(P, P) covariance of all parameters as the images tell it."""
    scale: NDArray[np.float64]
    """(P, P) what an unknown error of scale adds."""
    own_alone: NDArray[np.float64]
    """(V, P, P) covariances of all parameters as each view would tell it without the others."""
    step_alone: NDArray[np.float64]
    """(V, P) the Newton step that each view would take without the others: where it would rather have the pose."""


def in_plane_alone(
    found: SearchResult, sandwich: Sandwich, pivots: NDArray[np.float64], structure: int = 0
) -> NDArray[np.float64]:
    """(V, 2) what each view would say without the others about points at 50 mm from a structure's pivot, in its own plane, mm:
    their standard deviation, and how far away it would rather have them."""
    place = slice(6 * structure, 6 * structure + 6)
    pivot = pivots[structure]
    points = around(pivot)
    said = []
    for view, own, step in zip(found.views, sandwich.own_alone, sandwich.step_alone, strict=True):
        pose = found.estimates.poses[0, structure] @ view.offset
        covariance = camera_covariance(own[place, place], pivot, pose, points)[:, :2, :2]
        moved = invert(increment(step[place], pivot) @ pose)
        shift = transform_points(moved, points) - transform_points(invert(pose), points)
        sd = np.sqrt(np.maximum(np.trace(covariance, axis1=1, axis2=2), 0.0).mean())
        said.append([sd, np.linalg.norm(shift[:, :2], axis=1).mean()])
    return np.array(said)


def pose_uncertainty(
    sandwich: Sandwich,
    pivots: NDArray[np.float64],
    structure: int = 0,
    pose: NDArray[np.float64] | None = None,
    prior: DepthPrior | None = None,
) -> PoseUncertainty:
    """The covariance of a structure's pose, about its pivot; a `prior` on depth for the camera at `pose` (4, 4) narrows it."""
    place = slice(6 * structure, 6 * structure + 6)
    covariance = INFLATION**2 * sandwich.own[place, place]
    covariance += np.diag([FLOOR_MM**2] * 3 + [FLOOR_RAD**2] * 3)
    scale = sandwich.scale[place, place]
    if prior is not None and pose is not None:
        # What is known of the depth is a measurement of it beside the image's: Kalman's update, in Joseph's form, of both
        # what the image leaves open and what an error of scale adds.
        along = np.concatenate([-pose[:3, 2], np.zeros(3)])
        total = covariance + scale
        gain = total @ along / (along @ total @ along + prior.sd_mm**2)
        left = np.eye(6) - np.outer(gain, along)
        covariance = left @ covariance @ left.T + prior.sd_mm**2 * np.outer(gain, gain)
        scale = left @ scale @ left.T
    return PoseUncertainty(np.array(pivots[structure], dtype=np.float64), covariance, scale)


def sandwich_covariance(found: SearchResult, pivots: NDArray[np.float64]) -> Sandwich:
    """Similarity, sandwich and scale's covariance at the best hypothesis."""
    estimates, views, free = found.estimates, found.views, found.free
    structures, n = estimates.poses.shape[1], len(views)
    size = 6 * structures + 6 * n
    hessian, gradient, meat = np.zeros((size, size)), np.zeros((1, size)), np.zeros((size, size))
    answers, alike, cost = [], 0.0, 0.0
    by_view: list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]] = []
    for v, view in enumerate(views):
        images, jacobians = found.shown[v].images, found.shown[v].jacobians
        whole = normal_equations(images, jacobians, view.xray, view.similarity, view.weight, curvature=True)
        plain = dataclasses.replace(view.similarity, robust=None)
        alike += 1 - float(normal_equations(images, jacobians[:, :0], view.xray, plain, view.weight).cost[0])
        side = max(8, (min(view.xray.shape) - 2) // _PARTS)
        parts = patch_equations(images, jacobians, view.xray, view.similarity, side, view.weight)
        place = free.own(structures, n, v)
        cost += float(whole.cost[0])
        curvature = np.zeros((size, size))
        curvature[np.ix_(place, place)] = whole.hessian[0].numpy() / n
        hessian += curvature
        pull = np.zeros(size)
        pull[place] = whole.gradient[0].numpy() / n
        gradient[0] += pull
        pulls = np.zeros((parts.gradient.shape[1], size))
        pulls[:, place] = parts.gradient[0].numpy() / n
        pulls -= pulls.mean(axis=0)
        meat += pulls.T @ pulls
        by_view.append((curvature, pull, pulls.T @ pulls))
        answers.append(curvature @ _closer(estimates, view, pivots, size))
    # What is known beforehand counts as one independent part of the images each.
    unit = max(cost / n, 1e-6) / independent_parts(views)
    known = np.zeros(size)
    known[: 6 * structures] = np.tile(unit / np.array(_ANYWHERE) ** 2, structures)
    if free.geometry:
        known[6 * structures + 3 * n :] = np.tile(unit / GEOMETRY_SD**2, n)
    hessian += np.diag(known)
    meat += np.diag(unit * known)
    # A parameter that its limit holds is known as far as the pose is concerned.
    chosen = np.flatnonzero(free.mask(structures, n) & ~active_bounds(estimates, gradient)[0])
    inverse = _inverse(hessian, chosen)
    moved = inverse @ np.array(answers).T
    alone = [(_inverse(c + np.diag(known), chosen), g, m + np.diag(unit * known)) for c, g, m in by_view]
    return Sandwich(
        alike / n,
        inverse @ meat @ inverse,
        SCALE_SD**2 * moved @ moved.T,
        np.array([i @ m @ i for i, _, m in alone]),
        np.array([-i @ g for i, g, _ in alone]),
    )


def _inverse(hessian: NDArray[np.float64], chosen: NDArray[np.intp]) -> NDArray[np.float64]:
    """(P, P) the inverse of a Hessian's `chosen` rows and columns at their places, zero elsewhere."""
    inverse = np.zeros_like(hessian)
    block = hessian[np.ix_(chosen, chosen)]
    ridge = 1e-9 * np.diag(np.maximum(np.diag(block), 1e-12))
    inverse[np.ix_(chosen, chosen)] = np.linalg.pinv(block + ridge, hermitian=True)
    return inverse


def _closer(estimates: Estimates, view: View, pivots: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """(P,) A scale that is wrong by all of itself looks as if every structure were nearer to a view by its whole depth."""
    step = np.zeros(size)
    for s, pose in enumerate(estimates.poses[0] @ view.offset):
        depth = transform_points(invert(pose), pivots[s])[2]
        step[6 * s : 6 * s + 3] = -depth * pose[:3, 2]
    return step
