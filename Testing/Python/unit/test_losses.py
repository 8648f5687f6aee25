"""What networks learn by: zero and lowest at the truth, with the slope that finite differences have, through the renderer too."""

from __future__ import annotations

import numpy as np
import pytest
import roma
import torch
from scipy.linalg import logm
from skimage.filters import sobel_h, sobel_v

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.geometry.rigid import rigid, rotation_from_euler_zxy
from XVRegistrationLib.geometry.views import NominalView, PoseRange, draw_poses, relative_motion
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.training.image_losses import dice_loss, gradient_ncc_loss, local_ncc_loss, ncc_loss
from XVRegistrationLib.training.losses import (
    between_views_distance,
    euler_distance,
    euler_zxy_of,
    geodesic_distance,
    motions_to_poses,
    projected_distance,
    rotation_distance,
    screw_distance,
)
from XVRegistrationLib.training.objective import LossWeights, TrainingLoss, Weight
from XVRegistrationLib.training.task import Task, dense_points

RADIUS = 100.0
OFF = Weight(0.0)
POSE_LOSSES = {
    "geodesic": lambda r, t, a, b: geodesic_distance(r, t, a, b, RADIUS),
    "screw": lambda r, t, a, b: screw_distance(r, t, a, b, RADIUS),
    "euler": euler_distance,
    "between_views": lambda r, t, a, b: between_views_distance(r, t, a, b, RADIUS),
}


def motions(count: int, seed: int, size: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotations of some 20 degrees and shifts of some 20 mm, times `size`; float64."""
    g = torch.Generator().manual_seed(seed)
    w = torch.randn(count, 3, generator=g, dtype=torch.float64) * 0.2 * size
    return roma.rotvec_to_rotmat(w), torch.randn(count, 3, generator=g, dtype=torch.float64) * 20 * size


def moved(r: torch.Tensor, t: torch.Tensor, xi: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Motions turned by xi[:, 3:] rad and shifted by xi[:, :3] mm."""
    return roma.rotvec_to_rotmat(xi[:, 3:]) @ r, t + xi[:, :3]


@pytest.mark.parametrize("name", POSE_LOSSES)
def test_a_distance_is_lowest_at_the_truth_and_has_the_slope_of_finite_differences(name):
    r, t = motions(4, 1)
    loss = POSE_LOSSES[name]
    assert float(loss(r, t, r, t).max()) < 0.01
    away, shift = motions(4, 2, 0.3)
    assert float(loss(away @ r, t + shift, r, t).min()) > 1.0
    xi = torch.zeros(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: loss(*moved(away @ r, t + shift, x), r, t), (xi,), atol=1e-4)
    # At the truth itself the slope is finite, in single precision too.
    xi32 = torch.zeros(4, 6, requires_grad=True)
    loss(*moved(r.float(), t.float(), xi32), r.float(), t.float()).sum().backward()
    assert torch.isfinite(xi32.grad).all()


def test_the_geodesics_are_those_of_the_groups():
    """Against SciPy's matrix logarithm."""
    (r, t), (a, b) = motions(6, 3), motions(6, 4)
    for k in range(6):
        log = logm(np.linalg.inv(rigid(a[k], b[k])) @ rigid(r[k], t[k])).real
        w, v = np.array([log[2, 1], log[0, 2], log[1, 0]]), log[:3, 3]
        one = slice(k, k + 1)
        assert float(rotation_distance(r[one], a[one])) == pytest.approx(np.linalg.norm(w), rel=1e-6)
        expected = np.hypot(RADIUS * np.linalg.norm(w), np.linalg.norm(v))
        assert float(screw_distance(r[one], t[one], a[one], b[one], RADIUS)) == pytest.approx(expected, rel=1e-5)


def test_euler_angles_are_those_that_poses_are_drawn_by():
    degrees = np.random.default_rng(0).uniform(-80, 80, (20, 3))
    found = euler_zxy_of(torch.from_numpy(rotation_from_euler_zxy(degrees)))
    np.testing.assert_allclose(found.numpy(), degrees, atol=1e-6)
    one = torch.from_numpy(relative_motion([[3.0, 0, 4.0], [0, 0, 0]], [[0, 0, 0], [0, 6.0, 8.0]]))
    zero = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)
    found = euler_distance(one[:, :3, :3], one[:, :3, 3], zero[:, :3, :3], zero[:, :3, 3])
    np.testing.assert_allclose(found.numpy(), [5.0, 10.0], atol=2e-3)


def test_an_error_that_all_views_share_does_not_count_between_them():
    r, t = motions(3, 5)
    (shared, shift), (other, _) = motions(1, 6), motions(3, 7)
    same = between_views_distance(r @ shared, t + torch.einsum("bij,kj->bi", r, shift), r, t, RADIUS)
    assert float(same.max()) < 0.01
    assert float(between_views_distance(r @ other, t, r, t, RADIUS).min()) > 1
    assert float(between_views_distance(r[:1], t[:1], r[:1] @ shared, t[:1], RADIUS)) == 0


def test_projected_distances_are_those_of_the_projection_and_have_a_slope(phantom, camera):
    view = NominalView("AP", tuple(phantom.center), 700.0)
    rng = np.random.default_rng(2)
    poses, true = (draw_poses(view, PoseRange(), 3, rng) for _ in range(2))
    points = phantom.center + rng.normal(size=(20, 3)) * 60
    found = projected_distance(*(torch.from_numpy(x) for x in (poses, true, points)), camera.sdd)
    px = np.stack([project(points, a, camera) - project(points, b, camera) for a, b in zip(poses, true, strict=True)])
    np.testing.assert_allclose(found, np.linalg.norm(px * camera.spacing, axis=-1).mean(axis=-1), rtol=1e-6)
    motion = torch.from_numpy(view.relative(poses))
    frame = rigid(view.axes, view.isocenter)
    again = motions_to_poses(motion[:, :3, :3], motion[:, :3, 3], frame, view.pose)
    np.testing.assert_allclose(again, poses, atol=1e-9)


def test_image_losses_are_zero_for_equal_images_and_agree_with_numpy():
    rng = np.random.default_rng(1)
    a, b = (rng.normal(size=(2, 30, 28)).cumsum(axis=1).cumsum(axis=2) for _ in range(2))
    a_, b_ = torch.from_numpy(a), torch.from_numpy(b)
    for k in range(2):
        assert float(ncc_loss(a_, b_)[k]) == pytest.approx(1 - np.corrcoef(a[k].ravel(), b[k].ravel())[0, 1], abs=1e-6)
        inner = [
            np.corrcoef(f(a[k])[1:-1, 1:-1].ravel(), f(b[k])[1:-1, 1:-1].ravel())[0, 1] for f in (sobel_h, sobel_v)
        ]
        assert float(gradient_ncc_loss(a_, b_)[k]) == pytest.approx(1 - np.mean(inner), abs=1e-6)
        patches = np.lib.stride_tricks.sliding_window_view(np.stack([a[k], b[k]]), (9, 9), axis=(1, 2)).reshape(
            2, -1, 81
        )
        local = [np.corrcoef(p, q)[0, 1] for p, q in zip(*patches, strict=True)]
        assert float(local_ncc_loss(a_, b_)[k]) == pytest.approx(1 - np.mean(local), abs=0.02)
    for loss in (ncc_loss, local_ncc_loss, gradient_ncc_loss):
        assert float(loss(a_, 3 * a_ + 2).abs().max()) < 2e-2
        assert float(loss(a_, a_).abs().max()) < 1e-6
        assert torch.autograd.gradcheck(
            lambda x, f=loss: f(x, b_[:1, :11, :12]), (a_[:1, :11, :12].clone().requires_grad_(),)
        )
    shadow = torch.rand(2, 3, 9, 9, dtype=torch.float64)
    assert float(dice_loss(shadow, shadow).abs().max()) < 1e-9
    halves = torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4)
    halves[0][..., :2], halves[1][..., 1:3] = 1, 1
    assert float(dice_loss(*halves)) == pytest.approx(0.5)


@pytest.fixture(scope="module")
def patient(phantom) -> tuple[Task, Intrinsics]:
    """The phantom, a bone of it as a structure, and a small camera."""
    grid = density_grid(phantom)
    bone = type(grid)((grid.densities() * (grid.densities() > 0.03)).contiguous(), grid.grid_to_ras)
    camera = Intrinsics.centered(1020.0, (8.0, 8.0), (48, 44))
    view = NominalView("AP", tuple(map(float, phantom.center)), 700.0)
    return Task(grid, view, PoseRange(), camera, (bone,)), camera


@pytest.mark.parametrize("name", ["ncc", "gradient_ncc", "dice"])
def test_losses_through_the_renderer_are_lowest_at_the_truth_and_have_the_right_slope(patient, name):
    task, camera = patient
    weights = LossWeights(OFF, **{name: Weight(1.0)})
    criterion = TrainingLoss(weights, task, camera, task.grid, 2.0, dense_points(task.grid))
    r, t = motions(2, 8, 0.5)
    true = torch.from_numpy(rigid(r, t))

    def loss(size: torch.Tensor) -> torch.Tensor:
        xi = torch.tensor([[6.0, -4.0, 20.0, 0.05, -0.04, 0.06]], dtype=torch.float64) * size
        return criterion(*moved(r, t, xi.expand(2, 6)), true, 0.5)

    at = [float(loss(torch.tensor(s, dtype=torch.float64))) for s in (0.0, 0.5, 1.0)]
    assert abs(at[0]) < 1e-4
    assert at[0] < at[1] < at[2]
    size = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    loss(size).backward()
    h = 0.02
    finite = (float(loss(size.detach() + h)) - float(loss(size.detach() - h))) / (2 * h)
    assert float(size.grad) == pytest.approx(finite, rel=0.06)


def test_weights_follow_the_budget_and_losses_add_up(patient):
    ramp = Weight(4.0, 0.5, 0.75)
    assert [ramp.at(p) for p in (0.0, 0.49, 0.625, 0.75, 1.0)] == [0, 0, 2, 4, 4]
    assert [Weight(3.0, 0.5).at(p) for p in (0.4, 0.5, 1.0)] == [0, 3, 3]
    task, camera = patient
    points = dense_points(task.grid)
    r, t = motions(2, 9, 0.3)
    true = torch.eye(4, dtype=torch.float64).repeat(2, 1, 1)

    def total(weights: LossWeights, progress: float) -> float:
        return float(TrainingLoss(weights, task, camera, task.grid, 4.0, points)(r, t, true, progress))

    both = LossWeights(Weight(2.0), euler=Weight(1.0, 0.5), projected=Weight(0.5))
    single = [total(w, 1.0) for w in (LossWeights(), LossWeights(OFF, euler=Weight(1.0)))]
    shadow = total(LossWeights(OFF, projected=Weight(1.0)), 1.0)
    assert total(both, 0.2) == pytest.approx(2 * single[0] + 0.5 * shadow, rel=1e-6)
    assert total(both, 0.6) == pytest.approx(2 * single[0] + single[1] + 0.5 * shadow, rel=1e-6)


def test_losses_that_cannot_be_are_refused(patient):
    task, camera = patient
    with pytest.raises(InputError, match="learns nothing"):
        LossWeights(OFF)
    with pytest.raises(InputError, match="zero or more"):
        Weight(-1.0)
    bare = Task(task.grid, task.view, task.pose_range, task.intrinsics)
    with pytest.raises(InputError, match="needs structures"):
        TrainingLoss(LossWeights(dice=Weight(1.0)), bare, camera, task.grid, 4.0, dense_points(task.grid))
