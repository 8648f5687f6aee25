"""A Gaussian over images whose border is repeated: reflected, as in torchvision, it would show anatomy that is not there."""

from __future__ import annotations

import torch
import torch.nn.functional as functional


def gaussian_blur(images: torch.Tensor, sigma: tuple[float, float]) -> torch.Tensor:
    """Images (B, N, H, W) under a Gaussian of standard deviations `sigma` along rows' and columns' numbers, px; the border repeated."""
    blurred = images.reshape(-1, 1, *images.shape[2:])
    for axis, width in enumerate(sigma):
        reach = int(2.5 * width) + 1
        taps = torch.exp(
            -0.5 * (torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device) / width) ** 2
        )
        pad, shape = ((0, 0, reach, reach), (1, 1, -1, 1)) if axis == 0 else ((reach, reach, 0, 0), (1, 1, 1, -1))
        padded = functional.pad(blurred, pad, mode="replicate")
        blurred = functional.conv2d(padded, (taps / taps.sum()).reshape(shape))
    return blurred.reshape(images.shape)


def blur_each(images: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Images (B, H, W), each under a Gaussian of its own standard deviation `sigma` (B,), px, as `gaussian_blur`; zero is none."""
    reach = int(2.5 * float(sigma.max())) + 1
    taps = _taps(torch.arange(-reach, reach + 1, device=images.device), sigma.to(images))
    rows = functional.pad(images[:, None], (0, 0, reach, reach), mode="replicate").swapaxes(0, 1)
    rows = functional.conv2d(rows, taps[:, None, :, None], groups=len(images))
    columns = functional.pad(rows, (reach, reach, 0, 0), mode="replicate")
    return functional.conv2d(columns, taps[:, None, None, :], groups=len(images))[0]


def wide_blur_each(images: torch.Tensor, sigma: tuple[torch.Tensor, torch.Tensor], block: float = 0.5) -> torch.Tensor:
    """Images (B, H, W) under Gaussians many pixels wide, as `wide_blur`, each of its own `sigma` (B,) along rows' and columns' numbers."""
    size = (images.shape[1], images.shape[2])
    blocks = [max(2, min(n, round(n / (block * float(s.min()))))) for n, s in zip(size, sigma, strict=True)]
    coarse = functional.interpolate(images[:, None], size=blocks, mode="area")[:, 0]
    rows, columns = (_mixing(count, s.to(images) * count / n) for n, count, s in zip(size, blocks, sigma, strict=True))
    blurred = rows @ coarse @ columns.mT
    return functional.interpolate(blurred[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def _mixing(count: int, sigma: torch.Tensor) -> torch.Tensor:
    """(B, count, count): what each of so many pixels gives to each under a Gaussian, the border repeated."""
    place = torch.arange(count, device=sigma.device)
    reach = int(2.5 * float(sigma.max())) + 1
    around = torch.arange(-reach, count + reach, device=sigma.device)
    shares = _taps(around - place[:, None], sigma)
    folded = shares.new_zeros(len(sigma), count, count)
    return folded.index_add_(2, around.clamp(0, count - 1), shares)


def _taps(distance: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Shares (B, ...) at distances (...), px, under Gaussians of `sigma` (B,), that add up to one along the last axis."""
    width = sigma.clamp_min(1e-3).reshape(-1, *[1] * distance.ndim)
    taps = torch.exp(-0.5 * (distance / width) ** 2)
    # As far as each one's own reach: what `gaussian_blur` takes of it.
    taps = taps * (distance.abs() <= torch.floor(2.5 * width) + 1)
    return taps / taps.sum(dim=-1, keepdim=True)


def wide_blur(images: torch.Tensor, sigma: tuple[float, float], block: float = 0.3) -> torch.Tensor:
    """Images (N, H, W) under a Gaussian many pixels wide, as `gaussian_blur`: made on blocks of `block` sigma and interpolated.

    With 0.3 it is a per cent wider than it says; more than a block from the border nothing else differs.
    """
    size = (images.shape[1], images.shape[2])
    rows, columns = (max(2, min(n, round(n / (block * s)))) for n, s in zip(size, sigma, strict=True))
    blocks = functional.interpolate(images[:, None], size=(rows, columns), mode="area")
    blocks = gaussian_blur(blocks, (sigma[0] * rows / size[0], sigma[1] * columns / size[1]))
    return functional.interpolate(blocks, size=size, mode="bilinear", align_corners=False)[:, 0]
