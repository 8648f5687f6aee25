"""Many rows as the numbers that one reads: success, errors, time, and how honest the registration is about itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.evaluation.rates import Rate, area_under_survival, success_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.evaluation.measures import CaseRow

LIMITS_MM = (1.0, 2.0, 5.0, 10.0)
"""mTRE below which an X-ray counts as registered."""
GOOD_MM, BAD_MM = 1.0, 2.0
"""What a verdict is judged by: it should accept what is better, and must not accept what is worse."""
AREA_LIMIT_MM = 10.0
"""Where the area under the survival curve ends."""


@dataclass(frozen=True)
class Summary:
    """What an evaluation comes to. None where it is not known: without verdicts, covariances or counts of renders."""

    cases: int
    mean_mtre_mm: float | None
    median_mtre_mm: float | None
    p95_mtre_mm: float | None
    median_start_mm: float | None
    success: dict[float, Rate]
    """Limit in mm -> rate of X-rays with an mTRE below it."""
    area: float
    """Normalised area under the survival curve up to 10 mm."""
    mean_in_plane_mm: float | None
    mean_depth_mm: float | None
    """Of the signed depth errors below 10 mm mTRE: the bias."""
    mean_abs_depth_mm: float | None
    median_mpd_mm: float | None
    median_mrpd_mm: float | None
    median_ncc: float | None
    median_ssim: float | None
    median_css: float | None
    median_seconds: float | None
    median_renders: float | None
    ready_after_s: float | None
    verdicts: dict[str, int]
    """Verdict -> X-rays."""
    wrong_of_converged: Rate | None
    """Of those called converged, those with an mTRE above 2 mm."""
    wrong_and_converged: Rate | None
    """Of all X-rays, those called converged with an mTRE above 2 mm."""
    converged_of_good: Rate | None
    """Of those with an mTRE below 1 mm, those called converged."""
    failed_of_bad: Rate | None
    """Of those with an mTRE above 2 mm, those called check or failed."""
    ellipse_coverage: float | None
    """Share of all points whose true projection lies in their 95 % ellipse; X-rays below 10 mm mTRE."""
    semi_axis_ratio: float | None
    """Median over X-rays of the ellipses' median longer half axis over the points' median error."""
    depth_coverage: float | None
    """Share of all points whose true depth lies in their 95 % interval."""
    median_depth_95_mm: float | None
    """Median half width of that interval."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form; numbers that JSON lacks are null."""
        return {"summary": {name: _plain(value) for name, value in vars(self).items()}}


def summarize_rows(rows: Sequence[CaseRow], ready_after_s: float | None = None) -> Summary:
    """The summary of rows; refused X-rays are failures of the rates and have no part in the means."""
    error = column(rows, "mtre_mm")
    # A mean depth error of poses that are elsewhere would say nothing about depth.
    found = [row for row in rows if row.mtre_mm < AREA_LIMIT_MM]
    converged = np.array([row.verdict == "converged" for row in rows], dtype=bool)
    judged = any(row.verdict for row in rows if math.isfinite(row.mtre_mm))
    bad = error > BAD_MM
    ratio = column(found, "semi_major_px") / np.maximum(column(found, "error_px"), 1e-9)
    names = sorted({row.verdict for row in rows if row.verdict})
    return Summary(
        cases=len(rows),
        mean_mtre_mm=_known(np.mean, error[np.isfinite(error)]),
        median_mtre_mm=_known(np.median, error),
        p95_mtre_mm=_known(lambda e: np.percentile(e, 95, method="higher"), error),
        median_start_mm=_known(np.median, column(rows, "start_mtre_mm")),
        success={limit: success_rate(error, limit) for limit in LIMITS_MM},
        area=area_under_survival(error, AREA_LIMIT_MM) if rows else 0.0,
        mean_in_plane_mm=_known(np.mean, column(found, "in_plane_mm")),
        mean_depth_mm=_known(np.mean, column(found, "depth_mm")),
        mean_abs_depth_mm=_known(np.mean, np.abs(column(found, "depth_mm"))),
        median_mpd_mm=_known(np.median, column(rows, "mpd_mm")),
        median_mrpd_mm=_known(np.median, column(rows, "mrpd_mm")),
        median_ncc=_known(np.median, column(rows, "ncc")),
        median_ssim=_known(np.median, column(rows, "ssim")),
        median_css=_known(np.median, column(rows, "css")),
        median_seconds=_known(np.median, column(rows, "seconds")),
        median_renders=_known(np.median, column(rows, "renders")),
        ready_after_s=ready_after_s,
        verdicts={name: sum(row.verdict == name for row in rows) for name in names},
        wrong_of_converged=Rate.of(bad[converged]) if judged else None,
        wrong_and_converged=Rate.of(bad & converged) if judged else None,
        converged_of_good=Rate.of(converged[error < GOOD_MM]) if judged else None,
        failed_of_bad=Rate.of(~converged[bad]) if judged else None,
        ellipse_coverage=_weighted(found, "covered"),
        semi_axis_ratio=_known(np.median, ratio),
        depth_coverage=_weighted(found, "depth_covered"),
        median_depth_95_mm=_known(np.median, column(found, "depth_95_mm")),
    )


def column(rows: Sequence[CaseRow], name: str) -> NDArray[np.float64]:
    """One field of all rows (N,)."""
    return np.array([getattr(row, name) for row in rows], dtype=np.float64)


def _known(statistic: Callable[[NDArray[np.float64]], Any], values: NDArray[np.float64]) -> float | None:
    """The statistic of what is known, or None."""
    known = values[~np.isnan(values)]
    return float(statistic(known)) if known.size else None


def _weighted(rows: Sequence[CaseRow], name: str) -> float | None:
    """Mean over points of a share that each row has of its points."""
    share, count = column(rows, name), column(rows, "points")
    known = ~np.isnan(share) & (count > 0)
    return float(np.average(share[known], weights=count[known])) if known.any() else None


def _plain(value: Any) -> Any:
    if isinstance(value, Rate):
        return value.to_dict()
    if isinstance(value, dict):
        return {f"{k:g}" if isinstance(k, float) else k: _plain(v) for k, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def table(summary: Summary) -> list[tuple[str, str]]:
    """Lines of (measure, value) for people, with what is not known left out."""
    s = summary
    lines = [
        ("X-rays", str(s.cases)),
        ("mTRE, mean; median; 95 % below", f"{_mm(s.mean_mtre_mm)}; {_mm(s.median_mtre_mm)}; {_mm(s.p95_mtre_mm)}"),
        ("mTRE of the start, median", _mm(s.median_start_mm)),
        *((f"mTRE < {limit:g} mm (95 % Wilson interval)", str(rate)) for limit, rate in s.success.items()),
        (f"area under the survival curve to {AREA_LIMIT_MM:g} mm", f"{s.area:.3f}"),
        ("in plane, mean", _mm(s.mean_in_plane_mm)),
        ("depth, mean (bias); mean size", f"{_mm(s.mean_depth_mm)}; {_mm(s.mean_abs_depth_mm)}"),
        ("mPD on the detector; mRPD, medians", f"{_mm(s.median_mpd_mm)}; {_mm(s.median_mrpd_mm)}"),
        ("NCC; SSIM; CSS, medians", "; ".join(_number(v, 4) for v in (s.median_ncc, s.median_ssim, s.median_css))),
        ("time per X-ray, median", _number(s.median_seconds, 2, " s")),
        ("renders per X-ray, median", _number(s.median_renders, 0)),
        ("ready after", _number(s.ready_after_s, 1, " s")),
        ("verdicts", ", ".join(f"{count} {name}" for name, count in s.verdicts.items()) or "–"),
        (f"of all, converged with mTRE > {BAD_MM:g} mm", _rate(s.wrong_and_converged)),
        (f"of the converged, mTRE > {BAD_MM:g} mm", _rate(s.wrong_of_converged)),
        (f"of mTRE < {GOOD_MM:g} mm, converged", _rate(s.converged_of_good)),
        (f"of mTRE > {BAD_MM:g} mm, called check or failed", _rate(s.failed_of_bad)),
        ("points within their 95 % ellipse", _percent(s.ellipse_coverage)),
        ("longer half axis over true error, median", _number(s.semi_axis_ratio, 2)),
        ("points within their 95 % depth interval", _percent(s.depth_coverage)),
        ("depth interval, median half width", _mm(s.median_depth_95_mm)),
    ]
    return [(name, value) for name, value in lines if set(value) - set("–; ")]


def _number(value: float | None, digits: int, unit: str = "") -> str:
    return "–" if value is None else f"{value:.{digits}f}{unit}"


def _mm(value: float | None) -> str:
    return _number(value, 2, " mm")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _rate(rate: Rate | None) -> str:
    return "–" if rate is None else str(rate)
