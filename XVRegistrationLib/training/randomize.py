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
    signal = detected(images * uniform(0.7, 1.4), spacing, detectors, generator)
    shown = signal.log_()  # dark where the body is: turned around as it is stretched
    low, high = shown.amin(dim=(1, 2), keepdim=True), shown.amax(dim=(1, 2), keepdim=True)
    shown.sub_(high).mul_(-1 / (high - low).clamp_min(1e-6))
    # A power, as a factor of the logarithm: a third of the time. That of 0 is 0.
    shown.log_().mul_(torch.exp(uniform(-0.4, 0.4))).exp_()
    return _collimated(_sharpened(shown, uniform(0.0, 0.3)), generator)


def _sharpened(images: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
    """Images (B, H, W) less `amount` (B, 1, 1) of the mean of the nine pixels about each, and so much the more of themselves."""
    around = functional.pad(images[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    rows = (around[:, :-2] + around[:, 1:-1]).add_(around[:, 2:])
    nine = (rows[:, :, :-2] + rows[:, :, 1:-1]).add_(rows[:, :, 2:])
    return torch.addcmul(nine.mul_(amount / -9), images, 1 + amount)


def _collimated(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Every third image loses up to a tenth of its width behind a collimator's blade on each side; in place."""
    batch, height, width = images.shape
    edges = torch.rand(batch, 4, generator=generator, device=images.device) * 0.1
    edges = edges * (torch.rand(batch, 1, generator=generator, device=images.device) < 1 / 3)
    x = torch.linspace(0, 1, width, device=images.device)
    y = torch.linspace(0, 1, height, device=images.device)
    open_x = (x >= edges[:, :1]) & (x <= 1 - edges[:, 1:2])
    open_y = (y >= edges[:, 2:3]) & (y <= 1 - edges[:, 3:])
    # Nothing is more than the highest, and anything is more than what covers nothing.
    highest = images.amax(dim=(1, 2))[:, None]
    covers_x, covers_y = (torch.where(uncovered, -torch.inf, highest) for uncovered in (open_x, open_y))
    torch.maximum(images, covers_x[:, None, :], out=images)
    return torch.maximum(images, covers_y[:, :, None], out=images)
