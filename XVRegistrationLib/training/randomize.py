"""Random detectors and processing, so that a network sees patients and not one renderer's grey values."""

from __future__ import annotations

import torch
import torch.nn.functional as functional

from XVRegistrationLib.rendering.detector import SystemRange, detected, draw_detectors

SYSTEMS = SystemRange(
    # Of this coarse image's pixels, after averaging over the detector's finer ones, which takes the electronics' noise away.
    photons=(1.8e3, 1.6e5),
    electronic_noise=(0.0, 0.0),
    scatter_to_primary=(0.03, 1.5),
    # A power of the signal is a factor of its logarithm, which is stretched to the same range in any case.
    gamma=(1.0, 1.0),
)
"""What trainings draw detectors from."""


def randomized(images: torch.Tensor, spacing: tuple[float, float], generator: torch.Generator) -> torch.Tensor:
    """Line integrals (B, H, W) as different X-ray systems would show them: detector, display curve, sharpening, collimation.

    Each image draws its own parameters; `spacing` is that of its pixels on the detector (dx, dy), mm. What is shown is a
    logarithm from 0 to 1. Ranges follow published domain randomisation.
    """
    batch = len(images)

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(batch, 1, 1, generator=generator, device=images.device) * (high - low) + low

    detectors = draw_detectors(batch, generator, SYSTEMS)
    shown = -torch.log(detected(images * uniform(0.7, 1.4), spacing, detectors, generator))
    low, high = shown.amin(dim=(1, 2), keepdim=True), shown.amax(dim=(1, 2), keepdim=True)
    shown = ((shown - low) / (high - low).clamp_min(1e-6)) ** torch.exp(uniform(-0.4, 0.4))
    around = functional.pad(shown[:, None], (1, 1, 1, 1), mode="replicate")
    blurred = functional.conv2d(around, shown.new_full((1, 1, 3, 3), 1 / 9))[:, 0]
    shown = torch.lerp(shown, blurred, uniform(-0.3, 0.0))
    return _collimated(shown, generator)


def _collimated(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Every third image loses up to a tenth of its width behind a collimator's blade on each side."""
    batch, height, width = images.shape
    edges = torch.rand(batch, 4, generator=generator, device=images.device) * 0.1
    edges = edges * (torch.rand(batch, 1, generator=generator, device=images.device) < 1 / 3)
    x = torch.linspace(0, 1, width, device=images.device)
    y = torch.linspace(0, 1, height, device=images.device)
    open_x = (x >= edges[:, :1]) & (x <= 1 - edges[:, 1:2])
    open_y = (y >= edges[:, 2:3]) & (y <= 1 - edges[:, 3:])
    covered = ~(open_y[:, :, None] & open_x[:, None, :])
    return torch.where(covered, images.amax(dim=(1, 2), keepdim=True), images)
