"""The march turned around: what an image spreads back over the voxels that its rays sampled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from XVRegistrationLib.rendering.oracle import samples_of

if TYPE_CHECKING:
    from XVRegistrationLib.rendering.grid import DensityGrid
    from XVRegistrationLib.rendering.rays import Rays


def back_project(
    grid: DensityGrid, rays: Rays, step: float, images: torch.Tensor, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """A'y (K, J, I), mm, of images y (B, H, W): the adjoint of the march A through `grid`, whose densities do not matter.

    A is linear in the densities x, and <Ax, y> = <x, A'y>: with the derivative of a loss by each pixel for y this is its
    derivative by each density. Every sample of a ray gives its eight voxels the share that it took of them.
    """
    spread = torch.zeros(grid.data.numel(), dtype=dtype, device=grid.data.device)
    nx, ny = grid.data.shape[2], grid.data.shape[1]
    values = images.to(spread).flatten(1)
    for pose in range(len(rays.source)):
        first = 0
        for bundle, samples in samples_of(grid, rays, pose, step, dtype):
            seen = values[pose, first : first + len(bundle.length), None] * samples.weight
            first += len(bundle.length)
            some = seen != 0
            x, y, z = samples.cell[some].unbind(dim=-1)
            lower, seen = (z * ny + y) * nx + x, seen[some]
            fx, fy, fz = samples.fraction[some].unbind(dim=-1)
            for c, wz in ((0, 1 - fz), (ny * nx, fz)):
                for b, wy in ((0, 1 - fy), (nx, fy)):
                    for a, wx in ((0, 1 - fx), (1, fx)):
                        spread.index_add_(0, lower + (a + b + c), seen * wz * wy * wx)
    return spread.reshape(grid.data.shape)
