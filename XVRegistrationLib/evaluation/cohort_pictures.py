"""How the poses and verdicts of a cohort are distributed, in two pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.evaluation.cohort import PARAMETERS, believed, parameter
from XVRegistrationLib.evaluation.pictures import save_figure
from XVRegistrationLib.registration.looks import VERDICT_LOOKS
from XVRegistrationLib.registration.result import VERDICTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from XVRegistrationLib.evaluation.cohort import CaseOutcome, XrayRow

_BINS = 24
_NARROWEST = 4.0  # degrees or mm that a histogram shows


def write_cohort_pictures(folder: Path, outcomes: Sequence[CaseOutcome]) -> list[tuple[str, str]]:
    """Write the pictures that the rows have numbers for; (file name, caption) of each."""
    rows = [row for outcome in outcomes for row in outcome.xrays]
    written = []
    if believed(rows):
        _poses(folder / "poses.png", rows)
        written.append(
            (
                "poses.png",
                (
                    "From where the X-rays were taken: the C-arm's angles about the patient, and how each pose parameter is "
                    "distributed over the X-rays that did not fail."
                ),
            )
        )
    if rows:
        _verdicts(folder / "verdicts.png", rows)
        written.append(("verdicts.png", "Verdicts, and how far each X-ray can be trusted."))
    return written


def _poses(path: Path, rows: Sequence[XrayRow]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6.5), facecolor="white", layout="constrained")
    grid = figure.add_gridspec(3, 4)
    _angles(figure.add_subplot(grid[:, :2]), rows)
    placed = believed(rows)
    verdicts = np.array([row.verdict for row in placed])
    for i, (name, words) in enumerate(PARAMETERS.items()):
        axes = figure.add_subplot(grid[i // 2, 2 + i % 2])
        values = parameter(placed, name)
        by_verdict = [values[verdicts == v] for v in VERDICTS[:2]]
        axes.hist(
            by_verdict, bins=_edges(values).tolist(), stacked=True, color=[VERDICT_LOOKS[v].color for v in VERDICTS[:2]]
        )
        axes.set_xlabel(words, fontsize=9)
        axes.locator_params(axis="y", integer=True)
        if name.endswith("_deg"):
            axes.xaxis.set_major_formatter(_within_half_a_turn)
    save_figure(figure, path)


def _angles(axes: Axes, rows: Sequence[XrayRow]) -> None:
    shown = [row for row in rows if row.primary_deg is not None]
    verdicts = np.array([row.verdict for row in shown])
    x, y = parameter(shown, "primary_deg"), parameter(shown, "secondary_deg")
    for verdict in VERDICTS:
        of = verdicts == verdict
        look = VERDICT_LOOKS[verdict]
        label = f"{verdict} ({of.sum()})"
        axes.scatter(x[of], y[of], s=34, c=look.color, marker=look.marker, alpha=0.75, linewidths=0, label=label)
    axes.set(
        title="Where the detector stood",
        xlabel="primary angle, degrees: LAO +, RAO -",
        ylabel="secondary angle, degrees: CRA +, CAU -",
    )
    axes.xaxis.set_major_formatter(_within_half_a_turn)
    axes.yaxis.set_major_formatter(_within_half_a_turn)
    axes.grid(alpha=0.25)
    axes.legend(title="verdict")


def _within_half_a_turn(degrees: float, _position: float = 0.0) -> str:
    """A tick's angle as one between -180 and 180 degrees."""
    return f"{180 - (180 - degrees) % 360:g}"


def _verdicts(path: Path, rows: Sequence[XrayRow]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.6), facecolor="white", layout="constrained")
    left, middle, right = (figure.add_subplot(1, 3, i + 1) for i in range(3))
    counts = [sum(row.verdict == verdict for row in rows) for verdict in VERDICTS]
    bars = left.barh(list(VERDICTS), counts, color=[VERDICT_LOOKS[verdict].color for verdict in VERDICTS])
    left.bar_label(bars, [f"{count} ({100 * count / len(rows):.0f} %)" for count in counts], padding=4)
    left.set(xlabel="X-rays", xlim=(0, 1.4 * max(counts)))
    left.invert_yaxis()
    _stacked(middle, rows, "probability", "probability of an mTRE above 2 mm")
    _stacked(right, rows, "similarity", "similarity")
    save_figure(figure, path)


def _stacked(axes: Axes, rows: Sequence[XrayRow], name: str, words: str) -> None:
    by_verdict = [
        [getattr(row, name) for row in rows if row.verdict == v and getattr(row, name) is not None] for v in VERDICTS
    ]
    values = np.array([value for of in by_verdict for value in of])
    least = 0.0 if name == "probability" or not values.size else np.floor(10 * min(values.min(), 0.9)) / 10
    edges = np.linspace(least, 1, _BINS + 1)
    axes.hist(
        by_verdict, bins=edges.tolist(), stacked=True, color=[VERDICT_LOOKS[verdict].color for verdict in VERDICTS]
    )
    axes.set(xlabel=words, ylabel="X-rays")
    axes.locator_params(axis="y", integer=True)


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Borders of bins over all values (N,), which may all be alike."""
    low, high = float(values.min()), float(values.max())
    room = max(0.5 * (_NARROWEST - (high - low)), 0.0)
    return np.linspace(low - room, high + room, _BINS + 1)
