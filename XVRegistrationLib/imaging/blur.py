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


def blur_each(images: torch.Tensor, sigma: torch.Tensor | tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Images (B, H, W), each under a Gaussian of its own standard deviation `sigma` (B,), px, as `gaussian_blur`; zero is none.

    Two where rows' and columns' numbers have different ones. However wide it is, it takes two products of matrices an image.
    """
    along_rows, along_columns = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    rows = _mixing(images.shape[1], along_rows.to(images))
    alike = images.shape[1] == images.shape[2] and (
        along_rows is along_columns or torch.equal(along_rows, along_columns)
    )
    columns = rows if alike else _mixing(images.shape[2], along_columns.to(images))
    return rows @ images @ columns.mT


def _mixing(count: int, sigma: torch.Tensor) -> torch.Tensor:
    """(B, count, count): what each of so many pixels gets from each under Gaussians of `sigma` (B,) px, the border repeated."""
    width = sigma.clamp_min(1e-3)[:, None]
    distance = torch.arange(max(count, int(2.5 * float(sigma.max())) + 2), device=sigma.device, dtype=sigma.dtype)
    # As far as each one's own reach: what `gaussian_blur` takes of it.
    taps = torch.exp(-0.5 * (distance / width).square()) * (distance <= torch.floor(2.5 * width) + 1)
    taps = taps / (2 * taps.sum(dim=1, keepdim=True) - taps[:, :1])
    # Row i has the tap of distance |i - j| in column j: a window of the taps on both sides, moved on by one a row.
    both = torch.cat((taps[:, 1:count].flip(1), taps[:, :count]), dim=1)
    shares = both.unfold(1, count, 1).flip(1)
    # A pixel at the border stands for all beyond it.
    beyond = taps.flip(1).cumsum(1).flip(1)[:, :count]
    shares[:, :, 0] = beyond
    shares[:, :, -1] = beyond.flip(1)
    return shares


def wide_blur(images: torch.Tensor, sigma: tuple[float, float], block: float = 0.3) -> torch.Tensor:
    """Images (N, H, W) under a Gaussian many pixels wide, as `gaussian_blur`: made on blocks of `block` sigma and interpolated.

    With 0.3 it is a per cent wider than it says; more than a block from the border nothing else differs.
    """
    size = (images.shape[1], images.shape[2])
    rows, columns = (max(2, min(n, round(n / (block * s)))) for n, s in zip(size, sigma, strict=True))
    blocks = functional.interpolate(images[:, None], size=(rows, columns), mode="area")
    blocks = gaussian_blur(blocks, (sigma[0] * rows / size[0], sigma[1] * columns / size[1]))
    return functional.interpolate(blocks, size=size, mode="bilinear", align_corners=False)[:, 0]
