"""Printing a report: whole sheets with whole pictures and text that can be read, step by step, and never half a file."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.report_pictures import PIXELS, ReportPictures
from XVRegistrationLib.evaluation.xray_report import ReportedXray, XrayReport
from XVRegistrationLib.evaluation.xray_report_page import printed_page
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.registration.result import Registration

LEGEND = tuple((f"structure {number}", "#ff8000") for number in range(12))


def picture(seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (PIXELS // 8, PIXELS // 8), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize((PIXELS, PIXELS)).save(file, format="JPEG")
    return file.getvalue()


def printed(count: int):
    pose = NominalView("AP", (0.0, 0.0, 0.0), 700.0).pose
    xrays = []
    for number in range(count):
        found = Registration(f"xray {number}", pose, Intrinsics.centered(1000.0, (0.3, 0.3), (900, 900)), 0.9, 1.0)
        pictures = ReportPictures(*(picture(3 * number + i) for i in range(3)), legend=LEGEND)
        xrays.append(ReportedXray(found.name, found, pictures=pictures))
    targets = [("T9", np.zeros(3))]
    return printed_page(XrayReport(tuple(xrays), tuple(targets), np.zeros(3), {"view": "AP"}, versions={"x": "1"}))


def sheets_and_pictures(file: bytes) -> tuple[int, int]:
    return file.count(b"/Type /Page\n"), file.count(b"/Subtype /Image")


def test_each_xray_is_on_a_sheet_of_its_own_with_its_pictures(host, tmp_path):
    from XVRegistrationLib.panel.widgets.pdf import print_pdf

    path = tmp_path / "r.pdf"
    shares = list(print_pdf(printed(3), path))
    assert shares == sorted(shares)
    assert 0.0 <= shares[0] < shares[-1] <= 1.0
    assert len(shares) > 3 * 3 + 4  # each picture and each sheet is a step of its own
    # Overview, three X-rays, and model and versions on the last of them; a picture on two sheets would be there twice.
    assert sheets_and_pictures(path.read_bytes()) == (4, 9)
    list(print_pdf(printed(1), path))
    assert sheets_and_pictures(path.read_bytes()) == (2, 3)  # a single one begins below the overview
    assert [file.name for file in tmp_path.iterdir()] == ["r.pdf"]


def test_what_is_printed_can_be_read(host):
    import qt

    document = qt.QTextDocument()
    document.setHtml(printed(2).html)
    text, cursor = document.toPlainText(), qt.QTextCursor(document)
    for position in range(1, len(text)):
        if text[position - 1].isalnum():
            cursor.setPosition(position)
            font, color = cursor.charFormat().font(), cursor.charFormat().foreground().color()
            # Sizes in px would be px of the printer; without a colour it would be that of a dark window's text, white.
            assert font.pointSizeF() >= 8, text[position - 30 : position]
            assert color.lightness() < 160, text[position - 30 : position]


def test_printing_that_is_given_up_or_fails_leaves_what_was_there(host, tmp_path):
    from XVRegistrationLib.panel.widgets.pdf import print_pdf

    path, page = tmp_path / "r.pdf", printed(2)
    path.write_text("of an earlier report")
    every = len(list(print_pdf(page, tmp_path / "other.pdf")))
    for taken in (1, every // 2, every):
        steps = print_pdf(page, path)
        for _ in range(taken):
            next(steps)
        steps.close()
        assert path.read_text() == "of an earlier report"
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        list(print_pdf(page, tmp_path / "file" / "r.pdf"))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "other.pdf", "r.pdf"]
