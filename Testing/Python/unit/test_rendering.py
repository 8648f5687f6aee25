"""The ray march: against closed forms, a float64 twin, finite differences and an independent renderer."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pytest
import torch
import warp

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics, image_to_camera, project
from XVRegistrationLib.geometry.rigid import increment, rotation_from_euler_zxy, transform_points
from XVRegistrationLib.geometry.views import VIEWS, NominalView, PoseRange, draw_poses
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.rendering import kernels, oracle
from XVRegistrationLib.rendering.grid import (
    AIR,
    DensityGrid,
    attenuation_of,
    coarser,
    continued,
    density_grid,
    grid_from_density,
    matched_to,
)
from XVRegistrationLib.rendering.pyramid import Pyramid
from XVRegistrationLib.rendering.rays import rays_of
from XVRegistrationLib.rendering.render import render, render_with_jacobian, sample_distance


def oblique_frame(
    spacing: tuple[float, float, float], center: tuple[float, float, float], shape: tuple[int, ...]
) -> np.ndarray:
    """An IJK-to-RAS matrix with rotated, partly flipped axes whose grid is centred at `center`."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_euler_zxy([20.0, -15.0, 30.0]) @ np.diag([-spacing[0], spacing[1], spacing[2]])
    matrix[:3, 3] = np.array(center) - matrix[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    return matrix


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("mirrored", [False, True])
def test_an_impulse_renders_where_the_projection_says(view, mirrored):
    shape = (17, 19, 21)
    density = np.zeros(shape, np.float32)
    density[5, 12, 14] = 1.0
    grid = grid_from_density(density, oblique_frame((2.0, 1.5, 3.0), (30.0, -20.0, 10.0), shape))
    camera = Intrinsics(1010.0, (0.31, 0.43), (251.3, 130.8), (400, 300), mirrored)
    place = transform_points(oblique_frame((2.0, 1.5, 3.0), (30.0, -20.0, 10.0), shape), [14, 12, 5])
    poses = draw_poses(NominalView(view, (25.0, -15.0, 5.0), 700.0), PoseRange(), 3, np.random.default_rng(4))
    images = render(grid, poses, camera, step=0.2).double().numpy()
    columns, rows = np.meshgrid(np.arange(400), np.arange(300))
    for image, pose in zip(images, poses, strict=True):
        expected = project(place, pose, camera)
        centroid = np.array([(image * columns).sum(), (image * rows).sum()]) / image.sum()
        assert np.abs(centroid - expected).max() < 0.05


def test_the_integral_through_a_block_is_its_density_times_the_chord():
    shape = (40, 50, 60)
    density = np.zeros(shape, np.float32)
    density[10:30, 10:40, 10:50] = 0.02
    matrix = np.diag([1.0, 1.0, 1.0, 1.0])
    grid = grid_from_density(density, matrix)
    center = ((np.array(shape[::-1]) - 1) / 2).tolist()
    camera = Intrinsics.centered(1000.0, (0.5, 0.5), (3, 3))
    pose = NominalView("AP", (center[0], center[1], center[2]), 700.0).pose
    # Trilinear edges reach one voxel further on both sides with half the weight each: 30 voxels give 30 mm.
    assert render(grid, pose[None], camera, step=0.01)[0, 1, 1].item() == pytest.approx(0.02 * 30, rel=1e-3)


def test_the_kernel_equals_its_float64_twin_in_value_and_derivatives(phantom, camera):
    grid = density_grid(phantom)
    view = NominalView("AP", tuple(phantom.center), 700.0)
    poses = draw_poses(view, PoseRange(), 3, np.random.default_rng(1))
    small = camera.resized((32, 30))
    pivot = np.array([1.0, 2.0, 3.0])
    for level in (grid, coarser(grid, (2, 2, 1))):
        step = sample_distance(level) * 0.7
        image, jacobian = render_with_jacobian(level, poses, small, pivot, step)
        true_image, true_jacobian = oracle.march(level, rays_of(level, poses, small), step, pivot)
        np.testing.assert_allclose(image.numpy(), true_image.numpy(), atol=2e-5 * float(true_image.max()))
        error = (jacobian - true_jacobian).norm(dim=(2, 3)) / true_jacobian.norm(dim=(2, 3))
        # A sample that single precision puts into the neighbouring voxel has that voxel's gradient.
        assert error.max() < 2e-2
        torch.testing.assert_close(render(level, poses, small, step), image)


def test_pose_derivatives_agree_with_finite_differences_in_float64(phantom, camera):
    # A smooth volume: the derivative of a trilinear one jumps at voxel faces, and a difference quotient sees both sides.
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(density_grid(phantom).densities().numpy().astype(np.float64), 1.5).astype(np.float32)
    smooth[[0, -1]] = smooth[:, [0, -1]] = smooth[:, :, [0, -1]] = 0
    grid = DensityGrid(torch.from_numpy(smooth), density_grid(phantom).grid_to_ras)
    pose = draw_poses(NominalView("AP", tuple(phantom.center), 700.0), PoseRange(), 1, np.random.default_rng(2))
    small = camera.resized((24, 20))
    pivot = np.array([10.0, -20.0, 30.0])
    _, jacobian = oracle.march(grid, rays_of(grid, pose, small), 1.0, pivot)
    assert jacobian is not None
    for parameter, size in enumerate([1e-3, 1e-3, 1e-3, 1e-5, 1e-5, 1e-5]):
        xi = np.zeros(6)
        xi[parameter] = size
        ahead, behind = (
            oracle.march(grid, rays_of(grid, increment(s * xi, pivot) @ pose, small), 1.0, None)[0] for s in (1, -1)
        )
        difference = (ahead - behind)[0] / (2 * size)
        assert (difference - jacobian[0, parameter]).norm() < 2e-3 * difference.norm()


def test_a_camera_that_moves_along_a_ray_does_not_change_what_the_ray_sees():
    # Rough on purpose, and in steps of half a voxel: the sum over samples is far from the integral.
    density = np.random.default_rng(4).uniform(0, 0.04, (20, 20, 20)).astype(np.float32)
    grid = grid_from_density(density, np.diag([2.0, 2.0, 2.0, 1.0]))
    pose = draw_poses(NominalView("AP", tuple(grid.center), 700.0), PoseRange(), 1, np.random.default_rng(6))
    camera = Intrinsics.centered(1000.0, (3.0, 3.0), (33, 33))
    image, jacobian = oracle.march(grid, rays_of(grid, pose, camera), 1.0, np.array([5.0, -9.0, 4.0]))
    assert jacobian is not None
    i, j = np.meshgrid(np.arange(33), np.arange(33))
    rays = np.einsum(
        "ij,hwj->hwi", pose[0, :3, :3] @ image_to_camera(camera)[:3][:, [0, 1, 3]], np.dstack([i, j, i * 0 + 1])
    )
    along = (
        torch.from_numpy(rays / np.linalg.norm(rays, axis=-1, keepdims=True)).permute(2, 0, 1) * jacobian[0, :3]
    ).sum(0)
    assert float(along.abs().max()) < 1e-9 * float(jacobian[0, :3].abs().max())
    for pixel in ((16, 16), (5, 27)):
        step = rays[pixel] / np.linalg.norm(rays[pixel]) * 0.7
        nearer = oracle.march(grid, rays_of(grid, pose + np.pad(step[:, None], ((0, 1), (3, 0))), camera), 1.0, None)
        assert float(nearer[0][0][pixel]) == pytest.approx(float(image[0][pixel]), rel=1e-9)


def test_derivatives_are_right_where_the_volume_is_cut_off():
    # A block that fills its whole volume: all of the derivative comes from the cut faces.
    grid = grid_from_density(np.full((12, 12, 12), 0.02, np.float32), np.diag([8.0, 8.0, 8.0, 1.0]))
    view = NominalView("AP", (44.0, 44.0, 44.0), 700.0)
    pose = draw_poses(view, PoseRange(), 1, np.random.default_rng(5))
    camera = Intrinsics.centered(1000.0, (4.0, 4.0), (60, 60))
    pivot = np.zeros(3)
    _, jacobian = oracle.march(grid, rays_of(grid, pose, camera), 0.5, pivot)
    assert jacobian is not None
    for parameter, size in ((0, 1e-2), (2, 1e-2), (5, 1e-4)):
        xi = np.eye(6)[parameter] * size
        ahead, behind = (
            oracle.march(grid, rays_of(grid, increment(s * xi, pivot) @ pose, camera), 0.5, None)[0] for s in (1, -1)
        )
        difference = (ahead - behind)[0] / (2 * size)
        assert (difference - jacobian[0, parameter]).norm() < 0.03 * difference.norm()


def test_nanodrr_renders_the_same_image(phantom, camera):
    from nanodrr.data import Subject
    from nanodrr.drr import DRR

    from XVRegistrationLib.geometry.conventions import nanodrr_camera
    from XVRegistrationLib.imaging.attenuation import linear_attenuation

    density = torch.from_numpy(linear_attenuation(phantom.array))[None, None]
    matrix = torch.from_numpy(phantom.ijk_to_ras)
    subject = Subject(
        density, torch.zeros(1, 1, 1, 1, 1), matrix.float(), matrix.inverse().float(),
        Subject._make_voxel_to_grid(density.shape), torch.zeros(3), max_label=0, convert_to_mu=False,
    )  # fmt: skip
    poses = draw_poses(NominalView("AP", tuple(phantom.center), 700.0), PoseRange(), 2, np.random.default_rng(3))
    drr = DRR.from_carm_intrinsics(**nanodrr_camera(camera))
    with torch.no_grad():
        theirs = drr(subject, torch.from_numpy(poses).float())[:, 0]
    ours = render(density_grid(phantom), poses, camera, step=0.5)
    assert (ours - theirs).abs().mean() < 2e-3 * theirs.mean()


def test_coarser_grids_stay_in_place_and_keep_their_mass(phantom, camera):
    grid = density_grid(phantom)
    pose = NominalView("AP", tuple(phantom.center), 700.0).pose[None]
    fine = render(grid, pose, camera.resized((32, 30)), step=0.5)[0]
    for factors in ((2, 2, 2), (4, 4, 2), (3, 1, 1)):
        rough = coarser(grid, factors)
        mass = [float(g.densities().double().sum()) * abs(np.linalg.det(g.grid_to_ras[:3, :3])) for g in (grid, rough)]
        assert mass[1] == pytest.approx(mass[0], rel=1e-5)
        image = render(rough, pose, camera.resized((32, 30)), step=0.5)[0]
        for axis in (0, 1):
            place = torch.arange(fine.shape[axis], dtype=torch.float32)
            centroids = [float((i.sum(dim=1 - axis) * place).sum() / i.sum()) for i in (fine, image)]
            assert centroids[1] == pytest.approx(centroids[0], abs=0.05)


def test_a_pyramid_gives_the_coarsest_grid_that_a_footprint_allows(phantom):
    pyramid = Pyramid(density_grid(phantom))
    np.testing.assert_allclose(pyramid.matched_to(6.5).spacing, [6.0, 6.4, 4.0])
    assert pyramid.matched_to(1.0) is pyramid.finest
    assert pyramid.matched_to(6.5) is pyramid.matched_to(6.5)
    np.testing.assert_allclose(matched_to(pyramid.finest, 13.0).spacing, [12.0, 12.8, 8.0])


def test_a_volume_becomes_codes_of_half_its_densities_size_wherever_it_is_cut(phantom):
    """Bricks of slices, the last one not whole, are put together at their places; what is left out is air."""
    for part in (slice(None), slice(3, 41)):
        volume = Volume(phantom.array[part], phantom.ijk_to_ras)
        density, grid = attenuation_of(volume), density_grid(volume)
        assert grid.data.dtype == torch.uint16
        first = np.rint(np.linalg.inv(volume.ijk_to_ras) @ grid.grid_to_ras)[:3, 3].astype(int) + 1
        box = tuple(slice(f, f + n - 2) for f, n in zip(first[::-1], grid.data.shape, strict=True))
        np.testing.assert_allclose(grid.densities()[1:-1, 1:-1, 1:-1], density[box], atol=density.max() / 65535)
        assert int(grid.data.numpy().max()) == 65535
        outside = np.ones(density.shape, bool)
        outside[box] = False
        assert not (density[outside] > AIR).any()


@pytest.mark.parametrize(("voxels", "atol"), [(8, 1e-6), (9, 2e-3)])
def test_cropping_air_changes_no_image(phantom, camera, voxels, atol):
    """With whole bricks of air around it nothing changes at all; with others the samples lie elsewhere."""
    around = np.eye(4)
    around[:3, 3] = -voxels
    surrounded = Volume(np.pad(phantom.array, voxels, constant_values=-1000), phantom.ijk_to_ras @ around)
    pose = NominalView("AP", tuple(phantom.center), 700.0).pose[None]
    grids = density_grid(phantom), density_grid(surrounded)
    assert grids[1].data.numel() < 0.8 * surrounded.array.size
    torch.testing.assert_close(
        render(grids[0], pose, camera, 0.1), render(grids[1], pose, camera, 0.1), atol=atol, rtol=0
    )


def test_noise_in_the_air_around_is_left_out_and_that_inside_stays(phantom):
    """Air in the lungs is no air around the body, though nothing but bricks part them."""
    hu = np.full((40, 48, 56), -1000.0, np.float32)
    hu[8:32, 8:40, 8:48] = 30.0
    hu[14:26, 14:34, 14:42] = -900.0
    noisy = hu + np.random.default_rng(0).uniform(0, 60, hu.shape).astype(np.float32)
    grid = density_grid(Volume(noisy, np.eye(4)))
    assert grid.data.shape == (26, 34, 42)
    assert (grid.densities()[1:-1, 1:-1, 1:-1] > 0).all()


def test_a_volume_of_air_is_refused():
    air = Volume(np.full((4, 4, 4), -1000, np.int16), np.eye(4), "empty room")
    with pytest.raises(InputError, match="empty room holds nothing denser than air"):
        density_grid(air)


@pytest.fixture
def three_threads(monkeypatch):
    """Rays are spread over three threads, however many there are else."""
    monkeypatch.setattr(kernels, "_pool_size", lambda: 3)
    kernels._pool.cache_clear()
    yield
    kernels._pool().shutdown()
    kernels._pool.cache_clear()


def test_rendering_is_the_same_bit_for_bit_on_the_cpu(phantom, camera, request):
    """Again, and by another number of threads."""
    grid = density_grid(phantom)
    poses = draw_poses(NominalView("AP", tuple(phantom.center), 700.0), PoseRange(), 4, np.random.default_rng(0))
    first = render_with_jacobian(grid, poses, camera, phantom.center)
    again = render_with_jacobian(grid, poses, camera, phantom.center)
    request.getfixturevalue("three_threads")
    spread = render_with_jacobian(grid, poses, camera, phantom.center)
    for other in (again, spread):
        assert torch.equal(first[0], other[0])
        assert torch.equal(first[1], other[1])


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.7, 0.7, 2.5), (2.0, 0.8, 0.8)])
@pytest.mark.parametrize("step", [0.3, 0.7, 2.2])
def test_nothing_is_lost_where_the_march_leaps_over_what_is_empty(spacing, step):
    """Specks far apart, seen from all around: short steps leap, long ones do not."""
    rng = np.random.default_rng(3)
    density = np.zeros((40, 64, 72), np.float32)
    for place in rng.integers(2, np.array(density.shape) - 3, (25, 3)):
        density[tuple(slice(p, p + 2) for p in place)] = rng.random((2, 2, 2))
    matrix = oblique_frame(spacing, (10.0, 20.0, -5.0), density.shape)
    grid = DensityGrid(torch.from_numpy(np.pad(density, 1)), matrix)
    assert (grid.occupied == 0).float().mean() > 0.3
    camera = Intrinsics(1000.0, (2.0, 2.2), (30.0, 25.0), (67, 50), mirrored=True)
    everywhere = PoseRange((180.0, 80.0, 180.0), (20.0, 20.0, 20.0))
    poses = draw_poses(NominalView("AP", (10.0, 20.0, -5.0), 600.0), everywhere, 8, rng)
    image, jacobian = render_with_jacobian(grid, poses, camera, grid.center, step)
    exact, derivatives = oracle.march(grid, rays_of(grid, poses, camera), step, grid.center)
    assert exact.max() > 0.5
    torch.testing.assert_close(image.double(), exact, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(render(grid, poses, camera, step), image, atol=1e-5, rtol=1e-5)
    difference = (jacobian.double() - derivatives).abs().mean(dim=(0, 2, 3))
    assert (difference < 1e-3 * derivatives.abs().amax(dim=(0, 2, 3))).all()


def test_what_is_cut_off_goes_on_and_fades():
    """A rod that the volume cuts at one end, in a grid that is turned; its other end and sides stay where they are."""
    density = np.zeros((20, 16, 18), np.float32)
    density[4:, 5:11, 6:12] = 0.05
    matrix = oblique_frame((1.0, 2.0, 1.5), (3.0, -4.0, 5.0), density.shape)
    grid = DensityGrid(torch.from_numpy(np.pad(density, 1)), matrix)
    longer = continued(grid, 12.0)
    assert longer.data.shape == (22 + 8, 18, 20)
    torch.testing.assert_close(longer.densities()[:21], grid.densities()[:21])
    np.testing.assert_allclose(longer.grid_to_ras, grid.grid_to_ras)
    beyond = longer.densities()[20:, 8, 9]
    assert (beyond.diff() < 0).all()
    assert 0.8 * 0.05 < beyond[1] < 0.05
    assert beyond[-1] == 0
    # The same rod, cut at its other end: what is added lies before the first voxel.
    turned = DensityGrid(grid.data.flip(0).contiguous(), matrix)
    longer = continued(turned, 12.0)
    np.testing.assert_allclose(
        transform_points(longer.grid_to_ras, [9, 8, 8 + 5]), transform_points(matrix, [9, 8, 5]), atol=1e-9
    )
    torch.testing.assert_close(longer.densities()[9:], turned.densities()[1:])


@pytest.mark.skipif(sys.platform == "darwin", reason="Warp compiles for NVIDIA's GPUs on Linux and Windows only")
@pytest.mark.parametrize("name", ["march", "tissue_march", "joseph", "label_march"])
def test_the_kernels_compile_for_a_gpu(name, tmp_path):
    """Without one: that they give the same there is another matter."""
    module = importlib.import_module(f"XVRegistrationLib.rendering.{name}")
    warp.compile_aot_module(module, arch=90, module_dir=tmp_path)
    assert [path.stat().st_size > 1000 for path in tmp_path.glob("*.cubin")] == [True]


def test_rays_that_miss_the_volume_are_zero():
    grid = grid_from_density(np.full((4, 4, 4), 0.02, np.float32), np.eye(4))
    camera = Intrinsics.centered(1000.0, (1.0, 1.0), (8, 8))
    pose = NominalView("AP", (5000.0, 0.0, 0.0), 700.0).pose[None]
    image, jacobian = render_with_jacobian(grid, pose, camera, np.zeros(3))
    assert float(image.abs().max()) == 0
    assert float(jacobian.abs().max()) == 0
    assert float(oracle.march(grid, rays_of(grid, pose, camera), 0.5, None)[0].abs().max()) == 0
