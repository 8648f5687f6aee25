"""Where a volume falls on the detector, against renders of all of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import increment
from XVRegistrationLib.geometry.views import NominalView, PoseRange, draw_poses
from XVRegistrationLib.rendering.grid import DensityGrid, coarser, density_grid
from XVRegistrationLib.rendering.projected_bounds import detector_part, part_of, projected_bounds, projected_mask
from XVRegistrationLib.rendering.render import render

CAMERAS = {
    "plain": Intrinsics(1020.0, (4.0, 5.0), (80.0, 60.0), (170, 130)),
    "mirrored": Intrinsics(1020.0, (4.0, 5.0), (70.0, 50.0), (170, 130), mirrored=True),
}
RANGE = PoseRange((40.0, 40.0, 40.0), (60.0, 60.0, 60.0))


@pytest.fixture(scope="module")
def grid(phantom):
    return coarser(density_grid(phantom), (2, 2, 2))


@pytest.fixture(scope="module")
def view(phantom):
    return NominalView("AP", tuple(phantom.center), 700.0)


@pytest.mark.parametrize("name", CAMERAS)
def test_the_bounds_are_the_rectangle_around_everything_that_is_seen(grid, view, name):
    camera = CAMERAS[name]
    block = torch.zeros_like(grid.densities())
    block[1:-1, 1:-1, 1:-1] = 1
    for pose in draw_poses(view, RANGE, 6, np.random.default_rng(0)):
        left, top, right, bottom = projected_bounds(grid, pose, camera)
        seen = render(DensityGrid(block, grid.grid_to_ras), pose[None], camera)[0].numpy() > 0
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        beside = [columns[0] - left, right - 1 - columns[-1], rows[0] - top, bottom - 1 - rows[-1]]
        assert min(beside) >= 0
        assert max(beside) <= 3


@pytest.mark.parametrize("name", CAMERAS)
def test_a_part_of_the_detector_sees_its_part_of_the_image(grid, view, name):
    camera = CAMERAS[name]
    whole = render(grid, view.pose[None], camera)[0]
    part = part_of(camera, 23, 31, 97, 88)
    assert part.size == (74, 57)
    np.testing.assert_allclose(render(grid, view.pose[None], part)[0], whole[31:88, 23:97], atol=1e-4)


@pytest.mark.parametrize("name", CAMERAS)
def test_what_is_looked_at_holds_all_bounds_and_its_margin(grid, view, name):
    camera = CAMERAS[name]
    poses = draw_poses(view, PoseRange((10, 10, 10), (15, 15, 15)), 3, np.random.default_rng(1))
    near, wide = (detector_part(grid, poses, camera, margin) for margin in (0.0, 20.0))
    renders = render(grid, poses, camera).numpy()
    inside = render(grid, poses, near).numpy()
    assert np.abs(inside.sum(axis=(1, 2)) / renders.sum(axis=(1, 2)) - 1).max() < 1e-4
    assert near.size[0] < camera.size[0]
    moved = increment([14.0, 0, 9.0, 0, 0, 0], view.isocenter) @ poses  # less than the margin in the image
    seen = render(grid, moved, wide).numpy().sum(axis=(1, 2)) / render(grid, moved, camera).numpy().sum(axis=(1, 2))
    assert np.abs(seen - 1).max() < 1e-4
    assert wide.size[0] <= camera.size[0]
    assert wide.size[1] <= camera.size[1]


def test_what_falls_beside_the_detector_is_not_looked_at(grid, view):
    camera = CAMERAS["plain"]
    away = increment([0, 0, 900.0, 0, 0, 0], view.isocenter) @ view.pose
    box = projected_bounds(grid, away, camera)
    assert box[0] == box[2] or box[1] == box[3]
    assert detector_part(grid, away[None], camera, 10.0) is None
    both = detector_part(grid, np.stack([away, view.pose]), camera, 10.0)
    assert both == detector_part(grid, view.pose[None], camera, 10.0)


def test_with_the_source_inside_of_the_volume_everything_is_looked_at(grid, view):
    camera = CAMERAS["plain"]
    inside = view.pose.copy()
    inside[:3, 3] = view.isocenter
    assert projected_bounds(grid, inside, camera) == (0, 0, *camera.size)


@pytest.mark.parametrize("name", CAMERAS)
def test_what_is_shown_are_the_pixels_that_see_the_volume_and_those_around_them(grid, view, name):
    camera = CAMERAS[name]
    poses = draw_poses(view, PoseRange((10, 10, 10), (15, 15, 15)), 2, np.random.default_rng(2))
    truth = (render(grid, poses, camera) > 1e-3).any(dim=0).numpy()
    tight, wide = (projected_mask(grid, poses, camera, margin).numpy() > 0 for margin in (0.0, 15.0))
    assert (tight != truth).mean() < 0.01  # another sample distance
    assert not (tight & ~wide).any()
    # 15 mm at the volume, 700 of 1020 mm from the source, are 22 mm on the detector, with pixels of 4 x 5 mm.
    for axis, (least, most) in enumerate([(5, 8), (4, 7)]):
        seen, counted = (np.flatnonzero(image.any(axis=axis)) for image in (truth, wide))
        for edge, at in ((seen[0] - counted[0], counted[0]), (counted[-1] - seen[-1], counted[-1])):
            assert least <= edge <= most or at in (0, camera.size[axis] - 1)
