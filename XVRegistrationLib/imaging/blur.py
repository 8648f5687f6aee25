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


def wide_blur(images: torch.Tensor, sigma: tuple[float, float], block: float = 0.3) -> torch.Tensor:
    """Images (N, H, W) under a Gaussian many pixels wide, as `gaussian_blur`: made on blocks of `block` sigma and interpolated.

    With 0.3 it is a per cent wider than it says; more than a block from the border nothing else differs.
    """
    size = (images.shape[1], images.shape[2])
    rows, columns = (max(2, min(n, round(n / (block * s)))) for n, s in zip(size, sigma, strict=True))
    blocks = functional.interpolate(images[:, None], size=(rows, columns), mode="area")
    blocks = gaussian_blur(blocks, (sigma[0] * rows / size[0], sigma[1] * columns / size[1]))
    return functional.interpolate(blocks, size=size, mode="bilinear", align_corners=False)[:, 0]
