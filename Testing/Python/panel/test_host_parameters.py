"""The host's parameter node and node combo box: what Slicer's modules rely on, on the real scene."""

from __future__ import annotations

from typing import Annotated, Optional

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="the extra 'panel' is not installed")

import slicer
import slicer.util

from Testing.Host import start_host

start_host()  # `qt` and what Slicer adds to `slicer` exist from here

import qt  # noqa: E402
from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper  # noqa: E402


@parameterNodeWrapper
class Parameters:
    volume: slicer.vtkMRMLScalarVolumeNode
    others: list[slicer.vtkMRMLScalarVolumeNode]
    minutes: Annotated[float, WithinRange(0.0, 60.0)] = 5.0
    count: Annotated[int, Default(7)]
    name: str
    device: Annotated[str, Choice(["cpu", "cuda"])] = "cpu"
    mirrored: bool = True
    offset: Optional[float]  # noqa: UP045 - as modules write it
    marks: list[str]


def _parameters(scene):
    return Parameters(scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", "parameters"))


class TestParameterNode:
    def test_the_format_is_that_of_slicer(self, host, new_volume):
        """As Slicer's own wrapper of 2026-08-21 writes these values."""
        parameters, ct = _parameters(host.scene), new_volume()
        parameters.volume, parameters.others = ct, [ct]
        parameters.minutes, parameters.name, parameters.mirrored = 2.5, "AP", False
        parameters.marks, parameters.offset = ["a", "b"], 2
        node = parameters.parameterNode
        assert {name: node.GetParameter(name) for name in node.GetParameterNames()} == {
            "volume": "", "others.len": "1", "others.0": "", "minutes": "2.5", "count": "7", "name": "AP",
            "device": "cpu", "mirrored": "False", "offset.0": "2.0", "marks.len": "2", "marks.0": "a", "marks.1": "b",
        }  # fmt: skip
        assert node.GetNodeReferenceID("volume") == node.GetNodeReferenceID("others.0") == ct.GetID()
        parameters.offset, parameters.others = None, []
        assert (node.GetParameter("offset.1"), node.HasParameter("offset.0")) == ("True", 0)
        assert node.GetNodeReferenceID("others.0") is None

    def test_values_that_do_not_fit_are_refused_and_change_nothing(self, host):
        parameters = _parameters(host.scene)
        for name, value in (("minutes", 61.0), ("device", "tpu"), ("name", None)):
            with pytest.raises(ValueError, match="must"):
                setattr(parameters, name, value)
        model = host.scene.AddNewNodeByClass("vtkMRMLModelNode")
        for name, value in (("count", 1.5), ("mirrored", 1), ("name", 3), ("volume", model), ("marks", [1])):
            with pytest.raises(TypeError, match="must be of type"):
                setattr(parameters, name, value)
        assert (parameters.minutes, parameters.device, parameters.count, parameters.mirrored) == (5.0, "cpu", 7, True)

    def test_a_deleted_node_is_no_node(self, host, new_volume):
        parameters, ct = _parameters(host.scene), new_volume()
        parameters.volume = ct
        host.scene.RemoveNode(ct)
        assert parameters.volume is None

    def test_everything_comes_back_from_a_saved_scene(self, host, new_volume, tmp_path):
        parameters, ct = _parameters(host.scene), new_volume()
        parameters.volume, parameters.marks, parameters.minutes = ct, ["a"], 1.25
        parameters.marks.append("b")
        path = host.save_scene(tmp_path / "scene.mrb")
        host.close_scene()
        host.load_scene(path)
        again = Parameters(host.scene.GetFirstNode("parameters", "vtkMRMLScriptedModuleNode"))
        assert again.volume.GetName() == "CT"
        assert again.volume is not ct
        assert (again.marks, again.minutes, again.offset, again.count) == (["a", "b"], 1.25, None, 7)
        np.testing.assert_array_equal(np.unique(slicer.util.arrayFromVolume(again.volume)), [0, 1000])

    def test_bound_widgets_and_the_node_follow_each_other_until_they_are_unbound(self, host, new_volume):
        parameters, ct = _parameters(host.scene), new_volume()
        root = qt.QWidget()
        box = qt.QVBoxLayout(root)
        widgets = {
            "minutes": qt.QDoubleSpinBox(), "mirrored": qt.QCheckBox(), "device": qt.QComboBox(), "name": qt.QLineEdit(),
            "count": qt.QSpinBox(), "volume": slicer.qMRMLNodeComboBox(),
        }  # fmt: skip
        for name, widget in widgets.items():
            widget.setProperty("SlicerParameterName", name)
            box.addWidget(widget)
        widgets["volume"].nodeTypes = ["vtkMRMLScalarVolumeNode"]
        widgets["volume"].setMRMLScene(host.scene)
        # As in Slicer, the node's answer to each key would rewrite what is being typed.
        widgets["minutes"].keyboardTracking = False
        root.show()
        tag = parameters.connectGui(root)
        assert (widgets["minutes"].value, widgets["minutes"].maximum) == (5.0, 60.0)
        host.click(widgets["mirrored"])
        host.enter_text(widgets["minutes"], "12.5")
        host.enter_text(widgets["name"], "PA")
        host.choose(widgets["device"], "cuda")
        host.select_node(widgets["volume"], ct)
        values = (parameters.mirrored, parameters.minutes, parameters.name, parameters.device, parameters.volume)
        assert values == (False, 12.5, "PA", "cuda", ct)
        parameters.count = 9
        assert widgets["count"].value == 9
        parameters.disconnectGui(tag)
        parameters.count = 10
        widgets["name"].text = "LAT"
        assert (widgets["count"].value, parameters.name) == (9, "PA")
        root.hide()


class TestNodeComboBox:
    def _combo_box(self, host):
        combo_box = slicer.qMRMLNodeComboBox()
        combo_box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        combo_box.noneEnabled = True
        combo_box.addEnabled = combo_box.removeEnabled = False
        combo_box.setMRMLScene(host.scene)
        combo_box.show()
        return combo_box

    def test_it_lists_the_nodes_of_the_scene_as_they_come_go_and_change_their_names(self, host, new_volume):
        combo_box, chosen = self._combo_box(host), []
        combo_box.connect("currentNodeChanged(vtkMRMLNode*)", chosen.append)
        first, second = new_volume("first"), new_volume("second")
        host.scene.AddNewNodeByClass("vtkMRMLModelNode")
        assert combo_box.nodeCount() == 2
        assert combo_box.currentNode() is None
        host.select_node(combo_box, second)
        second.SetName("renamed")
        assert combo_box._host_combo_box.currentText == "renamed"
        host.scene.RemoveNode(first)
        assert combo_box.currentNode() is second
        host.scene.RemoveNode(second)
        assert (combo_box.currentNode(), combo_box.nodeCount(), chosen) == (None, 0, [second, None])
        combo_box.hide()

    def test_it_is_empty_after_the_scene_is_closed(self, host, new_volume):
        combo_box = self._combo_box(host)
        combo_box.setCurrentNode(new_volume())
        host.close_scene()
        assert (combo_box.currentNode(), combo_box.nodeCount(), combo_box.currentNodeID) == (None, 0, "")
        combo_box.hide()
