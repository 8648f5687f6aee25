"""Which pixels count: collimators and saturation are found, dense anatomy is not taken for them, masks are checked."""

from __future__ import annotations

import numpy as np
import pytest

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.imaging.markers import ignored
from XVRegistrationLib.imaging.usable import usable
from XVRegistrationLib.imaging.xray import Xray

SIZE = (150, 180)
ROW, COLUMN = np.mgrid[: SIZE[0], : SIZE[1]]


def xray(pixels, scale="intensity") -> Xray:
    return Xray("picture", pixels, Intrinsics.centered(1000.0, (1.0, 1.0), pixels.shape[::-1]), scale)


def exposure(seed: int = 0, dense: float = 3.0) -> np.ndarray:
    """12-bit intensities (H, W) behind an ellipse of tissue that lets through exp(-dense), with noise and light around it."""
    body = np.maximum(1 - ((ROW - 75) / 60) ** 2 - ((COLUMN - 90) / 70) ** 2, 0) ** 0.5
    noise = np.random.default_rng(seed).normal(1, 0.02, SIZE)
    return np.clip(3500 * np.exp(-dense * body) * noise, 0, 4094).astype(np.uint16)


def behind_blades(pixels: np.ndarray, top: int = 0, bottom: int = 0, left: int = 0, right: int = 0) -> np.ndarray:
    """The picture with blades that reach so far over it and let through a little, with noise."""
    height, width = pixels.shape
    open_ = np.zeros(pixels.shape, dtype=bool)
    open_[top : height - bottom, left : width - right] = True
    leak = np.random.default_rng(1).normal(30, 6, pixels.shape).clip(1)
    return np.where(open_, pixels, leak).astype(pixels.dtype)


def test_an_open_picture_counts_as_a_whole():
    for dense in (1.0, 3.0, 6.0):
        assert usable(xray(exposure(dense=dense))) is None
    assert usable(xray(exposure().astype(np.float32))) is None


@pytest.mark.parametrize("side", ["top", "bottom", "left", "right"])
@pytest.mark.parametrize("reach", [8, 40])
def test_a_blade_is_found_to_within_a_few_pixels(side, reach):
    good = usable(xray(behind_blades(exposure(dense=2.0), **{side: reach})))
    assert good is not None
    turned = np.rot90(good, {"top": 0, "right": 1, "bottom": 2, "left": 3}[side])
    assert not turned[:reach].any()
    assert turned[reach + 8 :].all()


@pytest.mark.parametrize("reach", [(10, 10, 10, 10), (30, 25, 40, 20), (0, 0, 35, 35), (45, 0, 0, 30), (0, 45, 30, 0)])
def test_blades_on_several_sides_are_found_together(reach):
    sides = dict(zip(("top", "bottom", "left", "right"), reach, strict=True))
    good = usable(xray(behind_blades(exposure(dense=2.0), **sides)))
    assert good is not None
    height, width = SIZE
    inside = np.zeros(SIZE, dtype=bool)
    inside[sides["top"] : height - sides["bottom"], sides["left"] : width - sides["right"]] = True
    assert not good[~inside].any()
    assert good.sum() > 0.8 * inside.sum()


def test_a_round_field_is_found():
    radius = np.hypot((ROW - 74.5) / 150, (COLUMN - 89.5) / 180)
    pixels = np.where(radius < 0.5, exposure(dense=1.5), 15).astype(np.uint16)
    good = usable(xray(pixels))
    assert good is not None
    assert not good[radius > 0.5].any()
    assert good[radius < 0.46].all()


@pytest.mark.parametrize("side", range(4))
def test_dense_anatomy_up_to_the_border_is_not_taken_for_a_blade(side):
    """A pelvis that lets through a hundredth reaches the border and thins out inwards, over all of the image or within a slanted strip."""
    pixels = exposure(dense=1.0).astype(np.float64)
    across = np.arange(SIZE[0])[:, None] / SIZE[0]
    fading = pixels * np.exp(-4.8 * np.clip(1.6 - 2 * across, 0, 1))
    slanted = pixels * np.exp(-4.8 * np.clip((100 - ROW - 0.5 * COLUMN) / 40, 0, 1))
    for picture in (fading, slanted):
        assert usable(xray(np.rot90(picture, side).astype(np.uint16))) is None


def test_metal_within_the_picture_and_at_its_border_still_counts():
    pixels = exposure()
    pixels[:30, 60:90] = 5
    pixels[100:120, 100:110] = 5
    assert usable(xray(pixels)) is None


def test_a_burnt_out_background_does_not_count_and_a_few_bright_pixels_do():
    burnt = np.minimum(exposure() * np.linspace(0.5, 1.5, SIZE[1]), 4095).astype(np.uint16)
    good = usable(xray(burnt))
    assert good is not None
    np.testing.assert_array_equal(good, burnt < 4095)
    hand = np.minimum(exposure() * 1.5, 4095).astype(np.uint16)  # most of the picture is air
    assert 0.5 < (hand == 4095).mean() < 0.8
    np.testing.assert_array_equal(usable(xray(hand)), hand < 4095)
    few = exposure()
    few[3:5, 3:5] = 4095
    assert usable(xray(few)) is None


def test_an_open_picture_of_line_integrals_counts_as_a_whole():
    for dense in (1.0, 3.0, 6.0):
        assert usable(xray(line_integrals(exposure(dense=dense)), "attenuation")) is None
    clipped = np.maximum(line_integrals(exposure()), 0.1)  # air at one value, as many programs write it
    assert usable(xray(clipped, "attenuation")) is None


def line_integrals(pixels: np.ndarray) -> np.ndarray:
    return -np.log(np.maximum(pixels, 1) / 3500).astype(np.float32)


@pytest.mark.parametrize("scale", ["intensity", "attenuation"])
def test_a_limb_with_a_straight_side_is_not_taken_for_a_blade(scale):
    across = (COLUMN - 0.2 * ROW - 20) / 40
    thickness = np.maximum(1 - across**2, 0) ** 0.5
    pixels = 3500 * np.exp(-5 * thickness - 2 * (np.abs(across) < 0.3)) * np.random.default_rng(0).normal(1, 0.01, SIZE)
    assert usable(xray(pixels if scale == "intensity" else line_integrals(pixels), scale)) is None


def turned_field(degrees: float, corner: float) -> np.ndarray:
    """(H, W) bool: a field of 120 x 90 px about the middle, turned, with corners rounded by so many px."""
    angle = np.deg2rad(degrees)
    x, y = COLUMN - 92, ROW - 73
    u, v = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    over = np.maximum(np.abs([u, v]) - (np.array([60, 45]) - corner)[:, None, None], 0)
    return np.hypot(*over) <= max(corner, 1e-9)


def iris(blades: int) -> np.ndarray:
    """(H, W) bool: a regular polygon."""
    angles = 2 * np.pi * np.arange(blades) / blades + 0.2
    return np.max([np.cos(a) * (COLUMN - 88) + np.sin(a) * (ROW - 76) for a in angles], axis=0) <= 60


FIELDS = {
    "turned by 7": turned_field(7, 0),
    "turned by 30": turned_field(30, 0),
    "rounded": turned_field(0, 15),
    "turned and rounded": turned_field(20, 12),
    "iris of six": iris(6),
    "iris of eight": iris(8),
    "one oblique blade": ROW + 0.6 * COLUMN > 60,
    "circle off the middle": np.hypot(COLUMN - 100, ROW - 70) < 62,
}


@pytest.mark.parametrize("shape", FIELDS)
@pytest.mark.parametrize("how", ["intensity", "attenuation", "drawn black", "drawn white", "scatter"])
def test_fields_of_any_collimator_are_found_to_within_a_few_pixels(shape, how):
    from scipy.ndimage import binary_erosion

    inside, picture = FIELDS[shape], exposure(dense=1.5)
    leak = np.random.default_rng(1).normal(250 if how == "scatter" else 30, 6, SIZE).clip(1)
    pixels = np.where(inside, picture, leak)
    if how == "attenuation":
        pixels = line_integrals(pixels)
    elif how.startswith("drawn"):
        low, high = 0.0, 9.0
        pixels = np.where(inside, 1 + line_integrals(picture), low if how == "drawn black" else high)
    good = usable(xray(pixels, "attenuation" if how in ("attenuation", "drawn black", "drawn white") else "intensity"))
    assert good is not None
    assert not good[~inside].any()
    assert good[binary_erosion(inside, iterations=12, border_value=1)].all()


@pytest.mark.parametrize("value", [0, 4095])
def test_burned_in_letters_are_left_out_and_a_few_pixels_are_not(value):
    pixels = np.maximum(exposure(dense=1.0), 400)
    clean = pixels.copy()
    pixels[10:24, 20:23] = pixels[21:24, 20:30] = value  # an L
    good = usable(xray(pixels))
    assert good is not None
    assert not good[pixels != clean].any()
    assert good.sum() >= good.size - 60 - 50  # around a black sign in air, which may be lead, a pixel is left out too
    clean[40, 40:43] = value
    assert usable(xray(clean)) is None


def test_a_lead_marker_in_air_is_left_out_and_a_screw_in_the_body_is_not():
    pixels = exposure(dense=1.0)
    pixels[4:16, 5:8] = pixels[13:16, 5:13] = 150
    pixels[60:90, 100:103] = 150
    good = usable(xray(pixels))
    assert good is not None
    assert not good[4:16, 5:8].any()
    assert not good[13:16, 5:13].any()
    assert good.sum() > good.size - 200
    assert good[58:92, 95:110].all()
    vessels = np.full(SIZE, 3000.0)  # a subtracted angiogram: what is dark in bright surroundings is what it is about
    vessels[4:16, 5:8] = 150
    vessels *= np.random.default_rng(0).normal(1, 0.02, SIZE)
    assert usable(xray(vessels)) is None


def test_rectangles_are_ignored_and_checked():
    counts = ignored((100, 200), [(10, 20, 5, 6), (190.5, 0, 100, 3)], "x")
    assert counts is not None
    expected = np.ones((100, 200), dtype=bool)
    expected[20:26, 10:15] = expected[:3, 190:] = False
    np.testing.assert_array_equal(counts, expected)
    assert ignored((100, 200), [], "x") is None
    for wrong in ((0, 0, 0, 5), (0, 0, -3, 5), (0, 0, np.nan, 5), (0, 0, 5)):
        with pytest.raises(InputError, match="must be X Y W H in pixels"):
            ignored((100, 200), [wrong], "x")
    for beside in ((200, 0, 5, 5), (-9, 0, 9, 5), (1e9, 1e9, 5, 5)):
        with pytest.raises(InputError, match="lies beside the X-ray x, which has 200 x 100 pixels"):
            ignored((100, 200), [beside], "x")


def test_a_mask_is_what_counts_together_with_what_was_found():
    mask = np.ones(SIZE, dtype=bool)
    mask[:, 100:] = False
    np.testing.assert_array_equal(usable(xray(exposure()), mask), mask)
    both = usable(xray(behind_blades(exposure(dense=2.0), top=30)), mask)
    assert both is not None
    assert not both[:30].any()
    assert not both[:, 100:].any()
    assert both[40:, :100].all()
    assert usable(xray(exposure()), np.ones(SIZE, dtype=bool)) is None


def test_a_mask_of_another_size_or_of_nothing_is_a_sentence():
    with pytest.raises(InputError, match="mask of picture has 150 x 180 pixels, the X-ray 180 x 150"):
        usable(xray(exposure()), np.ones(SIZE[::-1], dtype=bool))
    nothing = np.zeros(SIZE, dtype=bool)
    with pytest.raises(InputError, match="mask of picture leaves less than"):
        usable(xray(exposure()), nothing)
    nothing[:3, :3] = True
    with pytest.raises(InputError, match="draw it larger"):
        usable(xray(exposure()), nothing)


def test_a_picture_of_which_all_rows_and_columns_count_as_dark_has_no_blade():
    """A field of 40 px on a large detector; a dim picture with a burned-in marker."""
    field = np.full((1024, 1024), 20, np.uint16)
    field[492:532, 492:532] = 3000
    dim = np.random.default_rng(0).integers(800, 1638, (200, 240)).astype(np.uint16)
    dim[5:25, 5:35] = 65535
    for picture in (field, dim):
        good = usable(xray(picture))
        assert good is None or good[picture < picture.max()].all()


def test_where_the_blades_leave_nothing_the_mask_is_not_blamed():
    narrow = behind_blades(exposure(dense=1.0), top=71, bottom=71, left=40, right=40)
    assert usable(xray(narrow)) is None  # as without a mask it looks like nothing but blades
    with pytest.raises(InputError, match="looks collimated or saturated: register it without a mask"):
        usable(xray(narrow), np.ones(SIZE, dtype=bool))
    beside = np.zeros(SIZE, dtype=bool)
    beside[:25] = True
    with pytest.raises(InputError, match="looks collimated or saturated: draw the mask where"):
        usable(xray(behind_blades(exposure(dense=2.0), top=30)), beside)
