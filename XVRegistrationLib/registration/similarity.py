"""Patch-wise normalised cross-correlation and its Gauss-Newton equations.

With a = n(I) and b = n(X) the centred images of unit norm in a patch, r = a - b has |r|^2 / 2 = 1 - NCC, and its derivative is the
projection of the rendered derivatives J:  Ja = (J - a (a'J)) / |I|. Everything needed, NCC, gradient Ja'r and Hessian Ja'Ja, follows
from the inner products of the images I, J1..JP, X in the patch, so a patch is reduced to one (P + 2) x (P + 2) Gram matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as functional

from XVRegistrationLib.imaging.blur import gaussian_blur

if TYPE_CHECKING:
    from collections.abc import Sequence

# Share of an image's mean patch energy that is added to every patch: flat patches then count as dissimilar but weigh nothing.
_FLOOR = 1e-4
# A patch counts where at least this share of its pixels does.
_LEAST_COVER = 0.25
# Numbers that are worked on at once: memory for more is given back and fetched anew for each step, which takes as long again.
_TOGETHER = 2**19


@dataclass(frozen=True)
class Similarity:
    """What two images are compared by."""

    patches: tuple[int, ...] = (0,)
    """Side lengths in px; 0 is the whole image."""
    robust: float | None = None
    """Where 1 - NCC of a patch begins to count less, c -> c / (1 + c / robust); None: every patch counts in full."""
    image: bool = True
    """Whether the image itself is compared, and not its Sobel gradients alone."""
    highpass_px: float | None = None
    """Standard deviation of the Gaussian that is taken away from both images first; None: they are compared as they are."""
    by_render: bool = False
    """Whether patches weigh by the render's contrast instead of the X-ray's: where other things lie over the volume."""


@dataclass(frozen=True, eq=False)
class NormalEquations:
    """Cost and its second-order model for B sets of P parameters."""

    cost: torch.Tensor
    """(B,) 1 - mean NCC over all terms, float64."""
    gradient: torch.Tensor
    """(B, P) float64."""
    hessian: torch.Tensor
    """(B, P, P) Gauss-Newton approximation, float64."""


@dataclass(frozen=True, eq=False)
class PatchEquations:
    """The same for each of L patches by itself, weighted so that their sum is the cost's."""

    cost: torch.Tensor
    """(B, L)."""
    gradient: torch.Tensor
    """(B, L, P)."""
    hessian: torch.Tensor
    """(B, L, P, P)."""

    def total(self) -> NormalEquations:
        """Summed over the patches."""
        return NormalEquations(self.cost.sum(dim=1), self.gradient.sum(dim=1), self.hessian.sum(dim=1))


def sobel(images: torch.Tensor) -> torch.Tensor:
    """Sobel derivatives (N, 2, H-2, W-2) of images (N, H, W), per pixel."""
    kernel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], device=images.device) / 8
    return functional.conv2d(images[:, None], torch.stack([kernel, kernel.T])[:, None].to(images.dtype))


def normal_equations(
    images: torch.Tensor,
    jacobians: torch.Tensor,
    xray: torch.Tensor,
    similarity: Similarity,
    weight: torch.Tensor | None = None,
    curvature: bool = False,
) -> NormalEquations:
    """Normal equations of images (B, H, W) with derivatives (B, P, H, W) against one X-ray (H, W).

    The cost is the mean over the patch sizes of 1 - NCC of the image and of its Sobel gradient field. Patches overlap by
    half and weigh by the X-ray's own contrast in them. `weight` (H, W) or (B, H, W), 0..1, says which pixels count; all without it.
    With `curvature` the Hessian is the cost's own: where images differ, smaller than Gauss-Newton's by their correlation.
    """
    most = max(1, _TOGETHER // (jacobians.shape[1] + 2) // images[0].numel())
    if len(images) > most:
        weights = [
            weight if weight is None or weight.ndim == 2 else weight[n : n + most] for n in range(0, len(images), most)
        ]
        parts = [
            normal_equations(i, j, xray, similarity, w, curvature)
            for i, j, w in zip(images.split(most), jacobians.split(most), weights, strict=True)
        ]
        return NormalEquations(
            *(torch.cat([getattr(p, name) for p in parts]) for name in ("cost", "gradient", "hessian"))
        )
    terms = [
        _term(channels, size, 2, similarity, cover, curvature).total()
        for channels, cover in _channels(images, jacobians, xray, similarity, weight)
        for size in similarity.patches
    ]
    return NormalEquations(*_mean(terms))


def patch_equations(
    images: torch.Tensor,
    jacobians: torch.Tensor,
    xray: torch.Tensor,
    similarity: Similarity,
    size: int,
    weight: torch.Tensor | None = None,
) -> PatchEquations:
    """As `normal_equations`, in patches of `size` px that do not overlap, not summed: what each part of the image says."""
    # The gradients lack the outermost pixels: without them the image falls into the same patches.
    compared = [
        (c[..., 1:-1, 1:-1], None if w is None else w[..., 1:-1, 1:-1]) if c.shape[2] == 1 else (c, w)
        for c, w in _channels(images, jacobians, xray, similarity, weight)
    ]
    terms = [_term(channels, size, 1, similarity, cover) for channels, cover in compared]
    return PatchEquations(*_mean(terms))


def patch_agreement(
    images: torch.Tensor,
    xray: torch.Tensor,
    similarity: Similarity,
    size: int,
    stride: int,
    weight: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """NCC and weight (B, rows, columns) of patches of `size` px at every `stride` px: means over the image and its gradients.

    Patches begin at the pixels 0, `stride` and so on; weights sum to one, or to nothing where the X-ray is flat.
    """
    height, width = xray.shape
    none = images.new_zeros((len(images), 0, height, width))
    found = []
    for channels, cover in _channels(images, none, xray, similarity, weight):
        # The gradients lack the outermost pixels: with a rim their patches are at the same places.
        if channels.shape[-1] < width:
            channels = functional.pad(channels.flatten(0, 1), (1, 1, 1, 1)).unflatten(0, channels.shape[:2])
            cover = None if cover is None else functional.pad(cover, (1, 1, 1, 1))
        gram = _patch_grams(channels, size, size // stride, cover).double()
        _, _, share, ncc = _agreement(gram, similarity)
        found.append((ncc, share))
    rows, columns = ((n - size) // stride + 1 for n in (height, width))
    ncc, share = (torch.stack(part).mean(dim=0).unflatten(1, (rows, columns)) for part in zip(*found, strict=True))
    return ncc, share


def _agreement(
    gram: torch.Tensor, similarity: Similarity
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of inner products (B, L, N, N), all (B, L): the norms of image and X-ray, the patches' weights, and their NCC."""
    energy_image, energy_xray = gram[..., 0, 0], gram[..., -1, -1]
    norm_image = (energy_image + _FLOOR * energy_image.mean(dim=1, keepdim=True)).clamp_min(1e-20).sqrt()
    norm_xray = (energy_xray + _FLOOR * energy_xray.mean(dim=1, keepdim=True)).clamp_min(1e-20).sqrt()
    # Weights sum to one, or to nothing where the X-ray is flat: that is like no image at all.
    contrast = (energy_image if similarity.by_render else energy_xray).sqrt()
    share = contrast / contrast.sum(dim=1, keepdim=True).clamp_min(1e-20)
    return norm_image, norm_xray, share, gram[..., 0, -1] / (norm_image * norm_xray)


def _mean(terms: Sequence[NormalEquations | PatchEquations]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cost, gradient and Hessian, each the mean over the terms."""
    cost, gradient, hessian = (
        torch.stack([getattr(t, name) for t in terms]).mean(dim=0) for name in ("cost", "gradient", "hessian")
    )
    return cost, gradient, hessian


def _channels(
    images: torch.Tensor,
    jacobians: torch.Tensor,
    xray: torch.Tensor,
    similarity: Similarity,
    weight: torch.Tensor | None,
) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
    """What is compared: (B, P + 2, C, H, W), whose C channels share one norm, and which of its pixels count."""
    batch, height, width = images.shape
    stack = torch.cat([images[:, None], jacobians, xray.expand(batch, 1, height, width)], dim=1)
    if similarity.highpass_px is not None:
        stack = stack - _smooth_part(stack, similarity.highpass_px, weight)
    flat = stack.reshape(-1, height, width)
    gradients = sobel(flat).reshape(*stack.shape[:2], 2, height - 2, width - 2)
    inner = None
    if weight is not None:
        weight = weight if weight.ndim == 3 else weight[None]
        # A gradient counts where all nine pixels that it is made of do.
        inner = -functional.max_pool2d(-weight[:, None], 3, stride=1)[:, 0]
    compared = [(gradients, inner)]
    return [(stack[:, :, None], weight), *compared] if similarity.image else compared


def _smooth_part(stack: torch.Tensor, sigma: float, weight: torch.Tensor | None) -> torch.Tensor:
    """What a Gaussian of `sigma` px leaves of (B, N, H, W), of the pixels that count alone."""
    if weight is None:
        return gaussian_blur(stack, (sigma, sigma))
    cover = (weight if weight.ndim == 3 else weight[None])[:, None].to(stack.dtype)
    return gaussian_blur(stack * cover, (sigma, sigma)) / gaussian_blur(cover, (sigma, sigma)).clamp_min(1e-6)


def _term(
    channels: torch.Tensor,
    size: int,
    overlap: int,
    similarity: Similarity,
    weight: torch.Tensor | None,
    curvature: bool = False,
) -> PatchEquations:
    """One term of images (B, P + 2, C, H, W) over patches of `size`."""
    gram = _patch_grams(channels, size, overlap, weight).double()  # (B, L, P + 2, P + 2)
    norm_image, norm_xray, share, ncc = _agreement(gram, similarity)
    robust = similarity.robust

    along = gram[..., 1:-1, 0] / norm_image[..., None]  # a'J
    towards = gram[..., 1:-1, -1] / norm_xray[..., None]  # b'J
    gradient = -(towards - along * ncc[..., None]) / norm_image[..., None]
    hessian = (gram[..., 1:-1, 1:-1] - along[..., :, None] * along[..., None, :]) / norm_image[..., None, None] ** 2
    cost = 1 - ncc
    slope = share
    if robust is not None and size != 0:
        slope = share / (1 + cost / robust) ** 2
        cost = cost / (1 + cost / robust)
    empty = (1 - share.sum(dim=1, keepdim=True)) / share.shape[1]  # a flat X-ray costs as much as an unlike one
    # The cost is -a'b and b is only ncc a, and what nothing explains: its second derivative is ncc Ja'Ja.
    bend = slope * ncc.clamp_min(0.0) if curvature else slope
    return PatchEquations(share * cost + empty, slope[..., None] * gradient, bend[..., None, None] * hessian)


def _patch_grams(channels: torch.Tensor, size: int, overlap: int, weight: torch.Tensor | None) -> torch.Tensor:
    """Inner products (B, L, N, N) of the centred images (B, N, C, H, W) in each of L patches."""
    batch, n, count, height, width = channels.shape
    if size == 0 or size >= min(height, width):
        flat = channels.reshape(batch, 1, n, count, height * width)
        part = None if weight is None else weight.reshape(-1, 1, height * width)
    else:
        stride = max(1, size // overlap)
        windows = channels.unfold(3, size, stride).unfold(4, size, stride)  # (B, N, C, Lh, Lw, size, size)
        flat = windows.permute(0, 3, 4, 1, 2, 5, 6).reshape(batch, -1, n, count, size * size)
        part = None
        if weight is not None:
            part = weight.unfold(1, size, stride).unfold(2, size, stride).reshape(len(weight), -1, size * size)
    if part is None:
        centred = (flat - flat.mean(dim=-1, keepdim=True)).flatten(-2)
        return centred @ centred.transpose(-1, -2)
    part = torch.where(part.mean(dim=-1, keepdim=True) >= _LEAST_COVER, part, 0.0) if size else part
    part = part[:, :, None, None]
    mean = (flat * part).sum(dim=-1, keepdim=True) / part.sum(dim=-1, keepdim=True).clamp_min(1e-12)
    centred = ((flat - mean) * part.sqrt()).flatten(-2)
    return centred @ centred.transpose(-1, -2)
