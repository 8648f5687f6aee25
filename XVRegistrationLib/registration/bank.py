"""A start without a network: renders over the pose range, compared with the X-ray all at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as functional

from XVRegistrationLib.geometry.views import NominalView, relative_motion
from XVRegistrationLib.registration.similarity import sobel
from XVRegistrationLib.rendering.grid import matched_to
from XVRegistrationLib.rendering.projected_bounds import covered
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
_COUNTED_AT_ONCE = 4096
_COVER_POWER = 0.25


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
    footprint = camera.footprint(view.sod)
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


def bank_features(images: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Unit vectors (N, F) of images (N, H, W): centred image and Sobel gradients, each of equal norm.

    `weight` (H, W) says which pixels count; all without it.
    """
    centred = images.flatten(1) - images.flatten(1).mean(dim=1, keepdim=True)
    features = _of_equal_norm(centred, sobel(images).flatten(1))
    return features if weight is None else counted(features, weight)


def counted(features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Features (N, F) of images of which only the pixels with a `weight` (H, W) above one half count."""
    good = (weight > 0.5).to(features.dtype)
    image, gradient = features[:, : good.numel()], features[:, good.numel() :]
    share = good.flatten()
    centred = (image - (image @ share)[:, None] / share.sum().clamp_min(1.0)) * share
    # A gradient counts where all nine pixels that it is made of do.
    inner = -functional.max_pool2d(-good[None], 3, stride=1).flatten()
    return _of_equal_norm(centred, gradient * torch.cat([inner, inner]))


def similarity_where(
    features: torch.Tensor, xray: torch.Tensor, cover: torch.Tensor, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """Mean (N,) of image and gradient NCC of features (N, F) with an X-ray (H, W), of the pixels that count for each.

    Those that its own `cover` (N, H, W) has, 0 or 1, of those with a `weight` (H, W) above one half. Where they are few the
    similarity is less: a few pixels are like anything.
    """
    good = cover if weight is None else cover * (weight > 0.5)
    inner = -functional.max_pool2d(-good[:, None], 3, stride=1).flatten(1)
    seen, gradient = xray.flatten(), sobel(xray[None]).flatten()
    pixels = seen.numel()
    w, image = good.flatten(1), features[:, :pixels]
    total = w.sum(dim=1).clamp_min(1.0)
    first, second = (w * image).sum(dim=1), w @ seen
    inner_product = (w * image) @ seen - first * second / total
    norms = ((w * image * image).sum(dim=1) - first**2 / total) * (w @ seen**2 - second**2 / total)
    both = torch.cat([inner, inner], dim=1)
    slopes = both * features[:, pixels:]
    slope_norms = (slopes * slopes).sum(dim=1) * (both @ gradient**2)
    found = inner_product / norms.clamp_min(1e-20).sqrt() + slopes @ gradient / slope_norms.clamp_min(1e-20).sqrt()
    return found / 2 * cover.flatten(1).mean(dim=1) ** _COVER_POWER


def _of_equal_norm(*parts: torch.Tensor) -> torch.Tensor:
    """Parts (N, F1), (N, F2) side by side, scaled so that each has the same norm and all together one."""
    scaled = [part / part.norm(dim=1, keepdim=True).clamp_min(1e-12) for part in parts]
    return torch.cat(scaled, dim=1) / np.sqrt(len(parts))


def bank_cover(bank: Bank, beyond: DensityGrid) -> torch.Tensor:
    """(N, H, W) bool: which pixels of each render show nothing of what lies `beyond` its volume."""
    parts = np.split(bank.poses, range(_BATCH, len(bank.poses), _BATCH))
    return torch.cat([covered(beyond, part, bank.intrinsics) > 0 for part in parts])


def best_of_bank(
    bank: Bank,
    xray: torch.Tensor,
    count: int,
    weight: torch.Tensor | None = None,
    cover: torch.Tensor | None = None,
) -> NDArray[np.float64]:
    """The `count` poses (count, 4, 4) of the bank whose renders are most similar to an X-ray (H, W) in the bank's camera.

    `weight` (H, W) says which pixels count, `cover` (N, H, W) which of them for each render; all without them.
    """
    seen = bank_features(xray[None], weight)[0]
    parts = bank.features.split(_COUNTED_AT_ONCE)
    if cover is not None:
        covers = cover.split(_COUNTED_AT_ONCE)
        found = [similarity_where(f, xray, c.float(), weight) for f, c in zip(parts, covers, strict=True)]
        similarity = torch.cat(found)
    elif weight is None:
        similarity = bank.features @ seen
    else:
        similarity = torch.cat([counted(part, weight) @ seen for part in parts])
    return bank.poses[similarity.topk(min(count, len(bank.poses))).indices.numpy()]
