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

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
import warp as wp

from XVRegistrationLib.rendering.kernels import launch_over_rays
from XVRegistrationLib.rendering.march_native import walk_through

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.rendering.channels import Channels
    from XVRegistrationLib.rendering.rays import Rays

wp.set_module_options({"enable_backward": False})

STRIP = wp.constant(32)
"""Columns of an image that are gone through row by row before the next ones."""


@wp.func
def _ends(s: wp.vec3, d: wp.vec3, length: float, middle: float, top: wp.vec3, step: float):  # type: ignore[no-untyped-def]
    """Numbers of the first and the last sample between the grid's outermost voxels."""
    t0 = float(0.0)
    t1 = float(length)
    for a in range(3):
        slope = d[a]
        if wp.abs(slope) < 1.0e-9:
            slope = float(1.0e-9)
        ta = -s[a] / slope
        tb = (top[a] - s[a]) / slope
        t0 = wp.max(t0, wp.min(ta, tb))
        t1 = wp.min(t1, wp.max(ta, tb))
    # A step's margin keeps every sample strictly inside the box in float32; what it drops is border, which is zero there.
    return int(wp.ceil((t0 - middle) / step - 0.499)), int(wp.floor((t1 - middle) / step - 0.501))


@cache
def _kernel(channels: int, jacobian: bool) -> Any:
    """The march through so many densities, with derivatives by the pose or without."""
    walk = walk_through(channels, jacobian)
    with_jacobian = int(jacobian)

    @wp.kernel(module="unique", enable_backward=False)
    def march_rays(  # type: ignore[no-untyped-def]
        codes: wp.array(dtype=wp.int16),
        nx: int,
        ny: int,
        nz: int,
        occupied: wp.array(dtype=wp.uint8),
        mx: int,
        my: int,
        mz: int,
        brick: wp.vec3i,
        source: wp.array(dtype=wp.vec3),
        target: wp.array(dtype=wp.mat33),
        camera: wp.mat33,
        rotation: wp.array(dtype=wp.mat33),
        center_from_source: wp.array(dtype=wp.vec3),
        source_from_pivot: wp.array(dtype=wp.vec3),
        ras_to_grid: wp.mat33,
        width: int,
        height: int,
        step: float,
        scale: wp.vec4,
        image: wp.array(dtype=wp.float32),
        derivatives: wp.array(dtype=wp.float32),
        first_ray: int,
    ):
        number = wp.tid() + first_ray
        pixels = width * height
        b = number // pixels
        # Strip by strip, so that neighbouring rays follow one another: their voxels are still in the cache.
        strip = (number - b * pixels) // (STRIP * height)
        within = number - b * pixels - strip * STRIP * height
        across = wp.min(STRIP, width - strip * STRIP)
        i = strip * STRIP + within % across
        j = within // across
        ij1 = wp.vec3(float(i), float(j), 1.0)
        to_detector = camera * ij1
        length = wp.length(to_detector)
        s = source[b]
        d = (target[b] * ij1 - s) / length
        direction = rotation[b] * to_detector / length
        middle = wp.dot(center_from_source[b], direction)
        top = wp.vec3(float(nx) - 1.0, float(ny) - 1.0, float(nz) - 1.0)
        first, last = _ends(s, d, length, middle, top, step)
        sums = walk(codes, nx, ny, nz, occupied, mx, my, mz, brick, s, d, middle, first, last, step)
        to_ras = wp.transpose(ras_to_grid)
        center_from_pivot = source_from_pivot[b] + center_from_source[b]
        for c in range(channels):
            at = (b * channels + c) * pixels + j * width + i
            image[at] = scale[c] * sums[7 * c]
            if with_jacobian > 0:
                # Gradients by grid indices -> by RAS mm.
                g0 = to_ras * (wp.vec3(sums[7 * c + 1], sums[7 * c + 2], sums[7 * c + 3]) * scale[c])
                g1 = to_ras * (wp.vec3(sums[7 * c + 4], sums[7 * c + 5], sums[7 * c + 6]) * scale[c])
                along = wp.dot(direction, g0) * direction
                by_rotation = (
                    wp.cross(source_from_pivot[b], g0) + wp.cross(direction, g1) - wp.cross(center_from_pivot, along)
                )
                by_shift = g0 - along
                out = at + 5 * (b * channels + c) * pixels
                for a in range(3):
                    derivatives[out + a * pixels] = by_shift[a]
                    derivatives[out + (3 + a) * pixels] = by_rotation[a]

    return march_rays


def march(
    channels: Channels, rays: Rays, step: float, pivot: NDArray[np.float64] | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Line integrals (B, C, H, W) of C densities, and with a `pivot` (3,) their derivatives (B, C, 6, H, W) per mm and per radian."""
    width, height = rays.size
    count, batch, codes = len(channels.units), len(rays.source), channels.data
    if batch * count * width * height * 6 >= 2**31 or codes.numel() >= 2**31:
        raise ValueError("Too many rays or voxels for one call: the kernel indexes with 32 bits. Render in parts.")
    device = codes.device
    wp_device = wp.device_from_torch(device)
    image = torch.empty((batch, count, height, width), device=device)
    jacobian = None if pivot is None else torch.empty((batch, count, 6, height, width), device=device)

    def array(values: NDArray[np.float64], dtype: type) -> wp.array:
        return wp.array(values.astype("float32"), dtype=dtype, device=wp_device)

    inputs = [
        wp.from_torch(codes.view(torch.int16).reshape(-1)),
        *codes.shape[2::-1],
        wp.from_torch(channels.occupied.reshape(-1)),
        *channels.occupied.shape[::-1],
        wp.vec3i(*(side.bit_length() - 1 for side in channels.brick)),
        array(rays.source, wp.vec3),
        array(rays.target, wp.mat33),
        wp.mat33(*rays.camera.ravel().tolist()),
        array(rays.rotation, wp.mat33),
        array(channels.center - rays.source_ras, wp.vec3),
        array(rays.source_ras - (0.0 if pivot is None else pivot), wp.vec3),
        wp.mat33(*rays.ras_to_grid.ravel().tolist()),
        width,
        height,
        float(step),
        wp.vec4(*(step * unit for unit in channels.units), *[0.0] * (4 - count)),
        wp.from_torch(image.reshape(-1)),
        wp.from_torch((image if jacobian is None else jacobian).reshape(-1)),
    ]
    launch_over_rays(_kernel(count, pivot is not None), batch * width * height, inputs, device)
    return image, jacobian
