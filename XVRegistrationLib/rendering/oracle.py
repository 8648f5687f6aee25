"""The ray march again in plain torch, in any precision: what the kernel is tested against, and the fallback without Warp."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from XVRegistrationLib.rendering.grid import DensityGrid

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.rendering.label_grid import LabelLayer
    from XVRegistrationLib.rendering.rays import Rays

_SAMPLES_PER_CHUNK = 2_000_000


def march(
    grid: DensityGrid,
    rays: Rays,
    step: float,
    pivot: NDArray[np.float64] | None,
    dtype: torch.dtype = torch.float64,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Line integrals (B, H, W) and with a `pivot` their pose derivatives (B, 6, H, W), as the Warp kernel's, in `dtype`."""
    width, height = rays.size
    batch = len(rays.source)
    device = grid.data.device

    def tensor(values: NDArray[np.float64]) -> torch.Tensor:
        return torch.as_tensor(values, dtype=dtype, device=device)

    density = grid.data.to(dtype)
    j, i = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    ij1 = torch.stack([i.reshape(-1), j.reshape(-1), torch.ones(width * height, device=device)], dim=-1).to(dtype)
    to_detector = ij1 @ tensor(rays.camera).T
    length = to_detector.norm(dim=-1)
    images, jacobians = [], []
    for b in range(batch):
        source = tensor(rays.source[b])
        direction = (ij1 @ tensor(rays.target[b]).T - source) / length[:, None]
        axis = to_detector / length[:, None] @ tensor(rays.rotation[b]).T
        middle = axis @ tensor(grid.center - rays.source_ras[b])
        parts = [
            _integrate(density, source, direction[c], length[c], middle[c], step, pivot is not None)
            for c in torch.split(
                torch.arange(width * height, device=device),
                max(1, int(_SAMPLES_PER_CHUNK * step / float(length.max()))),
            )
        ]
        images.append(torch.cat([p[0] for p in parts]))
        if pivot is not None:
            g0 = torch.cat([p[1] for p in parts]) @ tensor(rays.ras_to_grid)
            g1 = torch.cat([p[2] for p in parts]) @ tensor(rays.ras_to_grid)
            along = (axis * g0).sum(dim=1, keepdim=True) * axis
            center_from_pivot = tensor(grid.center - pivot).expand_as(g0)
            from_pivot = tensor(rays.source_ras[b] - pivot).expand_as(g0)
            by_rotation = torch.linalg.cross(from_pivot, g0) + torch.linalg.cross(axis, g1)
            by_rotation = by_rotation - torch.linalg.cross(center_from_pivot, along)
            jacobians.append(torch.cat([g0 - along, by_rotation], dim=1).T)
    image = torch.stack(images).reshape(batch, height, width)
    return image, torch.stack(jacobians).reshape(batch, 6, height, width) if pivot is not None else None


def march_labels(layer: LabelLayer, rays: Rays, step: float, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Thickness (B, N, H, W), mm, of a layer's structures: each marched alone, as a volume of ones in it and zeros outside."""
    alone = (
        DensityGrid((layer.data == n).to(torch.float32), layer.grid_to_ras) for n in range(1, len(layer.values) + 1)
    )
    return torch.stack([march(grid, rays, step, None, dtype)[0] for grid in alone], dim=1)


def _integrate(
    density: torch.Tensor,
    source: torch.Tensor,
    direction: torch.Tensor,
    length: torch.Tensor,
    middle: torch.Tensor,
    step: float,
    gradient: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A (N,), G0 (N, 3) and G1 (N, 3) by grid indices, of rays from one source (3,) along directions (N, 3) per mm.

    `middle` (N,) says how far from the source each ray is nearest to the grid's centre.
    """
    top = torch.tensor(density.shape[::-1], dtype=source.dtype, device=source.device) - 1
    slope = torch.where(direction.abs() < 1e-12, torch.full_like(direction, 1e-12), direction)
    near, far = -source / slope, (top - source) / slope
    enter = torch.minimum(near, far).amax(dim=-1).clamp(min=0)
    leave = torch.minimum(torch.maximum(near, far).amin(dim=-1), length)
    crossing = leave > enter
    empty = torch.zeros(len(direction), dtype=source.dtype, device=source.device)
    if not bool(crossing.any()):
        return empty, empty[:, None].repeat(1, 3), empty[:, None].repeat(1, 3)
    # One range of sample numbers for all rays: what lies outside a ray's own crossing is zero by the border.
    k = torch.arange(
        int(torch.floor((enter - middle)[crossing].min() / step)),
        int(torch.ceil((leave - middle)[crossing].max() / step)) + 1,
        device=source.device,
    )
    t = middle[:, None] + (k.to(source.dtype) + 0.5) * step
    points = source + t[:, :, None] * direction[:, None, :]
    inside = ((points >= 0) & (points <= top)).all(dim=-1) & (t >= 0) & (t <= length[:, None])
    cell = points.floor().clamp(min=0).minimum(top - 1)
    fx, fy, fz = (points - cell).unbind(dim=-1)
    x, y, z = cell.long().unbind(dim=-1)
    c = {(a, b, e): density[z + a, y + b, x + e] for a in (0, 1) for b in (0, 1) for e in (0, 1)}
    along_x = {(a, b): c[a, b, 0] * (1 - fx) + c[a, b, 1] * fx for a in (0, 1) for b in (0, 1)}
    along_y = {a: along_x[a, 0] * (1 - fy) + along_x[a, 1] * fy for a in (0, 1)}
    weight = inside.to(source.dtype) * step
    total = ((along_y[0] * (1 - fz) + along_y[1] * fz) * weight).sum(dim=1)
    if not gradient:
        return total, empty, empty
    slope_x = {(a, b): c[a, b, 1] - c[a, b, 0] for a in (0, 1) for b in (0, 1)}
    gx = (slope_x[0, 0] * (1 - fy) + slope_x[0, 1] * fy) * (1 - fz) + (
        slope_x[1, 0] * (1 - fy) + slope_x[1, 1] * fy
    ) * fz
    gy = (along_x[0, 1] - along_x[0, 0]) * (1 - fz) + (along_x[1, 1] - along_x[1, 0]) * fz
    gz = along_y[1] - along_y[0]
    g = torch.stack([gx, gy, gz], dim=-1) * weight[..., None]
    return total, g.sum(dim=1), (g * t[:, :, None]).sum(dim=1)
