"""Moving the C-arm by keys, in the X-ray's view and on the button that allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt
import slicer

from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.widgets.common import add_shortcut
from XVRegistrationLib.scene.layout import XRAY_VIEW

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = {
    "Left": ("right", -1),
    "Right": ("right", 1),
    "Up": ("down", -1),
    "Down": ("down", 1),
    "PgUp": ("depth", -1),
    "PgDown": ("depth", 1),
    "Ctrl+Up": ("tilt", -1),
    "Ctrl+Down": ("tilt", 1),
    "Ctrl+Left": ("swing", -1),
    "Ctrl+Right": ("swing", 1),
    "Ctrl+PgUp": ("turn", -1),
    "Ctrl+PgDown": ("turn", 1),
}
"""Key -> axis, and in which direction a step goes."""
FASTER = 10
"""With the shift key a step is so many times as large."""


def explanation() -> str:
    """What the keys do, for a tooltip."""
    return _(
        "While this is pressed, keys move what the DRR shows, here and in the X-ray's view once it was clicked: arrows in the "
        "plane, Page Up and Page Down nearer to the source and to the detector; with Ctrl they turn it. Shift: ten times."
    )


class PoseKeys:
    """The shortcuts; there are some only while keys are allowed, so that else a slice view's own keys work."""

    def __init__(self, button: Any, nudge: Callable[[str, int], None]) -> None:
        """`nudge` is called with an axis and the number of steps, 1 or 10, or -1 or -10."""
        self._button = button
        self._nudge = nudge
        self._shortcuts: list[Any] = []

    def start(self) -> None:
        """Let the keys move from now on."""
        self.stop()
        for widget in (self._button, _xray_view()):
            if widget is not None:
                for key, (axis, sign) in KEYS.items():
                    self._add(widget, key, axis, sign)
                    self._add(widget, f"Shift+{key}", axis, sign * FASTER)

    def stop(self) -> None:
        """The keys do what they did before."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._shortcuts = []

    def _add(self, widget: Any, key: str, axis: str, steps: int) -> None:
        shortcut = add_shortcut(widget, key, lambda: self._nudge(axis, steps))
        shortcut.setContext(qt.Qt.WidgetWithChildrenShortcut)
        self._shortcuts.append(shortcut)


def _xray_view() -> Any:
    manager = slicer.app.layoutManager()
    return None if manager is None else manager.sliceWidget(XRAY_VIEW)
