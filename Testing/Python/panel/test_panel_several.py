"""Several X-rays and runs, as a user has them: side by side, registered as one, with the curves of a run; in the host."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import slicer

from Testing.Python.panel.panels import TIMEOUT
from Testing.Python.panel.patients import CAMERA, dsa_run, patient, pose_of
from Testing.Python.panel.sessions import biplane_run, error_of
from XVRegistrationLib.scene.layout import BIPLANE_LAYOUT_ID, LAYOUT_ID, PLOT_VIEW
from XVRegistrationLib.scene.pairs import keep_calibrated_pose
from XVRegistrationLib.scene.run_results import frame_results
from XVRegistrationLib.scene.runs import item_of
from XVRegistrationLib.scene.volumes import add_volume
from XVRegistrationLib.scene.xrays import pose_from_node


@pytest.fixture
def panel(host, panel):
    """The module with a CT."""
    session = panel.logic.session
    host.select_node(panel.ui.volumeSelector, add_volume(host.scene, patient()))
    host.wait_until(lambda: session.model_view().ready and not session.busy, TIMEOUT)
    return panel


def _add(host, panel, files):
    session = panel.logic.session
    session.add_files(files)
    host.wait_until(lambda: len(session.rows()) == len(files) and not session.busy, TIMEOUT)
    return [row.node for row in session.rows()]


def _shown(name):
    composite = slicer.app.applicationLogic().GetSliceLogicByLayoutName(name).GetSliceCompositeNode()
    return composite.GetBackgroundVolumeID()


def _picture(host, name):
    """A screenshot, where somebody asks for one."""
    if "XVREGISTRATION_PICTURES" in os.environ:
        host.process(0.6)
        host.screenshot(Path(os.environ["XVREGISTRATION_PICTURES"]) / name)


def test_two_xrays_are_seen_side_by_side_and_registered_as_one(host, panel, files):
    import qt

    ui, session = panel.ui, panel.logic.session
    layout = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    assert not ui.biplaneCheckBox.isEnabled()
    assert ui.biplaneCheckBox.toolTip == "Choose an X-ray of the table."
    nodes = _add(host, panel, files)
    for node in nodes:
        session.complete_geometry(node, sdd=CAMERA.sdd)
    host.click(ui.togetherCollapsibleButton)
    host.process(0.1)
    assert not ui.registerTogetherButton.isEnabled()
    assert "front, tilted" in ui.registerTogetherButton.toolTip
    for number, node in enumerate(nodes):
        keep_calibrated_pose(node, pose_of(number))
    host.choose(ui.relationComboBox, "Calibration files")
    host.wait_until(ui.registerTogetherButton.isEnabled)

    host.click(ui.keysButton)
    host.click(ui.biplaneCheckBox)
    host.wait_until(lambda: layout.GetViewArrangement() == BIPLANE_LAYOUT_ID)
    host.wait_until(lambda: not session.busy, TIMEOUT)
    host.process(0.1)
    assert (_shown("XVXray"), _shown("XVXray2")) == (nodes[0].GetID(), nodes[1].GetID())
    assert ui.secondXrayComboBox.property("currentText") == "tilted"
    host.click(ui.registerTogetherButton)
    host.wait_until(lambda: session.registration_progress() is not None)
    host.wait_until(lambda: not session.busy, TIMEOUT)
    host.process(0.1)
    assert [error_of(node, number) < 0.5 for number, node in enumerate(nodes)] == [True, True], session.log
    assert ui.xrayTable.item(0, 2).text() == ui.xrayTable.item(1, 2).text()
    host.panel.ensureWidgetVisible(ui.nextFrameButton)
    _picture(host, "several-beside.png")

    # A key moves the X-ray of the view that has the focus, also where that view came after keys were allowed.
    for view, number in (("XVXray2", 1), ("XVXray", 0)):
        stood = [pose_from_node(node) for node in nodes]
        host.key(slicer.app.layoutManager().sliceWidget(view).sliceView(), qt.Qt.Key_Up)
        same = [np.array_equal(pose_from_node(node), pose) for node, pose in zip(nodes, stood, strict=True)]
        assert same == [number != 0, number != 1]
    host.wait_until(lambda: "moved since" in ui.xrayTable.item(1, 2).text())

    host.click_cell(ui.xrayTable, 1, 1)
    host.wait_until(lambda: _shown("XVXray") == nodes[1].GetID())
    assert _shown("XVXray2") == nodes[0].GetID()
    host.click(ui.biplaneCheckBox)
    host.wait_until(lambda: layout.GetViewArrangement() == LAYOUT_ID)
    assert _shown("XVXray2") is None
    host.leave_module()
    assert layout.GetViewArrangement() not in (LAYOUT_ID, BIPLANE_LAYOUT_ID)
    host.enter_module()


def test_two_runs_are_registered_together_frame_by_frame(host, panel):
    ui, session = panel.ui, panel.logic.session
    nodes, first = biplane_run(session)
    session.show(nodes[0])
    host.wait_until(lambda: session.run_view() is not None)
    host.click(ui.togetherCollapsibleButton)
    host.click(ui.estimateGeometryCheckBox)
    host.wait_until(lambda: "not of runs" in ui.registerTogetherButton.toolTip)
    host.click(ui.estimateGeometryCheckBox)
    host.wait_until(ui.registerTogetherButton.isEnabled)
    host.click(ui.registerTogetherButton)
    host.wait_until(lambda: not session.busy and ui.runLabel.text == "Of 3 frames: 3 converged.", TIMEOUT)
    _picture(host, "several-runs-together.png")
    for node in nodes:
        assert [frame.verdict for frame in frame_results(node)] == ["converged"] * 3
    assert np.abs(frame_results(nodes[0])[1].pose - first[1]).max() < 0.5


def test_a_run_shows_its_curves_and_what_is_to_be_looked_at(host, panel, tmp_path):
    ui, session = panel.ui, panel.logic.session
    node = _add(host, panel, [dsa_run(tmp_path / "run.dcm")])[0]
    host.wait_until(ui.runLabel.isVisible)
    assert ui.runLabel.text == "Of 4 frames: 4 not registered."
    host.click(ui.registerRunButton)
    host.wait_until(lambda: session.registration_progress() is not None)
    host.wait_until(lambda: not session.busy and "not registered" not in ui.runLabel.text, TIMEOUT)
    plot = host.scene.GetSingletonNode(PLOT_VIEW, "vtkMRMLPlotViewNode")
    assert plot.GetPlotChartNode() is session.plot_chart()
    assert plot.GetPlotChartNode().GetNumberOfPlotSeriesNodes() >= 8
    session.show_frame(node, 0)
    host.click(ui.landmarksCollapsibleButton)
    session.mark_in_ct("tip", (0.0, 0.0, 0.0))
    session.mark_in_xray("tip", (20.0, 30.0))
    host.wait_until(lambda: ui.landmarkTable.item(0, 2).text() == "frame 0")
    session.show_frame(node, 1)
    host.wait_until(lambda: ui.landmarkTable.item(0, 2).text() == "-")
    assert ui.landmarkTable.item(0, 2).toolTip() == "Not marked on this frame; it is on frame 0."
    host.click(ui.landmarksCollapsibleButton)
    session.show_frame(node, 0)
    session.nudge("right", 6.0)
    session.show_frame(node, 3)
    host.wait_until(lambda: "1 not registered" in ui.runLabel.text)
    host.panel.ensureWidgetVisible(ui.nextFrameButton)
    _picture(host, "several-run.png")
    host.click(ui.nextFrameButton)
    assert item_of(node) == 0
    assert np.abs(np.array(session.adjust_view().motion)[0]) == pytest.approx(6.0)
