"""5. See it, fourth part: the structures of the segmentation, each drawn on the X-rays or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt

from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.widgets.common import allow, answering, fit_height, quietly, show_text
from XVRegistrationLib.panel.widgets.pictures import dot

if TYPE_CHECKING:
    from XVRegistrationLib.panel.session import Session
    from XVRegistrationLib.panel.views import StructureRow


class StructureSection:
    """A list with a check box for each structure; the space key changes the one of the row that is chosen."""

    def __init__(self, ui: Any, session: Session) -> None:
        self.ui = ui
        self._session = session
        self._rows: list[StructureRow] = []
        table = ui.structureTable
        table.horizontalHeader().setVisible(False)
        table.verticalHeader().setVisible(False)
        table.horizontalHeader().setSectionResizeMode(0, qt.QHeaderView.Stretch)
        table.itemChanged.connect(self.on_item)
        ui.allStructuresButton.clicked.connect(self.on_all)
        ui.noStructuresButton.clicked.connect(self.on_none)

    def show(self) -> None:
        session, ui = self._session, self.ui
        rows = session.structures()
        if rows != self._rows:
            self._fill(rows)
        obstacle = session.can_show_structures()
        show_text(ui.structuresHintLabel, obstacle)
        ui.structureTable.setVisible(not obstacle)
        allow(
            ui.allStructuresButton,
            obstacle or ("" if not all(row.shown for row in rows) else _("All are drawn.")),
            _("Draw all structures on the X-rays."),
        )
        allow(
            ui.noStructuresButton,
            obstacle or ("" if any(row.shown for row in rows) else _("None is drawn.")),
            _("Draw no structure on the X-rays."),
        )

    def on_item(self, item: Any = None) -> None:
        """The user checked or unchecked a row."""
        with answering(self._session.say, _("The structures could not be shown.")):
            for shown in (True, False):
                changed = [
                    row.name
                    for index, row in enumerate(self._rows)
                    if row.shown != shown and self._is_checked(index) == shown
                ]
                if changed:
                    self._session.show_structures(changed, shown)

    def on_all(self, checked: bool = False) -> None:
        self._show_all(True)

    def on_none(self, checked: bool = False) -> None:
        self._show_all(False)

    def _show_all(self, shown: bool) -> None:
        with answering(self._session.say, _("The structures could not be shown.")):
            self._session.show_structures([row.name for row in self._rows], shown)

    def _is_checked(self, index: int) -> bool:
        return bool(self.ui.structureTable.item(index, 0).checkState() == qt.Qt.Checked)

    def _fill(self, rows: list[StructureRow]) -> None:
        table, before = self.ui.structureTable, self._rows
        self._rows = rows
        with quietly(table):
            table.setRowCount(len(rows))
            for index, row in enumerate(rows):
                if index < len(before) and before[index] == row:
                    continue
                item = table.item(index, 0) if index < len(before) else None
                if item is None or before[index].color != row.color:
                    item = qt.QTableWidgetItem(row.name)
                    item.setIcon(dot("#{:02x}{:02x}{:02x}".format(*(round(255 * c) for c in row.color)), table))
                    table.setItem(index, 0, item)
                item.setText(row.name)
                item.setToolTip(row.name)
                item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable)
                item.setCheckState(qt.Qt.Checked if row.shown else qt.Qt.Unchecked)
        fit_height(table, len(rows), 4, highest=240)
