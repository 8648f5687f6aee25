"""3. X-rays: adding and removing them, and the table of what is known of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt

from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.widgets.common import add_shortcut, allow, answering, quietly
from XVRegistrationLib.panel.widgets.geometry_form import GeometryForm
from XVRegistrationLib.panel.widgets.image_form import ImageForm
from XVRegistrationLib.panel.widgets.pictures import mark, picture_icon, pixmap_of

if TYPE_CHECKING:
    from XVRegistrationLib.panel.session import Session
    from XVRegistrationLib.panel.views import XrayRow

NAME, GEOMETRY, OUTCOME = range(3)
ROW_GAP = 6  # px
NEXT_KEY = "Ctrl+Shift+N"
LOWEST, HIGHEST = 72, 280  # px, of the table: it is as high as its rows, and scrolls beyond


class XraySection:
    """The table and the buttons above it; the forms below it are an ImageForm and a GeometryForm."""

    def __init__(self, ui: Any, session: Session) -> None:
        self.ui = ui
        self._session = session
        self._rows: list[XrayRow] = []
        self._selected = ""  # ID of the row's node
        self._image = ImageForm(ui, session)
        self._form = GeometryForm(ui, session)
        self._prepare_table()
        ui.addFilesButton.clicked.connect(self.on_add_files)
        ui.addNodeButton.clicked.connect(self.on_add_node)
        ui.removeButton.clicked.connect(self.on_remove)
        ui.xrayNodeSelector.currentNodeChanged.connect(self.on_node_chosen)
        ui.xrayTable.itemChanged.connect(self.on_item_changed)
        ui.xrayTable.itemSelectionChanged.connect(self.on_selected)
        add_shortcut(ui.xraysCollapsibleButton, NEXT_KEY, self.on_next)

    @property
    def selected(self) -> XrayRow | None:
        """The row that is selected; None if none is."""
        return next((row for row in self._rows if row.node_id == self._selected), None)

    def show(self, rows: list[XrayRow]) -> None:
        current = next((row.node_id for row in rows if row.current), "")
        before = next((row.node_id for row in self._rows if row.current), "")
        ids = [row.node_id for row in rows]
        if (current and current != before) or self._selected not in ids:
            # Where nothing is shown yet, the first that asks for something is selected: its form opens.
            incomplete = next((row.node_id for row in rows if row.missing), "")
            self._selected = current or incomplete or (ids[0] if ids else "")
        self._fill(rows)
        self._image.show(self.selected)
        self._form.show(self.selected)
        self._show_buttons()

    def on_add_files(self, checked: bool = False) -> None:
        patterns = _("X-rays (*.dcm *.nii *.nii.gz *.nrrd *.mha *.png *.tif *.tiff *.jpg *.jpeg);;All files (*)")
        chosen = qt.QFileDialog.getOpenFileNames(self.ui.addFilesButton, _("Add X-rays"), "", patterns)
        # PySide6 also returns the pattern that was chosen.
        paths = chosen[0] if len(chosen) == 2 and not isinstance(chosen[0], str) else chosen
        with answering(self._session.say, _("The X-rays could not be added.")):
            if paths:
                self._session.add_files([str(path) for path in paths])

    def on_add_node(self, checked: bool = False) -> None:
        with answering(self._session.say, _("The image could not be added.")):
            node = self.ui.xrayNodeSelector.currentNode()
            if node is not None:
                self._session.add_nodes([node])
                self.ui.xrayNodeSelector.setCurrentNodeID("")

    def on_node_chosen(self, node: Any = None) -> None:
        self._show_buttons()

    def on_remove(self, checked: bool = False) -> None:
        with answering(self._session.say, _("The X-ray could not be removed.")):
            row = self.selected
            if row is not None:
                self._session.remove(row.node)

    def on_item_changed(self, item: Any = None) -> None:
        """The user checked or unchecked a row."""
        for index, row in enumerate(self._rows):
            checked = self.ui.xrayTable.item(index, NAME).checkState() == qt.Qt.Checked
            if checked != row.checked:
                self._session.set_checked(row.node, checked)

    def on_selected(self) -> None:
        index = self.ui.xrayTable.currentRow()
        if not 0 <= index < len(self._rows) or self._rows[index].node_id == self._selected:
            return
        row = self._rows[index]
        self._selected = row.node_id
        self._image.show(row)
        self._form.show(row)
        self._show_buttons()
        with answering(self._session.say, _("The X-ray could not be shown.")):
            self._session.show(row.node)

    def on_next(self) -> None:
        """Select the row after the selected one, or the first after the last."""
        if self._rows:
            self.ui.xrayTable.setCurrentCell((self.ui.xrayTable.currentRow() + 1) % len(self._rows), NAME)

    def _show_buttons(self) -> None:
        obstacle = self._session.can_add_xrays()
        allow(self.ui.addFilesButton, obstacle, _("Add X-rays from files: DICOM, NIfTI, PNG and other images."))
        if not obstacle and self.ui.xrayNodeSelector.currentNode() is None:
            obstacle = _("Choose an image of the scene first.")
        allow(self.ui.addNodeButton, obstacle, _("Add a copy of this image; the image itself stays as it is."))
        obstacle = "" if self.selected is not None else _("Select an X-ray in the table.")
        allow(self.ui.removeButton, obstacle, _("Remove the selected X-ray and all that belongs to it from the scene."))

    def _prepare_table(self) -> None:
        table = self.ui.xrayTable
        table.setHorizontalHeaderLabels([_("X-ray"), _("Geometry"), _("Outcome")])
        table.verticalHeader().setVisible(False)
        header = table.horizontalHeader()
        header.setSectionsClickable(False)
        header.setSectionResizeMode(qt.QHeaderView.Stretch)
        header.sectionResized.connect(self._fit_rows)

    def _fit_rows(self, section: int = 0, before: int = 0, after: int = 0) -> None:
        for index in range(len(self._rows)):
            self._fit_row(index)
        self._fit_table()

    def _fit_table(self) -> None:
        table = self.ui.xrayTable
        rows = sum(table.rowHeight(index) for index in range(len(self._rows)))
        table.setFixedHeight(
            max(LOWEST, min(HIGHEST, rows + table.horizontalHeader().property("sizeHint").height() + 4))
        )

    def _fit_row(self, index: int) -> None:
        """Make a row as high as its words need, and a little more, so that rows do not touch."""
        table = self.ui.xrayTable
        table.resizeRowToContents(index)
        table.setRowHeight(index, table.rowHeight(index) + ROW_GAP)

    def _fill(self, rows: list[XrayRow]) -> None:
        """Bring the table in line, changing only what changed: a rebuilt one would lose focus and scroll position."""
        table = self.ui.xrayTable
        old = dict(enumerate(self._rows))
        self._rows = rows
        with quietly(table):
            table.setRowCount(len(rows))
            for index, row in enumerate(rows):
                if _same(old.get(index), row):
                    continue
                name = _item(row.name, row.name)
                name.setCheckState(qt.Qt.Checked if row.checked else qt.Qt.Unchecked)
                if row.thumbnail is not None:
                    name.setIcon(picture_icon(pixmap_of(row.thumbnail)))
                table.setItem(index, NAME, name)
                table.setItem(index, GEOMETRY, _item(row.geometry, row.geometry))
                outcome = _item(row.outcome, row.hint or row.outcome)
                outcome.setIcon(mark(row.look, table))
                table.setItem(index, OUTCOME, outcome)
                self._fit_row(index)
            selected = next((i for i, row in enumerate(rows) if row.node_id == self._selected), -1)
            if selected >= 0 and table.currentRow() != selected:
                table.setCurrentCell(selected, NAME)
        self._fit_table()


def _item(text: str, tip: str) -> Any:
    item = qt.QTableWidgetItem(text)
    item.setToolTip(tip)
    return item


def _same(old: XrayRow | None, new: XrayRow) -> bool:
    """Whether two rows look the same in the table."""
    if old is None:
        return False
    parts = ("node_id", "name", "checked", "outcome", "look", "hint", "geometry")
    return all(getattr(old, part) == getattr(new, part) for part in parts) and _same_picture(old, new)


def _same_picture(old: XrayRow, new: XrayRow) -> bool:
    if old.thumbnail is None or new.thumbnail is None:
        return old.thumbnail is new.thumbnail
    return old.thumbnail.tobytes() == new.thumbnail.tobytes()
