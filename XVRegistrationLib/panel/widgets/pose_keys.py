"""Moving the C-arm by keys, in the X-ray's view and on the button that allows it."""

from __future__ import annotations

from functools import partial
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
        "While this is pressed, keys move what the DRR shows, here and in the X-ray's view once it was clicked: arrows in the "
        "plane, Page Up and Page Down nearer to the source and to the detector; with Ctrl they turn it. Shift: ten times."
    )


class PoseKeys:
    """The shortcuts; there are some only while keys are allowed, so that else a slice view's own keys work."""

    def __init__(self, button: Any, nudge: Callable[[str, int], None], refuse: Callable[[], None]) -> None:
        """`nudge` is called with an axis and the number of steps, 1 or 10, or -1 or -10; `refuse` for a key in the second view."""
        self._button = button
        self._actions = {XRAY_VIEW: nudge, SECOND_VIEW: lambda axis, steps: refuse()}
        self._shortcuts: list[Any] = []
        self._views: set[str] = set()
        """Names of the views that have shortcuts."""

    def start(self) -> None:
        """Let the keys move from now on."""
        self.stop()
        self._bind(self._button, self._actions[XRAY_VIEW])
        self.follow()

    def follow(self) -> None:
        """While the keys move: take in a view that there was not before, as the second X-ray's is made when it is first shown.

        There the keys move nothing: Slicer's own meaning of the arrows, another slice, would take the X-ray out of sight.
        """
        for name, act in self._actions.items():
            widget = _view(name)
            if self._shortcuts and widget is not None and name not in self._views:
                self._views.add(name)
                self._bind(widget, act)

    def stop(self) -> None:
        """The keys do what they did before."""
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._shortcuts = []
        self._views = set()

    def _bind(self, widget: Any, act: Callable[[str, int], None]) -> None:
        for key, (axis, sign) in KEYS.items():
            self._add(widget, key, partial(act, axis, sign))
            self._add(widget, f"Shift+{key}", partial(act, axis, sign * FASTER))

    def _add(self, widget: Any, key: str, act: Callable[[], None]) -> None:
        shortcut = add_shortcut(widget, key, act)
        shortcut.setContext(qt.Qt.WidgetWithChildrenShortcut)
        self._shortcuts.append(shortcut)


def _view(name: str) -> Any:
    """The widget of a slice view; None where there is none."""
    manager = slicer.app.layoutManager()
    return None if manager is None else manager.sliceWidget(name)
