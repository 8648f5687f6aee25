"""6. Correct it, second part: landmark pairs in a table, and the pose that fits them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt

from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.widgets.common import allow, answering, fill_table, fit_height, header_height

if TYPE_CHECKING:
    from collections.abc import Callable

    from XVRegistrationLib.panel.session import Session
    from XVRegistrationLib.panel.views import LandmarkRow

NAME, IN_CT, ON_XRAY, BESIDE = range(4)
_MISSING = "-"


class LandmarkSection:
    """The table of landmarks and its buttons."""

    def __init__(self, ui: Any, session: Session) -> None:
        self.ui = ui
        self._session = session
        self._shown: list[tuple[str, ...]] = []
        table = ui.landmarkTable
        table.setHorizontalHeaderLabels([_("Landmark"), _("CT"), _("X-ray"), _("Beside")])
        table.verticalHeader().setVisible(False)
        header = table.horizontalHeader()
        header.setSectionResizeMode(qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(BESIDE, qt.QHeaderView.Stretch)
        table.itemSelectionChanged.connect(self.show)
        ui.markInCtButton.clicked.connect(self.on_mark_in_ct)
        ui.markInXrayButton.clicked.connect(self.on_mark_in_xray)
        ui.removeLandmarkButton.clicked.connect(self.on_remove)
        ui.fitLandmarksButton.clicked.connect(self.on_fit)

    @property
    def selected(self) -> str:
        """Name of the landmark whose row is selected; "" if none is."""
        row = self.ui.landmarkTable.currentRow()
        return self._shown[row][NAME] if 0 <= row < len(self._shown) else ""

    @property
    def _unmarked(self) -> str:
        """The selected landmark if it is not marked on the X-ray, else ""."""
        row = self.ui.landmarkTable.currentRow()
        return self.selected if self.selected and self._shown[row][ON_XRAY] == _MISSING else ""

    def show(self) -> None:
        rows = [_cells(row) for row in self._session.landmarks()]
        if rows != self._shown:
            self._fill(rows)
        session, ui, name = self._session, self.ui, self.selected
        purpose = _("Click on a new landmark in a view of the CT. One that is there can be dragged.")
        allow(ui.markInCtButton, session.can_mark_in_ct(), purpose)
        purpose = _("Click in the X-ray's view on the first landmark that is marked in the CT alone.")
        if self._unmarked:
            purpose = _("Click on landmark {name} in the X-ray's view.").format(name=name)
        allow(ui.markInXrayButton, session.can_mark_in_xray(), purpose)
        obstacle = "" if name else _("Select a landmark in the table.")
        allow(
            ui.removeLandmarkButton,
            obstacle,
            _("Remove the landmark from the CT and from this X-ray, of a run from this frame."),
        )
        purpose = _("Put the C-arm where the landmarks say it is; Refine from here goes on from there.")
        allow(ui.fitLandmarksButton, session.can_fit_landmarks(), purpose)

    def on_mark_in_ct(self, checked: bool = False) -> None:
        self._do(lambda: self._session.mark_in_ct())

    def on_mark_in_xray(self, checked: bool = False) -> None:
        self._do(lambda: self._session.mark_in_xray(self._unmarked))

    def on_remove(self, checked: bool = False) -> None:
        self._do(lambda: self._session.remove_landmark(self.selected))

    def on_fit(self, checked: bool = False) -> None:
        self._do(self._session.fit_landmarks)

    def _do(self, what: Callable[[], None]) -> None:
        with answering(self._session.say, _("The landmarks could not be used.")):
            what()

    def _fill(self, rows: list[tuple[str, ...]]) -> None:
        table = self.ui.landmarkTable
        fill_table(table, rows, self._shown)
        self._shown = rows
        fit_height(table, len(rows), header_height(table) + 4)


def _cells(row: LandmarkRow) -> tuple[str, ...]:
    """What the columns say, and the tooltip."""
    yes, no, beside = _("marked"), _MISSING, _MISSING
    if row.miss_px is not None and row.miss_mm is not None:
        beside = _("{px} px, {mm} mm").format(px=f"{row.miss_px:.1f}", mm=f"{row.miss_mm:.1f}")
    if row.note and row.miss_px is not None:
        beside = _("{miss} (left out)").format(miss=beside)
    on_xray = yes if row.frame is None else _("frame {number}").format(number=row.frame)
    return row.name, yes if row.point else no, on_xray if row.pixel else no, beside, row.note
