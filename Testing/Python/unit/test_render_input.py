"""Whatever a renderer is given, it ends in finite images or in one sentence."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.imaging.volume import LabelMap, Volume
from XVRegistrationLib.rendering import oracle
from XVRegistrationLib.rendering.grid import DensityGrid, density_grid, grid_from_density
from XVRegistrationLib.rendering.labels import label_grid, label_thickness
from XVRegistrationLib.rendering.rays import rays_of
from XVRegistrationLib.rendering.render import render, render_with_jacobian
from XVRegistrationLib.rendering.structure_grid import structure_grid

CAMERA = Intrinsics.centered(1000.0, (2.0, 2.0), (9, 8))
POSE = NominalView("AP", (0.0, 0.0, 0.0), 700.0).pose


@dataclasses.dataclass(frozen=True)
class Scene:
    """A volume somewhere, and a camera somewhere."""

    grid: DensityGrid
    pose: np.ndarray
    camera: Intrinsics
    step: float


def turned(numbers: tuple[float, ...]) -> np.ndarray:
    """The rotation of a quaternion; any four numbers of which one is not small."""
    return Rotation.from_quat(np.add(numbers, [0, 0, 0, 1e-3])).as_matrix()


def floats(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, allow_nan=False)


quaternions = st.tuples(*(st.sampled_from([0.0, 1.0, -1.0, 0.3, -0.7]) for _ in range(4))).filter(any)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Grids of any shape and frame; sources inside, on a voxel, far away; detectors before and behind the volume."""
    shape = draw(st.tuples(*[st.integers(1, 7)] * 3))
    density = np.random.default_rng(draw(st.integers(0, 99))).random(shape).astype(np.float32)
    density *= draw(st.sampled_from([0.02, 1e-6, 50.0]))
    if draw(st.booleans()):
        density[density < density.max() * 0.9] = 0
    frame = np.eye(4)
    spacing = draw(st.tuples(*[st.sampled_from([0.05, 0.7, 1.0, 5.0, 40.0])] * 3))
    flip = draw(st.sampled_from([1.0, -1.0]))
    frame[:3, :3] = turned(draw(quaternions)) @ np.diag(spacing) * [flip, 1, 1]
    frame[:3, 3] = draw(st.tuples(*[floats(-1e3, 1e3)] * 3))
    grid = DensityGrid(torch.from_numpy(np.pad(density, 1)), frame)
    reach = np.array(grid.data.shape[::-1]) * grid.spacing
    pose = np.eye(4)
    pose[:3, :3] = turned(draw(quaternions))
    away = draw(st.sampled_from([0.0, 0.3, 1.0, 3.0, 1e3, 1e6]))
    pose[:3, 3] = grid.center + away * reach * draw(st.tuples(*[floats(-1, 1)] * 3))
    camera = Intrinsics(
        draw(st.sampled_from([0.1, 10.0, 1000.0, 1e6])),
        (draw(floats(0.001, 30)), draw(floats(0.001, 30))),
        (draw(floats(-1e4, 1e4)), draw(floats(-20, 20))),
        (draw(st.integers(1, 7)), draw(st.integers(1, 6))),
        draw(st.booleans()),
    )
    return Scene(grid, pose[None], camera, float(grid.spacing.min()) * draw(st.sampled_from([0.2, 0.7, 3.0, 1e3])))


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(scenes(), st.sampled_from(["march", "joseph", "siddon"]))
def test_any_camera_ends_in_finite_images(scene, method):
    grid = scene.grid
    image = render(grid, scene.pose, scene.camera, scene.step, method=method)
    assert image.shape == (1, *scene.camera.size[::-1])
    assert torch.isfinite(image).all()
    # No more than the densest voxel all along the longest way through the box, a step or a plane more at each end.
    diagonal = float(np.linalg.norm(np.array(grid.data.shape[::-1]) * grid.spacing))
    slack = 2 * scene.step if method == "march" else 2 * grid.spacing.max()
    assert (image >= 0).all()
    assert float(image.max()) <= 1.001 * float(grid.data.max()) * (diagonal + slack)
    if method != "siddon":
        again, jacobian = render_with_jacobian(grid, scene.pose, scene.camera, grid.center, scene.step, method=method)
        assert torch.isfinite(jacobian).all()
        torch.testing.assert_close(again, image, rtol=1e-4, atol=1e-4 * max(float(image.max()), 1e-9))


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(scenes())
def test_any_camera_that_is_not_astronomically_far_sees_what_the_twin_in_double_precision_sees(scene):
    grid = scene.grid
    reach = float(np.linalg.norm(np.array(grid.data.shape[::-1]) * grid.spacing))
    if np.linalg.norm(scene.pose[0, :3, 3] - grid.center) > 30 * reach or scene.camera.sdd > 1e4:
        return
    image = render(grid, scene.pose, scene.camera, scene.step)
    exact, _ = oracle.march(grid, rays_of(grid, scene.pose, scene.camera), scene.step, None)
    # A sample at the very end of a ray may be on either side of it.
    atol = float(grid.data.max()) * (scene.step + 1e-3 * reach)
    torch.testing.assert_close(image.double(), exact, rtol=1e-3, atol=atol)


def test_a_source_inside_the_volume_sees_what_lies_before_it():
    grid = grid_from_density(np.full((40, 40, 40), 0.02, np.float32), np.eye(4))
    pose = np.eye(4)
    pose[:3, 3] = 19.5
    camera = Intrinsics.centered(1000.0, (1.0, 1.0), (3, 3))
    # Half of the block, and half a voxel where it tapers to nothing.
    assert float(render(grid, pose[None], camera)[0, 1, 1]) == pytest.approx(0.02 * 20, rel=0.02)
    near = Intrinsics.centered(10.0, (0.01, 0.01), (3, 3))
    assert float(render(grid, pose[None], near)[0, 1, 1]) == pytest.approx(0.02 * 10, rel=0.05)


def test_rays_along_an_axis_that_pass_the_volume_by_end_at_once():
    """They meet its sides at infinity, farther than a kernel's integers count: it would walk for minutes."""
    density = np.full((30, 30, 30), 0.02, np.float32)
    labels = LabelMap((density > 0).astype(np.uint8), np.eye(4), {1: "block"})
    camera = Intrinsics(1000.0, (1.0, 1.0), (0.0, 0.0), (1, 600))
    pose = NominalView("AP", (60.0, 15.0, 15.0), 700.0).pose
    found = [
        *render_with_jacobian(grid_from_density(density, np.eye(4)), pose[None], camera, np.zeros(3), 0.05),
        label_thickness(label_grid(labels, [1]), pose[None], camera, 0.05),
    ]
    assert all(float(f.abs().max()) == 0 for f in found)


def test_what_is_no_number_in_a_ct_is_air(phantom):
    holes = phantom.array.astype(np.float32)
    holes[20:24, 30:34, 40:44] = np.nan
    filled = np.where(np.isnan(holes), -1000, holes)
    grids = [density_grid(dataclasses.replace(phantom, array=a)) for a in (holes, filled)]
    assert torch.equal(grids[0].data, grids[1].data)


@pytest.mark.parametrize(
    ("pose", "sentence"),
    [
        (np.diag([2.0, 2.0, 2.0, 1.0]), "Pose 1 is not a rigid transform"),
        (np.diag([-1.0, 1.0, 1.0, 1.0]), "not a rigid transform"),
        (np.diag([1.0, 1.0, 1.0, 2.0]), "not a rigid transform"),
        (np.full((4, 4), np.nan), "not a rigid transform"),
        (np.array([[1, 0, 0, np.inf], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "not a rigid transform"),
        (np.zeros((4, 4)), "not a rigid transform"),
        (np.eye(3), r"must have the shape \(B, 4, 4\), not \(2, 3, 3\)"),
    ],
)
def test_what_is_no_pose_is_refused(pose, sentence):
    grid = grid_from_density(np.full((4, 4, 4), 0.02, np.float32), np.eye(4))
    poses = np.stack([np.eye(len(pose)), pose])
    with pytest.raises(InputError, match=sentence):
        render(grid, poses, CAMERA)
    with pytest.raises(InputError, match=sentence):
        render_with_jacobian(grid, poses, CAMERA, np.zeros(3), method="joseph")


@pytest.mark.parametrize("step", [0.0, -1.0, 1e-9, np.nan, np.inf])
def test_a_step_that_leads_nowhere_is_refused(step):
    grid = grid_from_density(np.full((4, 4, 4), 0.02, np.float32), np.eye(4))
    with pytest.raises(InputError, match=r"step must be at least 0\.01 mm"):
        render(grid, POSE[None], CAMERA, step)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sdd": 0.0},
        {"sdd": -1000.0},
        {"sdd": np.nan},
        {"spacing": (0.0, 1.0)},
        {"spacing": (1.0, -1.0)},
        {"principal_point": (np.inf, 0.0)},
        {"size": (0, 5)},
    ],
)
def test_a_camera_without_positive_focal_lengths_and_pixels_is_refused(wrong):
    with pytest.raises(InputError, match="must be positive and finite"):
        dataclasses.replace(CAMERA, **wrong)


@pytest.mark.parametrize(
    ("matrix", "sentence"),
    [
        (np.diag([0.0, 1.0, 1.0, 1.0]), "voxel spacing of zero"),
        (np.diag([np.nan, 1.0, 1.0, 1.0]), "no valid 4x4"),
        (np.array([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]), "sheared"),
    ],
)
def test_voxels_without_a_place_are_refused(matrix, sentence):
    with pytest.raises(InputError, match=sentence):
        Volume(np.zeros((4, 4, 4), np.int16), matrix)
    with pytest.raises(InputError, match=sentence):
        DensityGrid(torch.zeros(4, 4, 4), matrix)


def test_axes_that_run_backwards_are_another_order_of_the_same_voxels(phantom):
    """A negative spacing in a header is a direction, and the same patient is seen."""
    backwards = phantom.ijk_to_ras @ np.array(
        [[-1, 0, 0, phantom.array.shape[2] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    )
    pose = NominalView("AP", tuple(phantom.center), 700.0).pose[None]
    camera = Intrinsics.centered(1000.0, (8.0, 8.0), (40, 40))
    images = [
        render(density_grid(v), pose, camera, 0.5)
        for v in (phantom, Volume(phantom.array[:, :, ::-1], backwards, "backwards"))
    ]
    torch.testing.assert_close(images[1], images[0], rtol=0, atol=2e-3 * float(images[0].max()))


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.1])
def test_densities_that_are_none_are_refused(value):
    data = torch.full((5, 5, 5), 0.02)
    data[2, 2, 2] = value
    with pytest.raises(InputError, match="must be numbers that are not negative"):
        render(DensityGrid(data, np.eye(4)), POSE[None], CAMERA)
    if not np.isfinite(value):
        with pytest.raises(InputError, match="knee holds values that are no numbers"):
            grid_from_density(data.numpy(), np.eye(4), "knee")


def test_a_label_that_is_nowhere_has_no_thickness_and_no_image():
    labels = LabelMap(np.zeros((4, 4, 4), np.uint8), np.eye(4), {1: "hip"})
    grid = label_grid(labels, [1])
    assert label_thickness(grid, POSE[None], CAMERA).shape == (1, 0, 8, 9)
    assert grid.values == ()
    volume = Volume(np.full((4, 4, 4), 40, np.int16), np.eye(4), "slab")
    with pytest.raises(InputError, match="hip holds nothing of slab"):
        structure_grid(volume, labels, [1])


def test_no_poses_make_no_images():
    grid = grid_from_density(np.full((4, 4, 4), 0.02, np.float32), np.eye(4))
    for method in ("march", "joseph"):
        image, jacobian = render_with_jacobian(grid, np.zeros((0, 4, 4)), CAMERA, np.zeros(3), method=method)
        assert (image.shape, jacobian.shape) == ((0, 8, 9), (0, 6, 8, 9))
