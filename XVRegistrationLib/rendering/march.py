"""The fused ray march: line integral and its six pose derivatives in one pass, for CPU threads and CUDA.

For a ray x(t) = s + t d, |d| = 1 mm, samples lie at (k + 1/2) h from the point of the ray that is nearest to the grid's centre m. The
kernel accumulates

    A = h sum mu(x_k),    G0 = h sum grad mu(x_k),    G1 = h sum t_k grad mu(x_k)

and a left increment xi = (v, w) about the pivot c changes the sum A, and not only the integral, by exactly

    dA/dv = G0 - L,    dA/dw = (s - c) x G0 + d x G1 - (m - c) x L,    L = (d'G0) d.

L is the sum's slope along the ray. That of the integral is zero, so that L is nothing but the sum's own error. With samples that a camera
takes along (at t = (k + 1/2) h) it would be part of the derivative: small beside G0, but large beside what depth changes in an image,
and Gauss-Newton's curvature in depth came out several times too high.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import warp as wp

from XVRegistrationLib.rendering.kernels import launch_over_rays
from XVRegistrationLib.rendering.march_native import Voxels, walk_all, walk_value
from XVRegistrationLib.rendering.warp_rays import (
    RayBatch,
    box_crossing,
    pixel_ray,
    ray_batch,
    warp_array,
    write_derivatives,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.rendering.grid import DensityGrid
    from XVRegistrationLib.rendering.rays import Rays

wp.set_module_options({"enable_backward": False})

STRIP = wp.constant(32)
"""Columns of an image that are gone through row by row before the next ones."""


@wp.kernel
def _march(  # type: ignore[no-untyped-def]
    voxels: Voxels,
    rays: RayBatch,
    width: int,
    height: int,
    pixels: int,
    step: float,
    scale: float,
    image: wp.array(dtype=wp.float32),
    source_from_pivot: wp.array(dtype=wp.vec3),
    ras_to_grid: wp.mat33,
    with_jacobian: int,
    jacobian: wp.array(dtype=wp.float32),
    first_ray: int,
):
    number = wp.tid() + first_ray
    b = number // pixels
    # Strip by strip, so that neighbouring rays follow one another: their voxels are still in the cache.
    strip = (number - b * pixels) // (STRIP * height)
    within = number - b * pixels - strip * STRIP * height
    across = wp.min(STRIP, width - strip * STRIP)
    i = strip * STRIP + within % across
    j = within // across
    pixel = j * width + i
    ray = b * pixels + pixel
    s = rays.source[b]
    d, direction, length, middle = pixel_ray(rays, b, i, j)
    t0, t1 = box_crossing(
        s, d, length, wp.vec3(float(voxels.size[0]) - 1.0, float(voxels.size[1]) - 1.0, float(voxels.size[2]) - 1.0)
    )
    # A thousandth of a step's margin keeps every sample inside the box in float32; what it drops is border, which is zero there.
    # How far off a ray misses may be more than an integer holds.
    first = wp.where(t0 < t1, int(wp.ceil((t0 - middle) / step - 0.499)), 1)
    last = wp.where(t0 < t1, int(wp.floor((t1 - middle) / step - 0.501)), 0)
    if with_jacobian == 0:
        image[ray] = scale * walk_value(voxels, s, d, middle, first, last, step)
        return
    sums = walk_all(voxels, s, d, middle, first, last, step)
    image[ray] = scale * sums[0]
    # Gradients by grid indices -> by RAS mm.
    to_ras = wp.transpose(ras_to_grid)
    g0 = to_ras * (wp.vec3(sums[1], sums[2], sums[3]) * scale)
    g1 = to_ras * (wp.vec3(sums[4], sums[5], sums[6]) * scale)
    along = wp.dot(direction, g0) * direction
    center_from_pivot = source_from_pivot[b] + rays.center_from_source[b]
    by_rotation = wp.cross(source_from_pivot[b], g0) + wp.cross(direction, g1) - wp.cross(center_from_pivot, along)
    g0 -= along
    write_derivatives(jacobian, b * 6 * pixels + pixel, pixels, g0, by_rotation)


def _voxels(grid: DensityGrid) -> Any:
    """A grid as the walk takes it."""
    codes, _ = grid.codes
    voxels = Voxels()
    voxels.codes = wp.from_torch(codes.view(torch.int16).reshape(-1))
    voxels.size = wp.vec3i(*codes.shape[::-1])
    voxels.occupied = wp.from_torch(grid.occupied.reshape(-1))
    voxels.bricks = wp.vec3i(*grid.occupied.shape[::-1])
    voxels.brick = wp.vec3i(*(side.bit_length() - 1 for side in grid.brick))
    return voxels


def march(
    grid: DensityGrid, rays: Rays, step: float, pivot: NDArray[np.float64] | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Line integrals (B, H, W), unitless, and with a `pivot` (3,) their derivatives (B, 6, H, W) per mm and per radian."""
    width, height = rays.size
    pixels, batch = width * height, len(rays.source)
    codes, unit = grid.codes
    if batch * pixels * 6 >= 2**31 or codes.numel() >= 2**31:
        raise ValueError("Too many rays or voxels for one call: the kernel indexes with 32 bits. Render in parts.")
    device = codes.device
    image = torch.empty(batch * pixels, dtype=torch.float32, device=device)
    jacobian = torch.empty(batch * 6 * pixels if pivot is not None else 1, dtype=torch.float32, device=device)

    from_pivot = rays.source_ras - (0.0 if pivot is None else pivot)
    inputs = [
        _voxels(grid),
        ray_batch(grid, rays),
        width,
        height,
        pixels,
        float(step),
        float(step * unit),
        wp.from_torch(image),
        warp_array(from_pivot, wp.vec3, device),
        wp.mat33(*rays.ras_to_grid.ravel().tolist()),
        int(pivot is not None),
        wp.from_torch(jacobian),
    ]
    launch_over_rays(_march, batch * pixels, inputs, device)
    images = image.reshape(batch, height, width)
    return images, jacobian.reshape(batch, 6, height, width) if pivot is not None else None
