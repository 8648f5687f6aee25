"""The panel in large letters, on a dark screen, and for eyes that see colours in another way."""

from __future__ import annotations

import contextlib
from collections import Counter
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest

from Testing.Host.finding import plain
from Testing.Python.panel.panels import SECTIONS, place_xrays, widgets_seen
from XVRegistrationLib.panel.views import CHECK, CONVERGED, FAILED, UNKNOWN, WORKING


@pytest.fixture
def panel(host, panel, files):
    """The module with a CT and two X-rays in their places, all sections open."""
    place_xrays(host, panel, files, SECTIONS)
    return panel


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
            for label in widgets_seen(panel, "QLabel").values():
                if label.property("wordWrap"):
                    for text in ("Short.", "A text of several lines, which has room for all of its words. " * 3):
                        label.setText(text)
                        host.process(0.05)
            # A text that has just changed has its room some events later.
            with contextlib.suppress(TimeoutError):
                host.wait_until(lambda: not _all_cut(panel))
            assert not _all_cut(panel), scale
            assert not [n for n, w in widgets_seen(panel, "QTableWidget").items() if _has_cut_title(w)], scale
    finally:
        app.setFont(usual)
        host.process(0.3)


def _all_cut(panel):
    return [name for name, widget in widgets_seen(panel, "QAbstractButton", "QLabel").items() if _is_cut(widget)]


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
        for name, widget in widgets_seen(panel, "QLabel", "QPushButton", "QCheckBox", "QLineEdit", "QComboBox").items():
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
