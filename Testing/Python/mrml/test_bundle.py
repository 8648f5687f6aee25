"""Scenes saved to one file and opened again, in another process and without graphics."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import slicer
import slicer.util

from Testing.Python.mrml.phantom import GEOMETRIES, make_xray, pose_near
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.scene.attributes import read_known, read_missing, read_origins
from XVRegistrationLib.scene.bundle import load_mrb, save_mrb
from XVRegistrationLib.scene.overlays import add_targets, set_drr, set_reprojected_labels, set_targets
from XVRegistrationLib.scene.patients import recall, remember
from XVRegistrationLib.scene.plots import set_training_curve, training_chart_of
from XVRegistrationLib.scene.removal import remove_xray
from XVRegistrationLib.scene.results import read_registration, write_registration
from XVRegistrationLib.scene.volumes import add_segmentation, add_volume, volume_from_node
from XVRegistrationLib.scene.xray_view import show_in_view
from XVRegistrationLib.scene.xrays import (
    add_pending_xray,
    add_xray,
    all_xrays_in,
    intrinsics_from_node,
    pose_from_node,
    volume_node_of,
    xray_from_node,
    xray_nodes_in,
)

ROOT = Path(__file__).resolve().parents[3]

# What another process, which cannot draw, finds in a bundle.
_READER = """
import json, sys
from XVRegistrationLib.scene.bundle import load_mrb
from XVRegistrationLib.scene.xrays import intrinsics_from_node, pose_from_node, volume_node_of, xray_nodes_in
from XVRegistrationLib.scene.standalone.app import start
scene = start().scene
load_mrb(scene, sys.argv[1])
print(json.dumps([
    {"name": n.name, "pose": pose_from_node(n.pose).tolist(), "intrinsics": intrinsics_from_node(n.xray).to_dict(),
     "volume": volume_node_of(n.xray).GetName(), "frustum": n.frustum.GetName()} for n in xray_nodes_in(scene)
]))
"""


@pytest.fixture
def filled(scene, ct, label_map):
    """A scene with everything that this package makes."""
    ct_node = add_volume(scene, ct)
    add_segmentation(scene, label_map, ct_node, show_in_3d=["spine"])
    targets = None
    for name, geometry, view in (
        ("frontal", "mirrored, off-centre, unequal spacing", "PA"),
        ("lateral", "off-centre", "RLAT"),
    ):
        nodes = add_xray(scene, make_xray(name, GEOMETRIES[geometry]), pose_near(view, ct.center), volume_node=ct_node)
        mask = np.zeros(GEOMETRIES[geometry].size[::-1], bool)
        mask[20:30, 40:60] = True
        set_reprojected_labels(scene, nodes, [("spine", (1.0, 0.5, 0.0), mask), ("rib_left_1", (0.0, 0.5, 1.0), mask)])
        targets, _ = add_targets(scene, nodes, ["pedicle"], ct.center, targets_node=targets)
    return scene


def test_a_bundle_brings_back_nodes_poses_references_and_segments(filled, ct, tmp_path):
    before = _content(filled)
    poses = {n.name: pose_from_node(n.pose) for n in xray_nodes_in(filled)}
    pixels = {n.name: xray_from_node(n.xray).pixels for n in xray_nodes_in(filled)}
    path = save_mrb(filled, tmp_path / "result.mrb")
    filled.Clear(0)
    assert xray_nodes_in(filled) == []
    load_mrb(filled, path)
    assert _content(filled) == before
    for nodes in xray_nodes_in(filled):
        # The file holds the inverse, as ITK's do: double precision, but inverted twice.
        assert np.abs(pose_from_node(nodes.pose) - poses[nodes.name]).max() < 1e-11
        assert np.array_equal(xray_from_node(nodes.xray).pixels, pixels[nodes.name])
    found = volume_from_node(slicer.util.getNode("phantom"))
    assert np.array_equal(found.array, ct.array)
    assert np.allclose(found.ijk_to_ras, ct.ijk_to_ras, atol=1e-5)


def test_everything_of_an_xray_and_a_patient_is_in_the_bundle_and_is_still_updated_in_place(filled, ct, tmp_path):
    ct_node, first = slicer.util.getNode("phantom"), xray_nodes_in(filled)[0]
    known, origins = {"spacing": (0.31, 0.29), "primary_angle": -12.5}, {"spacing": "tag"}
    add_pending_xray(filled, "pending", np.eye(9), known, origins, ["sdd", "mirrored"], "intensity", ct_node)
    set_drr(filled, first, np.random.default_rng(0).random((45, 70), np.float32))
    write_registration(first.xray, {"pose": np.eye(4), "winner": 'bank: 100 %; "\u00fc" <&>', "similarity": 0.1})
    set_training_curve(filled, ct_node, [(0.0, 80.0, None), (30.0, 20.0, 25.0), (60.0, 15.0, 18.0)])
    remember(ct_node, "model", "/models/a b;c")
    remember(ct_node, "segmentation", slicer.util.getNode("Segmentation"))
    slice_node = filled.AddNode(slicer.vtkMRMLSliceNode())
    slice_node.SetDimensions(300, 200, 1)
    show_in_view(slice_node, filled.AddNode(slicer.vtkMRMLSliceCompositeNode()), first, 0.5)
    load_mrb(filled, save_mrb(filled, tmp_path / "all.mrb"))

    ct_node, nodes = slicer.util.getNode("phantom"), xray_nodes_in(filled)
    assert [n.name for n in nodes] == ["frontal", "lateral"]
    pending = all_xrays_in(filled, ct_node)[2]
    assert read_missing(pending) == ["sdd", "mirrored"]
    assert read_known(pending) == {**known, "size": (9, 9)}
    assert read_origins(pending) == origins
    expected = {"pose": np.eye(4).tolist(), "winner": 'bank: 100 %; "\u00fc" <&>', "similarity": 0.1}
    assert read_registration(nodes[0].xray) == expected
    assert read_registration(nodes[1].xray) is None
    assert recall(ct_node, "model") == "/models/a b;c"
    assert recall(ct_node, "segmentation").GetName() == "Segmentation"
    series = training_chart_of(ct_node).GetNthPlotSeriesNode(1)
    assert series.GetTableNode().GetTable().GetColumnByName("validation error (mm)").IsA("vtkDoubleArray")
    assert series.GetTableNode().GetTable().GetColumnByName("minutes").GetValue(0) == 0.5

    count = filled.GetNumberOfNodes()
    set_drr(filled, nodes[0], np.ones((45, 70), np.float32))
    mask = np.ones(GEOMETRIES["mirrored, off-centre, unequal spacing"].size[::-1], bool)
    set_reprojected_labels(filled, nodes[0], [("spine", (1.0, 0.5, 0.0), mask)])
    targets = slicer.util.getNode("Targets")
    set_targets(filled, nodes[0], targets)
    set_training_curve(filled, ct_node, [(0.0, 80.0, None)])
    assert filled.GetNumberOfNodes() == count
    for n in [*nodes, pending]:
        remove_xray(filled, n)
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(filled)
    assert not [name for name in ("frontal", "lateral", "pending") if tree.GetItemByName(name)]
    left = {node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLTransformableNode", filled)}
    assert not [name for name in left if name.endswith(("(frontal)", "(lateral)", "(pending)"))]


def test_another_process_without_graphics_reads_the_same_poses(filled, tmp_path):
    path = save_mrb(filled, tmp_path / "result.mrb")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "__EGL_VENDOR_LIBRARY_DIRS": str(tmp_path), "DISPLAY": ""}
    child = subprocess.run(
        [sys.executable, "-c", _READER, str(path)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert child.returncode == 0, child.stderr
    found = json.loads(child.stdout)
    assert [f["name"] for f in found] == ["frontal", "lateral"]
    for f, nodes in zip(found, xray_nodes_in(filled), strict=True):
        assert np.abs(np.array(f["pose"]) - pose_from_node(nodes.pose)).max() < 1e-11
        assert Intrinsics.from_dict(f["intrinsics"]) == intrinsics_from_node(nodes.xray)
        assert (f["volume"], f["frustum"]) == ("phantom", f"C-arm frustum ({nodes.name})")


def test_a_relative_path_is_saved_where_it_points_with_nothing_left_over(filled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert save_mrb(filled, "results/case 1.mrb") == tmp_path / "results" / "case 1.mrb"
    assert [p.name for p in (tmp_path / "results").iterdir()] == ["case 1.mrb"]
    with zipfile.ZipFile(tmp_path / "results" / "case 1.mrb") as bundle:
        assert any(name.endswith("case 1.mrml") for name in bundle.namelist())
    assert len(xray_nodes_in(filled)) == 2


def test_what_is_not_a_bundle_is_refused_and_the_scene_stays(filled, tmp_path):
    broken = tmp_path / "broken.mrb"
    broken.write_bytes(b"not a zip file")
    with pytest.raises(InputError, match="not a Slicer bundle"):
        load_mrb(filled, broken)
    with pytest.raises(InputError, match="does not exist"):
        load_mrb(filled, tmp_path / "absent.mrb")
    with pytest.raises(InputError, match=r"must end in \.mrb"):
        save_mrb(filled, tmp_path / "scene.zip")
    with pytest.raises(InputError, match="not a PNG"):
        save_mrb(filled, tmp_path / "scene.mrb", thumbnail=broken)
    with pytest.raises(InputError, match=r"/proc/nothing cannot be written to \(.*\); choose another folder"):
        save_mrb(filled, "/proc/nothing/scene.mrb")
    assert len(xray_nodes_in(filled)) == 2


def _content(scene):
    """Everything of a scene that must survive: nodes with their parents and references, segments with their colours."""
    classes = (
        "vtkMRMLScalarVolumeNode",
        "vtkMRMLLinearTransformNode",
        "vtkMRMLModelNode",
        "vtkMRMLSegmentationNode",
        "vtkMRMLMarkupsFiducialNode",
    )
    nodes = [node for name in classes for node in slicer.util.getNodesByClass(name, scene)]
    parents = {n.GetName(): n.GetParentTransformNode() and n.GetParentTransformNode().GetName() for n in nodes}
    segments = {
        (n.GetName(), s.GetName()): tuple(np.round(s.GetColor(), 4))
        for n in slicer.util.getNodesByClass("vtkMRMLSegmentationNode", scene)
        for i in range(n.GetSegmentation().GetNumberOfSegments())
        for s in [n.GetSegmentation().GetNthSegment(i)]
    }
    xrays = [
        (n.name, n.frustum.GetName(), volume_node_of(n.xray).GetName(), intrinsics_from_node(n.xray))
        for n in xray_nodes_in(scene)
    ]
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folders = {
        n.GetName(): tree.GetItemName(tree.GetItemParent(tree.GetItemByDataNode(n)))
        for n in nodes
        if tree.GetItemByDataNode(n)
    }
    points = {
        n.GetName(): slicer.util.arrayFromMarkupsControlPoints(n, world=True).round(3).tolist()
        for n in slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode", scene)
    }
    return parents, segments, xrays, folders, points
