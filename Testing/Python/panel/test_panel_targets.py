"""Looking at targets and structures, as a user does: clicks and the mouse in the host."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import slicer.util

from Testing.Host.clicks import click_on_pixel, pixel_of
from Testing.Python.panel.panels import TIMEOUT, place_xrays
from Testing.Python.panel.patients import CAMERA, bones, pose_of
from Testing.Python.panel.sessions import middle_of, sights
from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.scene.overlays import set_targets
from XVRegistrationLib.scene.pointer import pointed_at
from XVRegistrationLib.scene.sights import NAMES
from XVRegistrationLib.scene.volumes import add_segmentation
from XVRegistrationLib.scene.xrays import nodes_of, set_pose


@pytest.fixture
def panel(host, panel, files):
    """The module with a CT and an X-ray that stands where it was taken from."""
    place_xrays(host, panel, files[:1])
    return panel


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
