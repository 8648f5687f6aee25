"""The fit of the verdicts' table: known weights come back, thresholds keep their promise, ellipses get the right size."""

from __future__ import annotations

import numpy as np
import pytest

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.verdict_fit import (
    LEAST_DOUBT,
    MOST_DOUBT,
    MOST_WRONG,
    SURELY_WRONG,
    choose_thresholds,
    fit_table,
    inflation_factor,
    left_out,
    point_radii,
)
from XVRegistrationLib.geometry.camera import Intrinsics, pixel_to_camera
from XVRegistrationLib.geometry.rigid import invert, transform_points, translation
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.registration.result import PoseUncertainty, Registration
from XVRegistrationLib.registration.uncertainty import ellipse_points, target_uncertainty
from XVRegistrationLib.registration.verdict import calibration, probability_of, trust_in

NAMES = ("cost", "spread", "noise")


def probabilities(table, values, names):
    """Of poses with evidence (N, E), in the order of its names."""
    return probability_of(table, dict(zip(names, values.T, strict=True)))


def drawn(n: int = 20_000, seed: int = 0):
    """Evidence (n, 3) on scales of their own, which poses are wrong, and the probabilities that they were drawn with."""
    rng = np.random.default_rng(seed)
    standard = np.clip(rng.normal(size=(n, 3)), -2.9, 2.9)
    p = 1 / (1 + np.exp(-(-1.0 + standard @ [1.5, 0.7, 0.0])))
    return standard * [2.0, 0.1, 5.0] + [10.0, -3.0, 0.0], rng.uniform(size=n) < p, p


def test_the_weights_that_the_data_were_drawn_with_come_back():
    values, wrong, truth = drawn()
    table = fit_table(values, NAMES, wrong)
    weights = [table["weights"][name]["weight"] for name in NAMES]
    np.testing.assert_allclose(weights, [1.5, 0.7, 0.0], atol=0.07)
    assert np.abs(probabilities(table, values, NAMES) - truth).mean() < 0.01


def test_the_fit_is_the_optimum_of_its_own_loss():
    from scipy.optimize import check_grad

    values, wrong, _ = drawn(400, 1)
    table = fit_table(values, NAMES, wrong)
    standard = np.column_stack(
        [(values[:, i] - table["weights"][n]["mean"]) / table["weights"][n]["sd"] for i, n in enumerate(NAMES)]
    ).clip(-3, 3)
    w = np.array([table["bias"], *(table["weights"][n]["weight"] for n in NAMES)])

    def loss(w):
        z = w[0] + standard @ w[1:]
        return np.logaddexp(0, np.where(wrong, -z, z)).sum() + 0.5 * w[1:] @ w[1:]

    def slope(w):
        residual = 1 / (1 + np.exp(-(w[0] + standard @ w[1:]))) - wrong
        return np.concatenate([[residual.sum()], standard.T @ residual + w[1:]])

    assert check_grad(loss, slope, w) < 1e-2
    at = slope(w)
    free = w > 0
    free[0] = True
    np.testing.assert_allclose(at[free], 0, atol=1e-2)
    assert (at[~free] >= -1e-2).all()  # a weight rests at zero only where it would rather be negative


def test_evidence_that_speaks_the_wrong_way_weighs_nothing():
    values, wrong, _ = drawn(2000, 2)
    table = fit_table(np.column_stack([values[:, 0], -values[:, 1], values[:, 2]]), NAMES, wrong)
    assert table["weights"]["spread"]["weight"] == 0.0
    assert table["weights"]["cost"]["weight"] > 1.0


def test_evidence_that_parts_right_from_wrong_gives_finite_weights():
    values = np.concatenate([np.full((30, 1), -1.0), np.full((30, 1), 1.0)])
    table = fit_table(values, ["cost"], values[:, 0] > 0)
    p = probabilities(table, values, ["cost"])
    assert 1 < table["weights"]["cost"]["weight"] < 20
    assert p[0] < 0.1
    assert p[-1] > 0.9


def test_verdicts_state_the_probability_of_the_table():
    table = calibration()
    names = list(table["weights"])
    rng = np.random.default_rng(3)
    values = np.array([[w["mean"] + 5 * w["sd"] * rng.normal() for w in table["weights"].values()] for _ in range(20)])
    spread = PoseUncertainty(np.zeros(3), np.eye(6), np.zeros((6, 6)))
    said = [trust_in(dict(zip(names, row, strict=True)), spread, np.eye(4)).probability for row in values]
    weights = np.array([[w["mean"], w["sd"], w["weight"]] for w in table["weights"].values()]).T
    total = table["bias"] + (((values - weights[0]) / weights[1]).clip(-3, 3) * weights[2]).sum(axis=1)
    np.testing.assert_allclose(said, 1 / (1 + np.exp(-total)), rtol=1e-9)


def test_no_pose_is_predicted_by_a_fit_that_saw_its_group():
    values, wrong, _ = drawn(600, 4)
    groups = [f"ct{i % 3}" for i in range(len(wrong))]
    before = left_out(values, NAMES, wrong, groups)
    inside = np.array(groups) == "ct1"
    other = wrong.copy()
    other[inside] = ~wrong[inside]
    after = left_out(values, NAMES, other, groups)
    np.testing.assert_array_equal(after[inside], before[inside])
    assert np.abs(after[~inside] - before[~inside]).max() > 0.05
    with pytest.raises(InputError, match="two groups"):
        left_out(values, NAMES, wrong, ["ct"] * len(wrong))


def test_thresholds_are_the_widest_that_keep_their_promise():
    values, wrong, _ = drawn(3000, 5)
    values[:, 0] = np.where(wrong, 16.0, 6.0) + 0.9 * (values[:, 0] - 10)  # mostly told apart
    p = probabilities(fit_table(values, NAMES, wrong), values, NAMES)
    found = choose_thresholds(p, wrong)
    converged, failed = p <= found.converged_below, p >= found.failed_above
    assert wrong[converged].mean() <= MOST_WRONG
    assert wrong[failed].mean() > SURELY_WRONG
    assert found.converged_below < found.failed_above
    assert all(wrong[p <= t].mean() > MOST_WRONG for t in p if found.converged_below < t <= MOST_DOUBT)
    assert all(wrong[p >= t].mean() <= SURELY_WRONG for t in p if LEAST_DOUBT <= t < found.failed_above)
    assert found.wrong_of_converged.successes == wrong[converged].sum()
    assert found.wrong_of_converged.high > found.wrong_of_converged.rate
    assert found.converged_of_right.rate == pytest.approx(converged[~wrong].mean())


def test_what_is_in_doubt_is_neither_converged_nor_failed_however_well_the_calibration_tells_it():
    p = np.array([0.1, 0.2, 0.4, 0.45, 0.55, 0.6, 0.8, 0.9])
    found = choose_thresholds(p, p > 0.5)
    assert (found.converged_below, found.failed_above) == (0.2, 0.8)


def test_where_nothing_can_be_told_nothing_is_called_converged_or_failed():
    found = choose_thresholds(np.full(100, 0.5), np.arange(100) % 2 == 0)
    assert (found.converged_below, found.failed_above) == (0.0, 1.0)
    assert found.wrong_of_converged.n == 0


def test_stretched_by_the_factor_ellipses_hold_95_percent():
    rng = np.random.default_rng(6)
    # Points in ellipses for 95 % have Rayleigh radii of sqrt(5.991) standard deviations; these are 1.7 times too small.
    radii = [1.7 * rng.rayleigh(size=500) / np.sqrt(5.991) for _ in range(30)]
    factor = inflation_factor(radii, ["a", "b", "c"] * 10)
    assert factor == pytest.approx(1.7, rel=0.02)
    assert (np.concatenate(radii) <= factor).mean() == pytest.approx(0.95, abs=0.005)
    far = [*radii, *(10 * r for r in radii[:10])]
    assert inflation_factor(far, ["a", "b", "c"] * 10 + ["odd"] * 10) == pytest.approx(1.7, rel=0.03)


@pytest.mark.parametrize("mirrored", [False, True])
def test_radii_are_one_on_the_outline_of_the_ellipses_that_are_drawn(mirrored):
    camera = Intrinsics.centered(1000.0, (0.8, 1.1), (300, 260), mirrored)
    view = NominalView("AP", (5.0, -3.0, 40.0), 700.0)
    rng = np.random.default_rng(7)
    half = rng.normal(size=(6, 6)) * [1.0, 1.0, 1.0, 0.01, 0.01, 0.01]
    spread = PoseUncertainty(np.array(view.isocenter), half.T @ half, np.zeros((6, 6)))
    result = Registration("x", view.pose, camera, 0.9, 1.0, uncertainty=spread)
    points = np.array(view.isocenter) + rng.uniform(-40, 40, (5, 3))
    u = target_uncertainty(result, points)
    # A shift of the camera in its own plane that puts the first point onto its outline.
    depth = transform_points(invert(view.pose), points)[0, 2]
    for outline in ellipse_points(u, 0, 8):
        offset = (pixel_to_camera(outline, camera) - pixel_to_camera(u.pixels[0], camera)) * depth / camera.sdd
        radii = point_radii(result, view.pose @ translation(-offset), points)
        assert radii[0] == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(point_radii(result, view.pose, points), 0, atol=1e-9)
    behind = np.array([view.pose[:3, 3] - 10 * view.pose[:3, 2]])
    assert point_radii(result, view.pose, behind).size == 0


@pytest.mark.parametrize(
    ("values", "wrong", "said"),
    [
        (np.zeros((4, 3)), [True] * 4, "of one kind"),
        (np.zeros((4, 3)), [False] * 4, "of one kind"),
        (np.zeros((4, 2)), [True, False] * 2, "one row of 3 numbers"),
        (np.full((4, 3), np.nan), [True, False] * 2, "not a finite number"),
    ],
)
def test_what_cannot_be_fitted_is_one_sentence(values, wrong, said):
    with pytest.raises(InputError, match=said):
        fit_table(values, NAMES, wrong)
