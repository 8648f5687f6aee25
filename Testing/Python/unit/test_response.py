"""What a detector makes of line integrals: its derivatives, what it is against a plain computation, and that it is recovered."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from XVRegistrationLib.evaluation.simulation import Detector, expose
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import increment, point_distance
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.imaging.intensity import line_integral
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.registration.objective import Estimates, FreeParameters, View, active_bounds
from XVRegistrationLib.registration.refine import refine
from XVRegistrationLib.registration.response import LIMITS, NAMES, NEUTRAL, clipped, respond
from XVRegistrationLib.registration.similarity import Similarity
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.render import render

SIZE = (60, 72)
CAMERA = Intrinsics.centered(1000.0, (4.0, 4.5), SIZE[::-1])
FREE = FreeParameters(response=True)
PLAIN = Detector(0.0, 40.0, 0.0, 1e7, 1.0, 16)


@pytest.fixture
def images() -> tuple[torch.Tensor, torch.Tensor]:
    """Line integrals (1, H, W) and three derivatives (1, 3, H, W) of them, float64, smooth, highest in the middle."""
    rng = np.random.default_rng(0)
    blobs = gaussian_filter(rng.normal(size=(4, *SIZE)), (0, 3, 3))
    row, column = np.mgrid[-1 : 1 : SIZE[0] * 1j, -1 : 1 : SIZE[1] * 1j]
    image = 4 * np.exp(-2 * (row**2 + column**2)) + 3 * np.abs(blobs[0])
    return torch.from_numpy(image)[None], torch.from_numpy(blobs[1:])[None]


@pytest.mark.parametrize(
    "values", [(0.0, 0.0, 0.0), (0.5, 0.0, 0.0), (0.0, 0.8, 0.0), (0.0, 0.0, 0.3), (1.5, 0.5, -0.2)]
)
def test_the_derivatives_by_the_pose_and_by_the_response_are_those_of_the_image(images, values):
    image, jacobian = images
    at = torch.tensor([values], dtype=torch.float64)
    _, found = respond(image, jacobian, at, CAMERA)
    h = 1e-5
    for p in range(3):
        ahead, behind = (respond(image + s * h * jacobian[:, p], jacobian, at, CAMERA)[0] for s in (1, -1))
        np.testing.assert_allclose(found[:, p], (ahead - behind) / (2 * h), atol=1e-6)
    for k in range(3):
        move = h * torch.eye(3, dtype=torch.float64)[k]
        ahead, behind = (respond(image, jacobian, at + s * move, CAMERA)[0] for s in (1, -1))
        np.testing.assert_allclose(found[:, 3 + k], (ahead - behind) / (2 * h), atol=1e-6, err_msg=NAMES[k])


def test_a_neutral_detector_changes_nothing(images):
    image, jacobian = images
    seen, derivatives = respond(image, jacobian, torch.tensor([NEUTRAL], dtype=torch.float64), CAMERA)
    np.testing.assert_allclose(seen, image, atol=1e-12)
    np.testing.assert_allclose(derivatives[:, :3], jacobian, atol=1e-12)


@pytest.mark.parametrize("camera", [CAMERA, Intrinsics.centered(1000.0, (2.0, 5.0), SIZE[::-1])])
def test_scatter_is_the_primary_radiation_under_a_gaussian(images, camera):
    image, jacobian = images
    seen, _ = respond(image, jacobian, torch.tensor([[1.3, 0.0, 0.0]], dtype=torch.float64), camera)
    primary = np.exp(-image[0].numpy())
    dx, dy = camera.spacing
    expected = -np.log(primary + 1.3 * gaussian_filter(primary, (40 / dy, 40 / dx), mode="nearest"))
    assert np.abs(seen[0].numpy() - expected).mean() < 0.02
    assert np.corrcoef(seen[0].numpy().ravel(), expected.ravel())[0, 1] > 0.999


def test_scatter_comes_through_a_collimators_opening_alone(images):
    """As the Gaussian of what the opening lets through, with derivatives that are the image's own."""
    image, jacobian = images
    opening = torch.zeros(image.shape[1:], dtype=torch.float64)
    opening[4:-6, 5:-12] = 1.0
    values = torch.tensor([[1.3, 0.0, 0.0]], dtype=torch.float64)
    seen, derivatives = respond(image, jacobian, values, CAMERA, opening)
    primary = np.exp(-image[0].numpy())
    dx, dy = CAMERA.spacing
    expected = -np.log(primary + 1.3 * gaussian_filter(primary * opening.numpy(), (40 / dy, 40 / dx), mode="nearest"))
    inside = opening.numpy() > 0
    assert np.abs(seen[0].numpy() - expected)[inside].mean() < 0.02
    ahead, behind = (
        respond(image + step * jacobian[:, 0], jacobian, values, CAMERA, opening)[0] for step in (1e-4, -1e-4)
    )
    np.testing.assert_allclose(derivatives[:, 0], (ahead - behind) / 2e-4, atol=1e-6)


def test_blur_spreads_the_radiation_by_its_variance_and_not_the_logarithm(images):
    image, jacobian = images
    seen, _ = respond(image, jacobian, torch.tensor([[0.0, 1.0, 0.0]], dtype=torch.float64), CAMERA)
    expected = -np.log(gaussian_filter(np.exp(-image[0].numpy()), 1.0, mode="nearest"))
    of_logarithm = gaussian_filter(image[0].numpy(), 1.0, mode="nearest")
    changed = np.abs(of_logarithm - expected).mean()
    assert np.abs(seen[0].numpy() - expected).mean() < 0.3 * changed


@pytest.mark.parametrize("variance", [0.4, LIMITS[1][1]])
def test_what_blur_makes_of_a_point_is_a_spot_of_that_variance(variance):
    small = 1e-5  # so that intensities and logarithms are the same
    point = torch.zeros(1, 31, 31, dtype=torch.float64)
    point[0, 15, 15] = small
    spot = respond(point, point[:, None], torch.tensor([[0.0, variance, 0.0]]).double(), CAMERA)[0][0] / small
    rows = torch.arange(31.0, dtype=torch.float64) - 15
    assert float(spot.sum()) == pytest.approx(1, abs=1e-3)
    assert float((spot * rows[:, None] ** 2).sum()) == pytest.approx(variance, rel=1e-2)
    assert float((spot * rows[None, :] ** 2).sum()) == pytest.approx(variance, rel=1e-2)
    assert float(spot.min()) > -1e-4  # no edge is sharpened


def test_contrast_bends_the_curve_and_keeps_its_order(images):
    image, jacobian = images
    order = torch.argsort(image.flatten())
    for bend in LIMITS[2]:
        seen, _ = respond(image, jacobian, torch.tensor([[0.0, 0.0, bend]], dtype=torch.float64), CAMERA)
        assert (seen.flatten()[order].diff() >= 0).all()
    up = respond(image, jacobian, torch.tensor([[0.0, 0.0, 0.3]], dtype=torch.float64), CAMERA)[0]
    middle = image.flatten()[order[len(order) // 2]]
    assert float((up / image).flatten()[order[-1]]) > float((up / image)[image == middle][0])


def test_parameters_stay_within_their_limits():
    low, high = np.array(LIMITS).T
    np.testing.assert_array_equal(clipped(np.array([[-9.0, -9, -9], [9, 9, 9]])), [low, high])
    assert (low <= NEUTRAL).all()
    assert (high >= NEUTRAL).all()


@pytest.fixture(scope="module")
def scene(phantom):
    """Grid, pivot, true pose and camera of a phantom."""
    view = NominalView("AP", tuple(phantom.center), 700.0)
    pose = increment([4.0, -6.0, 3.0, 0.06, -0.05, 0.04], phantom.center) @ view.pose
    return density_grid(phantom), phantom.center, pose, Intrinsics(1020.0, (4.0, 4.4), (49.0, 44.0), (96, 90))


def seen_by(scene, detector: Detector) -> torch.Tensor:
    grid, _, pose, camera = scene
    ideal = render(grid, pose[None], camera, step=1.5)[0].numpy()
    pixels, _ = expose(ideal, camera, detector, np.random.default_rng(0))
    return torch.from_numpy(line_integral(Xray("xray", pixels, camera)))


def refined(
    scene, detector: Detector, free: FreeParameters, start=(3.0, -2.0, 8.0, 0.02, -0.02, 0.03), response=NEUTRAL
):
    grid, pivot, pose, camera = scene
    view = View(seen_by(scene, detector), camera, (grid,), 1.5, Similarity((0, 16), robust=0.3))
    begin = Estimates.at((increment(start, pivot) @ pose)[None])
    begin.response[:] = response
    return refine(begin, [view], pivot[None], 30, free, stop_at_gain=0.0, stop_at_mm=0.01, damping=1e-5)


def depth_error(found, scene) -> float:
    _, pivot, pose, _ = scene
    return float(abs((np.linalg.inv(found.estimates.poses[0, 0]) - np.linalg.inv(pose))[2] @ [*pivot, 1]))


@pytest.mark.parametrize(
    ("detector", "values", "tolerance"),
    [
        (Detector(0.6, 40.0, 0.0, 1e7, 1.0, 16), (0.6, 0.0, 0.0), (0.12, 0.1, 0.05)),
        (Detector(0.0, 40.0, 0.9, 1e7, 1.0, 16), (0.0, 0.81, 0.0), (0.05, 0.12, 0.05)),
        (Detector(0.4, 40.0, 0.6, 1e7, 1.0, 16), (0.4, 0.36, 0.0), (0.12, 0.12, 0.05)),
    ],
)
def test_a_known_detector_is_recovered_together_with_the_pose(scene, detector, values, tolerance):
    found = refined(scene, detector, FREE)
    error = np.abs(found.estimates.response[0, 0] - values)
    assert (error < tolerance).all(), found.estimates.response[0, 0]
    assert depth_error(found, scene) < 0.5


@pytest.mark.parametrize("ratio", [0.3, 1.0])
def test_with_scatter_depth_is_better_when_the_response_is_estimated(scene, ratio):
    detector = Detector(ratio, 40.0, 0.5, 1e6, 1.0, 16)
    without, with_it = (depth_error(refined(scene, detector, free), scene) for free in (FreeParameters(), FREE))
    assert with_it < 0.5 * without
    assert with_it < 1.0


def test_a_blur_held_at_nothing_does_not_hold_the_pose(scene):
    """The X-ray is sharper than its render can be: the blur would go below zero, and what is left moves on."""
    grid, pivot, pose, camera = scene
    ideal = render(grid, pose[None], camera, step=1.5)[0]
    sharper = ideal - 0.3 * torch.from_numpy(gaussian_filter(ideal.numpy(), 1.0) - ideal.numpy())
    view = View(sharper, camera, (grid,), 1.5, Similarity((0, 16), robust=0.3))
    for blur in (0.0, 0.05):  # at its limit, and so near that the first step would cross it
        start = Estimates.at((increment([3.0, -2.0, 8.0, 0.02, -0.02, 0.03], pivot) @ pose)[None])
        start.response[..., 1] = blur
        found = refine(start, [view], pivot[None], 25, FREE, stop_at_gain=0.0, stop_at_mm=0.01, damping=1e-5)
        assert found.estimates.response[0, 0, 1] == 0
        assert point_distance(found.estimates.poses[0, 0], pose, pivot + 50 * np.eye(3)) < 0.5


def test_what_a_limit_holds_is_only_what_would_cross_it():
    estimates = Estimates.at(np.eye(4)[None], views=2)
    estimates.response[0, 1] = [4.0, 0.3, 0.1]
    gradient = np.zeros((1, 18))
    gradient[0, 6:12] = [1.0, -1.0, 5.0, -1.0, 5.0, -5.0]
    stuck = active_bounds(estimates, gradient)
    assert np.flatnonzero(stuck[0]).tolist() == [6, 9]
    gradient[0, 6:12] *= -1
    assert np.flatnonzero(active_bounds(estimates, gradient)[0]).tolist() == [7]
