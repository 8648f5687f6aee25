"""The table of a run's registrations, the same for the console and the page, and a registration's verdict in words."""

from __future__ import annotations

import html
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from XVRegistrationLib.evaluation.report import Case
    from XVRegistrationLib.registration.result import Registration

_MTRE, _VERDICT = "mTRE, mm", "verdict"
_COLORS = {"good": "green", "fair": "yellow", "poor": "red"}
GRADES = {"converged": "good", "check": "fair", "failed": "poor"}
_UNKNOWN = "–"


def verdict_in_words(result: Registration) -> str:
    """ "converged", "check" or "failed", or that there is none."""
    return result.verdict or "no verdict"


def reasons(result: Registration) -> str:
    """Why the verdict is what it is, and what the image says least about, in sentences; empty without a verdict."""
    if result.trust is None:
        return ""
    return f"{result.trust.reason} The image says least about {result.trust.weakest}."


def console_table(cases: Sequence[Case], without: Sequence[str] = ()) -> Table:
    """The cases as a table for the console, and the names of X-rays without a pose.

    Errors in mm, green below 1 mm, yellow below 2 mm, red above.
    """
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Registrations")
    header, rows = _cells(cases)
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=i == 0)
    for case, row in zip(cases, rows, strict=True):
        grades = _grades(case)
        cells = [escape(cell) for cell in row]
        colored = [
            f"[{_COLORS[grades[name]]}]{cell}[/]" if grades.get(name) else cell
            for name, cell in zip(header, cells, strict=True)
        ]
        table.add_row(*colored)
    for name in without:
        table.add_row(escape(name), "[red]no pose[/]", *[_UNKNOWN] * (len(header) - 2))
    return table


def html_table(cases: Sequence[Case]) -> str:
    """The same as a table of a page, with the reasons below each verdict."""
    header, rows = _cells(cases)
    parts = ["<table><thead><tr>", *(f"<th>{html.escape(name)}</th>" for name in header), "</tr></thead><tbody>"]
    for case, row in zip(cases, rows, strict=True):
        grades = _grades(case)
        parts.append("<tr>")
        for name, cell in zip(header, row, strict=True):
            grade = f' class="{grades[name]}"' if grades.get(name) else ""
            why = html.escape(reasons(case.registration)) if name == _VERDICT else ""
            below = f'<div class="reason">{why}</div>' if why else ""
            parts.append(f"<td{grade}>{html.escape(cell)}{below}</td>")
        parts.append("</tr>")
    return "\n".join([*parts, "</tbody></table>"])


def _grades(case: Case) -> dict[str, str]:
    """Column -> "good", "fair" or "poor"; empty where nothing is known."""
    error = case.mtre_mm
    by_error = "" if error is None else "good" if error < 1 else "fair" if error < 2 else "poor"
    return {_MTRE: by_error, _VERDICT: GRADES.get(case.registration.verdict, "")}


def _cells(cases: Sequence[Case]) -> tuple[list[str], list[list[str]]]:
    """Column names and cells."""
    kinds = sorted({kind for case in cases for kind in case.start_errors_mm or {}})
    header = ["X-ray", _VERDICT, *(f"start ({kind}), mm" for kind in kinds)]
    known = any(case.mtre_mm is not None or case.mpd_mm is not None for case in cases)  # by a reference
    header += [_MTRE, "on the detector, mm"] if known else []
    header += ["similarity", "start used", "time, s"]
    rows = []
    for case in cases:
        starts = case.start_errors_mm or {}
        r = case.registration
        rows.append(
            [
                case.name,
                r.verdict or _UNKNOWN,
                *(_number(starts.get(kind), 1) for kind in kinds),
                *([_number(case.mtre_mm, 2), _number(case.mpd_mm, 2)] if known else []),
                _number(r.similarity, 3),
                r.winner or _UNKNOWN,
                _number(r.seconds, 1),
            ]
        )
    return header, rows


def _number(value: float | None, digits: int) -> str:
    return _UNKNOWN if value is None else f"{value:.{digits}f}" if math.isfinite(value) else "out of view"
