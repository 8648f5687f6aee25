"""Differences between two images, differentiable: what a network learns by through the renderer.

Images are (B, H, W); all are 0 for the same images and at most 2. Scale and offset of an image mean nothing to NCC.
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional

_SMALL = 1e-5
_LEAST_SHADOW = 1e-6


def ncc_loss(images: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """1 - normalised cross-correlation (B,) of whole images."""
    return 1 - (_normalized(images) * _normalized(others)).sum(dim=(1, 2))


def local_ncc_loss(images: torch.Tensor, others: torch.Tensor, patch: int = 9) -> torch.Tensor:
    """1 - mean NCC (B,) of all patches of `patch` px (xvr's local term): by running sums, not by cutting them out."""
    a, b = images[:, None], others[:, None]

    def mean(x: torch.Tensor) -> torch.Tensor:
        return functional.avg_pool2d(x, patch, stride=1)

    mean_a, mean_b = mean(a), mean(b)
    variance_a, variance_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    # Patches without content, by what the image has, count as unlike without a slope.
    floor_a, floor_b = (_SMALL + 1e-3 * x.var(dim=(2, 3), keepdim=True) for x in (a, b))
    product = (variance_a.clamp_min(0) + floor_a) * (variance_b.clamp_min(0) + floor_b)
    like = (covariance + (floor_a * floor_b).sqrt()) / product.sqrt()
    return 1 - like.mean(dim=(1, 2, 3))


def gradient_ncc_loss(images: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """1 - NCC (B,) of the Sobel gradients, the mean over both directions."""
    a, b = _sobel(images), _sobel(others)
    return (ncc_loss(a[:, 0], b[:, 0]) + ncc_loss(a[:, 1], b[:, 1])) / 2


def dice_loss(shadows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """1 - soft Dice (B,) of structures' shadows (B, N, H, W), 0..1 each: 1 - 2 sum(ab) / sum(a^2 + b^2), the mean over structures.

    With the squares (Milletari et al. 2016) it is 0 for equal shadows that are not all 0 or 1 too. A structure that
    neither image shows counts as found.
    """
    both = 2 * (shadows * others).sum(dim=(2, 3))
    each = (shadows.square() + others.square()).sum(dim=(2, 3))
    return 1 - ((both + _LEAST_SHADOW) / (each + _LEAST_SHADOW)).mean(dim=1)


def soft_shadow(integrals: torch.Tensor, half: float = 0.05) -> torch.Tensor:
    """How much a structure shadows a pixel, 0..1, of its line integrals: 1 - 2^(-integral / half).

    Smooth up to the edge, where the structure gets thin: so that its edge has a slope by the pose. `half` is about 1 mm of
    cortical bone.
    """
    return 1 - torch.exp2(-integrals / half)


def _normalized(images: torch.Tensor) -> torch.Tensor:
    centred = images - images.mean(dim=(1, 2), keepdim=True)
    return centred / (centred.square().sum(dim=(1, 2), keepdim=True) + _SMALL).sqrt()


def _sobel(images: torch.Tensor) -> torch.Tensor:
    x = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], dtype=images.dtype, device=images.device)
    return functional.conv2d(images[:, None], torch.stack([x, x.T])[:, None] / 8)
