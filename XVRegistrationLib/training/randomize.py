"""Random detectors and processing, so that a network sees patients and not one renderer's grey values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as functional

from XVRegistrationLib.rendering.detector import (
    SCATTER_REFERENCE,
    DetectorSettings,
    SystemRange,
    darkest,
    detected,
    draw_detectors,
)
from XVRegistrationLib.training.xray_kernel import show

SYSTEMS = SystemRange(
    # Of this coarse image's pixels, after averaging over the detector's finer ones, which takes the electronics' noise away.
    photons=(1.8e3, 1.6e5),
    electronic_noise=(0.0, 0.0),
    scatter_to_primary=(0.03, 1.5),
    # A power of the signal is a factor of its logarithm, which is stretched to the same range in any case.
    gamma=(1.0, 1.0),
)
"""What trainings draw detectors from."""
BLOCK = 0.9  # sigma of the scatter: the blocks whose means it is made from


@dataclass(frozen=True)
class Appearance:
    """How each of B images is detected and shown."""

    thickness: torch.Tensor
    """(B, 1, 1): factor of the line integrals."""
    detectors: DetectorSettings
    power: torch.Tensor
    """(B, 1, 1): of the logarithm that was stretched to 0..1."""
    sharpening: torch.Tensor
    """(B, 1, 1): share of what differs from the nine pixels about each that is added."""
    covered: torch.Tensor
    """(B, 4): px behind a collimator's blades at the left, right, top and bottom."""


def draw_appearance(images: torch.Tensor, generator: torch.Generator) -> Appearance:
    """An appearance for images (B, H, W), drawn from what radiography spans and published domain randomisation uses."""
    batch, height, width = images.shape

    def uniform(low: float, high: float) -> torch.Tensor:
        return torch.rand(batch, 1, 1, generator=generator, device=images.device) * (high - low) + low

    # Every third image loses up to a tenth of its width on each side.
    edges = torch.rand(batch, 5, generator=generator, device=images.device)
    last = torch.tensor((width - 1, width - 1, height - 1, height - 1), device=images.device)
    covered = torch.ceil(0.1 * edges[:, :4] * last) * (edges[:, 4:] < 1 / 3)
    return Appearance(
        uniform(0.7, 1.4),
        draw_detectors(batch, generator, SYSTEMS),
        torch.exp(uniform(-0.4, 0.4)),
        uniform(0.0, 0.3),
        covered,
    )


def randomized(images: torch.Tensor, spacing: tuple[float, float], generator: torch.Generator) -> torch.Tensor:
    """Line integrals (B, H, W) as different X-ray systems would show them: detector, display curve, sharpening, collimation.

    Each image draws its own appearance; `spacing` is that of its pixels on the detector (dx, dy), mm. What is shown is a
    logarithm from 0 to 1.
    """
    appearance = draw_appearance(images, generator)
    if images.device.type != "cpu":
        return shown_by(images, spacing, appearance, generator)
    noise = torch.randn(images.shape, generator=generator)
    block = max(1, round(BLOCK * SYSTEMS.scatter_sigma_mm[0] / max(spacing)))
    return show(images, noise, _settings(appearance, images, spacing), block)


def shown_by(
    images: torch.Tensor, spacing: tuple[float, float], appearance: Appearance, generator: torch.Generator
) -> torch.Tensor:
    """`randomized` by an appearance: what `xray_kernel` is to give on a CPU, in torch, for any device."""
    shown = torch.log(detected(images * appearance.thickness, spacing, appearance.detectors, generator))
    low, high = shown.amin(dim=(1, 2), keepdim=True), shown.amax(dim=(1, 2), keepdim=True)
    shown = ((high - shown) / (high - low).clamp_min(1e-6)) ** appearance.power
    around = functional.pad(shown[:, None], (1, 1, 1, 1), mode="replicate")
    nine = functional.conv2d(around, shown.new_full((1, 1, 3, 3), 1 / 9))[:, 0]
    shown = shown + appearance.sharpening * (shown - nine)
    x, y = (torch.arange(n, device=images.device) for n in (shown.shape[2], shown.shape[1]))
    left, right, top, bottom = appearance.covered.unsqueeze(2).unbind(1)
    open_x, open_y = (x >= left) & (x < len(x) - right), (y >= top) & (y < len(y) - bottom)
    covered = ~(open_y[:, :, None] & open_x[:, None, :])
    return torch.where(covered, shown.amax(dim=(1, 2), keepdim=True), shown)


def _settings(appearance: Appearance, images: torch.Tensor, spacing: tuple[float, float]) -> torch.Tensor:
    """(B, 13): an appearance as the kernel takes it."""
    a, d = appearance, appearance.detectors
    left, right, top, bottom = a.covered.unbind(1)
    photons, wide = torch.as_tensor(d.photons), torch.as_tensor(d.scatter_sigma_mm)
    columns = (
        a.thickness,
        d.focal_spot_sigma_px,
        wide / spacing[1],
        wide / spacing[0],
        torch.as_tensor(d.scatter_to_primary) / SCATTER_REFERENCE,
        photons,
        darkest(photons),
        a.power,
        a.sharpening,
        left,
        images.shape[2] - right,
        top,
        images.shape[1] - bottom,
    )
    settings = torch.empty(len(images), len(columns))
    for column, values in zip(settings.unbind(1), columns, strict=True):
        column.copy_(torch.as_tensor(values).flatten())
    return settings
