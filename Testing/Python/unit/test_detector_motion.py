"""Moving what an X-ray shows along the detector's axes, and poses as text."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.geometry.detector_motion import AXES, motion_between, moved
from XVRegistrationLib.geometry.pose_text import pose_of_text, pose_text
from XVRegistrationLib.geometry.views import NominalView

PIVOT = np.array([20.0, -30.0, 40.0])
POSE = NominalView("AP", (20.0, -30.0, 40.0), 700.0).pose
CAMERAS = {m: Intrinsics.centered(1000.0, (0.5, 0.5), (640, 480), m) for m in (False, True)}
STEPS = st.lists(st.floats(-40, 40), min_size=6, max_size=6)


@pytest.mark.parametrize("mirrored", [False, True])
def test_what_is_seen_goes_where_it_is_said_on_the_stored_image(mirrored):
    camera = CAMERAS[mirrored]
    before = project(PIVOT, POSE, camera)
    for axis, direction in (("right", (1, 0)), ("down", (0, 1))):
        motion = 7.0 * (np.array(AXES) == axis)
        shift = project(PIVOT, moved(POSE, motion, PIVOT, mirrored), camera) - before
        np.testing.assert_allclose(shift, 7.0 * 1000 / 700 / 0.5 * np.array(direction), atol=1e-6)
    # Nearer to the detector it is less magnified; what is at the pivot stays in the middle.
    beside = PIVOT + 50 * POSE[:3, 0]
    size = [
        np.ptp(project([PIVOT, beside], pose, camera), axis=0).max()
        for pose in (POSE, moved(POSE, [0, 0, 50.0, 0, 0, 0], PIVOT, mirrored))
    ]
    assert size[1] / size[0] == pytest.approx(700 / 750)
    # Clockwise: what is to the right of the middle goes down.
    right = PIVOT + 50 * POSE[:3, 0] * (-1 if mirrored else 1)
    turned = moved(POSE, [0, 0, 0, 0, 0, 10.0], PIVOT, mirrored)
    offset = project(right, turned, camera) - project(PIVOT, turned, camera)
    assert np.degrees(np.arctan2(offset[1], offset[0])) == pytest.approx(10.0)


@settings(max_examples=60, deadline=None)
@given(first=STEPS, motion=STEPS, mirrored=st.booleans())
def test_a_motion_is_read_back_from_the_two_poses(first, motion, mirrored):
    start = moved(POSE, first, PIVOT, mirrored)
    there = moved(start, motion, PIVOT, mirrored)
    np.testing.assert_allclose(motion_between(start, there, PIVOT, mirrored), motion, atol=1e-6)
    back = moved(there, [0, 0, 0, *(-np.array(motion[3:]))], PIVOT, mirrored)
    np.testing.assert_allclose(motion_between(start, back, PIVOT, mirrored)[3:], 0, atol=1e-6)


def test_half_a_turn_is_read_back_too():
    there = moved(POSE, [0, 0, 0, 0, 0, 180.0], PIVOT)
    assert abs(motion_between(POSE, there, PIVOT)[5]) == pytest.approx(180.0)


@settings(max_examples=30, deadline=None)
@given(motion=STEPS)
def test_a_pose_is_copied_and_pasted_exactly(motion):
    pose = moved(POSE, motion, PIVOT)
    assert np.array_equal(np.array(json.loads(pose_text(pose))), pose)
    np.testing.assert_allclose(pose_of_text(pose_text(pose)), pose, atol=1e-12)
    np.testing.assert_allclose(pose_of_text(json.dumps({"name": "x", "pose": pose.tolist()})), pose, atol=1e-12)
    # As Slicer's Transforms module copies it, rounded: the nearest rotation is taken.
    rounded = "\n".join(" ".join(f"{v:.4g}" if abs(v) < 1 else f"{v:.2f}" for v in row) for row in pose)
    np.testing.assert_allclose(pose_of_text(rounded), pose, atol=6e-3)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[1, 2]",
        "{}",
        "[" * 5000,
        "1 " * 15,
        str((2 * np.eye(4)).tolist()),
        str(np.full((4, 4), 7).tolist()),
    ],
)
def test_what_is_no_pose_is_refused_with_a_sentence(text):
    with pytest.raises(InputError, match=r"pose"):
        pose_of_text(text)
