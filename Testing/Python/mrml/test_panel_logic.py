"""What the panel's buttons do, on a real scene of slicer-core, with a real model of a small phantom."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import slicer.util

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import PoseRange, draw_poses
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.panel import logic
from XVRegistrationLib.registration.model import prepare_model, save_model
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.render import render
from XVRegistrationLib.scene.registration import add_xray, pose_from_node, volume_node_of, xray_nodes_in
from XVRegistrationLib.scene.standalone.app import start
from XVRegistrationLib.scene.volumes import add_volume

CAMERA = Intrinsics.centered(1000.0, (4.0, 5.0), (64, 56))


@pytest.fixture
def scene():
    scene = start().scene
    scene.Clear(0)
    yield scene
    scene.Clear(0)


def _image(scene, name="fluoro", slices=1):
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    pixels = np.random.default_rng(0).random((slices, 56, 64), dtype=np.float32)
    slicer.util.updateVolumeFromArray(node, pixels)
    node.SetSpacing(0.4, 0.5, 1.0)
    return node


def test_every_obstacle_is_a_sentence_and_ready_inputs_have_none(scene, tmp_path):
    xray = _image(scene)
    assert logic.obstacle(None, "") == "Select an X-ray."
    assert logic.obstacle(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "new"), "") == "new has no pixels."
    assert logic.obstacle(_image(scene, "CT", 20), "") == "CT has 20 slices; an X-ray has one."
    assert logic.obstacle(xray, "") == "Choose the folder of the trained model."
    assert logic.obstacle(xray, str(tmp_path / "gone")) == f"There is no folder {tmp_path / 'gone'}."
    assert logic.obstacle(xray, str(tmp_path)) == ""


def test_the_geometry_of_a_plain_image_is_guessed_and_that_of_ours_is_read(scene):
    plain = _image(scene)
    assert logic.stored_geometry(plain) is None
    guess = logic.guessed_geometry(plain)
    assert (guess.column_spacing, guess.row_spacing) == (0.4, 0.5)
    mirrored = Intrinsics.centered(1020.0, (0.3, 0.31), (64, 56), mirrored=True)
    ours = add_xray(scene, Xray("AP", np.zeros((56, 64), np.float32), mirrored, "attenuation"), np.eye(4)).xray
    assert logic.stored_geometry(ours) == logic.Geometry(1020.0, 0.3, 0.31, mirrored=True, dense_is_bright=True)
    assert logic.stored_geometry(None) is None


def test_an_image_becomes_an_xray_with_the_geometry_that_the_user_gave(scene):
    node = _image(scene)
    xray = logic.xray_of(node, logic.Geometry(1020.0, 0.3, 0.31, mirrored=True, dense_is_bright=False))
    assert xray.intrinsics == Intrinsics.centered(1020.0, (0.3, 0.31), (64, 56), mirrored=True)
    assert (xray.name, xray.scale, xray.origins["sdd"]) == ("fluoro", "intensity", "user")
    np.testing.assert_array_equal(xray.pixels, slicer.util.arrayFromVolume(node)[0])
    with pytest.raises(InputError, match="fluoro has no valid X-ray geometry"):
        logic.xray_of(node)
    with pytest.raises(InputError, match="CT has 3 slices"):
        logic.xray_of(_image(scene, "CT", 3), logic.guessed_geometry(node))


def test_the_geometry_on_the_node_wins_over_what_the_panel_shows(scene):
    ours = add_xray(scene, Xray("AP", np.zeros((56, 64), np.float32), CAMERA, "attenuation"), np.eye(4)).xray
    assert logic.xray_of(ours, logic.guessed_geometry(ours)).intrinsics == CAMERA


@pytest.fixture(scope="module")
def phantom():
    """Three ellipsoids of bone in a body of water, mm and HU; no symmetry."""
    z, y, x = np.mgrid[-40:40, -48:48, -48:48].astype(np.float32) * 2.0
    array = np.full(x.shape, -1000.0, np.float32)
    array[(x / 80) ** 2 + (y / 60) ** 2 + (z / 70) ** 2 < 1] = 0.0
    for cx, cy, cz, r, hu in (
        (-35, 10, 25, 18, 900),
        (30, -15, -20, 24, 700),
        (5, 20, -40, 14, 1200),
        (40, 25, 30, 10, 1000),
    ):
        array[((x - cx) / r) ** 2 + ((y - cy) / r) ** 2 + ((z - cz) / (1.4 * r)) ** 2 < 1] = hu
    ijk_to_ras = np.diag([2.0, 2.0, 2.0, 1.0])
    ijk_to_ras[:3, 3] = -96.0, -96.0, -80.0
    return Volume(array, ijk_to_ras, name="phantom")


def test_a_node_is_registered_shown_and_moved_when_registered_again(scene, phantom, tmp_path):
    model = prepare_model(phantom, CAMERA, pose_range=PoseRange((10.0, 10.0, 10.0), (15.0, 15.0, 15.0)))
    save_model(tmp_path / "model", model)
    volume_node = add_volume(scene, phantom)
    true_pose = draw_poses(model.view, model.pose_range, 1, np.random.default_rng(3))[0]
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "fluoro")
    line_integrals = render(density_grid(phantom), true_pose[None], CAMERA)[0].numpy()
    slicer.util.updateVolumeFromArray(node, np.exp(-line_integrals)[None].astype(np.float32))
    geometry = logic.Geometry(CAMERA.sdd, *CAMERA.spacing, CAMERA.mirrored, dense_is_bright=False)

    steps: list[str] = []
    found, nodes = logic.register_node(
        node, tmp_path / "model", volume_node, geometry=geometry, name="AP", progress=steps.append
    )
    assert steps == ["Loading the model...", "Registering AP..."]
    assert np.linalg.norm((found.pose - true_pose)[:3, 3]) < 10.0
    assert np.allclose(found.pose[:3, :3], true_pose[:3, :3], atol=0.02)
    np.testing.assert_allclose(pose_from_node(nodes.xray), found.pose, atol=1e-9)
    assert volume_node_of(nodes.xray) is volume_node
    assert (nodes.name, node.GetName(), node.GetParentTransformNode()) == ("AP", "fluoro", None)

    pushed = np.eye(4)
    pushed[:3, 3] = 0.0, 0.0, 100.0
    nodes.pose.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(pushed))
    again, same = logic.register_node(nodes.xray, tmp_path / "model", volume_node)
    assert [n.name for n in xray_nodes_in(scene)] == ["AP"]
    assert same.xray is nodes.xray
    np.testing.assert_allclose(pose_from_node(nodes.xray), again.pose, atol=1e-9)
    np.testing.assert_allclose(again.pose, found.pose, atol=1e-3)
