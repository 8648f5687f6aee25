"""What belongs to a patient besides the volume: segmentation, targets and preset come back with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from XVRegistrationLib.imaging.anatomies import load_presets
from XVRegistrationLib.scene.patients import recall, remember

if TYPE_CHECKING:
    from XVRegistrationLib.panel.context import Context

_DEFAULTS = {
    "volumeValues": "ct",
    "vesselsLow": 0.0,
    "vesselsHigh": 0.0,
    "useNotScanned": False,
    "notScanned": 0.0,
    "densities": "",
}
"""Of what is no node: another volume is a CT until something else is said of it."""
_FIELDS = ("segmentation", "targets", "preset", *_DEFAULTS)


class Belongings:
    """Keeps parameters on the volume's node, and sets them when the volume is chosen again."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.forget()

    def forget(self) -> None:
        """Look anew at what the parameters are."""
        self._kept: tuple[Any, ...] = ()
        self._last: str | None = None
        """ID of the volume that something was kept for last: between two volumes there may have been none."""

    def bring(self, volume_node: Any) -> None:
        """Set what was chosen for this volume before; after another one, what belonged to that is let go.

        What a script has just chosen together with the volume stays.
        """
        p = self._context.parameters
        another = self._last is not None and self._last != volume_node.GetID()
        before = dict(zip(_FIELDS, self._kept or (None, None, p.preset, *_DEFAULTS.values()), strict=True))
        for name in _FIELDS:
            if getattr(p, name) != before[name]:
                continue
            kept = recall(volume_node, name)
            if name == "preset":
                p.preset = kept if kept in load_presets() else p.preset
            elif kept is not None or another:
                setattr(p, name, _value(name, kept))
        if another:
            p.modelFolder = ""
        self._kept = ()

    def keep(self, volume_node: Any) -> None:
        """Remember on the volume's node what is chosen now."""
        p = self._context.parameters
        self._last = volume_node.GetID()
        now = tuple(getattr(p, name) for name in _FIELDS)
        if now != self._kept:
            self._kept = now
            for name, value in zip(_FIELDS, now, strict=True):
                remember(volume_node, name, None if value == _DEFAULTS.get(name) else _text(value))


def _text(value: Any) -> Any:
    """A value as it is kept: a number, or whether something is so, as text."""
    return repr(value) if isinstance(value, (float, bool)) else value


def _value(name: str, kept: Any) -> Any:
    """The inverse of `_text`; the default where nothing, or nothing that can be read, was kept."""
    default = _DEFAULTS.get(name)
    if isinstance(default, bool):
        return kept == repr(True)
    if not isinstance(default, float) or not isinstance(kept, str):
        return default if kept is None else kept
    try:
        return float(kept)
    except ValueError:
        return default
