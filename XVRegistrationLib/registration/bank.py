"""A start without a network: renders over the pose range, compared with the X-ray all at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from XVRegistrationLib.geometry.views import NominalView, relative_motion
from XVRegistrationLib.registration.similarity import sobel
from XVRegistrationLib.rendering.grid import matched_to
from XVRegistrationLib.rendering.render import render

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.geometry.views import PoseRange
    from XVRegistrationLib.rendering.grid import DensityGrid

BANK_SIZE = 4096
BANK_PIXELS = 32
_BATCH = 256


@dataclass(frozen=True, eq=False)
class Bank:
    """Low-resolution renders at quasi-random poses."""

    poses: NDArray[np.float64]
    """(N, 4, 4) camera -> RAS."""
    features: torch.Tensor
    """(N, F) unit vectors: the inner product with an X-ray's features is the mean of image and gradient NCC."""
    intrinsics: Intrinsics
    """The renders' camera; an X-ray is resampled to it."""


def build_bank(
    grid: DensityGrid,
    view: NominalView,
    pose_range: PoseRange,
    intrinsics: Intrinsics,
    size: int = BANK_SIZE,
    progress: Callable[[int, int], None] | None = None,
) -> Bank:
    """Bank of `size` renders (a power of two) at Sobol points of the pose range, seen by `intrinsics` at 32 px."""
    camera = intrinsics.fitted(BANK_PIXELS)
    poses = bank_poses(view, pose_range, size)
    footprint = min(camera.spacing) * view.sod / camera.sdd
    coarse = matched_to(grid, footprint)
    features = []
    for first in range(0, size, _BATCH):
        features.append(bank_features(render(coarse, poses[first : first + _BATCH], camera, footprint / 2).cpu()))
        if progress is not None:
            progress(min(first + _BATCH, size), size)
    return Bank(poses, torch.cat(features), camera)


def bank_poses(view: NominalView, pose_range: PoseRange, size: int) -> NDArray[np.float64]:
    """Poses (size, 4, 4) at Sobol points of the range; the same for the same size."""
    from scipy.stats import qmc

    unit = 2 * qmc.Sobol(6, scramble=True, seed=0).random(size) - 1
    motion = relative_motion(
        unit[:, :3] * np.array(pose_range.rotation), unit[:, 3:] * np.array(pose_range.translation)
    )
    return view.absolute(motion)


def bank_features(images: torch.Tensor) -> torch.Tensor:
    """Unit vectors (N, F) of images (N, H, W): centred image and Sobel gradients, each of equal norm."""
    centred = images.flatten(1) - images.flatten(1).mean(dim=1, keepdim=True)
    gradient = sobel(images).flatten(1)
    halves = [part / part.norm(dim=1, keepdim=True).clamp_min(1e-12) for part in (centred, gradient)]
    return torch.cat(halves, dim=1) / np.sqrt(2)


def best_of_bank(bank: Bank, xray: torch.Tensor, count: int) -> NDArray[np.float64]:
    """The `count` poses (count, 4, 4) of the bank whose renders are most similar to an X-ray (H, W) in the bank's camera."""
    similarity = bank.features @ bank_features(xray[None])[0]
    return bank.poses[similarity.topk(min(count, len(bank.poses))).indices.numpy()]
