"""Patch-wise normalised cross-correlation and its Gauss-Newton equations.

With a = n(I) and b = n(X) the centred images of unit norm in a patch, r = a - b has |r|^2 / 2 = 1 - NCC, and its derivative is the
projection of the rendered derivatives J:  Ja = (J - a (a'J)) / |I|. Everything needed, NCC, gradient Ja'r and Hessian Ja'Ja, follows
from the inner products of the eight images I, J1..J6, X in the patch, so a patch is reduced to one 8 x 8 Gram matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional

# Share of an image's mean patch energy that is added to every patch: flat patches then count as dissimilar but weigh nothing.
_FLOOR = 1e-4


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """Cost and its second-order model for B poses."""

    cost: torch.Tensor
    """(B,) 1 - mean NCC over all terms, float64."""
    gradient: torch.Tensor
    """(B, 6) float64."""
    hessian: torch.Tensor
    """(B, 6, 6) Gauss-Newton approximation, float64."""


def sobel(images: torch.Tensor) -> torch.Tensor:
    """Sobel derivatives (N, 2, H-2, W-2) of images (N, H, W), per pixel."""
    kernel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=images.device) / 8
    return functional.conv2d(images[:, None], torch.stack([kernel, kernel.T])[:, None].to(images.dtype))


def normal_equations(
    images: torch.Tensor, jacobians: torch.Tensor, xray: torch.Tensor, patches: tuple[int, ...]
) -> NormalEquations:
    """Normal equations of images (B, H, W) with derivatives (B, 6, H, W) against one X-ray (H, W).

    The cost is the mean over `patches` (side lengths in px; 0 for the whole image) of 1 - NCC of the image and of its
    Sobel gradient field. Patches overlap by half and weigh by the X-ray's own contrast in them.
    """
    batch, height, width = images.shape
    stack = torch.cat([images[:, None], jacobians, xray.expand(batch, 1, height, width)], dim=1)
    gradients = sobel(stack.reshape(batch * 8, height, width)).reshape(batch, 8, 2, height - 2, width - 2)
    terms = [_term(channels, size) for channels in (stack[:, :, None], gradients) for size in patches]
    return NormalEquations(
        torch.stack([t.cost for t in terms]).mean(dim=0),
        torch.stack([t.gradient for t in terms]).mean(dim=0),
        torch.stack([t.hessian for t in terms]).mean(dim=0),
    )


def _term(channels: torch.Tensor, size: int) -> NormalEquations:
    """One term of images (B, 8, C, H, W) over patches of `size`; the C channels share one norm."""
    gram = _patch_grams(channels, size).double()  # (B, L, 8, 8)
    energy_image, energy_xray = gram[..., 0, 0], gram[..., 7, 7]
    norm_image = (energy_image + _FLOOR * energy_image.mean(dim=1, keepdim=True)).clamp_min(1e-20).sqrt()
    norm_xray = (energy_xray + _FLOOR * energy_xray.mean(dim=1, keepdim=True)).clamp_min(1e-20).sqrt()
    weight = energy_xray.sqrt() / energy_xray.sqrt().sum(dim=1, keepdim=True).clamp_min(1e-20)

    ncc = gram[..., 0, 7] / (norm_image * norm_xray)
    along = gram[..., 1:7, 0] / norm_image[..., None]  # a'J
    towards = gram[..., 1:7, 7] / norm_xray[..., None]  # b'J
    gradient = -(towards - along * ncc[..., None]) / norm_image[..., None]
    hessian = (gram[..., 1:7, 1:7] - along[..., :, None] * along[..., None, :]) / norm_image[..., None, None] ** 2
    return NormalEquations(
        # Weights sum to one, or to nothing where the X-ray is flat: that is like no image at all.
        1 - (weight * ncc).sum(dim=1),
        (weight[..., None] * gradient).sum(dim=1),
        (weight[..., None, None] * hessian).sum(dim=1),
    )


def _patch_grams(channels: torch.Tensor, size: int) -> torch.Tensor:
    """Inner products (B, L, 8, 8) of the centred images (B, 8, C, H, W) in each of L patches."""
    batch, eight, count, height, width = channels.shape
    if size == 0 or size >= min(height, width):
        flat = channels.reshape(batch, 1, eight, count, height * width)
    else:
        stride = max(1, size // 2)
        windows = channels.unfold(3, size, stride).unfold(4, size, stride)  # (B, 8, C, Lh, Lw, size, size)
        flat = windows.permute(0, 3, 4, 1, 2, 5, 6).reshape(batch, -1, eight, count, size * size)
    centred = (flat - flat.mean(dim=-1, keepdim=True)).flatten(-2)
    return centred @ centred.transpose(-1, -2)
