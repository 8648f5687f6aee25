"""Metrics against values worked out by hand."""

from __future__ import annotations

import time

import numpy as np
import pytest

from XVRegistrationLib.evaluation.metrics import farthest_points, mpd, mtre, pose_error, wilson_interval
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


def test_a_pose_error_is_split_into_rotation_in_plane_and_depth() -> None:
    motion = increment([3, 4, -7, 0, np.radians(2), 0], invert(TRUE)[:3] @ [*POINTS.mean(axis=0), 1])
    error = pose_error(moved(motion), TRUE, POINTS)
    assert error.rotation_deg == pytest.approx(2.0)
    assert error.in_plane_mm == pytest.approx(5.0)
    assert error.depth_mm == pytest.approx(-7.0)


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
