"""What the inputs of the panel's first four sections do: view, device, images of the scene, geometry, starts, and stopping."""

from __future__ import annotations

import json

import numpy as np
import pytest
import slicer.util

from Testing.Python.dicom_files import grey, write
from Testing.Python.panel.panels import TIMEOUT
from Testing.Python.panel.patients import line_integrals, patient, pose_of
from Testing.Python.panel.standing import panel_with_xrays
from XVRegistrationLib.geometry.calibrations import calibration_of, write_calibration
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.jobs.folder import JOB
from XVRegistrationLib.jobs.training_job import find_jobs
from XVRegistrationLib.scene.attributes import read_intrinsics, read_scale
from XVRegistrationLib.scene.results import read_registration
from XVRegistrationLib.scene.volumes import voxels
from XVRegistrationLib.scene.xrays import nodes_of, pose_from_node

STARTS = {"usePreset": "preset", "useBank": "bank", "useHeader": "header", "useCurrent": "current"}
"""Name of a box -> the kind of the start in a result; the better ones last, as a better result is kept."""


@pytest.fixture(scope="module")
def opened(root, files, tmp_path_factory):
    angled = write(tmp_path_factory.mktemp("angled") / "angled.dcm", grey(line_integrals(patient(), 0)))
    with panel_with_xrays(root, [*files, angled]) as standing:
        yield standing


def _row(xrays, name):
    """Index of the table's row of this name."""
    return [row.name for row in xrays.session.rows()].index(name)


def _add_image(xrays, name):
    """An image of the scene, of which nothing is known, added by the selector and its button; returns it and the X-ray."""
    host, ui, count = xrays.host, xrays.ui, len(xrays.nodes)
    image = host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(image, np.random.default_rng(0).uniform(size=(1, 64, 64)))
    assert not ui.addNodeButton.isEnabled()
    assert "Choose an image" in ui.addNodeButton.toolTip
    host.select_node(ui.xrayNodeSelector, image)
    host.click(ui.addNodeButton)
    host.wait_until(lambda: ui.xrayTable.rowCount == count + 1, TIMEOUT)
    assert ui.xrayNodeSelector.currentNode() is None
    host.click_cell(ui.xrayTable, _row(xrays, name), 1)
    host.wait_until(lambda: name in ui.geometryGroupBox.toolTip)
    return image, xrays.nodes[_row(xrays, name)]


def _remove(xrays, node):
    """Remove the X-ray that is selected by the button."""
    xrays.host.click(xrays.ui.removeButton)
    xrays.host.wait_until(lambda: node not in xrays.nodes and node.GetScene() is None)


def test_an_image_of_the_scene_is_added_as_a_copy_and_removed_without_it(xrays):
    host, ui = xrays.host, xrays.ui
    image, xray = _add_image(xrays, "plain")
    assert xray is not image
    np.testing.assert_allclose(voxels(xray), voxels(image), atol=1e-6)
    names = [ui.xrayTable.item(i, 0).text() for i in range(ui.xrayTable.rowCount)]
    _remove(xrays, xray)
    assert image.GetScene() is host.scene
    host.wait_until(lambda: ui.xrayTable.rowCount == len(names) - 1)
    assert [ui.xrayTable.item(i, 0).text() for i in range(len(names) - 1)] == [n for n in names if n != "plain"]
    host.scene.RemoveNode(image)


def test_a_c_arm_of_the_list_and_a_calibration_file_complete_an_image(xrays, tmp_path):
    host, ui, session = xrays.host, xrays.ui, xrays.session
    image, named = _add_image(xrays, "named")
    assert ui.sddOriginLabel.text == "needed"
    host.choose(ui.cArmComboBox, dict(session.c_arms())["cios-fusion"])
    host.wait_until(lambda: ui.sddSpinBox.value == 1020.0)
    assert ui.columnSpacingSpinBox.value == pytest.approx(4.656)
    assert "Cios Fusion" in ui.geometryLabel.text
    assert nodes_of(named) is not None
    assert ui.scaleOriginLabel.text.startswith("assumed")
    host.click(ui.denseIsBrightCheckBox)
    host.click(ui.geometryButton)
    host.wait_until(lambda: ui.scaleOriginLabel.text == "entered")
    assert read_scale(named) == "intensity"
    assert ui.cArmComboBox.currentIndex == 0  # it asks again for a choice
    xrays.settle()
    _remove(xrays, named)
    host.scene.RemoveNode(image)

    image, filed = _add_image(xrays, "filed")
    camera = Intrinsics(900.0, (5.0, 4.0), (30.0, 41.0), (64, 64), True)
    write_calibration(tmp_path / "camera.yaml", calibration_of(camera, np.eye(4)), "opencv-yaml")
    host.dialogs.answers.append("")  # the user thinks better of it
    host.click(ui.calibrationButton)
    assert nodes_of(filed) is None
    host.dialogs.answers.append(str(tmp_path / "camera.yaml"))
    host.click(ui.calibrationButton)
    host.wait_until(lambda: nodes_of(filed) is not None)
    np.testing.assert_allclose(read_intrinsics(filed).matrix, camera.matrix, rtol=1e-9)
    host.wait_until(ui.mirroredCheckBox.isChecked)
    assert "camera of its calibration" in session.status
    xrays.settle()
    _remove(xrays, filed)
    host.scene.RemoveNode(image)


def test_the_chosen_view_is_pictured_and_puts_there_what_was_put_nowhere_else(xrays):
    host, ui, session = xrays.host, xrays.ui, xrays.session
    image, xray = _add_image(xrays, "plain")
    host.choose(ui.cArmComboBox, dict(session.c_arms())["cios-fusion"])
    host.wait_until(lambda: nodes_of(xray) is not None)
    xrays.settle()
    host.wait_until(lambda: not ui.nominalLabel.pixmap.isNull(), TIMEOUT)
    picture = ui.nominalLabel.pixmap.toImage()
    for title, name, forwards in (
        ("Thorax, detector at the left side", "thorax-lateral", (-1.0, 0.0, 0.0)),
        ("Thorax, from the front (AP)", "thorax-ap", (0.0, -1.0, 0.0)),
    ):
        host.choose(ui.presetComboBox, title)
        host.wait_until(lambda: session.model_view().ready and not session.busy, TIMEOUT)
        assert session.parameters.preset == name
        host.wait_until(lambda f=forwards: np.allclose(pose_from_node(xray)[:3, 2], f, atol=1e-6))
        is_first = name == "thorax-ap"
        host.wait_until(lambda same=is_first: (ui.nominalLabel.pixmap.toImage() == picture) is same, TIMEOUT)
    for number, node in enumerate(xrays.nodes[:2]):  # these were moved
        np.testing.assert_allclose(pose_from_node(node), pose_of(number), atol=1e-9)
    _remove(xrays, xray)
    host.scene.RemoveNode(image)


def test_a_registration_starts_from_what_is_ticked_and_from_nothing_else(xrays):
    host, ui, session = xrays.host, xrays.ui, xrays.session
    boxes = {name: getattr(ui, f"{name}CheckBox") for name in (*STARTS, "useNetwork")}
    was = {name: box.isChecked() for name, box in boxes.items()}

    def tick(*wanted):
        for name, box in boxes.items():
            if box.isChecked() is not (name in wanted):
                host.click(box)
        assert {name for name in boxes if getattr(session.parameters, name)} == set(wanted)

    tick()
    host.wait_until(lambda: "at least one kind of start" in ui.registerButton.toolTip)
    assert not ui.registerButton.isEnabled()
    tick("useNetwork")  # there is none
    host.wait_until(lambda: "choose the bank as well" in ui.registerButton.toolTip)
    for name in ("front", "tilted"):
        host.click_cell(ui.xrayTable, _row(xrays, name), 0)
    host.wait_until(lambda: [row.name for row in session.rows() if row.checked] == ["angled"])
    node = xrays.nodes[_row(xrays, "angled")]
    for name, kind in STARTS.items():
        tick(name)
        host.click(ui.registerButton)
        host.wait_until(lambda: not session.busy, TIMEOUT)
        kinds = {start["kind"].partition(",")[0] for start in read_registration(node)["starts"]}
        assert kind in kinds
        assert not kinds & set(STARTS.values()) - {kind}
    tick(*(name for name, on in was.items() if on))
    for name in ("front", "tilted"):
        host.click_cell(ui.xrayTable, _row(xrays, name), 0)
    host.wait_until(lambda: all(row.checked for row in session.rows()))


def test_what_is_stopped_stays_where_it_was(xrays):
    host, ui, session = xrays.host, xrays.ui, xrays.session
    last = xrays.nodes[-1]
    before = pose_from_node(last)
    assert not ui.cancelRegistrationButton.isEnabled()
    host.click(ui.registerButton)
    host.wait_until(ui.registrationProgressBar.isVisible)
    host.click(ui.cancelRegistrationButton)
    assert session.status.startswith("Cancelled: ")
    assert "angled" in session.status
    xrays.settle()
    np.testing.assert_array_equal(pose_from_node(last), before)
    host.wait_until(lambda: not ui.registrationProgressBar.isVisible())
    host.wait_until(lambda: ui.cancelRegistrationButton.toolTip == "Nothing is being registered.")
    assert ui.registerButton.isEnabled()


def test_a_training_gets_the_device_of_the_list(xrays, root):
    host, ui, session = xrays.host, xrays.ui, xrays.session
    host.choose(ui.deviceComboBox, "Processor (CPU)")
    assert session.parameters.device == "cpu"
    host.click(ui.trainButton)
    host.wait_until(lambda: session.training, TIMEOUT)
    asked = [json.loads((job.folder / JOB).read_text("utf-8"))["device"] for job in find_jobs(root)]
    assert asked == ["cpu"]
    host.click(ui.cancelTrainingButton)
    host.wait_until(lambda: not session.training, TIMEOUT)
    host.choose(ui.deviceComboBox, "Automatic")
    assert session.parameters.device == ""
