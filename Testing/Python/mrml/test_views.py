"""Views and pictures, drawn offscreen by Slicer's own displayable managers."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import vtk
from slicer.util import arrayFromVTKMatrix
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from Testing.Python.mrml.phantom import GEOMETRIES, make_xray, pose_near
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.scene.bundle import load_mrb, save_mrb
from XVRegistrationLib.scene.standalone.cameras import direction_facing, placement_seeing
from XVRegistrationLib.scene.standalone.graphics import missing_graphics
from XVRegistrationLib.scene.standalone.pictures import picture_3d
from XVRegistrationLib.scene.standalone.views import SliceView, ThreeDView
from XVRegistrationLib.scene.volumes import add_segmentation, add_volume
from XVRegistrationLib.scene.xrays import add_xray, xray_nodes_in


def test_this_machine_can_draw():
    assert missing_graphics() is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="EGL is how Linux draws offscreen")
def test_without_graphics_one_sentence_names_the_packages(monkeypatch, tmp_path):
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_DIRS", str(tmp_path))
    missing_graphics.cache_clear()
    try:
        sentence = missing_graphics()
        assert sentence is not None
        assert "libegl1" in sentence
        assert "libgl1-mesa-dri" in sentence
        with pytest.raises(InputError, match="libegl1"):
            ThreeDView("never")
    finally:
        missing_graphics.cache_clear()


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_an_xray_is_shown_upright_as_stored_whatever_its_pose(scene, ct, geometry):
    nodes = add_xray(scene, make_xray("x", GEOMETRIES[geometry]), pose_near("RLAT", ct.center))
    view = SliceView("XVTest", (240, 180))
    view.show_xray(nodes.xray)
    seen = view.image()[..., 0]
    view.close()
    width, height = (n * s for n, s in zip(GEOMETRIES[geometry].size, GEOMETRIES[geometry].spacing, strict=True))
    scale = min(240 / width, 180 / height)
    left, top = (240 - scale * width) / 2, (180 - scale * height) / 2
    # One point in the middle of each quarter of the image's first quarter and of the opposite corner.
    at = [
        (top + scale * height * v, left + scale * width * u)
        for u, v in ((0.12, 0.12), (0.9, 0.1), (0.1, 0.9), (0.9, 0.9))
    ]
    bright = [int(seen[int(row), int(column)]) for row, column in at]
    assert bright[0] > 250
    assert max(bright[1:]) < 50


def test_a_ct_slice_shows_bone_brighter_than_water_and_air(scene, ct, tmp_path):
    view = SliceView("XVTest", (200, 200))
    view.show_volume(add_volume(scene, ct), "Axial")
    seen = view.image()[..., 0]
    path = view.save_png(tmp_path / "ct.png")
    view.close()
    assert (seen == 255).sum() > 50
    assert (seen == 0).sum() > 1000
    assert ((seen > 40) & (seen < 65)).sum() > 5000
    assert _read_png(path).shape == (200, 200, 3)


def test_a_picture_shows_patient_frusta_and_xrays_and_leaves_the_scene_as_it_was(scene, ct, label_map, tmp_path):
    ct_node = add_volume(scene, ct)
    segmentation = add_segmentation(scene, label_map, ct_node, {3: (0.0, 1.0, 0.0), 7: (1.0, 0.0, 0.0)})
    nodes = [
        add_xray(scene, make_xray(view, GEOMETRIES["mirrored"]), pose_near(view, ct.center), volume_node=ct_node)
        for view in ("AP", "LLAT")
    ]
    other = add_xray(scene, make_xray("other", GEOMETRIES["centred"]), pose_near("PA", ct.center))
    before = scene.GetNumberOfNodes()
    path = picture_3d(
        scene,
        tmp_path / "all.png",
        xray_nodes=nodes,
        segmentation_node=segmentation,
        segments=["spine"],
        size=(600, 450),
    )
    seen = _read_png(path).astype(int)
    red, green, blue = np.moveaxis(seen, -1, 0)
    assert seen.shape == (450, 600, 3)
    assert ((green > 1.8 * red) & (green > 1.8 * blue)).sum() > 300, "the spine is missing"
    assert ((red > 1.8 * green) & (red > 1.8 * blue)).sum() < 20, "the rib was not asked for"
    for nodes_of_one in nodes:
        color = np.round(255 * np.array(nodes_of_one.frustum.GetDisplayNode().GetColor()))
        assert (np.abs(seen - color).max(axis=-1) < 30).sum() > 200, "a frustum is missing"
    # The bright corner of both X-rays is nearly white, and the rest of them dark.
    assert (seen.min(axis=-1) > 215).sum() > 500
    assert (seen.max(axis=-1) < 70).sum() > 5000
    hidden = np.round(255 * np.array(other.frustum.GetDisplayNode().GetColor()))
    assert (np.abs(seen - hidden).max(axis=-1) < 30).sum() < 20, "the other X-ray was not asked for"
    assert other.frustum.GetDisplayNode().GetVisibility()
    assert scene.GetNumberOfNodes() == before


def test_without_labels_the_bones_are_drawn_from_the_ct(scene, ct, tmp_path):
    ct_node = add_volume(scene, ct)
    pictures = [
        _read_png(picture_3d(scene, tmp_path / f"{i}.png", xray_nodes=nodes, ct_node=ct_node, size=(300, 225))).astype(
            int
        )
        for i, nodes in enumerate(
            [[], [add_xray(scene, make_xray("x", GEOMETRIES["centred"]), pose_near("AP", ct.center))]]
        )
    ]
    bone = [((p[..., 0] > p[..., 2] + 15) & (p[..., 0] > 120)).sum() for p in pictures]
    assert bone[0] > 500
    assert bone[1] > 100
    assert scene.GetNumberOfNodesByClass("vtkMRMLVolumeRenderingDisplayNode") == 0


def test_views_can_be_closed_and_opened_again_also_on_a_scene_from_a_file(scene, ct, tmp_path):
    node = add_xray(scene, make_xray("x", GEOMETRIES["centred"]), pose_near("AP", ct.center)).xray
    slice_view, view = SliceView("XVTest", (240, 200)), ThreeDView("XVTest", (240, 200))
    slice_view.show_xray(node)
    view.renderer.ResetCamera()
    first = slice_view.image(), view.image()
    for one in (slice_view, view):
        one.close()
    load_mrb(scene, save_mrb(scene, tmp_path / "x.mrb", thumbnail=_write_png(tmp_path / "x.png", first[0])))
    slice_view, view = SliceView("XVTest", (240, 200)), ThreeDView("XVTest", (240, 200))
    slice_view.show_xray(xray_nodes_in(scene)[0].xray)
    view.renderer.ResetCamera()
    again = slice_view.image(), view.image()
    for one in (slice_view, view):
        one.close()
    for seen, reopened in zip(first, again, strict=True):
        assert seen.std() > 5
        # Edges may be drawn one pixel further.
        assert np.mean(np.abs(reopened.astype(int) - seen) > 8) < 0.05


def test_a_picture_of_nothing_is_refused(scene, tmp_path):
    with pytest.raises(InputError, match="nothing to draw"):
        picture_3d(scene, tmp_path / "nothing.png", xray_nodes=[])


@pytest.mark.parametrize("size", [(1200, 900), (400, 900)])
def test_the_camera_sees_all_points_and_wastes_no_room(size):
    points = np.random.default_rng(3).normal(size=(40, 3)) * (300, 500, 150)
    camera = vtk.vtkCamera()
    placement = placement_seeing(points, [1.0, 2.0, 0.7], camera.GetViewAngle(), size)
    camera.SetPosition(*placement.position)
    camera.SetFocalPoint(*placement.focal_point)
    camera.SetViewUp(*placement.view_up)
    matrix = arrayFromVTKMatrix(camera.GetCompositeProjectionTransformMatrix(size[0] / size[1], 0, 1))
    seen = np.column_stack([points, np.ones(40)]) @ matrix.T
    screen = seen[:, :2] / seen[:, 3:]
    assert 0.9 < np.abs(screen).max() < 1.0
    assert np.allclose(screen.max(0), -screen.min(0), atol=1e-6)


def test_the_viewer_faces_every_xray_at_a_slant():
    frontal, from_the_left = np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0])
    for normals in ([frontal], [frontal, from_the_left], [-frontal, from_the_left]):
        cosines = np.array(normals) @ direction_facing(normals)
        assert (cosines > 0.5).all()
        assert (cosines < 0.85).all()


def _read_png(path):
    reader = vtk.vtkPNGReader()
    reader.SetFileName(str(path))
    reader.Update()
    image = reader.GetOutput()
    width, height, _ = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1]


def _write_png(path, pixels):
    image = vtk.vtkImageData()
    image.SetDimensions(pixels.shape[1], pixels.shape[0], 1)
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(pixels[::-1]).reshape(-1, 3), deep=True))
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(image)
    writer.Write()
    return path
