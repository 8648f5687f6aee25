"""Random detectors and processing, so that a network sees patients and not one renderer's grey values."""

from __future__ import annotations

import torch
import torch.nn.functional as functional


def randomized(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Line integrals (B, H, W) as different X-ray systems would show them: scatter, noise, gamma, blur, collimation.

    Each image draws its own parameters. Ranges follow published domain randomisation, with scatter-to-primary ratios to 1.
    """
    batch, height, width = images.shape

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(batch, 1, 1, generator=generator, device=images.device) * (high - low) + low

    intensity = torch.exp(-images * uniform(0.7, 1.4))
    # Scatter is the intensity itself, seen through a very wide blur: a few pixels across the whole image are enough.
    coarse = functional.adaptive_avg_pool2d(intensity[:, None], 5)
    smooth = functional.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)[:, 0].clamp_min(
        0
    )
    intensity = intensity + smooth * torch.exp(uniform(-3.5, 0.0))
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    # Photons per pixel of this coarse image, after averaging over the detector's finer pixels.
    photons = torch.exp(uniform(7.5, 12.0))
    intensity = intensity + noise * (intensity.clamp_min(1e-6) / photons).sqrt()
    shown = -torch.log(intensity.clamp_min(1e-4))
    low, high = shown.amin(dim=(1, 2), keepdim=True), shown.amax(dim=(1, 2), keepdim=True)
    shown = ((shown - low) / (high - low).clamp_min(1e-6)) ** torch.exp(uniform(-0.4, 0.4))
    blurred = functional.avg_pool2d(shown[:, None], 3, stride=1, padding=1, count_include_pad=False)[:, 0]
    shown = torch.lerp(shown, blurred, uniform(-0.3, 0.7))
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
