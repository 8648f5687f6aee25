"""The page of a cohort: how poses and verdicts are distributed, a table, and the pictures, those to look at first."""

from __future__ import annotations

import dataclasses
import html
from typing import TYPE_CHECKING
from urllib.parse import quote

from XVRegistrationLib.evaluation.cohort import (
    PARAMETERS,
    REFUSED,
    cohort_line,
    summarize_cohort,
    write_case_table,
    write_cohort_table,
)
from XVRegistrationLib.evaluation.page import DISCLAIMER, facts_html, figure_html, page, table_html, write_text
from XVRegistrationLib.evaluation.pictures import can_draw
from XVRegistrationLib.files import write_json
from XVRegistrationLib.registration.result import VERDICTS
from XVRegistrationLib.versions import versions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from XVRegistrationLib.evaluation.cohort import CaseOutcome, CohortSummary, XrayRow

PAGE, TABLE, CASES, RECORD = "cohort.html", "cohort.csv", "cases.csv", "cohort.json"
_TITLE = "A cohort of X-rays, registered"
_GRADES = {"converged": "good", "check": "fair", "failed": "poor"}
_UNKNOWN = "–"


def write_cohort(folder: Path, outcomes: Sequence[CaseOutcome]) -> CohortSummary:
    """Write `cohort.html`, `cohort.csv`, `cases.csv`, `cohort.json` and the pictures of the distributions into `folder`."""
    summary = summarize_cohort(outcomes)
    made_with = versions()
    pictures = []
    if can_draw():
        from XVRegistrationLib.evaluation.cohort_pictures import write_cohort_pictures

        pictures = write_cohort_pictures(folder, outcomes)
    write_cohort_table(folder / TABLE, outcomes)
    write_case_table(folder / CASES, outcomes)
    said = {**dataclasses.asdict(summary), "line": cohort_line(summary)}
    cases = [outcome.to_dict() for outcome in outcomes]
    write_json(
        folder / RECORD, {"title": _TITLE, "notice": DISCLAIMER, "summary": said, "versions": made_with, "cases": cases}
    )
    write_text(folder / PAGE, _page(outcomes, summary, pictures, made_with))
    return summary


def _page(
    outcomes: Sequence[CaseOutcome],
    summary: CohortSummary,
    pictures: Sequence[tuple[str, str]],
    made_with: dict[str, str],
) -> str:
    rows = [row for outcome in outcomes for row in outcome.xrays]
    low, high = summary.converged_95
    body = [
        f'<p class="line">{html.escape(cohort_line(summary))}</p>',
    ]
    if rows:
        body.append(
            f"<p>Out of {len(rows)}, this allows a true share of {100 * low:.0f} to {100 * high:.0f} % that converges "
            "(95 % Wilson interval).</p>"
        )
    body += [figure_html(name, caption) for name, caption in pictures]
    body += [_distribution(summary), _refused(outcomes), "<h2>X-rays</h2>", _table(outcomes), *_galleries(rows)]
    body += ["<h2>Versions</h2>", facts_html(made_with)]
    return page(_TITLE, body)


def _distribution(summary: CohortSummary) -> str:
    """How the pose parameters are distributed, in numbers."""
    if not summary.quartiles:
        return ""
    lines = [
        [PARAMETERS[name], *(f"{180 - (180 - v) % 360 if name.endswith('_deg') else v:.1f}" for v in three)]
        for name, three in summary.quartiles.items()
    ]
    return "<h2>Poses</h2>" + table_html(["of those that did not fail", "a quarter below", "median", "three"], lines)


def _refused(outcomes: Sequence[CaseOutcome]) -> str:
    """The cases that were not registered, and why."""
    lines = [[outcome.case, outcome.reason] for outcome in outcomes if outcome.state == REFUSED]
    return "<h2>Cases without a result</h2>" + table_html(["case", "why"], lines, of_words=True) if lines else ""


def _table(outcomes: Sequence[CaseOutcome]) -> str:
    header = [
        "X-ray",
        "verdict",
        "LAO / RAO",
        "CRA / CAU",
        "in plane",
        "depth, mm",
        "P(> 2 mm)",
        "similarity",
        "time, s",
    ]
    parts = ["<table><thead><tr>", *(f"<th>{html.escape(name)}</th>" for name in header), "</tr></thead><tbody>"]
    for outcome in outcomes:
        for row in outcome.xrays:
            name = html.escape(row.name)
            link = f'<a href="{html.escape(quote(row.picture))}">{name}</a>' if row.picture else name
            why = f'<div class="reason">{html.escape(row.reason)}</div>' if row.reason else ""
            cells = [
                _angle(row.primary_deg, "LAO", "RAO"),
                _angle(row.secondary_deg, "CRA", "CAU"),
                _number(row.in_plane_deg, 1, "°"),
                _number(row.depth_mm, 0),
                _number(row.probability, 3),
                _number(row.similarity, 3),
                _number(row.seconds, 1),
            ]
            parts.append(f'<tr><td>{link}</td><td class="{_GRADES.get(row.verdict, "")}">{row.verdict}{why}</td>')
            parts.append("".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return "\n".join([*parts, "</tbody></table>"])


def _galleries(rows: Sequence[XrayRow]) -> list[str]:
    """The pictures by verdict: to be checked first, those that converged last and folded."""
    parts = []
    titles = {"check": "To be checked", "failed": "Failed: not to be used", "converged": "Converged"}
    for verdict in sorted(VERDICTS, key=list(titles).index):
        shown = [row for row in rows if row.verdict == verdict and row.picture]
        if not shown:
            continue
        figures = "\n".join(
            figure_html(row.picture, f"{row.name}: {row.reason}").replace("<img ", '<img loading="lazy" ')
            for row in shown
        )
        opened = "" if verdict == "converged" else " open"
        heading = f"<summary><b>{titles[verdict]} ({len(shown)})</b></summary>"
        parts.append(f"<details{opened}>{heading}\n{figures}\n</details>")
    return ["<h2>Pictures</h2>", *parts] if parts else []


def _angle(value: float | None, positive: str, negative: str) -> str:
    return _UNKNOWN if value is None else f"{positive if value >= 0 else negative} {abs(value):.1f}°"


def _number(value: float | None, digits: int, unit: str = "") -> str:
    return _UNKNOWN if value is None else f"{value:.{digits}f}{unit}"
