"""What a registration says of itself, beside the truth: statements are taken over, and coverage is that of the covariance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from XVRegistrationLib.evaluation.measures import coverage, measure
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import increment
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.registration.model import prepare_model
from XVRegistrationLib.registration.result import PoseUncertainty, Registration, Trust

if TYPE_CHECKING:
    from XVRegistrationLib.evaluation.measures import CaseRow
    from XVRegistrationLib.imaging.volume import Volume

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


def test_statements_are_those_of_the_registration_and_unknown_without_them(phantom: Volume) -> None:
    model = prepare_model(phantom, CAMERA, bank_size=16)
    shown = np.random.default_rng(2).integers(100, 60_000, CAMERA.size[::-1], dtype=np.uint16)

    def row(**stated: object) -> CaseRow:
        return measure(result(**stated), Xray("x", shown, CAMERA), VIEW.pose, POINTS, model)

    said = row(trust=Trust("check", 0.25, "Because.", "depth: +-6.0 mm (95 %)"), renders=120)
    assert (said.verdict, said.probability, said.reason) == ("check", 0.25, "Because.")
    assert (said.weakest, said.renders) == ("depth: +-6.0 mm (95 %)", 120.0)
    silent = row()
    assert (silent.verdict, silent.reason, silent.weakest, silent.points) == ("", "", "", 0.0)
    assert all(math.isnan(v) for v in (silent.renders, silent.probability, silent.covered, silent.depth_covered))


@pytest.mark.parametrize("overconfident", [1.0, 3.0])
def test_truths_that_are_drawn_from_the_covariance_are_covered_19_times_in_20(overconfident: float) -> None:
    """And seldom by ellipses of a third of the size."""
    rng = np.random.default_rng(1)
    found = result(uncertainty=PoseUncertainty(CENTER, COVARIANCE / overconfident**2, SCALE / overconfident**2))
    rows = []
    for _ in range(400):
        xi = rng.multivariate_normal(np.zeros(6), COVARIANCE)
        in_depth = rng.multivariate_normal(np.zeros(6), COVARIANCE + SCALE)
        truth, deeper = (increment(x, CENTER) @ VIEW.pose for x in (xi, in_depth))
        rows.append((coverage(found, truth, POINTS), coverage(found, deeper, POINTS)))
    covered = np.mean([image["covered"] for image, _ in rows])
    depth_covered = np.mean([depth["depth_covered"] for _, depth in rows])
    if overconfident == 1.0:
        assert covered == pytest.approx(0.95, abs=0.03)
        assert depth_covered == pytest.approx(0.95, abs=0.03)
        assert rows[0][0]["points"] == len(POINTS)
    else:
        assert covered < 0.6
        assert depth_covered < 0.6
