"""From what a search left behind to a verdict: the probability that a pose is wrong by more than 2 mm, calibrated."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.geometry.rigid import point_distance
from XVRegistrationLib.registration.result import PoseUncertainty, Trust, Verdict
from XVRegistrationLib.registration.uncertainty import around, weakest_freedom
from XVRegistrationLib.resources import resource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.registration.stages import SearchResult

WRONG_MM = 2.0
"""mTRE above which a pose is called wrong."""
_LEAST_SD_MM = 0.01
SURROUNDED = "X-rays that show more than the volume"
"""What nothing is calibrated for yet."""
BEYOND = 3.0
"""Standardised evidence is cut off here: far outside of what was calibrated, more says no more."""


def evidence_of(
    found: SearchResult, in_plane_sd: float, pivots: NDArray[np.float64], structure: int = 0
) -> dict[str, float]:
    """What speaks for and against a pose, by name; every value is larger the more doubtful it is.

    `in_plane_sd` is the standard deviation in its plane that the view which says least would have without the others, mm
    (`covariance.in_plane_alone`); cost and coarse cost are those of the view that is explained least.
    """
    pose, pivot = found.estimates.poses[0, structure], pivots[structure]
    _, cost = found.trace[-1]
    _, coarse_cost = found.trace[max(0, len(found.trace) - 3)]
    return {
        "cost": float(np.log(max(cost, 1e-6))),
        "coarse cost": float(np.log(max(coarse_cost, 1e-6))),
        "spread": float(np.log(np.hypot(in_plane_sd, _LEAST_SD_MM))),
        "unsettled": float(np.log(point_distance(found.trace[-2][0][structure], pose, around(pivot)) + 1e-2))
        if len(found.trace) > 1
        else 0.0,
        "rivalry": float(-np.log(np.clip(found.lead, 1e-2, 10.0))),
    }


def trust_in(
    evidence: Mapping[str, float],
    uncertainty: PoseUncertainty,
    pose: NDArray[np.float64],
    *,
    unseen: Sequence[str] = (),
    disagreement_mm: float = 0.0,
    uncalibrated: str = "",
) -> Trust:
    """The verdict on a pose, with the reason and the weakest degree of freedom.

    `unseen` names X-rays on which nothing falls at the pose: it has failed, whatever the others say. `uncalibrated` says for
    what kind of registration nothing is calibrated, where that is so: it is to be checked, however it looks. So is one of several
    views of which one would move it by more than 2 mm in its plane (`disagreement_mm`) if it were alone.
    """
    if unseen:
        reason = f"Do not use this pose: nothing of what is registered falls on {' and '.join(unseen)} there."
        return Trust("failed", 1.0, reason, weakest_freedom(uncertainty, pose))
    table = calibration()
    probability = float(probability_of(table, evidence))
    if uncalibrated:
        reason = f"Look at the overlay: verdicts are not calibrated for {uncalibrated}."
        return Trust("check", probability, reason, weakest_freedom(uncertainty, pose))
    if disagreement_mm > WRONG_MM and probability < table["failed_above"]:
        reason = f"The views disagree: one of them alone would move it by {disagreement_mm:.1f} mm in its plane. Check their relation."
        return Trust("check", probability, reason, weakest_freedom(uncertainty, pose))
    verdict: Verdict = "check"
    if probability <= table["converged_below"]:
        verdict = "converged"
    elif probability >= table["failed_above"]:
        verdict = "failed"
    worst = max(table["weights"], key=lambda name: float(contribution(table, name, evidence[name])))
    return Trust(verdict, probability, _reason(verdict, worst), weakest_freedom(uncertainty, pose))


@cache
def calibration() -> dict[str, Any]:
    """The weights, and the probabilities that part the verdicts, with what they were calibrated on."""
    table: dict[str, Any] = json.loads(resource("verdict.json").read_text("utf-8"))
    return table


def probability_of(table: Mapping[str, Any], evidence: Mapping[str, ArrayLike]) -> NDArray[np.float64]:
    """Probability that a pose is wrong, of the shape that each piece of `evidence` has: a logistic model's, by its `table`."""
    total = table["bias"] + sum(contribution(table, name, evidence[name]) for name in table["weights"])
    probability: NDArray[np.float64] = 1 / (1 + np.exp(-np.asarray(total, dtype=np.float64)))
    return probability


def contribution(table: Mapping[str, Any], name: str, value: ArrayLike) -> NDArray[np.float64]:
    """What evidence of one kind adds to the logit: its weight times its standardised value, within `BEYOND`."""
    w = table["weights"][name]
    standard = np.clip((np.asarray(value, dtype=np.float64) - w["mean"]) / w["sd"], -BEYOND, BEYOND)
    added: NDArray[np.float64] = w["weight"] * standard
    return added


_REASONS = {
    "cost": "the X-ray and its render are less alike than those of good registrations",
    "coarse cost": "the X-ray and its render are less alike, even seen coarsely, than those of good registrations",
    "spread": "the image leaves much of the pose open",
    "unsettled": "the pose still moved at the last resolution",
    "rivalry": "another pose explains the X-ray nearly as well",
}


def _reason(verdict: Verdict, worst: str) -> str:
    if verdict == "converged":
        return "X-ray and render agree, no other pose does as well, and the pose has settled."
    doubt = _REASONS[worst]
    if verdict == "check":
        return f"Look at the overlay before using it: {doubt}."
    return f"Do not use this pose: {doubt}."
