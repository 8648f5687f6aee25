"""A window with the steps of an X-ray side by side, from its file to what is compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt
import slicer.util

from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.widgets.pictures import pixmap_of, with_markers

if TYPE_CHECKING:
    import numpy as np

    from XVRegistrationLib.panel.views import StepsView

_SIDE = 320  # px of a picture


class StepsWindow:
    """One window, which shows the X-ray that was asked for last; the panel can be used beside it."""

    def __init__(self) -> None:
        self.dialog: Any = None

    def show(self, steps: StepsView) -> None:
        """Show these steps."""
        self.close()
        self.dialog = dialog = qt.QDialog(slicer.util.mainWindow())
        dialog.setWindowTitle(_("Steps of {name}").format(name=steps.name))
        row = qt.QHBoxLayout(dialog)
        for number, (title, image) in enumerate(steps.images):
            column = qt.QVBoxLayout()
            column.addWidget(_text(title))
            picture = qt.QLabel()
            picture.setPixmap(
                with_markers(_shaped(image, steps.aspect), steps.letters, _SIDE, dialog.devicePixelRatioF())
            )
            column.addWidget(picture)
            if number == len(steps.images) - 1:
                for line in _legend(steps):
                    column.addWidget(_text(line))
            column.addStretch(1)
            row.addLayout(column)
        dialog.show()

    def close(self) -> None:
        """Close the window if it is there."""
        if self.dialog is not None:
            self.dialog.close()
            self.dialog = None


def _shaped(image: np.ndarray, aspect: float) -> Any:
    """The picture with the true shape of its pixels, `aspect` times as high as wide."""
    rows, columns = image.shape[:2]
    width, height = (columns, max(1, round(rows * aspect))) if aspect >= 1 else (max(1, round(columns / aspect)), rows)
    return pixmap_of(image).scaled(width, height, qt.Qt.IgnoreAspectRatio, qt.Qt.SmoothTransformation)


def _legend(steps: StepsView) -> list[str]:
    """Why which share does not count, in the colours of the last picture."""
    words = {
        "collimator": _("behind the collimator"),
        "saturated": _("saturated"),
        "text, marker": _("text, marker"),
        "by the file": _("left out by the file"),
        "ignored": _("in a rectangle of yours"),
    }
    lines = [
        f'<span style="color:{color}">\N{BLACK SQUARE}</span> {words.get(reason, reason)}: {share:.1%}'
        for reason, color, share in steps.left_out
    ]
    return lines or [_("everything")]


def _text(text: str) -> Any:
    label = qt.QLabel(text)
    label.setTextInteractionFlags(qt.Qt.TextSelectableByMouse)
    return label
