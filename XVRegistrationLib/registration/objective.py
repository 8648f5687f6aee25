"""What a refinement compares: views of structures, and the normal equations of everything that is estimated in them.

The parameters of one hypothesis are, in this order: an increment (v, w) of each structure's pose; the three of the detector's
response for each view; and three of the geometry for each view (distance source-detector and principal point, mm).
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import increment, invert, translation
from XVRegistrationLib.imaging.resample import resample, resample_counted
from XVRegistrationLib.registration.response import LIMITS, NEUTRAL, clipped, respond
from XVRegistrationLib.registration.similarity import NormalEquations, Similarity, normal_equations
from XVRegistrationLib.rendering.render import render, render_with_jacobian, sample_distance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.rendering.grid import DensityGrid
    from XVRegistrationLib.rendering.pyramid import Pyramid

# How far the response's parameters may usually lie from the neutral ones, and how strongly that is held: it decides only
# what the image leaves open.
_RESPONSE_SD = np.array([1.0, 0.5, 0.3])
_RESPONSE_WEIGHT = 1e-5
_FINE_ENOUGH_MM = 1.5  # voxels, up to which larger ones than a pixel's footprint cost hardly any accuracy
GEOMETRY_SD = np.array([10.0, 2.0, 2.0])
"""How far the distance source-detector and the principal point, mm, may be from what is stated, where they are estimated."""
_LOCKED_MM = 1e-2  # a depth that is locked may still move by about this


@dataclass(frozen=True, eq=False)
class View:
    """One X-ray at one resolution, with the grids of the structures that are rendered for it."""

    xray: torch.Tensor
    """(H, W) line integrals, float32."""
    intrinsics: Intrinsics
    grids: tuple[DensityGrid, ...]
    """One for each structure; the image is the sum of them."""
    step: float
    """Sample distance, mm."""
    similarity: Similarity = field(default_factory=Similarity)
    weight: torch.Tensor | None = None
    """(H, W) in 0..1: which pixels count, or (B, H, W), which of them for each hypothesis; all without it."""
    opening: torch.Tensor | None = None
    """(H, W) in 0..1: what a collimator leaves open; all without it."""
    offset: NDArray[np.float64] = field(default_factory=lambda: np.eye(4))
    """(4, 4) this camera -> the first view's camera, mm: pose of this camera = pose of the first @ offset."""

    def of(self, hypotheses: NDArray[np.intp]) -> View:
        """The view for some of the hypotheses, by their numbers."""
        if self.weight is None or self.weight.ndim == 2:
            return self
        return dataclasses.replace(self, weight=self.weight[hypotheses])


@dataclass(frozen=True, eq=False)
class Estimates:
    """B hypotheses for S structures in V views."""

    poses: NDArray[np.float64]
    """(B, S, 4, 4) the first view's camera -> the structure's RAS."""
    response: NDArray[np.float64]
    """(B, V, 3) the detector's response, `response.NAMES`."""
    geometry: NDArray[np.float64]
    """(B, V, 3) what is added to the distance source-detector and to the principal point (x, y) on the detector, mm."""

    @staticmethod
    def at(poses: NDArray[np.float64], views: int = 1) -> Estimates:
        """Neutral detectors at poses (B, 4, 4) of one structure or (B, S, 4, 4)."""
        poses = np.array(poses if poses.ndim == 4 else poses[:, None], dtype=np.float64)
        return Estimates(poses, np.tile(NEUTRAL, (len(poses), views, 1)), np.zeros((len(poses), views, 3)))

    def __len__(self) -> int:
        return len(self.poses)

    def __getitem__(self, index: NDArray[np.intp]) -> Estimates:
        return Estimates(self.poses[index], self.response[index], self.geometry[index])

    def replaced(self, index: NDArray[np.intp], other: Estimates) -> Estimates:
        """These, with those at `index` taken from `other`."""
        parts = []
        for mine, theirs in (
            (self.poses, other.poses),
            (self.response, other.response),
            (self.geometry, other.geometry),
        ):
            part = mine.copy()
            part[index] = theirs
            parts.append(part)
        return Estimates(*parts)

    def moved(self, step: NDArray[np.float64], pivots: NDArray[np.float64]) -> Estimates:
        """After a step (B, P) of all parameters, each pose about its pivot (S, 3)."""
        batch, structures, views = len(self), self.poses.shape[1], self.response.shape[1]
        xi = step[:, : 6 * structures].reshape(batch, structures, 6)
        rest = step[:, 6 * structures :].reshape(batch, 2, views, 3)
        poses = np.stack([increment(xi[:, s], pivots[s]) @ self.poses[:, s] for s in range(structures)], axis=1)
        return Estimates(poses, clipped(self.response + rest[:, 0]), self.geometry + rest[:, 1])


@dataclass(frozen=True, eq=False)
class Rendered:
    """What B hypotheses look like in one view, and how unlike it."""

    images: torch.Tensor
    """(B, H, W) through the detector's response."""
    jacobians: torch.Tensor
    """(B, P, H, W) by the view's own parameters, in their order."""
    cost: torch.Tensor
    """(B,) 1 - similarity in this view alone, float64."""

    def only(self, b: int) -> Rendered:
        """The b-th alone, of the same memory."""
        return Rendered(self.images[b : b + 1], self.jacobians[b : b + 1], self.cost[b : b + 1])


@dataclass(frozen=True)
class FreeParameters:
    """Which parameters a refinement may change."""

    response: bool = False
    geometry: bool = False

    def mask(self, structures: int, views: int) -> NDArray[np.bool_]:
        """(P,) of the parameters in their order."""
        return np.concatenate(
            [np.full(6 * structures, True), np.full(3 * views, self.response), np.full(3 * views, self.geometry)]
        )

    def own(self, structures: int, views: int, v: int) -> NDArray[np.intp]:
        """Where a view's own parameters, the poses and those of it that may change, lie among all."""
        parts = [np.arange(6 * structures)]
        if self.response:
            parts.append(6 * structures + 3 * v + np.arange(3))
        if self.geometry:
            parts.append(6 * structures + 3 * views + 3 * v + np.arange(3))
        return np.concatenate(parts)


def active_bounds(estimates: Estimates, gradient: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which parameters (B, P) lie at a limit that the gradient (B, P) of the cost would push them beyond."""
    structures, views = estimates.poses.shape[1], estimates.response.shape[1]
    low, high = np.array(LIMITS).T
    place = slice(6 * structures, 6 * structures + 3 * views)
    pull = gradient[:, place].reshape(estimates.response.shape)
    stuck = np.zeros(gradient.shape, dtype=bool)
    beyond = ((estimates.response <= low) & (pull > 0)) | ((estimates.response >= high) & (pull < 0))
    stuck[:, place] = beyond.reshape(len(gradient), -1)
    return stuck


@dataclass(frozen=True)
class DepthPrior:
    """What is known of the pivot's depth, its distance from the source along the first camera's axis."""

    depth_mm: float
    sd_mm: float
    """Standard deviation; 0 locks the depth."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.depth_mm) and math.isfinite(self.sd_mm) and self.depth_mm > 0 and self.sd_mm >= 0):
            raise InputError(
                "A known depth is a positive distance and a standard deviation of 0 or more, both in mm, not "
                f"{self.depth_mm:g} and {self.sd_mm:g}."
            )


def view_of(
    xray: torch.Tensor,
    intrinsics: Intrinsics,
    pyramids: Sequence[Pyramid],
    pixels: int,
    depth: float,
    similarity: Similarity,
    weight: torch.Tensor | None = None,
    offset: NDArray[np.float64] | None = None,
    coarsening: float = 1.0,
    part: Intrinsics | None = None,
    opening: torch.Tensor | None = None,
) -> View:
    """The X-ray (H, W), or `part` of it, with `pixels` along its longer side, and grids that match a pixel at `depth` mm.

    `weight` and `opening` (H, W) are the X-ray's own. Voxels may be `coarsening` times a pixel's footprint, up to 1.5 mm.
    """
    camera = (part or intrinsics).fitted(pixels)
    if weight is None:
        image, _ = resample(xray, intrinsics, camera)
    else:
        # What does not count must not reach what does through the averaging either.
        image, weight = resample_counted(xray, weight, intrinsics, camera)
    footprint = camera.footprint(depth)
    voxel = max(footprint, min(footprint * coarsening, _FINE_ENOUGH_MM))
    grids = tuple(p.matched_to(voxel) for p in pyramids)
    step = min(sample_distance(g, footprint / 2) for g in grids)
    open_ = None if opening is None else resample(opening, intrinsics, camera)[0]
    return View(image, camera, grids, step, similarity, weight, open_, np.eye(4) if offset is None else offset)


def evaluate(
    estimates: Estimates,
    views: Sequence[View],
    pivots: NDArray[np.float64],
    free: FreeParameters,
    prior: DepthPrior | None = None,
) -> tuple[NormalEquations, list[Rendered]]:
    """Normal equations of all parameters (B, P), the mean over the views and what is known beforehand; and what each view shows."""
    shown, parts = [], []
    for v, view in enumerate(views):
        images, jacobians = rendered(estimates, v, view, pivots, free)
        part = normal_equations(images, jacobians, view.xray, view.similarity, view.weight)
        shown.append(Rendered(images, jacobians, part.cost))
        parts.append(_among_all(part, estimates, v, free))
    cost = torch.stack([p.cost for p in parts]).mean(dim=0)
    gradient = torch.stack([p.gradient for p in parts]).mean(dim=0)
    hessian = torch.stack([p.hessian for p in parts]).mean(dim=0)
    structures, n = estimates.poses.shape[1], len(views)
    if free.response:
        excess = torch.from_numpy((estimates.response - NEUTRAL) / _RESPONSE_SD).flatten(1)
        place = slice(6 * structures, 6 * structures + 3 * n)
        sds = torch.from_numpy(np.tile(_RESPONSE_SD, n))
        cost = cost + 0.5 * _RESPONSE_WEIGHT * (excess**2).sum(dim=1)
        gradient[:, place] += _RESPONSE_WEIGHT * excess / sds
        hessian[:, place, place] += _RESPONSE_WEIGHT * torch.diag(1 / sds**2)
    total = NormalEquations(cost, gradient, hessian)
    share = 1 / independent_parts(views)
    if prior is not None:
        sd = max(prior.sd_mm, _LOCKED_MM)
        depth, by_shift = depth_of(estimates.poses[:, 0], pivots[0])
        by = torch.zeros_like(gradient)
        by[:, :3] = torch.from_numpy(by_shift) / sd
        total = _with_known(total, torch.from_numpy((depth - prior.depth_mm) / sd), by, share)
    if free.geometry:
        stated = torch.from_numpy(estimates.geometry / GEOMETRY_SD).flatten(1)
        for k in range(3 * n):
            by = torch.zeros_like(gradient)
            by[:, 6 * structures + 3 * n + k] = 1 / GEOMETRY_SD[k % 3]
            total = _with_known(total, stated[:, k], by, share)
    return total, shown


def _with_known(equations: NormalEquations, z: torch.Tensor, by: torch.Tensor, share: float) -> NormalEquations:
    """With something known beforehand that is `z` (B,) standard deviations off, of derivatives `by` (B, P).

    The misfit that the images' independent parts share is what one of them, and so one thing known, stands for: the cost c
    becomes c (1 + `share` z^2 / 2).
    """
    factor = 1 + 0.5 * share * z**2
    pull = share * z[:, None] * by
    cost = equations.cost
    return NormalEquations(
        factor * cost,
        factor[:, None] * equations.gradient + cost[:, None] * pull,
        factor[:, None, None] * equations.hessian + cost[:, None, None] * share * by[:, :, None] * by[:, None, :],
    )


def costs(estimates: Estimates, views: Sequence[View]) -> NDArray[np.float64]:
    """The costs (B,) of `evaluate` of poses alone, without what is known beforehand and without derivatives."""
    total = torch.zeros(len(estimates), dtype=torch.float64)
    for view in views:
        images = torch.stack(
            [
                render(grid, estimates.poses[:, s] @ view.offset, view.intrinsics, view.step).cpu()
                for s, grid in enumerate(view.grids)
            ]
        ).sum(dim=0)
        total += normal_equations(images, images[:, None][:, :0], view.xray, view.similarity, view.weight).cost
    mean: NDArray[np.float64] = (total / len(views)).numpy()
    return mean


def depth_of(poses: NDArray[np.float64], point: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Depth (B,) of a point (3,) before cameras at poses (B, 4, 4), mm, and its derivative (B, 3) by a shift of the pose."""
    inverse = invert(poses)
    depth = inverse[:, 2, :3] @ point + inverse[:, 2, 3]
    return depth, -poses[:, :3, 2]


def at_depth(poses: NDArray[np.float64], point: NDArray[np.float64], depth: float) -> NDArray[np.float64]:
    """Poses (B, S, 4, 4) moved along the first structure's beams to where a point (3,), RAS mm, is `depth` mm from the source."""
    now, _ = depth_of(poses[:, 0], point)
    moves = np.zeros((len(now), 1, 3))
    moves[:, 0, 2] = now - depth
    moved: NDArray[np.float64] = poses @ translation(moves)
    return moved


def independent_parts(views: Sequence[View]) -> float:
    """How many parts of the images say something by themselves: about 16 x 16 px each."""
    return max(1.0, sum(view.xray.numel() for view in views) / 256)


def _among_all(part: NormalEquations, estimates: Estimates, v: int, free: FreeParameters) -> NormalEquations:
    """A view's equations of its own parameters at the place of each among all."""
    batch, structures = estimates.poses.shape[:2]
    n = estimates.response.shape[1]
    where = torch.from_numpy(free.own(structures, n, v))
    gradient = torch.zeros(batch, 6 * structures + 6 * n, dtype=torch.float64)
    hessian = torch.zeros(batch, gradient.shape[1], gradient.shape[1], dtype=torch.float64)
    gradient[:, where] = part.gradient
    hessian[:, where[:, None], where[None, :]] = part.hessian
    return NormalEquations(part.cost, gradient, hessian)


def rendered(
    estimates: Estimates, v: int, view: View, pivots: NDArray[np.float64], free: FreeParameters
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (B, H, W) of a view and their derivatives by its own parameters, in their order."""
    images, columns = None, []
    for s, grid in enumerate(view.grids):
        poses = estimates.poses[:, s] @ view.offset
        image, jacobian = _render(grid, poses, view, estimates.geometry[:, v], pivots[s])
        images = image if images is None else images + image
        columns.append(jacobian)
    assert images is not None
    geometry = [_by_geometry(images, view.intrinsics)] if free.geometry else []
    jacobians = torch.cat(columns + geometry, dim=1)
    response = torch.from_numpy(estimates.response[:, v])
    if free.response or bool((response != 0).any()):
        images, jacobians = respond(images, jacobians, response, view.intrinsics, view.opening)
        shared = jacobians.shape[1] - 3
        poses_first = 6 * len(view.grids)
        kept = [*range(poses_first)]
        if free.response:
            kept += range(shared, shared + 3)
        if free.geometry:
            kept += range(poses_first, poses_first + 3)
        jacobians = jacobians[:, kept]
    return images, jacobians


def _render(
    grid: DensityGrid, poses: NDArray[np.float64], view: View, geometry: NDArray[np.float64], pivot: NDArray[np.float64]
) -> tuple[torch.Tensor, torch.Tensor]:
    if not geometry.any():
        image, jacobian = render_with_jacobian(grid, poses, view.intrinsics, pivot, view.step)
        return image.cpu(), jacobian.cpu()
    each = [
        render_with_jacobian(grid, pose[None], changed(view.intrinsics, g), pivot, view.step)
        for pose, g in zip(poses, geometry, strict=True)
    ]
    return torch.cat([e[0] for e in each]).cpu(), torch.cat([e[1] for e in each]).cpu()


def changed(intrinsics: Intrinsics, geometry: NDArray[np.float64]) -> Intrinsics:
    """Intrinsics with (3,) added: distance source-detector, mm; principal point, mm on the detector along columns and rows."""
    cx, cy = intrinsics.principal_point
    dx, dy = intrinsics.spacing
    sdd, x, y = geometry.tolist()
    return dataclasses.replace(intrinsics, sdd=intrinsics.sdd + sdd, principal_point=(cx + x / dx, cy + y / dy))


def _by_geometry(images: torch.Tensor, intrinsics: Intrinsics) -> torch.Tensor:
    """Derivatives (B, 3, H, W) by the distance source-detector and the principal point, per mm, from the images' own slopes."""
    by_row, by_column = torch.gradient(images, dim=(1, 2))
    (dx, dy), (cx, cy), (width, height) = intrinsics.spacing, intrinsics.principal_point, intrinsics.size
    columns, rows = torch.arange(width, dtype=images.dtype), torch.arange(height, dtype=images.dtype)
    if intrinsics.mirrored:
        by_column, columns = -by_column, width - 1 - columns
    # The pixel (u, v) sees along ((u - cx) dx, (v - cy) dy) / sdd: a longer distance shows what lay further in.
    by_distance = -((columns - cx) * by_column + (rows - cy)[:, None] * by_row) / intrinsics.sdd
    return torch.stack([by_distance, -by_column / dx, -by_row / dy], dim=1)
