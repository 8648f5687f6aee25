"""The tutorial names what the panel has. That it can be followed, step by step, is tested by long/test_tutorial.py."""

from __future__ import annotations

import ast
import json
import re
import xml.etree.ElementTree as ET

import pytest

from Testing.Host.tutorial_text import TUTORIAL, read_steps

TEXT = TUTORIAL.read_text(encoding="utf-8")
STEPS = read_steps(TEXT)
SLICERS = {"Sample Data", "File > Download Sample Data", "File > Save", "Registration"}
"""What is Slicer's own."""


def _plain(text):
    return text.replace("&", "").strip().removesuffix(":")


@pytest.fixture(scope="module")
def widgets(tree):
    """Words on the panel's buttons, boxes and labels."""
    root = ET.parse(tree.module / "Resources/UI/XVRegistration.ui").getroot()
    texts = (p.findtext("string") for p in root.iter("property") if p.get("name") == "text")
    return {_plain(text) for text in texts if text}


@pytest.fixture(scope="module")
def said(tree):
    """Sentences, and parts of sentences, that the panel and the report can say."""
    files = [*sorted((tree.library / "panel").rglob("*.py")), tree.library / "evaluation/xray_report.py"]
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    return "\n".join(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


def _words(*kinds, at):
    found = {step.words[at] for step in STEPS if step.kind in kinds}
    assert found
    return found


def test_every_button_and_field_that_it_names_is_in_the_panel(widgets):
    assert _words("click", "tick", "untick", "files", "save", "folder", at=0) <= widgets
    assert _words("choose", "type", at=1) <= widgets


def test_what_it_expects_the_panel_to_say_can_be_said(said):
    # The status line says whose outcome it is.
    expected = {words.partition("xray-2: ")[2] or words for words in _words("wait", "says", at=0)}
    assert not {words for words in expected if words not in said}


def test_what_it_lets_one_choose_is_offered(said, tree):
    presets = {preset["title"] for preset in json.loads((tree.resources / "presets.json").read_text())["presets"]}
    samples = {"Chest CT", "Chest segmentation", "Targets"}
    assert not {value for value in _words("choose", at=0) - presets - samples if value not in said}
    assert not {name for name in samples if f'"{name}"' not in _source(tree, "panel/sample_data.py")}


def test_the_sample_and_the_module_are_called_so(tree):
    assert _words("sample", at=0) == {"XVRegistrationChest"}
    assert '"XVRegistration", "XVRegistrationChest"' in _source(tree, "panel/sample_data.py")
    title = re.search(r'parent\.title = _\("(.+)"\)', (tree.module / "XVRegistration.py").read_text("utf-8"))[1]
    assert _words("module", at=0) == {"Sample Data", title}
    files = {name for step in STEPS if step.kind == "files" for name in step.words[1:]}
    assert not {name for name in files if name not in _source(tree, "evaluation/sample_patient.py")}


def test_what_it_mentions_in_passing_is_there_too(widgets, said):
    mentioned = set(re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", TEXT))
    assert mentioned
    known = "\n".join(widgets) + said
    assert not {words for words in mentioned - SLICERS if words not in known}


def test_its_pictures_are_there_and_all_of_them_are_shown(tree):
    shown = [words[0] for words in (step.words for step in STEPS if step.kind == "picture")]
    folder = TUTORIAL.parent / "images/tutorial"
    assert sorted(shown) == sorted(f"images/tutorial/{path.name}" for path in folder.iterdir())
    assert len(shown) == len(re.findall(r"!\[", TEXT))


def test_its_links_lead_somewhere():
    links = re.findall(r"(?<!!)\[[^\]]+\]\(([^)#]+)", TEXT)
    assert links
    assert not [link for link in links if not (TUTORIAL.parent / link).is_file()]


@pytest.mark.parametrize(
    "sentence", ["Press **Train** twice.", "Click **Train** and **Stop**.", "The button **Train** is there."]
)
def test_a_sentence_that_no_program_can_follow_is_refused(sentence):
    with pytest.raises(ValueError, match="nobody can follow"):
        read_steps(f"# Title\n\n1. {sentence}\n")


def test_sentences_end_where_the_next_begins():
    text = "1. Click **Add files...** and open `a.dcm` and `b.dcm`. Then\n   look.\n2. Type **0.5** at **X (mm)**: half.\n\n![A](b.png)"
    assert [(step.kind, step.words) for step in read_steps(text)] == [
        ("files", ("Add files...", "a.dcm", "b.dcm")),
        ("type", ("0.5", "X (mm)")),
        ("picture", ("b.png",)),
    ]


def _source(tree, path):
    return (tree.library / path).read_text(encoding="utf-8")
