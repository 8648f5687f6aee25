"""An evaluation's curves: how many X-rays are how good, from how far away, and whether what is said of them is true."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.evaluation.pictures import save_figure
from XVRegistrationLib.evaluation.rates import calibration, success_rate, survival
from XVRegistrationLib.evaluation.summary import BAD_MM, LIMITS_MM, column
from XVRegistrationLib.registration.looks import UNKNOWN_LOOK, VERDICT_LOOKS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from XVRegistrationLib.evaluation.measures import CaseRow

_LEAST, _MOST = 0.02, 300.0  # mm: what is better or worse is drawn at the border
_PROBABILITIES = (0.0, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


def write_curves(folder: Path, rows: Sequence[CaseRow]) -> list[tuple[str, str]]:
    """Write the curves that the rows have numbers for; (file name, caption) of each."""
    written = [("survival.png", _survival(folder / "survival.png", rows))]
    if np.isfinite(column(rows, "start_mtre_mm")).any():
        written.append(("starts.png", _starts(folder / "starts.png", rows)))
    if np.isfinite(column(rows, "probability")).any():
        written.append(("calibration.png", _calibration(folder / "calibration.png", rows)))
    if np.isfinite(column(rows, "semi_major_px")).any():
        written.append(("uncertainty.png", _uncertainty(folder / "uncertainty.png", rows)))
    return written


def _survival(path: Path, rows: Sequence[CaseRow]) -> str:
    figure, (axes,) = _figure()
    limits = np.geomspace(_LEAST, _MOST, 500)
    error, start = column(rows, "mtre_mm"), column(rows, "start_mtre_mm")
    axes.step(limits, 100 * survival(error, limits), where="post", color="tab:blue", label="after the registration")
    if np.isfinite(start).any():
        share = 100 * survival(start, limits)
        axes.step(
            limits, share, where="post", color="tab:gray", linestyle="--", label="start (of a bank: its most similar)"
        )
    for limit in LIMITS_MM:
        rate = success_rate(error, limit)
        axes.errorbar(
            limit,
            100 * rate.rate,
            [[100 * max(0.0, rate.rate - rate.low)], [100 * max(0.0, rate.high - rate.rate)]],
            fmt="o",
            color="tab:blue",
            capsize=3,
        )
    _axes(axes, "mTRE at most, mm", "share of the X-rays, %", f"Survival curve of {len(rows)} X-rays")
    axes.set(xscale="log", xlim=(_LEAST, _MOST), ylim=(-2, 102))
    axes.legend(loc="lower right")
    save_figure(figure, path)
    return "Share of the X-rays with an mTRE of at most so much; 95 % Wilson intervals at 1, 2, 5 and 10 mm."


def _starts(path: Path, rows: Sequence[CaseRow]) -> str:
    figure, (axes,) = _figure()
    _scatter(axes, rows, column(rows, "start_mtre_mm"), column(rows, "mtre_mm"))
    for limit in (1.0, BAD_MM):
        axes.axhline(limit, color="tab:gray", linewidth=0.8, linestyle=":")
    _axes(axes, "mTRE of the start, mm", "mTRE after the registration, mm", "From how far away")
    save_figure(figure, path)
    return "Error after the registration against the error of its start (of a bank: its most similar render)."


def _calibration(path: Path, rows: Sequence[CaseRow]) -> str:
    figure, (axes,) = _figure()
    bad = column(rows, "mtre_mm") > BAD_MM
    for b in calibration(column(rows, "probability"), bad, _PROBABILITIES):
        r = b.observed
        error = [[max(0.0, r.rate - r.low)], [max(0.0, r.high - r.rate)]]
        axes.errorbar(b.predicted, r.rate, error, fmt="o", color="tab:blue", capsize=3)
        axes.annotate(str(r.n), (b.predicted, r.rate), xytext=(6, 4), textcoords="offset points", fontsize=8)
    axes.plot([0, 1], [0, 1], color="tab:gray", linewidth=0.8)
    limit = f"{BAD_MM:g} mm"
    _axes(axes, f"predicted probability of more than {limit}", f"share with more than {limit}", "Calibration")
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    save_figure(figure, path)
    return f"What the registration says of an mTRE above {limit}, and how often it came true; numbers are X-rays."


def _uncertainty(path: Path, rows: Sequence[CaseRow]) -> str:
    figure, (left, right) = _figure(2)
    _scatter(left, rows, column(rows, "semi_major_px"), column(rows, "error_px"))
    _axes(left, "95 % ellipse, longer half axis, px", "true error, px", "On the X-ray (medians over the points)")
    _scatter(right, rows, column(rows, "depth_95_mm"), np.abs(column(rows, "depth_mm")))
    _axes(right, "95 % interval, half width, mm", "true depth error, mm", "Along the beam")
    save_figure(figure, path)
    return "What the registration says of its error against the true error: below the line, the truth is within."


def _figure(columns: int = 1) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5 * columns, 4.5), facecolor="white", layout="constrained")
    return figure, [figure.add_subplot(1, columns, i + 1) for i in range(columns)]


def _axes(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.grid(alpha=0.25)


def _scatter(axes: Axes, rows: Sequence[CaseRow], x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Points of all rows on two logarithmic axes, marked by verdict, and the line on which both are equal."""
    known = ~np.isnan(x) & ~np.isnan(y)
    x, y = (np.clip(values, _LEAST, _MOST) for values in (x, y))
    verdicts = np.array([row.verdict for row in rows])
    for verdict in sorted({str(v) for v in verdicts[known]}):
        of = known & (verdicts == verdict)
        look = VERDICT_LOOKS.get(verdict, UNKNOWN_LOOK)
        axes.scatter(x[of], y[of], s=20, alpha=0.7, c=look.color, marker=look.marker, linewidths=0, label=verdict)
    axes.axline((1, 1), (2, 2), color="tab:gray", linewidth=0.8)
    axes.set(xscale="log", yscale="log")
    if any(verdicts[known]):
        axes.legend(title="verdict")
