"""Where registrations start from: the usual views, counterparts of poses, and their order, on small phantoms."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.geometry.counterparts import look_alike, mirror_symmetric, opposite, reflection
from XVRegistrationLib.geometry.rigid import (
    check_rigid,
    invert,
    point_distance,
    rotation_angle,
    transform_points,
    translation,
)
from XVRegistrationLib.geometry.views import PRESETS, VIEWS, NominalView, PoseRange, draw_poses, preset_pose
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.registration.bank import build_bank
from XVRegistrationLib.registration.hypotheses import (
    ALL_SOURCES,
    BANK_STARTS,
    COUNTERPARTS,
    PRESET_STARTS,
    Hypotheses,
    SearchRange,
    most_similar,
    opposites,
    presets,
    propose,
    shifted,
    similarities,
    with_shifted,
)
from XVRegistrationLib.registration.model import PatientModel
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.pyramid import Pyramid
from XVRegistrationLib.rendering.render import render

CENTER = (12.0, -30.0, 55.0)
VIEW = NominalView("AP", CENTER, 700.0)
RANGE = PoseRange((30.0, 30.0, 30.0), (30.0, 30.0, 40.0))
OPERATIONS = (opposite, mirror_symmetric, look_alike)
TILTED = np.array([0.9, 0.3, -0.2])


@pytest.fixture(scope="module")
def poses() -> np.ndarray:
    return draw_poses(VIEW, RANGE, 6, np.random.default_rng(0))


@pytest.fixture(scope="module")
def model(phantom, camera) -> PatientModel:
    pyramid = Pyramid(density_grid(phantom))
    view = NominalView("AP", tuple(phantom.center), 700.0)
    pose_range = PoseRange((10.0, 10.0, 10.0), (15.0, 15.0, 15.0))
    return PatientModel(
        phantom, pyramid, view, pose_range, camera, build_bank(pyramid.finest, view, pose_range, camera, 256)
    )


@pytest.fixture(scope="module")
def symmetric(phantom) -> Volume:
    """The phantom made symmetric about a tilted plane through CENTER."""
    axis = TILTED / np.linalg.norm(TILTED)
    second = np.cross(axis, [0.0, 0.0, 1.0])
    axes = np.stack([axis, second / np.linalg.norm(second), np.cross(axis, second) / np.linalg.norm(second)], axis=1)
    array = np.maximum(phantom.array, phantom.array[:, :, ::-1])
    matrix = np.eye(4)
    matrix[:3, :3] = 3.0 * axes
    matrix[:3, 3] = np.array(CENTER) - matrix[:3, :3] @ ((np.array(array.shape[::-1]) - 1) / 2)
    return Volume(array, matrix, "symmetric")


def correlation(a, b) -> float:
    return float(np.corrcoef(np.ravel(a), np.ravel(b))[0, 1])


def line_integrals(model, pose) -> Xray:
    pixels = render(model.pyramid.finest, pose[None], model.intrinsics)[0]
    return Xray("xray", pixels.numpy(), model.intrinsics, "attenuation")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_counterparts_counterpart_is_the_pose(poses, operation):
    once = operation(poses, CENTER)
    for pose in once:
        check_rigid(pose)
    assert point_distance(once, poses, np.eye(3) * 100).min() > 1
    np.testing.assert_allclose(operation(once, CENTER), poses, atol=1e-9)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("mirrored", [False, True])
def test_the_isocentre_keeps_its_pixel_or_goes_to_the_mirrored_one(poses, operation, mirrored):
    camera = Intrinsics(1000.0, (0.5, 0.8), (310.2, 190.7), (640, 400), mirrored)
    axis = 639 - 310.2 if mirrored else 310.2
    for pose, counterpart in zip(poses, operation(poses, CENTER), strict=True):
        before, after = (project(CENTER, t, camera) for t in (pose, counterpart))
        expected = [2 * axis - before[0], before[1]] if operation is mirror_symmetric else before
        np.testing.assert_allclose(after, expected, atol=1e-9)
        depth = [transform_points(invert(t), CENTER)[2] for t in (pose, counterpart)]
        assert depth[0] == pytest.approx(depth[1])


def test_the_opposite_has_its_source_on_the_other_side_with_the_rows_as_before(poses):
    turned = opposite(poses, CENTER)
    np.testing.assert_allclose(turned[:, :3, 2], -poses[:, :3, 2], atol=1e-12)
    np.testing.assert_allclose(turned[:, :3, 1], poses[:, :3, 1], atol=1e-12)
    pa = NominalView("PA", CENTER, 700.0)
    np.testing.assert_allclose(opposite(VIEW.pose, CENTER), pa.pose, atol=1e-9)
    np.testing.assert_allclose(look_alike(VIEW.pose, CENTER)[:3, 3], pa.pose[:3, 3], atol=1e-9)


def test_rao_and_lao_change_places_in_the_mirror():
    for one, other in (("RAO 30", "LAO 30"), ("LLAT", "RLAT"), ("CRA 30", "CRA 30")):
        mirrored = mirror_symmetric(preset_pose(one, CENTER, 700.0), CENTER)
        np.testing.assert_allclose(mirrored, preset_pose(other, CENTER, 700.0), atol=1e-9)


def test_a_symmetric_patient_looks_mirrored_from_the_mirror_symmetric_pose(symmetric, poses):
    camera = Intrinsics.centered(1020.0, (3.0, 3.3), (96, 90))
    grid = density_grid(symmetric)
    images = render(grid, poses, camera, step=0.5).numpy()
    mirrored = render(grid, mirror_symmetric(poses, CENTER, TILTED), camera, step=0.5).numpy()
    for image, other in zip(images, mirrored, strict=True):
        assert np.abs(image[:, ::-1] - other).max() < 0.01 * image.max()
        assert np.abs(image - other).max() > 0.1 * image.max()
    # About another plane, it does not.
    wrong = render(grid, mirror_symmetric(poses, CENTER), camera, step=0.5).numpy()
    assert np.abs(images[:, :, ::-1] - wrong).max() > 0.1 * images.max()


def test_from_afar_a_symmetric_patient_looks_the_same_from_the_look_alike_and_mirrored_from_the_opposite(symmetric):
    camera = Intrinsics.centered(30000.0, (3.0, 3.3), (96, 90))
    far = NominalView("AP", CENTER, 20000.0)
    poses = draw_poses(far, PoseRange((25.0, 25.0, 25.0), (0.0, 0.0, 0.0)), 4, np.random.default_rng(1))
    grid = density_grid(symmetric)
    images, alike, turned = (
        render(grid, t, camera, step=1.0).numpy()
        for t in (poses, look_alike(poses, CENTER, TILTED), opposite(poses, CENTER))
    )
    for image, same, other in zip(images, alike, turned, strict=True):
        assert correlation(image, same) > 0.995 > correlation(image, other)
        assert correlation(image[:, ::-1], other) > 0.995


def test_a_reflection_keeps_its_plane_and_turns_its_normal():
    m = reflection(CENTER, TILTED)
    on_plane = np.array(CENTER) + np.cross(TILTED, [3.0, 40.0, 5.0])
    np.testing.assert_allclose(transform_points(m, on_plane), on_plane, atol=1e-9)
    np.testing.assert_allclose(m[:3, :3] @ TILTED, -TILTED)
    assert np.linalg.det(m) == pytest.approx(-1)


@pytest.mark.parametrize("name", VIEWS)
def test_the_usual_views_have_the_nominal_ones_among_them(name):
    np.testing.assert_allclose(preset_pose(name, CENTER, 700.0), NominalView(name, CENTER, 700.0).pose, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "towards"),
    [
        ("RAO 30", [0.5, 0.866025, 0]),
        ("LAO 45", [-0.707107, 0.707107, 0]),
        ("CAU 30", [0, 0.866025, -0.5]),
        ("inlet 40", [0, 0.766044, 0.642788]),
        ("outlet 40", [0, 0.766044, -0.642788]),
    ],
)
def test_an_oblique_view_has_the_detector_where_it_is_named_after(name, towards):
    np.testing.assert_allclose(preset_pose(name, CENTER, 700.0)[:3, 2], towards, atol=1e-5)
    np.testing.assert_allclose(preset_pose(name, CENTER, 700.0)[:3, 3], CENTER - 700 * np.array(towards), atol=1e-2)


def test_all_usual_views_are_proposed_each_by_its_name():
    proposed = presets(CENTER, 650.0)
    assert proposed.kinds == list(PRESETS)
    assert len(proposed) == len(proposed.poses) == len(PRESETS)
    with pytest.raises(InputError, match="Unknown view"):
        presets(CENTER, 650.0, ["from above"])


def test_similarities_are_the_banks_own(model):
    poses = model.bank.poses[:5]
    seen = render(model.pyramid.finest, poses[2:3], model.bank.intrinsics)[0]
    expected = (model.bank.features[:5] @ model.bank.features[:5].T).numpy()[2]
    found = similarities(model, seen, poses)
    np.testing.assert_allclose(found, expected, atol=0.02)
    assert int(np.argmax(found)) == 2
    ranked = most_similar(model, seen, Hypotheses(poses, list("abcde")), 2)
    assert ranked.kinds[0] == "c"
    assert len(ranked) == 2


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_hypothesis_is_shifted_in_its_images_plane_to_where_the_xray_shows_the_patient(model, mirrored):
    seeing = dataclasses.replace(model.bank, intrinsics=dataclasses.replace(model.bank.intrinsics, mirrored=mirrored))
    known = dataclasses.replace(model, bank=seeing)
    names = ["AP", "LLAT", "CAU 30"]
    start = presets(model.view.isocenter, model.view.sod, names)
    footprint = np.array(seeing.intrinsics.spacing) * model.view.sod / seeing.intrinsics.sdd
    move = np.array([5.0, -3.0]) * footprint
    for index, pose in enumerate(start.poses):
        truth = pose @ translation([*move, 0.0])
        seen = render(model.pyramid.finest, truth[None], seeing.intrinsics)[0]
        found = shifted(known, seen, start)
        assert found.kinds == names
        np.testing.assert_allclose(found.poses[:, :3, :3], start.poses[:, :3, :3])
        offset = (invert(truth) @ found.poses[index])[:3, 3]
        assert (np.abs(offset[:2]) <= 1.01 * footprint).all()
        assert offset[2] == pytest.approx(0, abs=1e-9)


def test_only_starts_by_angles_have_a_shifted_copy(model):
    truth = model.view.pose @ translation([20.0, -12.0, 0.0])
    xray = line_integrals(model, truth)
    found = with_shifted(model, xray, {"header": model.view.pose, "mine": truth}, ["header", "absent"])
    assert list(found) == ["header", "header, shifted", "mine"]
    np.testing.assert_array_equal(found["header"], model.view.pose)
    far, near = (np.linalg.norm((invert(truth) @ found[name])[:2, 3]) for name in ("header", "header, shifted"))
    assert near < far / 2
    with pytest.raises(InputError, match="start 'mine'"):
        with_shifted(model, xray, {"mine": 2 * np.eye(4)}, [])


def test_each_source_proposes_its_share_the_starts_given_first(model):
    xray = line_integrals(model, model.bank.poses[7])
    image = render(model.pyramid.finest, model.bank.poses[7:8], model.intrinsics)[0]
    found = propose(model, image, xray, ALL_SOURCES, {"current": model.view.pose})
    assert found.poses.shape == (1 + BANK_STARTS + PRESET_STARTS + COUNTERPARTS, 4, 4)
    assert found.kinds[0] == "current"
    assert found.kinds[1 : 1 + BANK_STARTS] == ["bank"] * BANK_STARTS
    assert set(found.kinds[1 + BANK_STARTS : -COUNTERPARTS]) <= set(PRESETS)
    assert set(found.kinds[-COUNTERPARTS:]) <= {"opposite", "mirrored", "opposite mirrored"}
    np.testing.assert_allclose(found.poses[1], model.bank.poses[7])
    assert propose(model, image, xray, ("bank",)).kinds == ["bank"] * BANK_STARTS


def test_a_start_given_alone_is_scattered_about_but_no_farther_than_told(model):
    xray = line_integrals(model, model.bank.poses[7])
    image = render(model.pyramid.finest, model.bank.poses[7:8], model.intrinsics)[0]
    found = propose(model, image, xray, (), {"current": model.view.pose}, SearchRange(64, 6.0, 3.0))
    assert found.kinds == ["current"] * 65
    np.testing.assert_array_equal(found.poses[0], model.view.pose)
    moved = found.poses[1:] @ np.linalg.inv(model.view.pose)
    centre = np.array(model.view.isocenter)
    shift = np.linalg.norm((moved[:, :3, :3] @ centre + moved[:, :3, 3]) - centre, axis=1)
    turn = np.degrees(rotation_angle(moved[:, :3, :3]))
    assert 4 < shift.max() <= 6 + 1e-9
    assert 2 < turn.max() <= 3 + 1e-9
    assert shift.min() < 4
    assert turn.min() < 2


def test_what_is_proposed_anew_lies_beside_the_pose_that_is_avoided_if_anything_does(model):
    """In the image's plane, however deep: what a bone is mistaken for lies beside it."""
    xray = line_integrals(model, model.bank.poses[7])
    image = render(model.pyramid.finest, model.bank.poses[7:8], model.intrinsics)[0]
    start = model.view.pose
    avoided = start @ translation(np.array([[5.0, 0.0, 30.0]]))[0]
    centre = np.append(model.view.isocenter, 1.0)

    def away(about: SearchRange) -> np.ndarray:
        found = propose(model, image, xray, (), {"current": start}, about, avoided=avoided).poses[1:]
        return np.linalg.norm((np.linalg.inv(found) @ centre - np.linalg.inv(avoided) @ centre)[:, :2], axis=1)

    everywhere = away(SearchRange(256, 20.0, 3.0))
    assert everywhere.min() < 5
    beside = away(SearchRange(256, 20.0, 3.0, away_mm=12.0))
    np.testing.assert_allclose(beside, everywhere[everywhere >= 12])
    np.testing.assert_allclose(away(SearchRange(256, 20.0, 3.0, away_mm=60.0)), everywhere)


def test_each_pose_has_three_counterparts_each_of_its_kind(poses):
    found = opposites(poses, CENTER)
    assert len(found) == 3 * len(poses)
    for kind, operation in zip(("opposite", "mirrored", "opposite mirrored"), OPERATIONS, strict=True):
        of_kind = [pose for pose, name in zip(found.poses, found.kinds, strict=True) if name == kind]
        np.testing.assert_allclose(of_kind, operation(poses, CENTER))


def test_an_xray_from_the_other_side_is_found_among_the_counterparts(model):
    """The bank knows AP only; the X-ray is PA: in its image, mirrored or not, the patient's sides are where they are."""
    for index in (3, 50, 90):
        truth = opposite(model.bank.poses[index], model.view.isocenter)
        image = render(model.pyramid.finest, truth[None], model.intrinsics)[0]
        xray = line_integrals(model, truth)
        found = propose(model, image, xray, ("opposites",), {"current": model.bank.poses[index]})
        assert found.kinds[1] == "opposite"
        corners = np.array(model.view.isocenter) + 60 * (2 * np.indices((2, 2, 2)).reshape(3, -1).T - 1)
        assert point_distance(found.poses[1], truth, corners) < 1e-6
        assert point_distance(found.poses[0], truth, corners) > 50


def test_what_cannot_be_proposed_is_refused(model):
    xray = line_integrals(model, model.view.pose)
    image = render(model.pyramid.finest, model.view.pose[None], model.intrinsics)[0]
    for sources, starts, reason in (
        (("magic",), {}, "not from magic"),
        ((), {}, "not from nothing"),
        (("network",), {}, "no network yet"),
        (("opposites",), {}, "nothing to"),
        (("bank",), {"presets": model.view.pose}, "cannot be called"),
        (("bank",), {"mine": 2 * np.eye(4)}, "start 'mine'"),
    ):
        with pytest.raises(InputError, match=reason):
            propose(dataclasses.replace(model, network=None), image, xray, sources, starts)
