"""Line integrals: I0 is the unattenuated beam's, and neither saturation nor text nor a bright marker moves it."""

from __future__ import annotations

import numpy as np
import pytest

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.imaging.intensity import line_integral, unattenuated
from XVRegistrationLib.imaging.usable import usable
from XVRegistrationLib.imaging.xray import Xray

SIZE = (160, 200)
ROW, COLUMN = np.mgrid[: SIZE[0], : SIZE[1]]
BODY = 3 * np.maximum(1 - ((ROW - 80) / 60) ** 2 - ((COLUMN - 100) / 75) ** 2, 0) ** 0.5
I0 = 3000.0


def xray(pixels, scale="intensity") -> Xray:
    return Xray("picture", pixels, Intrinsics.centered(1000.0, (1.0, 1.0), pixels.shape[::-1]), scale)


def exposed(p: np.ndarray, seed: int = 0, noise: float = 0.01) -> np.ndarray:
    return np.round(I0 * np.exp(-p) * np.random.default_rng(seed).normal(1, noise, p.shape))


def test_the_beam_is_the_most_frequent_value_of_an_unattenuated_area():
    beam = unattenuated(xray(exposed(BODY)))
    assert beam.source == "area"
    assert beam.value == pytest.approx(I0, rel=0.02)
    assert beam.share > 0.3
    assert beam.brightest > beam.value
    p = line_integral(xray(exposed(BODY)))
    assert abs(p[BODY == 0].mean()) < 0.02
    np.testing.assert_allclose(p, BODY, atol=0.08)


def test_without_an_unattenuated_area_it_is_the_brightest_that_counts():
    p = 1.5 + BODY + 0.002 * COLUMN + 0.6 * np.sin(ROW / 9) ** 2  # nothing but tissue
    beam = unattenuated(xray(exposed(p)))
    assert beam.source == "brightest"
    assert beam.value == beam.brightest
    assert beam.value == pytest.approx(I0 * np.exp(-p.min()), rel=0.1)
    found = line_integral(xray(exposed(p)))
    offset = (found - p).mean()
    np.testing.assert_allclose(found, p + offset, atol=0.1)


def with_text(pixels):
    pixels[5:20, 5:8] = 65535
    pixels[17:20, 5:14] = 65535
    return pixels


def with_a_bright_implant_marker(pixels):
    pixels[100:112, 150:170] = 1.25 * I0  # brighter than air can be, and noisy: drawn, and compressed with loss
    return pixels * np.random.default_rng(3).normal(1, 0.01, SIZE)


def saturated_on_one_side(pixels):
    lit = pixels * np.where(COLUMN > 170, 1.6, 1.0)
    return np.minimum(lit, 3900)


@pytest.mark.parametrize("change", [with_text, with_a_bright_implant_marker, saturated_on_one_side])
def test_the_beam_is_not_mistaken_for(change):
    beam = unattenuated(xray(change(exposed(BODY))))
    assert beam.source == "area"
    assert beam.value == pytest.approx(I0, rel=0.03)


@pytest.mark.parametrize("offset", [-2048, -32768])
@pytest.mark.parametrize("blade", [0, 12])
def test_intensities_with_an_offset_are_counted_from_their_darkest(offset, blade):
    thick = np.where(BODY > 2.5, 9, BODY)  # something lets nothing through
    pixels = exposed(thick)
    pixels[:blade] = 0
    there, here = xray(pixels), xray(pixels + offset)
    assert unattenuated(here).value - offset == pytest.approx(unattenuated(there).value, rel=0.01)
    counts = usable(there)
    counts = np.ones(SIZE, bool) if counts is None else counts
    found = usable(here)
    np.testing.assert_array_equal(np.ones(SIZE, bool) if found is None else found, counts)
    near = counts & (thick < 2)
    np.testing.assert_allclose(line_integral(here)[near], line_integral(there)[near], atol=0.05)


@pytest.mark.parametrize("value", [-1000, -32768])
def test_negative_padding_is_no_offset(value):
    pixels = exposed(BODY)
    padded = pixels.copy()
    padded[:30] = value
    np.testing.assert_allclose(line_integral(xray(padded))[30:], line_integral(xray(pixels))[30:], atol=0.05)


def test_values_of_what_does_not_count_stay_finite_and_near_the_rest():
    p = line_integral(xray(with_text(exposed(BODY))))
    assert p.min() > -0.1
    assert p.max() < 4
    dead = exposed(BODY)
    dead[80, 100] = 0
    assert np.isfinite(line_integral(xray(dead))).all()


def test_line_integrals_as_stored_keep_their_scale_and_begin_at_zero():
    stored = (7 + 250 * BODY).astype(np.float32) + np.random.default_rng(0).normal(0, 1, SIZE).astype(np.float32)
    p = line_integral(xray(stored, "attenuation"))
    np.testing.assert_allclose(p - p.mean(), stored - stored.mean(), atol=1e-3)
    assert abs(np.percentile(p, 0.1)) < 0.1
    text = stored.copy()
    text[5:20, 5:8] = -5000
    assert abs(np.percentile(line_integral(xray(text, "attenuation")), 1)) < 10


@pytest.mark.parametrize("pixels", [np.zeros(SIZE), np.full(SIZE, 7), np.full(SIZE, np.nan), np.full(SIZE, np.inf)])
@pytest.mark.parametrize("scale", ["intensity", "attenuation"])
def test_a_picture_of_nothing_is_a_sentence(pixels, scale):
    with pytest.raises(InputError, match="The X-ray picture shows nothing"):
        line_integral(xray(pixels, scale))
