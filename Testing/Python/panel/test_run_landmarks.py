"""Landmarks stay at their pixels; of a run each belongs to the frame that it was marked on, and no other frame knows of it."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.Python.panel.patients import CAMERA
from Testing.Python.panel.sessions import TIMEOUT, biplane_run, choose, place
from XVRegistrationLib.geometry.camera import pixel_to_camera, project
from XVRegistrationLib.scene.bundle import load_mrb, save_mrb
from XVRegistrationLib.scene.landmarks import landmarks_of, marks_of
from XVRegistrationLib.scene.picks import pick_node, pick_of
from XVRegistrationLib.scene.runs import item_of, poses_of, show_item
from XVRegistrationLib.scene.xrays import all_xrays_in, nodes_of, pose_from_node, volume_node_of

LANDMARKS = np.array([[-35, 10, 25], [30, -15, -20], [5, 20, -40], [40, 25, 30], [-10, -30, 5]], float)


def _visible(node) -> list[str]:
    marks = marks_of(node)
    count = range(marks.GetNumberOfControlPoints())
    return [marks.GetNthControlPointLabel(i) for i in count if marks.GetNthControlPointVisibility(i)]


@pytest.fixture
def run(session):
    """A run of three frames, each with another pose, of which the first and the last are marked; and those poses."""
    choose(session)
    (node, _), poses = biplane_run(session)
    session.show(node)
    session.tick()
    for number, point in enumerate(LANDMARKS, 1):
        session.mark_in_ct(str(number), tuple(point))
    for item in (2, 0):
        session.show_frame(node, item)
        for pixel in project(LANDMARKS, poses[item], CAMERA):
            session.mark_in_xray(pixel=tuple(pixel))
    return node, poses


def test_a_pose_comes_from_the_landmarks_of_the_frame_that_is_shown(session, run):
    node, poses = run
    before = poses_of(node)[1]
    for item in (0, 2):
        session.show_frame(node, item)
        rows = session.landmarks()
        np.testing.assert_allclose([row.pixel for row in rows], project(LANDMARKS, poses[item], CAMERA), atol=1e-6)
        assert {(row.frame, row.note) for row in rows} == {(item, "")}
        session.fit_landmarks()
        session.wait(TIMEOUT)
        assert np.abs(pose_from_node(node) - poses[item]).max() < 0.1, session.log
        assert max(row.miss_px for row in session.landmarks()) < 0.1
    session.show_frame(node, 1)
    assert [row.pixel for row in session.landmarks()] == [None] * 5
    assert {row.note for row in session.landmarks()} == {"Not marked on this frame; it is on frame 0, 2."}
    assert "there are 0 pairs" in session.can_fit_landmarks()
    np.testing.assert_allclose(pose_from_node(node), before, atol=1e-6)


@pytest.mark.parametrize(
    "changed", [{"mirrored": True}, {"sdd": 1300.0}, {"spacing": (4.0, 5.0)}], ids=lambda changed: next(iter(changed))
)
def test_what_was_marked_on_an_xray_stays_at_its_pixels_in_another_geometry(session, files, changed):
    node = place(session, files[:1])[0]
    session.mark_in_ct("a", (10.0, 20.0, 30.0))
    session.mark_in_xray("a", (12.5, 30.0))
    session.pick((40.0, 7.5))
    marks, picked = marks_of(node), pick_node(node)
    session.complete_geometry(node, **changed)
    session.tick()
    assert (marks_of(node), pick_node(node)) == (marks, picked)
    assert session.landmarks()[0].point == pytest.approx((10.0, 20.0, 30.0))
    assert session.landmarks()[0].pixel == pytest.approx((12.5, 30.0))
    assert pick_of(node) == pytest.approx((40.0, 7.5))


def test_marks_stay_at_their_pixels_on_every_frame_where_the_geometry_of_a_run_changes(session, run):
    node, poses = run
    session.complete_geometry(node, sdd=CAMERA.sdd + 200, mirrored=True)
    for item in (0, 2):
        session.show_frame(node, item)
        pixels = [row.pixel for row in session.landmarks()]
        np.testing.assert_allclose(pixels, project(LANDMARKS, poses[item], CAMERA), atol=1e-6)


def test_what_was_marked_wrong_on_a_frame_is_said_of_that_one_alone(session, run):
    node, poses = run
    pixels = project(LANDMARKS, poses[0], CAMERA)
    session.mark_in_xray("3", tuple(pixels[2] + 30))
    session.fit_landmarks()
    session.wait(TIMEOUT)
    assert [row.name for row in session.landmarks() if row.note] == ["3"], session.log
    session.show_frame(node, 2)
    session.tick()
    assert not any(row.note for row in session.landmarks())


def test_a_click_belongs_to_the_frame_that_is_shown_then_and_only_its_marks_are_seen(session, run):
    node, _ = run
    marks = marks_of(node)
    assert _visible(node) == ["1", "2", "3", "4", "5"]
    session.show_frame(node, 1)
    session.tick()
    assert _visible(node) == []
    marks.AddControlPoint(*pixel_to_camera((20.0, 30.0), CAMERA), "2")  # what a click in the view does
    session.tick()
    show_item(node, 2)  # as Slicer's own controls do
    session.tick()
    assert _visible(node) == ["1", "2", "3", "4", "5"]
    session.remove_landmark("2")
    assert _visible(node) == ["1", "3", "4", "5"]
    session.show_frame(node, 1)
    row = next(row for row in session.landmarks() if row.name == "2")
    assert row.pixel == pytest.approx((20.0, 30.0))
    assert row.note == "Not marked in the CT."
    assert _visible(node) == ["2"]
    session.show_frame(node, 0)
    assert len(_visible(node)) == 5


def test_the_frame_of_each_landmark_is_in_the_saved_scene(session, run, tmp_path):
    node, poses = run
    session.show_frame(node, 2)
    session.tick()
    saved = save_mrb(session.scene, tmp_path / "scene.mrb")
    session.scene.Clear(0)
    session.tick()
    load_mrb(session.scene, saved)
    node = all_xrays_in(session.scene)[0]
    for item in (item_of(node), 0, 1, 2):
        show_item(node, item)
        found = landmarks_of(volume_node_of(node), nodes_of(node))
        if item == 1:
            assert [(mark.pixel, mark.other_frames) for mark in found] == [(None, (0, 2))] * 5
        else:
            pixels = [mark.pixel for mark in found]
            np.testing.assert_allclose(pixels, project(LANDMARKS, poses[item], CAMERA), atol=1e-3)
