"""Arrays and colors as Qt pictures, in calls that PythonQt and PySide6 both have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import qt

if TYPE_CHECKING:
    from collections.abc import Mapping

DOTS = {"green": "#2e9e4f", "amber": "#d98e04", "red": "#cc3333", "blue": "#3a78c2", "grey": "#8a8a8a"}
"""Colors of the dots beside outcomes, of about equal lightness; the words beside them say the same."""


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


def with_markers(pixmap: Any, markers: Mapping[str, str], size: int) -> Any:
    """The picture scaled to `size` px, with a letter at each of its sides ("left", "right", "top", "bottom")."""
    scaled = pixmap.scaled(size, size, qt.Qt.KeepAspectRatio, qt.Qt.SmoothTransformation)
    width, height = scaled.rect().width(), scaled.rect().height()
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


def dot(color: str) -> Any:
    """A QIcon of a filled circle: a name of DOTS, or any color that Qt knows."""
    pixmap = qt.QPixmap(16, 16)
    pixmap.fill(qt.QColor(0, 0, 0, 0))
    painter = qt.QPainter()
    painter.begin(pixmap)
    painter.setRenderHint(qt.QPainter.Antialiasing)
    painter.setPen(qt.QColor("#ffffff"))  # a rim that sets it off from the color of a selected row
    painter.setBrush(qt.QBrush(qt.QColor(DOTS.get(color, color))))
    painter.drawEllipse(2, 2, 12, 12)
    painter.end()
    return picture_icon(pixmap)
