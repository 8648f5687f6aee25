"""What the X-ray's view shows after a click or a number in the section See it: windows, labels, targets, the second X-ray."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import slicer.util

from Testing.Python.panel.panels import TIMEOUT
from Testing.Python.panel.patients import bones, patient, write_xray
from Testing.Python.panel.standing import panel_with_xrays
from XVRegistrationLib.scene.comparison import drr_of, window_of
from XVRegistrationLib.scene.transforms import ijk_to_world
from XVRegistrationLib.scene.volumes import add_segmentation, voxels

PIXEL = 39, 35  # column and row, in the middle of the X-ray


@pytest.fixture(scope="module")
def opened(root, files, tmp_path_factory):
    third = write_xray(tmp_path_factory.mktemp("third") / "third.nii.gz", patient(), 0)
    with panel_with_xrays(root, [*files, third]) as standing:
        yield standing


def _blend(xrays, share):
    import qt

    xrays.host.enter_text(xrays.ui.blendSlider.findChild(qt.QDoubleSpinBox), share)
    composite = slicer.app.layoutManager().sliceWidget("XVXray").mrmlSliceCompositeNode()
    xrays.host.wait_until(lambda: composite.GetForegroundOpacity() == float(share))


def _grey(xrays, image):
    """0 to 255, of the image's PIXEL in the view."""
    to_xy = np.linalg.inv(slicer.util.arrayFromVTKMatrix(xrays.slice_node().GetXYToRAS()))
    x, y = (to_xy @ ijk_to_world(image) @ [*PIXEL, 0.0, 1.0])[:2]
    picture = xrays.picture()
    return picture[round(picture.shape[0] - 1 - y), round(x)].mean()


@pytest.mark.parametrize("part", ["xray", "drr"])
def test_a_window_that_is_typed_is_seen_and_its_button_brings_the_usual_one_back(xrays, part):
    host, ui, node = xrays.host, xrays.ui, xrays.nodes[0]
    _blend(xrays, {"xray": "0", "drr": "1"}[part])
    window, level, button = (getattr(ui, f"{part}{name}") for name in ("WindowSpinBox", "LevelSpinBox", "WindowButton"))
    image = {"xray": node, "drr": drr_of(node)}[part]
    column, row = PIXEL
    value, (low, high, inverted) = float(voxels(image)[0, row, column]), window_of(image)
    usual = xrays.picture()

    # What lies at the level is half as bright as white; a quarter of the window beside it, a quarter brighter or darker.
    for width, beside in ((4.0, 0.0), (4.0, 1.0), (2.0, -0.5)):
        host.enter_text(window, f"{width:g}")
        host.enter_text(level, f"{value + beside:.4f}")
        expected = 255 * (0.5 - beside / width)
        expected = 255 - expected if inverted else expected
        host.wait_until(lambda expected=expected: abs(_grey(xrays, image) - expected) < 6)
        seen = xrays.session.window(part)
        assert (seen.window, seen.level) == pytest.approx((width, value + beside), abs=0.05)
    assert float(window.property("value")) == pytest.approx(2.0)
    host.click(button)
    host.wait_until(lambda: np.abs(xrays.picture() - usual).max() <= 2)
    assert window_of(image) == pytest.approx((low, high, inverted))
    shown = float(window.property("value")), float(level.property("value"))
    assert shown == pytest.approx((high - low, (high + low) / 2), abs=0.05)


def test_labels_outlines_and_targets_are_drawn_while_their_boxes_are_checked(xrays):
    host, ui = xrays.host, xrays.ui
    _blend(xrays, "0")
    host.click(ui.showOutlinesCheckBox)
    host.select_node(ui.segmentationSelector, add_segmentation(host.scene, bones()))
    targets = host.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Targets")
    targets.AddControlPoint(-35.0, 10.0, 25.0, "left")
    host.select_node(ui.targetsSelector, targets)
    host.click(ui.showTargetsCheckBox)
    xrays.settle()
    host.wait_until(lambda: xrays.nodes[0].GetNodeReference("XVRegistration.Labels") is not None, TIMEOUT)
    plain = xrays.picture()

    def drawn():
        return int((np.abs(xrays.picture() - plain).max(axis=2) > 20).sum())

    counts = []
    for box in (ui.showLabelsCheckBox, ui.showOutlinesCheckBox, ui.showTargetsCheckBox):
        host.click(box)
        host.wait_until(lambda: drawn() > 0)
        counts.append(drawn())
        host.click(box)
        host.wait_until(lambda: drawn() == 0)
    filled, outlined, marked = counts
    assert filled > 3 * outlined > 0
    assert marked > 0
    host.click(ui.showOutlinesCheckBox)
    host.click(ui.showTargetsCheckBox)
    host.wait_until(lambda: drawn() > outlined)


def test_the_xray_of_the_list_is_shown_beside(xrays):
    host, ui = xrays.host, xrays.ui
    _first, second, third = xrays.nodes
    logic = slicer.app.applicationLogic()

    def beside():
        return logic.GetSliceLogicByLayoutName("XVXray2").GetSliceCompositeNode().GetBackgroundVolumeID()

    host.click(ui.biplaneCheckBox)
    host.wait_until(lambda: logic.GetSliceLogicByLayoutName("XVXray2") and beside() == second.GetID())
    xrays.settle()
    before = xrays.picture("XVXray2")
    combo = ui.secondXrayComboBox
    assert [combo.itemText(i) for i in range(combo.count)] == ["tilted", "third"]
    host.choose(combo, "third")
    host.wait_until(lambda: beside() == third.GetID())
    host.wait_until(lambda: np.abs(xrays.picture("XVXray2") - before).max() > 50)
    assert xrays.session.beside is third
    host.click_cell(ui.xrayTable, 1, 1)  # another one is shown: what is beside it stays
    host.wait_until(lambda: xrays.session.rows()[1].current)
    host.process(0.1)
    assert beside() == third.GetID()
    assert [combo.itemText(i) for i in range(combo.count)] == ["front", "third"]
    host.click(ui.biplaneCheckBox)
