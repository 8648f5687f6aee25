"""Parts of the panel by themselves, on the panel's own widgets."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import slicer
import slicer.util

from Testing.Python.panel.panels import MODULE
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.panel import dependencies
from XVRegistrationLib.scene.layout import LAYOUT_ID, XRAY_VIEW


@pytest.fixture
def panel(host, tmp_path, monkeypatch):
    monkeypatch.setenv("XVREGISTRATION_HOME", str(tmp_path))
    return host.open_module(MODULE)


class Asked:
    """Stands for the session where only what it is asked for matters."""

    def __init__(self):
        self.geometries, self.said = [], []

    def complete_geometry(self, node, **values):
        if values.get("sdd") == 101.0:
            raise InputError("That is too near.")
        self.geometries.append(values)

    def c_arms(self):
        return [("near", "A C-arm that is near"), ("far", "One that is far")]

    def complete_by_c_arm(self, node, name):
        self.geometries.append(name)

    def complete_by_calibration(self, node, file, *, undistorted):
        self.geometries.append((file, undistorted))

    def say(self, text):
        self.said.append(text)


def row(missing=("sdd",), spacing=(0.14321987, 0.2), notes=(), **known):
    from XVRegistrationLib.panel.views import XrayRow

    values = {"spacing": spacing, "mirrored": True, "dense_is_bright": True, **known}
    origins = {"spacing": "tag", "mirrored": "assumed", "dense_is_bright": "tag", "sdd": "user"}
    texts = {"state": "", "outcome": "", "look": "unknown", "hint": "", "geometry": ""}
    return XrayRow(
        "id",
        None,
        "run",
        True,
        True,
        **texts,
        values=values,
        origins=origins,
        missing=missing,
        notes=notes,
        thumbnail=None,
    )


@pytest.fixture
def form(panel):
    """(form, session, widgets): a second form on the panel's widgets; the panel's own is disconnected."""
    from XVRegistrationLib.panel.widgets.geometry_form import GeometryForm

    ui = panel.ui
    own = panel.panel._xrays._form
    ui.geometryButton.clicked.disconnect(own.on_use)
    ui.cArmComboBox.activated.disconnect(own.on_c_arm)
    ui.calibrationButton.clicked.disconnect(own.on_calibration)
    session = Asked()
    return GeometryForm(ui, session), session, ui


def test_the_form_says_what_is_missing_and_where_the_rest_comes_from(host, form):
    form, _, ui = form
    form.show(row())
    assert "distance" in ui.geometryLabel.text
    assert "spacing" not in ui.geometryLabel.text
    assert (ui.sddOriginLabel.text, ui.rowSpacingOriginLabel.text) == ("needed", "from the file")
    assert ui.mirroredOriginLabel.text.startswith("assumed")
    assert not ui.geometryButton.isEnabled()
    assert "distance" in ui.geometryButton.toolTip
    form.show(row(notes=("The patient lay prone.",)))
    assert ui.geometryLabel.text.endswith("The patient lay prone.")
    form.show(row(missing=()))
    assert ui.geometryLabel.text == ""


def test_only_what_was_changed_is_set_and_rounding_changes_nothing(host, form):
    form, session, ui = form
    form.show(row())
    ui.sddSpinBox.setValue(1000.0)
    ui.geometryButton.click()
    form.show(row(missing=(), sdd=1000.0))
    assert not ui.geometryButton.isEnabled()
    ui.rowSpacingSpinBox.setValue(0.25)
    ui.mirroredCheckBox.setChecked(False)
    ui.geometryButton.click()
    assert session.geometries == [{"sdd": 1000.0}, {"spacing": (0.14321987, 0.25), "mirrored": False}]


def test_a_c_arm_and_a_calibration_are_chosen(host, form):
    form, session, ui = form
    form.show(row())
    ui.cArmComboBox.setCurrentIndex(2)
    form.on_c_arm(2)
    ui.cArmComboBox.setCurrentIndex(0)  # the words that say what to do
    form.on_c_arm(0)
    host.dialogs.answers += ["camera.yaml", "", "camera.yaml"]
    ui.calibrationButton.click()
    ui.calibrationButton.click()  # the user thinks better of it
    ui.undistortedCheckBox.setChecked(True)
    ui.calibrationButton.click()
    assert session.geometries == ["far", ("camera.yaml", False), ("camera.yaml", True)]


def test_what_the_user_types_stays_until_something_else_is_known(host, form):
    form, _, ui = form
    form.show(row())
    ui.sddSpinBox.setValue(987.0)
    form.show(row())
    assert ui.sddSpinBox.value == 987.0
    form.show(row(missing=(), sdd=1100.0))
    assert ui.sddSpinBox.value == 1100.0


def test_one_spacing_alone_is_not_taken(host, form):
    form, _, ui = form
    form.show(row(missing=("sdd", "spacing"), spacing=None))
    ui.columnSpacingSpinBox.setValue(0.2)
    assert not ui.geometryButton.isEnabled()
    ui.rowSpacingSpinBox.setValue(0.2)
    assert ui.geometryButton.isEnabled()


def test_a_mistake_of_the_user_is_said_and_opens_nothing(host, form):
    form, session, ui = form
    form.show(row())
    ui.sddSpinBox.setValue(101.0)
    ui.geometryButton.click()
    assert session.said == ["That is too near."]
    assert session.geometries == []


def test_deleting_asks_first_in_the_button_and_the_question_is_withdrawn(host, panel, monkeypatch):
    from XVRegistrationLib.panel.widgets import model_section

    monkeypatch.setattr(model_section, "SECONDS_TO_CONFIRM", 0.2)
    section, deleted = panel.panel._model, []
    monkeypatch.setattr(panel.logic.session, "delete_model", deleted.append)
    section.on_delete()
    assert "?" in panel.ui.deleteModelButton.text
    assert not deleted
    host.wait_until(lambda: "?" not in panel.ui.deleteModelButton.text)
    section.on_delete()
    assert not deleted
    section.on_delete()
    assert len(deleted) == 1


def test_a_failure_of_the_timer_is_reported_once_and_the_panel_goes_on(host, panel, monkeypatch):
    def fail():
        raise RuntimeError("broken")

    with monkeypatch.context() as broken:
        broken.setattr(panel.logic.session, "tick", fail)
        host.process(0.4)
    assert len(host.errors) == 1
    assert "broken" in panel.ui.statusLabel.text
    host.errors.clear()
    panel.logic.session.say("All is well.")
    host.wait_until(lambda: panel.ui.statusLabel.text == "All is well.")


def test_a_training_is_watched_more_seldom_while_another_module_is_open(host, panel):
    timer = panel.panel._timer
    assert timer.interval < 50
    host.leave_module()
    assert timer.isActive()
    assert timer.interval == 500
    host.enter_module()
    assert timer.interval < 50


def test_setup_offers_what_writes_dicom_segmentations_and_all_else_works(host, panel, monkeypatch):
    ui, setup, asked = panel.ui, panel.panel._setup, []
    assert not ui.setupCollapsibleButton.isVisible()
    monkeypatch.setattr(dependencies, "missing_optional", lambda: [] if asked else ["highdicom>=0.24"])
    monkeypatch.setattr(dependencies, "install_optional", lambda: asked.append(True))
    setup.show()
    assert ui.setupCollapsibleButton.isVisible()
    assert "highdicom>=0.24" in ui.dependenciesLabel.text
    assert setup.obstacle == ""
    assert not ui.installButton.isVisible()
    host.click(ui.installOptionalButton)
    assert asked
    assert not ui.setupCollapsibleButton.isVisible()


WITHOUT_PACKAGES = """
import json, sys
from pathlib import Path
from Testing.Host.without_packages import hide

lines = [line.strip() for line in Path("Resources/requirements.txt").read_text("utf-8").splitlines()]
lacking = ["torch", "torchvision", *(line for line in lines if line and not line.startswith("#"))]
hide(lacking)
from Testing.Host import start_host

host = start_host()
panel = host.open_module("XVRegistration/XVRegistration.py")
ui = panel.ui
before = ui.dependenciesLabel.text
for _ in range(10):
    panel.panel.on_timer()
host.click(ui.installButton)
host.process(0.2)
host.close_scene()
host.process(0.2)
try:
    panel.logic.session
except Exception as error:
    refusal = [type(error).__name__, str(error)]
try:
    sys.modules[type(panel).__module__].XVRegistrationTest().runTest()
except Exception as error:
    skipped = [type(error).__name__, str(error)]
tips = [ui.trainButton.toolTip, ui.registerButton.toolTip]
answer = {"shown": ui.setupCollapsibleButton.isVisible(), "before": before, "after": ui.dependenciesLabel.text}
answer |= {"lacking": lacking, "errors": list(host.errors), "refusal": refusal, "skipped": skipped, "tips": tips}
host.close()
print(json.dumps(answer))
"""


def test_without_any_package_the_panel_opens_and_says_what_is_missing(host, tmp_path):
    """In another process, as this one has loaded them."""
    environment = {**os.environ, "XVREGISTRATION_HOME": str(tmp_path)}
    command = [sys.executable, "-c", WITHOUT_PACKAGES]
    root = MODULE.parents[1]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    assert answer["errors"] == []
    assert answer["shown"]
    assert [name for name in answer["lacking"] if name not in answer["before"]] == []
    # There is no PyTorch extension in the host: Install says so beside itself, and what is missing still.
    assert answer["after"].startswith(answer["before"])
    assert "Extensions Manager" in answer["after"]
    assert all("Setup" in tip for tip in answer["tips"])
    assert answer["refusal"][0] == "InputError"
    assert answer["skipped"][0] == "SkipTest"
    assert all("torch" in answer[key][1] for key in ("refusal", "skipped"))


def test_the_session_goes_on_after_a_scene_was_closed_in_another_module(host, panel):
    session = panel.logic.session
    host.leave_module()
    host.close_scene()
    assert session.parameters is not None
    session.parameters.preset = "pelvis-ap"
    assert slicer.util.getModuleLogic("XVRegistration").getParameterNode().preset == "pelvis-ap"
    assert not panel.panel._views.entered


def test_a_volume_that_is_loaded_does_not_replace_the_xray_in_its_view(host, panel, new_volume):
    logic = slicer.app.applicationLogic()
    composites = {name: logic.GetSliceLogicByLayoutName(name).GetSliceCompositeNode() for name in (XRAY_VIEW, "Red")}
    xray = new_volume("X-ray")
    composites[XRAY_VIEW].SetBackgroundVolumeID(xray.GetID())
    other = new_volume("other")
    logic.GetSelectionNode().SetActiveVolumeID(other.GetID())
    logic.PropagateVolumeSelection()
    assert composites["Red"].GetBackgroundVolumeID() == other.GetID()
    assert composites[XRAY_VIEW].GetBackgroundVolumeID() == xray.GetID()


def test_the_arrangement_of_views_is_known_before_the_module_is_opened(host, panel):
    node = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    host.leave_module()
    node.SetLayoutDescription(LAYOUT_ID, "")
    slicer.app.startupCompleted.emit()
    assert XRAY_VIEW in node.GetLayoutDescription(LAYOUT_ID)


def test_a_reloaded_panel_is_open_only_if_it_was(host, panel):
    node = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
    again = host.reload_module()
    assert again is not panel
    assert again.panel._timer.interval < 50
    assert again.panel._views.entered
    assert node.GetViewArrangement() == LAYOUT_ID
    host.leave_module()
    assert node.GetViewArrangement() != LAYOUT_ID
    closed = host.reload_module()
    assert not closed.panel._views.entered
    assert node.GetViewArrangement() != LAYOUT_ID
    slicer.util.selectModule("XVRegistration")
    assert closed.panel._views.entered


def test_at_first_segments_are_drawn_as_outlines_and_not_filled(host, panel):
    boxes = panel.ui.showLabelsCheckBox, panel.ui.showOutlinesCheckBox
    assert [(box.text, box.isChecked()) for box in boxes] == [("Filled", False), ("Outlines", True)]


@pytest.mark.long
def test_the_modules_own_test_for_inside_slicer_passes(host, panel):
    sys.modules[type(panel).__module__].XVRegistrationTest().runTest()
