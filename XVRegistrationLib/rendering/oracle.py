"""The ray march again in plain torch, in any precision: what the kernel is tested against, and the fallback without Warp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from XVRegistrationLib.rendering.grid import DensityGrid
from XVRegistrationLib.rendering.torch_rays import clipped, ray_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.rendering.label_grid import LabelLayer
    from XVRegistrationLib.rendering.rays import Rays
    from XVRegistrationLib.rendering.torch_rays import RayBundle


def march(
    grid: DensityGrid,
    rays: Rays,
    step: float,
    pivot: NDArray[np.float64] | None,
    dtype: torch.dtype = torch.float64,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Line integrals (B, H, W) and with a `pivot` their pose derivatives (B, 6, H, W), as the Warp kernel's, in `dtype`."""
    width, height = rays.size
    density = grid.densities().to(dtype)

    def tensor(values: NDArray[np.float64]) -> torch.Tensor:
        return torch.as_tensor(values, dtype=dtype, device=density.device)

    images, jacobians = [], []
    for b in range(len(rays.source)):
        parts = [
            (bundle.axis, *_integrate(density, samples, pivot is not None))
            for bundle, samples in samples_of(grid, rays, b, step, dtype)
        ]
        images.append(torch.cat([p[1] for p in parts]))
        if pivot is not None:
            axis = torch.cat([p[0] for p in parts])
            g0 = torch.cat([p[2] for p in parts]) @ tensor(rays.ras_to_grid)
            g1 = torch.cat([p[3] for p in parts]) @ tensor(rays.ras_to_grid)
            along = (axis * g0).sum(dim=1, keepdim=True) * axis
            center_from_pivot = tensor(grid.center - pivot).expand_as(g0)
            from_pivot = tensor(rays.source_ras[b] - pivot).expand_as(g0)
            by_rotation = torch.linalg.cross(from_pivot, g0) + torch.linalg.cross(axis, g1)
            by_rotation = by_rotation - torch.linalg.cross(center_from_pivot, along)
            jacobians.append(torch.cat([g0 - along, by_rotation], dim=1).T)
    image = torch.stack(images).reshape(-1, height, width)
    return image, torch.stack(jacobians).reshape(-1, 6, height, width) if pivot is not None else None


@dataclass(frozen=True, eq=False)
class Samples:
    """M samples on each of N rays; as many for all, so that some lie beyond a ray's own crossing."""

    cell: torch.Tensor
    """(N, M, 3) index (i, j, k) of the voxel at the lower corner of a sample's cell."""
    fraction: torch.Tensor
    """(N, M, 3) place of the sample in its cell."""
    distance: torch.Tensor
    """(N, M) from the source, mm."""
    weight: torch.Tensor
    """(N, M) length of ray that a sample stands for, mm: the step, and 0 beyond the crossing."""


def samples_of(
    grid: DensityGrid, rays: Rays, pose: int, step: float, dtype: torch.dtype
) -> Iterator[tuple[RayBundle, Samples]]:
    """Where the march samples the rays of one pose: groups of rays, one after the other, with their samples."""
    bundle = ray_bundle(rays, pose, dtype, grid.data.device)
    to_center = torch.as_tensor(grid.center - rays.source_ras[pose], dtype=dtype, device=grid.data.device)
    for part in bundle.parts(float(bundle.length.max()) / step):
        yield part, _samples(grid.data.shape, part, part.axis @ to_center, step)


def _samples(shape: torch.Size, bundle: RayBundle, middle: torch.Tensor, step: float) -> Samples:
    """Samples at (k + 1/2) steps from `middle` (N,), where each ray is nearest to the grid's centre."""
    top = bundle.source.new_tensor(shape[::-1]) - 1
    enter, leave = clipped(bundle, torch.zeros_like(top), top)
    crossing = leave > enter
    first = last = 0
    if bool(crossing.any()):
        # One range of sample numbers for all rays: what lies outside a ray's own crossing is zero by the border.
        first = int(torch.floor((enter - middle)[crossing].min() / step))
        last = int(torch.ceil((leave - middle)[crossing].max() / step)) + 1
    k = torch.arange(first, last, device=top.device)
    t = middle[:, None] + (k.to(top.dtype) + 0.5) * step
    points = bundle.source + t[:, :, None] * bundle.direction[:, None, :]
    inside = ((points >= 0) & (points <= top)).all(dim=-1) & (t >= 0) & (t <= bundle.length[:, None])
    cell = points.floor().clamp(min=0).minimum(top - 1)
    return Samples(cell.long(), points - cell, t, inside.to(top.dtype) * step)


def march_labels(layer: LabelLayer, rays: Rays, step: float, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Thickness (B, N, H, W), mm, of a layer's structures: each marched alone, as a volume of ones in it and zeros outside."""
    alone = (
        DensityGrid((layer.data == n).to(torch.float32), layer.grid_to_ras) for n in range(1, len(layer.values) + 1)
    )
    return torch.stack([march(grid, rays, step, None, dtype)[0] for grid in alone], dim=1)


def _integrate(
    density: torch.Tensor, samples: Samples, gradient: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A (N,), G0 (N, 3) and G1 (N, 3) by grid indices."""
    fx, fy, fz = samples.fraction.unbind(dim=-1)
    x, y, z = samples.cell.unbind(dim=-1)
    c = {(a, b, e): density[z + a, y + b, x + e] for a in (0, 1) for b in (0, 1) for e in (0, 1)}
    along_x = {(a, b): c[a, b, 0] * (1 - fx) + c[a, b, 1] * fx for a in (0, 1) for b in (0, 1)}
    along_y = {a: along_x[a, 0] * (1 - fy) + along_x[a, 1] * fy for a in (0, 1)}
    total = ((along_y[0] * (1 - fz) + along_y[1] * fz) * samples.weight).sum(dim=1)
    if not gradient:
        return total, total, total
    slope_x = {(a, b): c[a, b, 1] - c[a, b, 0] for a in (0, 1) for b in (0, 1)}
    gx = (slope_x[0, 0] * (1 - fy) + slope_x[0, 1] * fy) * (1 - fz) + (
        slope_x[1, 0] * (1 - fy) + slope_x[1, 1] * fy
    ) * fz
    gy = (along_x[0, 1] - along_x[0, 0]) * (1 - fz) + (along_x[1, 1] - along_x[1, 0]) * fz
    gz = along_y[1] - along_y[0]
    g = torch.stack([gx, gy, gz], dim=-1) * samples.weight[..., None]
    return total, g.sum(dim=1), (g * samples.distance[:, :, None]).sum(dim=1)
