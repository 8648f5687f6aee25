"""Rigid transforms, cameras, views, the frustum, and other people's conventions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from XVRegistrationLib.geometry.camera import Intrinsics, image_to_camera, pixel_to_camera, project, projection_matrix
from XVRegistrationLib.geometry.conventions import intrinsics_from_nanodrr, lps_to_ras, nanodrr_camera
from XVRegistrationLib.geometry.frustum import frustum
from XVRegistrationLib.geometry.rigid import (
    check_rigid,
    increment,
    invert,
    point_distance,
    rotation_angle,
    rotation_from_euler_zxy,
    rotation_from_vector,
    transform_points,
)
from XVRegistrationLib.geometry.views import VIEWS, NominalView, PoseRange, draw_poses, relative_motion

CAMERA = Intrinsics(1000.0, (0.5, 0.8), (310.2, 190.7), (640, 400))


def random_poses(count: int, seed: int = 0) -> np.ndarray:
    view = NominalView("AP", (10.0, -20.0, 30.0), 700.0)
    return draw_poses(view, PoseRange((40, 40, 40), (50, 50, 50)), count, np.random.default_rng(seed))


def test_rotation_vectors_agree_with_scipy_from_zero_to_half_a_turn():
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(200, 3))
    angles = np.concatenate([[0.0, 1e-12, 1e-7, np.pi - 1e-9], rng.uniform(0, np.pi, 196)])
    vectors = axes / np.linalg.norm(axes, axis=1, keepdims=True) * angles[:, None]
    rotations = rotation_from_vector(vectors)
    np.testing.assert_allclose(rotations, Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(rotation_angle(rotations), angles, atol=1e-8)


def test_euler_angles_are_rz_rx_ry():
    degrees = np.random.default_rng(1).uniform(-80, 80, (50, 3))
    expected = Rotation.from_euler("ZXY", degrees[:, [2, 0, 1]], degrees=True).as_matrix()
    np.testing.assert_allclose(rotation_from_euler_zxy(degrees), expected, atol=1e-12)


def test_an_increment_turns_about_its_pivot_and_then_shifts():
    pivot = np.array([5.0, 6.0, 7.0])
    motion = increment([1.0, 2.0, 3.0, 0.3, -0.2, 0.5], pivot)
    np.testing.assert_allclose(transform_points(motion, pivot), pivot + np.array([1, 2, 3]))
    assert rotation_angle(motion[:3, :3]) == pytest.approx(np.linalg.norm([0.3, -0.2, 0.5]))


def test_the_inverse_undoes_a_pose():
    poses = random_poses(20)
    np.testing.assert_allclose(invert(poses) @ poses, np.broadcast_to(np.eye(4), poses.shape), atol=1e-12)


@pytest.mark.parametrize(
    "matrix", [np.eye(3), np.diag([1.0, 1, -1, 1]), np.diag([2.0, 1, 1, 1]), np.full((4, 4), np.nan)]
)
def test_what_is_not_a_proper_rigid_transform_is_refused(matrix):
    with pytest.raises(ValueError, match="pose"):
        check_rigid(matrix)


def test_a_pure_shift_has_its_own_length_as_point_distance():
    pose = random_poses(1)
    shifted = increment([3.0, 4.0, 0.0, 0, 0, 0], np.zeros(3)) @ pose
    points = np.random.default_rng(0).normal(size=(30, 3)) * 100
    np.testing.assert_allclose(point_distance(shifted, pose, points), 5.0)


def test_projection_follows_the_pinhole_formula():
    pose = random_poses(1)[0]
    in_camera = np.array([30.0, -40.0, 500.0])
    pixel = project(transform_points(pose, in_camera), pose, CAMERA)
    np.testing.assert_allclose(pixel, [310.2 + 1000 / 0.5 * 30 / 500, 190.7 - 1000 / 0.8 * 40 / 500])


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_pixel_placed_on_the_detector_projects_onto_itself(mirrored):
    camera = Intrinsics(CAMERA.sdd, CAMERA.spacing, CAMERA.principal_point, CAMERA.size, mirrored)
    pose = random_poses(1, seed=3)[0]
    pixels = np.random.default_rng(0).uniform(0, 400, (40, 2))
    on_detector = transform_points(pose, pixel_to_camera(pixels, camera))
    np.testing.assert_allclose(project(on_detector, pose, camera), pixels, atol=1e-9)
    assert np.linalg.det(image_to_camera(camera)) > 0


def test_a_mirrored_image_is_the_plain_one_flipped_left_right():
    mirrored = Intrinsics(CAMERA.sdd, CAMERA.spacing, CAMERA.principal_point, CAMERA.size, True)
    pose = random_poses(1)[0]
    points = np.random.default_rng(0).normal(size=(20, 3)) * 50
    plain, flipped = project(points, pose, CAMERA), project(points, pose, mirrored)
    np.testing.assert_allclose(flipped[:, 0], CAMERA.size[0] - 1 - plain[:, 0])
    np.testing.assert_allclose(flipped[:, 1], plain[:, 1])


def test_points_behind_the_source_have_no_projection():
    pose = NominalView("AP", (0.0, 0.0, 0.0), 700.0).pose
    assert np.isnan(project([0.0, 701.0, 0.0], pose, CAMERA)).all()


def test_the_projection_matrix_gives_depth_as_its_third_coordinate():
    view = NominalView("AP", (0.0, 0.0, 0.0), 700.0)
    assert (projection_matrix(view.pose, CAMERA) @ [0, 0, 0, 1])[2] == pytest.approx(700.0)


def test_resizing_keeps_every_place_of_the_detector():
    half = CAMERA.resized((320, 100))
    corner = pixel_to_camera([[-0.5, -0.5], [639.5, 399.5]], CAMERA)
    np.testing.assert_allclose(pixel_to_camera([[-0.5, -0.5], [319.5, 99.5]], half), corner, atol=1e-9)


def test_geometry_that_cannot_be_is_refused():
    for sdd, spacing, size in (
        (0, (1, 1), (5, 5)),
        (1000, (1, -1), (5, 5)),
        (1000, (1, 1), (0, 5)),
        (np.nan, (1, 1), (5, 5)),
    ):
        with pytest.raises(ValueError, match="positive"):
            Intrinsics.centered(sdd, spacing, size)


def test_intrinsics_survive_json():
    assert Intrinsics.from_dict(CAMERA.to_dict()) == CAMERA


def test_ap_shows_the_patients_right_on_the_viewers_left_and_the_head_on_top():
    camera = Intrinsics.centered(1000, (1, 1), (500, 500))
    view = NominalView("AP", (0.0, 0.0, 0.0), 700.0)
    right, head = project([[50.0, 0, 0], [0.0, 0, 50]], view.pose, camera)
    assert right[0] < 249.5 < head[0] + 1
    assert head[1] < 249.5
    np.testing.assert_allclose(view.pose[:3, 3], [0, 700, 0])  # the source is in front of the patient


def test_pa_mirrored_shows_the_patient_as_ap_does():
    camera = Intrinsics.centered(1000, (1, 1), (500, 500), mirrored=True)
    view = NominalView("PA", (0.0, 0.0, 0.0), 700.0)
    assert view.mirrored
    assert project([50.0, 0, 0], view.pose, camera)[0] < 249.5
    np.testing.assert_allclose(view.pose[:3, 3], [0, -700, 0])


@pytest.mark.parametrize(("name", "detector"), [("LLAT", [-1, 0, 0]), ("RLAT", [1, 0, 0])])
def test_a_lateral_view_has_the_detector_on_the_side_it_is_named_after(name, detector):
    pose = NominalView(name, (0.0, 0.0, 0.0), 700.0).pose
    np.testing.assert_allclose(pose[:3, 2], detector)
    np.testing.assert_allclose(pose[:3, 1], [0, 0, -1])


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_proper_and_relative_motions_come_back(name):
    view = NominalView(name, (10.0, 20.0, -30.0), 650.0)
    check_rigid(view.pose)
    motion = relative_motion([[10.0, -5, 20], [0, 0, 0]], [[5.0, 6, -7], [0, 0, 0]])
    poses = view.absolute(motion)
    np.testing.assert_allclose(view.relative(poses), motion, atol=1e-10)
    np.testing.assert_allclose(poses[1], view.pose, atol=1e-10)


def test_a_shift_along_the_cameras_z_moves_the_isocentre_in_depth_only():
    view = NominalView("AP", (10.0, 20.0, -30.0), 650.0)
    pose = view.absolute(relative_motion([0.0, 0, 0], [0.0, 0, -25]))
    np.testing.assert_allclose(transform_points(invert(pose), view.isocenter), [0, 0, 675], atol=1e-9)


def test_drawn_poses_fill_their_range_and_nothing_beyond():
    view = NominalView("AP", (0.0, 0.0, 0.0), 700.0)
    poses = draw_poses(view, PoseRange((20, 10, 5), (30, 20, 10)), 2000, np.random.default_rng(0))
    motion = view.relative(poses)
    shift = np.abs(motion[:, :3, 3]).max(axis=0)
    assert (shift <= [30, 20, 10]).all()
    assert (shift > [29, 19, 9]).all()
    angles = np.abs(Rotation.from_matrix(motion[:, :3, :3]).as_euler("ZXY", degrees=True)).max(axis=0)
    assert (angles <= [5.001, 20.001, 10.001]).all()


def test_the_frustums_corners_are_the_outer_edges_of_the_image():
    corners = frustum(CAMERA).points
    np.testing.assert_allclose(corners[0], 0)
    width = np.linalg.norm(corners[2] - corners[1])
    assert width == pytest.approx(640 * 0.5)
    np.testing.assert_allclose(corners[1:, 2], 1000.0)


def test_lps_and_ras_are_each_others_inverse():
    matrix = random_poses(1)[0]
    np.testing.assert_allclose(lps_to_ras(lps_to_ras(matrix)), matrix)
    np.testing.assert_allclose(lps_to_ras(matrix)[:3, 3], matrix[:3, 3] * [-1, -1, 1])


def test_nanodrrs_camera_arguments_come_back():
    back = intrinsics_from_nanodrr(**nanodrr_camera(CAMERA))
    np.testing.assert_allclose(back.matrix, CAMERA.matrix)
    assert (back.size, back.spacing) == (CAMERA.size, CAMERA.spacing)


def test_nanodrr_sends_rays_through_the_same_points():
    import torch
    from nanodrr.drr import DRR

    theirs = DRR.from_carm_intrinsics(**nanodrr_camera(CAMERA), dtype=torch.float64).tgt[0].numpy()
    columns, rows = np.meshgrid(np.arange(CAMERA.size[0]), np.arange(CAMERA.size[1]))
    ours = pixel_to_camera(np.stack([columns.ravel(), rows.ravel()], axis=-1), CAMERA)
    np.testing.assert_allclose(theirs, ours, atol=1e-4)  # mm; its matrix is made in single precision
