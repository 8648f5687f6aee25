"""What is drawn on an X-ray: labels, targets and the DRR, each updated in its node."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import slicer.util
import vtk

from Testing.Python.mrml.phantom import GEOMETRIES, make_xray, pose_near
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.scene.overlays import add_targets, set_drr, set_reprojected_labels, set_targets
from XVRegistrationLib.scene.transforms import ijk_to_world
from XVRegistrationLib.scene.volumes import add_segmentation, add_volume
from XVRegistrationLib.scene.xrays import add_xray, set_pose

GEOMETRY = pytest.mark.parametrize("geometry", GEOMETRIES)


def add_one(scene, ct, geometry="centred"):
    return add_xray(scene, make_xray("x", GEOMETRIES[geometry]), pose_near("AP", ct.center))


def mask_of(geometry, rows, columns):
    mask = np.zeros(GEOMETRIES[geometry].size[::-1], bool)
    mask[rows, columns] = True
    return mask


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
    node = set_reprojected_labels(scene, nodes, labels)
    segmentation = node.GetSegmentation()
    for index, (name, color, mask) in enumerate(labels):
        segment = segmentation.GetNthSegment(index)
        found = slicer.util.arrayFromSegmentBinaryLabelmap(node, segmentation.GetNthSegmentID(index), nodes.xray)
        assert (segment.GetName(), segment.GetColor()) == (name, color)
        assert np.array_equal(found[0] != 0, mask)
    assert segmentation.GetNumberOfLayers() == 2


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


def test_labels_are_updated_in_their_node_and_keep_ids_and_display_by_name(scene, ct):
    nodes = add_one(scene, ct)
    first, second = mask_of("centred", slice(5, 9), slice(7, 20)), mask_of("centred", slice(30, 60), slice(50, 90))
    node = set_reprojected_labels(scene, nodes, [("old", (1, 0, 0), first), ("spine", (0, 1, 0), first)])
    spine = node.GetSegmentation().GetSegmentIdBySegmentName("spine")
    node.GetDisplayNode().SetSegmentVisibility(spine, False)
    node.GetDisplayNode().SetOpacity2DFill(0.7)
    count = scene.GetNumberOfNodes()
    again = set_reprojected_labels(scene, nodes, [("new", (1, 0, 0), first), ("spine", (0, 0, 1), second)])
    assert again is node
    assert scene.GetNumberOfNodes() == count
    assert sorted(node.GetSegmentation().GetSegmentIDs()) == ["new", spine]
    found = slicer.util.arrayFromSegmentBinaryLabelmap(node, spine, nodes.xray)[0] != 0
    assert np.array_equal(found, second)
    assert node.GetSegmentation().GetSegment(spine).GetColor() == (0, 0, 1)
    assert not node.GetDisplayNode().GetSegmentVisibility(spine)
    assert node.GetDisplayNode().GetOpacity2DFill() == 0.7
    assert set_reprojected_labels(scene, nodes, []) is node
    assert node.GetSegmentation().GetNumberOfSegments() == 0


def test_labels_of_the_same_name_stay_two(scene, ct):
    nodes = add_one(scene, ct)
    masks = [mask_of("centred", slice(5, 9), slice(7, 20)), mask_of("centred", slice(30, 60), slice(50, 90))]
    for _ in range(2):
        node = set_reprojected_labels(scene, nodes, [("rib", (1, 0, 0), mask) for mask in masks])
        ids = node.GetSegmentation().GetSegmentIDs()
        found = [slicer.util.arrayFromSegmentBinaryLabelmap(node, i, nodes.xray)[0] != 0 for i in ids]
        assert [f.tolist() for f in found] == [m.tolist() for m in masks]


@GEOMETRY
def test_labels_with_fewer_pixels_lie_in_the_same_place(scene, ct, geometry):
    intrinsics = GEOMETRIES[geometry]
    nodes = add_one(scene, ct, geometry)
    small = intrinsics.fitted(64)
    mask = np.zeros(small.size[::-1], np.uint8)
    mask[10:20, 8:30] = 1
    node = set_reprojected_labels(scene, nodes, [("spine", (1, 0, 0), mask)])
    image = slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation("spine", image)
    voxels = np.array(image.GetExtent()).reshape(3, 2)[:2]
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    corners = np.array([[voxels[0, c] + dc, voxels[1, c] + dc, 0] for c, dc in ((0, -0.5), (1, 0.5))])
    local = transform_points(slicer.util.arrayFromVTKMatrix(matrix), corners)
    stored = vtk.vtkMatrix4x4()
    nodes.xray.GetRASToIJKMatrix(stored)
    found = transform_points(slicer.util.arrayFromVTKMatrix(stored), local)[:, :2] + 0.5
    scale = np.array(intrinsics.size) / small.size
    assert found == pytest.approx(np.array([[8, 10], [30, 20]]) * scale, abs=1e-3)


def test_labels_have_the_terminology_of_the_cts_segments(scene, ct, label_map):
    source = add_segmentation(scene, label_map, add_volume(scene, ct))
    tag = slicer.vtkSegment.GetTerminologyEntryTagName()
    entry = "Segmentation category~SCT^123037004^Anatomical Structure~SCT^421060004^Spine~^^~Anatomic codes~^^~^^"
    source.GetSegmentation().GetSegment("spine").SetTag(tag, entry)
    mask = mask_of("centred", slice(5, 9), slice(7, 20))
    node = set_reprojected_labels(
        scene, add_one(scene, ct), [("spine", (1, 0, 0), mask), ("other", (0, 1, 0), mask)], source_node=source
    )
    text = vtk.reference("")
    assert node.GetSegmentation().GetSegment("spine").GetTag(tag, text)
    assert str(text) == entry


def test_a_reprojection_of_other_proportions_is_refused(scene, ct):
    with pytest.raises(InputError, match="spine has"):
        set_reprojected_labels(scene, add_one(scene, ct), [("spine", (1, 0, 0), np.ones((64, 64), bool))])


def test_targets_follow_the_pose_and_the_points_in_their_node(scene, ct):
    nodes = add_one(scene, ct)
    targets, projected = add_targets(scene, nodes, ["a", "b"], ct.center + np.array([[0, 0, 0], [60, 10, -40]]))
    count = scene.GetNumberOfNodes()
    moved = pose_near("PA", ct.center)
    set_pose(nodes, moved)
    targets.SetNthControlPointLabel(0, "pedicle")
    targets.AddControlPoint(vtk.vtkVector3d(*ct.center), "c")
    targets.GetDisplayNode().SetSelectedColor(0.1, 0.2, 0.3)
    targets.UnsetNthControlPointPosition(1)
    assert set_targets(scene, nodes, targets) is projected
    assert scene.GetNumberOfNodes() == count
    assert [projected.GetNthControlPointLabel(i) for i in range(3)] == ["pedicle", "b", "c"]
    assert projected.GetDisplayNode().GetSelectedColor() == (0.1, 0.2, 0.3)
    defined = [projected.GetNthControlPointPositionStatus(i) == projected.PositionDefined for i in range(3)]
    assert defined == [True, False, True]
    world = np.array(projected.GetNthControlPointPositionWorld(2))
    pixel = transform_points(np.linalg.inv(ijk_to_world(nodes.xray)), world)
    assert pixel[:2] == pytest.approx(project(ct.center, moved, GEOMETRIES["centred"]), abs=0.01)
    targets.RemoveNthControlPoint(1)
    set_targets(scene, nodes, targets)
    assert projected.GetNumberOfControlPoints() == 2
    assert projected.GetNthControlPointPositionStatus(1) == projected.PositionDefined
    set_targets(scene, nodes, None)
    assert projected.GetScene() is None
    assert targets.GetScene() is scene


def test_xrays_share_targets_and_leave_them_as_they_are(scene, ct):
    first, second = add_one(scene, ct), add_one(scene, ct, "mirrored")
    targets, marks = add_targets(scene, first, ["t"], ct.center)
    same, others = add_targets(scene, second, ["t"], ct.center, targets_node=targets)
    assert same is targets
    assert marks is not others
    assert not targets.GetLocked()
    assert targets.GetParentTransformNode() is None


@GEOMETRY
def test_a_drr_covers_the_detector_with_its_own_pixels(scene, ct, geometry):
    intrinsics = GEOMETRIES[geometry]
    nodes = add_one(scene, ct, geometry)
    width, height = 53, round(53 * intrinsics.size[1] / intrinsics.size[0])
    image = np.random.default_rng(0).random((height, width), np.float32)
    node = set_drr(scene, nodes, image)
    assert np.array_equal(slicer.util.arrayFromVolume(node)[0], image)
    outer = np.array([[-0.5, -0.5, 0], [width - 0.5, -0.5, 0], [width - 0.5, height - 0.5, 0]])
    columns, rows = intrinsics.size
    expected = np.array([[-0.5, -0.5, 0], [columns - 0.5, -0.5, 0], [columns - 0.5, rows - 0.5, 0]])
    found = transform_points(ijk_to_world(node), outer)
    assert found == pytest.approx(transform_points(ijk_to_world(nodes.xray), expected), abs=1e-4)
    assert node.GetParentTransformNode() is nodes.pose


def test_a_drr_is_updated_in_place_and_its_window_is_left_to_the_user(scene, ct):
    nodes = add_one(scene, ct)
    node = set_drr(scene, nodes, np.zeros((50, 60), np.float32))
    ramp = np.linspace(0, 6, 3000, dtype=np.float32).reshape(50, 60)
    count, image = scene.GetNumberOfNodes(), node.GetImageData()
    assert set_drr(scene, nodes, ramp) is node
    assert node.GetImageData() is image
    display = node.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == pytest.approx((0.03, 5.97), abs=0.01)
    display.SetWindowLevelMinMax(1, 2)
    set_drr(scene, nodes, 3 * ramp)
    assert set_drr(scene, nodes, np.zeros((100, 120), np.float32)) is node
    assert slicer.util.arrayFromVolume(node).shape == (1, 100, 120)
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (1, 2)
    assert scene.GetNumberOfNodes() == count
    with pytest.raises(InputError, match="The DRR has"):
        set_drr(scene, nodes, np.zeros((60, 60), np.float32))
