"""The host itself: that it refuses what Slicer would refuse, keeps what Slicer keeps, and shows what is there."""

from __future__ import annotations

import gc
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PySide6", reason="the extra 'panel' is not installed")

import slicer
import slicer.util
import vtk
from PySide6 import QtCore, QtWidgets

from Testing.Host import start_host
from Testing.Host.host_classes import api, host_classes, names_of, qt_base_of
from Testing.Host.ui_loader import UiError

start_host()  # `qt`, `ctk` and what Slicer adds to `slicer` exist from here

import ctk  # noqa: E402
import qt  # noqa: E402

ROOT = Path(__file__).resolve().parents[3]
MODULE = ROOT / "XVRegistration/XVRegistration.py"
LAYOUT = """<layout type="horizontal" split="true">
 <item splitSize="700"><view class="vtkMRMLSliceNode" singletontag="Red"/></item>
 <item><layout type="vertical"><item><view class="vtkMRMLViewNode" singletontag="1"/></item>
 <item><view class="vtkMRMLPlotViewNode" singletontag="HostTestPlot"/></item></layout></item></layout>"""


def _pixels(widget):
    """(H, W, 3) of a widget as it is seen."""
    image = QtWidgets.QWidget.grab(widget).toImage().convertToFormat(qt.QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).copy()


class TestDialect:
    def test_properties_are_attributes_and_their_getters_are_not_methods(self, host):
        button = qt.QPushButton("Go")
        assert (button.text, button.enabled, button.isEnabled()) == ("Go", True, True)
        button.text = "Stop"
        button.enabled = False
        assert (button.text, button.isEnabled(), button.property("text")) == ("Stop", False, "Stop")
        with pytest.raises(TypeError):
            button.text()

    def test_what_does_not_exist_cannot_be_set_on_an_object_of_qt(self, host):
        button = qt.QPushButton()
        with pytest.raises(AttributeError, match="'enabeld' does not exist on QPushButton"):
            button.enabeld = True
        with pytest.raises(AttributeError, match="cannot be assigned"):
            button.setText = "x"
        with pytest.raises(AttributeError, match="does not accept"):
            qt.QDoubleSpinBox().value = "much"

    def test_a_python_subclass_has_attributes_of_its_own(self, host):
        class Mine(qt.QWidget):
            def __init__(self):
                qt.QWidget.__init__(self)
                self.count = 3

        assert Mine().count == 3

    def test_an_unknown_signal_cannot_be_connected(self, host):
        with pytest.raises(AttributeError, match="no signal 'klicked"):
            qt.QPushButton().connect("klicked(bool)", print)
        with pytest.raises(AttributeError):
            _ = qt.QPushButton().klicked

    def test_a_slot_gets_as_many_arguments_as_it_takes_and_is_kept_alive(self, host):
        got = []

        class Owner:
            def one(self, checked=None):
                got.append(("one", checked))

            def none(self):
                got.append(("none",))

        button = qt.QPushButton()
        button.checkable = True
        button.clicked.connect(Owner().one)
        button.clicked.connect(Owner().none)
        button.connect("clicked()", lambda: got.append(("by signature",)))
        button.connect("clicked(bool)", lambda on: got.append(("by signature", on)))
        gc.collect()
        button.click()
        assert got == [("one", True), ("none",), ("by signature",), ("by signature", True)]

    def test_a_timer_does_not_fill_default_arguments(self, host):
        got, timer = [], qt.QTimer()
        timer.setSingleShot(True)
        timer.timeout.connect(lambda caller="default": got.append(caller))
        timer.start(1)
        host.wait_until(lambda: got)
        assert got == ["default"]

    def test_a_slot_can_be_disconnected_both_ways(self, host):
        got, button = [], qt.QPushButton()

        def slot(checked=None):
            got.append(checked)

        button.clicked.connect(slot)
        button.connect("clicked(bool)", slot)
        button.clicked.disconnect(slot)
        button.click()
        button.disconnect("clicked(bool)", slot)
        button.click()
        assert got == [False]

    def test_what_qt_makes_itself_is_an_instance_of_the_classes_in_qt(self, host):
        table = qt.QTableWidget(2, 3)
        assert isinstance(table.horizontalHeader(), qt.QHeaderView)
        assert (table.rowCount, table.columnCount) == (2, 3)

    def test_a_missing_attribute_is_a_child_or_a_dynamic_property(self, host):
        parent = qt.QWidget()
        child = qt.QLabel("text", parent)
        child.objectName = "inner"
        parent.setProperty("SlicerParameterName", "volume")
        assert parent.inner.text == "text"
        assert parent.SlicerParameterName == "volume"
        with pytest.raises(AttributeError):
            _ = parent.other


class TestClassesOfSlicerAndCtk:
    def test_only_slots_and_invokable_methods_can_be_called(self, host):
        section = ctk.ctkCollapsibleButton()
        with pytest.raises(AttributeError):
            section.setCollapsed(True)
        section.collapsed = True
        assert section.collapsed
        slider = ctk.ctkSliderWidget()
        with pytest.raises(AttributeError):
            slider.setMaximum(3.0)
        slider.maximum, slider.value = 500.0, 300.0
        assert slider.value == 300.0
        with pytest.raises(AttributeError, match="does not exist"):
            slider.maximun = 3.0

    def test_a_section_hides_its_contents_and_what_was_hidden_stays_hidden(self, host):
        section = ctk.ctkCollapsibleButton("Section")
        layout = qt.QVBoxLayout(section)
        seen, unseen = qt.QLabel("seen"), qt.QLabel("unseen")
        layout.addWidget(seen)
        layout.addWidget(unseen)
        unseen.setVisible(False)
        section.show()
        section.collapsed = True
        assert not seen.isVisible()
        section.collapsed = False
        assert (seen.isVisible(), unseen.isVisible()) == (True, False)
        section.collapsed = True
        seen.setVisible(False)
        unseen.setVisible(True)
        assert (seen.isVisible(), unseen.isVisible()) == (False, False)
        later = qt.QLabel("later")
        layout.addWidget(later)
        host.process(0.05)
        assert not later.isVisible()
        section.collapsed = False
        assert (seen.isVisible(), unseen.isVisible(), later.isVisible()) == (False, True, True)

    def test_the_host_has_no_public_name_that_the_headers_lack(self):
        entries, wrong = api(), []
        for name, cls in host_classes().items():
            assert name in entries, name
            # VTK's widget for OpenGL is a plain widget as far as Python can see.
            qt_base = getattr(QtWidgets, qt_base_of(name), QtWidgets.QWidget)
            for base in cls.__mro__:
                if base.__module__.startswith("Testing.Host"):
                    public = {n for n in base.__dict__ if not n.startswith("_") and n != "staticMetaObject"}
                    public -= {"connect", "disconnect", "findChild", "findChildren"}
                    wrong += [f"{name}.{n}" for n in public - names_of(name) if not hasattr(qt_base, n)]
        assert not wrong

    def test_every_class_is_listed_with_its_header_and_the_revision_of_the_source(self):
        for name, entry in api().items():
            assert entry["header"].endswith(f"/{name}.h")
            assert re.fullmatch(r"[0-9a-f]{40}", entry["revision"])

    def test_the_panel_uses_only_names_in_slicers_headers(self):
        root = ET.parse(MODULE.parent / "Resources/UI/XVRegistration.ui").getroot()
        classes = {w.get("name"): w.get("class") for w in root.iter("widget")}
        wrong = [
            f"{name} in the .ui file has {p.get('name')}"
            for w in root.iter("widget")
            if (name := w.get("class")) in api()
            for p in w.findall("property")
            if p.get("stdset") != "0" and not _is_known(name, p.get("name"))
        ]
        files = [MODULE, *sorted((ROOT / "XVRegistrationLib/panel").rglob("*.py"))]
        for path in files:
            source = path.read_text(encoding="utf-8")
            uses = [(classes[w], a) for w, a in re.findall(r"\bui\.(\w+)\.(\w+)", source) if w in classes]
            uses += [("qSlicerApplication", a) for a in re.findall(r"\bslicer\.app\.(\w+)", source)]
            uses += [("qSlicerLayoutManager", a) for a in re.findall(r"\blayoutManager\(\)\.(\w+)", source)]
            made = re.findall(r"\b(?:slicer\.(q\w+)|ctk\.(ctk\w+))", source)
            wrong += [f"{path.name}: no class {a or b}" for a, b in made if (a or b) not in api()]
            wrong += [f"{path.name}: {c}.{a}" for c, a in uses if c in api() and not _is_known(c, a)]
        assert not wrong


def _is_known(class_name, name):
    return name in names_of(class_name) or hasattr(getattr(QtWidgets, qt_base_of(class_name), object), name)


def _load_ui(folder, contents):
    path = folder / "test.ui"
    path.write_text(f'<ui version="4.0"><class>Test</class>{contents}</ui>', encoding="utf-8")
    return slicer.util.loadUI(str(path))


class TestUiFiles:
    def test_widgets_are_made_of_the_hosts_classes_with_their_properties(self, host, tmp_path):
        widget = _load_ui(
            tmp_path,
            """<widget class="qMRMLWidget" name="Test"><layout class="QVBoxLayout" name="box"><item>
            <widget class="ctkPathLineEdit" name="path"><property name="filters">
            <set>ctkPathLineEdit::Dirs|ctkPathLineEdit::Readable</set></property></widget></item><item>
            <widget class="qMRMLNodeComboBox" name="nodes"><property name="nodeTypes"><stringlist>
            <string>vtkMRMLScalarVolumeNode</string></stringlist></property></widget></item></layout></widget>
            <connections><connection><sender>Test</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
            <receiver>nodes</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections>""",
        )
        ui = slicer.util.childWidgetVariables(widget)
        assert int(ui.path.filters) == 0x001 | 0x010
        assert ui.nodes.nodeTypes == ("vtkMRMLScalarVolumeNode",)
        assert ui.nodes.mrmlScene() is None
        widget.setMRMLScene(slicer.mrmlScene)
        assert ui.nodes.mrmlScene() is slicer.mrmlScene

    @pytest.mark.parametrize(
        "contents",
        [
            '<widget class="QLabel" name="a"><property name="txt"><string/></property></widget>',
            '<widget class="ctkCollapsibleButton" name="a"><property name="height_"><number>1</number></property></widget>',
            '<widget class="qMRMLNoSuchWidget" name="a"/>',
        ],
    )
    def test_an_unknown_property_or_class_is_refused(self, host, tmp_path, contents):
        with pytest.raises(UiError):
            _load_ui(tmp_path, f'<widget class="QWidget" name="Test">{contents}</widget>')


class TestViews:
    def test_a_slice_shows_the_volume_and_follows_the_wheel(self, host, new_volume):
        manager = slicer.app.layoutManager()
        manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
        view = manager.sliceWidget("Red").sliceView()
        host.process(0.1)
        assert _pixels(view).max() < 100  # a crosshair or a label at most
        slicer.util.setSliceViewerLayers(background=new_volume(), fit=True)
        host.process(0.1)
        bright = (_pixels(view).min(axis=2) > 200).mean()
        assert 0.05 < bright < 0.9
        logic = manager.sliceWidget("Red").sliceLogic()
        before = logic.GetSliceOffset()
        wheel = qt.QWheelEvent(
            QtCore.QPointF(50, 50), QtCore.QPointF(50, 50), QtCore.QPoint(), QtCore.QPoint(0, 120),
            qt.Qt.NoButton, qt.Qt.NoModifier, qt.Qt.NoScrollPhase, False,
        )  # fmt: skip
        QtWidgets.QApplication.sendEvent(view, wheel)
        assert logic.GetSliceOffset() != before

    def test_the_3d_view_shows_a_model(self, host):
        manager = slicer.app.layoutManager()
        manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUp3DView)
        view = manager.threeDWidget(0).threeDView()
        source = vtk.vtkSphereSource()
        source.SetRadius(50)
        source.Update()
        sphere = host.scene.AddNewNodeByClass("vtkMRMLModelNode", "sphere")
        sphere.SetAndObservePolyData(source.GetOutput())
        sphere.CreateDefaultDisplayNodes()
        sphere.GetDisplayNode().SetColor(1, 0, 0)
        manager.resetThreeDViews()
        host.process(0.1)
        red = _pixels(view).astype(int)
        assert ((red[..., 0] - red[..., 2]) > 60).mean() > 0.02

    def test_a_plot_is_drawn_and_follows_its_table(self, host):
        node = slicer.app.layoutManager().layoutLogic().GetLayoutNode()
        node.AddLayoutDescription(9001, LAYOUT)
        slicer.app.layoutManager().setLayout(9001)
        widget = slicer.app.layoutManager().plotWidget(0)
        table = host.scene.AddNewNodeByClass("vtkMRMLTableNode", "table")
        slicer.util.updateTableFromArray(table, [np.arange(9.0), np.arange(9.0) ** 2], ["x", "y"])
        series = host.scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "loss")
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName("x")
        series.SetYColumnName("y")
        series.SetPlotType(series.PlotTypeScatter)
        series.SetColor(1, 0, 0)
        chart = host.scene.AddNewNodeByClass("vtkMRMLPlotChartNode", "chart")
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
        widget.mrmlPlotViewNode().SetPlotChartNodeID(chart.GetID())
        host.process(0.1)
        before = _pixels(widget.plotView()).astype(int)
        assert ((before[..., 0] - before[..., 1]) > 100).sum() > 50
        slicer.util.updateTableFromArray(table, [np.arange(9.0), 64 - np.arange(9.0) ** 2], ["x", "y"])
        host.process(0.1)
        assert (np.abs(_pixels(widget.plotView()).astype(int) - before).max(axis=2) > 100).sum() > 50

    def test_a_layout_of_ones_own_replaces_the_views_and_gives_them_back(self, host):
        manager = slicer.app.layoutManager()
        manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        red = manager.sliceWidget("Red")
        manager.layoutLogic().GetLayoutNode().AddLayoutDescription(9001, LAYOUT)
        manager.setLayout(9001)
        host.process(0.05)
        assert manager.layout == 9001
        assert red.isVisible()
        assert not manager.sliceWidget("Green").isVisible()
        assert red.width > 1.3 * manager.threeDWidget(0).width
        manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpView)
        host.process(0.05)
        assert manager.sliceWidget("Red") is red
        assert manager.sliceWidget("Green").isVisible()
        with pytest.raises(ValueError, match="no layout"):
            manager.setLayout(9999)


class TestErrors:
    def test_exceptions_in_slots_and_observers_are_collected(self, host, new_volume):
        button, node = qt.QPushButton(), new_volume()
        button.clicked.connect(lambda: 1 / 0)
        node.AddObserver("ModifiedEvent", lambda *_: [][1])
        button.click()
        node.SetName("new")
        assert ["ZeroDivisionError" in host.errors[0], "IndexError" in host.errors[1]] == [True, True]
        with pytest.raises(AssertionError, match="2 uncaught exceptions"):
            host.errors.check()
        assert not host.errors

    def test_disabled_and_hidden_widgets_cannot_be_clicked(self, host):
        button = qt.QPushButton()
        with pytest.raises(AssertionError, match="cannot be seen"):
            host.click(button)
        button.show()
        button.setEnabled(False)
        with pytest.raises(AssertionError, match="disabled"):
            host.click(button)
        button.hide()

    def test_a_file_dialog_answers_what_was_prepared_and_never_waits(self, host):
        host.dialogs.answers.append(["/a.dcm", "/b.dcm"])
        assert qt.QFileDialog.getOpenFileNames(None, "Open") == ("/a.dcm", "/b.dcm")
        with pytest.raises(AssertionError, match="no answer was prepared"):
            qt.QFileDialog.getExistingDirectory(None)


class TestModule:
    def test_the_module_opens_survives_closing_the_scene_and_reloading_and_can_be_seen(
        self, host, new_volume, tmp_path
    ):
        widget = host.open_module(MODULE)
        slicer.util.setSliceViewerLayers(background=new_volume(), fit=True)
        host.process(0.2)
        host.errors.check()
        picture = qt.QImage(str(host.screenshot(tmp_path / "window.png")))
        assert (picture.width(), picture.height()) == (1500, 900)
        colors = {picture.pixel(x, y) for x in range(0, 1500, 7) for y in range(0, 900, 7)}
        assert len(colors) > 20
        host.close_scene()
        host.errors.check()
        again = host.reload_module()
        assert again is not widget
        assert slicer.util.getModuleWidget("XVRegistration") is again
        host.leave_module()
        host.process(0.1)
        host.enter_module()
        host.process(0.1)
        host.leave_module()
