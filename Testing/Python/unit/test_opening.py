"""A collimator's opening is found by its edge where scattered radiation fills the shadow, and open pictures count as a whole."""

from __future__ import annotations

import numpy as np
import pytest

from XVRegistrationLib.evaluation.obstacles import Obstacles, collimator_integral
from XVRegistrationLib.evaluation.simulation import ExposureRange, draw_detector, expose
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.imaging.usable import left_out
from XVRegistrationLib.imaging.xray import Xray

SQUARE = Intrinsics.centered(1000.0, (1.7, 1.7), (256, 256))
WIDE = Intrinsics.centered(1000.0, (1.2, 2.1), (320, 190))
SCATTER = {"usual": ExposureRange(), "strong": ExposureRange(scatter_to_primary=(0.5, 2.0))}
OBSTACLES = Obstacles(opening=(0.45, 0.8), off_centre=0.15)


def body(camera: Intrinsics, seed: int) -> np.ndarray:
    """Line integrals (H, W) of a trunk with lungs, a spine and ribs, somewhere in the picture."""
    rng = np.random.default_rng(seed)
    (width, height), (dx, dy) = camera.size, camera.spacing
    x = ((np.arange(width) - width / 2) * dx - rng.uniform(-60, 60))[None, :]
    y = ((np.arange(height) - height / 2) * dy - rng.uniform(-60, 60))[:, None]
    x, y = x + 0.2 * y, y - 0.2 * x
    trunk = 4.0 * np.sqrt(np.maximum(1 - (x / 170) ** 2 - (y / 420) ** 2, 0))
    lungs = sum(np.sqrt(np.maximum(1 - ((x - c) / 55) ** 2 - ((y + 40) / 110) ** 2, 0)) for c in (-75, 75))
    spine = 1.2 * (np.abs(x) < 18) * (1 + 0.15 * np.sin(y / 5))
    ribs = 0.35 * (np.sin((y + 0.002 * x**2) / 7) > 0.6) * (np.abs(x) < 150)
    return np.maximum(trunk - 1.8 * lungs + spine + ribs * (trunk > 0), 0)


def shown(pixels: np.ndarray, how: str) -> np.ndarray:
    """As intensities, as line integrals, or as a display shows these: windowed, 8 bits, with a curve."""
    if how == "intensity":
        return pixels
    integral = -np.log(np.maximum(pixels, 1) / pixels.max())
    if how == "attenuation":
        return integral
    low, high = np.percentile(integral, [2, 98])
    return np.round(255 * np.clip((integral - low) / (high - low), 0, 1) ** 1.3)


def collimated(pixels: np.ndarray, camera: Intrinsics, how: str) -> np.ndarray:
    scale = "intensity" if how == "intensity" else "attenuation"
    return left_out(Xray("picture", shown(pixels, how), camera, scale)).collimated


@pytest.mark.parametrize("camera", [SQUARE, WIDE], ids=["square pixels", "other pixels"])
@pytest.mark.parametrize("scatter", SCATTER)
@pytest.mark.parametrize("how", ["intensity", "attenuation", "display"])
def test_an_opening_is_found_though_its_shadow_is_full_of_scatter(camera, scatter, how):
    for seed in (1, 2):
        rng = np.random.default_rng((seed, 5))
        blades = collimator_integral(OBSTACLES, camera, rng)
        pixels, _ = expose(body(camera, seed), camera, draw_detector(rng, SCATTER[scatter]), rng, blades)
        found = collimated(pixels, camera, how)
        assert found[blades > 0].mean() > 0.98
        assert found[blades == 0].mean() < 0.06


@pytest.mark.parametrize("camera", [SQUARE, WIDE], ids=["square pixels", "other pixels"])
@pytest.mark.parametrize("scatter", SCATTER)
def test_a_picture_without_blades_counts_as_a_whole(camera, scatter):
    for seed in (1, 2):
        rng = np.random.default_rng((seed, 6))
        pixels, _ = expose(body(camera, seed), camera, draw_detector(rng, SCATTER[scatter]), rng)
        for how in ("intensity", "display"):
            assert not collimated(pixels, camera, how).any()


def test_an_opening_on_a_large_detector_is_cut_to_a_few_of_its_pixels():
    """Of four times the pixels, where what is found on means of 4 x 4 of them is enlarged."""
    camera = SQUARE.resized((1024, 1024))
    y, x = np.mgrid[:1024, :1024]
    inside = np.hypot(x - 560, y - 470) < 330
    rng = np.random.default_rng(3)
    blades = np.where(inside, 0.0, 6.0)
    pixels, _ = expose(body(camera, 1), camera, draw_detector(rng, SCATTER["strong"]), rng, blades)
    found = collimated(pixels, camera, "intensity")
    assert found[~inside].all()
    assert not found[np.hypot(x - 560, y - 470) < 318].any()


def test_a_straight_edge_of_anatomy_within_the_opening_is_no_side_of_it():
    """Air beside a straight limb, parallel to a blade, in a turned rectangle; the limb's other side is dense."""
    y, x = np.mgrid[:256, :256] - 128.0
    u, v = np.cos(0.3) * x + np.sin(0.3) * y, np.cos(0.3) * y - np.sin(0.3) * x
    blades = np.where((np.abs(u) < 90) & (np.abs(v) < 55), 0.0, 6.0)
    integral = np.where(u > -50, 3.0 + 0.01 * u, 0.0)
    rng = np.random.default_rng(0)
    pixels, _ = expose(integral, SQUARE, draw_detector(rng), rng, blades)
    assert collimated(pixels, SQUARE, "intensity")[blades == 0].mean() < 0.06
