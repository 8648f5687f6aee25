"""The ray of a pixel in a Warp kernel: what the projectors in Warp start from, as those in torch do from `torch_rays`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import warp as wp

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from XVRegistrationLib.rendering.rays import Rays
    from XVRegistrationLib.rendering.voxel_grid import VoxelGrid

wp.set_module_options({"enable_backward": False})


@wp.struct
class RayBatch:
    """`rays.Rays` in single precision, on the device of a kernel."""

    source: wp.array(dtype=wp.vec3)
    target: wp.array(dtype=wp.mat33)
    camera: wp.mat33
    rotation: wp.array(dtype=wp.mat33)
    center_from_source: wp.array(dtype=wp.vec3)
    """(B) centre of the grid from the source, RAS mm."""


@wp.func
def pixel_ray(rays: RayBatch, b: int, i: int, j: int):  # type: ignore[no-untyped-def]
    """Of stored pixel (i, j) of pose b: direction in grid indices per mm, unit vector in RAS, length to the detector and distance to
    the point nearest to the grid's centre, mm."""
    ij1 = wp.vec3(float(i), float(j), 1.0)
    to_detector = rays.camera * ij1
    length = wp.length(to_detector)
    direction = rays.rotation[b] * to_detector / length
    middle = wp.dot(rays.center_from_source[b], direction)
    return (rays.target[b] * ij1 - rays.source[b]) / length, direction, length, middle


@wp.func
def box_crossing(s: wp.vec3, d: wp.vec3, length: float, top: wp.vec3):  # type: ignore[no-untyped-def]
    """Where a ray s + t d enters and leaves the box from 0 to `top`, grid indices: t in mm, the first the higher for a miss.

    Between source and detector only.
    """
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
    return t0, t1


@wp.func
def write_derivatives(  # type: ignore[no-untyped-def]
    jacobian: wp.array(dtype=wp.float32), first: int, pixels: int, by_shift: wp.vec3, by_rotation: wp.vec3
):
    """Write a pixel's six derivatives, each into an image of so many pixels of its own, one after the other."""
    for a in range(3):
        jacobian[first + a * pixels] = by_shift[a]
        jacobian[first + (3 + a) * pixels] = by_rotation[a]


def warp_array(values: NDArray[np.float64], dtype: type, device: torch.device) -> wp.array:
    """Vectors or matrices in single precision, on torch's device."""
    return wp.array(values.astype("float32"), dtype=dtype, device=wp.device_from_torch(device))


def ray_batch(grid: VoxelGrid, rays: Rays) -> Any:
    """The rays through a grid as a kernel takes them: a `RayBatch`."""
    device = grid.data.device
    batch = RayBatch()
    batch.source = warp_array(rays.source, wp.vec3, device)
    batch.target = warp_array(rays.target, wp.mat33, device)
    batch.camera = wp.mat33(*rays.camera.ravel().tolist())
    batch.rotation = warp_array(rays.rotation, wp.mat33, device)
    batch.center_from_source = warp_array(grid.center - rays.source_ras, wp.vec3, device)
    return batch
