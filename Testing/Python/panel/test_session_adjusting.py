"""Moving a C-arm by hand, landmarks, and comparing X-ray and DRR: the session without widgets, with its real engine."""

from __future__ import annotations

import itertools
import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
import slicer
import slicer.util

from Testing.Python.panel.patients import CAMERA, pose_of
from Testing.Python.panel.sessions import TIMEOUT, error_of, place
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.geometry.detector_motion import AXES
from XVRegistrationLib.panel import comparing
from XVRegistrationLib.panel.comparing import WAYS
from XVRegistrationLib.scene.attributes import PREFIX
from XVRegistrationLib.scene.bundle import load_mrb, save_mrb
from XVRegistrationLib.scene.comparison import drr_of
from XVRegistrationLib.scene.landmarks import landmarks_of, marks_of
from XVRegistrationLib.scene.xrays import all_xrays_in, nodes_of, pose_from_node, set_pose, volume_node_of

LANDMARKS = np.array([[-35, 10, 25], [30, -15, -20], [5, 20, -40], [40, 25, 30], [-10, -30, 5], [0, 0, 60]], float)


@pytest.fixture
def placed(session, files):
    """Two X-rays of the patient at the poses that they were taken from; the first is the current one."""
    return place(session, files)


def test_without_an_xray_everything_says_why_not(session):
    session.tick()
    sentence = "Choose an X-ray of the table."
    for can in ("can_adjust", "can_undo_pose", "can_redo_pose", "can_reset_pose", "can_mark_in_xray"):
        assert getattr(session, can)() == sentence
    for act in (lambda: session.nudge("right", 1), lambda: session.paste_pose("x"), session.undo_pose):
        with pytest.raises(InputError, match="Choose an X-ray"):
            act()
    assert session.can_fit_landmarks() == "Choose the CT."
    assert session.landmarks() == []
    assert session.window("xray") is None
    assert session.comparison == "blend"


def test_steps_are_undone_and_redone_reset_copied_and_pasted(session, placed):
    node, other = placed
    drr = drr_of(node)
    before = slicer.util.arrayFromVolume(drr).copy()
    session.nudge("right", 5.0)
    session.nudge("right", 5.0)
    session.nudge("turn", -3.0)
    shift = project([0, 0, 0], pose_from_node(node), CAMERA) - project([0, 0, 0], pose_of(0), CAMERA)
    assert shift[0] > 10 / CAMERA.spacing[0]
    session.wait(TIMEOUT)
    assert not np.array_equal(slicer.util.arrayFromVolume(drr), before)

    turned = pose_from_node(node)
    session.undo_pose()
    session.undo_pose()  # steps along one axis at a stretch are one
    np.testing.assert_allclose(pose_from_node(node), pose_of(0), atol=1e-9)
    session.redo_pose()
    session.redo_pose()
    np.testing.assert_allclose(pose_from_node(node), turned, atol=1e-9)
    assert session.can_redo_pose() == "Nothing was undone."
    with pytest.raises(InputError, match="Nothing was undone"):
        session.redo_pose()

    # What somebody else did, with the handles for one, is a step as well once it rests.
    set_pose(nodes_of(node), pose_of(1))
    session.tick()
    assert session.can_undo_pose() == ""
    session.undo_pose()
    np.testing.assert_allclose(pose_from_node(node), turned, atol=1e-9)

    # Numbers from where it was put at first: what is set is what is read.
    motion = (1.0, -2.0, 3.0, 4.0, -5.0, 6.0)
    session.set_motion(motion)
    np.testing.assert_allclose(session.adjust_view().motion, motion, atol=1e-6)
    assert not session.adjust_view().registered
    session.reset_pose()
    np.testing.assert_allclose(session.adjust_view().motion, 0.0, atol=1e-6)
    assert "put at first" in session.can_reset_pose()

    session.nudge("depth", 12.0)
    text = session.copy_pose()
    assert np.array(json.loads(text)).shape == (4, 4)
    session.show(other)
    session.tick()
    session.paste_pose(text)
    np.testing.assert_allclose(pose_from_node(other), pose_from_node(node), atol=1e-9)
    session.undo_pose()
    np.testing.assert_allclose(pose_from_node(other), pose_of(1), atol=1e-9)
    with pytest.raises(InputError, match="no pose"):
        session.paste_pose("something else")
    with pytest.raises(InputError, match="no axis"):
        session.nudge("sideways", 1.0)

    # After a registration the steps count from there, and undoing goes back to before it.
    session.refine_from_here()
    session.wait(TIMEOUT)
    assert error_of(other, 1) < 1.0
    assert session.adjust_view().registered
    for axis in AXES:
        session.nudge(axis, 2.0)
    np.testing.assert_allclose(np.abs(session.adjust_view().motion), 2.0, atol=0.2)
    session.reset_pose()
    assert session.can_reset_pose() == "It is where it was registered."

    session.scene.RemoveNode(node)
    session.tick()
    nodes_of(other).pose.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.diag([2.0, 1, 1, 1])))
    session.tick()
    assert "rigid" in session.can_adjust()


def test_landmarks_put_the_c_arm_where_they_say_and_are_saved(session, placed, tmp_path):
    node = placed[0]
    pixels = project(LANDMARKS, pose_of(0), CAMERA)
    session.nudge("right", 40.0)
    session.nudge("swing", 20.0)
    with pytest.raises(InputError, match="there are 0 pairs"):
        session.fit_landmarks()
    for number, point in enumerate(LANDMARKS, 1):
        session.mark_in_ct(str(number), tuple(point))
    pixels[4] += 30  # a wrong one
    for pixel in pixels[:5]:
        session.mark_in_xray(pixel=tuple(pixel))
    assert [row.note for row in session.landmarks()] == [""] * 5 + ["Not marked on this X-ray."]
    session.mark_in_xray("6", tuple(pixels[5]))
    assert session.can_fit_landmarks() == ""
    rows = session.landmarks()
    assert min(row.miss_px for row in rows) > 5
    assert rows[0].miss_mm == pytest.approx(rows[0].miss_px * CAMERA.spacing[0])

    session.fit_landmarks()
    session.wait(TIMEOUT)
    assert error_of(node, 0) < 0.1, session.log
    rows = session.landmarks()
    assert [row.note != "" for row in rows] == [False] * 4 + [True, False]
    assert max(row.miss_px for row in rows if not row.note) < 0.1
    assert "pair 5" in session.status
    session.undo_pose()
    assert error_of(node, 0) > 5

    # The marks stay on the image wherever the C-arm goes; one that was put beside the detector is told of.
    assert session.landmarks()[0].pixel == pytest.approx(tuple(pixels[0]))
    session.remove_landmark("5")
    assert [row.name for row in session.landmarks()] == ["1", "2", "3", "4", "6"]
    assert session.can_fit_landmarks() == ""
    marks_of(node).SetNthControlPointPosition(0, 0.0, 0.0, 100.0)
    assert "does not lie on the X-ray" in session.can_fit_landmarks()
    # On the other X-ray none is marked yet.
    session.show(placed[1])
    session.tick()
    assert [row.pixel for row in session.landmarks()] == [None] * 5

    # A saved scene has them; the picture that compares is not saved.
    session.mark_in_xray("2", (10.0, 20.0))
    session.compare("checkerboard")
    session.wait(TIMEOUT)
    saved = save_mrb(session.scene, tmp_path / "scene.mrb")
    session.scene.Clear(0)
    session.tick()
    load_mrb(session.scene, saved)
    assert not slicer.util.getNodesByClass("vtkMRMLVectorVolumeNode", session.scene)
    nodes = nodes_of(all_xrays_in(session.scene)[1])
    found = {mark.name: mark for mark in landmarks_of(volume_node_of(nodes.xray), nodes)}
    assert list(found) == ["1", "2", "3", "4", "6"]
    assert found["2"].pixel == pytest.approx((10.0, 20.0))
    assert found["6"].point == pytest.approx(tuple(LANDMARKS[5]))


def test_every_comparison_shows_what_it_should_in_the_xrays_view(session, placed):
    node = placed[0]
    scene = session.scene
    slice_node = scene.AddNewNodeByClass("vtkMRMLSliceNode")
    composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    session.attach_view(slice_node, composite)
    choices = {choice.name: choice.obstacle for choice in session.comparisons()}
    assert tuple(choices) == WAYS
    assert [way for way, obstacle in choices.items() if obstacle] == ["attention"]
    with pytest.raises(InputError, match="no network yet"):
        session.compare("attention")
    session.parameters.comparison = "attention"  # as an older scene may say
    assert session.comparison == "blend"

    def picture(way):
        session.compare(way)
        session.wait(TIMEOUT)
        session.tick()
        shown = scene.GetNodeByID(composite.GetForegroundVolumeID())
        assert shown.IsA("vtkMRMLVectorVolumeNode")
        assert composite.GetForegroundOpacity() == 1.0
        assert not shown.GetSaveWithScene()
        return slicer.util.arrayFromVolume(shown)[0].astype(float)

    same = {way: picture(way) for way in ("checkerboard", "edges", "difference", "errors")}
    assert np.ptp(same["checkerboard"], axis=2).max() == 0
    orange = (np.ptp(same["edges"], axis=2) > 100).mean()
    assert 0.005 < orange < 0.15
    session.nudge("right", 25.0)
    moved = {way: picture(way) for way in ("difference", "errors")}
    assert moved["difference"].mean() > 3 * same["difference"].mean()
    # The error map is coloured where they disagree, which is more than at the pose that they agree at.
    heat = {name: np.ptp(p["errors"], axis=2).mean() for name, p in (("same", same), ("moved", moved))}
    assert heat["moved"] > 2 * heat["same"]

    count = len(slicer.util.getNodesByClass("vtkMRMLVectorVolumeNode", scene))
    assert count == 1
    session.compare("flicker")
    seen, end = set(), time.monotonic() + TIMEOUT
    while len(seen) < 2 and time.monotonic() < end:
        session.tick()
        seen.add(composite.GetForegroundOpacity())
    assert seen == {0.0, 1.0}
    assert composite.GetForegroundVolumeID() == node.GetNodeReferenceID(PREFIX + "Drr")
    assert not slicer.util.getNodesByClass("vtkMRMLVectorVolumeNode", scene)

    # Windows of both; the picture is made of what is seen.
    session.compare("checkerboard")
    session.tick()
    before = slicer.util.arrayFromVolume(scene.GetNodeByID(composite.GetForegroundVolumeID())).copy()
    for part in ("xray", "drr"):
        usual = session.window(part)
        session.set_window(part, usual.window / 2, usual.level)
        assert session.window(part).window == pytest.approx(usual.window / 2)
        session.tick()
        session.usual_window(part)
        assert session.window(part).level == pytest.approx(usual.level, rel=0.05)
    session.set_window("xray", 0.1, 100.0)
    session.tick()
    assert not np.array_equal(slicer.util.arrayFromVolume(scene.GetNodeByID(composite.GetForegroundVolumeID())), before)
    with pytest.raises(InputError, match="wider than 0"):
        session.set_window("drr", 0.0, 1.0)


def test_the_xray_beside_is_moved_too_and_its_steps_are_undone_once_it_is_the_current_one(session, placed):
    node, beside = placed
    with pytest.raises(InputError, match="Choose an X-ray"):
        session.nudge("right", 1.0, beside=True)
    session.parameters.biplane = True
    session.wait(TIMEOUT)
    drr = slicer.util.arrayFromVolume(drr_of(beside)).copy()
    session.nudge("down", 5.0, beside=True)
    session.nudge("turn", 2.0, beside=True)
    session.wait(TIMEOUT)
    assert error_of(node, 0) < 1e-9
    assert not np.array_equal(slicer.util.arrayFromVolume(drr_of(beside)), drr)
    session.show(beside)
    session.wait(TIMEOUT)
    session.undo_pose()
    session.undo_pose()
    assert error_of(beside, 1) < 1e-9


def test_two_xrays_side_by_side_are_compared_in_the_same_way_each_with_its_own_drr(session, placed, monkeypatch):
    scene, views = session.scene, []
    for attach in (session.attach_view, session.attach_second_view):
        slice_node = scene.AddNewNodeByClass("vtkMRMLSliceNode")
        views.append(scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode"))
        attach(slice_node, views[-1])
    session.parameters.biplane = True
    for way in ("checkerboard", "edges", "difference", "errors"):
        session.compare(way)
        session.wait(TIMEOUT)
        session.tick()
        over = [scene.GetNodeByID(view.GetForegroundVolumeID()) for view in views]
        for view, picture, node in zip(views, over, placed, strict=True):
            assert view.GetBackgroundVolumeID() == node.GetID()
            assert picture.IsA("vtkMRMLVectorVolumeNode")
            assert view.GetForegroundOpacity() == 1.0
            assert picture.GetParentTransformNode() is node.GetParentTransformNode()
        assert not np.array_equal(*map(slicer.util.arrayFromVolume, over))

    # Both at once: however fast time goes, here half a second each time that it is asked for.
    session.compare("flicker")
    seconds = itertools.count(0.1, 0.5)
    with monkeypatch.context() as fast:
        fast.setattr(comparing, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
        seen = []
        for _ in range(2):
            session.tick()
            seen.append(tuple(view.GetForegroundOpacity() for view in views))
    assert sorted(seen) == [(0.0, 0.0), (1.0, 1.0)]

    # They change places: what is drawn of each stays, and the picture is made once.
    session.compare("difference")
    session.wait(TIMEOUT)
    drrs = [drr_of(node).GetImageData().GetMTime() for node in placed]
    session.show(placed[1])
    session.wait(TIMEOUT)
    assert [view.GetBackgroundVolumeID() for view in views] == [placed[1].GetID(), placed[0].GetID()]
    assert [drr_of(node).GetImageData().GetMTime() for node in placed] == drrs

    # The one beside goes: so does its picture.
    session.compare("difference")
    session.wait(TIMEOUT)
    session.tick()
    assert len(slicer.util.getNodesByClass("vtkMRMLVectorVolumeNode", scene)) == 2
    session.parameters.biplane = False
    session.tick()
    assert len(slicer.util.getNodesByClass("vtkMRMLVectorVolumeNode", scene)) == 1
    assert views[1].GetForegroundVolumeID() is None
