"""Rays, epipolar lines and triangulation, against projected points and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import least_squares

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics, pixel_to_camera, project, projection_matrix
from XVRegistrationLib.geometry.epipolar import epipolar_line, ray, triangulate
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.geometry.views import NominalView, PoseRange, draw_poses

CENTER = (10.0, -20.0, 30.0)
PLAIN = Intrinsics(1020.0, (0.5, 0.6), (300.0, 280.0), (640, 600))
MIRRORED = Intrinsics(1100.0, (0.4, 0.4), (350.0, 320.0), (700, 650), True)
RANGE = PoseRange((20.0, 20.0, 20.0), (20.0, 20.0, 20.0))


def pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Poses of an AP and a lateral X-ray."""
    rng = np.random.default_rng(seed)
    a, b = (draw_poses(NominalView(name, CENTER, 700.0), RANGE, 1, rng)[0] for name in ("AP", "LLAT"))
    return a, b


def points(count: int, seed: int = 0) -> np.ndarray:
    return np.array(CENTER) + np.random.default_rng(seed).uniform(-60, 60, (count, 3))


@pytest.mark.parametrize("camera", [PLAIN, MIRRORED])
def test_everything_on_a_pixels_ray_is_seen_at_the_pixel(camera):
    pose = pair(0)[0]
    source, direction = ray([123.0, 456.0], pose, camera)
    assert np.linalg.norm(direction) == pytest.approx(1)
    np.testing.assert_allclose(source, pose[:3, 3])
    for distance in (10.0, 500.0, 3000.0):
        np.testing.assert_allclose(project(source + distance * direction, pose, camera), [123, 456], atol=1e-9)


def test_a_points_image_lies_on_the_epipolar_line_of_its_other_image():
    for seed in range(5):
        a, b = pair(seed)
        for x in 0.5 * (points(20, seed) + CENTER):
            u, v = project(x, a, PLAIN), project(x, b, MIRRORED)
            assert ((v > 0) & (v < np.array(MIRRORED.size) - 1)).all()
            segment = epipolar_line(u, a, PLAIN, b, MIRRORED)
            assert segment is not None
            along = segment[1] - segment[0]
            share = (v - segment[0]) @ along / (along @ along)
            assert 0 < share < 1
            np.testing.assert_allclose(segment[0] + share * along, v, atol=1e-8)


def test_the_line_obeys_the_fundamental_matrix_and_ends_at_the_border_or_the_ends_of_the_ray():
    a, b = pair(7)
    p_a, p_b = projection_matrix(a, PLAIN), projection_matrix(b, MIRRORED)
    epipole = p_b @ np.append(a[:3, 3], 1)
    cross = np.array([[0, -epipole[2], epipole[1]], [epipole[2], 0, -epipole[0]], [-epipole[1], epipole[0], 0]])
    fundamental = cross @ p_b @ np.linalg.pinv(p_a)  # Hartley and Zisserman, (9.1)
    for pixel in ([100.0, 80.0], [320.0, 300.0], [600.0, 500.0]):
        line = fundamental @ [*pixel, 1]
        segment = epipolar_line(pixel, a, PLAIN, b, MIRRORED)
        ends = np.column_stack([segment, np.ones(2)])
        assert np.abs(ends @ line / np.linalg.norm(line[:2])).max() < 1e-6
        detector = project(transform_points(a, pixel_to_camera(pixel, PLAIN)), b, MIRRORED)
        for end in segment:
            inside = np.minimum(end + 0.5, np.array(MIRRORED.size) - 0.5 - end)
            assert (inside > -1e-6).all()
            at_border = np.abs(inside).min() < 1e-6
            assert at_border or np.linalg.norm(end - detector) < 1e-6


def test_there_is_no_line_where_the_ray_is_not_seen():
    a, b = pair(1)
    away = b.copy()
    away[:3, 3] += 5000 * b[:3, 0]
    assert epipolar_line([300.0, 300.0], a, PLAIN, away, MIRRORED) is None
    behind = b @ np.diag([-1.0, 1, -1, 1])  # turned about its source, towards nothing
    assert epipolar_line([300.0, 300.0], a, PLAIN, behind, MIRRORED) is None
    assert epipolar_line([300.0, 300.0], a, PLAIN, a, PLAIN) is None


def test_a_point_seen_in_several_xrays_is_found():
    for seed in range(5):
        a, b = pair(seed)
        for x in points(5, seed):
            found = triangulate([project(x, a, PLAIN), project(x, b, MIRRORED)], [a, b], [PLAIN, MIRRORED])
            np.testing.assert_allclose(found.point, x, atol=1e-8)
            assert max(found.distance_mm.max(), found.residual_px.max()) < 1e-7


@pytest.mark.parametrize("views", [2, 3])
def test_noisy_clicks_give_the_most_likely_point_and_its_distances(views):
    rng = np.random.default_rng(3)
    for seed in range(10):
        poses = [*pair(seed), pair(seed + 50)[0]][:views]
        cameras = [PLAIN, MIRRORED, PLAIN][:views]
        x = points(1, seed)[0]
        pixels = np.array([project(x, *c) for c in zip(poses, cameras, strict=True)]) + rng.normal(size=(views, 2)) * 3
        found = triangulate(pixels, poses, cameras)

        def residuals(y, poses=poses, cameras=cameras, pixels=pixels):
            seen = np.array([project(y, *c) for c in zip(poses, cameras, strict=True)])
            return (seen - pixels).ravel()

        best = least_squares(residuals, x, xtol=1e-14, ftol=1e-14, gtol=1e-14)
        np.testing.assert_allclose(found.point, best.x, atol=1e-3)
        np.testing.assert_allclose(found.residual_px, np.linalg.norm(best.fun.reshape(-1, 2), axis=1), atol=1e-3)
        for pixel, pose, camera, distance in zip(pixels, poses, cameras, found.distance_mm, strict=True):
            source, direction = ray(pixel, pose, camera)
            assert distance == pytest.approx(np.linalg.norm(np.cross(found.point - source, direction)), abs=1e-9)


def test_rays_that_fix_no_point_are_refused():
    a, b = pair(0)
    x = np.array(CENTER)
    u, v = project(x, a, PLAIN), project(x, b, MIRRORED)
    with pytest.raises(InputError, match="parallel"):
        triangulate([u, u], [a, a], [PLAIN, PLAIN])
    with pytest.raises(InputError, match="two or more"):
        triangulate([u], [a], [PLAIN])
    with pytest.raises(InputError, match="column and a row"):
        triangulate([u, [np.nan, 3]], [a, b], [PLAIN, MIRRORED])
    with pytest.raises(InputError, match="pose of X-ray 2"):
        triangulate([u, v], [a, 2 * b], [PLAIN, MIRRORED])
    turned = b @ np.diag([-1.0, 1, -1, 1])
    w = [MIRRORED.size[0] - 1 - (2 * MIRRORED.principal_point[0] - (MIRRORED.size[0] - 1 - v[0])), v[1]]
    with pytest.raises(InputError, match="behind the source of X-ray 2"):
        triangulate([u, [w[0], 2 * MIRRORED.principal_point[1] - w[1]]], [a, turned], [PLAIN, MIRRORED])
