"""Where a volume falls on the detector, and the part of the image to look at."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as functional

from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.geometry.rigid import invert, transform_points
from XVRegistrationLib.rendering.render import render, sample_distance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.rendering.grid import DensityGrid
    from XVRegistrationLib.rendering.voxel_grid import VoxelGrid


# A ray that runs through more attenuation than this shows the volume.
_SEEN = 1e-3
# A ray that runs through less than a centimetre of water of what the volume lacks can be compared.
_NEGLIGIBLE = 0.2
_COVER_PIXELS = 48


def projected_bounds(grid: VoxelGrid, pose: NDArray[np.float64], intrinsics: Intrinsics) -> tuple[int, int, int, int]:
    """The rectangle (left, top, right, bottom) of stored pixels, ends excluded, outside of which no ray meets the grid.

    All are alike, left and right or top and bottom, where the grid lies beside the image.
    """
    width, height = intrinsics.size
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in grid.data.shape[::-1]]), axis=-1).reshape(-1, 3)
    pixels = project(transform_points(grid.grid_to_ras, corners), pose, intrinsics)
    if np.isnan(pixels).any():  # the source is inside, or beside
        return 0, 0, width, height
    left, top = np.floor(pixels.min(axis=0)).astype(int).tolist()
    right, bottom = (np.ceil(pixels.max(axis=0)).astype(int) + 1).tolist()
    left, right = (min(max(0, x), width) for x in (left, right))
    top, bottom = (min(max(0, y), height) for y in (top, bottom))
    return left, top, right, bottom


def part_of(intrinsics: Intrinsics, left: int, top: int, right: int, bottom: int) -> Intrinsics:
    """The camera of a rectangle of stored pixels, ends excluded."""
    cx, cy = intrinsics.principal_point
    # The principal point is given in camera columns, which run the other way in a mirrored image.
    first_column = intrinsics.size[0] - right if intrinsics.mirrored else left
    return dataclasses.replace(
        intrinsics, principal_point=(cx - first_column, cy - top), size=(right - left, bottom - top)
    )


def detector_part(
    grid: DensityGrid, poses: NDArray[np.float64], intrinsics: Intrinsics, margin_mm: float
) -> Intrinsics | None:
    """The part of the detector that shows the grid at any of the poses (B, 4, 4), with a margin, mm at the grid.

    None where no part of it does.
    """
    boxes = []
    for pose in poses:
        box = projected_bounds(grid, pose, intrinsics)
        if box[0] >= box[2] or box[1] >= box[3]:
            continue
        pixels = margin_mm * intrinsics.sdd / max(_depth(grid, pose), 1.0) / min(intrinsics.spacing)
        m = int(np.ceil(pixels))
        boxes.append((box[0] - m, box[1] - m, box[2] + m, box[3] + m))
    if not boxes:
        return None
    low, high = np.min(boxes, axis=0), np.max(boxes, axis=0)
    width, height = intrinsics.size
    return part_of(
        intrinsics, max(0, int(low[0])), max(0, int(low[1])), min(width, int(high[2])), min(height, int(high[3]))
    )


def projected_mask(grid: DensityGrid, poses: NDArray[np.float64], camera: Intrinsics, margin_mm: float) -> torch.Tensor:
    """(H, W) 1 where the grid is seen at any of the poses (B, 4, 4), or within a margin, mm at the grid, of that; else 0."""
    footprint = camera.footprint(_depth(grid, poses[0]))
    images = render(grid, poses, camera, sample_distance(grid, footprint)).cpu()
    seen = (images > _SEEN).any(dim=0).float()[None, None]
    reach = int(np.ceil(margin_mm / footprint))
    # A square, along one axis after the other.
    seen = functional.max_pool2d(seen, (1, 2 * reach + 1), stride=1, padding=(0, reach))
    return functional.max_pool2d(seen, (2 * reach + 1, 1), stride=1, padding=(reach, 0))[0, 0]


def covered(beyond: DensityGrid, poses: NDArray[np.float64], camera: Intrinsics) -> torch.Tensor:
    """(B, H, W) 1 where a pose's (B, 4, 4) ray crosses next to nothing of what lies beyond the volume, else 0."""
    coarse = camera.fitted(_COVER_PIXELS)
    lost = render(beyond, poses, coarse, float(beyond.spacing.min())).cpu()
    width, height = camera.size
    return functional.interpolate((lost < _NEGLIGIBLE).float()[:, None], (height, width))[:, 0]


def _depth(grid: VoxelGrid, pose: NDArray[np.float64]) -> float:
    return float(transform_points(invert(pose), grid.center)[2])
