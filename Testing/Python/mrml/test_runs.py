"""Runs in the scene: frames that are played with their own poses, changed, saved, read back and removed."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
import slicer
import slicer.util
from vtk.util.numpy_support import vtk_to_numpy

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.angles import pose_from_angles
from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.geometry.frustum import frustum
from XVRegistrationLib.imaging.partial import PartialXray
from XVRegistrationLib.scene.attributes import read_known, write_known
from XVRegistrationLib.scene.bundle import load_mrb, save_mrb
from XVRegistrationLib.scene.overlays import project_through_nodes
from XVRegistrationLib.scene.placing import is_first_placed, place, place_again
from XVRegistrationLib.scene.removal import remove_xray
from XVRegistrationLib.scene.runs import (
    add_frames,
    add_run,
    frame_nodes,
    frame_of,
    item_of,
    poses_of,
    run_of,
    show_item,
)
from XVRegistrationLib.scene.xrays import (
    all_xrays_in,
    intrinsics_from_node,
    mask_of,
    name_of,
    nodes_of,
    pose_from_node,
    set_mask,
    set_pose,
    xray_from_node,
)

COUNT = 4
CENTER = np.array([12.0, -30.0, 55.0])
POINTS = CENTER + np.random.default_rng(0).uniform(-60, 60, (30, 3))


def frames(first: int = 0, **changes) -> list[PartialXray]:
    """Frames of a rotation, each of its own grey values."""
    known = {"sdd": 1020.0, "spacing": (1.5, 1.7), "sod": 700.0, **changes}
    return [
        PartialXray(
            "run",
            np.random.default_rng(i).integers(0, 4000, (40, 50)).astype(np.uint16),
            "intensity",
            "",
            True,
            primary_angle=7.5 * i,
            secondary_angle=-3.0,
            frame=first + i,
            frames=COUNT,
            origins={"sdd": "tag", "spacing": "tag"},
            **known,
        )
        for i in range(COUNT)
    ]


def test_what_a_shutter_covers_on_any_frame_counts_on_none(scene):
    """One mask serves all frames of a run."""
    run = frames()
    masks = [np.ones((40, 50), bool) for _ in run]
    masks[0][:7], masks[2][:, 40:] = False, False
    shut = [dataclasses.replace(x, mask=mask) for x, mask in zip(run, masks, strict=True)]
    assert np.array_equal(mask_of(add_frames(scene, shut, "shut")), masks[0] & masks[2])
    assert mask_of(add_frames(scene, run, "open")) is None
    opposite = [dataclasses.replace(x, mask=np.arange(50) % 2 == i % 2 * np.ones((40, 1))) for i, x in enumerate(run)]
    assert np.array_equal(mask_of(add_frames(scene, opposite, "opposite")), opposite[0].mask)


def by_angles(node):
    """Where a frame belongs by its angles."""
    known = read_known(node)
    return pose_from_angles(known["primary_angle"], known["secondary_angle"], known["sod"], CENTER), "header"


@pytest.fixture
def run(scene):
    node = add_run(scene, frames())
    place(scene, node, by_angles)
    return node


def test_each_frame_is_shown_with_its_own_pixels_and_pose(run):
    intrinsics = Intrinsics.centered(1020.0, (1.5, 1.7), (50, 40), mirrored=True)
    for item in (2, 0, 3, 1):
        show_item(run, item)
        assert (item_of(run), frame_of(run)) == (item, item)
        assert np.array_equal(slicer.util.arrayFromVolume(run)[0], frames()[item].pixels)
        assert intrinsics_from_node(run) == intrinsics
        pose = pose_from_angles(7.5 * item, -3.0, 700.0, CENTER)
        assert np.abs(pose_from_node(run) - pose).max() < 1e-9
        seen = project_through_nodes(run, POINTS)
        assert np.abs(seen - project(POINTS, pose, intrinsics)).max() < 0.01
        assert is_first_placed(run)
    assert nodes_of(run).frustum.GetParentTransformNode() is nodes_of(run).pose


def test_there_is_one_xray_and_nothing_of_slicers_own_beside_it(scene):
    before = {n.GetID() for n in slicer.util.getNodesByClass("vtkMRMLTransformableNode", scene)}
    run = add_run(scene, frames())
    place(scene, run, by_angles)
    assert all_xrays_in(scene) == [run]
    added = [n for n in slicer.util.getNodesByClass("vtkMRMLTransformableNode", scene) if n.GetID() not in before]
    assert sorted(n.GetName() for n in added) == ["C-arm frustum (run)", "C-arm pose (run)", "X-ray (run)"]


def test_what_is_changed_on_a_frame_stays_with_it(run):
    show_item(run, 1)
    moved = pose_from_node(run).copy()
    moved[:3, 3] += [3.0, -2.0, 5.0]
    set_pose(nodes_of(run), moved)
    run.SetAttribute("XVRegistration.Registration", '{"similarity": 0.9}')
    show_item(run, 2)
    assert run.GetAttribute("XVRegistration.Registration") is None
    assert is_first_placed(run)
    show_item(run, 1)
    assert run.GetAttribute("XVRegistration.Registration") == '{"similarity": 0.9}'
    assert np.abs(pose_from_node(run) - moved).max() < 1e-9
    assert not is_first_placed(run)
    place_again(run, lambda node: (pose_from_angles(90.0, 0.0, 700.0, CENTER), "preset"))
    assert np.abs(pose_from_node(run) - moved).max() < 1e-9
    assert np.allclose(poses_of(run)[3], pose_from_angles(90.0, 0.0, 700.0, CENTER))


def test_a_run_without_geometry_gets_that_of_all_frames_at_once(scene):
    node = add_run(scene, frames(sdd=None))
    assert nodes_of(node) is None
    show_item(node, 3)
    assert np.array_equal(slicer.util.arrayFromVolume(node)[0], frames()[3].pixels)
    for frame in frame_nodes(node):
        frame.SetAttribute("XVRegistration.SDD", "990.0")
        frame.SetAttribute("XVRegistration.Missing", None)
    place(scene, node, by_angles)
    for item in range(COUNT):
        show_item(node, item)
        assert intrinsics_from_node(node).sdd == 990.0
        assert np.abs(pose_from_node(node) - by_angles(node)[0]).max() < 1e-9


def test_frames_of_different_distances_keep_them(scene):
    parts = frames()
    parts[2] = dataclasses.replace(parts[2], sdd=1100.0)
    node = add_run(scene, parts)
    place(scene, node, by_angles)
    found = []
    for item in range(COUNT):
        show_item(node, item)
        found.append(intrinsics_from_node(node).sdd)
        assert np.abs(project_through_nodes(node, POINTS) - project(POINTS, *_camera(node))).max() < 0.01
    assert found == [1020.0, 1020.0, 1100.0, 1020.0]


def test_the_frustum_is_that_of_the_frame_which_is_shown(scene, tmp_path):
    parts = frames()
    parts[2] = dataclasses.replace(parts[2], sdd=1100.0)
    parts[3] = dataclasses.replace(parts[3], spacing=(1.0, 1.2))
    node = add_run(scene, parts)
    place(scene, node, by_angles)
    seen = nodes_of(node).frustum
    color = seen.GetDisplayNode().GetColor()

    def drawn_as_stated(node):
        for item in (2, 0, 3, 1, 2):
            run_of(node).browser.SetSelectedItemNumber(item)  # as Slicer's own controls do
            nodes = nodes_of(node)
            points = vtk_to_numpy(nodes.frustum.GetPolyData().GetPoints().GetData())
            assert np.abs(points - frustum(intrinsics_from_node(node)).points).max() < 1e-3
            assert nodes.frustum.GetParentTransformNode() is nodes.pose
            assert nodes.frustum.GetName() == "C-arm frustum (run)"
            assert nodes.frustum.GetDisplayNode().GetColor() == color
            assert nodes.frustum.GetDisplayNode().GetVisibility2D() == 0
        models = slicer.util.getNodesByClass("vtkMRMLModelNode", scene)
        assert sum("frust" in model.GetName().lower() for model in models) == 1

    drawn_as_stated(node)
    assert nodes_of(node).frustum is seen
    scene.RemoveNode(seen)
    drawn_as_stated(node)
    load_mrb(scene, save_mrb(scene, tmp_path / "run.mrb"))
    [node] = all_xrays_in(scene)
    drawn_as_stated(node)
    for frame in frame_nodes(node):  # what the user enters for all of them
        write_known(frame, {"sdd": 900.0, "spacing": (2.0, 2.0)}, {"sdd": "user"}, [], "intensity")
    place(scene, node, by_angles)
    assert node.GetNodeReference("XVRegistration.Frusta") is None
    drawn_as_stated(node)
    remove_xray(scene, node)
    left = [scene.GetNthNode(i).GetName() or "" for i in range(scene.GetNumberOfNodes())]
    assert not [name for name in left if "rust" in name]


def test_a_run_whose_frames_are_alike_has_one_frustum_and_no_more(run):
    assert run.GetNodeReference("XVRegistration.Frusta") is None
    assert run_of(run).browser.GetNumberOfSynchronizedSequenceNodes(True) == 2


def _camera(node):
    return pose_from_node(node), intrinsics_from_node(node)


def test_a_run_is_in_the_bundle_with_every_frames_pose_and_is_removed_whole(scene, run, tmp_path):
    show_item(run, 1)
    run.SetAttribute("XVRegistration.Registration", "{}")
    mask = np.ones((40, 50), bool)
    mask[:7] = False
    set_mask(scene, run, mask)
    expected = poses_of(run)
    load_mrb(scene, save_mrb(scene, tmp_path / "run.mrb"))
    [node] = all_xrays_in(scene)
    for item in (3, 1, 0, 2):
        show_item(node, item)
        assert np.abs(pose_from_node(node) - expected[item]).max() < 1e-9
        assert np.array_equal(xray_from_node(node).pixels, frames()[item].pixels)
        assert np.array_equal(mask_of(node), mask)
        assert np.array_equal(xray_from_node(node).mask, mask)
        assert read_known(node)["primary_angle"] == 7.5 * item
        assert node.GetAttribute("XVRegistration.Registration") == ("{}" if item == 1 else None)
    before = {scene.GetNthNode(i).GetName() for i in range(scene.GetNumberOfNodes())}
    assert any("(run)" in name for name in before if name)
    remove_xray(scene, node)
    left = [scene.GetNthNode(i).GetName() or "" for i in range(scene.GetNumberOfNodes())]
    assert not [name for name in left if "(run)" in name]


@pytest.mark.parametrize(
    ("name", "kept"),
    [("LAO 30: a/b [2]", "LAO 30_ a_b _2_"), ("50 % & <ä>", "50 _ _ _ä_"), ('"x;y?*|\\', "_x_y____"), ("..", "X-ray")],
)
def test_a_run_comes_back_from_a_bundle_whatever_it_is_called(scene, tmp_path, name, kept):
    node = add_run(scene, frames(), name=name)
    place(scene, node, by_angles)
    load_mrb(scene, save_mrb(scene, tmp_path / "run.mrb"))
    [node] = all_xrays_in(scene)
    show_item(node, 2)
    assert name_of(node) == kept
    assert np.array_equal(xray_from_node(node).pixels, frames()[2].pixels)


def frame_is_whole(node, item):
    """Whether pixels, pose and attributes are those of one frame."""
    return (
        frame_of(node) == item
        and np.array_equal(slicer.util.arrayFromVolume(node)[0], frames()[item].pixels)
        and np.abs(pose_from_node(node) - pose_from_angles(7.5 * item, -3.0, 700.0, CENTER)).max() < 1e-9
        and read_known(node)["primary_angle"] == 7.5 * item
    )


def test_slicers_controls_choose_the_frame(run):
    browser = run_of(run).browser
    chosen = []
    for choose, expected in (
        (lambda: browser.SetSelectedItemNumber(2), 2),
        (lambda: browser.SetSelectedItemByIndexValue("3"), 3),
        (browser.SelectFirstItem, 0),
        (lambda: browser.SelectNextItem(1), 1),
        (lambda: browser.SelectNextItem(-1), 0),
        (browser.SelectLastItem, 3),
    ):
        choose()
        assert frame_is_whole(run, expected)
        chosen.append(item_of(run))
    assert chosen == [2, 3, 0, 1, 0, 3]
    assert browser.GetFormattedIndexValue(2) == "2"


def test_a_run_that_plays_goes_through_its_frames_and_changes_none(run):
    """As Slicer's toolbar does: a timer has the logic of Sequences show what is due."""
    browser, logic = run_of(run).browser, slicer.modules.sequences.logic()
    before = poses_of(run)
    browser.SetPlaybackItemSkippingEnabled(False)
    browser.SetPlaybackRateFps(200.0)
    browser.SetPlaybackActive(True)
    seen = []
    while not {*range(COUNT)} <= {*seen} and len(seen) < 1000:
        time.sleep(0.006)
        logic.UpdateAllProxyNodes()
        assert frame_is_whole(run, item_of(run))
        seen.append(item_of(run))
    assert {*seen} == {*range(COUNT)}
    browser.SetPlaybackActive(False)
    stands = item_of(run)
    time.sleep(0.02)
    logic.UpdateAllProxyNodes()
    assert item_of(run) == stands
    assert np.array_equal(poses_of(run), before)


def test_two_planes_are_played_together_and_one_can_be_removed(scene):
    first = add_run(scene, frames(), name="A")
    second = add_run(scene, frames(), name="B", partner=first)
    for node in (first, second):
        place(scene, node, by_angles)
    assert run_of(first).browser is run_of(second).browser
    show_item(first, 3)
    assert (item_of(second), frame_of(second)) == (3, 3)
    remove_xray(scene, first)
    show_item(second, 2)
    assert all_xrays_in(scene) == [second]
    assert np.array_equal(slicer.util.arrayFromVolume(second)[0], frames()[2].pixels)


def test_an_item_that_is_not_there_and_frames_of_several_sizes_are_refused(scene, run):
    with pytest.raises(InputError, match="has 4 frames, of which 4 is none"):
        show_item(run, 4)
    parts = frames()
    parts[1] = dataclasses.replace(parts[1], pixels=parts[1].pixels[:10])
    with pytest.raises(InputError, match="different sizes"):
        add_run(scene, parts)
