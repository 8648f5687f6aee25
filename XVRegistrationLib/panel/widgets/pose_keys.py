"""Moving a C-arm by keys: in an X-ray's view that of its X-ray, on the button that allows it that of the current one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt
import slicer

from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.widgets.common import add_shortcut
from XVRegistrationLib.scene.layout import SECOND_VIEW, XRAY_VIEW

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
        "While this is pressed, keys move what the DRR shows, here and in an X-ray's view once it was clicked: arrows in the "
        "plane, Page Up and Page Down nearer to the source and to the detector; with Ctrl they turn it. Shift: ten times."
    )


class PoseKeys:
    """The shortcuts; there are some only while keys are allowed, so that else a slice view's own keys work."""

    def __init__(self, button: Any, nudge: Callable[[str, int, bool], None]) -> None:
        """`nudge` is called with an axis, the number of steps, 1 or 10, or -1 or -10, and whether it is of the X-ray beside."""
        self._button = button
        self._nudge = nudge
        self._shortcuts: list[Any] = []
        self._views = 0
        """In how many views there are shortcuts."""

    def start(self) -> None:
        """Let the keys move from now on."""
        self.stop()
        views = _views()
        self._views = len(views)
        for widget, beside in ((self._button, False), *views):
            for key, (axis, sign) in KEYS.items():
                self._add(widget, key, axis, sign, beside)
                self._add(widget, f"Shift+{key}", axis, sign * FASTER, beside)

    def find_views(self) -> None:
        """Let the keys move in a view too that has come since: Slicer makes one when it is first shown."""
        if self._shortcuts and len(_views()) != self._views:
            self.start()

    def stop(self) -> None:
        """The keys do what they did before."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._shortcuts = []

    def _add(self, widget: Any, key: str, axis: str, steps: int, beside: bool) -> None:
        shortcut = add_shortcut(widget, key, lambda: self._nudge(axis, steps, beside))
        shortcut.setContext(qt.Qt.WidgetWithChildrenShortcut)
        self._shortcuts.append(shortcut)


def _views() -> list[tuple[Any, bool]]:
    """The X-rays' views that there are, and whether each is that of the X-ray beside the current one."""
    manager = slicer.app.layoutManager()
    found = (
        [] if manager is None else [(manager.sliceWidget(XRAY_VIEW), False), (manager.sliceWidget(SECOND_VIEW), True)]
    )
    return [(view, beside) for view, beside in found if view is not None]
