"""Metrics against values worked out by hand."""

from __future__ import annotations

import time

import numpy as np
import pytest

from XVRegistrationLib.evaluation.image_metrics import css, image_similarity, ncc, ssim
from XVRegistrationLib.evaluation.metrics import (
    axis_errors,
    double_geodesic,
    farthest_points,
    geodesic_deg,
    mpd,
    mrpd,
    mtre,
    wilson_interval,
    xvr_mtre,
)
from XVRegistrationLib.evaluation.rates import area_under_survival, calibration, success_rate, survival
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import increment, invert, rotation_from_vector, translation
from XVRegistrationLib.geometry.views import NominalView, relative_motion

VIEW = NominalView("AP", (10.0, -20.0, 30.0), 700.0)
TRUE = VIEW.absolute(relative_motion((10, -5, 15), (3, 2, 1)))
POINTS = np.array(VIEW.isocenter) + np.random.default_rng(0).uniform(-80, 80, (50, 3))


def moved(motion: np.ndarray) -> np.ndarray:
    """The true pose with points moved by `motion` in the camera's frame."""
    return TRUE @ invert(motion)


def test_a_translation_is_its_length_in_mtre() -> None:
    assert mtre(moved(translation((1, -2, 2))), TRUE, POINTS) == pytest.approx(3.0)
    assert mtre(TRUE, TRUE, POINTS) == 0
    assert mtre(moved(translation((0, 0, 5))), TRUE, POINTS) == pytest.approx(5.0)


def test_a_rotation_about_the_camera_moves_points_by_the_chord() -> None:
    point = TRUE[:3, 3] + 700 * TRUE[:3, 2]
    turned = TRUE.copy()
    turned[:3, :3] = TRUE[:3, :3] @ rotation_from_vector((0, np.radians(1), 0))
    assert mtre(turned, TRUE, [point]) == pytest.approx(2 * 700 * np.sin(np.radians(0.5)))


def test_a_shift_across_is_magnified_on_the_detector_and_one_in_depth_hardly_seen() -> None:
    intrinsics = Intrinsics(1000.0, (0.5, 0.25), (100.0, 80.0), (200, 160), mirrored=True)
    point = TRUE[:3, 3] + 500 * TRUE[:3, 2]
    assert mpd(moved(translation((3, 4, 0))), TRUE, intrinsics, [point]) == pytest.approx(10.0)
    assert mpd(moved(translation((0, 0, 20))), TRUE, intrinsics, [point]) == pytest.approx(0.0, abs=1e-9)
    assert mpd(moved(translation((0, 0, -600))), TRUE, intrinsics, [point]) == float("inf")


def test_farthest_points_of_a_box_begin_with_opposite_corners() -> None:
    grid = np.stack(np.meshgrid(range(11), range(21), range(31), indexing="ij"), axis=-1).reshape(-1, 3)
    first = farthest_points(grid, 8)
    assert first[:2].tolist() == [[0, 0, 0], [10, 20, 30]]
    # By hand: of what is left, (0, 0, 24) has the largest distance to the nearer of the two, sqrt(10^2 + 20^2 + 6^2) > 23.
    assert first[2].tolist() == [0, 0, 24]
    assert len({tuple(p) for p in first}) == 8
    assert np.array_equal(first, farthest_points(grid, 8))


def test_farthest_points_are_farther_apart_than_random_ones() -> None:
    points = np.random.default_rng(1).normal(size=(5000, 3))

    def closest_pair(chosen: np.ndarray) -> float:
        distances = np.linalg.norm(chosen[:, None] - chosen[None], axis=-1)
        return float(distances[~np.eye(len(chosen), dtype=bool)].min())

    chosen = farthest_points(points, 100)
    assert chosen.shape == (100, 3)
    assert closest_pair(chosen) > 5 * closest_pair(points[:100])
    assert set(map(tuple, chosen)) <= set(map(tuple, points))


def test_farthest_points_of_a_million_take_no_time_and_few_are_all_returned() -> None:
    points = np.random.default_rng(2).uniform(size=(1_000_000, 3))
    before = time.perf_counter()
    chosen = farthest_points(points, 100, seed=5)
    assert time.perf_counter() - before < 5
    assert np.array_equal(chosen, farthest_points(points, 100, seed=5))
    assert len(farthest_points(points[:7], 100)) == 7
    with pytest.raises(ValueError, match="no voxels"):
        farthest_points(np.zeros((0, 3)))


def test_the_wilson_interval_agrees_with_published_values() -> None:
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson_interval(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson_interval(23, 24) == pytest.approx((0.7976, 0.9926), abs=1e-3)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="11 successes in 10"):
        wilson_interval(11, 10)


def test_the_reprojection_distance_is_blind_along_the_beam_and_honest_across() -> None:
    point = TRUE[:3, 3] + 500 * TRUE[:3, 2]
    assert mrpd(moved(translation((0, 0, 20))), TRUE, [point]) == pytest.approx(0.0, abs=1e-9)
    # By hand: the ray through (3, 4, 500) passes the point on the axis at 500 * 5 / sqrt(500^2 + 5^2).
    assert mrpd(moved(translation((3, 4, 0))), TRUE, [point]) == pytest.approx(500 * 5 / np.hypot(500, 5))
    assert mrpd(moved(translation((0, 0, -600))), TRUE, [point]) == float("inf")


def test_the_reprojection_distance_is_what_the_detector_shows_scaled_back_to_the_point() -> None:
    intrinsics = Intrinsics.centered(1000.0, (0.5, 0.5), (101, 101))
    point = TRUE[:3, 3] + 500 * TRUE[:3, 2]
    other = moved(increment((0.5, -0.3, 2, 0.001, 0.002, -0.003), (0, 0, 480)))
    assert mrpd(other, TRUE, [point]) == pytest.approx(mpd(other, TRUE, intrinsics, [point]) / 2, rel=1e-3)


def test_errors_are_zero_for_the_truth_and_the_angle_is_symmetric() -> None:
    other = moved(increment((5, 4, 3, 0.1, -0.2, 0.15), (0, 0, 700)))
    assert mrpd(TRUE, TRUE, POINTS) == pytest.approx(0, abs=1e-9)
    assert double_geodesic(TRUE, TRUE, 1020, VIEW.isocenter) == pytest.approx(0, abs=1e-6)
    assert xvr_mtre(TRUE, TRUE, POINTS, VIEW.isocenter) == 0
    assert geodesic_deg(other, TRUE) == pytest.approx(geodesic_deg(TRUE, other))
    assert geodesic_deg(other, TRUE) == pytest.approx(np.degrees(np.linalg.norm((0.1, -0.2, 0.15))))


def test_errors_per_axis_are_those_of_the_true_camera() -> None:
    center = invert(TRUE)[:3] @ [*POINTS.mean(axis=0), 1]
    vector = np.radians((1.0, -2.0, 0.5))
    errors = axis_errors(moved(increment([3, 4, -7, *vector], center)), TRUE, POINTS)
    assert errors.shift_mm == pytest.approx((3, 4, -7))
    assert errors.rotation_deg == pytest.approx((1, -2, 0.5))


@pytest.mark.parametrize(("axis", "names"), [((1, 0, 0), "across the beam"), ((0, 0, 1), "about the beam")])
def test_xvrs_own_measures_have_the_values_that_its_code_gave(axis: tuple[int, int, int], names: str) -> None:
    """Its evaluator, run at 720 mm and SDD 1020 mm, gave a double geodesic of 8.90 mm for one degree, an mTRE of 12.6 across."""
    view = NominalView("AP", (10.0, -20.0, 30.0), 720.0)
    turned = view.absolute(relative_motion(np.array(axis, dtype=float), (0, 0, 0)))
    isocenter = np.array(view.isocenter)
    assert double_geodesic(turned, view.pose, 1020.0, isocenter) == pytest.approx(8.90, abs=0.005)
    chord = 2 * np.sin(np.radians(0.5))
    assert mtre(turned, view.pose, [isocenter]) == pytest.approx(0, abs=1e-9)
    # xvr takes the centre of the volume for the source: across the beam it swings with the arm, about it it stays.
    expected = 720 * chord if names == "across the beam" else 0.0
    assert xvr_mtre(turned, view.pose, [isocenter], isocenter) == pytest.approx(expected, abs=1e-9)
    assert xvr_mtre(view.absolute(translation((0, 0, 10))), view.pose, POINTS, isocenter) == pytest.approx(10.0)


def test_ssim_agrees_with_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics")
    rng = np.random.default_rng(3)
    a = rng.normal(size=(60, 45)).cumsum(axis=0)
    b = 0.8 * a + rng.normal(scale=0.5, size=a.shape)
    span = float(a.max() - a.min())
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    assert ssim(a, b, span) == pytest.approx(metrics.structural_similarity(a, b, data_range=span, **settings))


def test_image_similarity_sees_neither_scale_nor_offset_and_css_no_luminance() -> None:
    rng = np.random.default_rng(4)
    a = rng.normal(size=(64, 64)).cumsum(axis=1)
    same = image_similarity(a, 3.5 * a - 20)
    assert (same.ncc, same.ssim, same.css) == pytest.approx((1, 1, 1))
    noisy = image_similarity(a, a + rng.normal(size=a.shape))
    noisier = image_similarity(a, a + 3 * rng.normal(size=a.shape))
    for name in ("ncc", "ssim", "css"):
        assert 1 > getattr(noisy, name) > getattr(noisier, name)
    # A shift of the grey level alone: contrast and structure are perfect, luminance is not.
    assert css(a, a + 5, 10.0) == pytest.approx(1.0)
    assert ssim(a, a + 5, 10.0) < 0.95
    assert ncc(a, np.ones_like(a)) == 0


def test_the_area_under_a_survival_curve_is_its_integral() -> None:
    errors = np.append(np.random.default_rng(5).exponential(3, 400), [np.inf, np.nan])
    limits = np.linspace(0, 10, 20_001)
    curve = survival(errors, limits)
    assert area_under_survival(errors, 10) == pytest.approx(np.trapezoid(curve, limits) / 10, abs=1e-3)
    assert curve[-1] == np.mean(np.nan_to_num(errors, nan=np.inf) <= 10)
    assert (np.diff(curve) >= 0).all()
    assert area_under_survival([0, 0], 10) == 1
    assert area_under_survival([np.inf, 11], 10) == 0


def test_rates_count_what_is_below_the_limit_and_nothing_unknown() -> None:
    rate = success_rate([0.5, 1.0, np.inf, np.nan, 0.9], 1.0)
    assert (rate.successes, rate.n) == (2, 5)
    assert (rate.low, rate.high) == wilson_interval(2, 5)
    assert success_rate([], 1.0).to_dict()["rate"] is None


def test_calibration_finds_a_probability_that_is_right_and_one_that_is_not() -> None:
    rng = np.random.default_rng(6)
    p = rng.uniform(size=20_000)
    came = rng.uniform(size=p.size) < p
    edges = np.linspace(0, 1, 6)
    right = calibration(np.append(p, np.nan), np.append(came, True), edges)
    assert sum(b.observed.n for b in right) == p.size
    assert all(abs(b.predicted - b.observed.rate) < 0.03 for b in right)
    timid = calibration(p**2, came, edges)
    assert max(b.observed.rate - b.predicted for b in timid) > 0.2
