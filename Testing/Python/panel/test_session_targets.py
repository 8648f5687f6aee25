"""Targets on the X-rays, structures on and off, linked cursors and points picked in two X-rays: the session without widgets."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import slicer.util

from Testing.Python.mrml.phantom import registered
from Testing.Python.panel.patients import CAMERA, bones, pose_of
from Testing.Python.panel.sessions import TIMEOUT, add, choose, middle_of, pixels_of, place, sights
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import pixel_to_camera, project
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.registration.uncertainty import target_uncertainty
from XVRegistrationLib.scene.attributes import PREFIX
from XVRegistrationLib.scene.results import write_registration
from XVRegistrationLib.scene.segments import segments_of
from XVRegistrationLib.scene.transforms import ijk_to_world
from XVRegistrationLib.scene.volumes import add_segmentation
from XVRegistrationLib.scene.xray_view import show_in_view
from XVRegistrationLib.scene.xrays import nodes_of, set_pose

TARGETS = {"bone": (-35.0, 10.0, 25.0), "other": (30.0, -15.0, -20.0), "far": (900.0, 0.0, 0.0)}


@pytest.fixture
def views(session):
    """Two views of X-rays, each with its composite node, and one of the CT; the session shows the current X-ray in the first."""
    made = []
    for name in ("XVXray", "XVXraySecond", "Red"):
        view = slicer.vtkMRMLSliceNode()
        view.SetLayoutName(name)
        view = session.scene.AddNode(view)
        view.SetDimensions(400, 300, 1)
        made.append((view, session.scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")))
    session.attach_view(*made[0])
    yield made
    session.scene.GetFirstNodeByClass("vtkMRMLCrosshairNode").SetCursorPositionInvalid()
    session.attach_view(None, None)


@pytest.fixture
def placed(session, files, views):
    """Two X-rays of the patient at the poses that they were taken from; the first is the current one."""
    return place(session, files)


def targets_in(session):
    node = session.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Targets")
    node.CreateDefaultDisplayNodes()
    for name, point in TARGETS.items():
        node.AddControlPoint(*point, name)
    session.parameters.targets = node
    session.tick()
    return node


def test_the_table_says_where_each_target_is_how_sure_that_is_and_why_not(session, placed, views):
    node = placed[0]
    session.parameters.targets = None
    session.tick()
    assert session.targets() == []
    assert "section Patient" in session.targets_hint()
    targets = targets_in(session)
    first, _other, far = session.targets()
    points = np.array(list(TARGETS.values()))
    expected = project(points, pose_of(0), CAMERA)
    assert first.pixel == pytest.approx(expected[0])
    assert (first.on_image, first.in_plane_mm, "registered pose" in first.note) == (True, None, True)
    assert far.pixel == pytest.approx(expected[2])
    assert (far.on_image, far.note) == (False, "It lies outside of the image.")

    told = []
    session.changed.connect(told.append)
    result = registered(nodes_of(node), np.zeros(3))
    write_registration(node, result.to_dict())
    session.tick()
    assert "targets" in told
    spread = target_uncertainty(result, points)
    for row, in_plane, depth in zip(session.targets(), spread.in_plane_mm, spread.depth_mm, strict=True):
        assert (row.in_plane_mm, row.depth_mm) == pytest.approx((in_plane, depth))
    session.nudge("right", 3.0)
    assert session.targets()[0].depth_mm is None
    session.undo_pose()
    told.clear()
    for _ in range(3):
        session.tick()
    told.clear()
    session.tick()
    assert "targets" not in told, "nothing is shown anew where nothing changed"
    session.changed.disconnect(told.append)

    # A row that is chosen brings the target before the CT's views, and marks it on the X-ray.
    red, xray_view = views[2][0], views[0][0]
    before = slicer.util.arrayFromVTKMatrix(xray_view.GetSliceToRAS()).copy()
    session.select_target(1)
    session.tick()
    assert slicer.util.arrayFromVTKMatrix(red.GetSliceToRAS())[:3, 3] == pytest.approx(points[1])
    np.testing.assert_array_equal(slicer.util.arrayFromVTKMatrix(xray_view.GetSliceToRAS()), before)
    (ring,) = sights(session)
    assert ring.GetDisplayNode().GetViewNodeIDs() == (xray_view.GetID(),)
    assert middle_of(ring, node) == pytest.approx([*expected[1], 0.0], abs=1e-6)
    targets.SetNthControlPointPosition(1, *points[0])
    session.tick()
    assert middle_of(ring, node) == pytest.approx([*expected[0], 0.0], abs=1e-6)
    session.select_target(None)
    session.tick()
    assert sights(session) == []
    with pytest.raises(InputError, match="of the table"):
        session.select_target(3)
    targets.UnsetNthControlPointPosition(0)
    assert session.targets()[0].point is None
    with pytest.raises(InputError, match="no place"):
        session.select_target(0)


def test_an_xray_that_nobody_has_placed_shows_no_places(session, files, views):
    choose(session)
    node = add(session, files[:1])[0]
    session.show(node)
    targets_in(session)
    session.parameters.linkCursors = True
    session.wait(TIMEOUT)
    assert {row.pixel for row in session.targets()} == {None}
    assert session.targets_hint().startswith("Register front")
    assert session.can_pick().startswith("Register front")
    with pytest.raises(InputError, match="Register front"):
        session.pick((10.0, 10.0))
    point_at(session, *project_to_view(node, (20.0, 20.0), views[0][0]))
    session.tick()
    assert sights(session) == []


def test_structures_are_drawn_or_not_one_by_one(session, placed):
    assert "Choose the CT's segmentation" in session.can_show_structures()
    segmentation = add_segmentation(session.scene, bones())
    session.parameters.segmentation = segmentation
    session.wait(TIMEOUT)
    assert [row.name for row in session.structures()] == [f"bone {n}" for n in range(1, 5)]
    session.show_structures(["bone 2", "bone 3"], False)
    assert [row.shown for row in session.structures()] == [True, False, False, True]

    def shown(node):
        display = node.GetDisplayNode()
        return {name: bool(display.GetSegmentVisibility(key)) for key, name, _color in segments_of(node)}

    expected = {"bone 1": True, "bone 2": False, "bone 3": False, "bone 4": True}
    labels = [node.GetNodeReference(PREFIX + "Labels") for node in placed]
    assert [shown(node) for node in labels] == [expected, expected]
    assert all(shown(segmentation).values())
    # What is drawn anew, or for another X-ray, is as it was chosen; what the user does elsewhere stays.
    labels[0].GetDisplayNode().SetSegmentVisibility(labels[0].GetSegmentation().GetNthSegmentID(0), False)
    session.scene.RemoveNode(labels[1])
    session.nudge("right", 2.0)
    session.show(placed[1])
    session.nudge("down", 2.0)
    session.wait(TIMEOUT)
    assert shown(placed[1].GetNodeReference(PREFIX + "Labels")) == expected
    assert not shown(labels[0])["bone 1"]
    session.show_structures([row.name for row in session.structures()], True)
    assert all(shown(labels[0]).values())
    with pytest.raises(InputError, match="no structure bone 9"):
        session.show_structures(["bone 9"])
    session.parameters.hiddenStructures = "{damaged"
    session.tick()
    assert all(row.shown for row in session.structures())


def point_at(session, xyz, view):
    session.scene.GetFirstNodeByClass("vtkMRMLCrosshairNode").SetCursorPositionXYZ(list(xyz), view)


def project_to_view(node, pixel, view):
    """Where a stored pixel is in a slice view, px, and the view."""
    world = ijk_to_world(node) @ [*pixel, 0.0, 1.0]
    return (np.linalg.inv(slicer.util.arrayFromVTKMatrix(view.GetXYToRAS())) @ world)[:3], view


def test_what_is_pointed_at_is_shown_in_the_other_views_while_cursors_are_linked(session, placed, views):
    first, second = placed
    (view, _), (second_view, second_composite), (red, _) = views
    show_in_view(second_view, second_composite, nodes_of(second), 0.0)
    session.wait(TIMEOUT)
    before = {session.scene.GetNthNode(i).GetID() for i in range(session.scene.GetNumberOfNodes())}
    pixel = (30.0, 41.0)
    point_at(session, *project_to_view(first, pixel, view))
    session.tick()
    assert sights(session) == []
    session.parameters.linkCursors = True
    session.tick()
    (rays,), (lines,) = sights(session, "Rays"), sights(session, "Epipolar lines")
    assert not sights(session, "Pointer")

    # The ray goes from the source to the pixel, and is seen on the other X-ray where its line is drawn.
    points = slicer.util.arrayFromModelPoints(rays).astype(float)
    ends = np.stack([pose_of(0)[:3, 3], transform_points(pose_of(0), pixel_to_camera(np.array(pixel), CAMERA))])
    along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    off = points - ends[0] - ((points - ends[0]) @ along)[:, None] * along
    assert np.linalg.norm(off, axis=1).max() < 1.0
    assert rays.GetDisplayNode().GetVisibility2D() == 0
    assert lines.GetDisplayNode().GetViewNodeIDs() == (second_view.GetID(),)
    drawn = pixels_of(lines, second)
    seen = project(ends[0] + np.linspace(0.6, 0.8, 5)[:, None] * (ends[1] - ends[0]), pose_of(1), CAMERA)
    a, b = drawn[0, :2], drawn[1, :2]
    normal = np.array([a[1] - b[1], b[0] - a[0]]) / np.linalg.norm(b - a)
    assert np.abs((seen - a) @ normal).max() < 1e-3
    assert drawn[:, 2].min() < 0 < drawn[:, 2].max(), "the view's plane cuts it"

    # Pointing into the CT marks both X-rays; off the image, or beside it, nothing is marked.
    red.JumpSlice(*TARGETS["bone"])
    to_xy = np.linalg.inv(slicer.util.arrayFromVTKMatrix(red.GetXYToRAS()))
    point_at(session, (to_xy @ [*TARGETS["bone"], 1.0])[:3], red)
    session.tick()
    assert not sights(session, "Rays")
    assert not sights(session, "Epipolar lines")
    marks = sights(session, "Pointer")
    for mark, node, pose in zip(marks, placed, (pose_of(0), pose_of(1)), strict=True):
        expected = project(np.array(TARGETS["bone"]), pose, CAMERA)
        assert middle_of(mark, node) == pytest.approx([*expected, 0.0], abs=1e-4)
    point_at(session, *project_to_view(first, (-5.0, 10.0), view))
    session.tick()
    assert sights(session) == []

    point_at(session, *project_to_view(first, pixel, view))
    session.tick()
    session.parameters.linkCursors = False
    session.tick()
    assert {session.scene.GetNthNode(i).GetID() for i in range(session.scene.GetNumberOfNodes())} == before


def test_a_point_picked_in_two_xrays_is_found_and_becomes_a_target_on_request(session, placed):
    _first, second = placed
    session.parameters.targets = None
    truth = np.array([12.0, -8.0, 30.0])
    pixels = [tuple(project(truth, pose_of(n), CAMERA)) for n in range(2)]
    assert session.can_clear_picks() == "Nothing was picked."
    with pytest.raises(InputError, match="two registered X-rays"):
        session.add_picked_target()
    session.pick(pixels[0])
    assert session.parameters.linkCursors
    assert session.picked().point is None
    session.show(second)
    session.tick()
    assert len(sights(session, "Epipolar lines")) == 1
    session.pick((pixels[1][0] + 1.0, pixels[1][1]))
    found = session.picked()
    assert [pick.name for pick in found.picks] == ["front", "tilted"]
    assert np.linalg.norm(np.array(found.point) - truth) < 10
    assert max(pick.residual_px for pick in found.picks) > 0.01
    session.pick(pixels[1])  # again, in place of what was picked
    found = session.picked()
    np.testing.assert_allclose(found.point, truth, atol=1e-3)
    assert max(pick.residual_px for pick in found.picks) < 1e-3
    session.pick((pixels[1][0] + 4.0, pixels[1][1] - 4.0))
    assert "do not meet" in session.picked().problem
    set_pose(nodes_of(second), pose_of(0))
    session.pick(pixels[0])
    assert "from parallel" in session.picked().problem
    assert session.can_add_picked_target() == session.picked().problem
    set_pose(nodes_of(second), pose_of(1))
    session.pick(pixels[1])
    name = session.add_picked_target()
    targets = session.parameters.targets
    assert (name, targets.GetNumberOfControlPoints()) == ("P1", 1)
    np.testing.assert_allclose(targets.GetNthControlPointPositionWorld(0), truth, atol=1e-3)
    session.tick()
    assert session.picked().picks == ()
    assert sights(session) == []
    assert session.can_clear_picks() == "Nothing was picked."

    # A click beside the X-ray's plane is no pick, and an X-ray that goes takes its pick along.
    session.pick(pixels[1])
    pick = second.GetNodeReference(PREFIX + "Pick")
    pick.SetNthControlPointPosition(0, 0.0, 0.0, 100.0)
    session.tick()
    assert "does not lie on the X-ray" in session.status
    assert second.GetNodeReference(PREFIX + "Pick") is None
    session.pick(pixels[1])
    second.GetNodeReference(PREFIX + "Pick").SetAttribute(PREFIX + "Item", "3")  # of another frame
    session.tick()
    assert second.GetNodeReference(PREFIX + "Pick") is None
    session.pick(pixels[1])
    session.remove(second)
    session.tick()
    assert session.picked().picks == ()
    assert sights(session) == []
