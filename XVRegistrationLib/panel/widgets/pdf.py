"""Printing a page into a PDF file with Qt, where it can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt

from XVRegistrationLib.files import replacing
from XVRegistrationLib.panel.i18n import tr as _

if TYPE_CHECKING:
    from pathlib import Path


def write_pdf(page: str, path: Path) -> str:
    """Print a page of HTML; why that was not possible, a sentence, else nothing. The file is whole or not there."""
    if not (hasattr(qt, "QTextDocument") and (hasattr(qt, "QPrinter") or hasattr(qt, "QPdfWriter"))):
        return _not_here()
    try:
        with replacing(path) as temporary:
            document = qt.QTextDocument()
            document.setHtml(page)
            # `print` in Slicer's Python, `print_` in others.
            (document.print_ if hasattr(document, "print_") else document.print)(_device(str(temporary)))
            if not temporary.stat().st_size:
                raise OSError("Qt wrote nothing")
    except (AttributeError, TypeError, ValueError):  # PythonQt lacks what is needed, or an overload of it
        return _not_here()
    except OSError as e:
        return _("The PDF cannot be written: {reason}.").format(reason=e.strerror or e)
    return ""


def _not_here() -> str:
    return _("A PDF cannot be printed here: print the page from a browser.")


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
