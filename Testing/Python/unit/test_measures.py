"""What a registration says of itself, beside the truth: statements are taken over, and coverage is that of the covariance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from XVRegistrationLib.evaluation.measures import _coverage, _statements
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import increment
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.registration.result import Registration, Spread, Trust

CENTER = np.array([10.0, -20.0, 30.0])
VIEW = NominalView("AP", (10.0, -20.0, 30.0), 700.0)
CAMERA = Intrinsics.centered(1000.0, (0.5, 0.8), (400, 300), VIEW.mirrored)
POINTS = CENTER + np.random.default_rng(0).uniform(-30, 30, (20, 3))
# In the camera's axes: sure of the shifts in the image's plane, less so of depth.
AXES = np.kron(np.eye(2), VIEW.pose[:3, :3])
COVARIANCE = AXES @ np.diag(np.array([0.3, 0.6, 3.0, 0.004, 0.002, 0.003]) ** 2) @ AXES.T
SCALE = AXES @ np.diag(np.array([0, 0, 2.0, 0, 0, 0]) ** 2) @ AXES.T


def result(**stated: object) -> Registration:
    return Registration("x", VIEW.pose, CAMERA, 0.9, 1.0, **stated)


def test_statements_are_those_of_the_registration_and_unknown_without_them() -> None:
    trust = Trust("check", 0.25, "Because.", "depth: +-6.0 mm (95 %)")
    said = _statements(result(trust=trust, renders=120))
    assert said == {
        "verdict": "check",
        "probability": 0.25,
        "reason": "Because.",
        "weakest": "depth: +-6.0 mm (95 %)",
        "renders": 120.0,
    }
    silent = _statements(result())
    assert silent.pop("verdict") == ""
    assert math.isnan(silent.pop("renders"))
    assert silent == {}
    assert _coverage(result(), VIEW.pose, POINTS) == {}


@pytest.mark.parametrize("overconfident", [1.0, 3.0])
def test_truths_that_are_drawn_from_the_covariance_are_covered_19_times_in_20(overconfident: float) -> None:
    """And seldom by ellipses of a third of the size."""
    rng = np.random.default_rng(1)
    found = result(spread=Spread(CENTER, COVARIANCE / overconfident**2, SCALE / overconfident**2))
    rows = []
    for _ in range(400):
        xi = rng.multivariate_normal(np.zeros(6), COVARIANCE)
        in_depth = rng.multivariate_normal(np.zeros(6), COVARIANCE + SCALE)
        truth, deeper = (increment(x, CENTER) @ VIEW.pose for x in (xi, in_depth))
        rows.append((_coverage(found, truth, POINTS), _coverage(found, deeper, POINTS)))
    covered = np.mean([image["covered"] for image, _ in rows])
    depth_covered = np.mean([depth["depth_covered"] for _, depth in rows])
    if overconfident == 1.0:
        assert covered == pytest.approx(0.95, abs=0.03)
        assert depth_covered == pytest.approx(0.95, abs=0.03)
        assert rows[0][0]["points"] == len(POINTS)
    else:
        assert covered < 0.6
        assert depth_covered < 0.6
