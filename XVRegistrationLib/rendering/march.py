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

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

import torch
import warp as wp

from XVRegistrationLib.rendering.native_messages import without_driver_warning

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.rendering.grid import DensityGrid
    from XVRegistrationLib.rendering.rays import Rays

with without_driver_warning():
    # Quiet while it looks around: a computer without an NVIDIA driver is a normal one.
    wp.config.log_level = wp.LOG_ERROR
    wp.init()
    wp.config.log_level = wp.LOG_WARNING
wp.set_module_options({"enable_backward": False})

# Warp runs a CPU kernel on the calling thread without the GIL: chunks of rays go to a pool. More chunks than threads
# even out rays of different length; too many cost launches of about 30 microseconds each.
_CHUNKS_PER_THREAD = 4
_MIN_RAYS_PER_CHUNK = 512


@wp.kernel
def _march(  # type: ignore[no-untyped-def]
    density: wp.array(dtype=wp.float32),
    nx: int,
    ny: int,
    nz: int,
    source: wp.array(dtype=wp.vec3),
    target: wp.array(dtype=wp.mat33),
    camera: wp.mat33,
    rotation: wp.array(dtype=wp.mat33),
    source_from_pivot: wp.array(dtype=wp.vec3),
    center_from_source: wp.array(dtype=wp.vec3),
    ras_to_grid: wp.mat33,
    width: int,
    pixels: int,
    first: int,
    step: float,
    with_jacobian: int,
    image: wp.array(dtype=wp.float32),
    jacobian: wp.array(dtype=wp.float32),
):
    ray = wp.tid() + first
    b = ray // pixels
    pixel = ray - b * pixels
    ij1 = wp.vec3(float(pixel % width), float(pixel // width), 1.0)
    to_detector = camera * ij1
    length = wp.length(to_detector)
    s = source[b]
    d = (target[b] * ij1 - s) / length
    direction = rotation[b] * to_detector / length
    middle = wp.dot(center_from_source[b], direction)

    # Clip to the box between the border's outermost samples.
    t0 = float(0.0)
    t1 = float(length)
    top = wp.vec3(float(nx) - 1.0, float(ny) - 1.0, float(nz) - 1.0)
    for a in range(3):
        slope = d[a]
        if wp.abs(slope) < 1.0e-9:
            slope = float(1.0e-9)
        ta = -s[a] / slope
        tb = (top[a] - s[a]) / slope
        t0 = wp.max(t0, wp.min(ta, tb))
        t1 = wp.min(t1, wp.max(ta, tb))

    total = float(0.0)
    g0 = wp.vec3(0.0, 0.0, 0.0)
    g1 = wp.vec3(0.0, 0.0, 0.0)
    # A step's margin keeps every sample strictly inside the box in float32; what it drops is border, which is zero there.
    first_k = int(wp.ceil((t0 - middle) / step - 0.499))
    last_k = int(wp.floor((t1 - middle) / step - 0.501))
    plane = nx * ny
    for k in range(first_k, last_k + 1):
        t = middle + (float(k) + 0.5) * step
        px = s[0] + t * d[0]
        py = s[1] + t * d[1]
        pz = s[2] + t * d[2]
        ix = wp.clamp(int(px), 0, nx - 2)
        iy = wp.clamp(int(py), 0, ny - 2)
        iz = wp.clamp(int(pz), 0, nz - 2)
        fx = px - float(ix)
        fy = py - float(iy)
        fz = pz - float(iz)
        lower = (iz * ny + iy) * nx + ix
        upper = lower + plane
        v000 = density[lower]
        v001 = density[lower + 1]
        v010 = density[lower + nx]
        v011 = density[lower + nx + 1]
        v100 = density[upper]
        v101 = density[upper + 1]
        v110 = density[upper + nx]
        v111 = density[upper + nx + 1]
        dx00 = v001 - v000
        dx01 = v011 - v010
        dx10 = v101 - v100
        dx11 = v111 - v110
        c00 = v000 + dx00 * fx
        c01 = v010 + dx01 * fx
        c10 = v100 + dx10 * fx
        c11 = v110 + dx11 * fx
        dy0 = c01 - c00
        dy1 = c11 - c10
        e0 = c00 + dy0 * fy
        e1 = c10 + dy1 * fy
        total += e0 + (e1 - e0) * fz
        if with_jacobian > 0:
            dx0 = dx00 + (dx01 - dx00) * fy
            dx1 = dx10 + (dx11 - dx10) * fy
            gradient = wp.vec3(dx0 + (dx1 - dx0) * fz, dy0 + (dy1 - dy0) * fz, e1 - e0)
            g0 += gradient
            g1 += t * gradient
    image[ray] = total * step

    if with_jacobian > 0:
        # Gradients by grid indices -> by RAS mm.
        to_ras = wp.transpose(ras_to_grid)
        g0 = to_ras * g0 * step
        g1 = to_ras * g1 * step
        along = wp.dot(direction, g0) * direction
        center_from_pivot = source_from_pivot[b] + center_from_source[b]
        by_rotation = wp.cross(source_from_pivot[b], g0) + wp.cross(direction, g1) - wp.cross(center_from_pivot, along)
        g0 -= along
        out = b * 6 * pixels + pixel
        jacobian[out] = g0[0]
        jacobian[out + pixels] = g0[1]
        jacobian[out + 2 * pixels] = g0[2]
        jacobian[out + 3 * pixels] = by_rotation[0]
        jacobian[out + 4 * pixels] = by_rotation[1]
        jacobian[out + 5 * pixels] = by_rotation[2]


def march(
    grid: DensityGrid, rays: Rays, step: float, pivot: NDArray[np.float64] | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Line integrals (B, H, W), unitless, and with a `pivot` (3,) their derivatives (B, 6, H, W) per mm and per radian."""
    width, height = rays.size
    pixels, batch = width * height, len(rays.source)
    if batch * pixels * 6 >= 2**31 or grid.data.numel() >= 2**31:
        raise ValueError("Too many rays or voxels for one call: the kernel indexes with 32 bits. Render in parts.")
    device = grid.data.device
    wp_device = wp.device_from_torch(device)
    image = torch.empty(batch * pixels, dtype=torch.float32, device=device)
    jacobian = torch.empty(batch * 6 * pixels if pivot is not None else 1, dtype=torch.float32, device=device)
    from_pivot = rays.source_ras - (pivot if pivot is not None else 0.0)

    def array(values: NDArray[np.float64], dtype: type) -> wp.array:
        return wp.array(values.astype("float32"), dtype=dtype, device=wp_device)

    head = [
        wp.from_torch(grid.data.reshape(-1)),
        *grid.data.shape[::-1],
        array(rays.source, wp.vec3),
        array(rays.target, wp.mat33),
        wp.mat33(*rays.camera.ravel().tolist()),
        array(rays.rotation, wp.mat33),
        array(from_pivot, wp.vec3),
        array(grid.center - rays.source_ras, wp.vec3),
        wp.mat33(*rays.ras_to_grid.ravel().tolist()),
        width,
        pixels,
    ]
    tail = [float(step), int(pivot is not None), wp.from_torch(image), wp.from_torch(jacobian)]
    total = batch * pixels

    def launch(first: int, count: int) -> None:
        wp.launch(_march, dim=count, inputs=[*head, first, *tail], device=wp_device)

    if device.type == "cuda":
        with wp.ScopedStream(wp.stream_from_torch(torch.cuda.current_stream(device))):
            launch(0, total)
    else:
        wp.load_module(device=wp_device)  # compiled once, before threads race for it
        chunks = max(1, min(_pool_size() * _CHUNKS_PER_THREAD, total // _MIN_RAYS_PER_CHUNK))
        bounds = [total * c // chunks for c in range(chunks + 1)]
        parts = [(bounds[c], bounds[c + 1] - bounds[c]) for c in range(chunks)]
        list(_pool().map(lambda part: launch(*part), parts))
    images = image.reshape(batch, height, width)
    return images, jacobian.reshape(batch, 6, height, width) if pivot is not None else None


def _pool_size() -> int:
    return max(
        1,
        min(
            torch.get_num_threads(),
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        ),
    )


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_pool_size(), thread_name_prefix="march")
