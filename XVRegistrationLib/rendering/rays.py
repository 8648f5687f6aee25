"""What a batch of poses and one camera mean to a ray marcher, computed once in float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import image_to_camera
from XVRegistrationLib.geometry.rigid import transform_points

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.rendering.voxel_grid import VoxelGrid

_TOLERANCE = 1e-4  # of products of rotations in single precision


@dataclass(frozen=True, eq=False)
class Rays:
    """Rays of B poses through W x H pixels; pixel (i, j) of pose b aims at `target[b] @ (i, j, 1)` in grid indices."""

    source: NDArray[np.float64]
    """(B, 3) source in grid indices."""
    target: NDArray[np.float64]
    """(B, 3, 3) pixel (i, j, 1) -> grid indices."""
    camera: NDArray[np.float64]
    """(3, 3) pixel (i, j, 1) -> camera frame, mm; the ray's length is that vector's norm."""
    rotation: NDArray[np.float64]
    """(B, 3, 3) camera axes in RAS."""
    source_ras: NDArray[np.float64]
    """(B, 3) RAS, mm."""
    ras_to_grid: NDArray[np.float64]
    """(3, 3) linear part of RAS mm -> grid indices."""
    size: tuple[int, int]
    """Image width and height, px."""


def rays_of(grid: VoxelGrid, poses: ArrayLike, intrinsics: Intrinsics) -> Rays:
    """Rays of poses (B, 4, 4), camera -> RAS, in the index space of `grid`; InputError for what is no rigid pose."""
    t = _rigid(poses)
    ras_to_grid = np.linalg.inv(grid.grid_to_ras).astype(np.float64)
    pixel_to_camera = image_to_camera(intrinsics)[:3][:, [0, 1, 3]]
    source_ras = t[:, :3, 3]
    to_grid = ras_to_grid[:3, :3] @ t[:, :3, :3] @ pixel_to_camera
    source = transform_points(ras_to_grid, source_ras)
    to_grid[:, :, 2] += source
    return Rays(source, to_grid, pixel_to_camera, t[:, :3, :3], source_ras, ras_to_grid[:3, :3], intrinsics.size)


def _rigid(poses: ArrayLike) -> NDArray[np.float64]:
    t = np.asarray(poses, dtype=np.float64)
    if t.ndim != 3 or t.shape[1:] != (4, 4):
        raise InputError(f"Poses must have the shape (B, 4, 4), not {t.shape}.")
    rotation = t[:, :3, :3]
    with np.errstate(all="ignore"):
        off = np.abs(rotation @ rotation.swapaxes(1, 2) - np.eye(3)).max(axis=(1, 2))
        rigid = (off < _TOLERANCE) & (np.linalg.det(rotation) > 0) & (np.abs(t[:, 3] - [0, 0, 0, 1]).max(axis=1) < 1e-6)
    wrong = np.flatnonzero(~rigid | ~np.isfinite(t[:, :3, 3]).all(axis=1))
    if wrong.size:
        raise InputError(
            f"Pose {wrong[0]} is not a rigid transform (rotation with determinant +1, finite place, last row 0 0 0 1); a pose "
            "maps the camera to RAS in mm, without scaling or mirroring."
        )
    return t
