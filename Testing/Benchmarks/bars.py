"""What each protocol must reach, beside what it reached: the lines of the one table that `make bench` prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import baselines
import numpy as np

from XVRegistrationLib.evaluation.rates import Rate, success_rate
from XVRegistrationLib.evaluation.summary import BAD_MM, GOOD_MM, column
from XVRegistrationLib.evaluation.wrist import FIRST, SECOND, TWO_VIEWS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from XVRegistrationLib.evaluation.measures import CaseRow
    from XVRegistrationLib.evaluation.summary import Summary

_NONE = "–"


@dataclass(frozen=True)
class Line:
    """One measure of one protocol."""

    protocol: str
    measure: str
    bar: str
    reached: str
    met: bool | None
    """None where there is no bar, or nothing was measured."""


@dataclass(frozen=True)
class Bars:
    """What a protocol must reach; None for what is measured without a bar."""

    mean_mm: float | None = None
    """mTRE, mean, at most."""
    success: tuple[tuple[float, float], ...] = ()
    """(limit in mm, least rate) pairs."""
    depth_mm: float | None = None
    """Mean depth error, at most in size."""
    seconds: float | None = None
    ready_s: float | None = None


BARS = {
    "psss": Bars(0.5, ((10.0, 1.0), (1.0, 0.98)), seconds=1.0, ready_s=5.0),
    "wide": Bars(success=((1.0, 0.85), (10.0, 0.98)), seconds=3.0, ready_s=30.0),
    "near": Bars(success=((2.0, 0.99),)),
    "far": Bars(success=((2.0, 0.90),)),
    "vessels": Bars(success=((1.0, 0.95),)),
    "hard": Bars(success=((2.0, 0.90),)),
    "strong-scatter": Bars(success=((1.0, 0.90),), depth_mm=0.3),
}
NO_BARS = Bars(success=((1.0, 0.0),))
"""For protocols that only stand beside the others."""


def of_protocol(name: str, summary: Summary, bars: Bars) -> list[Line]:
    """The lines of a protocol: what it has bars for, and always the time."""
    s = summary
    lines = []
    if bars.mean_mm is not None:
        lines.append(_at_most(name, "mTRE, mean", bars.mean_mm, s.mean_mtre_mm, "mm"))
    lines += [_at_least(name, f"< {limit:g} mm", least, s.success[limit]) for limit, least in bars.success]
    if bars.depth_mm is not None:
        lines.append(_at_most(name, "depth error, mean, in size", bars.depth_mm, _size(s.mean_depth_mm), "mm"))
    lines.append(_at_most(name, "time per X-ray, median", bars.seconds, s.median_seconds, "s"))
    if s.ready_after_s is not None:
        lines.append(_at_most(name, "ready after", bars.ready_s, s.ready_after_s, "s"))
    return lines


def of_verdicts(summary: Summary) -> list[Line]:
    """Whether all X-rays together say the truth about themselves."""
    s, name = summary, "verdict, all X-rays"
    ellipse, ratio = s.ellipse_coverage, s.semi_axis_ratio
    return [
        _rate(name, f"of converged, mTRE > {BAD_MM:g} mm", "<= 1 %", s.wrong_of_converged, lambda rate: rate <= 0.01),
        _at_least(name, f"of < {GOOD_MM:g} mm, converged", 0.90, s.converged_of_good),
        Line(
            name,
            "points within their 95 % ellipse",
            "90 to 99 %",
            _NONE if ellipse is None else f"{100 * ellipse:.1f} %",
            None if ellipse is None else 0.90 <= ellipse <= 0.99,
        ),
        _at_most(name, "longer half axis over true error, median", 3.0, ratio, ""),
    ]


def of_baselines(rows: Sequence[Mapping[str, Any]]) -> list[Line]:
    """Ours beside xvr's recipe and nanodrr's own Registration, from the same starts."""
    ratio = baselines.ratio(rows, baselines.XVR_RECIPE)
    ours, theirs, nanodrr = (
        success_rate([row["mtre_mm"] for row in rows if row["method"] == method], BAD_MM)
        for method in (baselines.OURS, baselines.XVR_RECIPE, baselines.NANODRR)
    )
    return [
        Line("baselines", "renders of xvr's recipe over ours", ">= 20", f"{ratio:.1f}", ratio >= 20),
        Line("baselines", f"< {BAD_MM:g} mm, ours", "not below xvr's recipe", str(ours), ours.rate >= theirs.rate),
        Line("baselines", f"< {BAD_MM:g} mm, xvr's recipe", _NONE, str(theirs), None),
        Line("baselines", f"< {BAD_MM:g} mm, nanodrr's Registration", _NONE, str(nanodrr), None),
    ]


def of_wrist(ways: Mapping[str, Sequence[CaseRow]]) -> list[Line]:
    """Agreement with the wrist's reference, in two views and in each alone."""
    both = ways[TWO_VIEWS]
    name = f"wrist, {TWO_VIEWS}"
    lines = [
        _at_least(name, "within 1 mm of the reference", 1.0, success_rate(column(both, "mtre_mm"), 1.0)),
        _at_most(name, "time, median", 4.0, _median(column(both, "seconds")), "s"),
    ]
    for way in (FIRST, SECOND):
        rows, name = ways[way], f"wrist, {way}"
        half, depth = column(rows, "depth_95_mm"), column(rows, "depth_mm")
        with np.errstate(invalid="ignore"):
            inside = np.abs(depth) <= half
        lines += [
            _at_most(name, "in plane, median", 0.5, _median(column(rows, "in_plane_mm")), "mm"),
            _at_least(name, "depth interval contains the reference", 1.0, Rate.of(inside)),
            _at_most(name, "depth interval, +-, median", 15.0, _median(half), "mm"),
        ]
    return lines


def _at_most(name: str, measure: str, bar: float | None, value: float | None, unit: str) -> Line:
    said = _NONE if value is None else f"{value:.2f} {unit}".rstrip()
    if bar is None:
        return Line(name, measure, _NONE, said, None)
    return Line(name, measure, f"<= {bar:g} {unit}".rstrip(), said, None if value is None else value <= bar)


def _at_least(name: str, measure: str, least: float, rate: Rate | None) -> Line:
    bar = _NONE if least <= 0 else "100 %" if least == 1 else f">= {100 * least:g} %"
    return _rate(name, measure, bar, rate, None if least <= 0 else lambda reached: reached >= least)


def _rate(name: str, measure: str, bar: str, rate: Rate | None, met: Any) -> Line:
    if rate is None or rate.n == 0:
        return Line(name, measure, bar, _NONE, None)
    return Line(name, measure, bar, str(rate), None if met is None else met(rate.rate))


def _size(value: float | None) -> float | None:
    return None if value is None else abs(value)


def _median(values: Any) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else None
