"""A run of frames: each from the last good one, and what a jump, a lost frame or an end by the user costs."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.Python.dicom_files import grey
from Testing.Python.panel.patients import CAMERA as PATIENTS_CAMERA
from Testing.Python.panel.patients import bones, filled_vessels, line_integrals, patient, pose_of
from Testing.Python.unit.exposures import expose
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import (
    increment,
    invert,
    point_distance,
    rigid,
    rotation_from_vector,
    transform_points,
)
from XVRegistrationLib.geometry.views import PoseRange
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.registration.model import prepare_model
from XVRegistrationLib.registration.objective import DepthPrior
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.registration.series import FROM_FRAME_TO_FRAME, LAST, register_series, register_series_of_views
from XVRegistrationLib.registration.uncertainty import target_uncertainty

CAMERA = Intrinsics(1020.0, (4.0, 4.4), (49.0, 44.0), (96, 90))


@pytest.fixture(scope="module")
def model(phantom):
    return prepare_model(phantom, CAMERA, pose_range=PoseRange((15, 15, 15), (20, 20, 20)), bank_size=512)


@pytest.fixture(scope="module")
def poses(model):
    """Four poses of a slow movement, then two at another place altogether."""
    xi = np.array([[2.0 * i, -1.0 * i, 1.0 * i, 0.01 * i, 0.01 * i, -0.01 * i] for i in range(6)])
    xi[4:] += [-25.0, 14.0, 15.0, -0.2, 0.2, 0.22]
    return increment(xi, model.view.isocenter) @ model.view.pose


@pytest.fixture(scope="module")
def frames(model, poses):
    return [expose(model.pyramid.finest, t, CAMERA, i, gamma=1.0, name=f"frame {i}") for i, t in enumerate(poses)]


def test_frames_are_followed_over_a_jump_and_a_frame_without_content(model, poses, frames, points):
    """The third frame is nothing but noise; before the fifth the patient is laid down anew."""
    noise = np.random.default_rng(0).normal(30000, 300, CAMERA.size[::-1]).astype(np.uint16)
    lost = [*frames[:2], Xray("frame 2", noise, CAMERA), *frames[3:]]
    told: list[tuple[int, int]] = []
    found = register_series(model, lost, progress=lambda *now: told.append(now))
    assert told == [(i + 1, 6) for i in range(6)]
    assert [r.name for r in found] == [f"frame {i}" for i in range(6)]
    for i in (0, 1, 3, 4, 5):
        assert found[i].verdict != "failed"
        assert point_distance(found[i].pose, poses[i], points) < 2.0, i
    assert found[2].verdict == "failed"
    assert found[0].winner == "bank"
    assert [found[i].winner for i in (1, 3, 5)] == [LAST] * 3  # what failed was not started from


def test_a_blank_frame_costs_only_itself(model, frames, poses, points):
    """A frame that was not exposed shows nothing at all; the frames after it are registered all the same."""
    blank = Xray("blank", np.full(CAMERA.size[::-1], 1000, np.uint16), CAMERA)
    found = register_series(model, [frames[0], blank, frames[1]])
    assert len(found) == 3
    assert found[1].verdict == "failed"
    assert point_distance(found[2].pose, poses[1], points) < 2.0


def test_a_frame_that_is_started_anew_counts_both_tries(model, points):
    """From one end of the bank's range to the other: too far to be followed."""
    ends = np.array([[18, -18, -18, 0.2, -0.2, 0.2], [-18, 18, 18, -0.2, 0.2, -0.2]])
    truth = increment(ends, model.view.isocenter) @ model.view.pose
    frames = [expose(model.pyramid.finest, t, CAMERA, i, gamma=1.0) for i, t in enumerate(truth)]
    followed, jumped = register_series(model, frames)
    from_last = register_xray(model, frames[1], (), {LAST: followed.pose}, search_range=FROM_FRAME_TO_FRAME)
    anew = register_xray(model, frames[1])
    assert from_last.verdict == "failed"
    assert jumped.winner == anew.winner == "bank"
    assert point_distance(jumped.pose, truth[1], points) < 2.0
    assert jumped.renders == from_last.renders + anew.renders


def test_a_frame_that_is_followed_has_the_verdict_that_it_has_by_itself(model, frames):
    """One table serves both, and a followed frame is finished as any other is."""
    found = register_series(model, frames[:4])
    for frame, followed in zip(frames[1:4], found[1:], strict=True):
        alone = register_xray(model, frame)
        assert (followed.winner, alone.winner) == (LAST, "bank")
        assert followed.trust.probability == pytest.approx(alone.trust.probability, abs=0.02)
        assert followed.trust.verdict == alone.trust.verdict
        assert followed.evidence.keys() == alone.evidence.keys()


def test_what_looks_like_another_depth_lies_within_the_interval_that_is_stated():
    """Contrast medium around every bone makes all of them look larger, and so nearer: no image tells that apart."""
    body, medium = line_integrals(patient(), 0), filled_vessels(0)
    shares = (0.0, 0.5, 1.0, 0.0)
    run = [Xray(str(share), grey(0.5 * body + share * medium), PATIENTS_CAMERA) for share in shares]
    followed = register_series(prepare_model(patient(), PATIENTS_CAMERA, sod=700.0), run)
    target = np.array(bones().points([1]).mean(axis=0))
    truth = transform_points(invert(pose_of(0)), target)
    off = np.array([transform_points(invert(frame.pose), target) - truth for frame in followed])
    stated = [target_uncertainty(frame, [target]).depth_mm[0] for frame in followed]
    assert np.abs(off[[0, 3], 2]).max() < 0.5
    assert np.abs(off[[1, 2], 2]).min() > 2.0
    assert (np.abs(off[:, 2]) < stated).all()
    assert np.linalg.norm(off[:, :2], axis=1).max() < 1.0
    probability = [frame.trust.probability for frame in followed]
    assert probability[0] < 0.01 < 0.2 < probability[1] < probability[2]
    assert followed[2].verdict == "check"


def test_what_is_known_of_frames_holds_for_each(model, frames, poses, points):
    depths = [transform_points(invert(t), model.view.isocenter)[2] for t in poses[:2]]
    locked = DepthPrior(float(np.mean(depths)) + 8, 0.0)
    for frame in register_series(model, frames[:2], depth=locked, surroundings=True):
        assert transform_points(invert(frame.pose), model.view.isocenter)[2] == pytest.approx(locked.depth_mm, abs=0.5)
        assert "not calibrated" in frame.trust.reason
    nothing = np.zeros(CAMERA.size[::-1], dtype=bool)
    _, masked = register_series(model, frames[:2], masks=[None, nothing])
    assert masked.verdict == "failed"
    assert "The mask of frame 1" in masked.trust.reason
    with pytest.raises(InputError, match="1 masks for 2 frames"):
        register_series(model, frames[:2], masks=[None])


def test_a_start_serves_the_first_frame_and_an_exception_ends_the_run(model, frames, poses, points):
    start = increment([3.0, -3.0, 5.0, 0.03, 0.02, -0.02], model.view.isocenter) @ poses[0]
    found = register_series(model, frames[:2], (), {"table": start})
    assert [r.winner for r in found] == ["table", LAST]
    assert point_distance(found[1].pose, poses[1], points) < 2.0
    assert register_series(model, []) == []

    class Enough(Exception):  # noqa: N818
        pass

    def stop(done: int, frames: int) -> None:
        if done == 1:
            raise Enough

    with pytest.raises(Enough):
        register_series(model, frames[:3], progress=stop)


def test_the_first_frame_must_show_something(model, frames):
    blank = Xray("blank", np.full(CAMERA.size[::-1], 1000, np.uint16), CAMERA)
    with pytest.raises(InputError, match="The X-ray blank shows nothing"):
        register_series(model, [blank, frames[0]])


@pytest.fixture(scope="module")
def side(model):
    """(4, 4) a camera that looks at the patient from the side -> the first camera."""
    turn = rotation_from_vector([0.0, np.pi / 2, 0.0])
    center = np.array([0.0, 0.0, model.view.sod])
    return rigid(turn, center - turn @ center)


def test_runs_of_two_cameras_are_registered_moment_by_moment(model, poses, frames, side, points):
    """Of the third moment one camera shows nothing at all, which costs only that moment."""
    others = [expose(model.pyramid.finest, t @ side, CAMERA, 10 + i, name=f"b {i}") for i, t in enumerate(poses[:4])]
    others[2] = Xray("b 2", np.full(CAMERA.size[::-1], 1000, np.uint16), CAMERA)
    told: list[tuple[int, int]] = []
    found = register_series_of_views(
        model, [frames[:4], others], [np.eye(4), side], progress=lambda *now: told.append(now)
    )
    assert told == [(i + 1, 4) for i in range(4)]
    assert [[view.name for view in moment.views] for moment in found] == [[f"frame {i}", f"b {i}"] for i in range(4)]
    for i in (0, 1, 3):
        a, b = found[i].views
        assert point_distance(a.pose, poses[i], points) < 0.5
        np.testing.assert_allclose(b.pose, a.pose @ side, atol=1e-9)
        assert a.trust.probability == b.trust.probability
        assert (a.winner == LAST) == (i > 0)
    assert found[2].trust.verdict == "failed"
    np.testing.assert_allclose(found[2].views[1].pose, found[1].views[1].pose)
    assert "b 2" in found[2].trust.reason


def test_an_end_by_the_user_ends_the_moments_that_follow(model, frames):
    told: list[tuple[int, int]] = []

    def end(*now: int) -> None:
        told.append(now)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        register_series_of_views(model, [frames[:2]], [np.eye(4)], progress=end)
    assert told == [(1, 2)]


def test_what_is_wrong_with_runs_of_several_cameras_is_a_sentence(model, frames, side):
    relative = [np.eye(4), side]
    for runs, masks, sentence in [
        ([frames[:3], frames[:2]], None, "that of frame 0 has 3 and that of frame 0 has 2"),
        ([frames[:2], []], None, "a frame each at least"),
        ([frames[:2]], None, "got 1 X-rays and 2 relations"),
        ([frames[:2], frames[:2]], [[None, None]], "those of 1 for 2 runs"),
        ([frames[:2], frames[:2]], [[None, None], [None]], "1 masks for 2 frames"),
    ]:
        with pytest.raises(InputError, match=sentence):
            register_series_of_views(model, runs, relative, masks=masks)
