"""What of its file an X-ray shows, by clicks in the panel: subtraction, frames, steps, rectangles; and what was not scanned."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from Testing.Python.panel.panels import TIMEOUT
from Testing.Python.panel.patients import angiogram, dsa_run, filled_vessels, patient
from XVRegistrationLib.scene.runs import frame_of, run_of
from XVRegistrationLib.scene.volumes import add_volume, voxels


@pytest.fixture
def dsa(tmp_path):
    return dsa_run(tmp_path / "dsa.dcm")


def _picture(host, name, widget=None):
    """A screenshot, where somebody asks for one."""
    if "XVREGISTRATION_PICTURES" in os.environ:
        path = Path(os.environ["XVREGISTRATION_PICTURES"]) / name
        if widget is None:
            host.screenshot(path)
        else:
            widget.grab().save(str(path))


def _add(host, panel, file, **parameters):
    """The node of an X-ray that was added by the button, for an angiogram or, without parameters, a CT."""
    ui, session = panel.ui, panel.logic.session
    volume = add_volume(host.scene, angiogram() if parameters else patient())
    for name, value in parameters.items():
        setattr(session.parameters, name, value)
    host.select_node(ui.volumeSelector, volume)
    host.wait_until(lambda: session.model_view().ready, TIMEOUT)
    host.dialogs.answers.append([str(file)])
    host.click(ui.addFilesButton)
    host.wait_until(lambda: len(session.rows()) == 1 and not session.busy, TIMEOUT)
    host.wait_until(ui.imageGroupBox.isVisible)
    host.process(0.1)
    return session.rows()[0].node


def _settled(host, session, expected):
    host.wait_until(lambda: expected() and not session.busy, TIMEOUT)
    host.process(0.3)


def test_an_angiogram_is_subtracted_by_itself_and_plain_by_a_click(host, panel, dsa):
    ui, session = panel.ui, panel.logic.session
    node = _add(host, panel, dsa, volumeValues="vessels", vesselsLow=500.0, vesselsHigh=1300.0)
    assert ui.subtractCheckBox.isChecked()
    assert ui.framesComboBox.property("currentText") == "Each frame, one at a time"
    ui.frameSlider.setValue(1)
    host.wait_until(lambda: frame_of(node) == 2)
    assert np.abs(voxels(node)[0] - filled_vessels(0)).max() < 4e-3
    _settled(host, session, lambda: ui.frameLabel.property("text") == "frame 2")
    host.panel.ensureWidgetVisible(ui.ignoreNothingButton)
    _picture(host, "readings-subtracted.png")
    host.click(ui.subtractCheckBox)
    _settled(host, session, lambda: run_of(node).count == 4)
    assert frame_of(node) == 2
    assert not ui.subtractCheckBox.isChecked()
    host.choose(ui.framesComboBox, "Least radiation over time (min)")
    _settled(host, session, lambda: run_of(node) is None)
    assert not ui.frameSlider.isVisible()
    assert "least radiation of 4 frames" in session.rows()[0].geometry
    _picture(host, "readings-min.png")
    host.click(ui.subtractCheckBox)
    _settled(host, session, lambda: session.rows()[0].source.subtracted)
    assert np.abs(voxels(node)[0] - filled_vessels(0)).max() < 4e-3
    host.choose(ui.framesComboBox, "Each frame, one at a time")
    _settled(host, session, lambda: run_of(node) is not None)
    assert ui.frameSlider.isVisible()
    host.click(ui.registerRunButton)
    host.wait_until(lambda: session.registration_progress() is not None)
    _settled(host, session, lambda: session.registration_progress() is None)
    for item in range(2):  # in the last frame the contrast medium is gone
        session.show_frame(node, item)
        assert session.rows()[0].look == "converged", session.log


def test_where_no_mask_is_named_the_box_says_so(host, panel, tmp_path):
    ui = panel.ui
    _add(host, panel, dsa_run(tmp_path / "run.dcm", masks=False))
    assert ui.subtractCheckBox.isVisible()
    assert not ui.subtractCheckBox.isEnabled()
    assert "names no mask frames" in ui.subtractCheckBox.property("toolTip")


def test_the_mask_frames_are_named_by_hand(host, panel, tmp_path):
    ui, session = panel.ui, panel.logic.session
    node = _add(host, panel, dsa_run(tmp_path / "run.dcm", masks=False))
    host.panel.ensureWidgetVisible(ui.ignoreNothingButton)
    host.enter_text(ui.maskFramesLineEdit, "0, 3")
    _settled(host, session, lambda: run_of(node).count == 2)
    assert ui.subtractCheckBox.isChecked()
    assert ui.maskFramesLineEdit.property("text") == "0, 3"
    session.show_frame(node, 1)
    assert np.abs(voxels(node)[0] - filled_vessels(0)).max() < 4e-3
    assert "less frames 0, 3" in session.rows()[0].geometry
    _picture(host, "readings-mask-frames.png")
    host.click(ui.subtractCheckBox)
    _settled(host, session, lambda: run_of(node).count == 4)
    host.click(ui.subtractCheckBox)  # the frames that were named are known still
    _settled(host, session, lambda: run_of(node).count == 2)
    host.enter_text(ui.maskFramesLineEdit, "all")
    assert "Mask frames are numbers" in session.status
    assert ui.maskFramesLineEdit.property("text") == "0, 3"


def test_after_the_scene_was_loaded_the_file_is_asked_for(host, panel, dsa, tmp_path):
    ui, session = panel.ui, panel.logic.session
    _add(host, panel, dsa)
    saved = host.save_scene(tmp_path / "scene.mrb")
    host.close_scene()
    host.load_scene(saved)
    host.wait_until(lambda: session.model_view().ready and len(session.rows()) == 1 and not session.busy, TIMEOUT)
    host.wait_until(ui.framesComboBox.isVisible)
    host.dialogs.answers.append("")  # the user thinks better of it
    host.click(ui.subtractCheckBox)
    host.process(0.2)
    assert not ui.subtractCheckBox.isChecked()
    host.dialogs.answers.append(str(dsa))
    host.click(ui.subtractCheckBox)
    _settled(host, session, lambda: session.rows()[0].source.subtracted)
    assert ui.subtractCheckBox.isChecked()
    host.choose(ui.framesComboBox, "Mean over time")  # it is known by now
    _settled(host, session, lambda: session.rows()[0].source.shown == "mean")


def test_the_steps_open_in_a_window_and_a_rectangle_is_drawn_and_removed(host, panel, dsa):
    ui, session = panel.ui, panel.logic.session
    node = _add(host, panel, dsa)
    assert not ui.ignoreNothingButton.isEnabled()
    host.click(ui.ignoreButton)
    _settled(host, session, lambda: session.rows()[0].ignored == 1)
    assert session.ignored(node) == [(29.0, 26.0, 20.0, 18.0)]
    assert "Drag the handles" in session.status
    host.panel.ensureWidgetVisible(ui.ignoreNothingButton)
    _picture(host, "readings-ignored.png")
    host.click(ui.stepsButton)
    window = panel.panel._steps
    _settled(host, session, lambda: window.dialog is not None)
    assert window.dialog.isVisible()
    assert "Steps of dsa" in window.dialog.property("windowTitle")
    texts = [label.property("text") for label in window.dialog.findChildren(type(ui.frameLabel))]
    assert [t for t in texts if t][:4] == [
        "as stored",
        "as understood: bright is radiation",
        "line integral, bright is dense",
        "what counts",
    ]
    assert any("in a rectangle of yours: 6.6%" in text for text in texts)
    _picture(host, "readings-steps.png", window.dialog)
    host.click(ui.ignoreNothingButton)
    _settled(host, session, lambda: session.rows()[0].ignored == 0)
    assert session.ignored(node) == []


def test_what_was_not_scanned_is_said_by_clicks(host, panel, tmp_path):
    ui, session = panel.ui, panel.logic.session
    volume = patient()
    volume.array[:, :, :10] = 250
    host.select_node(ui.volumeSelector, add_volume(host.scene, volume))
    host.wait_until(lambda: session.model_view().ready, TIMEOUT)
    host.click(ui.valuesCollapsibleButton)
    host.wait_until(ui.useNotScannedCheckBox.isVisible)
    assert not ui.notScannedSpinBox.isEnabled()
    host.click(ui.useNotScannedCheckBox)
    host.wait_until(ui.notScannedSpinBox.isEnabled)
    host.enter_text(ui.notScannedSpinBox, "250")
    host.wait_until(lambda: "10.4% of its voxels have 250 and are air" in session.patient_view().check, TIMEOUT)
    host.wait_until(lambda: session.model_view().ready and session.patient_view().image is not None, TIMEOUT)
    host.process(0.3)
    _picture(host, "readings-not-scanned.png")
    folder = session.model_view().folder
    saved = host.save_scene(tmp_path / "scene.mrb")
    host.close_scene()
    host.load_scene(saved)
    host.wait_until(lambda: session.model_view().ready, TIMEOUT)
    assert (session.parameters.useNotScanned, session.parameters.notScanned) == (True, 250)
    assert session.model_view().folder == folder
