"""X-rays at their poses: nodes, projection through transforms, overlays and targets."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import slicer.util

from Testing.Python.mrml.phantom import GEOMETRIES, make_xray, pose_near
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.scene.registration import (
    add_reprojected_labels,
    add_targets,
    add_xray,
    intrinsics_from_node,
    pose_from_node,
    project_through_nodes,
    set_pose,
    volume_node_of,
    xray_from_node,
    xray_nodes_in,
)
from XVRegistrationLib.scene.standalone.app import start
from XVRegistrationLib.scene.transforms import ijk_to_world
from XVRegistrationLib.scene.volumes import add_volume

GEOMETRY = pytest.mark.parametrize("geometry", GEOMETRIES)
VIEW = pytest.mark.parametrize("view", ["AP", "PA", "RLAT"])


@VIEW
@GEOMETRY
def test_transform_nodes_project_a_point_to_the_same_pixel_as_the_library(scene, ct, geometry, view):
    intrinsics, pose = GEOMETRIES[geometry], pose_near(view, ct.center)
    nodes = add_xray(scene, make_xray("x", intrinsics), pose)
    points = ct.center + np.random.default_rng(1).uniform(-120, 120, (50, 3))
    expected = project(points, pose, intrinsics)
    assert np.isfinite(expected).all()
    assert np.abs(project_through_nodes(nodes.xray, points) - expected).max() < 0.01


@GEOMETRY
def test_points_behind_the_source_have_no_pixel(scene, ct, geometry):
    pose = pose_near("AP", ct.center)
    nodes = add_xray(scene, make_xray("x", GEOMETRIES[geometry]), pose)
    behind = transform_points(pose, [[10.0, 5.0, -200.0]])
    assert np.isnan(project_through_nodes(nodes.xray, behind)).all()
    assert np.isnan(project(behind, pose, GEOMETRIES[geometry])).all()


@GEOMETRY
def test_an_xray_is_read_back_exactly(scene, ct, geometry):
    xray = make_xray("frontal", GEOMETRIES[geometry])
    node = add_xray(scene, xray, pose_near("AP", ct.center)).xray
    found = xray_from_node(node)
    assert intrinsics_from_node(node) == xray.intrinsics
    assert np.array_equal(found.pixels, xray.pixels)
    assert found.pixels.dtype == xray.pixels.dtype
    assert (found.name, found.scale, found.origins) == (xray.name, xray.scale, xray.origins)


def test_the_pose_transform_is_the_pose_and_moves_everything(scene, ct):
    pose, moved = pose_near("PA", ct.center), pose_near("RLAT", ct.center)
    ct_node = add_volume(scene, ct)
    nodes = add_xray(scene, make_xray("lateral", GEOMETRIES["mirrored"]), pose, volume_node=ct_node)
    assert np.array_equal(slicer.util.arrayFromTransformMatrix(nodes.pose), pose)
    assert np.array_equal(pose_from_node(nodes.xray), pose)
    assert nodes.pose.GetName() == "C-arm pose (lateral)"
    assert nodes.frustum.GetParentTransformNode() is nodes.pose
    assert volume_node_of(nodes.xray) is ct_node
    set_pose(nodes, moved)
    expected = project(ct.center, moved, GEOMETRIES["mirrored"])
    assert np.abs(project_through_nodes(nodes.xray, ct.center) - expected).max() < 0.01


@GEOMETRY
def test_the_frustum_ends_at_the_outer_edges_of_the_corner_pixels(scene, ct, geometry):
    nodes = add_xray(scene, make_xray("x", GEOMETRIES[geometry]), pose_near("AP", ct.center))
    width, height = GEOMETRIES[geometry].size
    edges = [[-0.5, -0.5, 0], [width - 0.5, -0.5, 0], [width - 0.5, height - 0.5, 0], [-0.5, height - 0.5, 0]]
    vertices = transform_points(pose_from_node(nodes.pose), slicer.util.arrayFromModelPoints(nodes.frustum))
    assert np.allclose(vertices[0], pose_from_node(nodes.pose)[:3, 3], atol=1e-9)
    assert np.allclose(vertices[1:], transform_points(ijk_to_world(nodes.xray), edges), atol=1e-6)
    assert not nodes.frustum.GetDisplayNode().GetVisibility2D()


@GEOMETRY
def test_overlapping_labels_keep_their_own_pixels_names_and_colors(scene, ct, geometry):
    intrinsics = GEOMETRIES[geometry]
    nodes = add_xray(scene, make_xray("x", intrinsics), pose_near("AP", ct.center))
    masks = np.zeros((3, *intrinsics.size[::-1]), bool)
    masks[0, 5:40, 10:50] = masks[1, 30:60, 20:45] = masks[2, 70:75, 3:9] = True
    labels = [
        ("spine", (1.0, 0.5, 0.25), masks[0]),
        ("rib_left_1", (0.0, 1.0, 0.5), masks[1]),
        ("hip", (0.25, 0.0, 1.0), masks[2]),
    ]
    node = add_reprojected_labels(scene, nodes, labels)
    segmentation = node.GetSegmentation()
    for index, (name, color, mask) in enumerate(labels):
        segment = segmentation.GetNthSegment(index)
        found = slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentation.GetNthSegmentID(index), nodes.xray)
        assert (segment.GetName(), segment.GetColor()) == (name, color)
        assert np.array_equal(found[0] != 0, mask)
    assert segmentation.GetNumberOfLayers() == 2


def test_labels_are_replaced_in_a_segmentation_that_is_passed_in(scene, ct):
    nodes = add_xray(scene, make_xray("x", GEOMETRIES["centred"]), pose_near("AP", ct.center))
    mask = np.zeros(GEOMETRIES["centred"].size[::-1], bool)
    mask[5:9, 7:20] = True
    node = add_reprojected_labels(scene, nodes, [("old", (1, 0, 0), mask), ("older", (0, 1, 0), mask)])
    again = add_reprojected_labels(scene, nodes, [("new", (1, 0, 0), mask)], segmentation_node=node)
    assert again is node
    assert list(node.GetSegmentation().GetSegmentIDs()) == ["new"]


@GEOMETRY
def test_projected_targets_lie_on_the_detector_where_the_library_projects_them(scene, ct, geometry):
    intrinsics, pose = GEOMETRIES[geometry], pose_near("PA", ct.center)
    nodes = add_xray(scene, make_xray("x", intrinsics), pose)
    points = ct.center + np.array([[0, 0, 0], [60, 10, -40], [-50, 30, 90.0]])
    targets, projected = add_targets(scene, nodes, ["a", "b", "c"], points)
    assert np.allclose(slicer.util.arrayFromMarkupsControlPoints(targets, world=True), points)
    on_image = transform_points(
        np.linalg.inv(ijk_to_world(nodes.xray)), slicer.util.arrayFromMarkupsControlPoints(projected, world=True)
    )
    assert np.abs(on_image[:, :2] - project(points, pose, intrinsics)).max() < 0.01
    assert np.abs(on_image[:, 2]).max() < 1e-6
    assert projected.GetLocked()
    assert not targets.GetLocked()
    assert [projected.GetNthControlPointLabel(i) for i in range(3)] == ["a", "b", "c"]


def test_a_target_behind_the_source_is_listed_without_a_position(scene, ct):
    pose = pose_near("AP", ct.center)
    nodes = add_xray(scene, make_xray("x", GEOMETRIES["centred"]), pose)
    points = np.vstack([transform_points(pose, [0.0, 0.0, -50.0]), ct.center])
    _, projected = add_targets(scene, nodes, ["behind", "inside"], points)
    assert projected.GetNumberOfControlPoints() == 2
    assert [projected.GetNthControlPointPositionStatus(i) == projected.PositionDefined for i in (0, 1)] == [False, True]


def test_xrays_share_targets_and_overlays_show_only_in_the_view_given(scene, ct):
    first = add_xray(scene, make_xray("x", GEOMETRIES["centred"]), pose_near("AP", ct.center))
    second = add_xray(scene, make_xray("x", GEOMETRIES["mirrored"]), pose_near("RLAT", ct.center))
    view = scene.AddNode(slicer.vtkMRMLSliceNode())
    targets, projected = add_targets(scene, first, ["t"], ct.center, view_node=view)
    same, free = add_targets(scene, second, ["t"], ct.center, targets_node=targets)
    assert same is targets
    assert projected.GetDisplayNode().GetViewNodeIDs() == (view.GetID(),)
    assert free.GetDisplayNode().GetViewNodeIDs() == ()


def test_each_xray_has_its_own_name_and_folder_with_all_its_nodes(scene, ct):
    pose = pose_near("AP", ct.center)
    first = add_xray(scene, make_xray("x", GEOMETRIES["centred"]), pose)
    second = add_xray(scene, make_xray("x", GEOMETRIES["centred"]), pose)
    _, projected = add_targets(scene, second, ["t"], ct.center)
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    assert [nodes.name for nodes in xray_nodes_in(scene)] == ["x", "x 2"]
    assert [tree.GetItemName(nodes.folder) for nodes in (first, second)] == ["x", "x 2"]
    for node in (second.pose, second.frustum, second.xray, projected):
        assert tree.GetItemParent(tree.GetItemByDataNode(node)) == second.folder


@pytest.mark.parametrize("damage", ["missing", "text", "resampled"])
def test_a_volume_without_sound_xray_geometry_is_refused(scene, ct, damage):
    node = add_xray(scene, make_xray("x", GEOMETRIES["centred"]), pose_near("AP", ct.center)).xray
    if damage == "missing":
        node.RemoveAttribute("XVRegistration.SDD")
    elif damage == "text":
        node.SetAttribute("XVRegistration.PixelSpacing", "wide")
    else:
        slicer.util.updateVolumeFromArray(node, np.zeros((1, 10, 10)))
    with pytest.raises(InputError, match="geometry"):
        xray_from_node(node)


def test_a_pose_that_is_not_rigid_is_refused(scene, ct):
    nodes = add_xray(scene, make_xray("x", GEOMETRIES["centred"]), pose_near("AP", ct.center))
    nodes.pose.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(np.diag([2.0, 1, 1, 1])))
    with pytest.raises(InputError, match="not a rigid transform"):
        pose_from_node(nodes.xray)
    with pytest.raises(ValueError, match="not a rigid transform"):
        add_xray(scene, make_xray("y", GEOMETRIES["centred"]), np.diag([1.0, 1, -1, 1]))


def test_starting_again_gives_the_same_scene():
    assert start() is start()
    assert slicer.mrmlScene is start().scene
