"""Accepting X-rays and reporting them by clicks and keys in the panel, and a report that is stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from Testing.Python.dicom_files import NAMES, grey, named, write
from Testing.Python.panel.patients import CAMERA, bones, line_integrals, patient
from Testing.Python.panel.sessions import TIMEOUT, add, choose
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.scene.volumes import add_segmentation, add_volume

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_a_report_that_is_stopped_leaves_the_earlier_one(host, panel, files, tmp_path):
    from XVRegistrationLib.panel.widgets.pdf import print_pdf

    ui, session = panel.ui, panel.logic.session
    choose(session)
    session.register(add(session, files[:2]))
    session.wait(TIMEOUT)
    folder = tmp_path / "out"
    session.report(folder / "r.html", pdf=print_pdf)
    session.wait(TIMEOUT)

    def content() -> dict[str, bytes]:
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    before = content()
    assert {"r.html", "r.json", "r.pdf", "r-files/README.txt", "r-files/registrations.csv"} <= set(before)
    with pytest.raises(InputError, match="No report"):
        session.cancel_report()

    def print_without_end(*what: Any) -> Iterator[float]:
        """Stays in the middle, so that the report cannot be over before the click."""
        for share in print_pdf(*what):
            yield share
            while share > 0.4:
                yield share

    for share in (0.0, 0.5, 0.8):  # while pictures are drawn, files are written, and it is printed
        session.report(folder / "r.html", pdf=print_without_end)
        host.wait_until(
            lambda share=share: (session.report_progress() or 0.0) >= share and ui.cancelReportButton.enabled
        )
        assert ui.reportProgressBar.isVisibleTo(ui.reportProgressBar.parentWidget())
        host.click(ui.cancelReportButton)
        assert session.report_progress() is None
        assert "nothing was written" in session.status
        host.wait_until(lambda: not session.busy, TIMEOUT)  # what the engine was at is over
        assert content() == before
    host.wait_until(lambda: not ui.cancelReportButton.enabled)


def test_the_panel_accepts_notes_and_reports_by_clicks_and_keys(host, panel, files, tmp_path):
    ui, session = panel.ui, panel.logic.session
    host.wait_until(lambda: ui.reportButton.toolTip == "Choose the CT.")
    session.parameters.volume = add_volume(session.scene, patient())
    session.wait(TIMEOUT)
    [node] = add(session, files[:1], sdd=CAMERA.sdd)
    session.show(node)
    host.wait_until(lambda: "before it is accepted" in ui.reviewComboBox.toolTip)
    session.register([node])
    session.wait(TIMEOUT)
    host.wait_until(lambda: ui.reportButton.enabled and ui.reviewComboBox.toolTip.startswith("Accept"))
    host.choose(ui.reviewComboBox, "Accepted")
    host.wait_until(lambda: "accepted" in ui.xrayTable.item(0, 2).text())
    host.enter_text(ui.noteLineEdit, "fits")
    host.wait_until(lambda: session.rows()[0].note == "fits")
    host.dialogs.answers.append(str(tmp_path / "seen"))
    host.click(ui.reportButton)
    host.wait_until(lambda: (tmp_path / "seen.pdf").exists())
    assert (tmp_path / "seen.pdf").read_bytes()[:5] == b"%PDF-"
    assert "fits" in (tmp_path / "seen.html").read_text("utf-8")
    host.wait_until(lambda: "Signed off" in ui.statusLabel.text)


def test_identity_leaves_by_clicks_only_where_the_box_is_checked_and_a_bad_folder_is_a_sentence(host, panel, tmp_path):
    ui, session = panel.ui, panel.logic.session
    choose(session, segmentation=add_segmentation(session.scene, bones(3)))
    [node] = add(session, [write(tmp_path / "one.dcm", grey(line_integrals(patient(), 0)))])
    session.register([node])
    session.wait(TIMEOUT)
    host.wait_until(lambda: ui.exportButton.enabled)

    def found(*clicks: Any) -> set[str]:
        """What of the patient is in the files that these buttons write into a new folder."""
        folder = tmp_path / f"out {len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        for button, place in clicks:
            host.dialogs.answers.append(str(folder / place))
            host.click(button)
            host.wait_until(lambda: not session.busy, TIMEOUT)
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert {"one_labels.dcm", "README.txt"} <= {path.name for path in files}, session.status
        return {value for _file, value in named(files)}

    for click in ((ui.exportButton, "files"), (ui.reportButton, "r.html")):
        assert found(click) == set()
    host.click(ui.keepIdentityCheckBox)
    for click in ((ui.exportButton, "files"), (ui.reportButton, "r.html")):
        assert NAMES["PatientID"] in found(click)
    host.click(ui.keepIdentityCheckBox)
    assert found((ui.exportButton, "files"), (ui.reportButton, "r.html")) == set()
    host.click(ui.reportFilesCheckBox)
    host.dialogs.answers.append(str(tmp_path / "alone.html"))
    host.click(ui.reportButton)
    host.wait_until((tmp_path / "alone.html").exists, TIMEOUT)
    assert not (tmp_path / "alone-files").exists()
    for button, place in ((ui.exportButton, "/proc/nothing"), (ui.reportButton, "/proc/nothing/r.html")):
        session.say("")
        host.dialogs.answers.append(place)
        host.click(button)
        host.wait_until(lambda: "/proc/nothing cannot be written to" in ui.statusLabel.text)
