"""The panel's .ui file and the Python that uses it must name the same things."""

from __future__ import annotations

import ast
import re
import xml.etree.ElementTree as ET

import pytest


@pytest.fixture(scope="module")
def ui(tree):
    return ET.parse(tree.module / "Resources/UI/XVRegistration.ui").getroot()


@pytest.fixture(scope="module")
def module_source(tree):
    return (tree.module / "XVRegistration.py").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def panel_sources(tree, module_source):
    folder = tree.library / "panel"
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.py"))}
    return {"XVRegistration.py": module_source} | {n: path.read_text(encoding="utf-8") for n, path in files.items()}


def _fields(source, name) -> dict[str, ast.AnnAssign]:
    """Annotated fields of a class, by their names."""
    classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    node = next(c for c in classes if c.name == name)
    return {field.target.id: field for field in node.body if isinstance(field, ast.AnnAssign)}


@pytest.fixture(scope="module")
def parameters(panel_sources):
    """Fields of the parameter node: name -> annotation."""
    fields = _fields(panel_sources["parameter_node.py"], "XVRegistrationParameterNode")
    return {name: ast.unparse(field.annotation) for name, field in fields.items()}


def _property(widget, name) -> str | None:
    for p in widget.findall("property"):
        if p.get("name") == name:
            return "".join(p[0].itertext())
    return None


def test_the_top_widget_receives_the_scene_and_is_named_like_the_module(ui):
    top = ui.find("widget")
    assert (top.get("class"), top.get("name"), ui.findtext("class")) == (
        "qMRMLWidget",
        "XVRegistration",
        "XVRegistration",
    )


def test_no_two_widgets_share_a_name(ui):
    names = [w.get("name") for w in ui.iter("widget")]
    assert len(names) == len(set(names))


def test_every_widget_of_slicer_is_declared(ui):
    used = {w.get("class") for w in ui.iter("widget") if re.match("q(MRML|Slicer)|ctk", w.get("class"))}
    assert used == {c.text for c in ui.findall("customwidgets/customwidget/class")}


def test_every_node_selector_is_connected_to_the_scene(ui):
    selectors = {w.get("name") for w in ui.iter("widget") if w.get("class") == "qMRMLNodeComboBox"}
    connections = {
        (c.findtext("sender"), c.findtext("signal"), c.findtext("receiver"), c.findtext("slot"))
        for c in ui.iter("connection")
    }
    assert selectors
    assert connections == {
        ("XVRegistration", "mrmlSceneChanged(vtkMRMLScene*)", name, "setMRMLScene(vtkMRMLScene*)") for name in selectors
    }


def test_every_bound_widget_names_a_field_of_the_parameter_node_and_no_field_twice(ui, parameters):
    bound = [name for w in ui.iter("widget") if (name := _property(w, "SlicerParameterName"))]
    assert len(bound) == len(set(bound))
    assert set(bound) <= parameters.keys()


def test_every_field_of_the_parameter_node_is_bound_or_used_by_the_panel(ui, parameters, panel_sources):
    bound = {_property(w, "SlicerParameterName") for w in ui.iter("widget")}
    source = "\n".join(panel_sources.values())
    assert not {name for name in parameters.keys() - bound if not re.search(rf"\.{name}\b", source)}


def test_a_script_without_a_parameter_node_has_the_same_fields_with_the_same_defaults(panel_sources):
    def defaults(source, name):
        values = {k: f.value and ast.unparse(f.value) for k, f in _fields(source, name).items()}
        return {key: None if value in ("None", "''") else value for key, value in values.items()}

    in_slicer = defaults(panel_sources["parameter_node.py"], "XVRegistrationParameterNode")
    assert in_slicer == defaults(panel_sources["parameters.py"], "Parameters")


def test_the_values_that_a_bound_widget_allows_are_those_of_its_field(ui, parameters):
    compared = 0
    for widget in ui.iter("widget"):
        field = _property(widget, "SlicerParameterName")
        bounds = re.search(r"WithinRange\(([\d.]+), ([\d.]+)\)", parameters.get(field, "") if field else "")
        if bounds:
            compared += 1
            shown = [float(_property(widget, side).strip()) for side in ("minimum", "maximum")]
            assert shown == [float(bound) for bound in bounds.groups()], field
    assert compared


def test_the_numbered_sections_follow_each_other(ui):
    titles = [_property(w, "text") for w in ui.iter("widget") if w.get("class") == "ctkCollapsibleButton"]
    numbered = [title for title in titles if title[0].isdigit()]
    assert numbered == [
        "1. Patient",
        "2. Model",
        "3. X-rays",
        "4. Register",
        "5. See it",
        "6. Correct it",
        "7. Review and report",
    ]


SLICERS_MENUS = "fevh"
"""Alt and these open Slicer's menus: File, Edit, View, Help."""


def test_no_two_labels_and_buttons_share_a_key(ui):
    texts = [_property(w, "text") or "" for w in ui.iter("widget")]
    keys = [found.group(1).lower() for text in texts if (found := re.search(r"&(\w)", text))]
    assert keys
    assert len(keys) == len(set(keys))
    assert not set(keys) & set(SLICERS_MENUS)


def test_no_two_shortcuts_are_alike_and_none_is_a_letter_of_a_text_too(ui, panel_sources):
    source = "\n".join(panel_sources.values())
    buttons = [(_property(w, "shortcut"), _property(w, "text")) for w in ui.iter("widget") if _property(w, "shortcut")]
    keys = [key.strip() for key, _text in buttons] + re.findall(r'"(Ctrl\+Shift\+[A-Z])"', source)
    assert len(keys) > len(buttons)
    assert len(keys) == len(set(keys))
    assert not [text for _key, text in buttons if "&" in text]


def test_every_label_with_a_key_names_the_widget_that_it_leads_to(ui):
    names = {w.get("name") for w in ui.iter("widget")}
    for widget in ui.iter("widget"):
        if widget.get("class") == "QLabel" and "&" in (_property(widget, "text") or ""):
            assert _property(widget, "buddy") in names, widget.get("name")


def test_every_widget_that_the_code_uses_exists(ui, panel_sources):
    names = {element.get("name") for tag in ("widget", "layout") for element in ui.iter(tag)}
    used = {name for source in panel_sources.values() for name in re.findall(r"\bui\.(\w+)", source)}
    assert used
    assert used <= names


def test_every_button_and_message_label_is_used_by_the_code(ui, panel_sources):
    source = "\n".join(panel_sources.values())
    buttons = [w.get("name") for w in ui.iter("widget") if w.get("class") == "QPushButton"]
    blank = [w.get("name") for w in ui.iter("widget") if w.get("class") == "QLabel" and not _property(w, "text")]
    assert not [name for name in buttons + blank if f"ui.{name}" not in source]


def test_every_input_has_a_tooltip(ui):
    inputs = {
        "qMRMLNodeComboBox",
        "ctkPathLineEdit",
        "QDoubleSpinBox",
        "QSpinBox",
        "QCheckBox",
        "QLineEdit",
        "QComboBox",
        "ctkSliderWidget",
        "QTableWidget",
    }
    silent = [w.get("name") for w in ui.iter("widget") if w.get("class") in inputs and not _property(w, "toolTip")]
    assert not silent


def test_only_literals_are_translated(panel_sources):
    translated = 0
    for name, source in panel_sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_":
                translated += 1
                assert len(node.args) == 1, f"{name}:{node.lineno}"
                assert isinstance(node.args[0], ast.Constant), f"{name}:{node.lineno} is not a plain string"
                assert isinstance(node.args[0].value, str), f"{name}:{node.lineno} is not a plain string"
    assert translated


def test_the_translation_function_is_never_a_throw_away_name(panel_sources):
    for name, source in panel_sources.items():
        for node in ast.walk(ast.parse(source)):
            stored = isinstance(node, ast.Name) and node.id == "_" and isinstance(node.ctx, ast.Store)
            assert not stored, f"{name}:{node.lineno}"


def test_the_module_file_has_the_classes_that_slicer_looks_for_and_is_short(module_source):
    classes = {
        n.name: [ast.unparse(b) for b in n.bases] for n in ast.parse(module_source).body if isinstance(n, ast.ClassDef)
    }
    assert classes["XVRegistration"] == ["ScriptedLoadableModule"]
    assert classes["XVRegistrationWidget"] == ["ScriptedLoadableModuleWidget", "VTKObservationMixin"]
    assert classes["XVRegistrationLogic"] == ["ScriptedLoadableModuleLogic"]
    assert classes["XVRegistrationTest"] == ["ScriptedLoadableModuleTest"]
    assert len(module_source.splitlines()) < 150


def test_the_panel_uses_nothing_that_qt_6_lacks(panel_sources):
    for name, source in panel_sources.items():
        assert not re.search(r"QTextCodec|QRegExp|QDesktopWidget|stateChanged", source), name


def test_only_the_widgets_know_qt(tree, imports_of):
    for path in (tree.library / "panel").glob("*.py"):
        assert not {name.split(".")[0] for name in imports_of(path)} & {"qt", "ctk"}, path


# A Q_PROPERTY of these names is a value in PythonQt and a method in PySide6: only property("name") works in both.
PROPERTIES = "text|value|currentIndex|currentText|count|toolTip|checked|enabled|title|decimals|minimum|maximum"


def test_no_widget_is_asked_by_a_getter_that_pythonqt_lacks(panel_sources):
    asked = re.compile(rf"\b(?:ui\.\w+|combo|spin|box|bar|label|button|widget)\.(?:{PROPERTIES})\(")
    for name, source in panel_sources.items():
        assert not asked.findall(source), name


def test_no_property_of_a_plain_widget_is_assigned(panel_sources, ui):
    plain = [w.get("name") for w in ui.iter("widget") if w.get("class").startswith("Q")]
    assigned = re.compile(rf"\bui\.(?:{'|'.join(plain)})\.\w+ = ")
    for name, source in panel_sources.items():
        assert not assigned.findall(source), name
