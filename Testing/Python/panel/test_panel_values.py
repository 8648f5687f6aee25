"""What a volume's values are, said by clicks in the panel."""

from __future__ import annotations

import json
import os
from pathlib import Path

import slicer.util

from Testing.Python.panel.panels import TIMEOUT
from Testing.Python.panel.patients import angiogram, bones, mr, patient
from XVRegistrationLib.scene.volumes import add_segmentation, add_volume

VESSELS, MR = "Vessels (rotational DSA, MRA)", "MR: densities from the segmentation"


def _picture(host, name):
    """A screenshot, where somebody asks for one."""
    if "XVREGISTRATION_PICTURES" in os.environ:
        host.screenshot(Path(os.environ["XVREGISTRATION_PICTURES"]) / name)


def _text(label):
    return label.property("text")


def test_the_question_is_hidden_for_a_ct_and_opens_by_itself_for_an_angiogram(host, panel, tmp_path):
    ui, session = panel.ui, panel.logic.session
    host.select_node(ui.volumeSelector, add_volume(host.scene, patient()))
    host.wait_until(lambda: session.model_view().ready, TIMEOUT)
    assert not ui.valuesComboBox.isVisible()
    assert ui.valuesCollapsibleButton.isVisible()
    host.click(ui.valuesCollapsibleButton)  # whoever wants to see it opens it
    assert ui.valuesComboBox.property("currentText") == "CT in Hounsfield units"
    host.click(ui.valuesCollapsibleButton)

    vessels = add_volume(host.scene, angiogram())
    host.select_node(ui.volumeSelector, vessels)
    host.wait_until(lambda: session.patient_view().asks, TIMEOUT)
    host.wait_until(ui.valuesComboBox.isVisible)
    assert not ui.vesselsLowSpinBox.isVisible()
    for said in (_text(ui.patientLabel), _text(ui.modelLabel), ui.trainButton.property("toolTip")):
        assert "Say in the section Patient what its values are." in said
    assert not ui.trainButton.isEnabled()
    _picture(host, "values-asked.png")

    host.choose(ui.valuesComboBox, VESSELS)
    host.wait_until(lambda: session.model_view().ready, TIMEOUT)
    host.wait_until(ui.vesselsLowSpinBox.isVisible)
    proposed = ui.vesselsLowSpinBox.property("value"), ui.vesselsHighSpinBox.property("value")
    assert 200 < proposed[0] < 900 < proposed[1] < 1650
    assert "Vessels with values from" in _text(ui.patientLabel)
    host.wait_until(lambda: session.patient_view().image is not None, TIMEOUT)
    host.process(0.3)
    _picture(host, "values-vessels.png")

    first = session.model_view().folder
    host.enter_text(ui.vesselsHighSpinBox, "1500")
    host.wait_until(lambda: session.model_view().ready and session.model_view().folder != first, TIMEOUT)
    assert session.parameters.vesselsHigh == 1500
    host.enter_text(ui.vesselsLowSpinBox, "2000")
    host.wait_until(lambda: "must rise" in _text(ui.patientLabel), TIMEOUT)
    host.enter_text(ui.vesselsLowSpinBox, "300")
    host.wait_until(lambda: session.model_view().ready, TIMEOUT)

    saved = host.save_scene(tmp_path / "scene.mrb")
    folder = session.model_view().folder
    host.close_scene()
    host.wait_until(lambda: not session.model_view().ready, TIMEOUT)
    host.load_scene(saved)
    host.wait_until(lambda: session.model_view().ready, TIMEOUT)
    assert ui.valuesComboBox.property("currentText") == VESSELS
    assert (ui.vesselsLowSpinBox.property("value"), ui.vesselsHighSpinBox.property("value")) == (300, 1500)
    assert session.model_view().folder == folder


def test_an_mr_asks_for_its_segmentation_and_renders_by_it(host, panel, tmp_path):
    ui, session = panel.ui, panel.logic.session
    node = add_volume(host.scene, mr())
    segments = add_segmentation(host.scene, bones(), node)
    host.select_node(ui.volumeSelector, node)
    host.wait_until(ui.valuesComboBox.isVisible, TIMEOUT)
    host.choose(ui.valuesComboBox, MR)
    host.wait_until(lambda: "Choose the segmentation" in _text(ui.patientLabel), TIMEOUT)
    host.select_node(ui.segmentationSelector, segments)
    host.wait_until(lambda: session.model_view().ready and session.patient_view().image is not None, TIMEOUT)
    assert "Densities of 4 structures" in _text(ui.patientLabel)
    host.process(0.3)
    _picture(host, "values-mr.png")
    assert not ui.usualDensitiesButton.isEnabled()
    table = tmp_path / "table.json"
    for text, said in (("[1]", "is not a table of densities"), ('{"bone*": 900, "*": 40}', "by a table of your own")):
        table.write_text(text)
        host.dialogs.answers.append(str(table))
        host.click(ui.densitiesButton)
        host.wait_until(lambda said=said: said in session.status + _text(ui.patientLabel), TIMEOUT)
    host.wait_until(lambda: session.model_view().ready, TIMEOUT)
    host.process(0.3)
    _picture(host, "values-densities.png")
    assert json.loads(slicer.util.getNode("mr").GetAttribute("XVRegistration.Patient.densities"))["bone*"] == 900
    host.click(ui.usualDensitiesButton)
    host.wait_until(lambda: "by a table" not in _text(ui.patientLabel), TIMEOUT)
    # The user closes it: it does not open again for the same volume.
    host.click(ui.valuesCollapsibleButton)
    host.process(0.2)
    assert not ui.valuesComboBox.isVisible()
    assert slicer.util.getNode("mr").GetAttribute("XVRegistration.Patient.volumeValues") == "structures"


def test_titles_fit_into_their_fields_and_into_the_lists_that_open(host, panel):
    ui = panel.ui
    host.click(ui.valuesCollapsibleButton)
    host.wait_until(ui.valuesComboBox.isVisible)
    for combo in (ui.presetComboBox, ui.valuesComboBox, ui.comparisonComboBox):
        metrics = combo.fontMetrics()
        widest = max(metrics.horizontalAdvance(combo.itemText(i)) for i in range(combo.property("count")))
        assert widest + metrics.height() <= combo.property("width")
        # However narrow the field is: in a narrower panel, or with larger letters.
        combo.setFixedWidth(80)
        combo.showPopup()
        host.process(0.1)
        assert widest < combo.view().property("width")
        combo.hidePopup()
