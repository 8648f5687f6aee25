"""Similarities of other programs, for the baselines: written as they compute them, differentiable by torch."""

from __future__ import annotations

import torch
import torch.nn.functional as functional

from XVRegistrationLib.registration.similarity import sobel

XVR_PATCH, XVR_GRADIENT_PATCH = 9, 11  # px
_EPSILON = 1e-5  # added to variances
_XVR_MEAN, _XVR_SPREAD = 0.15, 0.1  # xvr presents images as (min-max scaled - mean) / spread


def xvr_presented(image: torch.Tensor) -> torch.Tensor:
    """An image (H, W) as xvr compares it: scaled to 0..1, then by its constants of normalisation; float64."""
    image = image.double()
    scaled = (image - image.amin()) / (image.amax() - image.amin() + 1e-6)
    return (scaled - _XVR_MEAN) / _XVR_SPREAD


def xvr_similarity(image: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
    """Half multiscale NCC (whole image and patches, half each), half NCC of patches of the Sobel gradients; images (H, W)."""
    multiscale = 0.5 * ncc(image, fixed) + 0.5 * ncc(image, fixed, XVR_PATCH)
    # 8: xvr's Sobel filter is not divided by its weight; its zero padding is kept, with the frame that it draws.
    a, b = (8 * sobel(functional.pad(x[None], (1, 1, 1, 1)))[0] for x in (image, fixed))
    return 0.5 * multiscale + 0.5 * ncc(a, b, XVR_GRADIENT_PATCH)


def psss_presented(image: torch.Tensor) -> torch.Tensor:
    """An image (H, W) as PSSS compares it: standardised, then through a sigmoid; float64. Its scale to 0..1 changes no ZNCC."""
    image = image.double()
    return torch.sigmoid((image - image.mean()) / (image.var(correction=0) + _EPSILON).sqrt())


def ncc(a: torch.Tensor, b: torch.Tensor, patch: int | None = None) -> torch.Tensor:
    """Mean normalised cross-correlation of images (..., H, W), float64: of the whole, or of all patches of side `patch` px.

    An image smaller than a patch is compared as a whole.
    """
    a, b = (x.reshape(-1, 1, *x.shape[-2:]) for x in (a, b))
    if patch is None or patch > min(a.shape[-2:]):
        a, b = (x - x.mean(dim=(-2, -1), keepdim=True) for x in (a, b))
        ab, aa, bb = ((x * y).mean(dim=(-2, -1)) for x, y in ((a, b), (a, a), (b, b)))
    else:
        mean_a, mean_b = _box(a, patch), _box(b, patch)
        ab = _box(a * b, patch) - mean_a * mean_b
        aa, bb = (_box(x * x, patch) - mean.square() for x, mean in ((a, mean_a), (b, mean_b)))
    return (ab / ((aa.clamp_min(0) + _EPSILON) * (bb.clamp_min(0) + _EPSILON)).sqrt()).mean()


def _box(images: torch.Tensor, size: int) -> torch.Tensor:
    """Means over all windows of side `size`, one direction after the other."""
    return functional.avg_pool2d(functional.avg_pool2d(images, (size, 1), 1), (1, size), 1)
