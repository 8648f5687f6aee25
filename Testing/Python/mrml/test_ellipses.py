"""The 95 % ellipses of targets on an X-ray: where they lie, what they hold, and that they belong to the registered pose."""

from __future__ import annotations

import re

import numpy as np
import pytest
import slicer
import slicer.util
from vtk import vtkVector3d

from Testing.Python.mrml.phantom import GEOMETRIES, make_xray, pose_near, registered
from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.geometry.rigid import increment, invert, transform_points
from XVRegistrationLib.scene.bundle import load_mrb, save_mrb
from XVRegistrationLib.scene.overlays import add_targets, set_targets
from XVRegistrationLib.scene.results import forget_registration, write_registration
from XVRegistrationLib.scene.standalone.views import SliceView
from XVRegistrationLib.scene.transforms import ijk_to_world
from XVRegistrationLib.scene.volumes import add_volume
from XVRegistrationLib.scene.xray_view import show_in_view
from XVRegistrationLib.scene.xrays import add_xray, complete_xray, pose_from_node, set_pose, xray_nodes_in

OFFSETS = np.array([[0.0, 0, 0], [60, 10, -40]])


def add_one(scene, ct, geometry="centred", scale=1.0):
    """A registered X-ray and the targets' marks on it, whose covariance is `scale` squared times the usual."""
    nodes = add_xray(scene, make_xray("x", GEOMETRIES[geometry]), pose_near("AP", ct.center))
    register_here(nodes, ct, scale)
    return nodes, *add_targets(scene, nodes, ["a", "b"], ct.center + OFFSETS)


def register_here(nodes, ct, scale=1.0):
    """Keep a registration that found the pose as it is, and return it."""
    result = registered(nodes, ct.center, scale)
    write_registration(nodes.xray, result.to_dict())
    return result


def ellipses_of(nodes):
    return nodes.xray.GetNodeReference("XVRegistration.Ellipses")


def rings(nodes):
    """Stored pixels (targets, corners, 2) and distances from the detector, mm, of what the scene draws."""
    world = slicer.util.arrayFromModelPoints(ellipses_of(nodes))
    local = transform_points(pose_from_node(nodes.pose), world)
    ijk = transform_points(np.linalg.inv(ijk_to_world(nodes.xray)), local).reshape(-1, 2, 64, 3)
    assert np.allclose(ijk[:, 0, :, :2], ijk[:, 1, :, :2], atol=1e-6)
    return ijk[:, 0, :, :2], ijk[..., 2]


def radius(nodes):
    found = rings(nodes)[0][0]
    return np.linalg.norm(found - found.mean(axis=0), axis=1).max()


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_of_poses_that_the_covariance_allows_19_in_20_project_into_the_ring_and_the_interval(scene, ct, geometry):
    nodes, _, marks = add_one(scene, ct, geometry)
    result = register_here(nodes, ct)
    drawn, off_plane = rings(nodes)
    assert np.abs(off_plane.mean(axis=1)).max() < 1e-6
    assert (off_plane[:, 0] * off_plane[:, 1] < 0).all(), "the view's plane cuts the rings"
    spread, rng = result.uncertainty, np.random.default_rng(4)
    poses, scaled = (
        [increment(x, spread.pivot) @ result.pose for x in rng.multivariate_normal(np.zeros(6), covariance, 4000)]
        for covariance in (spread.covariance, spread.covariance + spread.scale)
    )
    for i, point in enumerate(ct.center + OFFSETS):
        pixels = np.array([project(point, pose, result.intrinsics) for pose in poses])
        assert inside(drawn[i], pixels).mean() == pytest.approx(0.95, abs=0.015)
        depths = np.array([transform_points(invert(pose), point)[2] for pose in scaled])
        expected = transform_points(invert(result.pose), point)[2]
        half = re.fullmatch(r"depth \+-(\d+\.\d) mm \(95 %\)", marks.GetNthControlPointDescription(i))
        assert (np.abs(depths - expected) <= float(half[1])).mean() == pytest.approx(0.95, abs=0.02)


def inside(ring, points):
    """Which points (N, 2) are within a convex polygon (n, 2)."""
    edges = np.roll(ring, -1, axis=0) - ring
    to = points[:, None] - ring
    turns = edges[:, 0] * to[..., 1] - edges[:, 1] * to[..., 0]
    return (turns >= 0).all(axis=1) | (turns <= 0).all(axis=1)


def test_ellipses_follow_targets_and_registrations_in_their_node(scene, ct):
    models = scene.GetNumberOfNodesByClass("vtkMRMLModelNode")  # a view may have its own
    nodes, targets, marks = add_one(scene, ct)
    node, before, centers = ellipses_of(nodes), radius(nodes), rings(nodes)[0].mean(axis=1)
    count = scene.GetNumberOfNodes()
    targets.SetNthControlPointPosition(0, *(ct.center + np.array([10, 0, 30])))
    targets.AddControlPoint(vtkVector3d(*ct.center), "c")
    targets.GetDisplayNode().SetSelectedColor(0.1, 0.2, 0.3)
    set_targets(scene, nodes, targets)
    now = rings(nodes)[0].mean(axis=1)
    assert len(now) == 3
    assert not np.allclose(now[0], centers[0])
    assert np.allclose(now[1:], [centers[1], centers[0]])
    assert node.GetDisplayNode().GetColor() == (0.1, 0.2, 0.3)
    set_pose(nodes, pose_near("PA", ct.center))
    register_here(nodes, ct, 3.0)
    set_targets(scene, nodes, targets)
    assert radius(nodes) == pytest.approx(3 * before, rel=0.2)
    assert ellipses_of(nodes) is node
    assert scene.GetNumberOfNodes() == count
    assert node.GetParentTransformNode() is nodes.pose
    set_targets(scene, nodes, None)
    assert (node.GetScene(), marks.GetScene(), scene.GetNumberOfNodesByClass("vtkMRMLModelNode")) == (
        None,
        None,
        models + 1,
    )


def moved_by_hand(scene, nodes):
    pose = pose_from_node(nodes.pose).copy()
    pose[:3, 3] += [0.0, 0.5, 0.0]
    set_pose(nodes, pose)


def forgotten(scene, nodes):
    forget_registration(nodes.xray)


def moved_volume(scene, nodes):
    shift = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "shift")
    shift.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.diag([1.0, 1, 1, 1]) + np.eye(4, k=3)))
    slicer.util.getNode("phantom").SetAndObserveTransformNodeID(shift.GetID())


def other_geometry(scene, nodes):
    complete_xray(scene, nodes.xray, GEOMETRIES["unequal spacing"].resized((120, 100)), {}, pose_from_node(nodes.pose))


@pytest.mark.parametrize("change", [moved_by_hand, forgotten, moved_volume, other_geometry])
def test_what_is_no_longer_as_it_was_registered_has_no_ellipses(scene, ct, change):
    volume = add_volume(scene, ct)
    nodes, targets, marks = add_one(scene, ct)
    kept = registered(nodes, ct.center).to_dict() | {"volume_ijk_to_ras": ct.ijk_to_ras}
    write_registration(nodes.xray, kept, volume)
    set_targets(scene, nodes, targets)
    assert ellipses_of(nodes) is not None
    pose = pose_from_node(nodes.pose)
    change(scene, nodes)
    marks = set_targets(scene, nodes, targets)
    assert ellipses_of(nodes) is None
    assert marks.GetNthControlPointDescription(0) == ""
    assert marks.GetNthControlPointPositionStatus(0) == marks.PositionDefined
    if change is moved_by_hand:
        set_pose(nodes, pose)
        set_targets(scene, nodes, targets)
        assert ellipses_of(nodes) is not None


@pytest.mark.parametrize(
    "damage",
    [
        {"uncertainty": None},
        {"uncertainty": {"pivot": [0, 0], "covariance": np.eye(6).tolist(), "scale": np.eye(6).tolist()}},
        {"uncertainty": {"pivot": [0, 0, 0], "covariance": [1, 2], "scale": np.eye(6).tolist()}},
        {"uncertainty": {"pivot": [0, 0, 0], "covariance": np.eye(6).tolist(), "scale": 1}},
        {"uncertainty": {"pivot": [0, 0, 0]}},
        {"uncertainty": 3},
        {"trust": {"verdict": "good"}},
        {"intrinsics": None},
    ],
)
def test_a_result_without_a_sound_covariance_is_no_error(scene, ct, damage):
    nodes, targets, marks = add_one(scene, ct)
    write_registration(nodes.xray, registered(nodes, ct.center).to_dict() | damage)
    assert set_targets(scene, nodes, targets) is marks
    assert ellipses_of(nodes) is None


def test_targets_behind_the_source_or_without_a_position_have_no_ellipse(scene, ct):
    nodes, targets, marks = add_one(scene, ct)
    targets.SetNthControlPointPosition(0, *transform_points(pose_from_node(nodes.pose), [0.0, 0.0, -50.0]))
    set_targets(scene, nodes, targets)
    assert len(rings(nodes)[0]) == 1
    assert [bool(marks.GetNthControlPointDescription(i)) for i in (0, 1)] == [False, True]
    targets.UnsetNthControlPointPosition(1)
    set_targets(scene, nodes, targets)
    assert ellipses_of(nodes) is None
    targets.RemoveAllControlPoints()
    set_targets(scene, nodes, targets)
    assert ellipses_of(nodes) is None


def test_ellipses_are_drawn_around_their_target_in_the_view_of_their_xray_alone(scene, ct):
    view = SliceView("XVXray", (480, 400))
    other = SliceView("Red", (480, 400))
    try:
        nodes, targets, marks = add_one(scene, ct, scale=12.0)
        targets.RemoveNthControlPoint(1)
        targets.GetDisplayNode().SetSelectedColor(0, 1, 0)
        set_targets(scene, nodes, targets)
        marks.GetDisplayNode().SetVisibility(False)
        show_in_view(view.node, view.logic.GetSliceCompositeNode(), nodes, 0.0)
        marks.GetDisplayNode().SetVisibility(False)
        view.connect_image()
        rows, columns = np.nonzero(green(view))
        ring = rings(nodes)[0][0]
        # The image of 120 x 100 pixels fills the view of 480 x 400.
        seen = np.stack([(columns + 0.5) / 4 - 0.5, (rows + 0.5) / 4 - 0.5], axis=1)
        from_ring = np.linalg.norm(seen[:, None] - ring, axis=2)
        assert len(seen) > 100
        assert from_ring.min(axis=1).max() < 1.5
        assert from_ring.min(axis=0).max() < 1.5
        assert ellipses_of(nodes).GetDisplayNode().GetViewNodeIDs() == (view.node.GetID(),)
        other.logic.GetSliceCompositeNode().SetBackgroundVolumeID(nodes.xray.GetID())
        other.show_xray(nodes.xray)
        assert not green(other).any()
        show_in_view(view.node, view.logic.GetSliceCompositeNode(), nodes, 0.0, targets=False)
        assert not green(view).any()
    finally:
        view.close()
        other.close()


@pytest.mark.parametrize(("scale", "inside"), [(2.0, 0.5), (12.0, 0.8)], ids=["small", "large"])
def test_an_ellipse_is_seen_beside_the_mark_of_its_target(scene, ct, scale, inside):
    view = SliceView("XVXray", (480, 400))
    try:
        nodes, targets, marks = add_one(scene, ct, scale=scale)
        targets.RemoveNthControlPoint(0)
        targets.GetDisplayNode().SetSelectedColor(0, 1, 0)
        set_targets(scene, nodes, targets)
        marks.GetDisplayNode().SetPointLabelsVisibility(False)
        show_in_view(view.node, view.logic.GetSliceCompositeNode(), nodes, 0.0)
        view.connect_image()
        drawn, ring = green(view), 4 * (rings(nodes)[0][0] + 0.5)
        middle = ring.mean(axis=0)
        on_ring, within = (np.floor(middle + share * (ring - middle)).astype(int) for share in (1.0, inside))
        assert drawn[on_ring[:, 1], on_ring[:, 0]].mean() > 0.7
        assert drawn[within[:, 1], within[:, 0]].mean() < 0.4
    finally:
        view.close()


def green(view):
    image = view.image().astype(float)
    return (image[..., 1] - image[..., 0] > 60) & (image[..., 1] - image[..., 2] > 60)


@pytest.mark.parametrize("display", [False, True])
def test_ellipses_that_somebody_deleted_are_made_again(scene, ct, display):
    nodes, targets, marks = add_one(scene, ct)
    gone = ellipses_of(nodes)
    scene.RemoveNode(gone.GetDisplayNode() if display else gone)
    assert set_targets(scene, nodes, targets) is marks
    assert ellipses_of(nodes).GetDisplayNode().GetScene() is scene
    assert len(rings(nodes)[0]) == 2


def test_ellipses_come_back_with_a_saved_scene_and_are_updated_in_place(scene, ct, tmp_path):
    nodes, _, _ = add_one(scene, ct)
    before = rings(nodes)[0]
    load_mrb(scene, save_mrb(scene, tmp_path / "scene.mrb"))
    [nodes] = xray_nodes_in(scene)
    assert np.allclose(rings(nodes)[0], before, atol=1e-3)
    count = scene.GetNumberOfNodes()
    set_targets(scene, nodes, slicer.util.getNode("Targets"))
    assert scene.GetNumberOfNodes() == count
    assert np.allclose(rings(nodes)[0], before, atol=1e-3)
