"""Renders in torch's automatic differentiation: gradients by poses, camera and densities against float64 differences."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import increment
from XVRegistrationLib.geometry.views import NominalView, PoseRange, draw_poses
from XVRegistrationLib.rendering import oracle
from XVRegistrationLib.rendering.adjoint import back_project
from XVRegistrationLib.rendering.differentiable import camera_parameters, differentiable_render, intrinsics_jacobian
from XVRegistrationLib.rendering.grid import DensityGrid, coarser, density_grid
from XVRegistrationLib.rendering.rays import rays_of
from XVRegistrationLib.rendering.render import render, render_with_jacobian

STEP = 2.0
PIVOT = np.array([5.0, -9.0, 30.0])


@pytest.fixture(scope="module")
def smooth(phantom):
    """The phantom without the jumps of a trilinear slope, across which a difference quotient sees both sides."""
    grid = density_grid(phantom)
    data = gaussian_filter(grid.densities().numpy().astype(np.float64), 1.5).astype(np.float32)
    data[[0, -1]] = data[:, [0, -1]] = data[:, :, [0, -1]] = 0
    return DensityGrid(torch.from_numpy(data), grid.grid_to_ras)


@pytest.fixture(scope="module")
def poses(phantom):
    return draw_poses(NominalView("AP", tuple(phantom.center), 700.0), PoseRange(), 3, np.random.default_rng(2))


def small(mirrored=False):
    return Intrinsics(1020.0, (12.0, 13.0), (16.2, 14.7), (32, 28), mirrored)


def weights_of(shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.3


def true_loss(grid, poses, camera, weights):
    return float((weights * oracle.march(grid, rays_of(grid, poses, camera), STEP, None)[0].square()).sum())


def changed(camera, parameters):
    sdd, cx, cy = (float(x) for x in parameters)
    return dataclasses.replace(camera, sdd=sdd, principal_point=(cx, cy))


@pytest.mark.parametrize("mirrored", [False, True])
def test_gradients_by_a_batch_of_poses_and_by_the_camera_are_those_of_finite_differences(smooth, poses, mirrored):
    camera = small(mirrored)
    weights = torch.linspace(-1, 3, 28, dtype=torch.float64)[:, None] + torch.linspace(2, -1, 32, dtype=torch.float64)
    matrices = torch.from_numpy(poses).requires_grad_()
    parameters = camera_parameters(camera).requires_grad_()
    image = differentiable_render(smooth, matrices, camera, PIVOT, STEP, parameters)
    assert image.shape == (3, 28, 32)
    (weights * image.double().square()).sum().backward()

    for b in range(3):
        for size, xi in zip([1e-2] * 3 + [1e-4] * 3, np.eye(6), strict=True):
            ends = []
            for sign in (1, -1):
                moved = poses.copy()
                moved[b] = increment(sign * size * xi, PIVOT) @ poses[b]
                ends.append((moved, true_loss(smooth, moved, camera, weights)))
            expected = (ends[0][1] - ends[1][1]) / (2 * size)
            # The gradient by the matrices, along the way that they moved.
            along = torch.from_numpy(ends[0][0] - ends[1][0]) / (2 * size)
            assert float((matrices.grad * along).sum()) == pytest.approx(
                expected, rel=0.01, abs=0.5 if size > 1e-3 else 30
            )

    at = camera_parameters(camera).numpy()
    for n, size in enumerate((0.1, 1e-3, 1e-3)):
        ahead, behind = (
            true_loss(smooth, poses, changed(camera, at + sign * size * np.eye(3)[n]), weights) for sign in (1, -1)
        )
        assert float(parameters.grad[n]) == pytest.approx((ahead - behind) / (2 * size), rel=0.01)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("method", ["march", "joseph"])
def test_every_pixels_derivatives_by_the_camera(smooth, poses, mirrored, method):
    camera = small(mirrored)
    _, jacobian = render_with_jacobian(smooth, poses, camera, PIVOT, STEP, method=method)
    found = intrinsics_jacobian(jacobian, poses, camera, PIVOT)
    assert found.shape == (3, 3, 28, 32)
    at = camera_parameters(camera).numpy()
    for n, size in enumerate((0.1, 1e-3, 1e-3)):
        ahead, behind = (
            oracle.march(smooth, rays_of(smooth, poses, changed(camera, at + s * size * np.eye(3)[n])), 0.5, None)[0]
            for s in (1, -1)
        )
        difference = (ahead - behind) / (2 * size)
        assert float((difference - found[:, n]).norm()) < 0.02 * float(difference.norm())


def test_parameters_replace_those_of_the_intrinsics(smooth, poses):
    camera = small()
    other = changed(camera, (990.0, 12.5, 17.0))
    image = differentiable_render(smooth, torch.from_numpy(poses), camera, PIVOT, STEP, camera_parameters(other))
    assert torch.equal(image, render(smooth, poses, other, STEP))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_back_projection_is_the_adjoint_of_the_march(smooth, poses, dtype):
    camera = small()
    rays = rays_of(smooth, poses, camera)
    densities = torch.rand(smooth.data.shape, generator=torch.Generator().manual_seed(3))
    # What lies on the border belongs to no volume: a kernel may leave it out.
    densities[[0, -1]] = densities[:, [0, -1]] = densities[:, :, [0, -1]] = 0
    y = weights_of((3, 28, 32), 4)
    spread = back_project(smooth, rays, STEP, y, dtype)
    assert spread.dtype == dtype
    other = DensityGrid(densities, smooth.grid_to_ras)
    seen = float((oracle.march(other, rays, STEP, None)[0] * y).sum())
    assert seen == pytest.approx(
        float((densities * spread.double()).sum()), rel=1e-12 if dtype == torch.float64 else 1e-4
    )
    kernel = float((render(other, poses, camera, STEP).double() * y).sum())
    assert kernel == pytest.approx(seen, rel=1e-4)


def test_gradients_by_the_densities_are_those_of_finite_differences(smooth, poses):
    camera, weights = small(), weights_of((3, 28, 32))
    data = smooth.densities().clone().requires_grad_()
    image = differentiable_render(DensityGrid(data, smooth.grid_to_ras), torch.from_numpy(poses), camera, PIVOT, STEP)
    (weights * image.double().square()).sum().backward()
    assert data.grad.shape == data.shape
    rng = np.random.default_rng(0)
    direction = np.zeros(data.shape)
    direction[1:-1, 1:-1, 1:-1] = rng.uniform(-1, 1, np.array(data.shape) - 2)
    steps = [
        true_loss(
            DensityGrid(smooth.data.double() + s * 1e-4 * torch.from_numpy(direction), smooth.grid_to_ras),
            poses,
            camera,
            weights,
        )
        for s in (1, -1)
    ]
    expected = (steps[0] - steps[1]) / 2e-4
    assert float((data.grad.double() * torch.from_numpy(direction)).sum()) == pytest.approx(expected, rel=1e-3)


def test_gradients_come_through_a_coarser_level(smooth, poses):
    data = smooth.densities().clone().requires_grad_()
    level = coarser(DensityGrid(data, smooth.grid_to_ras), (2, 2, 2))
    differentiable_render(level, torch.from_numpy(poses), small(), PIVOT).sum().backward()
    # Each inner voxel as its share of the mean: the coarse gradient an eighth each.
    assert float(data.grad[2:-2, 2:-2, 2:-2].abs().max()) > 0
    assert float((data.grad * smooth.data).sum()) == pytest.approx(
        float(render(DensityGrid(level.data.detach(), level.grid_to_ras), poses, small()).sum()), rel=1e-3
    )


def test_densities_are_found_again_from_their_images(smooth, phantom):
    """A few steps of conjugate gradients on A'A x = A'y, which only goes well with the true adjoint."""
    level = coarser(smooth, (8, 8, 8))
    views = np.concatenate(
        [
            draw_poses(NominalView(v, tuple(phantom.center), 700.0), PoseRange(), 3, np.random.default_rng(8))
            for v in ("AP", "LLAT")
        ]
    )
    camera = small()
    rays = rays_of(level, views, camera)

    def forward(x):
        return oracle.march(DensityGrid(x, level.grid_to_ras), rays, 4.0, None)[0]

    measured = forward(level.data.double())
    x = torch.zeros_like(level.data, dtype=torch.float64)
    residual = back_project(level, rays, 4.0, measured, torch.float64)
    direction, size = residual, residual.square().sum()
    for _ in range(14):
        seen = forward(direction)
        x = x + size / seen.square().sum() * direction
        residual = back_project(level, rays, 4.0, measured - forward(x), torch.float64)
        size, last = residual.square().sum(), size
        direction = residual + size / last * direction
    assert float((forward(x) - measured).norm() / measured.norm()) < 0.01
    assert float((x - level.data).norm() / level.data.norm()) < 0.2


def test_nothing_is_differentiated_that_nobody_asks_for(smooth, poses):
    image = differentiable_render(smooth, torch.from_numpy(poses), small(), PIVOT, STEP)
    assert not image.requires_grad
    single = torch.from_numpy(poses).float().requires_grad_()
    differentiable_render(smooth, single, small(), PIVOT, STEP).sum().backward()
    assert single.grad.dtype == torch.float32


def test_gradients_of_gradients_are_refused_and_not_wrong(smooth, poses):
    pose = torch.from_numpy(poses).requires_grad_()
    image = differentiable_render(smooth, pose, small(), PIVOT, STEP)
    (gradient,) = torch.autograd.grad(image.square().sum(), pose, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()
