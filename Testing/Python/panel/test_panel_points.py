"""Points by clicks in the views, frames by the slider, and the geometry that several X-rays tell together."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from Testing.Host.clicks import click_on_pixel, click_on_place, drag_slider
from Testing.Python.panel.panels import TIMEOUT
from Testing.Python.panel.patients import CAMERA, dsa_run, pose_of
from Testing.Python.panel.standing import panel_with_xrays
from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.scene.landmarks import points_of
from XVRegistrationLib.scene.pairs import keep_calibrated_pose
from XVRegistrationLib.scene.picks import pick_node, pick_of
from XVRegistrationLib.scene.runs import item_of
from XVRegistrationLib.scene.volumes import voxels


@pytest.fixture(scope="module")
def opened(root, files):
    with panel_with_xrays(root, files) as standing:
        yield standing


def test_a_landmark_is_where_the_ct_was_clicked(xrays):
    host, ui, volume = xrays.host, xrays.ui, xrays.session.parameters.volume
    if ui.landmarksCollapsibleButton.collapsed:
        host.click(ui.landmarksCollapsibleButton)
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
    red.SetSliceOffset(25.0)
    places = [(-35.0, 10.0, 25.0), (40.0, 25.0, 25.0)]
    for count, place in enumerate(places, 1):
        host.click(ui.markInCtButton)
        click_on_place(host, "Red", place)
        host.wait_until(lambda count=count: ui.landmarkTable.rowCount == count)
        assert [ui.landmarkTable.item(count - 1, i).text() for i in (1, 2)] == ["marked", "-"]
    points = points_of(volume)
    found = [points.GetNthControlPointPositionWorld(i) for i in range(points.GetNumberOfControlPoints())]
    pixel = max(red.GetFieldOfView()[i] / red.GetDimensions()[i] for i in range(2))
    np.testing.assert_allclose(found, places, atol=pixel)
    interaction = host.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
    assert interaction.GetCurrentInteractionMode() != interaction.Place  # the next click is the view's own


def test_what_was_picked_is_cleared_by_its_button(xrays):
    host, ui, session, node = xrays.host, xrays.ui, xrays.session, xrays.nodes[0]
    if ui.targetsCollapsibleButton.collapsed:
        host.click(ui.targetsCollapsibleButton)
    host.wait_until(lambda: ui.clearPicksButton.toolTip == "Nothing was picked.")
    assert not ui.clearPicksButton.isEnabled()
    pixel = project(np.array([12.0, -8.0, 30.0]), pose_of(0), CAMERA)
    host.click(ui.pickButton)
    click_on_pixel(host, node, pixel)
    host.wait_until(lambda: ui.pickedLabel.text.startswith("Picked on: front."))
    assert pick_of(node) == pytest.approx(pixel, abs=0.5)
    host.click(ui.clearPicksButton)
    host.wait_until(lambda: ui.pickedLabel.text == "")
    assert pick_node(node) is None
    assert session.picked().picks == ()
    host.wait_until(lambda: not ui.clearPicksButton.isEnabled())


def test_the_slider_shows_frames_by_the_mouse_and_by_keys(xrays, tmp_path):
    import qt

    host, ui, session = xrays.host, xrays.ui, xrays.session
    session.add_files([dsa_run(tmp_path / "run.dcm")])
    host.wait_until(lambda: len(session.rows()) == 3 and not session.busy, TIMEOUT)
    host.click_cell(ui.xrayTable, 2, 1)
    host.wait_until(ui.frameSlider.isVisible)
    node, session.parameters.blend = xrays.nodes[2], 0.0
    xrays.settle()
    frames, pictures = {}, {}

    def shows(item):
        host.wait_until(lambda: item_of(node) == item and ui.frameLabel.text == f"frame {item}")
        xrays.settle()
        frames[item], pictures[item] = voxels(node).copy(), xrays.picture()

    host.key(ui.frameSlider, qt.Qt.Key_Home)
    shows(0)
    host.key(ui.frameSlider, qt.Qt.Key_Right)
    shows(1)
    drag_slider(host, ui.frameSlider, 0.67)
    shows(2)
    # Contrast medium fills the vessels: less radiation comes through than in the frame before.
    assert frames[0].mean() > frames[1].mean() > frames[2].mean()
    assert all(np.abs(pictures[a] - pictures[b]).max() > 10 for a, b in ((0, 1), (1, 2)))
    host.key(ui.frameSlider, qt.Qt.Key_End)
    shows(3)
    np.testing.assert_allclose(frames[3], frames[0])  # it is gone
    drag_slider(host, ui.frameSlider, 0.0)
    shows(0)
    host.click(ui.removeButton)
    host.wait_until(lambda: len(session.rows()) == 2)


def test_the_geometry_is_estimated_where_its_box_is_checked(xrays):
    host, ui, session = xrays.host, xrays.ui, xrays.session
    for number, node in enumerate(xrays.nodes):
        keep_calibrated_pose(node, pose_of(number))
    if ui.togetherCollapsibleButton.collapsed:
        host.click(ui.togetherCollapsibleButton)
    host.choose(ui.relationComboBox, "Calibration files")
    assert not ui.estimateGeometryCheckBox.isChecked()
    for origin in ("entered", "estimated from several X-rays"):
        host.wait_until(ui.registerTogetherButton.isEnabled)
        host.click(ui.registerTogetherButton)
        host.wait_until(lambda: session.registration_progress() is not None)
        xrays.settle()
        assert {row.state for row in session.rows()} == {"registered"}, session.log
        host.wait_until(lambda origin=origin: ui.sddOriginLabel.text == origin)
        assert ui.sddSpinBox.value == pytest.approx(CAMERA.sdd, abs=30)
        host.click(ui.estimateGeometryCheckBox)
    assert not session.parameters.estimateGeometry
    for node in xrays.nodes:
        session.complete_geometry(node, sdd=CAMERA.sdd)
