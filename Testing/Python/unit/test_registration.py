"""Similarity, refinement, the bank, models on disk, and the registration made of them, on a small phantom."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from Testing.Python.unit.exposures import expose, in_plane_error
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import increment, point_distance
from XVRegistrationLib.geometry.views import PoseRange, draw_poses
from XVRegistrationLib.imaging.resample import cover_as, resample
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.networks.predict import network_camera
from XVRegistrationLib.registration.bank import bank_features, best_of_bank
from XVRegistrationLib.registration.model import load_model, prepare_model, save_model
from XVRegistrationLib.registration.objective import Estimates, view_of
from XVRegistrationLib.registration.refine import refine
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.registration.result import Registration
from XVRegistrationLib.registration.similarity import Similarity, normal_equations, sobel
from XVRegistrationLib.registration.stages import SCATTERED_STAGES
from XVRegistrationLib.rendering.render import render, render_with_jacobian

RANGE = PoseRange((15.0, 15.0, 15.0), (20.0, 20.0, 20.0))


@pytest.fixture(scope="module")
def model(phantom, camera):
    return prepare_model(phantom, camera, pose_range=RANGE)


@pytest.fixture(scope="module")
def points(phantom):
    corners = np.array(np.meshgrid([-60, 60], [-60, 60], [-60, 60])).reshape(3, -1).T
    return phantom.center + corners


def test_the_cost_of_an_image_with_itself_is_zero_and_contrast_does_not_matter(model, camera):
    pose = model.view.pose[None]
    image, jacobian = render_with_jacobian(model.pyramid.finest, pose, camera, model.view.isocenter)
    same = normal_equations(image, jacobian, 3.0 * image[0] + 7.0, Similarity((0, 24)))
    assert float(same.cost[0]) == pytest.approx(0, abs=5e-4)  # flat patches count as unlike
    assert float(same.gradient.abs().max()) < 1e-3 * float(same.hessian.diagonal(dim1=1, dim2=2).max())
    noise = torch.randn(image[0].shape, generator=torch.Generator().manual_seed(0))
    assert float(normal_equations(image, jacobian, noise, Similarity((0, 24))).cost[0]) > 0.8


def test_the_global_cost_is_one_minus_the_correlation_coefficient(model, camera):
    poses = draw_poses(model.view, RANGE, 2, np.random.default_rng(0))
    images, jacobians = render_with_jacobian(model.pyramid.finest, poses, camera, model.view.isocenter)
    cost = normal_equations(images[:1], jacobians[:1], images[1], Similarity((0,))).cost[0]
    a, b = (i.double().numpy() for i in images)
    ga, gb = (sobel(i[None])[0].double().numpy() for i in images)
    field = [g - g.mean(axis=(1, 2), keepdims=True) for g in (ga, gb)]
    gradient = (field[0] * field[1]).sum() / np.sqrt((field[0] ** 2).sum() * (field[1] ** 2).sum())
    assert float(cost) == pytest.approx(1 - (np.corrcoef(a.ravel(), b.ravel())[0, 1] + gradient) / 2, abs=2e-4)


def test_the_costs_gradient_agrees_with_finite_differences(model, camera):
    truth, start = draw_poses(model.view, PoseRange((3, 3, 3), (5, 5, 5)), 2, np.random.default_rng(1))
    small = camera.resized((64, 60))
    xray = render(model.pyramid.finest, truth[None], small, step=1.0)[0]
    pivot = np.array(model.view.isocenter)

    def cost(pose):
        image, jacobian = render_with_jacobian(model.pyramid.finest, pose[None], small, pivot, 1.0)
        return normal_equations(image, jacobian, xray, Similarity((0, 16)))

    analytic = cost(start).gradient[0].numpy()
    for parameter, size in enumerate([0.2, 0.2, 0.5, 5e-4, 5e-4, 5e-4]):
        xi = np.eye(6)[parameter] * size
        difference = (
            float(cost(increment(xi, pivot) @ start).cost) - float(cost(increment(-xi, pivot) @ start).cost)
        ) / (2 * size)
        assert analytic[parameter] == pytest.approx(
            difference, rel=0.08, abs=2e-2 * np.abs(analytic[parameter // 3 * 3 :][:3]).max()
        )


def test_refinement_returns_to_the_pose_and_never_raises_the_cost(model, camera, points):
    rng = np.random.default_rng(2)
    truth = draw_poses(model.view, RANGE, 1, rng)[0]
    xray = render(model.pyramid.finest, truth[None], camera, step=0.9)[0]
    starts = increment(rng.uniform(-1, 1, (4, 6)) * [5, 5, 5, 0.06, 0.06, 0.06], model.view.isocenter) @ truth
    view = view_of(xray, camera, [model.pyramid], 128, model.view.sod, Similarity((0, 32)))
    pivots = np.array([model.view.isocenter])
    first, found = (refine(Estimates.at(starts), [view], pivots, iterations) for iterations in (1, 20))
    assert (found.cost <= first.cost).all()
    assert np.median(point_distance(found.estimates.poses[:, 0], truth, points)) < 0.2
    assert np.median(point_distance(starts, truth, points)) > 3


def test_the_banks_best_is_near_and_its_score_is_the_correlation(model, camera, points):
    truth = draw_poses(model.view, RANGE, 8, np.random.default_rng(3))
    images = render(model.pyramid.finest, truth, model.bank.intrinsics, step=2.0)
    errors = [point_distance(best_of_bank(model.bank, i, 1)[0], t, points) for i, t in zip(images, truth, strict=True)]
    nominal = point_distance(model.view.pose[None], truth, points)
    assert np.median(errors) < 0.75 * np.median(nominal)
    features = bank_features(images[:1])
    assert float(features @ features.T) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_an_xray_of_unknown_pose_is_registered_by_the_bank_alone(model, camera, points, seed):
    truth = draw_poses(model.view, RANGE, 1, np.random.default_rng(100 + seed))[0]
    result = register_xray(model, expose(model.pyramid.finest, truth, camera, seed))
    # What is left lies in depth: the contrast is not quite of the kind that is estimated.
    assert point_distance(result.pose, truth, points) < 1.0
    assert in_plane_error(result.pose, truth, points) < 0.3
    assert result.winner == "bank"
    assert 0.5 < result.similarity <= 1


def test_another_detector_than_the_models_is_registered_too(model, points):
    """Mirrored, rectangular, off-centre and of another distance: resampled to the model's camera for the start."""
    camera = Intrinsics(1120.0, (2.5, 2.5), (80.0, 95.0), (180, 170), mirrored=True)
    truth = draw_poses(model.view, RANGE, 1, np.random.default_rng(7))[0]
    result = register_xray(model, expose(model.pyramid.finest, truth, camera))
    # What is left lies in depth: the contrast is not quite of the kind that is estimated.
    assert point_distance(result.pose, truth, points) < 1.0
    assert in_plane_error(result.pose, truth, points) < 0.3


def test_the_same_xray_gives_the_same_pose(model, camera):
    xray = expose(model.pyramid.finest, draw_poses(model.view, RANGE, 1, np.random.default_rng(8))[0], camera)
    np.testing.assert_array_equal(register_xray(model, xray).pose, register_xray(model, xray).pose)


def test_resampling_to_another_camera_shows_what_that_camera_sees(model):
    source = Intrinsics(1100.0, (1.5, 1.7), (130.0, 110.0), (260, 240), mirrored=True)
    other = Intrinsics(1000.0, (3.0, 3.0), (55.0, 62.0), (110, 115))
    pose = model.view.pose[None]
    seen = render(model.pyramid.finest, pose, source)[0]
    resampled, covered = resample(seen, source, other)
    expected = render(model.pyramid.finest, pose, other)[0]
    assert 0.5 < covered.float().mean() <= 1
    difference = (resampled - expected)[covered]
    assert difference.abs().mean() < 0.02 * expected[covered].mean()


@pytest.mark.parametrize("size", [(160, 80), (90, 150)])
def test_a_network_learns_from_what_it_will_be_given_of_a_rectangular_detector(model, size):
    """Its square camera also sees what is beside the detector: in training as in use that is the detector's border."""
    detector = Intrinsics(1020.0, (2.4, 2.4), ((size[0] - 1) / 2 + 4, (size[1] - 1) / 2), size, mirrored=True)
    square = network_camera(detector, 48)
    pose = model.view.pose[None]
    given, covered = resample(render(model.pyramid.finest, pose, detector)[0], detector, square)
    rendered = render(model.pyramid.finest, pose, square)
    learnt = cover_as(rendered, square, detector)[0]
    assert not covered.all()
    scale = given.mean()
    assert (learnt - given).abs().mean() < 0.05 * scale
    assert (rendered[0] - given).abs().mean() > 0.1 * scale


def test_a_saved_model_registers_as_before(model, camera, tmp_path):
    save_model(tmp_path / "model", model)
    again = load_model(tmp_path / "model", model.volume)
    xray = expose(model.pyramid.finest, draw_poses(model.view, RANGE, 1, np.random.default_rng(9))[0], camera)
    np.testing.assert_allclose(register_xray(again, xray).pose, register_xray(model, xray).pose, atol=1e-2)
    assert not list((tmp_path / "model").glob(".part-*"))


def test_a_model_for_another_volume_is_refused(model, tmp_path):
    save_model(tmp_path, model)
    other = Volume(model.volume.array + np.int16(1), model.volume.ijk_to_ras, "somebody else")
    with pytest.raises(InputError, match="was made for another volume"):
        load_model(tmp_path, other)
    moved = model.volume.ijk_to_ras.copy()
    moved[0, 3] += 1e-6  # as a program that writes the header anew may do
    assert load_model(tmp_path, Volume(model.volume.array, moved)).network is None
    moved[0, 3] += 5
    with pytest.raises(InputError, match="at another place"):
        load_model(tmp_path, Volume(model.volume.array, moved))


def test_an_xray_that_shows_nothing_is_refused(model, camera):
    for value in (700.0, np.nan):
        with pytest.raises(InputError, match="shows nothing"):
            register_xray(model, Xray("blank", np.full(camera.size[::-1], value), camera))
    image, jacobian = render_with_jacobian(model.pyramid.finest, model.view.pose[None], camera, model.view.isocenter)
    assert float(
        normal_equations(image, jacobian, torch.zeros_like(image[0]), Similarity((0, 24))).cost[0]
    ) == pytest.approx(1)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "model.json").unlink(), "holds no model"),
        (lambda folder: (folder / "model.json").write_text("{"), "damaged"),
        (lambda folder: (folder / "model.json").write_text('{"format": "other"}'), "not the card"),
        (lambda folder: next(folder.glob("bank-*.safetensors")).unlink(), "is missing"),
        (lambda folder: next(folder.glob("bank-*.safetensors")).write_bytes(b"1234567890"), "damaged"),
    ],
)
def test_a_damaged_model_says_what_is_wrong(model, tmp_path, damage, reason):
    save_model(tmp_path, model)
    damage(tmp_path)
    with pytest.raises(InputError, match=reason):
        load_model(tmp_path, model.volume)


def test_a_model_whose_volume_has_moved_asks_for_it(model, tmp_path):
    save_model(tmp_path, model)
    with pytest.raises(InputError, match="does not know where its volume is"):
        load_model(tmp_path)
    card = json.loads((tmp_path / "model.json").read_text())
    card["volume"]["path"] = str(tmp_path / "gone.nii.gz")
    (tmp_path / "model.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match="no longer at"):
        load_model(tmp_path)


def test_a_network_that_is_not_there_cannot_be_asked_for(model, camera):
    xray = expose(model.pyramid.finest, model.view.pose, camera)
    with pytest.raises(InputError, match="no network yet"):
        register_xray(model, xray, sources=("network",))
    with pytest.raises(InputError, match="not from magic"):
        register_xray(model, xray, sources=("magic",))


def test_a_result_survives_json(model, camera):
    result = register_xray(model, expose(model.pyramid.finest, model.view.pose, camera))
    again = Registration.from_dict(json.loads(json.dumps(result.to_dict())))
    np.testing.assert_array_equal(again.pose, result.pose)
    assert again.intrinsics == result.intrinsics
    for part in ("pivot", "covariance", "scale"):
        np.testing.assert_array_equal(getattr(again.uncertainty, part), getattr(result.uncertainty, part))
    for part in ("name", "similarity", "winner", "renders", "trust", "evidence", "response", "verdict", "versions"):
        assert getattr(again, part) == getattr(result, part), part
    assert [(s.kind, s.cost) for s in again.starts] == [(s.kind, s.cost) for s in result.starts]
    assert again.to_dict() == result.to_dict()
    assert result.verdict == "converged"
    assert result.renders > 10
    # Files of an earlier version say less.
    old = {
        k: v
        for k, v in result.to_dict().items()
        if k not in ("renders", "uncertainty", "trust", "evidence", "response")
    }
    assert Registration.from_dict(old).verdict == ""
    assert Registration.from_dict(old).uncertainty is None


def test_a_given_start_is_enough_and_progress_can_end_it(model, camera, points):
    pose = draw_poses(model.view, RANGE, 1, np.random.default_rng(21))[0]
    xray = expose(model.pyramid.finest, pose, camera)
    start = increment([6.0, -5.0, 12.0, 0.04, -0.03, 0.05], model.view.isocenter) @ pose
    seen: list[tuple[int, int, float]] = []
    found = register_xray(model, xray, (), {"current": start}, lambda *now: seen.append(now))
    assert found.winner == "current"
    assert point_distance(found.pose, pose, points) < 1.0
    assert in_plane_error(found.pose, pose, points) < 0.3
    assert [level for level, _, _ in seen] == sorted(level for level, _, _ in seen)
    assert {levels for _, levels, _ in seen} == {len(SCATTERED_STAGES)}

    class Enough(Exception):  # noqa: N818
        pass

    def stop(level: int, levels: int, similarity: float) -> None:
        if level == 1:
            raise Enough

    with pytest.raises(Enough):
        register_xray(model, xray, progress=stop)


def test_starts_compete_with_the_bank_and_cannot_take_its_name(model, camera):
    pose = draw_poses(model.view, RANGE, 1, np.random.default_rng(22))[0]
    xray = expose(model.pyramid.finest, pose, camera)
    away = increment([40.0, 40.0, 40.0, 0.5, 0.5, 0.5], model.view.isocenter) @ pose
    found = register_xray(model, xray, ("bank",), {"header": away})
    assert {s.kind for s in found.starts} == {"header", "bank"}
    assert found.winner == "bank"
    for sources, starts, sentence in [
        ((), {}, "not from nothing"),
        ((), {"bank": pose}, "cannot be called"),
        ((), {"current": np.zeros((4, 4))}, "start 'current'"),
    ]:
        with pytest.raises(InputError, match=sentence):
            register_xray(model, xray, sources, starts)
