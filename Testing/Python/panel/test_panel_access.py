"""The panel by the keyboard alone, in large letters, on a dark screen, and for eyes that see colours in another way."""

from __future__ import annotations

import contextlib
from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from Testing.Host.finding import plain
from Testing.Python.panel.patients import CAMERA, patient, pose_of
from XVRegistrationLib.panel.views import CHECK, CONVERGED, FAILED, UNKNOWN, WORKING
from XVRegistrationLib.scene.volumes import add_volume
from XVRegistrationLib.scene.xrays import nodes_of, pose_from_node, set_pose

MODULE = Path(__file__).resolve().parents[3] / "XVRegistration/XVRegistration.py"
TIMEOUT = 240.0
SECTIONS = ("values", "together", "targets", "structures", "landmarks", "log")
SLICERS_MENUS = ("&File", "&Edit", "&View", "&Help")
NOT_PRESSED = {"trainButton", "addFilesButton", "reportButton", "registerButton"}
"""What begins a long work, or asks for a file."""


@pytest.fixture
def panel(host, root, files, monkeypatch):
    """The module with a CT and two X-rays in their places, all sections open."""
    monkeypatch.setenv("XVREGISTRATION_HOME", str(root))
    panel = host.open_module(MODULE)
    session = panel.logic.session
    host.select_node(panel.ui.volumeSelector, add_volume(host.scene, patient()))
    session.add_files(files)
    host.wait_until(lambda: len(session.rows()) == 2 and not session.busy, TIMEOUT)
    for number, row in enumerate(session.rows()):
        session.complete_geometry(row.node, sdd=CAMERA.sdd)
        set_pose(nodes_of(row.node), pose_of(number))
    for name in SECTIONS:
        getattr(panel.ui, f"{name}CollapsibleButton").collapsed = False
    host.wait_until(lambda: session.model_view().ready and not session.busy, TIMEOUT)
    host.process(0.5)
    return panel


def _widgets(panel, *kinds):
    """Those of the .ui file that can be seen, by name."""
    found = {name: w for name, w in vars(panel.ui).items() if hasattr(w, "isVisible") and w.isVisible()}
    return {name: w for name, w in found.items() if any(w.inherits(kind) for kind in kinds)}


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
        for name, widget in _widgets(panel, "QLabel", "QAbstractButton").items():
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
    fields = _widgets(panel, "QWidget")
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
        off = {name: w for name, w in _widgets(panel, *kinds).items() if not w.isEnabled()}
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


def test_nothing_is_cut_and_nothing_needs_scrolling_sideways_in_larger_letters(host, panel):
    from PySide6 import QtGui, QtWidgets

    app, usual = QtWidgets.QApplication, QtWidgets.QApplication.font()
    try:
        for scale in (1.0, 1.25, 2.0):
            font = QtGui.QFont(usual)
            font.setPointSizeF(usual.pointSizeF() * scale)
            app.setFont(font)
            host.process(1.0)  # the rows are broken at the next ticks
            host.wait_until(lambda: not host.panel.horizontalScrollBar().maximum)
            for label in _widgets(panel, "QLabel").values():
                if label.property("wordWrap"):
                    for text in ("Short.", "A text of several lines, which has room for all of its words. " * 3):
                        label.setText(text)
                        host.process(0.05)
            # A text that has just changed has its room some events later.
            with contextlib.suppress(TimeoutError):
                host.wait_until(lambda: not _all_cut(panel))
            assert not _all_cut(panel), scale
            assert not [n for n, w in _widgets(panel, "QTableWidget").items() if _has_cut_title(w)], scale
    finally:
        app.setFont(usual)
        host.process(0.3)


def _all_cut(panel):
    return [name for name, widget in _widgets(panel, "QAbstractButton", "QLabel").items() if _is_cut(widget)]


def _has_cut_title(table):
    header, columns = table.horizontalHeader(), range(table.columnCount)
    words = [
        header.fontMetrics().horizontalAdvance(table.horizontalHeaderItem(i).text())
        for i in columns
        if header.isVisible()
    ]
    return any(header.sectionSize(i) < width for i, width in enumerate(words))


def _is_cut(widget):
    """Whether words do not fit into a label, button or title of a section."""
    size, metrics = widget.size, widget.fontMetrics()
    text = plain(str(widget.property("text")))
    if widget.inherits("QLabel") and widget.property("wordWrap"):
        return widget.heightForWidth(size.width()) > size.height() + 1
    if widget.inherits("ctkCollapsibleButton"):
        return 28 + metrics.horizontalAdvance(text) > size.width() or metrics.height() > widget.contentsMargins().top()
    hint = widget.property("sizeHint")
    return hint.width() > size.width() + 1 or hint.height() > size.height() + 1


def test_what_is_written_can_be_read_on_a_dark_screen(host, panel):
    from PySide6 import QtGui, QtWidgets

    app, light = QtWidgets.QApplication, QtWidgets.QApplication.palette()
    roles = QtGui.QPalette.ColorRole
    dark = QtGui.QPalette(QtGui.QColor(53, 53, 53))
    for role in (roles.WindowText, roles.Text, roles.ButtonText):
        dark.setColor(role, QtGui.QColor(255, 255, 255))
    dark.setColor(roles.Base, QtGui.QColor(25, 25, 25))
    try:
        app.setPalette(dark)
        host.process(0.5)
        seen = 0
        for name, widget in _widgets(panel, "QLabel", "QPushButton", "QCheckBox", "QLineEdit", "QComboBox").items():
            if widget.isEnabled() and str(widget.property("text") or widget.property("currentText") or "").strip():
                seen += 1
                assert _contrast_in(widget) >= 4.5, name
        assert seen > 30
    finally:
        app.setPalette(light)
        host.process(0.2)


def _contrast_in(widget):
    """WCAG's contrast of what is drawn most and of what differs from it most, which are the background and the letters."""
    image = widget.grab().toImage().convertToFormat(widget.grab().toImage().Format.Format_RGB888)
    stride = image.bytesPerLine()
    pixels = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), stride)[:, : 3 * image.width()]
    luminance = _linear(pixels.reshape(-1, 3) / 255) @ [0.2126, 0.7152, 0.0722]
    ground = Counter(luminance.round(4).tolist()).most_common(1)[0][0]
    return max((max(y, ground) + 0.05) / (min(y, ground) + 0.05) for y in (luminance.min(), luminance.max()))


def _linear(srgb):
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


# Machado, Oliveira and Fernandes (2009): what is seen without the red, and without the green cones, in linear RGB.
EYES = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}


def _lab(linear):
    """CIE L*a*b* (D65) of linear RGB (3,)."""
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    t = to_xyz @ np.clip(linear, 0, 1) / [0.95047, 1.0, 1.08883]
    f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eyes", EYES)
def test_marks_of_outcomes_are_told_apart_by_all_eyes_and_by_their_shapes(host, eyes):
    from XVRegistrationLib.panel.widgets.pictures import LOOKS

    assert set(LOOKS) == {CONVERGED, CHECK, FAILED, WORKING, UNKNOWN}
    assert len({look.shape for look in LOOKS.values()}) == len(LOOKS)
    seen = {name: _lab(EYES[eyes] @ _linear(np.array(look.rgb))) for name, look in LOOKS.items()}
    for a, b in combinations(seen, 2):
        assert np.linalg.norm(seen[a] - seen[b]) > 25, (a, b)


def test_a_mark_is_drawn_in_its_shape_and_as_sharp_as_the_screen(host, panel):
    import qt

    from XVRegistrationLib.panel.widgets.pictures import LOOKS, mark, pixmap_of, with_markers

    def drawn(look, ratio):
        # The table as if it were on a screen with several pixels for one.
        table = SimpleNamespace(devicePixelRatioF=lambda: ratio, property=panel.ui.xrayTable.property)
        pixmap = mark(look, table).pixmap(qt.QSize(64, 64), ratio)
        image = pixmap.toImage()
        alpha = [[image.pixelColor(x, y).alpha() > 127 for x in range(image.width())] for y in range(image.height())]
        return pixmap, np.array(alpha)

    high = qt.QFontMetrics(panel.ui.xrayTable.property("font")).height()
    shapes = []
    for look in LOOKS:
        pixmap, shape = drawn(look, 2.0)
        assert pixmap.width() == 2 * high
        assert drawn(look, 1.0)[0].width() == high
        shapes.append(shape)
    for a, b in combinations(shapes, 2):
        assert (a != b).mean() > 0.05
    picture = with_markers(pixmap_of(np.zeros((40, 20), np.uint8)), {"left": "R"}, 100, 2.0)
    assert (picture.height(), picture.devicePixelRatio()) == (200, 2.0)
