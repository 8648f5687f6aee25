"""What an X-ray system makes of -ln(I / I0): scatter, blur, noise, saturation and a curve. Apart from the projection, and seeded.

    I = exp(-p)                          primary, 1 in the open field
    F = G(focal spot) * I                seen from an extended source
    S = k G(scatter) * (I p)             scattered: from where radiation is lost, and arrives
    N = F + S + sqrt((F + S) / n) e      n photons a pixel in the open field, e normal: Poisson's mean and variance
    D = G(scintillator) * N + s / n e'   light spreads, noise with it; the electronics add theirs
    signal = gain min(D, saturation)^gamma

Every step is smooth in p but the clipping, so that gradients flow through it, noise included (it is drawn beforehand).
The evaluation's X-rays have a detector of their own (`evaluation.simulation`), which shares nothing with this one: what is
tested must not be what is tested on.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.blur import gaussian_blur, wide_blur
from XVRegistrationLib.rendering.spectrum import Scintillator, Tube

if TYPE_CHECKING:
    from collections.abc import Sequence

SCATTER_REFERENCE = 4.0
"""-ln(I / I0) behind which `scatter_to_primary` is stated: some 20 cm of water."""
# Nothing is darker than half a photon, or than this where they are not counted.
_DARKEST = 1e-7


@dataclass(frozen=True)
class DetectorSettings:
    """An X-ray system's settings; by default a perfect one."""

    photons: float = math.inf
    """Detected photons a pixel in the open field; infinite: no noise."""
    electronic_noise: float = 0.0
    """Standard deviation, photons a pixel; none where these are infinitely many."""
    scatter_to_primary: float = 0.0
    """Scattered over primary radiation in the middle of a wide, even body with -ln(I / I0) = 4; it grows with what is crossed."""
    scatter_sigma_mm: float = 40.0
    """Width of the scatter on the detector, mm."""
    focal_spot_sigma_px: float = 0.0
    scintillator_sigma_px: float = 0.0
    saturation: float = math.inf
    """Signal at which the detector is full; the open field is 1."""
    gain: float = 1.0
    """Grey level of the open field."""
    gamma: float = 1.0
    """Exponent of the signal: the slope of a logarithmic image."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            positive = field.name in ("photons", "scatter_sigma_mm", "saturation", "gain", "gamma")
            endless = field.name in ("photons", "saturation")
            if not (value > 0 if positive else value >= 0) or (math.isinf(value) and not endless):
                raise InputError(
                    f"A detector's {field.name} must be {'positive' if positive else 'zero or more'}, not {value:g}."
                )


@dataclass(frozen=True)
class SystemRange:
    """Bounds between which X-ray systems are drawn: what radiography and fluoroscopy span, and published randomisation uses."""

    kvp: tuple[float, float] = (60.0, 120.0)
    aluminium_mm: tuple[float, float] = (2.5, 6.0)
    copper_mm: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3, 0.6)
    """One of these."""
    scintillator_um: tuple[float, float] = (400.0, 700.0)
    photons: tuple[float, float] = (3e2, 1e5)
    """Drawn evenly on a logarithmic scale, as scatter is."""
    electronic_noise: tuple[float, float] = (0.0, 10.0)
    scatter_to_primary: tuple[float, float] = (0.05, 1.5)
    scatter_sigma_mm: tuple[float, float] = (20.0, 60.0)
    blur_sigma_px: tuple[float, float] = (0.0, 1.5)
    """Of focal spot and scintillator together."""
    gamma: tuple[float, float] = (0.7, 1.8)


def draw_system(
    generator: torch.Generator, ranges: SystemRange | None = None
) -> tuple[Tube, Scintillator, DetectorSettings]:
    """A tube, a scintillator and a detector drawn between bounds; the same for the same state of the generator."""
    r = ranges or SystemRange()

    def uniform(low: float, high: float) -> float:
        share = float(torch.rand((), generator=generator, device=generator.device, dtype=torch.float64))
        return low + (high - low) * share

    def logarithmic(low: float, high: float) -> float:
        return math.exp(uniform(math.log(low), math.log(high)))

    copper = r.copper_mm[min(int(uniform(0, len(r.copper_mm))), len(r.copper_mm) - 1)]
    tube = Tube(uniform(*r.kvp), uniform(*r.aluminium_mm), copper)
    scintillator = Scintillator(uniform(*r.scintillator_um))
    blur, angle = uniform(*r.blur_sigma_px), uniform(0, math.pi / 2)  # variances add
    detector = DetectorSettings(
        photons=logarithmic(*r.photons),
        electronic_noise=uniform(*r.electronic_noise),
        scatter_to_primary=logarithmic(*r.scatter_to_primary),
        scatter_sigma_mm=uniform(*r.scatter_sigma_mm),
        focal_spot_sigma_px=blur * math.cos(angle),
        scintillator_sigma_px=blur * math.sin(angle),
        gamma=uniform(*r.gamma),
    )
    return tube, scintillator, detector


def detected(
    images: torch.Tensor,
    spacing: tuple[float, float],
    detector: DetectorSettings | Sequence[DetectorSettings],
    generator: torch.Generator | None = None,
) -> torch.Tensor:
    """Signals (B, H, W) of -ln(I / I0) (B, H, W), `gain` in the open field; each of its own detector where several are given.

    `spacing` is that of the detector's pixels (dx, dy), mm. Noise needs a `generator`; the same one in the same state
    makes the same noise. Raises InputError where there is noise to be made and no generator, or another number of detectors.
    """
    if images.ndim != 3:
        raise InputError(f"Images must be (B, H, W), not {tuple(images.shape)}.")
    if isinstance(detector, DetectorSettings):
        return _detected(images, spacing, detector, generator)
    if len(detector) != len(images):
        raise InputError(f"There are {len(images)} images and {len(detector)} detectors; give one, or one for each.")
    return torch.cat([_detected(i[None], spacing, d, generator) for i, d in zip(images, detector, strict=True)])


def _detected(
    images: torch.Tensor, spacing: tuple[float, float], detector: DetectorSettings, generator: torch.Generator | None
) -> torch.Tensor:
    primary = torch.exp(-images)
    signal = _blurred(primary, detector.focal_spot_sigma_px)
    if detector.scatter_to_primary > 0:
        sigma = (detector.scatter_sigma_mm / spacing[1], detector.scatter_sigma_mm / spacing[0])
        scattered = wide_blur(primary * images, sigma, block=0.1)
        signal = signal + detector.scatter_to_primary / SCATTER_REFERENCE * scattered
    darkest = _DARKEST
    if math.isfinite(detector.photons):
        darkest = 0.5 / detector.photons
        noise = _normal(images, generator)
        signal = signal + (signal.clamp_min(darkest) / detector.photons).sqrt() * noise
    signal = _blurred(signal, detector.scintillator_sigma_px)
    if detector.electronic_noise > 0 and math.isfinite(detector.photons):
        signal = signal + detector.electronic_noise / detector.photons * _normal(images, generator)
    return detector.gain * signal.clamp(darkest, detector.saturation) ** detector.gamma


def _blurred(images: torch.Tensor, sigma: float) -> torch.Tensor:
    return gaussian_blur(images[:, None], (sigma, sigma))[:, 0] if sigma > 0 else images


def _normal(images: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    if generator is None:
        raise InputError("A detector with noise needs a seeded generator: torch.Generator().manual_seed(SEED).")
    return torch.randn(images.shape, generator=generator, device=generator.device, dtype=images.dtype).to(images.device)
