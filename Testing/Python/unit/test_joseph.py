"""Joseph's method: against its float64 twin, finite differences, closed forms and the exact trilinear integral."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from Testing.Python.unit.closed_forms import Box, line_integrals, voxels
from XVRegistrationLib.geometry.camera import Intrinsics, image_to_camera
from XVRegistrationLib.geometry.rigid import increment, rotation_from_euler_zxy
from XVRegistrationLib.geometry.views import VIEWS, NominalView, PoseRange, draw_poses
from XVRegistrationLib.jobs.interpreter import child_environment
from XVRegistrationLib.rendering import joseph_oracle
from XVRegistrationLib.rendering.grid import DensityGrid, density_grid, grid_from_density
from XVRegistrationLib.rendering.rays import rays_of
from XVRegistrationLib.rendering.render import render, render_with_jacobian
from XVRegistrationLib.rendering.siddon import trilinear_integral

CAMERA = Intrinsics(1000.0, (3.0, 3.3), (15.2, 13.1), (33, 29))
PIVOT = np.array([10.0, -20.0, 30.0])
# Views from the left and from below, so that each of the volume's axes is the one that rays run along.
NEAR = PoseRange((15.0, 15.0, 15.0), (10.0, 10.0, 10.0))


def noise(shape=(12, 14, 16), spacing=(2.5, 2.0, 3.0), seed=0):
    """Random densities up to the volume's faces, in an oblique frame."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_euler_zxy([10.0, -15.0, 20.0]) @ np.diag([-spacing[0], spacing[1], spacing[2]])
    density = np.random.default_rng(seed).uniform(0.01, 0.05, shape).astype(np.float32)
    return grid_from_density(density, matrix)


def looking(grid, direction, count=1, seed=3):
    """Poses near one whose camera looks along a vector (3,) in RAS at the grid's centre."""
    z = np.array(direction, float) / np.linalg.norm(direction)
    x = np.cross([0.31, 0.87, 0.38], z)
    x /= np.linalg.norm(x)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    pose[:3, 3] = grid.center - 700 * z
    xi = np.random.default_rng(seed).uniform(-1, 1, (count, 6)) * [5, 5, 5, 0.15, 0.15, 0.15]
    return increment(xi, grid.center) @ pose


DIRECTIONS = [(1, 0.1, 0.2), (-0.1, 1, 0.1), (0.2, 0.1, -1), (1, 1, 0.9)]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_kernel_equals_its_float64_twin_in_value_and_derivatives(direction, mirrored):
    grid = noise()
    poses = looking(grid, direction, 2)
    camera = Intrinsics(1000.0, (3.0, 3.3), (15.2, 13.1), (33, 29), mirrored)
    image, jacobian = render_with_jacobian(grid, poses, camera, PIVOT, method="joseph")
    true_image, true_jacobian = joseph_oracle.joseph(grid, rays_of(grid, poses, camera), PIVOT)
    assert (true_image > 0).float().mean() > 0.1
    np.testing.assert_allclose(image.numpy(), true_image.numpy(), atol=2e-5 * float(true_image.max()))
    error = (jacobian - true_jacobian).norm(dim=(2, 3)) / true_jacobian.norm(dim=(2, 3))
    assert float(error.max()) < 5e-3
    torch.testing.assert_close(render(grid, poses, camera, method="joseph"), image, rtol=0, atol=0)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_pose_derivatives_agree_with_finite_differences_of_a_rough_volume_that_is_cut_off(direction):
    grid = noise()  # up to its faces: much of the derivative comes from the cut
    pose = looking(grid, direction)
    _, jacobian = joseph_oracle.joseph(grid, rays_of(grid, pose, CAMERA), PIVOT)
    for parameter, size in enumerate([1e-5, 1e-5, 1e-5, 1e-7, 1e-7, 1e-7]):
        xi = np.eye(6)[parameter] * size
        ahead, behind = (
            joseph_oracle.joseph(grid, rays_of(grid, increment(s * xi, PIVOT) @ pose, CAMERA), None)[0] for s in (1, -1)
        )
        difference = (ahead - behind)[0] / (2 * size)
        # In so small a step hardly a ray comes over a voxel's edge, where the slope jumps, or over the diagonal.
        agreeing = (difference - jacobian[0, parameter]).abs() < 1e-5 * float(difference.abs().max())
        assert float(agreeing.double().mean()) > 0.98


def test_derivatives_are_those_of_the_true_x_ray_where_a_block_is_cut_off():
    # A block that fills its whole volume: all of the derivative comes from the cut faces.
    grid = grid_from_density(np.full((40, 40, 40), 0.02, np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))
    box = Box(np.full(3, 39.0), np.full(3, 40.0), 0.02)
    pose = draw_poses(NominalView("AP", (39.0, 39.0, 39.0), 700.0), NEAR, 1, np.random.default_rng(5))
    camera = Intrinsics.centered(1000.0, (1.0, 1.0), (240, 240))
    _, jacobian = render_with_jacobian(grid, pose, camera, PIVOT, method="joseph")
    for parameter, size in ((0, 0.5), (2, 0.5), (5, 5e-3)):
        xi = np.eye(6)[parameter] * size
        ahead, behind = (line_integrals([box], increment(s * xi, PIVOT) @ pose, camera)[0] for s in (1, -1))
        difference = (ahead - behind) / (2 * size)
        # The sum over the image is free of the blur by a voxel that interpolation makes of an edge.
        weights = np.linspace(-1, 2, 240)[:, None] + np.linspace(2, -1, 240)
        found = float((weights * jacobian[0, parameter].double().numpy()).sum())
        assert found == pytest.approx((weights * difference).sum(), rel=0.01, abs=0.01 * np.abs(difference).sum())


def test_a_camera_that_moves_along_a_ray_does_not_change_what_the_ray_sees():
    grid = noise()
    pose = looking(grid, (1, 0.5, 0.2))
    _, jacobian = joseph_oracle.joseph(grid, rays_of(grid, pose, CAMERA), PIVOT)
    i, j = np.meshgrid(np.arange(33), np.arange(29))
    rays = np.dstack([i, j, i * 0 + 1]) @ (pose[0, :3, :3] @ image_to_camera(CAMERA)[:3][:, [0, 1, 3]]).T
    along = (
        torch.from_numpy(rays / np.linalg.norm(rays, axis=-1, keepdims=True)).permute(2, 0, 1) * jacobian[0, :3]
    ).sum(0)
    assert float(along.abs().max()) < 1e-12 * float(jacobian[0, :3].abs().max())


def test_where_the_derivatives_are_taken_is_a_change_of_variables():
    grid = noise()
    poses = looking(grid, (0.3, 1, 0.4), 2)
    at, there = (
        render_with_jacobian(grid, poses, CAMERA, pivot, method="joseph")[1].double()
        for pivot in (np.zeros(3), np.array([200.0, -100.0, 50.0]))
    )
    # A turn about c is one about 0 with the shift -w x c, and dA/dw changes by -c x dA/dv.
    c = torch.tensor([200.0, -100.0, 50.0], dtype=torch.float64)[None, :, None, None].expand_as(at[:, :3])
    torch.testing.assert_close(
        at[:, 3:] - torch.linalg.cross(c, at[:, :3], dim=1), there[:, 3:], rtol=0, atol=2e-4 * 50
    )
    torch.testing.assert_close(at[:, :3], there[:, :3], rtol=0, atol=1e-6)


def test_a_source_and_a_detector_inside_the_volume():
    block = grid_from_density(np.full((40, 40, 40), 0.02, np.float32), np.eye(4))
    pose = NominalView("AP", (19.5, 19.5, 19.5), 10.0).pose[None]
    for sdd in (15.0, 300.0):
        camera = Intrinsics.centered(sdd, (sdd / 100, sdd / 100), (11, 11))
        image, jacobian = render_with_jacobian(block, pose, camera, np.zeros(3), method="joseph")
        assert bool(torch.isfinite(jacobian).all())
        expected = line_integrals([Box(np.full(3, 19.5), np.full(3, 20.0), 0.02)], pose, camera)
        if sdd == 15.0:
            directions = np.linalg.norm(
                np.dstack(np.meshgrid(np.arange(11) - 5, np.arange(11) - 5)) * sdd / 100, axis=-1
            )
            expected = 0.02 * np.hypot(directions, sdd)[None]
        assert float((image[0] - torch.from_numpy(expected[0])).abs().max()) < 0.02 * 1.1  # a plane more or less


def test_rays_that_miss_are_zero():
    grid = noise()
    far = looking(grid, (1, 0.1, 0.1)) + np.pad([[5000.0], [0], [0]], ((0, 1), (3, 0)))
    image, jacobian = render_with_jacobian(grid, far, CAMERA, PIVOT, method="joseph")
    assert float(image.abs().max()) == 0 == float(jacobian.abs().max())


@pytest.mark.parametrize("view", VIEWS)
def test_it_is_nearer_to_the_trilinear_integral_than_a_march_in_steps_of_a_voxel(phantom, camera, view):
    grid = density_grid(phantom)
    poses = draw_poses(NominalView(view, tuple(phantom.center), 700.0), PoseRange(), 2, np.random.default_rng(3))
    small = camera.resized((32, 30))
    exact = trilinear_integral(grid, rays_of(grid, poses, small))
    errors = {m: (render(grid, poses, small, method=m).double() - exact).abs().mean() for m in ("march", "joseph")}
    assert float(errors["joseph"]) < 4e-3 * float(exact.mean())
    assert float(errors["joseph"]) < 1.5 * float(errors["march"])


def test_rendering_is_the_same_bit_for_bit_on_the_cpu(phantom, camera):
    grid = density_grid(phantom)
    poses = draw_poses(NominalView("AP", tuple(phantom.center), 700.0), PoseRange(), 3, np.random.default_rng(0))
    first, again = (render_with_jacobian(grid, poses, camera, PIVOT, method="joseph") for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])


def test_the_gradient_of_the_twin_by_the_densities_is_the_adjoint():
    grid = noise()
    data = grid.densities().double().requires_grad_()
    rays = rays_of(grid, looking(grid, (1, 1, 0.9), 2), CAMERA)
    image, _ = joseph_oracle.joseph(DensityGrid(data, grid.grid_to_ras), rays, None)
    weights = torch.rand(image.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (image * weights).sum().backward()
    assert float((image.detach() * weights).sum()) == pytest.approx(float((data.detach() * data.grad).sum()), rel=1e-12)


def test_a_box_of_whole_voxels_along_its_axes():
    # Along an axis bilinear planes are exact: so many planes, each with its whole density.
    density = voxels([Box(np.full(3, 9.5), np.array([6.0, 4.0, 8.0]), 0.03)], (20, 20, 20), np.eye(4))
    grid = grid_from_density(density, np.eye(4))
    camera = Intrinsics.centered(1000.0, (0.1, 0.1), (3, 3))
    for view, length in (("AP", 8.0), ("LLAT", 12.0)):
        pose = NominalView(view, (9.5, 9.5, 9.5), 700.0).pose[None]
        assert float(render(grid, pose, camera, method="joseph")[0, 1, 1]) == pytest.approx(0.03 * length, rel=1e-5)


def test_without_warp_the_twin_renders_the_same(tmp_path):
    grid = noise()
    poses = looking(grid, (1, 0.1, 0.2), 2)
    np.savez(tmp_path / "scene.npz", data=grid.densities().numpy(), frame=grid.grid_to_ras, poses=poses)
    program = f"""
import sys
sys.modules["warp"] = None  # as where it is not installed
import numpy, torch
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.rendering.grid import DensityGrid
from XVRegistrationLib.rendering.render import render_with_jacobian
scene = numpy.load("scene.npz")
grid = DensityGrid(torch.from_numpy(scene["data"]), scene["frame"])
image, jacobian = render_with_jacobian(grid, scene["poses"], {CAMERA!r}, numpy.zeros(3), method="joseph")
numpy.savez("found.npz", image=image.numpy(), jacobian=jacobian.numpy())
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=child_environment(), capture_output=True, text=True, check=True)
    assert "Warp cannot be loaded" in done.stderr
    image, jacobian = render_with_jacobian(grid, poses, CAMERA, np.zeros(3), method="joseph")
    with np.load(tmp_path / "found.npz") as found:
        assert found["image"].dtype == np.float32
        np.testing.assert_allclose(found["image"], image.numpy(), atol=3e-5 * float(image.max()))
        error = np.linalg.norm(found["jacobian"] - jacobian.numpy()) / float(jacobian.norm())
        assert error < 5e-3
