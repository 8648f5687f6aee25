"""What is stated about a pose's error, against poses that were drawn, found again under noise, and against plain geometry."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.geometry.rigid import increment, invert, rigid, rotation_from_vector, transform_points
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.registration.covariance import FLOOR_MM, SCALE_SD, pose_uncertainty, sandwich_covariance
from XVRegistrationLib.registration.objective import DepthPrior, Estimates, View
from XVRegistrationLib.registration.result import PoseUncertainty, Registration
from XVRegistrationLib.registration.similarity import Similarity
from XVRegistrationLib.registration.stages import SearchResult, Stage, run_stages
from XVRegistrationLib.registration.uncertainty import ellipse_points, target_uncertainty, weakest_freedom
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.render import render

CAMERAS = {
    "plain": Intrinsics(1020.0, (4.0, 4.4), (49.0, 44.0), (96, 90)),
    "unequal": Intrinsics(1000.0, (2.0, 6.0), (90.0, 30.0), (190, 66)),
    "mirrored": Intrinsics(1020.0, (4.0, 4.4), (40.0, 44.0), (96, 90), mirrored=True),
}
SD = np.array([0.5, 1.5, 0.8, 0.004, 0.002, 0.006])
STAGES = (Stage(96, Similarity((0, 16), robust=0.3), 12, 1, stop_at_gain=0.0, stop_at_mm=1e-3, damping=1e-5),)


@pytest.fixture(scope="module")
def pose(phantom):
    view = NominalView("AP", tuple(phantom.center), 700.0)
    return increment([4.0, -6.0, 3.0, 0.06, -0.05, 0.04], phantom.center) @ view.pose


@pytest.fixture(scope="module")
def covariance():
    """(6, 6), with correlations between all parameters."""
    mix = np.random.default_rng(0).normal(size=(6, 6)) * 0.4 + np.eye(6)
    mix /= np.linalg.norm(mix, axis=1, keepdims=True)
    return SD[:, None] * (mix @ mix.T) * SD


def stated(pose, camera, pivot, covariance, scale=None) -> Registration:
    spread = PoseUncertainty(np.asarray(pivot), covariance, np.zeros((6, 6)) if scale is None else scale)
    return Registration("xray", pose, camera, 0.9, 1.0, uncertainty=spread)


def targets(pivot) -> np.ndarray:
    return pivot + np.array([[0.0, 0, 0], [60, 20, -30], [-50, 40, 60], [10, -70, 40]])


@pytest.mark.parametrize("name", CAMERAS)
def test_true_projections_lie_in_the_ellipses_and_depths_in_the_intervals_as_often_as_stated(
    phantom, pose, covariance, name
):
    """Poses drawn from the covariance: each shows the targets elsewhere, in the ellipse in 95 of 100 cases."""
    camera, pivot = CAMERAS[name], phantom.center
    found = target_uncertainty(stated(pose, camera, pivot, covariance), targets(pivot))
    drawn = np.random.default_rng(1).multivariate_normal(np.zeros(6), covariance, 4000)
    true = increment(drawn, pivot) @ pose
    for i, x in enumerate(targets(pivot)):
        seen = np.array([project(x, t, camera) for t in true]) - found.pixels[i]
        angle = np.radians(found.angle_deg[i])
        along = seen @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        inside = ((along / found.semi_axes[i]) ** 2).sum(axis=1) < 1
        assert inside.mean() == pytest.approx(0.95, abs=0.012)
        # The axes are those of the ellipse, and not of a circle of the same area.
        assert np.corrcoef(along.T)[0, 1] == pytest.approx(0, abs=0.06)
        assert found.semi_axes[i, 0] == pytest.approx(2.448 * along[:, 0].std(), rel=0.05)
        depth = np.array([transform_points(invert(t), x)[2] for t in true]) - transform_points(invert(pose), x)[2]
        assert (np.abs(depth) < found.depth_mm[i]).mean() == pytest.approx(0.95, abs=0.012)
        plane = seen * camera.spacing * transform_points(invert(pose), x)[2] / camera.sdd
        worst = np.sqrt(np.linalg.eigvalsh(np.cov(plane.T))[1])
        assert found.in_plane_mm[i] == pytest.approx(2.448 * worst, rel=0.05)


@pytest.mark.parametrize("name", CAMERAS)
def test_an_ellipses_outline_is_where_its_axes_are(phantom, pose, covariance, name):
    found = target_uncertainty(stated(pose, CAMERAS[name], phantom.center, covariance), targets(phantom.center))
    for i in range(4):
        outline = ellipse_points(found, i, 360)
        assert outline.shape == (360, 2)
        distance = np.linalg.norm(outline - found.pixels[i], axis=1)
        np.testing.assert_allclose([distance.max(), distance.min()], found.semi_axes[i], rtol=1e-3)
        far = outline[distance.argmax()] - found.pixels[i]
        assert (np.degrees(np.arctan2(far[1], far[0])) - found.angle_deg[i] + 90) % 180 == pytest.approx(90, abs=1)


def test_mirroring_the_image_mirrors_the_ellipses(phantom, pose, covariance):
    plain = CAMERAS["plain"]
    one, other = (
        target_uncertainty(stated(pose, c, phantom.center, covariance), targets(phantom.center))
        for c in (plain, dataclasses.replace(plain, mirrored=True))
    )
    np.testing.assert_allclose(other.pixels[:, 0], plain.size[0] - 1 - one.pixels[:, 0])
    np.testing.assert_allclose(other.semi_axes, one.semi_axes)
    np.testing.assert_allclose((one.angle_deg + other.angle_deg + 90) % 180, 90, atol=1e-6)
    np.testing.assert_allclose(other.in_plane_mm, one.in_plane_mm)


def test_an_error_of_scale_is_one_of_depth_alone(phantom, pose, covariance):
    along = np.zeros((6, 6))
    along[:3, :3] = 5.0**2 * np.outer(pose[:3, 2], pose[:3, 2])
    without, with_it = (
        target_uncertainty(stated(pose, CAMERAS["plain"], phantom.center, covariance, s), targets(phantom.center))
        for s in (None, along)
    )
    np.testing.assert_allclose(with_it.semi_axes, without.semi_axes)
    np.testing.assert_allclose(with_it.in_plane_mm, without.in_plane_mm)
    np.testing.assert_allclose(with_it.depth_mm, np.hypot(without.depth_mm, 1.96 * 5.0))


def test_a_target_behind_the_source_has_no_ellipse_and_a_result_may_state_nothing(phantom, pose, covariance):
    result = stated(pose, CAMERAS["plain"], phantom.center, covariance)
    behind = pose[:3, 3] - 50 * pose[:3, 2]
    found = target_uncertainty(result, np.stack([phantom.center, behind]))
    assert np.isfinite(found.semi_axes[0]).all()
    assert np.isnan(found.semi_axes[1]).all()
    assert np.isnan(found.pixels[1]).all()
    with pytest.raises(InputError, match="states no uncertainty"):
        target_uncertainty(dataclasses.replace(result, uncertainty=None), phantom.center)


@pytest.mark.parametrize(
    ("axis", "sd", "words"),
    [
        (0, 1.0, "shift along the image's rows: +-2.0 mm"),
        (1, 2.0, "shift along its columns: +-3.9 mm"),
        (2, 3.0, "depth along the beam: +-5.9 mm"),
        (3, 0.1, "tilt about the image's horizontal: +-11.2 degrees"),
        (4, 0.1, "turn about its vertical: +-11.2 degrees"),
        (5, 0.1, "spin in the image's plane: +-11.2 degrees"),
    ],
)
def test_the_weakest_freedom_is_named_in_the_cameras_axes(axis, sd, words):
    """The camera is turned, so that the volume's axes are others."""
    turned = rigid(rotation_from_vector([0.3, -1.2, 0.7]), [10.0, 20.0, 30.0])
    own = np.diag(np.array([0.1, 0.1, 0.1, 1e-3, 1e-3, 1e-3]) ** 2)
    own[axis, axis] = sd**2
    turn = np.kron(np.eye(2), turned[:3, :3])
    spread = PoseUncertainty(np.zeros(3), turn @ own @ turn.T, np.zeros((6, 6)))
    assert words in weakest_freedom(spread, turned)
    by_scale = PoseUncertainty(np.zeros(3), np.eye(6) * 1e-8, turn @ own @ turn.T)
    assert words in weakest_freedom(by_scale, turned)


def found_from(phantom, xray, camera, start) -> SearchResult:
    grid = density_grid(phantom)

    def views_at(stage: Stage, estimates: Estimates) -> list[View]:
        return [View(xray, camera, (grid,), 2.0, stage.similarity)]

    return run_stages(Estimates.at(start[None]), views_at, phantom.center[None], STAGES)


@pytest.fixture(scope="module")
def repeated(phantom, pose):
    """The pose found under 24 draws of noise: its errors (24, 6), and the covariances stated (24, 6, 6)."""
    camera, pivot = CAMERAS["plain"], phantom.center
    ideal = render(density_grid(phantom), pose[None], camera, 2.0)[0]
    errors, spreads = [], []
    for seed in range(24):
        noise = np.random.default_rng(seed).normal(0, 0.12, ideal.shape)
        found = found_from(phantom, ideal + torch.from_numpy(noise).float(), camera, pose)
        moved = found.estimates.poses[0, 0] @ invert(pose)
        turn = moved[:3, :3] - moved[:3, :3].T
        errors.append(
            np.r_[transform_points(moved, pivot) - pivot, 0.5 * turn[2, 1], 0.5 * turn[0, 2], 0.5 * turn[1, 0]]
        )
        spreads.append(pose_uncertainty(sandwich_covariance(found, pivot[None]), pivot[None]))
    return np.array(errors), spreads


def test_poses_found_under_noise_scatter_as_is_stated(pose, repeated):
    """In the camera's axes, each freedom's standard deviation within a factor of three of what the covariances state."""
    errors, spreads = repeated
    turn = np.kron(np.eye(2), pose[:3, :3].T)
    seen = (errors @ turn.T).std(axis=0)
    said = np.sqrt(np.mean([np.diag(turn @ s.covariance @ turn.T) for s in spreads], axis=0))
    assert (seen > 1.5 * FLOOR_MM * np.array([0, 0, 1, 0, 0, 0])).all()  # in depth, noise is what decides
    ratio = said / seen
    assert ratio[2] == pytest.approx(1, rel=2 / 3) or 1 <= ratio[2] < 3
    assert (ratio > 1 / 3).all(), ratio
    assert (ratio[2:5] < 3).all(), ratio  # the others are as small as the floor


def test_what_is_stated_covers_what_noise_does_to_targets(phantom, pose, repeated):
    """Of all targets under all noises, nearly all appear within the stated ellipses; not by far too large ones."""
    errors, spreads = repeated
    points, camera = targets(phantom.center), CAMERAS["plain"]
    inside, sizes, lengths = [], [], []
    for xi, spread in zip(errors, spreads, strict=True):
        found = increment(xi, phantom.center) @ pose
        region = target_uncertainty(Registration("x", found, camera, 0.9, 1.0, uncertainty=spread), points)
        seen = project(points, pose, camera) - region.pixels
        angle = np.radians(region.angle_deg)
        along = seen[:, 0] * np.cos(angle) + seen[:, 1] * np.sin(angle)
        across = -seen[:, 0] * np.sin(angle) + seen[:, 1] * np.cos(angle)
        inside += ((along / region.semi_axes[:, 0]) ** 2 + (across / region.semi_axes[:, 1]) ** 2 < 1).tolist()
        sizes += region.semi_axes[:, 0].tolist()
        lengths += np.linalg.norm(seen, axis=1).tolist()
    assert np.mean(inside) > 0.9
    assert np.median(sizes) < 10 * np.median(lengths)


def test_scale_moves_the_pose_along_the_beam_by_its_share_of_the_depth(phantom, pose, repeated):
    _, spreads = repeated
    depth = transform_points(invert(pose), phantom.center)[2]
    turn = np.kron(np.eye(2), pose[:3, :3].T)
    for spread in spreads[:4]:
        sd = np.sqrt(np.diag(turn @ spread.scale @ turn.T))
        assert sd[2] == pytest.approx(SCALE_SD * depth, rel=0.05)
        assert sd[:2].max() < 0.05 * sd[2]
        assert 50 * sd[3:].max() < 0.05 * sd[2]


def test_more_noise_leaves_more_open(phantom, pose):
    camera = CAMERAS["plain"]
    ideal = render(density_grid(phantom), pose[None], camera, 2.0)[0]
    noise = torch.from_numpy(np.random.default_rng(0).normal(0, 1, ideal.shape)).float()
    stated = []
    for sd in (0.05, 0.2, 0.6):
        sandwich = sandwich_covariance(found_from(phantom, ideal + sd * noise, camera, pose), phantom.center[None])
        stated.append(np.trace(pose_uncertainty(sandwich, phantom.center[None]).covariance[:3, :3]))
    assert stated[0] < stated[1] < stated[2]


@pytest.mark.parametrize("sd", [0.0, 1.0, 5.0, 1e4])
def test_a_known_depth_leaves_less_open_than_the_image_or_it_alone(phantom, pose, sd):
    ideal = render(density_grid(phantom), pose[None], CAMERAS["plain"], 2.0)[0]
    found, pivots = found_from(phantom, ideal, CAMERAS["plain"], pose), phantom.center[None]
    at, sandwich = found.estimates.poses[0, 0], sandwich_covariance(found, pivots)
    along = np.concatenate([-at[:3, 2], np.zeros(3)])
    before = pose_uncertainty(sandwich, pivots)
    after = pose_uncertainty(sandwich, pivots, 0, at, DepthPrior(700.0, sd))
    image, known = (along @ (s.covariance + s.scale) @ along for s in (before, after))
    assert known == pytest.approx(image * sd**2 / (image + sd**2), rel=1e-6, abs=1e-12)
    assert np.linalg.eigvalsh(before.covariance + before.scale - after.covariance - after.scale).min() > -1e-9
