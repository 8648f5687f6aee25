"""Rendering: the one public way to a synthetic X-ray."""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.rendering.rays import rays_of

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.rendering.grid import DensityGrid
    from XVRegistrationLib.rendering.voxel_grid import VoxelGrid

_FINE = 0.7  # of the finest voxel spacing


def render(grid: DensityGrid, poses: ArrayLike, intrinsics: Intrinsics, step: float | None = None) -> torch.Tensor:
    """Line integrals (B, H, W), unitless, float32 on the grid's device, of poses (B, 4, 4), camera -> RAS.

    `step` is the sample distance in mm; by default 0.7 of the finest voxel spacing, at which sampling adds less than 1e-4 to
    the integral of the trilinear density. Mirrored cameras give mirrored images.
    """
    return _march()(grid, rays_of(grid, poses, intrinsics), step or _FINE * sample_distance(grid), None)[0]


def render_with_jacobian(
    grid: DensityGrid, poses: ArrayLike, intrinsics: Intrinsics, pivot: ArrayLike, step: float | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Line integrals (B, H, W) and their derivatives (B, 6, H, W) by the left increment xi = (v, w) about `pivot` (3,), RAS.

    Derivatives are per mm (v) and per radian (w) of `geometry.rigid.increment(xi, pivot) @ pose`.
    """
    return _march()(
        grid,
        rays_of(grid, poses, intrinsics),
        step or _FINE * sample_distance(grid),
        np.asarray(pivot, dtype=np.float64),
    )


def sample_distance(grid: VoxelGrid, at_least: float = 0.0) -> float:
    """Distance in mm between the samples of a ray: `at_least`, or the grid's finest voxel spacing where that is longer."""
    return max(at_least, float(grid.spacing.min()))


@cache
def _march() -> Any:
    """The Warp kernel, or its twin in torch where Warp cannot be loaded."""
    try:
        from XVRegistrationLib.rendering.march import march
    except (ImportError, OSError) as e:
        from functools import partial

        import torch

        from XVRegistrationLib.rendering import oracle

        warnings.warn(f"Warp cannot be loaded ({e}); rendering with torch, which is many times slower.", stacklevel=2)
        return partial(oracle.march, dtype=torch.float32)
    return march
