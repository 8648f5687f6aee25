"""Rendering: the one public way to a synthetic X-ray."""

from __future__ import annotations

import warnings
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from XVRegistrationLib.rendering.rays import rays_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.rendering.channels import Channels
    from XVRegistrationLib.rendering.grid import DensityGrid
    from XVRegistrationLib.rendering.rays import Rays
    from XVRegistrationLib.rendering.voxel_grid import VoxelGrid

    Projector = Callable[
        [DensityGrid, Rays, float, NDArray[np.float64] | None], tuple[torch.Tensor, torch.Tensor | None]
    ]

_FINE = 0.7  # of the finest voxel spacing


Method = Literal["march", "joseph", "siddon"]


def render(
    grid: DensityGrid, poses: ArrayLike, intrinsics: Intrinsics, step: float | None = None, *, method: Method = "march"
) -> torch.Tensor:
    """Line integrals (B, H, W), unitless, float32 on the grid's device, of poses (B, 4, 4), camera -> RAS.

    `step` is the march's sample distance in mm; by default 0.7 of the finest voxel spacing, at which sampling adds
    less than 1e-4 to the integral of the trilinear density. Mirrored cameras give mirrored images. The other methods have no step: Joseph's, bilinear in the planes that a ray crosses, and Siddon's, exact
    through voxels of one density each, which is slow.
    """
    return _projector(method)(grid, rays_of(grid, poses, intrinsics), step or fine_step(grid), None)[0]


def render_with_jacobian(
    grid: DensityGrid,
    poses: ArrayLike,
    intrinsics: Intrinsics,
    pivot: ArrayLike,
    step: float | None = None,
    *,
    method: Method = "march",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Line integrals (B, H, W) and their derivatives (B, 6, H, W) by the left increment xi = (v, w) about `pivot` (3,), RAS.

    Derivatives are per mm (v) and per radian (w) of `geometry.rigid.increment(xi, pivot) @ pose`. Raises ValueError for
    Siddon's method, which has none.
    """
    rays = rays_of(grid, poses, intrinsics)
    center = np.asarray(pivot, dtype=np.float64)
    image, jacobian = _projector(method)(grid, rays, step or fine_step(grid), center)
    if jacobian is None:
        raise ValueError(f"The method {method} has no derivatives by the pose.")
    return image, jacobian


def fine_step(grid: VoxelGrid) -> float:
    """Distance in mm between the samples of a ray at which sampling adds less than 1e-4 to a CT's integral."""
    return _FINE * sample_distance(grid)


def sample_distance(grid: VoxelGrid, at_least: float = 0.0) -> float:
    """Distance in mm between the samples of a ray: `at_least`, or the grid's finest voxel spacing where that is longer."""
    return max(at_least, float(grid.spacing.min()))


def march_channels(
    volumes: Sequence[Channels], poses: ArrayLike, intrinsics: Intrinsics, step: float | None, pivot: ArrayLike | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Line integrals (B, M, H, W) of all densities of volumes on one grid, and with a `pivot` their derivatives (B, M, 6, H, W)."""
    import torch

    rays = rays_of(volumes[0], poses, intrinsics)
    center = None if pivot is None else np.asarray(pivot, dtype=np.float64)
    found = [_channel_march()(volume, rays, step or fine_step(volume), center) for volume in volumes]
    jacobians = [jacobian for _, jacobian in found if jacobian is not None]
    return torch.cat([image for image, _ in found], dim=1), torch.cat(jacobians, dim=1) if jacobians else None


@cache
def _channel_march() -> Any:
    """The Warp kernel for several densities, or its twin in torch where Warp cannot be loaded."""
    try:
        from XVRegistrationLib.rendering.march import march
    except (ImportError, OSError) as e:
        import torch

        from XVRegistrationLib.rendering import oracle

        warnings.warn(f"Warp cannot be loaded ({e}); rendering with torch, which is many times slower.", stacklevel=3)
        return partial(oracle.march_channels, dtype=torch.float32)
    return march


def _of_one(grid: DensityGrid, rays: Rays, step: float, pivot: NDArray[np.float64] | None) -> Any:
    """The march through one density alone."""
    images, jacobians = _channel_march()(grid.coded, rays, step, pivot)
    return images[:, 0], None if jacobians is None else jacobians[:, 0]


@cache
def _projector(method: str) -> Projector:
    """The Warp kernel of a method, or its twin in torch where Warp cannot be loaded. Raises ValueError for another name."""
    if method == "siddon":
        import torch

        from XVRegistrationLib.rendering.siddon import siddon

        return lambda grid, rays, step, pivot: (siddon(grid, rays, torch.float32), None)
    if method == "march":
        return _of_one
    if method != "joseph":
        raise ValueError(f"There is no rendering method {method!r}: march, joseph or siddon.")
    try:
        from XVRegistrationLib.rendering.joseph import joseph
    except (ImportError, OSError) as e:
        import torch

        from XVRegistrationLib.rendering import joseph_oracle

        warnings.warn(f"Warp cannot be loaded ({e}); rendering with torch, which is many times slower.", stacklevel=3)
        return lambda grid, rays, step, pivot: joseph_oracle.joseph(grid, rays, pivot, torch.float32)
    return lambda grid, rays, step, pivot: joseph(grid, rays, pivot)
