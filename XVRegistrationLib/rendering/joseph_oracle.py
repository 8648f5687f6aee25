"""Joseph's method again in plain torch, in any precision: what the kernel is tested against, and its fallback without Warp."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from XVRegistrationLib.rendering.torch_rays import ray_bundle

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.rendering.grid import DensityGrid
    from XVRegistrationLib.rendering.rays import Rays
    from XVRegistrationLib.rendering.torch_rays import RayBundle


def joseph(
    grid: DensityGrid, rays: Rays, pivot: NDArray[np.float64] | None, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Line integrals (B, H, W) and with a `pivot` their pose derivatives (B, 6, H, W), as the Warp kernel's, in `dtype`.

    Gradients flow to the densities where `grid.data` are densities that ask for them.
    """
    width, height = rays.size
    density = grid.densities().to(dtype)

    def tensor(values: NDArray[np.float64]) -> torch.Tensor:
        return torch.as_tensor(values, dtype=dtype, device=density.device)

    images, jacobians = [], []
    for b in range(len(rays.source)):
        bundle = ray_bundle(rays, b, dtype, density.device)
        parts = [_integrate(density, part) for part in bundle.parts(max(density.shape))]
        image, g0, g1 = (torch.cat(x) for x in zip(*parts, strict=True))
        images.append(image)
        if pivot is not None:
            g0, g1 = g0 @ tensor(rays.ras_to_grid), g1 @ tensor(rays.ras_to_grid)
            from_pivot = tensor(rays.source_ras[b] - pivot).expand_as(g0)
            by_rotation = torch.linalg.cross(from_pivot, g0) + torch.linalg.cross(bundle.axis, g1)
            jacobians.append(torch.cat([g0, by_rotation], dim=1).T)
    stacked = torch.stack(images).reshape(-1, height, width)
    return stacked, torch.stack(jacobians).reshape(-1, 6, height, width) if pivot is not None else None


def _integrate(density: torch.Tensor, bundle: RayBundle) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A (N,), and its slopes (N, 3) by where a ray begins and by where it is directed, in grid indices."""
    mostly = bundle.direction.abs().argmax(dim=1)
    total = torch.zeros_like(bundle.length)
    by_source, by_direction = torch.zeros_like(bundle.direction), torch.zeros_like(bundle.direction)
    for a in range(3):
        chosen = mostly == a
        # Planes first: those of the axis a, in which u runs faster than v.
        u, v = (axis for axis in range(3) if axis != a)
        planes = density.permute(2 - a, 2 - v, 2 - u)
        total[chosen], by_source[chosen], by_direction[chosen] = _through_planes(
            planes, bundle.source, bundle.direction[chosen], bundle.length[chosen], (a, u, v)
        )
    return total, by_source, by_direction


def _through_planes(
    planes: torch.Tensor,
    source: torch.Tensor,
    direction: torch.Tensor,
    length: torch.Tensor,
    axes: tuple[int, int, int],
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    a, u, v = axes
    da = direction[:, a, None]
    t = (torch.arange(len(planes), device=source.device) - source[a]) / da
    pu, pv = (source[axis] + t * direction[:, axis, None] for axis in (u, v))
    rows, columns = planes.shape[1:]
    inside = (pu >= 0) & (pu <= columns - 1) & (pv >= 0) & (pv <= rows - 1) & (t >= 0) & (t <= length[:, None])
    weight = inside / da.abs()
    iu, iv = pu.floor().clamp(0, columns - 2), pv.floor().clamp(0, rows - 2)
    fu, fv = pu - iu, pv - iv
    j = torch.arange(len(planes), device=source.device).expand_as(t)
    x, y = iu.long(), iv.long()
    c = {(p, q): planes[j, y + p, x + q] for p in (0, 1) for q in (0, 1)}
    f = (c[0, 0] * (1 - fu) + c[0, 1] * fu) * (1 - fv) + (c[1, 0] * (1 - fu) + c[1, 1] * fu) * fv
    total = (f * weight).sum(dim=1)
    slope = torch.zeros(*t.shape, 3, dtype=t.dtype, device=t.device)
    slope[..., u] = (c[0, 1] - c[0, 0]) * (1 - fv) + (c[1, 1] - c[1, 0]) * fv
    slope[..., v] = (c[1, 0] - c[0, 0]) * (1 - fu) + (c[1, 1] - c[0, 1]) * fu
    slope[..., a] = -(slope * direction[:, None, :]).sum(dim=-1) / da
    slope = slope * weight[..., None]
    by_direction = (slope * t[..., None]).sum(dim=1)
    by_direction[:, a] -= total / da[:, 0]
    return total, slope.sum(dim=1), by_direction
