"""Correcting a pose, and comparing, as a user does: keys, clicks, drags and numbers in the host."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from Testing.Host.clicks import click_on_pixel, handle_in
from Testing.Python.panel.panels import TIMEOUT, place_xrays
from Testing.Python.panel.patients import CAMERA, pose_of
from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.panel.handles import handles_shown
from XVRegistrationLib.scene.landmarks import marks_of, points_of
from XVRegistrationLib.scene.xrays import nodes_of, pose_from_node


@pytest.fixture
def panel(host, panel, files):
    """The module with a CT and an X-ray that stands where it was taken from."""
    place_xrays(host, panel, files[:1])
    return panel


def _motion(panel):
    return np.array(panel.logic.session.adjust_view().motion)


def test_the_c_arm_is_moved_by_handles_keys_numbers_and_buttons(host, panel):
    import qt

    _drag_the_handles(host, panel)
    ui, session = panel.ui, panel.logic.session
    node = session.rows()[0].node
    start = _motion(panel)
    keys = ui.keysButton
    host.click(keys)
    view = slicer.app.layoutManager().sliceWidget("XVXray")
    control, shift = qt.Qt.ControlModifier, qt.Qt.ShiftModifier
    host.key(keys, qt.Qt.Key_Right)
    host.key(view.sliceView(), qt.Qt.Key_Up)
    host.key(keys, qt.Qt.Key_PageDown, shift)
    host.key(keys, qt.Qt.Key_PageUp, control)
    expected = start + np.array([1, -1, 10, 0, 0, 0])
    np.testing.assert_allclose(_motion(panel)[:3], expected[:3], atol=1e-6)
    host.process(0.1)
    assert float(ui.depthSpinBox.property("value")) == pytest.approx(expected[2], abs=0.01)

    host.enter_text(ui.stepSpinBox, "0.5")
    host.key(keys, qt.Qt.Key_Left)
    assert _motion(panel)[0] == pytest.approx(start[0] + 0.5)
    host.enter_text(ui.downSpinBox, "7.25")
    assert _motion(panel)[1] == pytest.approx(7.25)
    assert _motion(panel)[0] == pytest.approx(start[0] + 0.5)  # not rounded as it is shown
    host.click(keys)
    host.key(keys, qt.Qt.Key_Left)
    assert _motion(panel)[0] == pytest.approx(start[0] + 0.5)

    host.click(ui.copyPoseButton)
    copied = pose_from_node(node)
    host.click(ui.resetPoseButton)
    host.process(0.1)
    np.testing.assert_allclose(_motion(panel), 0, atol=1e-6)
    assert not ui.resetPoseButton.isEnabled()
    assert "put at first" in ui.resetPoseButton.toolTip
    host.click(ui.undoPoseButton)
    np.testing.assert_allclose(pose_from_node(node), copied, atol=1e-9)
    host.click(ui.redoPoseButton)
    host.click(ui.pastePoseButton)
    np.testing.assert_allclose(pose_from_node(node), copied, atol=1e-9)
    host.wait_until(lambda: not ui.redoPoseButton.isEnabled())
    assert ui.redoPoseButton.toolTip == "Nothing was undone."
    qt.QApplication.clipboard().setText("no matrix")
    host.click(ui.pastePoseButton)
    assert "no pose" in session.status

    # Elsewhere the keys are the views' own again.
    host.click(keys)
    host.leave_module()
    before = pose_from_node(node)
    host.key(keys, qt.Qt.Key_Right)
    np.testing.assert_array_equal(pose_from_node(node), before)
    host.enter_module()
    host.key(view.sliceView(), qt.Qt.Key_Right)
    assert not np.array_equal(pose_from_node(node), before)


def test_xray_and_drr_are_compared_and_landmarks_marked_by_clicks_and_fitted(host, panel):
    _compare(host, panel)
    ui, session = panel.ui, panel.logic.session
    node = session.rows()[0].node
    host.click(ui.landmarksCollapsibleButton)
    assert "there are 0 pairs" in ui.fitLandmarksButton.toolTip
    volume = session.parameters.volume
    corners = np.array([[-35, 10, 25], [30, -15, -20], [5, 20, -40], [40, 25, 30], [-20, -30, 0]], float)
    for corner in corners:
        host.click(ui.markInCtButton)
        interaction = host.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        assert interaction.GetCurrentInteractionMode() == interaction.Place
        # A click in a CT view ends here: a point of the node that is being placed.
        placed = host.scene.GetNodeByID(slicer.app.applicationLogic().GetSelectionNode().GetActivePlaceNodeID())
        assert placed is points_of(volume)
        placed.AddControlPoint(*corner)
        host.process(0.05)
    assert ui.landmarkTable.rowCount == len(corners)
    pixels = project(corners, pose_of(0), CAMERA)
    for pixel in pixels:
        host.click(ui.markInXrayButton)
        host.process(0.05)
        click_on_pixel(host, node, pixel)
    host.process(0.1)
    assert marks_of(node).GetNumberOfControlPoints() == len(corners), session.log
    assert ui.landmarkTable.item(0, 2).text() == "marked"
    session.nudge("right", 30.0)
    host.wait_until(lambda: float(ui.landmarkTable.item(0, 3).text().split()[0]) > 4)
    host.click(ui.fitLandmarksButton)
    host.wait_until(lambda: "landmarks put it" in session.status, TIMEOUT)
    host.wait_until(lambda: float(ui.landmarkTable.item(0, 3).text().split()[0]) < 2)
    assert ui.undoPoseButton.isEnabled()
    host.click_cell(ui.landmarkTable, 4, 0)
    host.click(ui.removeLandmarkButton)
    host.process(0.1)
    assert ui.landmarkTable.rowCount == len(corners) - 1


def _compare(host, panel):
    """Ways are chosen in one list, windows by numbers."""
    ui, session = panel.ui, panel.logic.session
    combo = ui.comparisonComboBox
    assert [combo.itemText(i) for i in range(combo.count)][:3] == ["Blend", "Checkerboard", "Edges of the DRR"]
    assert ui.blendSlider.isEnabled()
    host.choose(combo, "Difference")
    host.process(0.2)
    assert not ui.blendSlider.isEnabled()
    composite = slicer.app.applicationLogic().GetSliceLogicByLayoutName("XVXray").GetSliceCompositeNode()
    shown = host.scene.GetNodeByID(composite.GetForegroundVolumeID())
    assert shown.GetImageData().GetNumberOfScalarComponents() == 3
    last = combo.count - 1
    assert "no network yet" in str(combo.itemData(last, 3))
    assert not combo.model().item(last).isEnabled()
    host.enter_text(ui.drrWindowSpinBox, "2")
    host.process(0.1)
    assert session.window("drr").window == pytest.approx(2.0)
    host.click(ui.drrWindowButton)
    host.process(0.1)
    assert float(ui.drrWindowSpinBox.property("value")) == pytest.approx(session.window("drr").window, abs=0.01)
    assert session.window("drr").window != pytest.approx(2.0)
    host.choose(combo, "Blend")
    host.process(0.2)
    assert shown.GetScene() is None


def _drag_the_handles(host, panel):
    """A drag is one step to undo."""
    from Testing.Host.mouse import drag

    ui, session = panel.ui, panel.logic.session
    node = session.rows()[0].node
    before, count = pose_from_node(node), len(session.log)
    host.click(ui.handlesButton)
    pose = nodes_of(node).pose
    assert handles_shown(pose)
    host.process(0.3)
    view = slicer.app.layoutManager().threeDWidget(0).threeDView()
    x, y = handle_in(view, pose)
    drag(host, view, (x, y), (x + 24, y + 12))
    host.process(0.1)
    assert np.abs(pose_from_node(node) - before).max() > 0.1
    host.wait_until(lambda: not session.busy, TIMEOUT)
    host.process(0.7)
    host.click(ui.undoPoseButton)
    np.testing.assert_allclose(pose_from_node(node), before, atol=1e-9)
    assert len(session.log) == count
