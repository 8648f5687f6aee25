"""Refinement and its stages on a small phantom: derivatives through the renderer, several structures, limits, masks, competition."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import increment, point_distance, rigid, rotation_from_vector
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.registration.objective import (
    DepthPrior,
    Estimates,
    FreeParameters,
    View,
    changed,
    costs,
    depth_of,
    evaluate,
    rendered,
    view_of,
)
from XVRegistrationLib.registration.refine import refine
from XVRegistrationLib.registration.similarity import Similarity
from XVRegistrationLib.registration.stages import Stage, distinct, run_stages, stages_for
from XVRegistrationLib.rendering.grid import DensityGrid, density_grid
from XVRegistrationLib.rendering.pyramid import Pyramid
from XVRegistrationLib.rendering.render import render

STEP = 1.5
CAMERAS = {
    "plain": Intrinsics(1020.0, (4.0, 4.4), (49.0, 44.0), (96, 90)),
    "mirrored": Intrinsics(1100.0, (5.0, 3.5), (40.0, 58.0), (84, 110), mirrored=True),
}
QUARTER = np.array([0.0, np.pi / 2, 0.0])


@pytest.fixture(scope="module")
def grid(phantom) -> DensityGrid:
    return density_grid(phantom)


@pytest.fixture(scope="module")
def pose(phantom):
    view = NominalView("AP", tuple(phantom.center), 700.0)
    return increment([4.0, -6.0, 3.0, 0.06, -0.05, 0.04], phantom.center) @ view.pose


def beside(pose, pivot, vector=QUARTER) -> np.ndarray:
    """(4, 4) a second camera -> the first, so that it looks at the pivot from the side."""
    camera = np.linalg.inv(pose)
    center = camera[:3, :3] @ pivot + camera[:3, 3]
    turn = rotation_from_vector(vector)
    return rigid(turn, center - turn @ center)


def view_from(grid, pose, camera, offset=None, similarity=None, grids=None) -> View:
    offset = np.eye(4) if offset is None else offset
    image = render(grid, (pose @ offset)[None], camera, STEP)[0]
    return View(image, camera, grids or (grid,), STEP, similarity or Similarity((0, 16)), offset=offset)


def points(pivot) -> np.ndarray:
    return pivot + 50 * np.concatenate([np.eye(3), -np.eye(3)])


@pytest.mark.parametrize("name", CAMERAS)
def test_the_gradient_by_everything_that_is_estimated_is_the_costs_derivative(grid, phantom, pose, name):
    """Two views, the detectors' responses and geometries; the X-rays stay, so that no term vanishes."""
    pivot, camera = phantom.center, CAMERAS[name]
    views = [
        view_from(grid, pose, camera),
        view_from(grid, pose, CAMERAS["plain"], beside(pose, pivot)),
    ]
    start = Estimates.at((increment([2.0, -1.5, 6.0, 0.015, -0.02, 0.01], pivot) @ pose)[None], 2)
    start = dataclasses.replace(start, response=start.response + np.array([0.3, 0.3, 0.0]))
    free = FreeParameters(response=True, geometry=True)

    def cost(step: np.ndarray) -> float:
        return float(evaluate(start.moved(step[None], pivot[None]), views, pivot[None], free)[0].cost[0])

    found = evaluate(start, views, pivot[None], free)[0].gradient[0].numpy()
    assert len(found) == 6 + 6 + 6
    sizes = np.array([0.3] * 3 + [3e-3] * 3 + [0.02, 0.02, 0.02] * 2 + [2.0, 0.5, 0.5] * 2)
    numeric = np.array([(cost(m) - cost(-m)) / 2 for m in np.diag(sizes)])
    # In units of the steps, parameters can be compared with each other.
    np.testing.assert_allclose(found * sizes, numeric, atol=0.06 * np.abs(numeric).max())
    kinds = [slice(0, 3), slice(3, 6), slice(6, 12), slice(12, 18)]
    for kind in kinds:
        np.testing.assert_allclose((found * sizes)[kind], numeric[kind], atol=0.12 * np.abs(numeric[kind]).max())


@pytest.mark.parametrize("name", CAMERAS)
def test_the_derivatives_by_the_geometry_are_those_of_another_camera(grid, phantom, pose, name):
    camera, pivot = CAMERAS[name], phantom.center
    view = view_from(grid, pose, camera)
    _, jacobians = rendered(Estimates.at(pose[None]), 0, view, pivot[None], FreeParameters(geometry=True))
    for k, size in enumerate([5.0, 1.0, 1.0]):
        move = size * np.eye(3)[k]
        ahead, behind = (render(grid, pose[None], changed(camera, s * move), STEP)[0] for s in (1, -1))
        numeric, found = ((ahead - behind) / (2 * size)).numpy(), jacobians[0, 6 + k].numpy()
        assert np.corrcoef(numeric.ravel(), found.ravel())[0, 1] > 0.94
        assert np.abs(found).mean() == pytest.approx(np.abs(numeric).mean(), rel=0.15)


@pytest.mark.parametrize("free", [FreeParameters(), FreeParameters(response=True)])
def test_the_cost_never_rises_and_what_is_not_free_stays(grid, phantom, pose, free):
    rng = np.random.default_rng(2)
    pivot = phantom.center
    starts = increment(rng.uniform(-1, 1, (5, 6)) * [8, 8, 25, 0.1, 0.1, 0.1], pivot) @ pose
    view = view_from(grid, pose, CAMERAS["plain"])
    last = np.full(5, np.inf)
    for iterations in (1, 2, 4, 9):
        found = refine(Estimates.at(starts), [view], pivot[None], iterations, free)
        assert (found.cost <= last + 1e-12).all()
        last = found.cost
        assert not found.estimates.geometry.any()
        assert found.renders <= 5 * iterations
    np.testing.assert_allclose(found.cost, evaluate(found.estimates, [view], pivot[None], free)[0].cost, atol=1e-6)
    if not free.response:
        assert not found.estimates.response.any()


@pytest.mark.parametrize("name", CAMERAS)
def test_refinement_returns_to_the_pose(grid, phantom, pose, name):
    rng = np.random.default_rng(3)
    pivot = phantom.center
    starts = increment(rng.uniform(-1, 1, (4, 6)) * [5, 5, 8, 0.05, 0.05, 0.05], pivot) @ pose
    found = refine(Estimates.at(starts), [view_from(grid, pose, CAMERAS[name])], pivot[None], 25)
    assert np.median(point_distance(starts, pose, points(pivot))) > 3
    assert np.median(point_distance(found.estimates.poses[:, 0], pose, points(pivot))) < 0.2


def test_a_hypothesis_ends_where_it_would_by_itself(grid, phantom, pose):
    rng = np.random.default_rng(4)
    pivot = phantom.center
    starts = increment(rng.uniform(-1, 1, (3, 6)) * [5, 5, 15, 0.05, 0.05, 0.05], pivot) @ pose
    view = view_from(grid, pose, CAMERAS["plain"])
    together = refine(Estimates.at(starts), [view], pivot[None], 8)
    for i in range(3):
        alone = refine(Estimates.at(starts[i : i + 1]), [view], pivot[None], 8)
        np.testing.assert_allclose(alone.estimates.poses[0], together.estimates.poses[i], atol=1e-3)


def test_two_structures_that_moved_apart_are_both_found(grid, phantom, pose):
    """Each half of the phantom has a pose of its own; the X-rays show the sum of both."""
    data = grid.densities().clone()
    upper, lower = data.clone(), data.clone()
    middle = data.shape[0] // 2
    upper[:middle], lower[middle:] = 0, 0
    halves = tuple(DensityGrid(d, grid.grid_to_ras) for d in (upper, lower))
    pivots = np.stack([phantom.center, phantom.center])
    bent = increment([2.0, 1.0, -1.0, 0.05, 0.03, -0.04], phantom.center) @ pose
    views = []
    for offset in (np.eye(4), beside(pose, phantom.center)):
        image = sum(
            render(g, (t @ offset)[None], CAMERAS["plain"], STEP)[0] for g, t in zip(halves, (pose, bent), strict=True)
        )
        views.append(View(image, CAMERAS["plain"], halves, STEP, Similarity((0, 16)), offset=offset))
    start = increment([3.0, -2.0, 4.0, 0.02, 0.03, -0.02], phantom.center) @ pose
    found = refine(Estimates.at(np.stack([start, start])[None], 2), views, pivots, 40, stop_at_gain=0.0)
    for s, truth in enumerate((pose, bent)):
        assert point_distance(found.estimates.poses[0, s], truth, points(phantom.center)) < 0.5
    assert found.renders % 4 == 0


def test_a_known_depth_is_held_and_an_uncertain_one_has_its_say(grid, phantom, pose):
    """The prior states another depth than the image's: with certainty it wins, in doubt they meet, in ignorance it says nothing."""
    pivot = phantom.center
    view = view_from(grid, pose, CAMERAS["plain"])
    noise = np.random.default_rng(0).normal(0, 0.15, view.xray.shape)
    view = dataclasses.replace(view, xray=view.xray + torch.from_numpy(noise).float())
    true = depth_of(pose[None], pivot)[0][0]
    start = Estimates.at((increment(np.r_[pose[:3, 2] * -6.0, 0, 0, 0.02], pivot) @ pose)[None])
    found = {}
    for sd in (0.0, 5.0, 1e3):
        end = refine(start, [view], pivot[None], 20, FreeParameters(), DepthPrior(true + 12.0, sd), stop_at_gain=0.0)
        found[sd] = depth_of(end.estimates.poses[:, 0], pivot)[0][0] - true
    assert found[0.0] == pytest.approx(12.0, abs=0.1)
    assert 1.0 < found[5.0] < 11.0
    assert abs(found[1e3]) < 0.7


def test_the_depths_derivative_is_that_of_a_shift(phantom, pose):
    depth, by_shift = depth_of(pose[None], phantom.center)
    for k in range(6):
        moved = increment(1e-5 * np.eye(6)[k], phantom.center) @ pose
        change = (depth_of(moved[None], phantom.center)[0] - depth) / 1e-5
        assert change[0] == pytest.approx(by_shift[0, k] if k < 3 else 0, abs=1e-4)


def test_what_lies_under_a_mask_does_not_reach_a_coarser_view(grid, phantom, pose):
    """Pixels that do not count are left out where several are averaged, and not mixed into those that do."""
    fine = Intrinsics(1020.0, (1.6, 1.7), (124.0, 116.0), (250, 233))
    image = render(grid, pose[None], fine, STEP)[0]
    mask = torch.ones(image.shape)
    mask[:51], mask[:, 203:] = 0, 0
    pyramids = [Pyramid(grid)]
    made = [
        view_of(torch.where(mask == 0, garbage, image), fine, pyramids, 60, 700.0, Similarity((0, 12)), mask)
        for garbage in (image, torch.full_like(image, 40.0), torch.full_like(image, -7.0))
    ]
    starts = Estimates.at((increment([2.0, -1.5, 6.0, 0.015, -0.02, 0.01], phantom.center) @ pose)[None])
    costs = [float(evaluate(starts, [view], phantom.center[None], FreeParameters())[0].cost[0]) for view in made]
    assert costs[1] == pytest.approx(costs[0], abs=1e-5)
    assert costs[2] == pytest.approx(costs[0], abs=1e-5)


def test_masked_garbage_does_not_move_the_result(grid, phantom, pose):
    pivot = phantom.center
    view = view_from(grid, pose, CAMERAS["plain"])
    image, weight = view.xray.clone(), torch.ones(view.xray.shape)
    image[20:40, 50:75], weight[20:40, 50:75] = 9.0, 0.0
    start = Estimates.at((increment([3.0, -2.0, 5.0, 0.02, -0.02, 0.03], pivot) @ pose)[None])
    errors = {}
    for name, mask in (("masked", weight), ("open", None)):
        dirty = dataclasses.replace(view, xray=image, weight=mask)
        end = refine(start, [dirty], pivot[None], 25)
        errors[name] = float(point_distance(end.estimates.poses[0, 0], pose, points(pivot)))
    assert errors["masked"] < 0.2
    assert errors["open"] > 5 * errors["masked"]


def test_equal_poses_are_merged_and_the_best_come_first(phantom, pose):
    pivot = phantom.center
    shifts = np.zeros((6, 6))
    shifts[:, 0] = [0, 0.5, 10, 10.5, 30, 30.1]
    shifts[5, 3] = np.radians(3)
    estimates = Estimates.at(increment(shifts, pivot) @ pose)
    cost = np.array([0.2, 0.1, 0.4, 0.5, 0.3, 0.6])
    assert distinct(estimates, cost, pivot[None], 10).tolist() == [1, 4, 2, 5]
    assert distinct(estimates, cost, pivot[None], 2).tolist() == [1, 4]


def test_far_from_the_source_a_turn_about_it_is_not_the_same_pose(phantom, pose):
    """What counts is where the volume lies before the camera, and not where the source is."""
    pivot = phantom.center
    turned = increment([0, 0, 0, 0, 0, np.radians(0.5)], pivot) @ pose
    about_source = increment([0, 0, 0, 0, 0, np.radians(0.5)], pose[:3, 3]) @ pose
    estimates = Estimates.at(np.stack([pose, turned, about_source]))
    assert distinct(estimates, np.array([0.1, 0.2, 0.3]), pivot[None], 3).tolist() == [0, 2]


def test_hypotheses_are_ranked_by_the_cost_that_is_refined(grid, phantom, pose):
    """Without derivatives, in two views, of two structures."""
    halves = [grid.densities().clone(), grid.densities().clone()]
    halves[0][: len(grid.data) // 2], halves[1][len(grid.data) // 2 :] = 0, 0
    grids = tuple(DensityGrid(half, grid.grid_to_ras) for half in halves)
    views = [
        view_from(grid, pose, CAMERAS["plain"], grids=grids),
        view_from(grid, pose, CAMERAS["mirrored"], beside(pose, phantom.center), grids=grids),
    ]
    xi = np.random.default_rng(0).normal(0, [6, 6, 6, 0.06, 0.06, 0.06], (7, 2, 6))
    hypotheses = Estimates.at(increment(xi, phantom.center) @ pose, 2)
    pivots = np.stack([phantom.center] * 2)
    refined, _ = evaluate(hypotheses, views, pivots, FreeParameters())
    np.testing.assert_allclose(costs(hypotheses, views), refined.cost.numpy(), atol=1e-5)


def test_a_stage_that_only_ranks_passes_the_best_on_as_they_are(grid, phantom, pose):
    xi = np.zeros((4, 6))
    xi[:, 0] = [30.0, 3.0, -20.0, 8.0]
    starts = increment(xi, phantom.center) @ pose
    view = view_from(grid, pose, CAMERAS["plain"])
    seen: list[np.ndarray] = []

    def views_at(stage, estimates):
        seen.append(estimates.poses[:, 0])
        return [view]

    ranking, last = (Stage(96, Similarity((0, 16)), n, keep) for n, keep in ((0, 2), (6, 1)))
    found = run_stages(Estimates.at(starts), views_at, phantom.center[None], (ranking, last))
    np.testing.assert_array_equal(seen[1], starts[[1, 3]])
    assert found.start == 1
    assert len(found.trace) == 1
    assert np.isfinite(found.first_costs).all()
    assert point_distance(found.estimates.poses[0, 0], pose, points(phantom.center)) < 0.3


def test_the_stages_let_the_better_hypothesis_win_and_remember_the_other(grid, phantom, pose):
    pivot, camera = phantom.center, CAMERAS["plain"]
    image = render(grid, pose[None], camera, STEP)[0]
    starts = (
        increment([[60.0, 0, 30, 0.5, 0.4, 0], [3.0, -2.0, 8, 0.03, 0, 0.02], [-9.0, 5, 0, 0, 0.1, 0.1]], pivot) @ pose
    )
    stages = (
        Stage(32, Similarity((0,)), 4, 2, damping=1e-3),
        Stage(48, Similarity((0, 12)), 6, 1),
        Stage(96, Similarity((0, 16)), 6, 1, response=True),
    )
    seen: list[tuple[int, float]] = []

    def views_at(stage: Stage, estimates: Estimates) -> list[View]:
        assert len(estimates) <= 3
        return [view_of(image, camera, [Pyramid(grid)], stage.pixels, 700.0, stage.similarity)]

    found = run_stages(Estimates.at(starts), views_at, pivot[None], stages, progress=lambda *now: seen.append(now))
    assert found.start in (1, 2)
    assert point_distance(found.estimates.poses[0, 0], pose, points(pivot)) < 0.5
    # The two that meet go on as one, by the better; the one that got lost is remembered as what it came to.
    assert found.start == found.first_costs.argmin()
    assert found.first_costs[0] > 10 * found.first_costs[1:].max()
    assert len(found.trace) == 3
    assert len(found.first_costs) == 3
    assert found.free == FreeParameters(response=True)
    assert [stage for stage, _ in seen] == sorted(stage for stage, _ in seen)
    assert found.lead > 0.1  # at the last stage with several, the others were by so much worse
    np.testing.assert_allclose(found.trace[-1][0], found.estimates.poses[0])
    assert found.trace[-1][1] == float(found.shown[0].cost[0])
    assert found.cost == pytest.approx(found.trace[-1][1], rel=1e-3)  # and what is known of the detector


def test_the_schedule_ends_with_one_hypothesis_whatever_their_number():
    for count in (1, 10, 40, 300):
        for surroundings in (False, True):
            stages = stages_for(count, surroundings)
            assert stages[-1].keep == 1
            assert [s.pixels for s in stages] == sorted(s.pixels for s in stages)
            assert all(a.keep >= b.keep for a, b in itertools.pairwise(stages))


@pytest.mark.parametrize("name", CAMERAS)
def test_a_second_camera_shows_what_a_camera_at_the_pose_that_its_offset_says_does(grid, phantom, pose, name):
    """From the first one's pose: from the side, and not what the first shows."""
    camera, offset = CAMERAS[name], beside(pose, phantom.center, np.array([0.1, 1.2, -0.2]))
    views = [view_from(grid, pose, camera), view_from(grid, pose, camera, offset)]
    at = increment([3.0, -2.0, 5.0, 0.05, -0.02, 0.03], phantom.center) @ pose
    shown = rendered(Estimates.at(at[None], 2), 1, views[1], phantom.center[None], FreeParameters())[0][0]
    expected = render(grid, (at @ offset)[None], camera, STEP)[0]
    np.testing.assert_allclose(shown, expected, atol=1e-4 * float(expected.max()))
    first = rendered(Estimates.at(at[None], 2), 0, views[0], phantom.center[None], FreeParameters())[0][0]
    assert float((first - expected).abs().max()) > 0.1 * float(expected.max())
