"""The table of verdicts from registrations whose error is known: weights of the evidence, and where the verdicts part.

A logistic regression of "mTRE above 2 mm" on the evidence, standardised and cut off as registration/verdict.py does. Every evidence
is larger the more doubtful a pose is, so that no weight may be negative: one that would be is noise, and becomes zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.measures import ellipse_radii, seen_at_both
from XVRegistrationLib.evaluation.rates import Rate
from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.registration.uncertainty import target_uncertainty
from XVRegistrationLib.registration.verdict import BEYOND, probability_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.registration.result import Registration

MOST_WRONG = 0.005
"""Of the X-rays called converged, the largest share that may be wrong."""
SURELY_WRONG = 0.8
"""Of those called failed, the least share that is wrong."""
MOST_DOUBT, LEAST_DOUBT = 0.3, 0.7
"""Whatever the calibration's X-rays allow: what is more probably wrong than this is not called converged, and what is less, not failed."""


@dataclass(frozen=True)
class Thresholds:
    """Where the verdicts part, and what they come to on the predictions that they were chosen on."""

    converged_below: float
    failed_above: float
    wrong_of_converged: Rate
    converged_of_right: Rate
    wrong_of_failed: Rate


def fit_table(evidence: ArrayLike, names: Sequence[str], wrong: ArrayLike) -> dict[str, Any]:
    """ "bias" and "weights" (name -> mean, sd, weight) from evidence (N, E) and which N poses are wrong.

    The weights are the most probable ones, of those that are not negative, under independent standard normal
    priors; they stay finite where the evidence parts right from wrong without a mistake. Raises InputError where there
    are not both kinds, or the evidence is not finite.
    """
    from scipy.optimize import minimize

    values, bad = _checked(evidence, names, wrong)
    mean, sd = values.mean(axis=0), np.maximum(values.std(axis=0), 1e-9)
    standard = np.clip((values - mean) / sd, -BEYOND, BEYOND)
    design = np.column_stack([np.ones(len(values)), standard])
    sign = np.where(bad, 1.0, -1.0)
    prior = np.array([0.0] + [1.0] * len(names))

    def loss(w: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = sign * (design @ w)
        pull = -sign / (1 + np.exp(np.clip(margin, -500, 500)))
        value = float(np.logaddexp(0, -margin).sum() + 0.5 * (prior * w * w).sum())
        return value, design.T @ pull + prior * w

    start = np.concatenate([[np.log((bad.sum() + 1) / ((~bad).sum() + 1))], np.zeros(len(names))])
    bounds = [(None, None)] + [(0.0, None)] * len(names)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 1000, "ftol": 1e-12})
    weights = {
        name: {"mean": float(mean[i]), "sd": float(sd[i]), "weight": float(found.x[1 + i])}
        for i, name in enumerate(names)
    }
    return {"bias": float(found.x[0]), "weights": weights}


def left_out(evidence: ArrayLike, names: Sequence[str], wrong: ArrayLike, groups: Sequence[str]) -> NDArray[np.float64]:
    """Probabilities (N,), those of each group by a fit to all other groups. InputError for a single group."""
    values, bad = _checked(evidence, names, wrong)
    of = np.asarray(groups)
    if len(set(groups)) < 2:
        raise InputError("Leaving one group out needs two groups at least.")
    result = np.empty(len(values))
    for group in sorted(set(groups)):
        inside = of == group
        table = fit_table(values[~inside], names, bad[~inside])
        result[inside] = probability_of(table, dict(zip(names, values[inside].T, strict=True)))
    return result


def choose_thresholds(probability: ArrayLike, wrong: ArrayLike) -> Thresholds:
    """Thresholds for probabilities (N,) of poses of which some are wrong.

    `converged_below` is the largest of the probabilities, and of 0.3, up to which at most 0.5 % are wrong (0 where there is
    none), `failed_above` the smallest from 0.7 on from which more than 80 % are (1 where there is none).
    """
    p, bad = np.asarray(probability, dtype=np.float64), np.asarray(wrong, dtype=bool)
    levels = np.unique(p)
    accepted = [float(t) for t in levels if t <= MOST_DOUBT and bad[p <= t].mean() <= MOST_WRONG]
    below = max(accepted, default=0.0)
    refused = [float(t) for t in levels if t >= LEAST_DOUBT and bad[p >= t].mean() > SURELY_WRONG]
    above = min(refused, default=1.0)
    converged = p <= below
    return Thresholds(
        below, above, Rate.of(bad[converged]), Rate.of(converged[~bad]), Rate.of(bad[(p >= above) & ~converged])
    )


def point_radii(result: Registration, true_pose: ArrayLike, points: ArrayLike) -> NDArray[np.float64]:
    """Distances (M,) of the true projections of points (N, 3), RAS mm, from the centres of their 95 % ellipses, 1 on the ellipse.

    Of the points that are on the detector where they truly are and where the registration puts them.
    """
    seen = seen_at_both(result, true_pose, points)
    u = target_uncertainty(result, seen)
    return ellipse_radii(project(seen, true_pose, result.intrinsics) - u.pixels, u.semi_axes, u.angle_deg)


def inflation_factor(radii: Sequence[ArrayLike], groups: Sequence[str], share: float = 0.95) -> float:
    """What ellipses must be stretched by so that a `share` of the points lies in them: the median over the groups.

    `radii` holds for each X-ray its points' distances from the ellipses' centres, 1 on the ellipse.
    """
    if not radii:
        raise InputError("There is no registration to measure ellipses by.")
    pooled: dict[str, list[NDArray[np.float64]]] = {}
    for values, group in zip(radii, groups, strict=True):
        pooled.setdefault(group, []).append(np.asarray(values, dtype=np.float64))
    return float(np.median([np.quantile(np.concatenate(values), share) for values in pooled.values()]))


def _checked(
    evidence: ArrayLike, names: Sequence[str], wrong: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    values, bad = np.asarray(evidence, dtype=np.float64), np.asarray(wrong, dtype=bool)
    if values.shape != (len(bad), len(names)):
        raise InputError(
            f"Evidence is one row of {len(names)} numbers for each of {len(bad)} poses, not {values.shape}."
        )
    if not np.isfinite(values).all():
        raise InputError("Some evidence is not a finite number; register those X-rays again.")
    if bad.all() or not bad.any():
        raise InputError(
            "Verdicts are fitted to right and wrong poses; all of these are of one kind. Add conditions or X-rays."
        )
    return values, bad
