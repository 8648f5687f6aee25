"""Volumes and segmentations in and out of the scene."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import slicer.util
import vtk

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import rigid, rotation_from_vector
from XVRegistrationLib.imaging.colors import color_of_label
from XVRegistrationLib.imaging.segmentation import Code, Segment, Segmentation, Terminology
from XVRegistrationLib.imaging.volume import LabelMap, Volume
from XVRegistrationLib.scene.segments import segments_of, terminology_of
from XVRegistrationLib.scene.volumes import add_segmentation, add_volume, volume_from_node


def test_a_volume_is_read_back_with_voxels_and_geometry(scene, ct):
    found = volume_from_node(add_volume(scene, ct))
    assert np.array_equal(found.array, ct.array)
    assert found.array.dtype == ct.array.dtype
    assert np.allclose(found.ijk_to_ras, ct.ijk_to_ras, atol=1e-10)
    assert found.name == "phantom"


def test_the_transforms_above_a_volume_are_applied(scene, ct):
    node = add_volume(scene, ct)
    matrices = [
        rigid(rotation_from_vector([0.3, -0.2, 0.5]), [11.0, -7.0, 30.0]),
        rigid(rotation_from_vector([0, 1.0, 0]), [0, 4.0, 0]),
    ]
    inner, outer = (scene.AddNewNodeByClass("vtkMRMLLinearTransformNode") for _ in matrices)
    for transform, matrix in zip((inner, outer), matrices, strict=True):
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(inner.GetID())
    inner.SetAndObserveTransformNodeID(outer.GetID())
    assert np.allclose(volume_from_node(node).ijk_to_ras, matrices[1] @ matrices[0] @ ct.ijk_to_ras, atol=1e-9)


def test_a_volume_under_a_transform_that_is_not_linear_is_refused(scene, ct):
    node = add_volume(scene, ct)
    spline = vtk.vtkThinPlateSplineTransform()
    points = vtk.vtkPoints()
    for point in np.random.default_rng(0).uniform(-100, 100, (6, 3)):
        points.InsertNextPoint(*point)
    spline.SetSourceLandmarks(points)
    spline.SetTargetLandmarks(points)
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode", "warp")
    transform.SetAndObserveTransformToParent(spline)
    node.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(InputError, match="phantom is under a transform that is not linear"):
        volume_from_node(node)


def test_volumes_that_cannot_be_registered_to_are_refused(scene):
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing")
    with pytest.raises(InputError, match="nothing has no voxels"):
        volume_from_node(empty)
    color = scene.AddNewNodeByClass("vtkMRMLVectorVolumeNode", "photo")
    image = vtk.vtkImageData()
    image.SetDimensions(4, 4, 4)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 3)
    color.SetAndObserveImageData(image)
    with pytest.raises(InputError, match="photo has colour"):
        volume_from_node(color)


@pytest.mark.parametrize("dtype", ["?", "e", "<i8", ">i2", "u1", "f8"])
def test_voxels_of_any_numeric_type_keep_their_values(scene, dtype):
    array = np.random.default_rng(0).integers(0, 2, (3, 4, 5)).astype(dtype)
    assert np.array_equal(volume_from_node(add_volume(scene, Volume(array, np.eye(4)))).array, array)


def test_a_ct_is_shown_with_a_window_for_bone_and_soft_tissue(scene, ct):
    display = add_volume(scene, ct).GetDisplayNode()
    assert not display.GetAutoWindowLevel()
    assert display.GetWindowLevelMin() < 0 < 700 < display.GetWindowLevelMax()


def test_segments_have_the_label_maps_names_voxels_and_chosen_colors(scene, ct, label_map):
    reference = add_volume(scene, ct)
    node = add_segmentation(scene, label_map, reference, {3: (0.5, 0.25, 0.125)})
    segmentation = node.GetSegmentation()
    assert [segmentation.GetNthSegment(i).GetName() for i in range(2)] == ["spine", "rib_left_1"]
    assert segmentation.GetNthSegment(0).GetColor() == (0.5, 0.25, 0.125)
    assert segmentation.GetNthSegment(1).GetColor() == pytest.approx(color_of_label(7))
    assert segmentation.GetNumberOfLayers() == 1
    for segment_id, value in zip(segmentation.GetSegmentIDs(), (3, 7), strict=True):
        found = slicer.util.arrayFromSegmentBinaryLabelmap(node, segment_id, reference)
        assert np.array_equal(found != 0, label_map.array == value)


def test_chosen_segments_become_surfaces_in_the_place_of_their_voxels(scene, ct, label_map):
    node = add_segmentation(scene, label_map, add_volume(scene, ct), show_in_3d=["rib_left_1"])
    display = node.GetDisplayNode()
    spine, rib = node.GetSegmentation().GetSegmentIDs()
    assert display.GetSegmentVisibility3D(rib)
    assert not display.GetSegmentVisibility3D(spine)
    surface = vtk.vtkPolyData()
    node.GetClosedSurfaceRepresentation(rib, surface)
    center = np.array(surface.GetCenter())
    points = label_map.points([7])
    assert np.abs(center - (points.min(0) + points.max(0)) / 2).max() < 8.0


def test_a_segment_that_is_not_there_is_named(scene, ct, label_map):
    with pytest.raises(InputError, match="no segment named femur; it has spine, rib"):
        add_segmentation(scene, label_map, add_volume(scene, ct), show_in_3d=["spine", "femur"])


def test_seventy_labels_are_added_with_seventy_different_colors(scene):
    array = np.zeros((8, 10, 14), np.int64)
    array.flat[:70] = np.arange(1, 71)
    node = add_segmentation(scene, LabelMap(array, np.eye(4), {v: f"bone {v}" for v in range(1, 71)}))
    segmentation = node.GetSegmentation()
    colors = np.array([segmentation.GetNthSegment(i).GetColor() for i in range(70)])
    distances = np.linalg.norm(colors[:, None] - colors[None], axis=-1) + np.eye(70)
    assert distances.min() > 0.02
    assert np.linalg.norm(np.diff(colors, axis=0), axis=1).min() > 0.3


def test_layers_colours_and_codes_of_a_segmentation_are_kept(scene):
    body, rib = np.zeros((6, 7, 8), np.uint8), np.zeros((6, 7, 8), np.uint8)
    body[1:5, 1:6, 1:7], rib[2:3, 2:5, 2:5] = 1, 2  # the rib lies in the body
    is_ = Terminology(
        Code("SCT", "123037004", "Anatomical Structure"),
        Code("SCT", "113197003", "Rib"),
        Code("SCT", "7771000", "Left"),
    )
    matrix = np.diag([-2.0, 1.5, 3.0, 1.0])
    segments = Segment(1, "body"), Segment(2, "rib", 1, (0.25, 0.5, 0.125), is_)
    node = add_segmentation(scene, Segmentation((body, rib), matrix, segments))
    found = {name: (i, color) for i, name, color in segments_of(node)}
    assert list(found) == ["body", "rib"]
    assert found["rib"][1] == (0.25, 0.5, 0.125)
    reference = add_volume(scene, Volume(np.zeros(body.shape, np.int16), matrix))
    for name, mask in (("body", body), ("rib", rib)):
        np.testing.assert_array_equal(
            slicer.util.arrayFromSegmentBinaryLabelmap(node, found[name][0], reference) != 0, mask != 0
        )
    assert terminology_of(node.GetSegmentation().GetSegment(found["rib"][0])) == is_
    assert terminology_of(node.GetSegmentation().GetSegment(found["body"][0])) != is_
