"""The panel by the keyboard alone, and what it says of all that cannot be done now."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from Testing.Python.panel.panels import MODULE, SECTIONS, TIMEOUT, place_xrays, widgets_seen
from XVRegistrationLib.scene.xrays import pose_from_node

SLICERS_MENUS = ("&File", "&Edit", "&View", "&Help")
NOT_PRESSED = {"trainButton", "addFilesButton", "reportButton", "registerButton"}
"""What begins a long work, or asks for a file."""


@pytest.fixture
def panel(host, panel, files):
    """The module with a CT and two X-rays in their places, all sections open."""
    place_xrays(host, panel, files, SECTIONS)
    return panel


def _focus():
    from PySide6 import QtWidgets

    return QtWidgets.QApplication.focusWidget()


def _has_focus(widget):
    focus = _focus()
    return focus is not None and (focus is widget or widget.isAncestorOf(focus))


def test_each_underlined_letter_does_what_it_says_beside_slicers_menus(host, panel):
    import qt

    ui = panel.ui
    for title in SLICERS_MENUS:
        host.window.menuBar().addMenu(title).addAction("x")
    try:
        letters = Counter()
        for name, widget in widgets_seen(panel, "QLabel", "QAbstractButton").items():
            text = str(widget.property("text"))
            letter = text.partition("&")[2][:1].upper()
            if not letter or not widget.isEnabled() or name in NOT_PRESSED:
                continue
            letters[letter] += 1
            target = widget.buddy() if widget.inherits("QLabel") else widget
            if not target.isEnabled():
                continue
            pressed = []
            if target is widget:
                target.pressed.connect(lambda pressed=pressed: pressed.append(True))
            host.key(ui.logTextEdit, getattr(qt.Qt, f"Key_{letter}"), qt.Qt.AltModifier)
            if target is widget:
                assert pressed == [True], text
                host.process(0.2)  # a button that is pressed by a key is released a tenth of a second later
            else:
                assert _has_focus(target), text
        assert set(letters.values()) == {1}
        assert {"C", "S", "B", "X", "L", "M", "D", "O"} <= set(letters)
    finally:
        host.window.menuBar().clear()


def test_shortcuts_move_back_and_on_copy_choose_and_decide(host, panel):
    import qt

    ui, session = panel.ui, panel.logic.session
    first, second = (row.node for row in session.rows())
    session.show(first)
    host.process(0.2)

    def press(letter):
        # From anywhere in the window: here, from the list of messages.
        host.key(ui.logTextEdit, getattr(qt.Qt, f"Key_{letter}"), qt.Qt.ControlModifier | qt.Qt.ShiftModifier)
        host.process(0.3)

    session.nudge("right", 3.0)
    host.process(1.5)  # what moves at a stretch is one step
    start = pose_from_node(first)
    session.nudge("right", 5.0)
    host.process(1.5)
    moved = pose_from_node(first)
    host.wait_until(ui.undoPoseButton.isEnabled)
    assert "Ctrl+Shift+Z" in ui.undoPoseButton.toolTip
    press("Z")
    np.testing.assert_allclose(pose_from_node(first), start, atol=1e-9)
    press("Y")
    np.testing.assert_allclose(pose_from_node(first), moved, atol=1e-9)
    qt.QApplication.clipboard().setText("")
    press("C")
    assert len(qt.QApplication.clipboard().text().split()) >= 16
    press("H")
    assert np.abs(pose_from_node(first) - moved).max() > 1
    press("V")
    np.testing.assert_allclose(pose_from_node(first), moved, atol=1e-6)

    press("A")
    assert session.review_of(first).decision == "open"
    assert "before it is accepted" in session.status
    press("R")
    assert session.review_of(first).decision == "rejected"
    press("N")
    assert session.rows()[1].current
    session.register([second])
    host.wait_until(lambda: not session.busy, TIMEOUT)
    host.process(0.2)
    press("A")
    assert session.review_of(second).decision == "accepted"
    press("N")
    assert session.rows()[0].current


def test_the_tab_key_goes_through_all_of_the_panel_downwards(host, panel):
    import qt

    ui = panel.ui
    fields = widgets_seen(panel, "QWidget")
    expected = {
        name for name, w in fields.items() if w.isEnabled() and w.focusPolicy.value & 1 and not w.inherits("QLabel")
    }
    host.key(ui.volumeSelector, "")
    reached, tops = set(), []
    for _step in range(3 * len(expected)):
        focus = _focus()
        name = next((n for n in expected if _has_focus(fields[n]) and not n.endswith("CollapsibleButton")), None)
        name = name or next((n for n in expected if fields[n] is focus), None)
        if name in reached and len(reached) >= len(expected):
            break
        if name is not None and name not in reached:
            reached.add(name)
            tops.append((fields[name].mapTo(host.panel.widget(), fields[name].rect.topLeft()).y(), name))
        host.key(focus, qt.Qt.Key_Tab)
    assert expected - reached == set()
    upwards = [(a, b) for a, b in pairwise(tops) if b[0] < a[0] - 100 and b[0] > tops[0][0]]
    assert len(upwards) <= 1, upwards  # round again, where the first was not the panel's first


def test_whatever_is_disabled_says_why(host, panel):
    session, purposes, disabled = panel.logic.session, _purposes(), set()
    kinds = "QAbstractButton", "QAbstractSpinBox", "QComboBox", "QLineEdit", "ctkSliderWidget"
    for change in (lambda: session.compare("checkerboard"), lambda: [session.remove(r.node) for r in session.rows()]):
        change()
        host.process(0.5)
        off = {name: w for name, w in widgets_seen(panel, *kinds).items() if not w.isEnabled()}
        disabled |= set(off)
        assert not [name for name, w in off.items() if w.property("toolTip") in ("", None, purposes.get(name))]
    assert {"rightSpinBox", "drrLevelSpinBox", "blendSlider", "notScannedSpinBox"} <= disabled


def _purposes():
    """Tooltips of the .ui file, by the widget's name."""
    import xml.etree.ElementTree as ET

    file = MODULE.parent / "Resources/UI/XVRegistration.ui"
    return {
        w.get("name"): "".join(p[0].itertext())
        for w in ET.parse(file).getroot().iter("widget")
        for p in w.findall("property")
        if p.get("name") == "toolTip"
    }
