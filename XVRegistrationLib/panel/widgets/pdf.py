"""Printing a page into a PDF file with Qt, where it can: step by step, so that nothing else waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import replacing
from XVRegistrationLib.panel.i18n import tr as _

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from XVRegistrationLib.evaluation.xray_report_page import PrintedPage

_CSS_DPI = 96.0
"""px per inch in which a page of HTML states widths."""
_PICTURE_DPI = 225.0
"""Of printed pictures: as fine as printers show grey values, and a fraction of the time that finer ones take."""
_MARGIN_CM = 2.0


def print_pdf(page: PrintedPage, path: Path) -> Generator[float]:
    """Print a page into a file, at most a picture or a sheet of paper at each step; yields the share that is done, 0 to 1.

    The file is whole or, if it fails or the iterator is closed before its end, as it was. Raises InputError with the reason.
    """
    if not (hasattr(qt, "QTextDocument") and (hasattr(qt, "QPrinter") or hasattr(qt, "QPdfWriter"))):
        raise InputError(_not_here())
    try:
        with replacing(path) as temporary:
            yield from _print(page, str(temporary))
            if not temporary.stat().st_size:
                raise OSError("Qt wrote nothing")
    except (AttributeError, TypeError, ValueError) as e:  # PythonQt lacks what is needed, or an overload of it
        raise InputError(_not_here()) from e
    except OSError as e:
        raise InputError(_("The PDF cannot be written: {reason}.").format(reason=e.strerror or e)) from e


def _not_here() -> str:
    return _("A PDF cannot be printed here: print the page from a browser.")


def _print(page: PrintedPage, file: str) -> Generator[float]:
    document = qt.QTextDocument()
    document.setDocumentMargin(_MARGIN_CM / 2.54 * _CSS_DPI)
    for done, (name, picture) in enumerate(page.pictures.items()):
        document.addResource(int(qt.QTextDocument.ImageResource), qt.QUrl(name), _picture(*picture))
        yield 0.5 * done / len(page.pictures)
    document.setHtml(page.html)
    yield 0.5
    device = _device(file)
    painter = qt.QPainter()
    if not painter.begin(device):
        raise OSError("Qt cannot begin")
    try:
        width, height = float(device.width()), float(device.height())
        layout = document.documentLayout()
        layout.setPaintDevice(device)
        document.setPageSize(qt.QSizeF(width, height))
        block = document.begin()
        while block.isValid():  # asking for a place lays out all before it, and only that
            layout.blockBoundingRect(block)
            block = block.next()
            yield 0.5
        count = document.pageCount()
        for number in range(count):
            yield 0.5 + 0.5 * number / count
            if number:
                device.newPage()
            _draw_sheet(document, painter, number, width, height)
    finally:
        painter.end()  # closes the file, which could not be removed before everywhere


def _draw_sheet(document: Any, painter: Any, number: int, width: float, height: float) -> None:
    """Draw the sheet with this number, from 0, and write the number to be read below it."""
    painter.save()
    painter.translate(0.0, -number * height)
    document.drawContents(painter, qt.QRectF(0.0, number * height, width, height))
    painter.restore()
    margin = _MARGIN_CM / 2.54 * painter.device().logicalDpiX()
    painter.setPen(qt.QColor("#000000"))
    box = qt.QRectF(margin, height - margin, width - 2 * margin, margin / 2)
    painter.drawText(box, int(qt.Qt.AlignRight | qt.Qt.AlignVCenter), str(number + 1))


def _picture(data: bytes, width: int) -> Any:
    """A JPEG file as a QImage with so many pixels as are printed on `width` px of the page, if it has more."""
    image = qt.QImage()
    image.loadFromData(qt.QByteArray(data))
    printed = round(width * _PICTURE_DPI / _CSS_DPI)
    return image if image.width() <= printed else image.scaledToWidth(printed, qt.Qt.SmoothTransformation)


def _device(file: str) -> Any:
    """What prints into a PDF file, on A4."""
    if not hasattr(qt, "QPrinter"):
        writer = qt.QPdfWriter(file)
        writer.setPageSize(qt.QPageSize(qt.QPageSize.A4))
        return writer
    printer = qt.QPrinter(qt.QPrinter.HighResolution)
    printer.setOutputFormat(qt.QPrinter.PdfFormat)
    printer.setOutputFileName(file)
    printer.setPageSize(qt.QPageSize(qt.QPageSize.A4))
    return printer
