"""What a registration is told beside the X-ray: pixels that do not count, a depth, a start, things that lie over a structure."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.Python.unit.exposures import expose, in_plane_error
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import increment, point_distance
from XVRegistrationLib.geometry.views import PoseRange, draw_poses
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.registration.model import prepare_model
from XVRegistrationLib.registration.objective import DepthPrior, depth_of
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.rendering.render import render

RANGE = PoseRange((15.0, 15.0, 15.0), (20.0, 20.0, 20.0))


@pytest.fixture(scope="module")
def model(phantom, camera):
    return prepare_model(phantom, camera, pose_range=RANGE, bank_size=512)


@pytest.fixture(scope="module")
def points(phantom):
    return phantom.center + np.array(np.meshgrid([-60, 60], [-60, 60], [-60, 60])).reshape(3, -1).T


def test_pixels_that_do_not_count_do_not_matter(model, camera, points):
    """Half of the detector shows something else altogether."""
    pose = draw_poses(model.view, RANGE, 1, np.random.default_rng(23))[0]
    xray = expose(model.pyramid.finest, pose, camera)
    mask = np.ones(xray.pixels.shape, dtype=bool)
    mask[:, :45] = False
    mask[95:] = False
    found = {}
    for value in (20000, 700):
        garbage = np.where(mask, xray.pixels, value + 40 * np.arange(camera.size[0])).astype(np.uint16)
        found[value] = register_xray(model, Xray("garbage", garbage, camera), mask=mask)
    assert point_distance(found[700].pose, pose, points) < 2.0
    assert point_distance(found[700].pose, found[20000].pose, points) < 0.3
    with pytest.raises(InputError, match="leaves less than"):
        register_xray(model, xray, mask=np.zeros_like(mask))
    with pytest.raises(InputError, match="The mask of xray has"):
        register_xray(model, xray, mask=mask.T)


def test_a_start_from_which_nothing_is_seen_is_a_sentence(model, camera):
    away = increment([0.0, 0.0, 1500.0, 0, 0, 0], model.view.isocenter) @ model.view.pose
    with pytest.raises(InputError, match="Nothing of the volume falls on the X-ray xray"):
        register_xray(model, expose(model.pyramid.finest, model.view.pose, camera), (), {"header": away})


def test_a_known_depth_is_kept_to(model, camera, points):
    pose = draw_poses(model.view, RANGE, 1, np.random.default_rng(24))[0]
    xray, pivot = expose(model.pyramid.finest, pose, camera), np.array(model.view.isocenter)
    true = depth_of(pose[None], pivot)[0][0]
    for off in (0.0, 4.0):
        found = register_xray(model, xray, depth=DepthPrior(true + off, 0.0))
        assert depth_of(found.pose[None], pivot)[0][0] == pytest.approx(true + off, abs=0.1)
        assert point_distance(found.pose, pose, points) < off + 1.0


def test_a_structure_is_found_although_something_dense_lies_over_it(model, camera, points):
    """Ribs and a rod that are not in the volume cross it; pixels beside it show other things."""
    rng = np.random.default_rng(0)
    detector = Intrinsics(camera.sdd, (3.0, 3.2), (73.0, 67.0), (146, 140))
    pose = draw_poses(model.view, PoseRange((8, 8, 8), (10, 10, 10)), 1, np.random.default_rng(30))[0]
    own = render(model.pyramid.finest, pose[None], detector, step=0.9)[0].numpy()
    row, column = 1.5 * np.mgrid[: own.shape[0], : own.shape[1]]
    other = 1.5 * (np.abs(row - 0.4 * column - 60) < 4) + 1.2 * (np.abs(row + 0.3 * column - 130) < 5)
    other = other + 0.8 + 0.5 * np.sin(column / 40.0) + 1.0 * ((row - 190) ** 2 + (column - 30) ** 2 < 900)
    intensity = np.exp(-(own + other)) * rng.normal(1, 0.01, own.shape)
    xray = Xray("crowded", np.round(6e4 * intensity.clip(1e-4, 1)).astype(np.uint16), detector)
    start = increment([5.0, -4.0, 8.0, 0.05, -0.04, 0.06], model.view.isocenter) @ pose
    found = register_xray(model, xray, (), {"current": start}, surroundings=True)
    assert in_plane_error(found.pose, pose, points) < 1.0
    assert point_distance(found.pose, pose, points) < 4.0


@pytest.mark.parametrize(
    ("depth", "sd"), [(0.0, 1.0), (-700.0, 1.0), (np.nan, 1.0), (np.inf, 1.0), (700.0, -1.0), (700.0, np.nan)]
)
def test_a_known_depth_that_is_none_is_a_sentence(depth, sd):
    with pytest.raises(InputError, match="known depth is a positive distance"):
        DepthPrior(depth, sd)
