"""The report of a run: one page for people, one JSON file for programs, and both in a sentence."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from XVRegistrationLib.evaluation.metrics import wilson_interval
from XVRegistrationLib.evaluation.page import DISCLAIMER, facts_html, figure_html, finite, page, write_text
from XVRegistrationLib.evaluation.report_table import html_table

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping, Sequence

    from XVRegistrationLib.registration.result import Registration


@dataclass(frozen=True, eq=False)
class Case:
    """One X-ray's registration and, where the truth is known, its errors."""

    name: str
    """The X-ray's name, never the patient's."""
    registration: Registration
    start_errors_mm: dict[str, float] | None = None
    """mTRE of each kind of start ("network", "bank"), mm; None without a reference pose."""
    mtre_mm: float | None = None
    """mTRE of the registration, mm; None without a reference pose."""
    mpd_mm: float | None = None
    """Mean projection distance on the detector, mm; None without a reference pose."""
    picture: str = ""
    """The picture's path relative to the report's folder, or empty."""


@dataclass(frozen=True)
class Summary:
    """Counts and medians over the cases; None where no case has a reference pose."""

    cases: int
    judged: int
    """Cases with a reference pose; what the counts are out of."""
    below_1_mm: int
    below_2_mm: int
    median_mtre_mm: float | None
    median_mpd_mm: float | None
    median_start_errors_mm: dict[str, float]
    median_similarity: float | None
    median_seconds: float | None


def summarize(cases: Sequence[Case]) -> Summary:
    """Counts of cases with an mTRE below 1 mm and 2 mm, and medians in mm and seconds."""
    errors = [c.mtre_mm for c in cases if c.mtre_mm is not None]
    starts: dict[str, list[float]] = {}
    for case in cases:
        for kind, error in (case.start_errors_mm or {}).items():
            starts.setdefault(kind, []).append(error)
    return Summary(
        cases=len(cases),
        judged=len(errors),
        below_1_mm=sum(e < 1 for e in errors),
        below_2_mm=sum(e < 2 for e in errors),
        median_mtre_mm=_median(errors),
        median_mpd_mm=_median(c.mpd_mm for c in cases if c.mpd_mm is not None),
        median_start_errors_mm={kind: median(values) for kind, values in sorted(starts.items())},
        median_similarity=_median(c.registration.similarity for c in cases),
        median_seconds=_median(c.registration.seconds for c in cases),
    )


def _median(values: Iterable[float]) -> float | None:
    values = list(values)
    return median(values) if values else None


def summary_line(cases: Sequence[Case]) -> str:
    """One sentence: how many X-rays are within 1 mm and 2 mm of the truth, the medians in mm, and the time."""
    s = summarize(cases)
    if s.cases == 0:
        return "No X-ray was registered."
    noun = "X-ray" if s.cases == 1 else "X-rays"
    time = f"{s.median_seconds:.1f} s per X-ray"
    if s.median_mtre_mm is None:
        return f"{s.cases} {noun} registered without a reference pose; similarity {s.median_similarity:.3f}, {time}."
    starts = ", ".join(f"{kind} {error:.1f} mm" for kind, error in s.median_start_errors_mm.items())
    return (
        f"{s.below_1_mm} of {s.judged} {noun} < 1 mm, {s.below_2_mm} < 2 mm; median mTRE {s.median_mtre_mm:.2f} mm"
        + (f" (starts: {starts})" if starts else "")
        + f"; {time}."
    )


def write_report(
    folder: str | os.PathLike[str],
    cases: Sequence[Case],
    summary: Summary | None = None,
    *,
    title: str = "X-ray to CT registration",
    training_curve: str = "",
    scene_picture: str = "",
    facts: Mapping[str, str] | None = None,
    versions: Mapping[str, str] | None = None,
) -> Path:
    """Write `report.html` and `report.json` into `folder`; the page's path.

    `training_curve` and `scene_picture` are paths of pictures relative to `folder`, like `Case.picture`; `facts` are
    lines about the data and the run, such as how the X-rays were simulated; `versions` maps packages to versions.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    summary = summary or summarize(cases)
    facts, versions = dict(facts or {}), dict(versions or {})
    record = {
        "title": title,
        "notice": DISCLAIMER,
        "summary": {**vars(summary), "line": summary_line(cases), **_intervals(summary)},
        "facts": facts,
        "versions": versions,
        "training_curve": training_curve,
        "scene_picture": scene_picture,
        "cases": [
            {
                "name": case.name,
                "start_errors_mm": case.start_errors_mm,
                "mtre_mm": case.mtre_mm,
                "mpd_mm": case.mpd_mm,
                "picture": case.picture,
                "registration": case.registration.to_dict(),
            }
            for case in cases
        ],
    }
    write_text(folder / "report.json", json.dumps(finite(record), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    page = _page(cases, summary, title, training_curve, scene_picture, facts, versions)
    write_text(folder / "report.html", page)
    return folder / "report.html"


def _intervals(summary: Summary) -> dict[str, list[float]]:
    """95 % intervals of the two success rates."""
    return {
        f"rate_{name}_95": list(wilson_interval(count, summary.judged))
        for name, count in (("below_1_mm", summary.below_1_mm), ("below_2_mm", summary.below_2_mm))
    }


def _page(
    cases: Sequence[Case],
    summary: Summary,
    title: str,
    curve: str,
    scene: str,
    facts: Mapping[str, str],
    versions: Mapping[str, str],
) -> str:
    e = html.escape
    body = [
        f'<p class="line">{e(summary_line(cases))}</p>',
    ]
    if summary.judged:
        one, two = (f"{100 * a:.0f} to {100 * b:.0f} %" for a, b in _intervals(summary).values())
        body.append(
            f"<p>Out of {summary.judged}, these counts allow a true rate of {one} below 1 mm and {two} below 2 mm "
            "(95 % Wilson interval). mTRE is the mean distance, in the C-arm's frame, between points of the structures "
            "at the pose found and at the true pose.</p>"
        )
    body += ["<h2>X-rays</h2>", html_table(cases)]
    if scene:
        body += ["<h2>In 3D</h2>", figure_html(scene, "The patient and the C-arm at the poses found")]
    body += [figure_html(case.picture, case.name) for case in cases if case.picture]
    if curve:
        body += ["<h2>Training</h2>", figure_html(curve, "Loss and validation error over time")]
    for heading, entries in (("About this run", facts), ("Versions", versions)):
        if entries:
            body += [f"<h2>{heading}</h2>", facts_html(entries)]
    return page(title, body)
