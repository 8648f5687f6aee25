"""What is found not to count is kept by the content of an X-ray: looked for once, and anew where anything differs."""

from __future__ import annotations

import collections

import numpy as np
import pytest

from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.imaging.collimation import collimated
from XVRegistrationLib.imaging.usable import left_out
from XVRegistrationLib.imaging.xray import Xray

HEIGHT, WIDTH = 120, 150


@pytest.fixture
def looked(monkeypatch) -> list:
    """What blades are looked for in from now on, with nothing known yet: one item for each time."""
    times: list = []

    def counted(*given):
        times.append(given)
        return collimated(*given)

    monkeypatch.setattr("XVRegistrationLib.imaging.usable._FOUND", collections.OrderedDict())
    monkeypatch.setattr("XVRegistrationLib.imaging.usable.collimated", counted)
    return times


def xray(pixels, scale="intensity", spacing=(1.0, 1.0), mask=None) -> Xray:
    return Xray("picture", pixels, Intrinsics.centered(1000.0, spacing, (WIDTH, HEIGHT)), scale, mask=mask)


def behind_a_blade(rows: slice) -> np.ndarray:
    """12-bit intensities (H, W) of air and of a body, with a blade over these rows."""
    noise = np.random.default_rng(0).normal(1, 0.02, (HEIGHT, WIDTH))
    pixels = 3500 * noise
    pixels[50:80, 40:110] /= 5
    pixels[rows] = 30 * noise[rows]
    return pixels.astype(np.uint16)


def right_half() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[:, WIDTH // 2 :] = True
    return mask


@pytest.mark.parametrize("mask", [None, right_half()], ids=["all of it", "a mask"])
def test_the_same_content_in_another_object_is_not_looked_at_again(looked, mask):
    pixels = behind_a_blade(slice(0, 25))
    first = left_out(xray(pixels, mask=mask))
    again = left_out(xray(pixels.copy(), mask=None if mask is None else mask.copy()))
    assert len(looked) == 1
    assert first.collimated[:25].all()
    for part in ("collimated", "saturated", "marked", "by_the_file"):
        np.testing.assert_array_equal(getattr(again, part), getattr(first, part))


def test_other_pixels_another_mask_scale_or_aspect_are_looked_at_anew(looked):
    pixels, half = behind_a_blade(slice(0, 25)), right_half()
    others = {
        "first": xray(pixels),
        "below": xray(behind_a_blade(slice(-25, None))),
        "floats": xray(pixels.astype(np.float32)),
        "whole": xray(pixels, mask=np.ones_like(half)),
        "half": xray(pixels, mask=half),
        "other half": xray(pixels, mask=~half),
        "dense is bright": xray(pixels, "attenuation"),
        "long pixels": xray(pixels, spacing=(1.0, 2.0)),
    }
    found = {name: left_out(other) for name, other in others.items()}
    assert len(looked) == len(others)
    for name, rows, free in (("first", slice(0, 25), slice(-25, None)), ("below", slice(-25, None), slice(0, 25))):
        assert found[name].collimated[rows].all()
        assert not found[name].collimated[free].any()
    np.testing.assert_array_equal(found["half"].by_the_file, ~half)
    np.testing.assert_array_equal(found["other half"].by_the_file, half)
    assert not found["whole"].by_the_file.any()
    assert not np.array_equal(found["dense is bright"].any, found["first"].any)
    assert looked[-1][2] == 2.0
    for name, other in others.items():
        assert left_out(other) is found[name]
    assert len(looked) == len(others)


def test_a_field_is_round_or_not_by_the_pixels_aspect(looked):
    row, column = np.mgrid[:HEIGHT, :WIDTH]
    outside = np.hypot((row - 60) / 28, (column - 75) / 56) > 1
    noise = np.random.default_rng(0).normal(1, 0.02, outside.shape)
    pixels = np.where(outside, 900, 3500) * noise
    square, long = (left_out(xray(pixels, spacing=(1.0, length))).any for length in (1.0, 2.0))
    assert (long != outside).mean() < 0.01
    assert (square != outside).mean() > 0.1
