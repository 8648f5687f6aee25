"""The detector model: each part against its formula, noise against its statistics, gradients against differences."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.rendering.detector import DetectorSettings, SystemRange, detected, draw_detectors, draw_system

SPACING = (1.5, 2.0)
PERFECT = DetectorSettings()


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> torch.Tensor:
    """-ln(I / I0) (2, H, W), float64, smooth, up to 5."""
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(2, 60, 80)), (0, 5, 5))
    return torch.from_numpy(5 * (noise - noise.min()) / np.ptp(noise))


def test_a_perfect_detector_shows_the_radiation(images):
    torch.testing.assert_close(detected(images, SPACING, PERFECT), torch.exp(-images))


def test_the_curve_is_gain_times_a_power_and_ends_where_the_detector_is_full(images):
    settings = DetectorSettings(gain=4000.0, gamma=0.5, saturation=0.3)
    expected = 4000 * torch.exp(-images).clamp_max(0.3) ** 0.5
    torch.testing.assert_close(detected(images, SPACING, settings), expected)


def test_scatter_is_what_was_lost_under_a_wide_gaussian():
    row, column = np.mgrid[-1:1:90j, -1:1:120j]
    body = torch.from_numpy(5 * np.exp(-6 * (row - 0.1) ** 2 - 9 * (column + 0.2) ** 2))[None]
    settings = DetectorSettings(scatter_to_primary=0.8, scatter_sigma_mm=30.0)
    primary = torch.exp(-body).numpy()
    kernel = (0, 30.0 / SPACING[1], 30.0 / SPACING[0])
    expected = 0.8 / 4 * gaussian_filter(primary * body.numpy(), kernel, mode="nearest")
    found = detected(body, SPACING, settings).numpy() - primary
    # Made on blocks, and cut at 2.5 sigma.
    assert np.abs(found - expected).max() < 0.03 * expected.max()


def test_scatter_to_primary_is_that_of_an_even_body():
    found = detected(torch.full((1, 40, 40), 4.0), (2.0, 2.0), DetectorSettings(scatter_to_primary=1.3))
    torch.testing.assert_close(found, torch.full_like(found, 2.3 * math.exp(-4)))
    assert detected(torch.zeros(1, 40, 40), (2.0, 2.0), DetectorSettings(scatter_to_primary=1.3)).max() == 1


@pytest.mark.parametrize("name", ["focal_spot_sigma_px", "scintillator_sigma_px"])
def test_blur_is_a_gaussian_of_the_radiation(images, name):
    found = detected(images, SPACING, dataclasses.replace(PERFECT, **{name: 1.2}))
    expected = gaussian_filter(torch.exp(-images).numpy(), (0, 1.2, 1.2), mode="nearest")
    np.testing.assert_allclose(found, expected, rtol=5e-3)


@pytest.mark.parametrize(("p", "photons", "electronic"), [(0.0, 1000.0, 0.0), (2.0, 1000.0, 0.0), (2.0, 1000.0, 8.0)])
def test_noise_has_the_mean_and_variance_of_counted_photons(p, photons, electronic):
    settings = DetectorSettings(photons=photons, electronic_noise=electronic)
    counts = photons * detected(torch.full((1, 400, 400), p, dtype=torch.float64), SPACING, settings, generator(1))
    expected = photons * math.exp(-p)
    deviation = math.sqrt(expected + electronic**2)
    assert float(counts.mean()) == pytest.approx(expected, abs=4 * deviation / 400)
    assert float(counts.std()) == pytest.approx(deviation, rel=0.01)


def test_light_that_spreads_takes_noise_along_but_not_the_electronics():
    flat = torch.zeros((1, 300, 300), dtype=torch.float64)
    settings = DetectorSettings(photons=1e4, scintillator_sigma_px=1.5)
    quantum = detected(flat, SPACING, settings, generator()).std()
    # A Gaussian of sigma s leaves 1 / (2 s sqrt(pi)) of white noise's deviation.
    assert float(quantum) == pytest.approx(0.01 / (2 * 1.5 * math.sqrt(math.pi)), rel=0.04)
    noisy = detected(flat, SPACING, dataclasses.replace(settings, electronic_noise=100.0), generator()).std()
    assert float(noisy) == pytest.approx(math.hypot(float(quantum), 0.01), rel=0.04)


def test_noise_belongs_to_the_seed(images):
    settings = DetectorSettings(photons=500.0, electronic_noise=3.0)
    first, again, other = (detected(images, SPACING, settings, generator(s)) for s in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_hardly_any_photons_still_give_a_logarithm(images):
    settings = DetectorSettings(photons=3.0, electronic_noise=2.0, gamma=1.4)
    signal = detected(images, SPACING, settings, generator())
    assert torch.isfinite(signal.log()).all()


@pytest.mark.parametrize("count", [1, 2])
def test_gradients_flow_through_everything_noise_included(count):
    image = torch.rand((count, 6, 7), generator=generator(), dtype=torch.float64) * 3
    one = DetectorSettings(1e5, 2.0, 0.7, 12.0, 0.6, 0.7, math.inf, 2.0, 1.3)
    settings = [one, DetectorSettings(2e5, 1.0, 0.5, 9.0, 0.3, 0.5, 2.0, 1.0, 0.9)][:count]
    assert torch.autograd.gradcheck(
        lambda p: detected(p, (3.0, 3.0), settings, generator(2)), (image.requires_grad_(),), atol=1e-6
    )


def test_each_image_has_its_own_detector(images):
    settings = [
        DetectorSettings(gain=2.0),
        DetectorSettings(1e3, 3.0, 0.9, 25.0, 1.3, 0.4, 0.5, 3.0, 1.2),
        DetectorSettings(1e4, 0.0, 0.2, 60.0, 0.2, 0.9, 0.9, 1.0, 0.8),
    ]
    three = images[[0, 1, 0]]
    torch.testing.assert_close(detected(three, SPACING, settings, generator(3))[0], 2 * torch.exp(-three[0]))
    # Scatter is made on the blocks that the narrowest one allows.
    for scatter, bound in ((0.0, 1e-6), (1.0, 0.02)):
        own = [dataclasses.replace(s, scatter_to_primary=scatter * s.scatter_to_primary) for s in settings]
        together = detected(three, SPACING, own, generator(3))
        for n, one in enumerate(own):
            alone = detected(three, SPACING, one, generator(3))[n]  # the noise is drawn for all images at once
            assert float((together[n] - alone).abs().max()) < bound * float(alone.max())


def test_detectors_drawn_together_lie_within_their_bounds_and_belong_to_the_seed():
    ranges = SystemRange(electronic_noise=(0.0, 0.0))
    drawn = draw_detectors(2000, generator(1), ranges)
    assert drawn.electronic_noise == 0.0
    for value, (low, high) in (
        (drawn.photons, ranges.photons),
        (drawn.scatter_to_primary, ranges.scatter_to_primary),
        (drawn.scatter_sigma_mm, ranges.scatter_sigma_mm),
        (drawn.focal_spot_sigma_px, ranges.blur_sigma_px),
        (drawn.gamma, ranges.gamma),
    ):
        assert low <= float(value.min()) < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < float(value.max()) <= high
    assert float(drawn.photons.median()) == pytest.approx(math.sqrt(3e2 * 1e5), rel=0.1)
    assert torch.equal(drawn.photons, draw_detectors(2000, generator(1), ranges).photons)
    assert not torch.equal(drawn.photons, draw_detectors(2000, generator(2), ranges).photons)


def test_systems_are_drawn_within_their_bounds_and_belong_to_the_seed():
    drawn = [draw_system(generator(s)) for s in range(200)]
    assert drawn[7] == draw_system(generator(7))
    r = SystemRange()
    tubes, layers, detectors = zip(*drawn, strict=True)
    for values, (low, high) in (
        ([t.kvp for t in tubes], r.kvp),
        ([t.aluminium_mm for t in tubes], r.aluminium_mm),
        ([s.thickness_um for s in layers], r.scintillator_um),
        ([d.photons for d in detectors], r.photons),
        ([d.electronic_noise for d in detectors], r.electronic_noise),
        ([d.scatter_to_primary for d in detectors], r.scatter_to_primary),
        ([d.scatter_sigma_mm for d in detectors], r.scatter_sigma_mm),
        ([math.hypot(d.focal_spot_sigma_px, d.scintillator_sigma_px) for d in detectors], r.blur_sigma_px),
        ([d.gamma for d in detectors], r.gamma),
    ):
        assert low <= min(values) < low + 0.15 * (high - low)
        assert max(values) <= high
    assert {t.copper_mm for t in tubes} == set(r.copper_mm)
    # Evenly on a logarithmic scale: half of them below the geometric mean.
    assert np.median([d.photons for d in detectors]) == pytest.approx(math.sqrt(3e2 * 1e5), rel=0.5)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"photons": 0}, "photons must be positive, not 0"),
        ({"electronic_noise": -1}, "electronic_noise must be zero or more, not -1"),
        ({"scatter_to_primary": math.nan}, "scatter_to_primary must be zero or more, not nan"),
        ({"gain": math.inf}, "gain must be positive, not inf"),
        ({"gamma": torch.tensor([1.0, -2.0])}, "gamma must be positive, not -2"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_a_sentence(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        DetectorSettings(**settings)


def test_noise_without_a_seed_and_wrong_shapes_are_refused(images):
    with pytest.raises(InputError, match="seeded generator"):
        detected(images, SPACING, DetectorSettings(photons=100.0))
    with pytest.raises(InputError, match="2 images and 3 detectors"):
        detected(images, SPACING, [PERFECT] * 3)
    with pytest.raises(InputError, match="2 images and 4 detectors"):
        detected(images, SPACING, DetectorSettings(gain=torch.ones(4)))
    with pytest.raises(InputError, match=r"\(B, H, W\), not \(60, 80\)"):
        detected(images[0], SPACING, PERFECT)
