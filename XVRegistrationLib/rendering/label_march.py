"""How far each ray runs through each of many structures, in one walk a ray, for CPU threads and CUDA.

For a ray x(t) = s + t d, |d| = 1 mm, with the samples of `march` at (k + 1/2) h from the point that is nearest to the grid's centre,
structure n gets

    T_n = h sum_k w_n(x_k),    w_n(x) = the trilinear weights of those of the eight voxels about x that are of n

which is what `march` gives for the structure alone as a volume of zeros and ones. A sample falls into one cell, so that
its cost does not depend on how many structures there are. Where a brick of cells and its neighbours are all of one
label, the samples in them are counted instead of taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import warp as wp

from XVRegistrationLib.rendering.kernels import launch_over_rays
from XVRegistrationLib.rendering.label_grid import BRICK
from XVRegistrationLib.rendering.warp_rays import RayBatch, box_crossing, pixel_ray, ray_batch

if TYPE_CHECKING:
    from XVRegistrationLib.rendering.label_grid import LabelLayer
    from XVRegistrationLib.rendering.rays import Rays

wp.set_module_options({"enable_backward": False})

_BRICK = wp.constant(BRICK)


@wp.func
def _add(thickness: wp.array(dtype=wp.float32), row: int, pixels: int, label: int, length: float):  # type: ignore[no-untyped-def]
    # One ray has a pixel of all rows to itself: no atomic addition is needed.
    if label > 0:
        place = row + (label - 1) * pixels
        thickness[place] = thickness[place] + length


@wp.kernel
def _walk(  # type: ignore[no-untyped-def]
    labels: wp.array(dtype=wp.uint8),
    nx: int,
    ny: int,
    nz: int,
    bricks: wp.array(dtype=wp.uint8),
    bricks_x: int,
    bricks_y: int,
    rays: RayBatch,
    width: int,
    pixels: int,
    count: int,
    step: float,
    thickness: wp.array(dtype=wp.float32),
    first: int,
):
    ray = wp.tid() + first
    b = ray // pixels
    pixel = ray - b * pixels
    row = b * count * pixels + pixel
    s = rays.source[b]
    d, _direction, length, middle = pixel_ray(rays, b, pixel % width, pixel // width)
    t0, t1 = box_crossing(s, d, length, wp.vec3(float(nx) - 1.0, float(ny) - 1.0, float(nz) - 1.0))
    inverse = wp.vec3(0.0, 0.0, 0.0)
    for a in range(3):
        inverse[a] = 1.0 / wp.where(wp.abs(d[a]) < 1.0e-9, 1.0e-9, d[a])

    # A sample that single precision puts just outside has a weight of next to nothing: the border is background.
    # How far off a ray misses may be more than an integer holds.
    k = wp.where(t0 < t1, int(wp.ceil((t0 - middle) / step - 0.5)), 1)
    last = wp.where(t0 < t1, int(wp.floor((t1 - middle) / step - 0.5)), 0)
    plane = nx * ny
    while k <= last:
        t = middle + (float(k) + 0.5) * step
        px = s[0] + t * d[0]
        py = s[1] + t * d[1]
        pz = s[2] + t * d[2]
        ix = wp.clamp(int(px), 0, nx - 2)
        iy = wp.clamp(int(py), 0, ny - 2)
        iz = wp.clamp(int(pz), 0, nz - 2)
        lower = (iz * ny + iy) * nx + ix
        v000 = int(labels[lower])
        bx = ix // _BRICK
        by = iy // _BRICK
        bz = iz // _BRICK
        away = int(bricks[(bz * bricks_y + by) * bricks_x + bx])
        if away > 0:
            # The brick and its neighbours to `away - 1` are of this label: on to the last sample among them.
            low = -(away - 1) * _BRICK
            edge = (2 * away - 1) * _BRICK
            leave = t1
            x0 = float(bx * _BRICK + low)
            y0 = float(by * _BRICK + low)
            z0 = float(bz * _BRICK + low)
            leave = wp.min(leave, (wp.where(inverse[0] > 0.0, x0 + float(edge), x0) - s[0]) * inverse[0])
            leave = wp.min(leave, (wp.where(inverse[1] > 0.0, y0 + float(edge), y0) - s[1]) * inverse[1])
            leave = wp.min(leave, (wp.where(inverse[2] > 0.0, z0 + float(edge), z0) - s[2]) * inverse[2])
            end = wp.clamp(int(wp.floor((leave - middle) / step - 0.5)), k, last)
            _add(thickness, row, pixels, v000, float(end - k + 1) * step)
            k = end + 1
        else:
            upper = lower + plane
            v001 = int(labels[lower + 1])
            v010 = int(labels[lower + nx])
            v011 = int(labels[lower + nx + 1])
            v100 = int(labels[upper])
            v101 = int(labels[upper + 1])
            v110 = int(labels[upper + nx])
            v111 = int(labels[upper + nx + 1])
            if (
                v000 == v001
                and v000 == v010
                and v000 == v011
                and v000 == v100
                and v000 == v101
                and v000 == v110
                and v000 == v111
            ):
                _add(thickness, row, pixels, v000, step)
            else:
                fx = px - float(ix)
                fy = py - float(iy)
                fz = pz - float(iz)
                gx = 1.0 - fx
                gz = (1.0 - fz) * step
                hz = fz * step
                w00 = gz * (1.0 - fy)
                w01 = gz * fy
                w10 = hz * (1.0 - fy)
                w11 = hz * fy
                _add(thickness, row, pixels, v000, w00 * gx)
                _add(thickness, row, pixels, v001, w00 * fx)
                _add(thickness, row, pixels, v010, w01 * gx)
                _add(thickness, row, pixels, v011, w01 * fx)
                _add(thickness, row, pixels, v100, w10 * gx)
                _add(thickness, row, pixels, v101, w10 * fx)
                _add(thickness, row, pixels, v110, w11 * gx)
                _add(thickness, row, pixels, v111, w11 * fx)
            k += 1


def march(layer: LabelLayer, rays: Rays, step: float) -> torch.Tensor:
    """Thickness (B, N, H, W), mm, float32, of the layer's N structures along each ray, in the order of its values."""
    width, height = rays.size
    pixels, batch, count = width * height, len(rays.source), len(layer.values)
    if batch * pixels * count >= 2**31 or layer.data.numel() >= 2**31:
        raise ValueError(
            "Too many rays, structures or voxels for one call: the kernel indexes with 32 bits. Render in parts."
        )
    device = layer.data.device
    thickness = torch.zeros(batch * count * pixels, dtype=torch.float32, device=device)

    inputs = [
        wp.from_torch(layer.data.reshape(-1)),
        *layer.data.shape[::-1],
        wp.from_torch(layer.bricks.reshape(-1)),
        *layer.bricks.shape[:0:-1],
        ray_batch(layer, rays),
        width,
        pixels,
        count,
        float(step),
        wp.from_torch(thickness),
    ]
    launch_over_rays(_walk, batch * pixels, inputs, device)
    return thickness.reshape(batch, count, height, width)
