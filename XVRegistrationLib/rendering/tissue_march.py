"""The ray march through soft tissue and bone at once: one walk through their common attenuation, two sums.

Each voxel's bone is told from its code, so that what lies between voxels is what a volume of bone by itself would have there;
soft tissue is what attenuation bone leaves. The voxels are fetched once, and they are what a walk costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import warp as wp

from XVRegistrationLib.rendering.kernels import launch_over_rays
from XVRegistrationLib.rendering.march import check_size, ray_tile, tile_of, tiles_of, top_of, write_by_pose
from XVRegistrationLib.rendering.march_native import Voxels, tile_side, voxels_of, walk_tissues, walk_tissues_value
from XVRegistrationLib.rendering.warp_rays import RayBatch, pixel_ray, ray_batch, warp_array

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.rendering.rays import Rays
    from XVRegistrationLib.rendering.tissue_grid import TissueGrid

wp.set_module_options({"enable_backward": False})


@wp.kernel
def _march(  # type: ignore[no-untyped-def]
    voxels: Voxels,
    rays: RayBatch,
    width: int,
    height: int,
    tiles: int,
    step: float,
    knee: float,
    flat: float,
    of_sums: wp.mat22,
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
        values = walk_tissues_value(voxels, rays.source[b], tile, step, knee, flat)
        for j in range(high):
            for i in range(wide):
                both = of_sums * wp.vec2(values[0, j * side + i], values[1, j * side + i])
                pixel = (corner[1] + j) * width + corner[0] + i
                for m in range(2):
                    image[(2 * b + m) * pixels + pixel] = both[m]
        return
    sums = walk_tissues(voxels, rays.source[b], tile, step, knee, flat)
    for j in range(high):
        for i in range(wide):
            n = j * side + i
            pixel = (corner[1] + j) * width + corner[0] + i
            _d, direction, _length, _middle = pixel_ray(rays, b, corner[0] + i, corner[1] + j)
            for m in range(2):
                whole = of_sums[m, 0]
                bone = of_sums[m, 1]
                image[(2 * b + m) * pixels + pixel] = whole * sums[0, n] + bone * sums[7, n]
                write_by_pose(
                    jacobian,
                    (2 * b + m) * 6 * pixels + pixel,
                    pixels,
                    whole * wp.vec3(sums[1, n], sums[2, n], sums[3, n])
                    + bone * wp.vec3(sums[8, n], sums[9, n], sums[10, n]),
                    whole * wp.vec3(sums[4, n], sums[5, n], sums[6, n])
                    + bone * wp.vec3(sums[11, n], sums[12, n], sums[13, n]),
                    direction,
                    source_from_pivot[b],
                    rays.center_from_source[b],
                    ras_to_grid,
                )


def march_tissues(
    volume: TissueGrid, rays: Rays, step: float, pivot: NDArray[np.float64] | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Area densities (B, 2, H, W), g/cm2, of soft tissue and bone, and with a `pivot` (3,) their derivatives (B, 2, 6, H, W)."""
    width, height = rays.size
    pixels, batch = width * height, len(rays.source)
    grid, split = volume.attenuation, volume.split
    codes, unit = grid.codes
    check_size(batch * 2 * pixels * 6, codes.numel())
    device = codes.device
    image = torch.empty(batch * 2 * pixels, dtype=torch.float32, device=device)
    jacobian = torch.empty(batch * 12 * pixels if pivot is not None else 1, dtype=torch.float32, device=device)
    side, tiles = tiles_of(width, height, device)
    bone, soft = step * unit * split.steep, step * unit / split.soft_mass
    inputs = [
        voxels_of(grid),
        ray_batch(grid, rays),
        width,
        height,
        tiles,
        float(step),
        split.knee / unit,
        split.flat,
        wp.mat22(soft, -bone * split.bone_mass / split.soft_mass, 0.0, bone),
        wp.from_torch(image),
        warp_array(rays.source_ras - (0.0 if pivot is None else pivot), wp.vec3, device),
        wp.mat33(*rays.ras_to_grid.ravel().tolist()),
        int(pivot is not None),
        wp.from_torch(jacobian),
    ]
    launch_over_rays(_march, batch * tiles, inputs, device, side * side)
    images = image.reshape(batch, 2, height, width)
    return images, jacobian.reshape(batch, 2, 6, height, width) if pivot is not None else None
