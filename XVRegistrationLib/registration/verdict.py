"""From what a search left behind to a verdict: the probability that a pose is wrong by more than 2 mm, calibrated."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.geometry.rigid import point_distance
from XVRegistrationLib.registration.covariance import INFLATION
from XVRegistrationLib.registration.result import Spread, Trust, Verdict
from XVRegistrationLib.registration.uncertainty import camera_covariance, weakest_freedom
from XVRegistrationLib.resources import resource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.registration.stages import Finished

_REACH_MM = 50.0  # from the pivot: where the spread and the movement of a pose are looked at
BEYOND = 3.0
"""Standardised evidence is cut off here: far outside of what was calibrated, more says no more."""


def evidence_of(found: Finished, spread: Spread, pivots: NDArray[np.float64], structure: int = 0) -> dict[str, float]:
    """What speaks for and against a pose, by name; every value is larger the more doubtful it is."""
    pose, pivot = found.estimates.poses[0, structure], pivots[structure]
    corners = pivot + _REACH_MM * np.concatenate([np.eye(3), -np.eye(3)])
    in_camera = camera_covariance(spread.covariance, spread.pivot, pose, corners)
    in_plane = float(np.sqrt(np.maximum(np.trace(in_camera[:, :2, :2], axis1=1, axis2=2), 0.0).mean()))
    _, coarse_cost = found.trace[max(0, len(found.trace) - 3)]
    return {
        "cost": float(np.log(max(found.cost, 1e-6))),
        "coarse cost": float(np.log(max(coarse_cost, 1e-6))),
        "spread": float(np.log(in_plane / INFLATION)),
        "unsettled": float(np.log(point_distance(found.trace[-2][0][structure], pose, corners) + 1e-2))
        if len(found.trace) > 1
        else 0.0,
        "rivalry": float(-np.log(np.clip(found.lead, 1e-2, 10.0))),
    }


def trust_in(
    evidence: dict[str, float], spread: Spread, pose: NDArray[np.float64], surroundings: bool = False
) -> Trust:
    """The verdict on a pose, with the reason and the weakest degree of freedom.

    Nothing is calibrated for X-rays that show more than the volume (`surroundings`): there it is "check" at best.
    """
    table = calibration()
    probability = float(probability_of(table, evidence))
    if surroundings:
        return Trust("check", probability, _NOT_CALIBRATED, weakest_freedom(spread, pose))
    verdict: Verdict = "check"
    if probability <= table["converged_below"]:
        verdict = "converged"
    elif probability >= table["failed_above"]:
        verdict = "failed"
    worst = max(table["weights"], key=lambda name: float(contribution(table, name, evidence[name])))
    return Trust(verdict, probability, _reason(verdict, worst), weakest_freedom(spread, pose))


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


_NOT_CALIBRATED = "Look at the overlay: verdicts are not calibrated for X-rays that show more than the volume."
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
