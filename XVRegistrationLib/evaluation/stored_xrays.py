"""Simulated X-rays as programs store them: inverted, as a logarithm, for a display, behind blades."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.evaluation.simulation import draw_detector, expose
from XVRegistrationLib.geometry.camera import Intrinsics

if TYPE_CHECKING:
    from numpy.typing import NDArray

STORED = ("plain", "display", "blades")
"""As it is; windowed to 8 bits with edges enhanced; behind blades."""


def stored_as(p: NDArray[np.float32], meaning: str, how: str, seed: tuple[int, ...]) -> NDArray[np.float32]:
    """The X-ray (H, W) of line integrals with one of imaging.picture_meaning.MEANINGS, in one of the ways of STORED."""
    rng = np.random.default_rng(seed)
    camera = Intrinsics.centered(1020.0, (2.0, 2.0), p.shape[::-1])
    exposed, _ = expose(p, camera, draw_detector(rng), rng)
    pixels = exposed.astype(np.float32)
    if how == "blades":
        pixels = np.where(_field(p.shape, rng), pixels, rng.poisson(rng.uniform(5e-4, 5e-3) * pixels.max(), p.shape))
    pixels = pixels / pixels.max()
    values = -np.log(np.maximum(pixels, 1e-4)) if meaning.endswith("attenuation") else pixels
    if meaning.startswith("inverted"):
        values = values.max() - values
    return _displayed(values, rng) if how == "display" else values.astype(np.float32)


def _field(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.bool_]:
    """A turned rectangle, or a circle."""
    y, x = np.mgrid[: shape[0], : shape[1]] - (np.array(shape)[:, None, None] - 1) / 2
    angle, (w, h) = rng.uniform(-0.5, 0.5), rng.uniform(0.3, 0.52, 2) * min(shape)
    if rng.random() < 0.3:
        return np.hypot(x, y) < w
    return (abs(np.cos(angle) * x + np.sin(angle) * y) < w) & (abs(np.cos(angle) * y - np.sin(angle) * x) < h)


def _displayed(values: NDArray[np.floating[Any]], rng: np.random.Generator) -> NDArray[np.float32]:
    """Edges enhanced, windowed with both ends cut, and 8 bits."""
    from scipy.ndimage import gaussian_filter

    sharp = values + rng.uniform(0, 1) * (values - gaussian_filter(values, rng.uniform(2, 8)))
    low, high = np.percentile(sharp, [rng.uniform(0, 3), rng.uniform(96, 100)])
    return np.round(255 * np.clip((sharp - low) / max(high - low, 1e-9), 0, 1)).astype(np.float32)
