"""6. Review and report: what was decided on the X-ray that is shown, and taking all of it along."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import qt

from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.widgets.common import (
    add_shortcut,
    allow,
    answering,
    chosen,
    fill_choices,
    in_words,
    quietly,
    show_progress,
    show_text,
)
from XVRegistrationLib.panel.widgets.pdf import print_pdf

if TYPE_CHECKING:
    from XVRegistrationLib.panel.session import Session
    from XVRegistrationLib.panel.views import XrayRow
    from XVRegistrationLib.panel.widgets.setup_section import SetupSection

ACCEPT_KEY, REJECT_KEY = "Ctrl+Shift+A", "Ctrl+Shift+R"


class ReportSection:
    """Decision and note of one X-ray; the buttons for the report and for files."""

    def __init__(self, ui: Any, session: Session, setup: SetupSection) -> None:
        self.ui = ui
        self._session = session
        self._setup = setup
        self._row: XrayRow | None = None
        self._node: Any = None
        """Whose note is in the line."""
        ui.reviewComboBox.activated.connect(self.on_decided)
        # Of the section, which can be seen as long as the panel can.
        add_shortcut(ui.reportCollapsibleButton, ACCEPT_KEY, lambda: self._decide("accepted"))
        add_shortcut(ui.reportCollapsibleButton, REJECT_KEY, lambda: self._decide("rejected"))
        ui.noteLineEdit.editingFinished.connect(self.on_noted)
        ui.reportButton.clicked.connect(self.on_report)
        ui.cancelReportButton.clicked.connect(self.on_cancel)
        ui.exportButton.clicked.connect(self.on_export)

    def show(self, row: XrayRow | None) -> None:
        """Show the current X-ray's row of the table, or that there is none."""
        self.on_noted()  # of the X-ray before, where another is chosen while the line has the focus
        self._row = row
        node = None if row is None else row.node
        text = _("Select an X-ray in the table above.") if row is None else _("Shown: {name}").format(name=row.name)
        if row is not None and row.review_outdated:
            text += "\n" + _("It was decided on at another pose, and is open again.")
        show_text(self.ui.reviewLabel, text)
        obstacle = self._session.can_review(node)
        not_yet = self._session.can_accept(node)
        purpose = _("Accept or reject the pose of the shown X-ray ({accept}, {reject}).")
        purpose = purpose.format(accept=in_words(ACCEPT_KEY), reject=in_words(REJECT_KEY))
        allow(self.ui.reviewComboBox, obstacle, not_yet or purpose)
        allow(
            self.ui.noteLineEdit,
            obstacle,
            _("Why, or what is to be kept in mind. It is in the report as it stands here."),
        )
        choices = [(_("Open"), "open"), (_("Accepted"), "accepted"), (_("Rejected"), "rejected")]
        fill_choices(self.ui.reviewComboBox, choices, "open" if row is None else row.review)
        note = "" if row is None else row.note
        if node is not self._node or not self.ui.noteLineEdit.property("modified"):
            with quietly(self.ui.noteLineEdit):
                self.ui.noteLineEdit.setText(note)
        self._node = node
        obstacle = self._setup.obstacle or self._session.can_report()
        purpose = _(
            "Write one page about all X-rays: pictures, poses, verdicts, targets and decisions; as PDF too, where Qt can."
        )
        allow(self.ui.reportButton, obstacle, purpose)
        purpose = _("Write registrations for other programs: transforms, tables, calibrations, labels, and the scene.")
        allow(self.ui.exportButton, self._setup.obstacle or self._session.can_export(), purpose)
        self.show_progress()

    def show_progress(self) -> None:
        """Show how far the report is."""
        purpose = _("Stop the report; files of an earlier one stay as they are.")
        allow(self.ui.cancelReportButton, self._session.can_cancel_report(), purpose)
        show_progress(self.ui.reportProgressBar, self._session.report_progress())

    def on_decided(self, index: int = 0) -> None:
        self._decide(chosen(self.ui.reviewComboBox))

    def _decide(self, decision: str) -> None:
        with answering(self._session.say, _("The decision could not be kept.")):
            row = self._row
            if row is None:
                return
            try:
                self._session.review(row.node, decision)
            finally:  # what was refused is not shown as if it held
                kept = self._session.review_of(row.node).decision
                fill_choices(self.ui.reviewComboBox, _choices(self.ui.reviewComboBox), kept)

    def on_noted(self) -> None:
        if self._node is None or not self.ui.noteLineEdit.property("modified"):
            return
        self.ui.noteLineEdit.setModified(False)
        with answering(self._session.say, _("The note could not be kept.")):
            self._session.review(self._node, note=str(self.ui.noteLineEdit.property("text")))

    def on_report(self, checked: bool = False) -> None:
        self.on_noted()
        found = qt.QFileDialog.getSaveFileName(
            self.ui.reportButton, _("Write a report"), "report.html", _("Report (*.html)")
        )
        path = found[0] if isinstance(found, tuple) else found
        with answering(self._session.say, _("The report could not be written.")):
            if path:
                file = Path(str(path))
                file = file if file.suffix.lower() in (".html", ".htm") else file.with_name(f"{file.name}.html")
                files = bool(self.ui.reportFilesCheckBox.property("checked"))
                self._session.report(file, keep_identity=self._identity, pdf=print_pdf, files=files)

    def on_cancel(self, checked: bool = False) -> None:
        with answering(self._session.say, _("The report could not be stopped.")):
            self._session.cancel_report()

    def on_export(self, checked: bool = False) -> None:
        self.on_noted()
        folder = qt.QFileDialog.getExistingDirectory(self.ui.exportButton, _("Folder for the files"))
        with answering(self._session.say, _("The files could not be written.")):
            if folder:
                self._session.export(str(folder), keep_identity=self._identity)

    @property
    def _identity(self) -> bool:
        return bool(self.ui.keepIdentityCheckBox.property("checked"))


def _choices(combo: Any) -> list[tuple[str, str]]:
    count = int(combo.property("count"))
    return [(str(combo.itemText(index)), str(combo.itemData(index))) for index in range(count)]
