"""An evaluation for people: a table for the console and for Markdown, and a page with the curves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from XVRegistrationLib.evaluation.curves import write_curves
from XVRegistrationLib.evaluation.page import facts_html, figure_html, page, table_html, write_text
from XVRegistrationLib.evaluation.summary import table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.table import Table

    from XVRegistrationLib.evaluation.measures import CaseRow
    from XVRegistrationLib.evaluation.protocol import Protocol
    from XVRegistrationLib.evaluation.summary import Summary

PAGE, MARKDOWN = "report.html", "table.md"
_INTRODUCTION = (
    "<p>mTRE is the mean over the points of |T_est^-1 x - T_true^-1 x|; an X-ray that was refused counts as a failure. "
    "Each X-ray is a row of <code>results.csv</code>; the numbers below are in <code>summary.json</code>.</p>"
)
_WORST = 20
_COLUMNS = {
    "name": "X-ray",
    "mtre_mm": "mTRE, mm",
    "start_mtre_mm": "start, mm",
    "in_plane_mm": "in plane, mm",
    "depth_mm": "depth, mm",
    "rotation_deg": "rotation, deg",
    "similarity": "similarity",
    "winner": "start used",
    "verdict": "verdict",
    "probability": "P(> 2 mm)",
    "seconds": "time, s",
    "reason": "reason",
}


def console_table(title: str, summary: Summary) -> Table:
    """The summary as a table for the console."""
    from rich.markup import escape
    from rich.table import Table

    lines = Table(title=escape(title))
    lines.add_column("measure")
    lines.add_column("value", justify="right")
    for name, value in table(summary):
        lines.add_row(escape(name), escape(value))
    return lines


def markdown_table(protocol: Protocol, summary: Summary) -> str:
    """The summary in Markdown."""
    lines = [f"## {protocol.title}", "", "| measure | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in table(summary)]
    return "\n".join(lines) + "\n"


def write_evaluation(
    folder: Path, protocol: Protocol, rows: Sequence[CaseRow], summary: Summary, versions: Mapping[str, str]
) -> Path:
    """Write table.md, the curves and report.html into `folder`; the page's path."""
    write_text(folder / MARKDOWN, markdown_table(protocol, summary))
    curves = write_curves(folder, rows)
    write_text(folder / PAGE, _page(protocol, rows, summary, curves, versions))
    return folder / PAGE


def _page(
    protocol: Protocol,
    rows: Sequence[CaseRow],
    summary: Summary,
    curves: Sequence[tuple[str, str]],
    versions: Mapping[str, str],
) -> str:
    body = [
        _INTRODUCTION,
        table_html(["measure", "value"], table(summary)),
        *(figure_html(name, caption) for name, caption in curves),
        f"<h2>The {min(_WORST, len(rows))} X-rays with the largest errors</h2>",
        table_html(list(_COLUMNS.values()), [_cells(row) for row in _worst(rows)]),
        "<h2>Protocol</h2>",
        facts_html(dict(_facts(protocol))),
        "<h2>Versions</h2>",
        facts_html(versions),
    ]
    return page(protocol.title, body)


def _worst(rows: Sequence[CaseRow]) -> list[CaseRow]:
    return sorted(rows, key=lambda row: -row.mtre_mm)[:_WORST]


def _cells(row: CaseRow) -> list[str]:
    values = [getattr(row, name) for name in _COLUMNS]
    return [v if isinstance(v, str) else "–" if math.isnan(v) else f"{v:.3g}" for v in values]


def _facts(p: Protocol) -> list[tuple[str, str]]:
    (dx, dy), (width, height) = p.intrinsics.spacing, p.intrinsics.size
    r, e = p.registration, p.exposure
    return [
        ("name", p.name),
        ("volume", p.volume.source),
        ("X-rays", f"nanodrr, an independent renderer; seed {p.poses.seed}"),
        ("view", f"{p.view}, {p.sod:g} mm from source to the volume's centre, {p.intrinsics.sdd:g} mm to the detector"),
        ("detector", f"{width} x {height} px of {dx:g} x {dy:g} mm"),
        ("poses", f"+-{_list(p.poses.range.rotation)} degrees, +-{_list(p.poses.range.translation)} mm"),
        ("least share of pixels on the body", f"{p.poses.min_body:g}"),
        ("scatter over primary", f"{e.scatter_to_primary[0]:g} to {e.scatter_to_primary[1]:g}"),
        ("gamma", f"{e.gamma[0]:g} to {e.gamma[1]:g}"),
        ("starts", _starts(p)),
        ("network", f"{r.minutes:g} minutes of training" if r.minutes else "none"),
    ]


def _starts(p: Protocol) -> str:
    given = f"up to {p.start.mm:g} mm and {p.start.degrees:g} degrees from the truth" if p.start else ""
    found = f"{', '.join(p.registration.sources)} ({p.registration.bank} renders)" if p.registration.sources else ""
    return "; ".join(part for part in (given, found) if part)


def _list(values: Sequence[float]) -> str:
    return "/".join(f"{v:g}" for v in values)
