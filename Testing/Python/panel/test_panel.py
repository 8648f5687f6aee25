"""The panel as a user drives it: clicks and keys in the host, the real engine and the real jobs, a small patient."""

from __future__ import annotations

import json
import re

import numpy as np
import psutil
import pytest
import slicer
import slicer.util

from Testing.Python.panel.panels import MODULE, TIMEOUT
from Testing.Python.panel.patients import CAMERA, bones, line_integrals, patient, pose_of
from XVRegistrationLib.imaging.dicom.writer import write_dicom_dx
from XVRegistrationLib.imaging.volume import write_volume
from XVRegistrationLib.jobs.folder import JOB
from XVRegistrationLib.jobs.job_status import status
from XVRegistrationLib.jobs.training_job import find_jobs
from XVRegistrationLib.networks.settings import attention_settings
from XVRegistrationLib.scene.volumes import add_segmentation, add_volume
from XVRegistrationLib.scene.xrays import all_xrays_in, nodes_of, pose_from_node

NAME, OUTCOME = 0, 2


@pytest.fixture
def with_patient(host, panel):
    """The panel with a CT chosen in it; its bank is ready."""
    ct = add_volume(host.scene, patient())
    host.select_node(panel.ui.volumeSelector, ct)
    host.wait_until(lambda: panel.logic.session.model_view().ready, TIMEOUT)
    return ct


def _shown(label):
    return label.property("text")


def _add_files(host, ui, files):
    host.dialogs.answers.append([str(file) for file in files])
    before = ui.xrayTable.rowCount
    host.click(ui.addFilesButton)
    host.wait_until(lambda: ui.xrayTable.rowCount == before + len(files), TIMEOUT)


def _complete(host, ui, row):
    """Enter the distance that the file of a row does not state."""
    host.click_cell(ui.xrayTable, row, OUTCOME)
    host.wait_until(lambda: ui.geometryGroupBox.isVisible())
    host.enter_text(ui.sddSpinBox, f"{CAMERA.sdd:g}")
    host.click(ui.geometryButton)


def _outcome(ui, row):
    return ui.xrayTable.item(row, OUTCOME).text()


def _drawn(node):
    """Whether each of an X-ray's labels and targets that there are can be seen."""
    overlays = [node.GetNodeReference(f"XVRegistration.{part}") for part in ("Labels", "Targets")]
    return [overlay.GetDisplayNode().GetVisibility() for overlay in overlays if overlay is not None]


def _pose_error(node, number):
    """How far the corners of a cube of 80 mm lie from where they should, mm."""
    corners = np.array(np.meshgrid([-40, 40], [-40, 40], [-40, 40])).reshape(3, -1).T
    points = np.c_[corners, np.ones(8)].T
    difference = (np.linalg.inv(pose_from_node(node)) - np.linalg.inv(pose_of(number))) @ points
    return float(np.linalg.norm(difference[:3], axis=0).mean())


def test_without_anything_the_panel_says_what_to_do(host, panel):
    host.process(0.2)
    ui = panel.ui
    for button in (ui.trainButton, ui.registerButton, ui.refineButton):
        assert not button.isEnabled()
        assert "CT" in button.toolTip
    assert _said_in_view() == "Add an X-ray: section 3 of the module"


def _said_in_view():
    annotation = slicer.app.layoutManager().sliceWidget("XVXray").sliceView().cornerAnnotation()
    return annotation.GetText(annotation.UpperEdge)


def test_from_a_ct_to_labels_on_xrays_and_back_from_a_saved_scene(host, panel, with_patient, files, tmp_path):
    ui, session = panel.ui, panel.logic.session
    assert "CT" in _shown(ui.patientLabel)
    assert not ui.nominalLabel.pixmap.isNull()
    segmentation = add_segmentation(host.scene, bones(3), with_patient)
    host.select_node(ui.segmentationSelector, segmentation)

    _add_files(host, ui, files)
    host.wait_until(lambda: not ui.registerButton.isEnabled())
    assert "geometry" in ui.registerButton.toolTip
    assert not _said_in_view()
    for row in range(2):
        _complete(host, ui, row)
        host.wait_until(lambda row=row: not session.rows()[row].missing)

    host.wait_until(lambda: ui.registerButton.isEnabled() and not session.busy, TIMEOUT)
    # Nothing is drawn on an X-ray of which nobody knows where it is; once it is registered, everything is.
    first = session.rows()[0].node
    assert not any(_drawn(first))
    host.click(ui.registerButton)
    host.wait_until(lambda: all(row.state == "registered" for row in session.rows()) and not session.busy, TIMEOUT)
    host.process(0.2)
    assert any(_drawn(session.rows()[0].node if session.rows()[0].current else session.rows()[1].node))
    for number, row in enumerate(session.rows()):
        assert _pose_error(row.node, number) < 2.0
        assert "similarity" in _outcome(ui, number)

    # What is drawn is in the X-ray view, with the names of the CT's segments.
    host.click_cell(ui.xrayTable, 0, OUTCOME)
    host.wait_until(lambda: not session.busy, TIMEOUT)
    node = session.rows()[0].node
    composite = slicer.app.applicationLogic().GetSliceLogicByLayoutName("XVXray").GetSliceCompositeNode()
    assert composite.GetBackgroundVolumeID() == node.GetID()
    assert composite.GetForegroundVolumeID()
    labels = [n for n in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if n is not segmentation]
    drawn = next(n for n in labels if "front" in n.GetName()).GetSegmentation()
    assert {drawn.GetNthSegment(i).GetName() for i in range(drawn.GetNumberOfSegments())} == {
        f"bone {n}" for n in (1, 2, 3)
    }

    saved = host.save_scene(tmp_path / "scene.mrb")
    poses = [pose_from_node(row.node) for row in session.rows()]
    outcomes = [_outcome(ui, row) for row in range(2)]
    host.close_scene()
    host.wait_until(lambda: ui.xrayTable.rowCount == 0)
    host.load_scene(saved)
    host.wait_until(lambda: ui.xrayTable.rowCount == 2 and session.model_view().ready, TIMEOUT)
    assert ui.volumeSelector.currentNode().GetName() == "patient"
    assert [_outcome(ui, row) for row in range(2)] == outcomes
    for row, pose in zip(session.rows(), poses, strict=True):
        np.testing.assert_allclose(pose_from_node(row.node), pose, atol=1e-9)


def test_a_moved_pose_takes_its_drr_along_and_is_refined_from_there(host, panel, with_patient, files):
    ui, session = panel.ui, panel.logic.session
    _add_files(host, ui, files[:1])
    _complete(host, ui, 0)
    host.wait_until(lambda: ui.registerButton.isEnabled() and not session.busy, TIMEOUT)
    node = session.rows()[0].node
    nodes = nodes_of(node)
    moved = pose_of(0)
    moved[:3, 3] += (6.0, 0.0, -5.0)
    nodes.pose.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(moved))
    host.wait_until(lambda: not session.busy, TIMEOUT)
    drr = slicer.util.getNode("DRR (front)")
    before = slicer.util.arrayFromVolume(drr).copy()
    moved[:3, 3] += (20.0, 0.0, 0.0)
    nodes.pose.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(moved))
    host.wait_until(lambda: not np.array_equal(slicer.util.arrayFromVolume(drr), before), TIMEOUT)

    moved[:3, 3] -= (20.0, 0.0, 0.0)
    nodes.pose.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(moved))
    host.wait_until(lambda: ui.refineButton.isEnabled())
    host.click(ui.refineButton)
    host.wait_until(lambda: session.rows()[0].state == "registered" and not session.busy, TIMEOUT)
    assert _pose_error(node, 0) < 2.0


def test_the_network_that_is_chosen_is_trained(host, panel, with_patient, root):
    ui, session = panel.ui, panel.logic.session
    host.wait_until(lambda: ui.trainButton.isEnabled(), TIMEOUT)
    host.choose(ui.networkComboBox, "With attention (PSSS)")
    assert session.parameters.network == "psss"
    host.click(ui.trainButton)
    host.wait_until(lambda: not ui.networkComboBox.isEnabled(), TIMEOUT)
    assert "delete the model" in ui.networkComboBox.toolTip
    [job] = find_jobs(root)
    asked = json.loads((job.folder / JOB).read_text("utf-8"))["network"]
    assert asked == attention_settings().to_dict()
    host.click(ui.cancelTrainingButton)
    host.wait_until(lambda: not session.training and ui.networkComboBox.isEnabled(), TIMEOUT)


def test_a_training_is_shown_cancelled_killed_found_again_and_resumed(host, panel, with_patient, root):
    ui, session = panel.ui, panel.logic.session
    host.enter_text(ui.minutesSpinBox, "2")
    host.click(ui.trainButton)
    host.wait_until(lambda: session.model_view().job_state == "running" and session.training_curve(), TIMEOUT)
    host.wait_until(lambda: ui.trainingProgressBar.isVisible())
    host.click(ui.cancelTrainingButton)
    host.wait_until(lambda: session.model_view().job_state == "cancelled", TIMEOUT)

    host.click(ui.resumeButton)
    host.wait_until(lambda: session.model_view().job_state == "running", TIMEOUT)
    [job] = [job for job in find_jobs(root) if status(job).active]
    # Another module file: what reloading does. The job is found again.
    panel = host.reload_module()
    ui, session = panel.ui, panel.logic.session
    host.wait_until(lambda: session.model_view().job_state == "running", TIMEOUT)
    host.close_scene()  # in the middle of a training
    assert status(job).active
    host.process(0.3)
    ct = add_volume(host.scene, patient())
    host.select_node(ui.volumeSelector, ct)
    host.wait_until(lambda: session.model_view().job_state == "running", TIMEOUT)

    for process in psutil.process_iter(["cmdline"]):
        if str(job.folder) in (process.info["cmdline"] or []):
            process.kill()
    host.wait_until(lambda: session.model_view().job_state == "interrupted", TIMEOUT)
    host.wait_until(lambda: ui.resumeButton.isEnabled(), TIMEOUT)
    host.wait_until(lambda: session.model_view().ready, TIMEOUT)


def test_nodes_may_be_deleted_at_any_time(host, panel, with_patient, files):
    ui, session = panel.ui, panel.logic.session
    _add_files(host, ui, files)
    for row in range(2):
        _complete(host, ui, row)
    host.wait_until(lambda: ui.registerButton.isEnabled(), TIMEOUT)
    host.click(ui.registerButton)
    doomed, other = all_xrays_in(host.scene)
    host.scene.RemoveNode(doomed)
    host.wait_until(lambda: ui.xrayTable.rowCount == 1)
    host.scene.RemoveNode(nodes_of(other).pose)
    host.wait_until(lambda: not session.busy, TIMEOUT)
    host.scene.RemoveNode(with_patient)
    host.wait_until(lambda: not ui.registerButton.isEnabled() and "CT" in ui.registerButton.toolTip, TIMEOUT)


def test_the_users_views_are_given_back(host, panel):
    layout = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    ours = layout.GetViewArrangement()
    host.leave_module()
    assert layout.GetViewArrangement() != ours
    host.enter_module()
    assert layout.GetViewArrangement() == ours


def test_opening_the_module_loads_none_of_the_heavy_packages(host, panel):
    """In the panel's own process: this one has loaded some for its phantoms, so another is asked."""
    import subprocess
    import sys

    code = (
        "import sys; from Testing.Host import start_host; h = start_host(); "
        f"h.open_module({str(MODULE)!r}); h.process(0.3); "
        "print([n for n in ('torch', 'warp', 'timm', 'scipy', 'matplotlib', 'pydicom', 'SimpleITK') if n in sys.modules])"
    )
    root = str(MODULE.parents[1])
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.stdout.strip().splitlines()[-1:] == ["[]"], done.stdout + done.stderr


def test_the_console_code_of_the_readme_runs(host, panel, tmp_path, monkeypatch, capsys):
    add_volume(host.scene, patient("CT"))
    add_segmentation(host.scene, bones(3))
    (tmp_path / "XRAYS").mkdir()
    for number, name in enumerate(("XRAY.dcm", "XRAYS/tilted.dcm")):
        grey = np.round(60000 * np.exp(-line_integrals(patient(), number))).astype(np.uint16)
        write_dicom_dx(tmp_path / name, grey, CAMERA, bits_stored=16)
    write_volume(tmp_path / "ct.nii.gz", patient("CT"))
    (tmp_path / "CASES.csv").write_text("case,volume,xray,sid\nP1,ct.nii.gz,XRAY.dcm,1020\n")
    monkeypatch.chdir(tmp_path)
    section = (MODULE.parents[1] / "README.md").read_text("utf-8").partition("## In 3D Slicer")[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    names = {"slicer": slicer}
    in_panel, in_scene, of_a_table = (compile(block, "README.md", "exec") for block in blocks)
    exec(in_panel, names)
    exec(in_scene, names)
    assert re.search("XRAY (converged|check), similarity", capsys.readouterr().out)
    assert list(names["outcomes"]) == ["tilted.dcm"]
    assert _pose_error(slicer.util.getNode("X-ray (XRAY)"), 0) < 2.0
    found = json.loads((tmp_path / "RESULTS/tilted.json").read_text())
    np.testing.assert_allclose(found["pose"], pose_of(1), atol=2.0)
    exec(of_a_table, names)
    assert "P1 done" in capsys.readouterr().out
    assert (tmp_path / "OUT/cases.csv").is_file()
