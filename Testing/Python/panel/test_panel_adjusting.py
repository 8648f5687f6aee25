"""Correcting a pose, comparing, and looking at targets, as a user does: keys, clicks, drags and numbers in the host."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import slicer
import slicer.util

from Testing.Python.panel.clicks import click_on_pixel, handle_in, pixel_of
from Testing.Python.panel.patients import CAMERA, bones, patient, pose_of
from Testing.Python.panel.sessions import middle_of, sights
from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.panel.handles import handles_shown
from XVRegistrationLib.scene.landmarks import marks_of, points_of
from XVRegistrationLib.scene.overlays import set_targets
from XVRegistrationLib.scene.pointer import pointed_at
from XVRegistrationLib.scene.sights import NAMES
from XVRegistrationLib.scene.volumes import add_segmentation, add_volume
from XVRegistrationLib.scene.xrays import nodes_of, pose_from_node, set_pose

MODULE = Path(__file__).resolve().parents[3] / "XVRegistration/XVRegistration.py"
TIMEOUT = 240.0


@pytest.fixture
def panel(host, root, files, monkeypatch):
    """The module with a CT and an X-ray that stands where it was taken from."""
    monkeypatch.setenv("XVREGISTRATION_HOME", str(root))
    panel = host.open_module(MODULE)
    session = panel.logic.session
    host.select_node(panel.ui.volumeSelector, add_volume(host.scene, patient()))
    session.add_files(files[:1])
    host.wait_until(lambda: session.rows() and not session.busy, TIMEOUT)
    node = session.rows()[0].node
    session.complete_geometry(node, sdd=CAMERA.sdd)
    set_pose(nodes_of(node), pose_of(0))
    host.wait_until(lambda: session.model_view().ready and not session.busy, TIMEOUT)
    host.process(0.7)
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


def test_targets_and_structures_are_looked_at_and_a_target_is_picked_in_two_xrays_by_clicks(host, panel, files):
    import qt

    ui, session = panel.ui, panel.logic.session
    session.add_files(files[1:])
    host.wait_until(lambda: len(session.rows()) == 2 and not session.busy, TIMEOUT)
    first, second = (row.node for row in session.rows())
    session.complete_geometry(second, sdd=CAMERA.sdd)
    set_pose(nodes_of(second), pose_of(1))
    host.click(ui.targetsCollapsibleButton)
    assert "section Patient" in ui.targetsHintLabel.text
    assert "two registered X-rays" in ui.addPickedButton.toolTip
    targets = host.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Targets")
    places = {"left": (-35.0, 10.0, 25.0), "right": (30.0, -15.0, -20.0)}
    for name, place in places.items():
        targets.AddControlPoint(*place, name)
    host.select_node(ui.targetsSelector, targets)
    host.wait_until(lambda: ui.targetTable.rowCount == 2)
    column, row = project(np.array(places["left"]), pose_of(0), CAMERA)
    assert [ui.targetTable.item(0, i).text() for i in range(3)] == [
        "left",
        f"{column:.1f}, {row:.1f}",
        "-35.0, 10.0, 25.0",
    ]
    assert "registered pose" in ui.targetTable.item(0, 3).toolTip()

    # A row by a click, the next by a key: the slice views go there.
    def middle():
        red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode()
        return slicer.util.arrayFromVTKMatrix(red.GetSliceToRAS())[:3, 3]

    host.click_cell(ui.targetTable, 0, 0)
    assert middle() == pytest.approx(places["left"])
    host.key(ui.targetTable, qt.Qt.Key_Down)
    assert middle() == pytest.approx(places["right"])

    _show_structures(host, panel)

    # The same point is picked in both X-rays.
    truth = np.array([12.0, -8.0, 30.0])
    for number, node in enumerate((first, second)):
        session.show(node)
        host.wait_until(lambda: not session.busy, TIMEOUT)
        host.click(ui.pickButton)
        # What is drawn meanwhile does not take the place of what the click places.
        set_targets(host.scene, nodes_of(node), None)
        set_targets(host.scene, nodes_of(node), targets)
        click_on_pixel(host, node, project(truth, pose_of(number), CAMERA))
        host.wait_until(lambda count=number + 1: len(session.picked().picks) == count)
    assert ui.linkCursorsCheckBox.isChecked()
    host.wait_until(lambda: "px beside" in ui.pickedLabel.text)
    host.click(ui.addPickedButton)
    host.wait_until(lambda: ui.targetTable.rowCount == 3)
    assert targets.GetNthControlPointPositionWorld(2) == pytest.approx(truth, abs=3.0)
    assert not ui.addPickedButton.isEnabled()
    assert ui.pickedLabel.text == ""

    # What was drawn for that goes when the box is unchecked.
    nodes = [host.scene.GetNthNode(i) for i in range(host.scene.GetNumberOfNodes())]
    session.select_target(None)
    host.click(ui.linkCursorsCheckBox)
    drawn = [n for n in nodes if n.GetName() in NAMES]
    assert drawn
    host.wait_until(lambda: not any(n.GetScene() for n in drawn))


def _show_structures(host, panel):
    """One is unchecked by the space key, all are brought back by a button."""
    import qt

    ui, session = panel.ui, panel.logic.session
    host.click(ui.structuresCollapsibleButton)
    assert "segmentation" in ui.allStructuresButton.toolTip
    host.select_node(ui.segmentationSelector, add_segmentation(host.scene, bones()))
    host.wait_until(lambda: ui.structureTable.rowCount == 4 and not session.busy, TIMEOUT)
    host.click_cell(ui.structureTable, 1, 0)
    host.key(ui.structureTable, qt.Qt.Key_Space)
    host.wait_until(lambda: [row.shown for row in session.structures()] == [True, False, True, True])
    host.click(ui.noStructuresButton)
    host.wait_until(lambda: not any(row.shown for row in session.structures()))
    host.process(0.2)
    host.wait_until(lambda: ui.noStructuresButton.toolTip == "None is drawn.")
    host.click(ui.allStructuresButton)
    host.wait_until(lambda: all(row.shown for row in session.structures()))
    host.process(0.2)
    assert ui.structureTable.item(1, 0).checkState() == qt.Qt.Checked


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


def test_a_surface_pointed_at_in_3d_is_marked_on_the_x_ray(host, panel):
    from Testing.Host.mouse import move

    ui = panel.ui
    segmentation = add_segmentation(host.scene, bones())
    host.select_node(ui.segmentationSelector, segmentation)
    segmentation.CreateClosedSurfaceRepresentation()
    host.click(ui.targetsCollapsibleButton)
    host.click(ui.linkCursorsCheckBox)
    view = slicer.app.layoutManager().threeDWidget(0).threeDView()
    place = np.array([-35.0, 10.0, 25.0])  # the middle of a bone, whose longest half axis is 18 mm
    camera = host.scene.GetFirstNodeByClass("vtkMRMLCameraNode")
    camera.SetPosition(-110.0, 10.0, 25.0)  # from the side, where nothing lies between
    camera.SetFocalPoint(*place)
    camera.ResetClippingRange()
    host.process(0.3)
    pixel = pixel_of(view, place)
    move(view, *pixel)
    assert pointed_at(host.scene) is None  # Slicer's own gesture is with Shift
    move(view, *pixel, shift=True)
    host.process(0.3)
    pointed = pointed_at(host.scene)
    assert pointed is not None
    assert 9.0 < np.linalg.norm(np.array(pointed.point) - place) < 19.0
    session = panel.logic.session
    node = session.rows()[0].node
    [mark] = sights(session, "Pointer")
    assert middle_of(mark, node)[:2] == pytest.approx(project(np.array(pointed.point), pose_of(0), CAMERA), abs=0.5)
