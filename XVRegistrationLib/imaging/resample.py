"""An X-ray as another camera with the same source would have taken it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as functional

if TYPE_CHECKING:
    from XVRegistrationLib.geometry.camera import Intrinsics

_LEAST_WEIGHT = 1e-3  # of a pixel: less of it that counts is none


def resample(image: torch.Tensor, source: Intrinsics, target: Intrinsics) -> tuple[torch.Tensor, torch.Tensor]:
    """`image` (H, W) of camera `source` seen by camera `target`: (H', W') float32, and which pixels it covers (H', W') bool.

    Both cameras look along the same axis from the same place, so that pixels map by a scale and a shift. Finer images
    are averaged over the target's pixels first. Uncovered pixels hold the nearest covered value.
    """
    if image.shape != source.size[::-1]:
        raise ValueError(f"An image of {tuple(image.shape)} does not fit a camera of {source.size} pixels.")
    if target == source:
        return image, torch.ones(image.shape, dtype=torch.bool)
    if source.resized(target.size) == target:
        area = functional.interpolate(image[None, None], size=target.size[::-1], mode="area")[0, 0]
        return area, torch.ones(area.shape, dtype=torch.bool)

    # Size of a target pixel in source pixels; average over whole source pixels before sampling.
    ratio = [(ts / target.sdd) / (ss / source.sdd) for ts, ss in zip(target.spacing, source.spacing, strict=True)]
    block = [max(1, round(r)) for r in ratio]
    coarse_size = (max(1, source.size[0] // block[0]), max(1, source.size[1] // block[1]))
    coarse = functional.interpolate(image[None, None], size=coarse_size[::-1], mode="area")
    coarse_camera = source.resized(coarse_size)

    columns = _positions(target, coarse_camera, axis=0)
    rows = _positions(target, coarse_camera, axis=1)
    grid_x = torch.from_numpy((columns + 0.5) * 2 / coarse_size[0] - 1).float()
    grid_y = torch.from_numpy((rows + 0.5) * 2 / coarse_size[1] - 1).float()
    grid = torch.stack(torch.meshgrid(grid_x, grid_y, indexing="xy"), dim=-1)[None]
    sampled = functional.grid_sample(coarse, grid, mode="bilinear", padding_mode="border", align_corners=False)[0, 0]
    covered = (grid_x.abs() <= 1)[None, :] & (grid_y.abs() <= 1)[:, None]
    return sampled, covered


def filled_outside(images: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Images (..., H, W) whose pixels without weight (..., H, W), 0..1, are as bright as those with it on average."""
    within = (images * weight).sum(dim=(-2, -1), keepdim=True) / weight.sum(dim=(-2, -1), keepdim=True).clamp_min(1e-6)
    return torch.lerp(within.expand_as(images), images, weight)


def cover_as(images: torch.Tensor, camera: Intrinsics, detector: Intrinsics) -> torch.Tensor:
    """Images (B, H, W) rendered by `camera`, with what `detector` cannot see replaced as `resample` does it.

    Pixels out of the detector get the value of the nearest pixel on it: what a network learns from looks as what it will
    be given.
    """
    for axis, dimension in ((0, 2), (1, 1)):
        on_detector = _positions(camera, detector, axis)
        covered = np.flatnonzero((on_detector >= -0.5) & (on_detector <= detector.size[axis] - 0.5))
        if covered.size == camera.size[axis]:
            continue
        nearest = np.clip(np.arange(camera.size[axis]), covered[0], covered[-1])
        images = images.index_select(dimension, torch.from_numpy(nearest).to(images.device))
    return images


def resample_counted(
    image: torch.Tensor, weight: torch.Tensor, source: Intrinsics, target: Intrinsics
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `resample`, of the pixels alone that count by `weight` (H, W), 0..1: image (H', W'), and how much of each pixel counts.

    Pixels of which hardly any counts are zero in both.
    """
    mean, _ = resample(image * weight, source, target)
    part, covered = resample(weight, source, target)
    part = torch.where(covered, part.clamp(0, 1), 0.0)
    some = part > _LEAST_WEIGHT
    return torch.where(some, mean / part.clamp_min(_LEAST_WEIGHT), 0.0), torch.where(some, part, 0.0)


def _positions(target: Intrinsics, source: Intrinsics, axis: int) -> np.ndarray:
    """Source pixel coordinate of each target pixel along one axis, both as stored."""
    pixels = np.arange(target.size[axis], dtype=np.float64)
    mirror_target, mirror_source = target.mirrored and axis == 0, source.mirrored and axis == 0
    seen = target.size[axis] - 1 - pixels if mirror_target else pixels
    slope = (seen - target.principal_point[axis]) * target.spacing[axis] / target.sdd
    found = slope * source.sdd / source.spacing[axis] + source.principal_point[axis]
    return source.size[axis] - 1 - found if mirror_source else found
