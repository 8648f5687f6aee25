"""What a session does with targets: where they are on the current X-ray, what is pointed at, and points picked in two X-rays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from XVRegistrationLib.panel.session_viewing import ViewingSession

if TYPE_CHECKING:
    from collections.abc import Iterable

    from XVRegistrationLib.panel.views import PickedView, StructureRow, TargetRow


class TargetSession(ViewingSession):
    """Targets and structures of a session; cursors are linked while the parameter `linkCursors` says so."""

    # 5 See it

    def targets(self) -> list[TargetRow]:
        """The targets, where they are on the current X-ray, and how sure that is."""
        return self._targets.rows()

    def targets_hint(self) -> str:
        """What is to be known of all targets on the current X-ray, or why nothing is known of them; else ""."""
        return self._targets.hint()

    def select_target(self, number: int | None) -> None:
        """Bring a target, by its place in the list from 0, before the slice views, and mark it on the X-ray; None: no one."""
        self._targets.select(number)

    def structures(self) -> list[StructureRow]:
        """The structures of the segmentation, and which of them are drawn on the X-rays."""
        return self._structures.rows()

    def show_structures(self, names: Iterable[str], shown: bool = True) -> None:
        """Draw these structures on the X-rays, filled or as outlines, or do not. The CT's segmentation stays as it is."""
        self._structures.show(names, shown)

    # A point picked in two X-rays

    def picked(self) -> PickedView:
        """What is picked on the X-rays, where that is, and how well the picks agree."""
        return self._picked.view()

    def pick(self, pixel: tuple[float, float] | None = None) -> None:
        """Pick a stored pixel (column, row) of the current X-ray, or with None what the user clicks on next."""
        self._picked.pick(pixel)

    def clear_picks(self) -> None:
        """Remove what is picked from all X-rays."""
        self._picked.clear()

    def add_picked_target(self, name: str = "") -> str:
        """Make what is picked in two X-rays a target, of the chosen list or a new one; return its name."""
        return self._picked.add(name)

    # Why a button is disabled: a sentence for its tooltip, "" if it is enabled

    def can_show_structures(self) -> str:
        return self._structures.obstacle()

    def can_pick(self) -> str:
        return self._picked.can_pick()

    def can_clear_picks(self) -> str:
        return self._picked.can_clear()

    def can_add_picked_target(self) -> str:
        return self._picked.can_add()
