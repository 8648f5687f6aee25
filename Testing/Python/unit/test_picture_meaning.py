"""What grey values mean, by the picture: right where it is certain, silent where it is not, and never against a file or a user."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import SimpleITK as sitk

from XVRegistrationLib.evaluation.simulation import NanodrrRenderer
from XVRegistrationLib.evaluation.stored_xrays import STORED, stored_as
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import VIEWS, NominalView, PoseRange, draw_poses
from XVRegistrationLib.imaging.picture_meaning import CERTAIN, MEANINGS, recognise, with_recognised_meaning
from XVRegistrationLib.imaging.xray_files import read_xray_parts


@pytest.fixture(scope="module")
def images(phantom) -> list[np.ndarray]:
    """Line integrals (H, W) of the phantom from all sides."""
    camera = Intrinsics.centered(1020.0, (2.6, 2.6), (128, 128))
    renderer, rng = NanodrrRenderer(phantom), np.random.default_rng(5)
    views = [NominalView(name, tuple(phantom.center), 700.0) for name in VIEWS]
    return [
        renderer.line_integral(draw_poses(view, PoseRange(), 1, rng)[0], camera) for view in views for _ in range(2)
    ]


def dense(meaning: str) -> bool:
    return meaning in ("attenuation", "inverted intensity")


def test_where_it_is_certain_it_is_right(images):
    """The phantom is nobody's anatomy; what is asked is that certainty means something."""
    certain = right = 0
    for i, p in enumerate(images):
        for meaning in MEANINGS:
            for how in STORED:
                found = recognise(stored_as(p, meaning, how, (1, i, MEANINGS.index(meaning), STORED.index(how))))
                assert sum(found.probabilities.values()) == pytest.approx(1)
                certain += found.certainty >= CERTAIN
                right += found.certainty >= CERTAIN and (found.bright_is_dense > 0.5) == dense(meaning)
    assert certain >= 15
    assert right >= 0.9 * certain


def test_the_inverted_picture_has_the_inverted_meaning(images):
    for i, p in enumerate(images[:3]):
        pixels = stored_as(p, "intensity", "plain", (2, i))
        there, back = recognise(pixels).probabilities, recognise(pixels.max() - pixels).probabilities
        for a, b in ((0, 1), (2, 3)):
            assert there[MEANINGS[a]] == pytest.approx(back[MEANINGS[b]], abs=0.05)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((100, 100)),
        np.full((100, 100), np.nan),
        np.random.default_rng(0).random((100, 100)),
        np.random.default_rng(0).random((5, 5)),
        np.arange(400.0).reshape(20, 20),
    ],
)
def test_of_a_picture_of_nothing_nothing_is_known(pixels):
    assert set(recognise(pixels).probabilities.values()) == {0.25}


@pytest.fixture
def clear(images) -> np.ndarray:
    """8-bit intensities (H, W) whose meaning is clear."""
    for i, p in enumerate(images):
        pixels = np.round(stored_as(p, "intensity", "plain", (3, i)) * 255).astype(np.uint8)
        found = recognise(pixels)
        if found.certainty >= CERTAIN and not dense(found.best):
            return pixels
    raise AssertionError("none of the pictures is clear")


def test_a_picture_without_a_header_is_read_as_what_it_shows(clear, tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(clear), str(tmp_path / "x.png"))
    parts = read_xray_parts(tmp_path / "x.png")
    assert parts.origins["scale"] == "derived"
    if parts.scale == "intensity":
        np.testing.assert_array_equal(parts.pixels, clear)
    else:
        np.testing.assert_array_equal(parts.pixels, clear.max() - clear)
    sitk.WriteImage(sitk.GetImageFromArray(clear.max() - clear), str(tmp_path / "inverted.png"))
    assumed = read_xray_parts(tmp_path / "inverted.png")
    assert assumed.origins["scale"] == "assumed"  # dense is bright, as is assumed of a picture
    np.testing.assert_array_equal(assumed.pixels, clear.max() - clear)


def test_a_signed_picture_is_turned_around_without_overflow(images, tmp_path):
    turned = 0
    for i, p in enumerate(images):
        shown = stored_as(p, "inverted attenuation", "plain", (4, i))
        signed = np.round(shown / shown.max() * 60000 - 30000).astype(np.int16)
        sitk.WriteImage(sitk.GetImageFromArray(signed), str(tmp_path / "x.nrrd"))
        parts = read_xray_parts(tmp_path / "x.nrrd")
        if parts.origins["scale"] == "derived" and parts.scale == "attenuation":
            np.testing.assert_array_equal(parts.pixels, signed.max().astype(int) - signed)
            turned += 1
    assert turned


@pytest.mark.parametrize("origin", ["tag", "user", "derived"])
def test_what_a_file_or_a_user_says_holds(clear, tmp_path, origin):
    sitk.WriteImage(sitk.GetImageFromArray(clear), str(tmp_path / "x.png"))
    said = read_xray_parts(tmp_path / "x.png", scale="attenuation")
    assert (said.scale, said.origins["scale"]) == ("attenuation", "user")
    np.testing.assert_array_equal(said.pixels, clear)
    parts = dataclasses.replace(said, origins={**said.origins, "scale": origin})
    assert with_recognised_meaning(parts) is parts
