"""Exact line integrals: Siddon's path through voxels of one density each, and the same of a trilinear volume.

Both cut a ray where it crosses planes of the grid. Siddon (Med. Phys. 12:252, 1985, doi 10.1118/1.595715) cuts at the
faces of the voxels, between which the density is one voxel's. A trilinear volume is cut at the voxels' centres, between
which it is a cubic along the ray, and two points of Gauss and Legendre integrate a cubic exactly.

In torch, in any precision and on any device. Gradients flow to the densities where `grid.data` are densities that ask for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from XVRegistrationLib.rendering.torch_rays import clipped, ray_bundle

if TYPE_CHECKING:
    from collections.abc import Callable

    from XVRegistrationLib.rendering.grid import DensityGrid
    from XVRegistrationLib.rendering.rays import Rays
    from XVRegistrationLib.rendering.torch_rays import RayBundle

    Cut = tuple[torch.Tensor, torch.Tensor]


def siddon(grid: DensityGrid, rays: Rays, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Line integrals (B, H, W), unitless, of voxels that are boxes of one density around their centres.

    A ray in the plane between two voxels is in the upper one of them.
    """
    return _each_ray(grid, rays, dtype, _through_voxels)


def trilinear_integral(grid: DensityGrid, rays: Rays, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Line integrals (B, H, W), unitless, of the trilinear volume that the march samples: what it tends to with its step."""
    return _each_ray(grid, rays, dtype, _through_cells)


def _each_ray(
    grid: DensityGrid, rays: Rays, dtype: torch.dtype, integral: Callable[[torch.Tensor, RayBundle], torch.Tensor]
) -> torch.Tensor:
    width, height = rays.size
    density = grid.densities().to(dtype)
    images = []
    for pose in range(len(rays.source)):
        bundle = ray_bundle(rays, pose, dtype, density.device)
        images.append(torch.cat([integral(density, part) for part in bundle.parts(sum(density.shape))]))
    return torch.stack(images).reshape(-1, height, width)


def _through_voxels(density: torch.Tensor, bundle: RayBundle) -> torch.Tensor:
    top = _sizes(density, bundle) - 1
    cuts, lengths = _cut(bundle, top, -0.5)
    middles = (cuts[:, 1:] + cuts[:, :-1]) / 2
    points = bundle.source + middles[:, :, None] * bundle.direction[:, None, :]
    voxel = (points + 0.5).floor().clamp(min=0).minimum(top).long()
    return (_at(density, voxel) * lengths).sum(dim=1)


def _through_cells(density: torch.Tensor, bundle: RayBundle) -> torch.Tensor:
    top = _sizes(density, bundle) - 1
    cuts, lengths = _cut(bundle, top, 0.0)
    middles = (cuts[:, 1:] + cuts[:, :-1]) / 2
    centers = bundle.source + middles[:, :, None] * bundle.direction[:, None, :]
    cell = centers.floor().clamp(min=0).minimum(top - 1)
    corner = cell.long()
    total = torch.zeros_like(lengths)
    for side in (-0.5, 0.5):
        shift = (side / 3**0.5 * lengths)[:, :, None] * bundle.direction[:, None, :]
        f = centers + shift - cell
        for offset in ((x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)):
            o = torch.tensor(offset, device=f.device)
            weight = torch.where(o == 1, f, 1 - f).prod(dim=-1)
            total = total + weight * _at(density, corner + o) / 2
    return (total * lengths).sum(dim=1)


def _sizes(density: torch.Tensor, bundle: RayBundle) -> torch.Tensor:
    """Number of voxels (3,) along i, j, k."""
    return bundle.source.new_tensor(density.shape[::-1])


def _cut(bundle: RayBundle, top: torch.Tensor, first_plane: float) -> Cut:
    """Where rays cross the planes `first_plane`, `first_plane` + 1, ..., `top` - `first_plane` of the three axes.

    Distances (N, M) from the source in mm, in order, within the box and before the detector, and the M - 1 lengths
    between them, mm. Planes that a ray does not cross there make lengths of zero.
    """
    enter, leave = clipped(bundle, torch.full_like(top, first_plane), top - first_plane)
    planes = []
    for axis in range(3):
        d = bundle.direction[:, axis, None]
        places = torch.arange(int(top[axis] - 2 * first_plane) + 1, dtype=d.dtype, device=d.device) + first_plane
        t = (places - bundle.source[axis]) / d
        planes.append(t.masked_fill(d == 0, 0.0))
    # The box's own faces are among the planes; clamped, the others beyond it fall on its ends.
    cuts = torch.cat([enter[:, None], *planes, leave[:, None]], dim=1)
    cuts = cuts.maximum(enter[:, None]).minimum(leave[:, None]).sort(dim=1).values
    return cuts, cuts.diff(dim=1)


def _at(density: torch.Tensor, ijk: torch.Tensor) -> torch.Tensor:
    """Densities at indices (..., 3)."""
    x, y, z = ijk.unbind(dim=-1)
    return density[z, y, x]
