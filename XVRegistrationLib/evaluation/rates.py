"""Success rates, survival curves and calibration: what many errors say together."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.evaluation.metrics import wilson_interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Rate:
    """So many of so many, and the rates (0..1) that this allows with 95 % (Wilson)."""

    successes: int
    n: int
    low: float
    high: float

    @staticmethod
    def of(successes: ArrayLike) -> Rate:
        """The rate of the true among booleans (N,)."""
        hit = np.asarray(successes, dtype=bool)
        count, n = int(hit.sum()), int(hit.size)
        return Rate(count, n, *wilson_interval(count, n))

    @property
    def rate(self) -> float:
        """Successes over n; NaN for none."""
        return self.successes / self.n if self.n else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form, with the rate (None for n = 0)."""
        return {**asdict(self), "rate": self.rate if self.n else None}

    def __str__(self) -> str:
        if self.n == 0:
            return "–"
        return f"{100 * self.rate:.1f} % ({self.successes}/{self.n}; {100 * self.low:.1f} to {100 * self.high:.1f} %)"


def success_rate(errors: ArrayLike, limit: float) -> Rate:
    """Rate of errors (N,) below `limit`, both in mm; NaN and infinity are failures."""
    return Rate.of(np.nan_to_num(np.asarray(errors, dtype=np.float64), nan=np.inf) < limit)


def survival(errors: ArrayLike, thresholds: ArrayLike) -> NDArray[np.float64]:
    """Share (T,) of errors (N,) that are at most each threshold (T,), mm; NaN and infinity count as failures."""
    ordered = np.sort(np.nan_to_num(np.asarray(errors, dtype=np.float64), nan=np.inf))
    if ordered.size == 0:
        raise ValueError("A survival curve needs at least one error.")
    return np.searchsorted(ordered, np.asarray(thresholds, dtype=np.float64), side="right") / ordered.size


def area_under_survival(errors: ArrayLike, limit: float) -> float:
    """Area under the survival curve of errors (N,) from 0 to `limit` mm, over the limit: 1 if all errors are zero.

    Exact, without thresholds: each error e adds the part of the range above it, max(0, 1 - e / limit).
    """
    if not limit > 0:
        raise ValueError(f"The limit of the curve must be positive, not {limit}.")
    values = np.nan_to_num(np.asarray(errors, dtype=np.float64), nan=np.inf)
    return float(np.clip(1 - values / limit, 0, None).mean())


@dataclass(frozen=True)
class CalibrationBin:
    """Cases whose predicted probability lies between two bounds: what was said, and what came true."""

    low: float
    high: float
    predicted: float
    """Mean predicted probability."""
    observed: Rate


def calibration(probabilities: ArrayLike, came_true: ArrayLike, edges: ArrayLike) -> list[CalibrationBin]:
    """The bins between `edges` (B + 1,) that hold any of the probabilities (N,); NaN probabilities are left out."""
    p, hit = np.asarray(probabilities, dtype=np.float64), np.asarray(came_true, dtype=bool)
    bounds = np.asarray(edges, dtype=np.float64)
    bins = []
    for i, (low, high) in enumerate(pairwise(bounds)):
        last = i == len(bounds) - 2
        inside = (p >= low) & ((p <= high) if last else (p < high))
        if inside.any():
            bins.append(CalibrationBin(float(low), float(high), float(p[inside].mean()), Rate.of(hit[inside])))
    return bins
