"""Structures on X-rays: one walk a ray for all of them, against each marched alone, closed forms and where their voxels project to."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation, binary_erosion

from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.geometry.rigid import rotation_from_euler_zxy
from XVRegistrationLib.geometry.views import NominalView, PoseRange, draw_poses
from XVRegistrationLib.imaging.segmentation import Segment, Segmentation
from XVRegistrationLib.imaging.volume import LabelMap
from XVRegistrationLib.imaging.xray_labels import on_top
from XVRegistrationLib.rendering import labels as labels_module
from XVRegistrationLib.rendering import oracle
from XVRegistrationLib.rendering.grid import DensityGrid
from XVRegistrationLib.rendering.label_grid import BRICK, label_grid
from XVRegistrationLib.rendering.labels import label_thickness, project_labels
from XVRegistrationLib.rendering.rays import rays_of
from XVRegistrationLib.rendering.render import render

CAMERA = Intrinsics(1000.0, (3.0, 3.3), (30.0, 25.0), (64, 48), mirrored=True)


def oblique(shape: tuple[int, ...], spacing: tuple[float, float, float] = (2.0, 1.5, 3.0)) -> np.ndarray:
    """An IJK-to-RAS matrix with rotated, partly flipped axes whose grid is centred at the origin."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_euler_zxy([20.0, -15.0, 30.0]) @ np.diag([-spacing[0], spacing[1], spacing[2]])
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(shape[::-1]) - 1) / 2)
    return matrix


def ellipsoids(count: int, shape: tuple[int, int, int] = (40, 44, 36), seed: int = 0) -> LabelMap:
    """Labels 3, 6, 9, ... of ellipsoids and of single voxels that touch and cut into each other."""
    rng = np.random.default_rng(seed)
    kji = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    array = np.zeros(shape, np.int16)
    for n in range(1, count + 1):
        center, radii = rng.uniform(0.1, 0.9, 3) * shape, rng.uniform(0.5, 9, 3)
        array[(((kji - center) / radii) ** 2).sum(axis=-1) < 1] = 3 * n
        array[tuple(rng.integers(0, shape))] = 3 * n
    return LabelMap(array, oblique(shape), {3 * n: f"structure {n}" for n in range(1, count + 1)})


def seen_from(*, views: int = 2, seed: int = 3) -> np.ndarray:
    """Poses (B, 4, 4) about the origin."""
    return draw_poses(NominalView("LLAT", (0.0, 0.0, 0.0), 700.0), PoseRange(), views, np.random.default_rng(seed))


@pytest.mark.parametrize("step", [None, 0.4, 5.0])
def test_one_walk_gives_each_structure_what_it_has_alone(step):
    grid = label_grid(ellipsoids(24), range(3, 75, 3))
    [layer] = grid.layers
    poses = seen_from()
    found = label_thickness(grid, poses, CAMERA, step)
    assert found.shape == (2, 24, 48, 64)
    used = step or 1.5
    exact = oracle.march_labels(layer, rays_of(layer, poses, CAMERA), used)
    assert float((found - exact).abs().max()) < 5e-4
    assert float(exact.max()) > 20
    for n in (0, 11, 23):
        alone = DensityGrid((layer.data == n + 1).float(), layer.grid_to_ras)
        torch.testing.assert_close(found[:, n], render(alone, poses, CAMERA, used), atol=5e-4 + 1e-3 * used**2, rtol=0)
    assert torch.equal(found, label_thickness(grid, poses, CAMERA, step))


def test_the_structures_of_a_full_volume_add_up_to_it():
    labels = ellipsoids(9)
    full = LabelMap(np.where(labels.array == 0, 30, labels.array), labels.ijk_to_ras, {})
    grid = label_grid(full, [*range(3, 30, 3), 30])
    whole = DensityGrid((grid.layers[0].data > 0).float(), grid.layers[0].grid_to_ras)
    poses = seen_from()
    torch.testing.assert_close(
        label_thickness(grid, poses, CAMERA).sum(dim=1), render(whole, poses, CAMERA, 1.5), atol=3e-3, rtol=0
    )


def test_the_ray_through_a_box_runs_through_it_for_its_chord():
    # Rays that enter and leave by opposite faces, far from the others: the trilinear edges then add up to the faces'.
    array = np.zeros((40, 50, 60), np.uint8)
    array[5:35, 10:20, 5:55] = 1
    array[5:35, 20:44, 5:55] = 2
    labels = LabelMap(array, np.diag([1.0, 2.0, 1.0, 1.0]), {1: "front", 2: "back"})
    center = tuple(float(c) for c in labels.points([1, 2]).mean(axis=0))
    camera = Intrinsics.centered(1000.0, (1.0, 1.0), (9, 9))
    pose = NominalView("AP", center, 700.0).pose[None]
    i, j = np.meshgrid(np.arange(9) - 4.0, np.arange(9) - 4.0)
    slant = np.sqrt(1 + (i**2 + j**2) / 1000.0**2)
    assert (pose[0, :3, :3] == np.round(pose[0, :3, :3])).all()  # the middle ray runs along an axis of the grid
    found = label_thickness(label_grid(labels, [2, 1]), pose, camera, step=0.05)[0].double().numpy()
    np.testing.assert_allclose(found[1], 20.0 * slant, atol=0.01)
    np.testing.assert_allclose(found[0], 48.0 * slant, atol=0.01)


def test_spheres_are_as_thick_as_their_chords_the_finer_the_better():
    radius, errors = 30.0, []
    for spacing in (3.0, 1.0):
        count = int(76 / spacing)
        axis = (np.arange(count) - (count - 1) / 2) * spacing
        inside = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2 < radius**2
        labels = LabelMap(inside.astype(np.uint8), oblique(inside.shape, (spacing,) * 3), {1: "sphere"})
        pose = seen_from(views=1)
        found = label_thickness(label_grid(labels, [1]), pose, CAMERA)[0, 0].double().numpy()
        rows, columns = np.mgrid[:48, :64]
        source, towards = (
            pose[0, :3, 3],
            pose[0, :3, :3]
            @ np.stack(
                [
                    ((63 - columns) - CAMERA.principal_point[0]) * 3.0,
                    (rows - CAMERA.principal_point[1]) * 3.3,
                    np.full(rows.shape, 1000.0),
                ]
            ).reshape(3, -1),
        )
        towards = towards / np.linalg.norm(towards, axis=0)
        passing = np.linalg.norm(np.cross(-source, towards.T), axis=1).reshape(rows.shape)
        chord = 2 * np.sqrt(np.maximum(radius**2 - passing**2, 0))
        errors.append(np.abs(found - chord).mean())
        assert abs(found.sum() / chord.sum() - 1) < 0.02
        assert np.abs(found - chord)[passing < radius - 2 * spacing].max() < 2 * spacing
    assert errors[0] < 0.8
    assert errors[1] < 0.5 * errors[0]


def test_a_structures_edge_is_soft():
    labels = ellipsoids(5)
    grid = label_grid(labels, labels.names)
    poses = np.repeat(seen_from(views=1), 40, axis=0)
    poses[:, 0, 3] += 0.05 * np.arange(40)
    found = label_thickness(grid, poses, CAMERA, 0.5)
    # No ray gains or loses a structure, nor much of it, when the camera moves by a thirtieth of a voxel.
    assert float(found.diff(dim=0).abs().max()) < 1.0
    assert float((found[-1] - found[0]).abs().max()) > 4.0


def test_where_a_ray_may_leap_there_is_one_label_only():
    for seed in range(3):
        labels = ellipsoids(4, (45, 50, 61), seed)
        [layer] = label_grid(labels, labels.names).layers
        data, bricks = layer.data.numpy(), layer.bricks.numpy()
        assert bricks.shape == tuple(-(-(n - 1) // BRICK) for n in data.shape)
        assert (bricks == 0).any()
        assert bricks.max() >= 2
        for brick in np.argwhere(bricks > 0):
            reach = int(bricks[tuple(brick)]) - 1
            low, high = (brick - reach) * BRICK, (brick + reach + 1) * BRICK + 1
            around = data[tuple(slice(max(0, a), b) for a, b in zip(low, high, strict=True))]
            assert around.min() == around.max()
        for brick in np.argwhere(bricks == 0):
            around = data[tuple(slice(a, a + BRICK + 1) for a in brick * BRICK)]
            assert around.min() < around.max()


def test_overlapping_structures_are_whole_each_in_its_layer():
    shape = (20, 20, 20)
    body, rib = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    body[2:18, 2:18, 2:18], rib[8:12, 8:12, 1:12] = 5, 2
    both = Segmentation((body, rib), oblique(shape), (Segment(5, "body"), Segment(2, "rib", 1)))
    grid = label_grid(both, [2, 5, 9])
    assert grid.values == (2, 5)
    assert [layer.values for layer in grid.layers] == [(5,), (2,)]
    poses = seen_from()
    found = label_thickness(grid, poses, CAMERA)
    for n, array in enumerate((rib, body)):
        alone = label_grid(LabelMap((array > 0).astype(np.uint8), both.ijk_to_ras), [1])
        assert torch.equal(found[:, n : n + 1], label_thickness(alone, poses, CAMERA))
    masks = project_labels(grid, poses[0], CAMERA)
    drawn = on_top(masks, (48, 64))
    assert (drawn[masks[2]] == 2).all()
    assert (drawn[masks[5] & ~masks[2]] == 5).all()
    assert (drawn[~masks[5] & ~masks[2]] == 0).all()


def test_more_structures_than_a_byte_can_count():
    array = np.arange(1, 1001, dtype=np.int32).reshape(10, 10, 10)
    array[0, 0, 0] = -4  # no label at all
    labels = LabelMap(array, np.diag([4.0, 4.0, 4.0, 1.0]))
    grid = label_grid(labels, range(-5, 1200))
    assert grid.values == tuple(range(2, 1001))
    assert sum(len(layer.values) for layer in grid.layers) == 999
    camera = Intrinsics.centered(1000.0, (3.0, 3.0), (24, 24))
    pose = NominalView("AP", (18.0, 18.0, 18.0), 700.0).pose[None]
    found = label_thickness(grid, pose, camera, 0.2)
    for value in (2, 255, 256, 257, 640, 1000):
        one = label_grid(LabelMap((array == value).astype(np.uint8), labels.ijk_to_ras), [1])
        torch.testing.assert_close(found[0, value - 2], label_thickness(one, pose, camera, 0.2)[0, 0], atol=0.1, rtol=0)
        assert float(found[0, value - 2].sum()) > 0


def test_without_warp_the_masks_are_the_same(monkeypatch):
    grid = label_grid(ellipsoids(5), range(3, 18, 3))
    pose = seen_from(views=1)[0]
    masks = project_labels(grid, pose, CAMERA)
    monkeypatch.setattr(labels_module, "_march", lambda: partial(oracle.march_labels, dtype=torch.float32))
    slow = project_labels(grid, pose, CAMERA)
    assert set(slow) == set(masks)
    assert all(np.mean(slow[value] != masks[value]) < 1e-3 for value in masks)


def test_what_no_ray_meets_and_what_is_not_there_is_nothing():
    labels = ellipsoids(3)
    grid = label_grid(labels, [3, 6, 9, 12])
    beside = NominalView("AP", (5000.0, 0.0, 0.0), 700.0).pose
    assert float(label_thickness(grid, beside[None], CAMERA).abs().max()) == 0
    assert project_labels(grid, beside, CAMERA) == {}
    none = label_grid(labels, [12, 0, -3])
    assert none.values == ()
    assert label_thickness(none, beside[None], CAMERA).shape == (1, 0, 48, 64)
    assert project_labels(none, beside, CAMERA) == {}


@pytest.mark.parametrize("depth", [-700.0, 0.0, 3.0, 1000.0])
def test_a_source_inside_or_behind_the_structures_ends_in_finite_lengths(depth):
    grid = label_grid(ellipsoids(6), range(3, 21, 3))
    pose = NominalView("AP", (0.0, 0.0, 0.0), 700.0).pose
    pose[:3, 3] = pose[:3, 2] * -depth
    found = label_thickness(grid, pose[None], CAMERA)
    assert torch.isfinite(found).all()
    assert float(found.min()) >= 0
    for pixels in (None, 40):
        assert set(project_labels(grid, pose, CAMERA, pixels=pixels)) <= set(grid.values)


def test_labels_cover_the_pixels_that_their_voxels_project_to():
    labels, camera = two_boxes(), Intrinsics(1000.0, (1.0, 1.2), (99.0, 80.0), (200, 160), mirrored=True)
    pose = NominalView("PA", (0.0, 0.0, 0.0), 700.0).pose
    masks = project_labels(label_grid(labels, [3, 7, 9]), pose, camera)
    assert set(masks) == {3, 7}
    for value, mask in masks.items():
        pixels = np.round(project(labels.points([value]), pose, camera)).astype(int)
        assert mask[pixels[:, 1], pixels[:, 0]].mean() > 0.98
        rows, columns = np.nonzero(mask)
        assert abs(columns.mean() - pixels[:, 0].mean()) < 2
        assert abs(rows.mean() - pixels[:, 1].mean()) < 2


@pytest.mark.parametrize("shift", [0.0, 60.0], ids=["inside", "over the border"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_labels_projected_quickly_are_the_same_to_a_pixel(mirrored, shift):
    labels = two_boxes()
    labels.ijk_to_ras[:3, 3] += (shift, 0.0, shift / 2)
    camera = Intrinsics(1000.0, (1.0, 1.2), (99.0, 80.0), (200, 160), mirrored)
    grid = label_grid(labels, [3, 7])
    pose = NominalView("PA", (0.0, 0.0, 0.0), 700.0).pose
    exact = project_labels(grid, pose, camera)
    whole = label_thickness(grid, pose[None], camera)[0].numpy() >= 1.0
    for n, value in enumerate(grid.values):  # only the rays that can meet a structure are walked
        assert np.array_equal(exact[value], whole[n])
    quick = project_labels(grid, pose, camera, pixels=90)
    assert set(quick) == set(exact)
    for value, mask in quick.items():
        assert mask.shape == (160, 200)
        # What differs lies within two pixels of the outline.
        inside, outside = (
            binary_erosion(exact[value], iterations=2, border_value=1),
            binary_dilation(exact[value], iterations=2),
        )
        assert not (inside & ~mask).any()
        assert not (mask & ~outside).any()


def test_an_image_in_bands_is_the_image_and_can_be_ended_between_them(monkeypatch):
    grid = label_grid(ellipsoids(12), range(3, 39, 3))
    pose = seen_from(views=1)[0]
    whole = project_labels(grid, pose, CAMERA)
    monkeypatch.setattr(labels_module, "_BAND_BYTES", 4 * 12 * 64 * 5)
    calls = []
    bands = project_labels(grid, pose, CAMERA, check=lambda: calls.append(1))
    assert len(calls) >= 5
    assert set(bands) == set(whole)
    assert all(np.array_equal(bands[value], whole[value]) for value in whole)
    some = project_labels(grid, pose, CAMERA, values=[33, 6, 400])
    assert list(some) == [v for v in (6, 33) if v in whole]
    assert all(np.array_equal(some[value], whole[value]) for value in some)

    def ended() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        project_labels(grid, pose, CAMERA, check=ended)


def two_boxes() -> LabelMap:
    shape = (30, 30, 30)
    array = np.zeros(shape, np.int16)
    array[5:12, 8:15, 4:20] = 3
    array[20:26, 20:24, 20:28] = 7
    return LabelMap(array, oblique(shape), {3: "a", 7: "b"})
