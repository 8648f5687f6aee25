"""The X-ray of a volume's structures alone: shares of voxels against counts and closed forms, derivatives against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import increment, rotation_from_euler_zxy, translation
from XVRegistrationLib.geometry.views import NominalView, PoseRange, draw_poses
from XVRegistrationLib.imaging.occupancy import occupancy
from XVRegistrationLib.imaging.segmentation import Segment, Segmentation
from XVRegistrationLib.imaging.volume import LabelMap, Volume
from XVRegistrationLib.rendering import oracle
from XVRegistrationLib.rendering.grid import attenuation_of, density_grid
from XVRegistrationLib.rendering.rays import rays_of
from XVRegistrationLib.rendering.render import render, render_with_jacobian
from XVRegistrationLib.rendering.structure_grid import structure_grid


@pytest.fixture(scope="module")
def bones(phantom):
    dense = phantom.array > 300
    upper = np.arange(phantom.array.shape[0])[:, None, None] > phantom.array.shape[0] // 2
    array = np.where(dense, np.where(upper, 1, 2), np.where(phantom.array > -200, 3, 4)).astype(np.uint8)
    return LabelMap(array, phantom.ijk_to_ras, {1: "upper bones", 2: "lower bones", 3: "soft tissue", 4: "air"})


def test_labels_on_the_volumes_own_grid_are_the_voxels_themselves(phantom, bones):
    share = occupancy(bones, [1, 3], phantom.array.shape, phantom.ijk_to_ras)
    np.testing.assert_array_equal(share, np.isin(bones.array, [1, 3]))


def test_labels_on_a_finer_grid_give_each_voxel_its_share():
    rng = np.random.default_rng(2)
    fine = rng.integers(0, 3, (24, 30, 36)).astype(np.uint8)
    labels = LabelMap(fine, np.diag([0.5, 1.0, 1.5, 1.0]))
    # Blocks of 3 x 2 x 4 fine voxels (i, j, k); the first block's centre is the mean of its voxels' centres.
    matrix = labels.ijk_to_ras @ translation([1.0, 0.5, 1.5]) @ np.diag([3.0, 2.0, 4.0, 1.0])
    blocks = (fine == 2).reshape(6, 4, 15, 2, 12, 3).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(occupancy(labels, [2], (6, 15, 12), matrix), blocks, atol=1e-5)
    # The same where the coarse grid begins elsewhere and ends beyond the labels.
    wider = occupancy(labels, [2], (9, 17, 16), matrix @ translation([-2.0, -1.0, -1.0]))
    np.testing.assert_allclose(wider[1:7, 1:16, 2:14], blocks, atol=1e-5)
    assert wider.sum() == pytest.approx(blocks.sum(), rel=1e-4)


@pytest.mark.parametrize("spacing", [0.8, 2.0, 5.0])
def test_a_ball_keeps_its_volume_and_place_on_whatever_grid(spacing):
    axis = np.arange(50) - 24.5
    ball = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2 < 20.0**2
    center = np.array([30.0, -10.0, 5.0])
    labels = LabelMap(ball.astype(np.uint8), translation(center) @ translation([-24.5] * 3), {1: "ball"})
    count = int(64 / spacing)
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_euler_zxy([25.0, 40.0, -10.0]) @ np.diag([spacing, -spacing, spacing])
    matrix[:3, 3] = center + np.array([1.3, -0.7, 0.4]) - matrix[:3, :3] @ np.full(3, (count - 1) / 2)
    share = occupancy(labels, [1], (count,) * 3, matrix).astype(np.float64)
    assert share.min() >= 0
    assert share.max() == pytest.approx(1.0, abs=1e-5)
    assert share.sum() * spacing**3 == pytest.approx(4 / 3 * np.pi * 20.0**3, rel=0.01)
    kji = np.argwhere(share > 0)
    at = kji[:, ::-1] @ matrix[:3, :3].T + matrix[:3, 3]
    weights = share[tuple(kji.T)]
    np.testing.assert_allclose((at * weights[:, None]).sum(axis=0) / weights.sum(), center, atol=0.05)
    # A voxel's share depends on how far from the surface it is, and on nothing else to speak of.
    away = np.linalg.norm(at - center, axis=1) - 20.0
    assert (weights[away < -spacing - 1] > 0.999).all()
    assert away.max() < spacing + 2


def test_of_overlapping_structures_a_voxel_counts_once():
    shape = (6, 6, 6)
    body, rib = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    body[1:5, 1:5, 1:5], rib[2:4, 2:4, :] = 1, 2
    both = Segmentation((body, rib), np.eye(4), (Segment(1, "body"), Segment(2, "rib", 1)))
    np.testing.assert_array_equal(occupancy(both, [1, 2], shape, np.eye(4)), (body > 0) | (rib > 0))
    np.testing.assert_array_equal(occupancy(both, [2], shape, np.eye(4)), rib > 0)


def test_the_images_of_a_structure_and_of_all_the_rest_add_up(phantom, bones, camera):
    poses = draw_poses(NominalView("AP", tuple(phantom.center), 700.0), PoseRange(), 2, np.random.default_rng(1))
    finer = LabelMap(np.repeat(bones.array, 2, axis=0), bones.ijk_to_ras @ _halved_along_k(), bones.names)
    for labels in (bones, finer):
        parts = [
            render(structure_grid(phantom, labels, values), poses, camera, 0.5) for values in ([1], [2], [3], [1, 2])
        ]
        rest = structure_grid(phantom, labels, [4])
        whole = render(density_grid(phantom), poses, camera, 0.5)
        torch.testing.assert_close(parts[0] + parts[1], parts[3], atol=2e-3, rtol=0)
        torch.testing.assert_close(parts[2] + parts[3] + render(rest, poses, camera, 0.5), whole, atol=3e-3, rtol=0)
        assert float(parts[0].max()) > 0.3


def _halved_along_k() -> np.ndarray:
    return np.diag([1.0, 1.0, 0.5, 1.0]) + np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, -0.25], [0, 0, 0, 0]])


def test_a_structures_image_has_derivatives_at_its_edges(phantom, camera):
    # Water in a box that the volume is all made of: what the image changes by comes from the label's edges alone.
    water = Volume(np.zeros((30, 30, 30), np.int16), np.diag([3.0, 3.0, 3.0, 1.0]), "water")
    fine = np.zeros((60, 60, 60), np.uint8)
    fine[21:40, 19:42, 15:44] = 1
    labels = LabelMap(fine, np.diag([1.5, 1.5, 1.5, 1.0]) @ translation([0.5, 0.5, 0.5]), {1: "box"})
    grid = structure_grid(water, labels, [1])
    share = np.unique(grid.densities().numpy() / attenuation_of(water).max())
    assert len(share) > 3  # voxels that are in it by a part
    pose = draw_poses(NominalView("AP", (45.0, 45.0, 45.0), 700.0), PoseRange(), 1, np.random.default_rng(2))
    pivot = np.array([40.0, 30.0, 50.0])
    small = camera.resized((24, 20))
    rays = rays_of(grid, pose, small)
    _, exact = oracle.march(grid, rays, 1.0, pivot)
    assert exact is not None
    for parameter, size in enumerate([1e-5, 1e-5, 1e-5, 1e-7, 1e-7, 1e-7]):
        xi = np.zeros(6)
        xi[parameter] = size
        ahead, behind = (
            oracle.march(grid, rays_of(grid, increment(s * xi, pivot) @ pose, small), 1.0, None)[0] for s in (1, -1)
        )
        difference = (ahead - behind)[0] / (2 * size)
        assert float(difference.norm()) > 0
        assert (difference - exact[0, parameter]).norm() < 1e-3 * difference.norm()
    _, jacobian = render_with_jacobian(grid, pose, small, pivot, 1.0)
    assert (jacobian - exact).norm() < 2e-2 * exact.norm()


def test_a_structure_that_the_volume_does_not_show_is_refused_by_its_name(phantom, bones):
    elsewhere = LabelMap(bones.array, translation([5000.0, 0.0, 0.0]) @ bones.ijk_to_ras, bones.names)
    with pytest.raises(InputError, match="upper bones, lower bones holds nothing of phantom"):
        structure_grid(phantom, elsewhere, [1, 2])
    with pytest.raises(InputError, match="9 holds nothing"):
        structure_grid(phantom, bones, [9])
