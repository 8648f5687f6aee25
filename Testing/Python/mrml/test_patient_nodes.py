"""What belongs to a patient: memory, label map, files for child processes, training curve, thumbnails."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import slicer.util
import vtk

from Testing.Python.mrml.phantom import GEOMETRIES, make_xray, pose_near
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import rigid, rotation_from_vector
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.scene.handover import cleanup, write_array, write_volume
from XVRegistrationLib.scene.label_maps import label_map_in_steps, label_map_of
from XVRegistrationLib.scene.patients import recall, remember
from XVRegistrationLib.scene.plots import remove_training_curve, set_training_curve, training_chart_of
from XVRegistrationLib.scene.segments import Layer, add_layers, new_segmentation, segments_of
from XVRegistrationLib.scene.thumbnails import thumbnail
from XVRegistrationLib.scene.transforms import ijk_to_world
from XVRegistrationLib.scene.volumes import add_segmentation, add_volume
from XVRegistrationLib.scene.xrays import add_xray

ROWS = [(0.0, 80.0, None), (30.0, 20.0, 25.0), (60.0, 9.0, None), (90.0, 5.0, 6.5)]


def move(scene, node, matrix):
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(transform.GetID())


def test_texts_and_nodes_are_remembered_and_forgotten(scene, ct, label_map):
    node = add_volume(scene, ct)
    segmentation = add_segmentation(scene, label_map, node)
    assert recall(node, "model") is None
    remember(node, "model", "a b\\c; 50 % : \u00fc")
    remember(node, "segmentation", segmentation)
    assert recall(node, "model") == "a b\\c; 50 % : \u00fc"
    assert recall(node, "segmentation") is segmentation
    scene.RemoveNode(segmentation)
    assert recall(node, "segmentation") is None
    for value in (None, ""):
        remember(node, "model", value)
        assert recall(node, "model") is None


def test_a_segmentation_is_a_label_map_on_the_volumes_grid(scene, ct, label_map):
    node = add_volume(scene, ct)
    segmentation = add_segmentation(scene, label_map, node, {3: (0.5, 0.25, 0.125)})
    array, matrix, labels = label_map_of(segmentation, node)
    assert segments_of(segmentation) == [("spine", "spine", (0.5, 0.25, 0.125)), *segments_of(segmentation)[1:]]
    assert {value: name for value, (name, _) in labels.items()} == {1: "spine", 2: "rib_left_1"}
    assert labels[1][1] == (0.5, 0.25, 0.125)
    assert array.dtype == np.uint16
    assert np.array_equal(array == 1, label_map.array == 3)
    assert np.array_equal(array == 2, label_map.array == 7)
    assert np.allclose(matrix, ct.ijk_to_ras)


def test_a_label_map_takes_both_nodes_transforms_into_account(scene, ct, label_map):
    node = add_volume(scene, ct)
    segmentation = add_segmentation(scene, label_map, node)
    motion = rigid(rotation_from_vector([0.3, -0.2, 0.5]), [11.0, -7.0, 30.0])
    move(scene, node, motion)
    array, matrix, labels = label_map_of(segmentation, node)
    assert not np.array_equal(array == 1, label_map.array == 3), "the segmentation stayed where it was"
    seen = slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "spine", node)
    assert np.mean((array == 1) != (seen != 0)) < 0.002
    move(scene, segmentation, motion)
    array, matrix, labels = label_map_of(segmentation, node)
    assert np.array_equal(array == 1, label_map.array == 3)
    assert np.allclose(matrix, motion @ ct.ijk_to_ras)
    assert len(labels) == 2


def test_of_overlapping_segments_the_smaller_one_is_kept_in_any_order(scene, ct, label_map):
    node = add_volume(scene, ct)
    bone, body = label_map.array == 3, np.ones(label_map.array.shape, bool)
    for order in ([("bone", bone), ("body", body)], [("body", body), ("bone", bone)]):
        segmentation = new_segmentation(scene, "overlapping")
        for value, (name, mask) in enumerate(order, start=1):
            layer = Layer(mask.astype(np.uint8) * value, ct.ijk_to_ras, {value: (name, (1.0, 0.0, 0.0))})
            add_layers(segmentation, [layer])
        array, _, labels = label_map_of(segmentation, node)
        values = {name: value for value, (name, _) in labels.items()}
        assert list(labels) == [1, 2]
        assert np.array_equal(array == values["bone"], bone)
        assert np.array_equal(array == values["body"], ~bone)


def test_a_label_map_of_many_slabs_and_layers_is_the_one_made_at_once(scene, ct, label_map, monkeypatch):
    node = add_volume(scene, ct)
    segmentation = add_segmentation(scene, label_map, node)
    k, j, i = np.indices(label_map.array.shape)
    for name, mask in (
        ("ball", (k - 12) ** 2 + (j - 18) ** 2 + (i - 22) ** 2 < 60),
        ("front", j < 20),
        ("foot", k < 9),
    ):
        add_layers(segmentation, [Layer(mask.astype(np.uint8), ct.ijk_to_ras, {1: (name, (1.0, 0.0, 0.0))})])
    made, steps = [], []
    for slab in (1 << 40, 1, 7 * ct.array[0].size):
        monkeypatch.setattr("XVRegistrationLib.scene.label_maps._SLAB", slab)
        *waits, whole = label_map_in_steps(segmentation, node)
        assert set(waits) == {None}
        steps.append(len(waits))
        made.append(whole)
    layers, depth = 4, len(ct.array)
    assert steps == [layers + n * (layers + 1) for n in (1, depth, -(-depth // 7))]
    (array, matrix, labels), *others = made
    assert {name for name, _color in labels.values()} == {"spine", "rib_left_1", "ball", "front", "foot"}
    assert set(np.unique(array)) == {0, *labels}
    for other in others:
        np.testing.assert_array_equal(other[0], array)
        np.testing.assert_array_equal(other[1], matrix)
        assert other[2] == labels


def test_segments_outside_the_volume_and_empty_segmentations_have_no_labels(scene, ct, label_map):
    node = add_volume(scene, ct)
    segmentation = add_segmentation(scene, label_map, node)
    move(scene, segmentation, rigid(np.eye(3), [5000.0, 0, 0]))
    array, _, labels = label_map_of(segmentation, node)
    assert not array.any()
    assert labels == {}
    with pytest.raises(InputError, match="nothing is empty"):
        label_map_of(new_segmentation(scene, "nothing"), node)


def test_a_segmentation_made_of_surfaces_is_a_label_map_too(scene, ct):
    node = add_volume(scene, ct)
    sphere = vtk.vtkSphereSource()
    sphere.SetRadius(60)
    sphere.SetCenter(*ct.center)
    sphere.SetThetaResolution(40)
    sphere.SetPhiResolution(40)
    sphere.Update()
    segmentation = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "surfaces")
    segmentation.AddSegmentFromClosedSurfaceRepresentation(sphere.GetOutput(), "ball", (1, 0, 0))
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(node)
    array, matrix, labels = label_map_of(segmentation, node)
    voxel = abs(np.linalg.det(matrix[:3, :3]))
    assert (array == 1).sum() * voxel == pytest.approx(4 / 3 * np.pi * 60**3, rel=0.05)
    assert labels[1][0] == "ball"


def test_a_volume_is_handed_over_with_its_place_in_the_world_under_no_name(scene, ct, tmp_path):
    node = add_volume(scene, ct)
    node.SetName("Doe^John")
    motion = rigid(rotation_from_vector([0.3, -0.2, 0.5]), [11.0, -7.0, 30.0])
    move(scene, node, motion)
    path, matrix = write_volume(node, tmp_path / "new")
    assert np.array_equal(np.load(path, mmap_mode="r", allow_pickle=False), ct.array)
    assert np.allclose(matrix, motion @ ct.ijk_to_ras)
    assert "Doe" not in str(path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    other = write_array(np.zeros(3), tmp_path / "new")
    (tmp_path / "new" / "mine.npy").touch()
    cleanup(path)
    cleanup(path)
    assert other.exists()
    cleanup(tmp_path / "new")
    assert [p.name for p in path.parent.iterdir()] == ["mine.npy"]


@pytest.mark.parametrize("kind", ["slice", "sheared", "empty", "no room"])
def test_what_cannot_be_registered_to_is_refused_in_a_sentence(scene, ct, tmp_path, kind):
    folder = tmp_path
    if kind == "slice":
        node = add_xray(scene, make_xray("x", GEOMETRIES["centred"]), pose_near("AP", ct.center)).xray
    elif kind == "empty":
        node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "nothing")
    else:
        node = add_volume(scene, ct)
    if kind == "sheared":
        move(scene, node, np.eye(4) + np.diag([0.3, 0, 0], 1))
    if kind == "no room":
        folder = tmp_path / "file" / "folder"
        folder.parent.touch()
    sentence = {"slice": "one slice", "sheared": "sheared", "empty": "no voxels", "no room": "cannot take"}[kind]
    with pytest.raises(InputError, match=sentence):
        write_volume(node, folder)
    assert [p.name for p in tmp_path.iterdir() if p.suffix == ".npy"] == []


def test_a_training_curve_is_one_chart_for_a_volume_updated_in_place(scene, ct):
    first, second = add_volume(scene, ct), add_volume(scene, ct)
    chart = set_training_curve(scene, first, ROWS[:1])
    count = scene.GetNumberOfNodes()
    assert set_training_curve(scene, first, ROWS) is chart
    assert scene.GetNumberOfNodes() == count
    assert series_of(chart) == {
        "loss": [(0.0, 80.0), (0.5, 20.0), (1.0, 9.0), (1.5, 5.0)],
        "validation error": [(0.5, 25.0), (1.5, 6.5)],
    }
    assert set_training_curve(scene, second, ROWS) is not chart
    assert training_chart_of(second) is not chart


@pytest.mark.parametrize("kind", ["vtkMRMLTableNode", "vtkMRMLPlotSeriesNode", "vtkMRMLPlotChartNode"])
def test_a_deleted_part_of_a_training_curve_is_made_again(scene, ct, kind):
    node = add_volume(scene, ct)
    before = scene.GetNumberOfNodes()
    set_training_curve(scene, node, ROWS)
    scene.RemoveNode(slicer.util.getNodesByClass(kind, scene)[0])
    assert len(series_of(set_training_curve(scene, node, ROWS))) == 2
    if kind == "vtkMRMLTableNode":
        remove_training_curve(scene, node)
        assert scene.GetNumberOfNodes() == before
        assert training_chart_of(node) is None


def series_of(chart):
    """Name of each of a chart's series -> its points."""
    found = {}
    for i in range(chart.GetNumberOfPlotSeriesNodes()):
        series = chart.GetNthPlotSeriesNode(i)
        table = series.GetTableNode().GetTable()
        columns = [table.GetColumnByName(name) for name in (series.GetXColumnName(), series.GetYColumnName())]
        assert all(column.IsA("vtkDoubleArray") for column in columns)
        found[series.GetName()] = [
            tuple(column.GetValue(row) for column in columns) for row in range(table.GetNumberOfRows())
        ]
    return found


@pytest.mark.parametrize("scale", ["intensity", "attenuation"])
def test_a_thumbnail_shows_the_image_as_displayed_with_its_proportions(scene, ct, scale):
    pixels = np.full((80, 150), 3000 if scale == "intensity" else 0, np.uint16)
    pixels[:20, :38] = 3000 - pixels[0, 0]
    xray = Xray("x", pixels, GEOMETRIES["unequal spacing"], scale)
    node = add_xray(scene, xray, pose_near("AP", ct.center)).xray
    node.GetDisplayNode().SetWindowLevelMinMax(0, 3000)
    seen = thumbnail(node)
    assert seen.shape == (45, 48)
    assert seen.dtype == np.uint8
    assert seen[:10, :11].min() >= 254
    assert seen[13:].max() <= 1
    assert thumbnail(node, 200).shape == (188, 200)
    node.GetDisplayNode().SetWindowLevelMinMax(0, 6000)
    dense = 255 if scale == "intensity" else 127
    assert int(thumbnail(node)[:10, :11].mean()) == pytest.approx(dense, abs=1)


def test_a_volume_of_one_value_has_a_thumbnail(scene):
    node = add_volume(scene, Volume(np.full((2, 3, 3), 7.0), np.eye(4)))
    scene.RemoveNode(node.GetDisplayNode())
    assert thumbnail(node).shape == (48, 48)
    assert ijk_to_world(node).shape == (4, 4)
