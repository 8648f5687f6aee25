"""Which structures of the CT's segmentation are drawn on the X-rays."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.views import StructureRow
from XVRegistrationLib.scene.attributes import PREFIX
from XVRegistrationLib.scene.segments import hide_segments

if TYPE_CHECKING:
    from collections.abc import Iterable

    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.viewing import Viewing
    from XVRegistrationLib.panel.xrays import Xrays


class Structures:
    """The parameter `hiddenStructures`, and what is drawn by it. The CT's own segmentation is shown as the user has it."""

    def __init__(self, context: Context, xrays: Xrays, viewing: Viewing) -> None:
        self._context = context
        self._xrays = xrays
        self._viewing = viewing
        self.forget()

    def forget(self) -> None:
        self._applied: dict[str, tuple[Any, ...]] = {}
        self._seen: tuple[Any, ...] = ()

    def tick(self) -> None:
        """Hide what is hidden where an X-ray's labels were drawn anew; look whether there are other structures."""
        p = self._context.parameters
        if p is None or self._context.scene.IsClosing():
            return
        applied = {}
        for node in self._xrays.nodes():
            labels = node.GetNodeReference(PREFIX + "Labels")
            if labels is None:
                continue
            # What the user hides or shows elsewhere stays so until the list or the segments change.
            now = (labels, tuple(labels.GetSegmentation().GetSegmentIDs()), p.hiddenStructures)
            if self._applied.get(node.GetID()) != now:
                hide_segments(labels, self._hidden())
            applied[node.GetID()] = now
        self._applied = applied
        seen = (p.hiddenStructures, tuple(self._viewing.structures()))
        if seen != self._seen:
            self._seen = seen
            self._context.changed.emit("targets")

    def rows(self) -> list[StructureRow]:
        """All structures, in the segmentation's order."""
        hidden = self._hidden()
        return [StructureRow(name, color, name not in hidden) for _v, name, color in self._viewing.structures()]

    def show(self, names: Iterable[str], shown: bool) -> None:
        """Draw these structures from now on, or do not."""
        named = list(names)
        known = {name for _v, name, _color in self._viewing.structures()}
        wrong = [name for name in named if name not in known]
        if wrong:
            raise InputError(_("There is no structure {name}.").format(name=wrong[0]))
        hidden = self._hidden() - set(named) if shown else self._hidden() | set(named)
        self._context.parameters.hiddenStructures = json.dumps(sorted(hidden)) if hidden else ""
        self.tick()

    def draws(self, name: str) -> bool:
        """Whether a structure of this name is drawn on the X-rays, as the panel is set: outlined or filled, and not unchecked."""
        p = self._context.parameters
        return p is not None and (p.showOutlines or p.showLabels) and name not in self._hidden()

    def obstacle(self) -> str:
        """Why there are none to choose from; empty if there are."""
        p = self._context.parameters
        if self._viewing.structures():
            return ""
        if p is None or p.segmentation is None:
            return _("Choose the CT's segmentation in the section Patient.")
        return _("The segmentation's structures are not known yet.")

    def _hidden(self) -> set[str]:
        p = self._context.parameters
        try:
            names = json.loads(p.hiddenStructures) if p is not None and p.hiddenStructures else []
        except ValueError:
            names = []
        return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()
