"""5. See it, third part: the targets in a table, and points picked in two X-rays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt

from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.widgets.common import allow, answering, fill_table, fit_height, header_height, show_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from XVRegistrationLib.panel.session import Session
    from XVRegistrationLib.panel.views import PickedView, TargetRow

_MISSING = "-"


class TargetSection:
    """The table of targets, and the buttons that pick a new one."""

    def __init__(self, ui: Any, session: Session) -> None:
        self.ui = ui
        self._session = session
        self._shown: list[tuple[str, ...]] = []
        table = ui.targetTable
        titles = (
            (_("Target"), _("Name of the target.")),
            (_("Pixel"), _("Column and row at which it falls on the shown X-ray.")),
            (_("R, A, S (mm)"), _("Where it is in the CT.")),
            (_("In plane"), _("Half of its 95 % interval parallel to the detector, in the worst direction, mm.")),
            (_("Depth"), _("Half of its 95 % interval along the beam, mm.")),
        )
        for column, (title, meaning) in enumerate(titles):
            item = qt.QTableWidgetItem(title)
            item.setToolTip(meaning)
            table.setHorizontalHeaderItem(column, item)
        table.verticalHeader().setVisible(False)
        header = table.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setStretchLastSection(True)
        table.itemSelectionChanged.connect(self.on_select)
        table.cellClicked.connect(self.on_click)
        ui.pickButton.clicked.connect(self.on_pick)
        ui.clearPicksButton.clicked.connect(self.on_clear)
        ui.addPickedButton.clicked.connect(self.on_add)

    def show(self) -> None:
        session, ui = self._session, self.ui
        rows = [_cells(row) for row in session.targets()]
        if rows != self._shown:
            self._fill(rows)
        show_text(ui.targetsHintLabel, session.targets_hint())
        show_text(ui.pickedLabel, _in_words(session.picked()))
        purpose = _("Click on a thing in the X-ray's view; picked in two X-rays, it is found in space.")
        allow(ui.pickButton, session.can_pick(), purpose)
        allow(ui.clearPicksButton, session.can_clear_picks(), _("Remove what is picked from all X-rays."))
        purpose = _("Add the point to the targets, or to a new list where none is chosen.")
        allow(ui.addPickedButton, session.can_add_picked_target(), purpose)

    def on_select(self) -> None:
        """The user chose a row, by a click or by the arrow keys."""
        row = int(self.ui.targetTable.currentRow())
        self._do(lambda: self._session.select_target(row if 0 <= row < len(self._shown) else None))

    def on_click(self, row: int, column: int) -> None:
        """Also a row that is chosen already: the views may have been moved since."""
        self.on_select()

    def on_pick(self, checked: bool = False) -> None:
        self._do(lambda: self._session.pick())

    def on_clear(self, checked: bool = False) -> None:
        self._do(self._session.clear_picks)

    def on_add(self, checked: bool = False) -> None:
        self._do(lambda: self._session.add_picked_target())

    def _do(self, what: Callable[[], object]) -> None:
        with answering(self._session.say, _("The targets could not be used.")):
            what()

    def _fill(self, rows: list[tuple[str, ...]]) -> None:
        table = self.ui.targetTable
        fill_table(table, rows, self._shown)
        self._shown = rows
        # One more row's height, for a scroll bar below.
        fit_height(table, len(rows), 2 * header_height(table))


def _cells(row: TargetRow) -> tuple[str, ...]:
    """What the columns say, and the tooltip."""
    pixel = _MISSING if row.pixel is None else _numbers(row.pixel)
    if row.pixel is not None and not row.on_image:
        pixel = _("outside")
    place = _MISSING if row.point is None else _numbers(row.point)
    spread = (_MISSING if v is None else f"\u00b1{v:.1f}" for v in (row.in_plane_mm, row.depth_mm))
    return (row.name, pixel, place, *spread, row.note)


def _in_words(view: PickedView) -> str:
    """What is picked, and what came of it."""
    if not view.picks:
        return ""
    names = ", ".join(pick.name for pick in view.picks)
    if view.point is None:
        text = _("Picked on: {names}.").format(names=names)
        return f"{text} {view.problem or _('Pick the same thing in an X-ray from another side.')}"
    beside = ", ".join(f"{pick.residual_px or 0.0:.1f}" for pick in view.picks)
    off = ", ".join(f"{pick.distance_mm or 0.0:.1f}" for pick in view.picks)
    text = _(
        "Picked on: {names}. It is at R, A, S {place} mm; it falls {beside} px beside, {off} mm off the rays."
    ).format(names=names, place=_numbers(view.point), beside=beside, off=off)
    return f"{text} {view.problem}".strip()


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{v:.1f}" for v in values)
