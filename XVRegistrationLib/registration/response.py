"""What the detector makes of the line integrals, estimated with the pose: scatter, blur and contrast.

Left alone, each of them bends or widens edges, and the pose answers with depth. The model of the logarithmic image is

    t = exp(-p) + k G(40 mm) * exp(-p)       radiation: primary and, k times as much, smooth, the scattered
    b = -ln(t + (s2 / 2) lap(t))             under a blur of variance s2, px^2, in two passes
    r = b + c b |b| / max |b|                on a curve that is bent

and its derivatives by the pose follow from the rendered ones by the chain rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as functional

from XVRegistrationLib.imaging.blur import wide_blur

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics

NAMES = ("scatter", "blur", "contrast")
"""The parameters: scattered over primary radiation; variance of the blur, px^2; bend of the contrast curve."""
NEUTRAL = (0.0, 0.0, 0.0)
"""A detector that changes nothing."""
LIMITS = ((0.0, 4.0), (0.0, 1.0), (-0.35, 0.6))
"""Lowest and highest value of each; the blur's is what two passes over the neighbours do without sharpening."""

_SCATTER_MM = 40.0  # on the detector; published kernels span 20..60 mm


def respond(
    images: torch.Tensor,
    jacobians: torch.Tensor,
    values: torch.Tensor,
    camera: Intrinsics,
    opening: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Responses (B, H, W) to line integrals (B, H, W) with derivatives (B, P, H, W), and their derivatives (B, P + 3, H, W).

    `values` (B, 3) are the parameters of each; the last three derivatives are by them. `opening` (H, W), 0..1, is what a
    collimator leaves open: only from there comes scatter.
    """
    scatter, blur, bend = values.to(images.dtype)[:, :, None, None].unbind(dim=1)
    primary = torch.exp(-images)
    open_ = 1.0 if opening is None else opening
    smooth = _smooth(primary * open_, camera)
    by_pose = -primary[:, None] * jacobians
    if bool((scatter > 0).any()):
        # Scatter follows the pose as well, smoothly.
        moved = _smooth((by_pose * open_).flatten(0, 1), camera).reshape(jacobians.shape)
        by_pose = by_pose + scatter[:, None] * moved
    stack = torch.cat([(primary + scatter * smooth)[:, None], by_pose, smooth[:, None]], dim=1)
    half = blur[:, None] / 4
    once = stack + half * _laplacian(stack)
    radiation = once + half * _laplacian(once)
    total = radiation[:, :1]
    image = -torch.log(total)
    derivatives = -torch.cat([radiation[:, 1:], 0.5 * _laplacian(once[:, :1])], dim=1) / total
    # The bend, whose span follows the image as well.
    size = image.abs().flatten(1)
    highest = size.argmax(dim=1)
    span = size.amax(dim=1).clamp_min(1e-6)[:, None, None, None]
    each = torch.arange(len(images))
    by_span = derivatives.flatten(2)[each, :, highest] * torch.sign(image.flatten(1)[each, highest])[:, None]
    curve = image * image.abs() / span
    bend = bend[:, None]
    slope = 1 + 2 * bend * image.abs() / span
    derivatives = derivatives * slope - bend * curve / span * by_span[:, :, None, None]
    return (image + bend * curve)[:, 0], torch.cat([derivatives, curve], dim=1)


def clipped(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Parameters (..., 3) within their limits."""
    low, high = np.array(LIMITS).T
    within: NDArray[np.float64] = np.clip(values, low, high)
    return within


def _laplacian(stack: torch.Tensor) -> torch.Tensor:
    """Five-point Laplacian of (B, N, H, W), per px^2, the border repeated."""
    padded = functional.pad(stack, (1, 1, 1, 1), mode="replicate")
    across = padded[:, :, 1:-1, :-2] + padded[:, :, 1:-1, 2:]
    down = padded[:, :, :-2, 1:-1] + padded[:, :, 2:, 1:-1]
    return across + down - 4 * stack


def _smooth(images: torch.Tensor, camera: Intrinsics) -> torch.Tensor:
    """Images (N, H, W) under a Gaussian of the scatter's width, made on blocks and interpolated."""
    dx, dy = camera.spacing
    return wide_blur(images, (_SCATTER_MM / dy, _SCATTER_MM / dx))
