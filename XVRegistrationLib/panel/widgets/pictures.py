"""Arrays and colors as Qt pictures, in calls that PythonQt and PySide6 both have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import qt

from XVRegistrationLib.registration.looks import UNKNOWN_LOOK, VERDICT_LOOKS, Look

if TYPE_CHECKING:
    from collections.abc import Mapping

LOOKS: Mapping[str, Look] = {
    **VERDICT_LOOKS,
    "working": Look("#88CCEE", "triangle"),
    "unknown": UNKNOWN_LOOK,
}
"""Marks beside outcomes; the words beside them say the same."""
_SIDE = 64
"""Units in which icons are drawn."""
_CORNERS = {
    "diamond": ((0, -28), (28, 0), (0, 28), (-28, 0)),
    "triangle": ((0, -26), (28, 24), (-28, 24)),
    "square": ((-22, -22), (22, -22), (22, 22), (-22, 22)),
    "cross": (
        *((-26, -14), (-14, -26), (0, -12), (14, -26), (26, -14), (12, 0)),
        *((26, 14), (14, 26), (0, 12), (-14, 26), (-26, 14), (-12, 0)),
    ),
}
"""Of shapes other than the circle, units from the middle."""


def pixmap_of(image: np.ndarray) -> Any:
    """A QPixmap of a (rows, columns) uint8 image, 0 black, or of a (rows, columns, 3) one in red, green and blue."""
    rows, columns = image.shape[:2]
    # A portable graymap (P5) or pixmap (P6) is the one form of an image that Qt reads without a plug-in and Python
    # writes in a line; constructors of QImage from memory differ between PythonQt and PySide6.
    head = b"P%d %d %d 255\n" % (6 if image.ndim == 3 else 5, columns, rows)
    data = head + np.ascontiguousarray(image, dtype=np.uint8).tobytes()
    pixmap = qt.QPixmap()
    pixmap.loadFromData(qt.QByteArray(data))
    return pixmap


def with_markers(pixmap: Any, markers: Mapping[str, str], size: int, ratio: float) -> Any:
    """The picture scaled to `size` px, with a letter at each of its sides ("left", "right", "top", "bottom").

    `ratio`: pixels of the screen for one, `devicePixelRatioF()` of the widget that shows it.
    """
    pixels = round(size * ratio)
    scaled = pixmap.scaled(pixels, pixels, qt.Qt.KeepAspectRatio, qt.Qt.SmoothTransformation)
    scaled.setDevicePixelRatio(ratio)
    width, height = round(scaled.rect().width() / ratio), round(scaled.rect().height() / ratio)
    margin = 3
    aligned = {
        "left": qt.Qt.AlignLeft | qt.Qt.AlignVCenter,
        "right": qt.Qt.AlignRight | qt.Qt.AlignVCenter,
        "top": qt.Qt.AlignHCenter | qt.Qt.AlignTop,
        "bottom": qt.Qt.AlignHCenter | qt.Qt.AlignBottom,
    }
    painter = qt.QPainter()
    painter.begin(scaled)
    font = qt.QFont()
    font.setBold(True)
    painter.setFont(font)
    for offset, color in ((1, "#000000"), (0, "#ffd54a")):  # a shadow, readable on bone and on air
        painter.setPen(qt.QColor(color))
        for side, letter in markers.items():
            if side in aligned:
                box = qt.QRect(margin + offset, margin + offset, width - 2 * margin, height - 2 * margin)
                painter.drawText(box, int(aligned[side]), letter)
    painter.end()
    return scaled


def picture_icon(pixmap: Any) -> Any:
    """A QIcon that shows the picture as it is also in a selected row, which else tints it."""
    icon = qt.QIcon(pixmap)
    icon.addPixmap(pixmap, qt.QIcon.Selected)
    return icon


def mark(look: str, widget: Any) -> Any:
    """A QIcon of one of LOOKS, as high as the widget's text and as sharp as its screen."""
    return _icon(LOOKS[look], widget)


def dot(color: str, widget: Any) -> Any:
    """A QIcon of a filled circle of any color that Qt knows, as `mark` draws it."""
    return _icon(Look(color, "circle"), widget)


def _icon(look: Look, widget: Any) -> Any:
    ratio = widget.devicePixelRatioF()
    pixels = round(qt.QFontMetrics(widget.property("font")).height() * ratio)
    pixmap = qt.QPixmap(pixels, pixels)
    pixmap.fill(qt.QColor(0, 0, 0, 0))
    painter = qt.QPainter()
    painter.begin(pixmap)
    painter.setRenderHint(qt.QPainter.Antialiasing)
    pen = qt.QPen(qt.QColor("#ffffff"))  # a rim that sets it off from the color of a selected row
    pen.setWidth(4)
    painter.setPen(pen)
    painter.setBrush(qt.QBrush(qt.QColor(look.color)))
    painter.scale(pixels / _SIDE, pixels / _SIDE)
    painter.translate(_SIDE // 2, _SIDE // 2)
    if look.shape == "circle":
        painter.drawEllipse(-26, -26, 52, 52)
    else:
        first, *others = _CORNERS[look.shape]
        outline = qt.QPainterPath()
        outline.moveTo(*first)
        for corner in others:
            outline.lineTo(*corner)
        outline.closeSubpath()
        painter.drawPath(outline)
    painter.end()
    pixmap.setDevicePixelRatio(ratio)
    return picture_icon(pixmap)
