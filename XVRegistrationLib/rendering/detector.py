"""What an X-ray system makes of -ln(I / I0): scatter, blur, noise, saturation and a curve. Apart from the projection, and seeded.

    I = exp(-p)                          primary, 1 in the open field
    F = G(focal spot) * I                seen from an extended source
    S = k G(scatter) * (I p)             scattered: from where radiation is lost, and arrives
    N = F + S + sqrt((F + S) / n) e      n photons a pixel in the open field, e normal: Poisson's mean and variance
    D = G(scintillator) * N + s / n e'   light spreads, noise with it; the electronics add theirs
    signal = gain min(D, saturation)^gamma

Every step is smooth in p but the clipping, so that gradients flow through it, noise included (it is drawn beforehand).
Training draws its detectors here (`training.randomize`). The evaluation's X-rays have one of their own
(`evaluation.simulation`), which shares nothing with this one: what is learnt must not be what is tested on.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.blur import blur_each, gaussian_blur, wide_blur
from XVRegistrationLib.rendering.spectrum import Scintillator, Tube

if TYPE_CHECKING:
    from collections.abc import Sequence

SCATTER_REFERENCE = 4.0
"""-ln(I / I0) behind which `scatter_to_primary` is stated: some 20 cm of water."""
# Nothing is darker than half a photon, or than this where they are not counted.
_DARKEST = 1e-7
_BLOCK = 0.1  # sigma of the scatter: the blocks that it is made on

Setting = float | torch.Tensor


@dataclass(frozen=True)
class DetectorSettings:
    """An X-ray system's settings, by default a perfect one; or those of B systems, wherever a tensor (B,) stands for a number."""

    photons: Setting = math.inf
    """Detected photons a pixel in the open field; infinite: no noise."""
    electronic_noise: Setting = 0.0
    """Standard deviation, photons a pixel; none where these are infinitely many."""
    scatter_to_primary: Setting = 0.0
    """Scattered over primary radiation in the middle of a wide, even body with -ln(I / I0) = 4; it grows with what is crossed."""
    scatter_sigma_mm: Setting = 40.0
    """Width of the scatter on the detector, mm."""
    focal_spot_sigma_px: Setting = 0.0
    scintillator_sigma_px: Setting = 0.0
    saturation: Setting = math.inf
    """Signal at which the detector is full; the open field is 1."""
    gain: Setting = 1.0
    """Grey level of the open field."""
    gamma: Setting = 1.0
    """Exponent of the signal: the slope of a logarithmic image."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            positive = field.name in ("photons", "scatter_sigma_mm", "saturation", "gain", "gamma")
            endless = field.name in ("photons", "saturation")
            # What is not a number is both the least and the greatest.
            for wrong in map(float, value.aminmax()) if isinstance(value, torch.Tensor) else (float(value),):
                if not (wrong > 0 if positive else wrong >= 0) or (wrong == math.inf and not endless):
                    raise InputError(
                        f"A detector's {field.name} must be {'positive' if positive else 'zero or more'}, not {wrong:g}."
                    )

    @staticmethod
    def together(settings: Sequence[DetectorSettings]) -> DetectorSettings:
        """Systems that were set one by one as one."""
        found: dict[str, Setting] = {}
        for field in dataclasses.fields(DetectorSettings):
            values = [float(getattr(s, field.name)) for s in settings]
            found[field.name] = values[0] if len(set(values)) == 1 else torch.tensor(values, dtype=torch.float64)
        return DetectorSettings(**found)


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


def draw_detectors(count: int, generator: torch.Generator, ranges: SystemRange) -> DetectorSettings:
    """So many detectors drawn between bounds, on the generator's device; what may have one value only is a number."""

    def uniform(low: float, high: float) -> Setting:
        if low == high:
            return low
        return torch.rand(count, generator=generator, device=generator.device) * (high - low) + low

    def logarithmic(low: float, high: float) -> Setting:
        return low if low == high else torch.exp(torch.as_tensor(uniform(math.log(low), math.log(high))))

    return DetectorSettings(
        photons=logarithmic(*ranges.photons),
        electronic_noise=uniform(*ranges.electronic_noise),
        scatter_to_primary=logarithmic(*ranges.scatter_to_primary),
        scatter_sigma_mm=uniform(*ranges.scatter_sigma_mm),
        focal_spot_sigma_px=uniform(*ranges.blur_sigma_px),
        gamma=uniform(*ranges.gamma),
    )


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
    d = detector if isinstance(detector, DetectorSettings) else DetectorSettings.together(detector)
    counts = {len(v) for v in vars(d).values() if isinstance(v, torch.Tensor)}
    if not isinstance(detector, DetectorSettings):
        counts.add(len(detector))
    if counts - {len(images)}:
        raise InputError(f"There are {len(images)} images and {max(counts)} detectors; give one, or one for each.")
    return _detected(images, spacing, d, generator)


def _detected(
    images: torch.Tensor, spacing: tuple[float, float], d: DetectorSettings, generator: torch.Generator | None
) -> torch.Tensor:
    primary = torch.exp(-images)
    signal = _blurred(primary, d.focal_spot_sigma_px)
    if _any(d.scatter_to_primary):
        share = _each(d.scatter_to_primary, images) / SCATTER_REFERENCE
        signal = torch.addcmul(signal, share, _scattered(primary * images, spacing, d.scatter_sigma_mm))
    counted = isinstance(d.photons, torch.Tensor) or math.isfinite(d.photons)
    photons = _each(d.photons, images)
    least = darkest(photons)
    if counted:
        deviation = (torch.maximum(signal, least) / photons).sqrt()
        signal = torch.addcmul(signal, deviation, _normal(images, generator))
    signal = _blurred(signal, d.scintillator_sigma_px)
    if counted and _any(d.electronic_noise):
        signal = torch.addcmul(signal, _each(d.electronic_noise, images) / photons, _normal(images, generator))
    signal = torch.maximum(signal, least)
    if _any(d.saturation, math.inf):
        signal = torch.minimum(signal, _each(d.saturation, images))
    if _any(d.gamma, 1.0):
        signal = signal ** _each(d.gamma, images)
    return signal * _each(d.gain, images) if _any(d.gain, 1.0) else signal


def darkest(photons: torch.Tensor) -> torch.Tensor:
    """The least signal that a detector which counts so many photons in the open field can show."""
    return (0.5 / photons).clamp_min(_DARKEST)


def _any(value: Setting, usual: float = 0.0) -> bool:
    """Whether a setting may differ from what changes nothing."""
    return isinstance(value, torch.Tensor) or value != usual


def _each(value: Setting, images: torch.Tensor) -> torch.Tensor:
    """A setting as (B, 1, 1) or (1, 1, 1), as precise as the images and where they are."""
    return torch.as_tensor(value, dtype=images.dtype, device=images.device).reshape(-1, 1, 1)


def _scattered(lost: torch.Tensor, spacing: tuple[float, float], sigma_mm: Setting) -> torch.Tensor:
    if isinstance(sigma_mm, torch.Tensor):
        return blur_each(lost, (sigma_mm / spacing[1], sigma_mm / spacing[0]))
    return wide_blur(lost, (sigma_mm / spacing[1], sigma_mm / spacing[0]), _BLOCK)


def _blurred(images: torch.Tensor, sigma: Setting) -> torch.Tensor:
    if isinstance(sigma, torch.Tensor):
        return blur_each(images, sigma)
    return gaussian_blur(images[:, None], (sigma, sigma))[:, 0] if sigma > 0 else images


def _normal(images: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    if generator is None:
        raise InputError("A detector with noise needs a seeded generator: torch.Generator().manual_seed(SEED).")
    return torch.randn(images.shape, generator=generator, device=generator.device, dtype=images.dtype).to(images.device)
