"""X-rays in the scene: pending and at their poses, read back, and removed in any order."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import slicer
import slicer.util

from Testing.Python.mrml.phantom import GEOMETRIES, make_xray, pose_near, registered
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.scene.attributes import read_known, read_missing, read_origins, read_scale
from XVRegistrationLib.scene.landmarks import make_marks
from XVRegistrationLib.scene.overlays import add_targets, project_through_nodes, set_drr, set_reprojected_labels
from XVRegistrationLib.scene.picks import make_pick
from XVRegistrationLib.scene.removal import remove_leftovers, remove_xray
from XVRegistrationLib.scene.results import forget_registration, read_registration, write_registration
from XVRegistrationLib.scene.standalone.app import start
from XVRegistrationLib.scene.transforms import ijk_to_world
from XVRegistrationLib.scene.volumes import add_volume
from XVRegistrationLib.scene.xrays import (
    OVERLAYS,
    add_pending_xray,
    add_xray,
    all_xrays_in,
    complete_xray,
    intrinsics_from_node,
    name_of,
    nodes_of,
    pose_from_node,
    set_pose,
    volume_node_of,
    xray_from_node,
    xray_nodes_in,
)

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


KNOWN = {"spacing": [0.31, 0.29], "mirrored": True, "primary_angle": -12.5, "sod": 713.25, "sdd": None}
RESULT = {
    "pose": np.eye(4),
    "similarity": np.float64(0.973),
    "winner": 'bank; 100 % of "starts": ü',
    "starts": [{"kind": "bank", "cost": 0.1}],
}


def make_pending(scene, missing=("sdd",), **changes):
    pixels = make_xray("x", GEOMETRIES["centred"]).pixels
    return add_pending_xray(
        scene, "frontal", pixels, {**KNOWN, **changes}, {"spacing": "tag"}, list(missing), "intensity"
    )


def test_a_pending_xray_is_listed_with_what_is_known_and_missing_but_has_no_pose(scene):
    node = make_pending(scene)
    assert all_xrays_in(scene) == [node]
    assert xray_nodes_in(scene) == []
    assert nodes_of(node) is None
    known = {"spacing": (0.31, 0.29), "mirrored": True, "primary_angle": -12.5, "sod": 713.25, "size": (120, 100)}
    assert read_known(node) == known
    assert read_missing(node) == ["sdd"]
    assert read_origins(node) == {"spacing": "tag"}
    assert name_of(node) == "frontal"
    with pytest.raises(InputError, match="enter its geometry"):
        intrinsics_from_node(node)
    assert np.allclose(node.GetSpacing()[:2], (0.31, 0.29))


def test_a_pending_xray_is_completed_in_its_own_node_and_keeps_its_header(scene, ct):
    node = make_pending(scene)
    pose, intrinsics = pose_near("PA", ct.center), GEOMETRIES["centred"]
    nodes = complete_xray(scene, node, intrinsics, {"sdd": "user"}, pose, scale="attenuation")
    assert nodes.xray is node
    assert [n.xray for n in xray_nodes_in(scene)] == all_xrays_in(scene) == [node]
    assert (intrinsics_from_node(node), read_missing(node), read_scale(node)) == (intrinsics, [], "attenuation")
    assert read_known(node)["primary_angle"] == -12.5
    assert read_origins(node) == {"spacing": "tag", "sdd": "user"}
    assert np.abs(project_through_nodes(node, ct.center) - project(ct.center, pose, intrinsics)).max() < 0.01
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    for part in (nodes.pose, nodes.frustum, node):
        assert tree.GetItemParent(tree.GetItemByDataNode(part)) == nodes.folder


def test_a_geometry_that_does_not_fit_the_pixels_is_refused_and_nothing_changes(scene, ct):
    node = make_pending(scene)
    before = scene.GetNumberOfNodes()
    with pytest.raises(InputError, match="but the geometry is for"):
        complete_xray(scene, node, GEOMETRIES["mirrored"], {}, pose_near("AP", ct.center))
    assert scene.GetNumberOfNodes() == before
    assert read_missing(node) == ["sdd"]


def test_a_corrected_geometry_moves_frustum_and_image_and_drops_what_was_drawn(scene, ct):
    nodes = dressed(scene, ct)
    frustum, pose = nodes.frustum, nodes.pose
    corrected = dataclasses.replace(GEOMETRIES["centred"], sdd=1111.0)
    again = complete_xray(scene, nodes.xray, corrected, {}, pose_near("AP", ct.center))
    assert (again.frustum, again.pose) == (frustum, pose)
    assert slicer.util.arrayFromModelPoints(frustum)[1:, 2] == pytest.approx(1111.0)
    assert ijk_to_world(nodes.xray)[:3, 3] == pytest.approx(
        transform_points(pose_from_node(pose), slicer.util.arrayFromModelPoints(frustum)[1] + [1.5, 1.5, 0]), abs=1e-4
    )
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode", scene)


def test_the_pose_is_set_in_the_world_also_under_another_transform(scene, ct):
    nodes = add_xray(scene, make_xray("x", GEOMETRIES["centred"]), pose_near("AP", ct.center))
    table = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "table")
    table.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(pose_near("RLAT", [10.0, 20, 30])))
    nodes.pose.SetAndObserveTransformNodeID(table.GetID())
    set_pose(nodes, pose_near("PA", ct.center))
    assert np.abs(pose_from_node(nodes.xray) - pose_near("PA", ct.center)).max() < 1e-9


def test_a_result_is_kept_as_it_is_until_forgotten_and_moves_the_xray_to_its_volume(scene, ct):
    first, second = add_volume(scene, ct), add_volume(scene, ct)
    node = add_xray(scene, make_xray("x", GEOMETRIES["centred"]), pose_near("AP", ct.center), volume_node=first).xray
    assert read_registration(node) is None
    write_registration(node, RESULT, second)
    assert read_registration(node) == {**RESULT, "pose": np.eye(4).tolist(), "similarity": 0.973}
    assert volume_node_of(node) is second
    assert (all_xrays_in(scene, first), all_xrays_in(scene, second)) == ([], [node])
    forget_registration(node)
    assert read_registration(node) is None


def dressed(scene, ct, name="x"):
    """An X-ray with everything that is drawn on it."""
    geometry = GEOMETRIES["centred"]
    nodes = add_xray(scene, make_xray(name, geometry), pose_near("AP", ct.center))
    mask = np.zeros(geometry.size[::-1], bool)
    mask[5:40, 10:50] = True
    set_reprojected_labels(scene, nodes, [("spine", (1.0, 0.5, 0.0), mask)])
    shared = next(
        (n for n in slicer.util.getNodesByClass("vtkMRMLMarkupsFiducialNode", scene) if n.GetName() == "Targets"), None
    )
    write_registration(nodes.xray, registered(nodes, ct.center).to_dict())
    add_targets(scene, nodes, ["t"], ct.center, targets_node=shared)
    set_drr(scene, nodes, np.random.default_rng(0).random((50, 60), np.float32))
    make_marks(scene, nodes)
    make_pick(scene, nodes, (5.0, 5.0))
    return nodes


def parts(nodes):
    drawn = [nodes.xray.GetNodeReference(f"XVRegistration.{part}") for part in OVERLAYS]
    return [nodes.xray, nodes.pose, nodes.frustum, *drawn]


def test_removing_an_xray_removes_all_of_it_and_nothing_else(scene, ct):
    add_volume(scene, ct)
    other = dressed(scene, ct, "other")
    ids, items = ids_of(scene), items_of(scene)
    nodes = dressed(scene, ct)
    remove_xray(scene, nodes)
    assert ids_of(scene) == ids
    assert items_of(scene) == items
    assert [n.xray for n in xray_nodes_in(scene)] == [other.xray]
    assert None not in parts(other)


def test_a_pending_xray_is_removed_by_its_node(scene):
    ids, items = ids_of(scene), items_of(scene)
    remove_xray(scene, make_pending(scene))
    assert (ids_of(scene), items_of(scene)) == (ids, items)


def test_a_folder_with_something_of_the_user_stays(scene, ct):
    nodes = dressed(scene, ct)
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    tree.CreateItem(nodes.folder, add_volume(scene, ct))
    tree.SetItemParent(tree.GetItemByDataNode(slicer.util.getNode("phantom")), nodes.folder)
    remove_xray(scene, nodes)
    assert tree.GetItemName(nodes.folder) == "x"
    assert slicer.util.getNode("phantom").GetScene() is scene


@pytest.mark.parametrize("part", ["xray", "pose", "frustum", *OVERLAYS])
@pytest.mark.parametrize("display", [False, True])
def test_whatever_node_is_deleted_nothing_raises_and_the_rest_can_be_used(scene, ct, part, display):
    ids = ids_of(scene)
    nodes = dressed(scene, ct)
    index = ["xray", "pose", "frustum", *OVERLAYS].index(part)
    gone = parts(nodes)[index]
    if display and part != "pose":
        gone = gone.GetDisplayNode()
    targets = slicer.util.getNode("Targets")
    scene.RemoveNode(gone)
    placed = xray_nodes_in(scene)
    image_stays, pose_stays = (display or part != "xray"), part != "pose"
    assert len(all_xrays_in(scene)) == image_stays
    assert len(placed) == (image_stays and pose_stays)
    assert (read_registration(nodes.xray) is not None) == (image_stays and pose_stays)
    for n in [nodes, *placed]:
        set_pose(n, pose_near("PA", ct.center))
        assert (set_drr(scene, n, np.ones((50, 60), np.float32)) is not None) == bool(placed)
        mask = np.ones(GEOMETRIES["centred"].size[::-1], bool)
        assert (set_reprojected_labels(scene, n, [("rib", (0, 0, 1), mask)]) is not None) == bool(placed)
        assert (make_marks(scene, n) is not None) == bool(placed)
        if placed:
            make_pick(scene, n, (5.0, 5.0))
            write_registration(n.xray, registered(n, ct.center).to_dict())
        add_targets(scene, n, ["t"], ct.center, targets_node=targets)
    if placed:
        assert all(part is not None and part.GetScene() is scene for part in parts(placed[0]))
        assert placed[0].frustum.GetParentTransformNode() is nodes.pose
    if image_stays:
        again = complete_xray(scene, nodes.xray, GEOMETRIES["centred"], {}, pose_near("RLAT", ct.center))
        assert again.frustum.GetParentTransformNode() is again.pose
        assert np.abs(pose_from_node(again.xray) - pose_near("RLAT", ct.center)).max() < 1e-9
        remove_xray(scene, again)
    remove_xray(scene, nodes)
    scene.RemoveNode(targets.GetDisplayNode())
    scene.RemoveNode(targets)
    assert xray_nodes_in(scene) == []
    remove_leftovers(scene)
    assert ids_of(scene) == ids


def test_leftovers_of_an_xray_whose_image_is_gone_are_removed_and_others_stay(scene, ct):
    nodes, other = dressed(scene, ct), dressed(scene, ct, "other")
    left = parts(nodes)[1:]
    scene.RemoveNode(nodes.xray)
    remove_leftovers(scene)
    assert not any(part.GetScene() for part in left)
    assert all(part.GetScene() is scene for part in parts(other))


def test_a_clone_of_an_xray_does_not_take_the_originals_nodes_with_it(scene, ct):
    nodes = dressed(scene, ct)
    clone = slicer.modules.volumes.logic().CloneVolume(scene, nodes.xray, "clone")
    remove_xray(scene, clone)
    assert [n.xray for n in xray_nodes_in(scene)] == [nodes.xray]
    assert all(part.GetScene() is scene for part in parts(nodes))


def test_a_cleared_scene_has_no_xrays_and_takes_new_ones(scene, ct):
    nodes = dressed(scene, ct)
    scene.Clear(0)
    assert (all_xrays_in(scene), xray_nodes_in(scene), nodes_of(nodes.xray)) == ([], [], None)
    assert set_drr(scene, nodes, np.ones((50, 60), np.float32)) is None
    assert dressed(scene, ct).name == "x"


def ids_of(scene):
    nodes = [scene.GetNthNode(i) for i in range(scene.GetNumberOfNodes())]
    # Slicer makes these two when they are first needed.
    kinds = ("vtkMRMLSubjectHierarchyNode", "vtkMRMLColorTableNode", "vtkMRMLInteractionNode", "vtkMRMLSelectionNode")
    return {n.GetID() for n in nodes if n.GetClassName() not in kinds}


def items_of(scene):
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    return tree.GetNumberOfItemChildren(tree.GetSceneItemID(), True)
