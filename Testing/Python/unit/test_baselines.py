"""Other people's refinements on our renderer: their gradient, their similarities, their parameters, and what they reach."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from nanodrr.camera import make_rt_inv
from nanodrr.metrics import GradientNormalizedCrossCorrelation2d, MultiscaleNormalizedCrossCorrelation2d

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import increment, point_distance
from XVRegistrationLib.geometry.views import VIEWS, NominalView, PoseRange, draw_poses, relative_motion
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.registration.baselines import (
    PSSS,
    PSSS_AS_RELEASED,
    XVR,
    ascend,
    psss_chart,
    register_like_psss,
    register_like_xvr,
    xvr_chart,
)
from XVRegistrationLib.registration.correlation import ncc, psss_presented, xvr_presented, xvr_similarity
from XVRegistrationLib.registration.model import prepare_model
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.rendering import oracle
from XVRegistrationLib.rendering.differentiable import differentiable_render
from XVRegistrationLib.rendering.rays import rays_of
from XVRegistrationLib.rendering.render import render

NEAR = PoseRange((6.0, 6.0, 6.0), (8.0, 8.0, 8.0))
QUICK = dataclasses.replace(XVR, pixels=(48, 96), iterations=(120, 80), divisors=(1.0, 2.0))


# Many small steps of torch: on a busy computer its threads wait for one another.
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(phantom, camera):
    return prepare_model(phantom, camera, pose_range=NEAR)


@pytest.fixture(scope="module")
def points(phantom):
    corners = np.array(np.meshgrid([-60, 60], [-60, 60], [-60, 60])).reshape(3, -1).T
    return phantom.center + corners


@pytest.fixture(scope="module")
def pair(model, camera):
    """A pose, an X-ray taken at it with another contrast, and a start some mm and degrees away."""
    truth = draw_poses(model.view, NEAR, 1, np.random.default_rng(4))[0]
    image = render(model.pyramid.finest, truth[None], camera, step=0.9)[0].numpy()
    start = increment([7.0, -6.0, 9.0, 0.05, -0.04, 0.06], model.view.isocenter) @ truth
    return truth, Xray("xray", 3.0 * image + 1.0, camera, "attenuation"), start


def images(count=2, seed=0):
    """Smooth random images, one of them flat in a corner, as beside a patient."""
    noise = torch.randn(count, 1, 48, 41, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    smooth = torch.nn.functional.avg_pool2d(noise, 5, 1)
    smooth[0, :, :15, :15] = 0.25
    return smooth[:, 0]


@pytest.mark.parametrize("chart_of", [xvr_chart, psss_chart])
def test_the_gradient_by_each_recipes_parameters_is_that_of_finite_differences(model, camera, chart_of):
    small = camera.resized((40, 38))
    pose = draw_poses(model.view, NEAR, 1, np.random.default_rng(5))[0]
    weights = torch.linspace(-1, 3, 38, dtype=torch.float64)[:, None] + torch.linspace(2, -1, 40, dtype=torch.float64)
    chart = chart_of(model.view)
    grid, pivot = model.pyramid.matched_to(6.0), np.add(model.view.isocenter, [5.0, -9.0, 30.0])

    angles, shift = chart.parameters(pose)
    image = differentiable_render(grid, chart.pose(angles, shift)[None], small, pivot, 2.0)[0]
    (weights * image.double().square()).sum().backward()

    def value(parameters):
        rays = rays_of(grid, chart.matrix(*torch.from_numpy(parameters).split(3))[None], small)
        return float((weights * oracle.march(grid, rays, 2.0, None)[0].double().square()).sum())

    at = torch.cat([angles, shift]).detach().numpy()
    steps = 1e-5 * np.eye(6)
    expected = [(value(at + step) - value(at - step)) / 2e-5 for step in steps]
    found = torch.cat([angles.grad, shift.grad]).numpy()
    np.testing.assert_allclose(found[:3], expected[:3], rtol=0.01, atol=5e-3 * np.abs(expected[:3]).max())
    np.testing.assert_allclose(found[3:], expected[3:], rtol=0.01, atol=5e-3 * np.abs(expected[3:]).max())


def test_where_the_derivatives_are_taken_does_not_change_the_gradient(model, camera):
    small = camera.resized((24, 24))
    grads = []
    for pivot in (model.view.isocenter, (300.0, -200.0, 100.0)):
        pose = torch.from_numpy(model.view.pose[None]).requires_grad_()
        differentiable_render(model.pyramid.finest, pose, small, pivot, 2.0).double().square().sum().backward()
        grads.append(pose.grad.numpy())
    np.testing.assert_allclose(grads[0], grads[1], rtol=1e-3, atol=1e-4 * np.abs(grads[0]).max())


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("chart_of", [xvr_chart, psss_chart])
def test_parameters_give_their_pose_back(name, chart_of):
    view = NominalView(name, (12.0, -30.0, 55.0), 742.5)
    chart = chart_of(view)
    for pose in draw_poses(view, PoseRange((45, 45, 15), (100, 100, 200)), 5, np.random.default_rng(6)):
        np.testing.assert_allclose(chart.matrix(*chart.parameters(pose)), pose, atol=1e-9)


def test_xvrs_parameters_are_those_of_its_renderers_convention():
    """nanodrr, of the same author: its own pose from the same numbers, with its AP orientation, about the isocentre."""
    center = np.array([12.0, -30.0, 55.0])
    chart = xvr_chart(NominalView("AP", tuple(center), 742.5))
    angles, shift = np.array([0.5, -0.2, 0.3]), np.array([10.0, 700.0, -25.0])
    numbers = (torch.from_numpy(x)[None].float() for x in (np.degrees(angles), shift))
    theirs = make_rt_inv(*numbers, orientation="AP", isocenter=torch.from_numpy(center).float())[0].numpy()
    ours = chart.matrix(torch.from_numpy(angles), torch.from_numpy(shift))
    np.testing.assert_allclose(ours, theirs, atol=1e-3)


def test_psss_parameters_are_the_motion_about_the_isocentre():
    view = NominalView("LLAT", (1.0, 2.0, 3.0), 700.0)
    pose = view.absolute(relative_motion([4.0, -7.0, 9.0], [10.0, -20.0, 30.0]))
    angles, shift = psss_chart(view).parameters(pose)
    np.testing.assert_allclose(angles.detach().numpy(), [9.0, 4.0, -7.0], atol=1e-9)  # z, x, y
    np.testing.assert_allclose(shift.detach().numpy(), [10.0, -20.0, 30.0], atol=1e-9)


def test_the_similarity_is_nanodrrs():
    a, b = (xvr_presented(x) for x in images())
    multiscale = MultiscaleNormalizedCrossCorrelation2d([None, 9], [0.5, 0.5], eps=1e-5)
    gradient = GradientNormalizedCrossCorrelation2d(11, sigma=0.0, eps=1e-5)
    x, y = a[None, None], b[None, None]
    theirs = 0.5 * float(multiscale(x, y)) + 0.5 * float(gradient(x.float(), y.float()))
    assert float(xvr_similarity(a, b)) == pytest.approx(theirs, abs=1e-4)
    assert float(xvr_similarity(a, a)) > 0.9  # flat patches are like nothing


def test_an_image_of_nothing_is_like_nothing_and_has_no_gradient():
    """A pose that has left the patient behind: the recipes go on with numbers."""
    fixed = images()[0]
    for presented, similarity in ((xvr_presented, xvr_similarity), (psss_presented, ncc)):
        flat = torch.zeros(fixed.shape, dtype=torch.float64, requires_grad=True)
        value = similarity(presented(flat), presented(fixed))
        value.backward()
        # xvr's Sobel filter sees the frame of zeros around an image, in both alike.
        assert abs(float(value.detach())) < 0.2
        assert torch.isfinite(flat.grad).all()


def test_zncc_is_the_correlation_coefficient_of_what_psss_compares():
    a, b = (psss_presented(x) for x in images(seed=3))
    assert float(ncc(a, b)) == pytest.approx(np.corrcoef(a.numpy().ravel(), b.numpy().ravel())[0, 1], abs=2e-3)
    assert float(ncc(psss_presented(5 * a + 2), psss_presented(a))) == pytest.approx(1, abs=2e-3)


def test_a_scale_ends_when_its_steps_have_shrunk_twice():
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    seen = list(ascend([{"params": [x], "lr": 1e-6}], lambda: 2 - (x - 1).square().sum(), 500))
    # Eleven iterations without a gain shrink the steps, twice, after the first, which is one.
    assert len(seen) == 1 + 2 * (XVR.patience + 1)
    climbing = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    assert len(list(ascend([{"params": [climbing], "lr": 1.0}], lambda: climbing.sum() + 1, 70))) == 70


def test_xvrs_recipe_gets_near_with_many_renders(model, pair, points):
    truth, xray, start = pair
    seen = []
    found = register_like_xvr(model, xray, start, QUICK, lambda *now: seen.append(now))
    assert point_distance(found.pose, truth, points) < 0.3 * point_distance(start, truth, points)
    assert found.renders == len(seen) + 1
    assert {(level, levels) for level, levels, _ in seen} == {(0, 2), (1, 2)}
    ours = register_xray(model, xray, (), {"given": start})
    assert found.renders > 34  # as many as our levels allow
    assert point_distance(ours.pose, truth, points) < 1.0


def test_psss_recipe_returns_the_best_it_met(model, pair, points):
    truth, xray, start = pair
    seen = []
    recipe = dataclasses.replace(PSSS, pixels=64)
    found = register_like_psss(model, xray, start, recipe, lambda *now: seen.append(now[2]))
    assert found.renders == len(seen) <= recipe.iterations
    assert found.similarity == max(seen)
    assert seen == sorted(seen)
    assert point_distance(found.pose, truth, points) < 0.5 * point_distance(start, truth, points)
    one = register_like_psss(model, xray, start, dataclasses.replace(recipe, iterations=1))
    np.testing.assert_allclose(one.pose, start, atol=1e-9)
    assert (PSSS.rotation_step, PSSS.translation_step) == (
        PSSS_AS_RELEASED.translation_step,
        PSSS_AS_RELEASED.rotation_step,
    )


def test_a_start_that_is_no_pose_is_refused(model, pair):
    for register in (register_like_xvr, register_like_psss):
        with pytest.raises(InputError, match="start is not a rigid transform"):
            register(model, pair[1], np.eye(4) * 2)
