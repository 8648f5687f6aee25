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
