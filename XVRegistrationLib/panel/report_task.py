"""A report that is being made: what of it is there, and what is left to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Generator
    from tempfile import TemporaryDirectory

    from XVRegistrationLib.evaluation.xray_report import ReportedXray, XrayReport
    from XVRegistrationLib.evaluation.xray_report_page import PrintedPage
    from XVRegistrationLib.panel.report_files import ReportFiles

    PrintPdf = Callable[[PrintedPage, Path], Generator[float]]
    """Prints a page into a file step by step, and yields the share that is done; InputError where that is not possible."""

Ask = Callable[["ReportTask", int], int | None]
"""Asks the engine for something of one X-ray of a report: the number of the request, None where there is nothing to ask."""
_PRINTING = 0.3
"""Share of the bar that the printing takes."""


@dataclass(eq=False)
class ReportTask:
    """A report that is being made."""

    path: Path
    pdf: PrintPdf | None
    report: XrayReport
    xrays: list[ReportedXray]
    nodes: list[Any]
    """Image node of each."""
    waiting: deque[tuple[Ask, int]]
    """What is still to be asked for of which of them."""
    volume: str
    """The engine's key."""
    staged: TemporaryDirectory[str]
    """Where all is written before it replaces what is there."""
    files: ReportFiles | None = None
    """Those for other programs; None where they are not wanted."""
    count: int = 0
    """How much is asked for in all."""
    said: str = ""
    asked: list[int] = field(default_factory=list)
    """Requests to the engine."""
    unanswered: int = 0
    """How many of them have no answer yet."""
    printing: Generator[float] | None = None
    """What is left of the printing, once that has begun."""
    printed: float = 0.0
    """Its share that is done."""

    @property
    def place(self) -> Path:
        """The folder of `staged`."""
        return Path(self.staged.name)

    @property
    def fraction(self) -> float:
        """Share that is done, 0 to 1."""
        left = len(self.waiting) + self.unanswered
        drawn = 1.0 - left / self.count if self.count else 1.0
        return drawn if self.pdf is None else (1.0 - _PRINTING) * drawn + _PRINTING * self.printed

    def close(self) -> None:
        """Leave nothing of what was not finished."""
        if self.printing is not None:
            self.printing.close()
        self.staged.cleanup()
