"""Joseph's method: line integrals and their six pose derivatives in one pass, for CPU threads and CUDA.

P. M. Joseph, IEEE Trans. Med. Imaging 1:192 (1982), doi 10.1109/TMI.1982.4307572. In grid indices a ray is s + t d, t in
mm. Along the axis a in which it runs most, |d_a| >= |d_b|, it crosses the planes j of voxel centres at t_j = (j - s_a) / d_a:

    A = w sum_j f(j; x_j),    w = 1 / |d_a| mm,    x_j = s + t_j d,

f the bilinear interpolation in a plane. Where the ray moves, s by ds and d by dd, x_j moves by ds + t_j dd and slides back
along the ray into its plane, and w changes with d_a. With g_j the slope of f in the plane, and h_j = g_j - (g_j'd / d_a) e_a,

    dA = G0'ds + G1'dd - (A / d_a) dd_a,    G0 = w sum_j h_j,    G1 = w sum_j t_j h_j.

The planes that count are the same on both sides of a cut through the volume, so that this is exact there too; and h_j'd = 0,
so that a camera that moves along a ray changes nothing. The left increment xi = (v, w) about the pivot c makes, in RAS,
ds = v + w x (s - c) and dd = w x d. Distances t are counted from the ray's point m nearest to the grid's centre, for
single precision's sake: dA/dw = (m - c) x G0 + d x (G1 - (A / d_a) e_a).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import warp as wp

from XVRegistrationLib.rendering.kernels import launch_over_rays
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


@wp.kernel
def _joseph(  # type: ignore[no-untyped-def]
    codes: wp.array(dtype=wp.uint16),
    unit: float,
    nx: int,
    ny: int,
    nz: int,
    rays: RayBatch,
    source_from_pivot: wp.array(dtype=wp.vec3),
    ras_to_grid: wp.mat33,
    width: int,
    pixels: int,
    with_jacobian: int,
    image: wp.array(dtype=wp.float32),
    jacobian: wp.array(dtype=wp.float32),
    first: int,
):
    ray = wp.tid() + first
    b = ray // pixels
    pixel = ray - b * pixels
    s = rays.source[b]
    d, direction, length, middle = pixel_ray(rays, b, pixel % width, pixel // width)
    t0, t1 = box_crossing(s, d, length, wp.vec3(float(nx) - 1.0, float(ny) - 1.0, float(nz) - 1.0))

    # The axis a of the planes, and u and v in them, with the voxels' distances in memory.
    a = int(0)
    u = int(1)
    v = int(2)
    na = nx
    nu = ny
    nv = nz
    stride_a = int(1)
    stride_u = nx
    stride_v = nx * ny
    if wp.abs(d[1]) > wp.abs(d[0]) and wp.abs(d[1]) >= wp.abs(d[2]):
        a = int(1)
        u = int(0)
        na = ny
        nu = nx
        stride_a = nx
        stride_u = int(1)
    elif wp.abs(d[2]) > wp.abs(d[0]):
        a = int(2)
        u = int(0)
        v = int(1)
        na = nz
        nu = nx
        nv = ny
        stride_a = nx * ny
        stride_u = int(1)
        stride_v = nx
    da = d[a]
    du = d[u] / da
    dv = d[v] / da
    # The outermost planes are border and zero; so is what the ray's ends lose or win by rounding.
    low = int(1)
    high = int(0)
    if t0 < t1:
        near = s[a] + t0 * da
        far = s[a] + t1 * da
        low = wp.max(1, int(wp.ceil(wp.min(near, far))))
        high = wp.min(na - 2, int(wp.floor(wp.max(near, far))))
    total = float(0.0)
    fu0 = float(0.0)
    fv0 = float(0.0)
    fu1 = float(0.0)
    fv1 = float(0.0)
    for j in range(low, high + 1):
        along = float(j) - s[a]
        pu = s[u] + along * du
        pv = s[v] + along * dv
        iu = wp.clamp(int(pu), 0, nu - 2)
        iv = wp.clamp(int(pv), 0, nv - 2)
        fu = pu - float(iu)
        fv = pv - float(iv)
        lower = j * stride_a + iu * stride_u + iv * stride_v
        v00 = float(codes[lower])
        v01 = float(codes[lower + stride_u])
        v10 = float(codes[lower + stride_v])
        v11 = float(codes[lower + stride_v + stride_u])
        slope0 = v01 - v00
        slope1 = v11 - v10
        c0 = v00 + slope0 * fu
        c1 = v10 + slope1 * fu
        total += c0 + (c1 - c0) * fv
        if with_jacobian > 0:
            t = along / da - middle
            by_u = slope0 + (slope1 - slope0) * fv
            by_v = c1 - c0
            fu0 += by_u
            fv0 += by_v
            fu1 += t * by_u
            fv1 += t * by_v
    step = unit / wp.abs(da)
    image[ray] = total * step

    if with_jacobian > 0:
        g0 = wp.vec3(0.0, 0.0, 0.0)
        g1 = wp.vec3(0.0, 0.0, 0.0)
        g0[u] = step * fu0
        g0[v] = step * fv0
        g0[a] = -step * (fu0 * du + fv0 * dv)
        g1[u] = step * fu1
        g1[v] = step * fv1
        g1[a] = -step * (fu1 * du + fv1 * dv + total / da)
        # Gradients by grid indices -> by RAS mm.
        to_ras = wp.transpose(ras_to_grid)
        g0 = to_ras * g0
        g1 = to_ras * g1
        by_rotation = wp.cross(source_from_pivot[b] + middle * direction, g0) + wp.cross(direction, g1)
        write_derivatives(jacobian, b * 6 * pixels + pixel, pixels, g0, by_rotation)


def joseph(
    grid: DensityGrid, rays: Rays, pivot: NDArray[np.float64] | None
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
    from_pivot = rays.source_ras - (pivot if pivot is not None else 0.0)

    inputs = [
        wp.from_torch(codes.view(torch.int16).reshape(-1), dtype=wp.uint16),
        unit,
        *codes.shape[::-1],
        ray_batch(grid, rays),
        warp_array(from_pivot, wp.vec3, device),
        wp.mat33(*rays.ras_to_grid.ravel().tolist()),
        width,
        pixels,
        int(pivot is not None),
        wp.from_torch(image),
        wp.from_torch(jacobian),
    ]
    launch_over_rays(_joseph, batch * pixels, inputs, device)
    images = image.reshape(batch, height, width)
    return images, jacobian.reshape(batch, 6, height, width) if pivot is not None else None
