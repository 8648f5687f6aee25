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

from typing import TYPE_CHECKING

import torch
import warp as wp

from XVRegistrationLib.rendering.kernels import launch_over_rays
from XVRegistrationLib.rendering.march_native import TILE, RayTile, Voxels, tile_side, voxels_of, walk_all, walk_value
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


@wp.func
def first_pixel(tile: int, width: int, height: int) -> wp.vec2i:
    """Upper left pixel (i, j) of an image's so manieth tile; strip by strip, so that neighbours are still in the cache."""
    side = tile_side()
    across = (width + side - 1) // side
    down = (height + side - 1) // side
    most = STRIP // side
    strip = tile // (most * down)
    within = tile - strip * most * down
    wide = wp.min(most, across - strip * most)
    return wp.vec2i((strip * most + within % wide) * side, (within // wide) * side)


@wp.func
def tile_of(number: int, width: int, height: int, tiles: int):  # type: ignore[no-untyped-def]
    """Of the so manieth of all tiles: its image, its upper left pixel, and its pixels across and down."""
    side = tile_side()
    b = number // tiles
    corner = first_pixel(number - b * tiles, width, height)
    return b, corner, wp.min(side, width - corner[0]), wp.min(side, height - corner[1])


@wp.func
def ray_tile(  # type: ignore[no-untyped-def]
    rays: RayBatch, b: int, corner: wp.vec2i, width: int, height: int, top: wp.vec3, step: float
):
    """`RayTile` of a tile's pixels, through the box from 0 to `top`; beyond the image its last ones again."""
    side = tile_side()
    tile = RayTile()
    for lane in range(side * side):
        i = wp.min(corner[0] + lane % side, width - 1)
        j = wp.min(corner[1] + lane // side, height - 1)
        d, _direction, length, middle = pixel_ray(rays, b, i, j)
        t0, t1 = box_crossing(rays.source[b], d, length, top)
        tile.dx[lane] = d[0]
        tile.dy[lane] = d[1]
        tile.dz[lane] = d[2]
        tile.middle[lane] = middle
        # A thousandth of a step's margin keeps every sample inside the box in float32; what it drops is border, which is zero there.
        # How far off a ray misses may be more than an integer holds.
        tile.first[lane] = wp.where(t0 < t1, int(wp.ceil((t0 - middle) / step - 0.499)), 1)
        tile.last[lane] = wp.where(t0 < t1, int(wp.floor((t1 - middle) / step - 0.501)), 0)
    return tile


@wp.func
def write_by_pose(  # type: ignore[no-untyped-def]
    jacobian: wp.array(dtype=wp.float32),
    first: int,
    pixels: int,
    g0: wp.vec3,
    g1: wp.vec3,
    direction: wp.vec3,
    source_from_pivot: wp.vec3,
    center_from_source: wp.vec3,
    ras_to_grid: wp.mat33,
):
    """Write a pixel's derivatives by the pose from its sums of gradients by grid indices (see above)."""
    to_ras = wp.transpose(ras_to_grid)
    by_shift = to_ras * g0
    along = wp.dot(direction, by_shift) * direction
    by_rotation = wp.cross(source_from_pivot, by_shift) + wp.cross(direction, to_ras * g1)
    by_rotation -= wp.cross(source_from_pivot + center_from_source, along)
    write_derivatives(jacobian, first, pixels, by_shift - along, by_rotation)


@wp.func
def top_of(voxels: Voxels) -> wp.vec3:
    """The last voxel's centre, grid indices."""
    return wp.vec3(float(voxels.size[0]) - 1.0, float(voxels.size[1]) - 1.0, float(voxels.size[2]) - 1.0)


@wp.kernel
def _march(  # type: ignore[no-untyped-def]
    voxels: Voxels,
    rays: RayBatch,
    width: int,
    height: int,
    tiles: int,
    step: float,
    scale: float,
    image: wp.array(dtype=wp.float32),
    source_from_pivot: wp.array(dtype=wp.vec3),
    ras_to_grid: wp.mat33,
    with_jacobian: int,
    jacobian: wp.array(dtype=wp.float32),
    first: int,
):
    side = tile_side()
    pixels = width * height
    b, corner, wide, high = tile_of(wp.tid() + first, width, height, tiles)
    tile = ray_tile(rays, b, corner, width, height, top_of(voxels), step)
    if with_jacobian == 0:
        values = walk_value(voxels, rays.source[b], tile, step)
        for j in range(high):
            for i in range(wide):
                image[b * pixels + (corner[1] + j) * width + corner[0] + i] = scale * values[0, j * side + i]
        return
    sums = walk_all(voxels, rays.source[b], tile, step)
    for j in range(high):
        for i in range(wide):
            n = j * side + i
            pixel = (corner[1] + j) * width + corner[0] + i
            image[b * pixels + pixel] = scale * sums[0, n]
            _d, direction, _length, _middle = pixel_ray(rays, b, corner[0] + i, corner[1] + j)
            write_by_pose(
                jacobian,
                b * 6 * pixels + pixel,
                pixels,
                scale * wp.vec3(sums[1, n], sums[2, n], sums[3, n]),
                scale * wp.vec3(sums[4, n], sums[5, n], sums[6, n]),
                direction,
                source_from_pivot[b],
                rays.center_from_source[b],
                ras_to_grid,
            )


def check_size(values: int, voxels: int) -> None:
    """Raise ValueError where a call makes or goes through more numbers than the kernels can count."""
    if max(values, voxels) >= 2**31:
        raise ValueError("Too many rays or voxels for one call: the kernel indexes with 32 bits. Render in parts.")


def tiles_of(width: int, height: int, device: torch.device) -> tuple[int, int]:
    """Pixels along a side of the tiles that an image is gone through by on a device, and their number."""
    side = TILE if device.type == "cpu" else 1
    return side, -(-width // side) * -(-height // side)


def march(
    grid: DensityGrid, rays: Rays, step: float, pivot: NDArray[np.float64] | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Line integrals (B, H, W), unitless, and with a `pivot` (3,) their derivatives (B, 6, H, W) per mm and per radian."""
    width, height = rays.size
    pixels, batch = width * height, len(rays.source)
    codes, unit = grid.codes
    check_size(batch * pixels * 6, codes.numel())
    device = codes.device
    image = torch.empty(batch * pixels, dtype=torch.float32, device=device)
    jacobian = torch.empty(batch * 6 * pixels if pivot is not None else 1, dtype=torch.float32, device=device)

    from_pivot = rays.source_ras - (0.0 if pivot is None else pivot)
    side, tiles = tiles_of(width, height, device)
    inputs = [
        voxels_of(grid),
        ray_batch(grid, rays),
        width,
        height,
        tiles,
        float(step),
        float(step * unit),
        wp.from_torch(image),
        warp_array(from_pivot, wp.vec3, device),
        wp.mat33(*rays.ras_to_grid.ravel().tolist()),
        int(pivot is not None),
        wp.from_torch(jacobian),
    ]
    launch_over_rays(_march, batch * tiles, inputs, device, side * side)
    images = image.reshape(batch, height, width)
    return images, jacobian.reshape(batch, 6, height, width) if pivot is not None else None
