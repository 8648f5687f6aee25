"""X-rays that are left out of a scene that is saved for others: no pose of theirs is in it, and the scene stays as it is."""

from __future__ import annotations

import re
import zipfile

import numpy as np
import slicer
import slicer.util

from Testing.Python.mrml.phantom import GEOMETRIES, make_xray, pose_near, registered
from Testing.Python.mrml.scene_state import state_of
from XVRegistrationLib.geometry.angles import pose_from_angles
from XVRegistrationLib.imaging.partial import PartialXray
from XVRegistrationLib.registration.review import Review
from XVRegistrationLib.scene.attributes import read_known
from XVRegistrationLib.scene.bundle import load_mrb, save_mrb
from XVRegistrationLib.scene.export import export_xrays, kept_back
from XVRegistrationLib.scene.overlays import add_targets, set_drr, set_reprojected_labels
from XVRegistrationLib.scene.placing import place
from XVRegistrationLib.scene.results import read_registration, write_registration
from XVRegistrationLib.scene.reviews import write_review
from XVRegistrationLib.scene.runs import add_run, poses_of, show_item
from XVRegistrationLib.scene.volumes import add_volume
from XVRegistrationLib.scene.xrays import add_xray, all_xrays_in, name_of, nodes_of

CAMERA = GEOMETRIES["centred"]


def add(scene, name, ct, view="PA"):
    """An X-ray that is registered, with all that is drawn on it."""
    nodes = add_xray(scene, make_xray(name, CAMERA), pose_near(view, ct.center))
    mask = np.zeros(CAMERA.size[::-1], bool)
    mask[20:30, 40:60] = True
    set_reprojected_labels(scene, nodes, [("spine", (1.0, 0.5, 0.0), mask)])
    add_targets(scene, nodes, ["pedicle"], ct.center)
    set_drr(scene, nodes, make_xray(name, CAMERA).pixels)
    write_registration(nodes.xray, registered(nodes, ct.center).to_dict())
    return nodes.xray


def add_registered_run(scene, center):
    """A run of three frames, each of them registered; the second is shown and the last one rejected."""
    known = {"sdd": 1020.0, "spacing": (1.5, 1.7), "sod": 700.0}
    pixels = np.random.default_rng(0).integers(0, 4000, (3, 40, 50)).astype(np.uint16)
    parts = [
        PartialXray("run", one, "intensity", "", True, primary_angle=7.5 * i, frame=i, frames=3, **known)
        for i, one in enumerate(pixels)
    ]
    node = add_run(scene, parts)
    place(scene, node, lambda f: (pose_from_angles(read_known(f)["primary_angle"], -3.0, 700.0, center), "header"))
    for item in (2, 0, 1):
        show_item(node, item)
        write_registration(node, registered(nodes_of(node), center).to_dict())
        write_review(node, Review("rejected" if item == 2 else "accepted"))
    return node


def said_in(bundle):
    with zipfile.ZipFile(bundle) as opened:
        return b"".join(name.encode() + opened.read(name) for name in opened.namelist())


def test_rejected_and_unregistered_x_rays_are_not_in_the_exported_scene_and_stay_in_this_one(scene, ct, tmp_path):
    add_volume(scene, ct)
    good, tilted = add(scene, "good", ct), add(scene, "tilted", ct, "RLAT")
    unplaced = add_xray(scene, make_xray("unplaced", CAMERA), pose_near("AP", ct.center)).xray
    write_review(tilted, Review("rejected"))
    scene.RegisterNodeClass(slicer.vtkMRMLSceneViewNode())
    view = scene.AddNewNodeByClass("vtkMRMLSceneViewNode", "View")
    view.StoreScene()
    whole = save_mrb(scene, tmp_path / "whole.mrb")  # the first time storage nodes are made
    assert all(name in said_in(whole) for name in (b"(tilted)", b"(unplaced)"))
    before = state_of(scene)
    assert kept_back(scene, [good]) == [tilted, unplaced]
    export_xrays(scene, [good], tmp_path / "out")
    assert state_of(scene) == before
    said = said_in(tmp_path / "out" / "scene.mrb")
    assert [
        name for name in (b"(tilted)", b"(unplaced)") if name in said
    ] == []  # of poses, frusta, images, DRRs, labels
    assert b"C-arm pose (good)" in said
    scene.RemoveNode(view)
    export_xrays(scene, [good], tmp_path / "out")
    load_mrb(scene, tmp_path / "out" / "scene.mrb")
    [node] = all_xrays_in(scene)
    assert name_of(node) == "good"
    assert read_registration(node)["pose"]
    transforms = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLLinearTransformNode")]
    # Slice views, where there are some, have transforms too.
    assert [name for name in transforms if not re.fullmatch(r"\w+ Transform", name)] == ["C-arm pose (good)"]
    assert scene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 1
    assert not [
        entry for entry in state_of(scene) if "tilted" in str(entry[1]) or "unplaced" in str(entry[1])
    ]  # in the tree


def test_an_x_ray_that_is_asked_for_is_in_the_scene_though_it_was_rejected(scene, ct, tmp_path):
    tilted = add(scene, "tilted", ct)
    write_review(tilted, Review("rejected"))
    export_xrays(scene, [tilted], tmp_path / "out")
    load_mrb(scene, tmp_path / "out" / "scene.mrb")
    assert [name_of(node) for node in all_xrays_in(scene)] == ["tilted"]


def test_frames_of_a_run_that_were_rejected_have_no_result_and_no_pose_in_the_exported_scene(scene, ct, tmp_path):
    node = add_registered_run(scene, ct.center)
    poses = poses_of(node)
    save_mrb(scene, tmp_path / "whole.mrb")
    before = state_of(scene)
    export_xrays(scene, [node], tmp_path / "out")
    assert state_of(scene) == before
    assert np.array_equal(poses_of(node), poses)
    load_mrb(scene, tmp_path / "out" / "scene.mrb")
    [node] = all_xrays_in(scene)
    for item, kept in enumerate((True, True, False)):
        show_item(node, item)
        assert (read_registration(node) is not None) == kept
    assert np.abs(np.array(poses_of(node)[:2]) - poses[:2]).max() < 1e-9
    assert np.array_equal(poses_of(node)[2], np.eye(4))
    assert name_of(node) == "run"
