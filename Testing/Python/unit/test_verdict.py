"""Verdicts: what speaks against a pose makes it less trusted, and what is wrong is not called converged."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from Testing.Python.unit.conftest import phantom_hu
from Testing.Python.unit.exposures import expose
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import point_distance, translation
from XVRegistrationLib.geometry.views import NominalView, PoseRange, draw_poses
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.registration.hypotheses import propose
from XVRegistrationLib.registration.model import prepare_model
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.registration.result import VERDICTS, PoseUncertainty
from XVRegistrationLib.registration.search import prepare_xray
from XVRegistrationLib.registration.verdict import calibration, trust_in
from XVRegistrationLib.rendering.grid import density_grid

CAMERA = Intrinsics(1020.0, (3.0, 3.3), (66.0, 60.0), (128, 120))
RANGE = PoseRange((15.0, 15.0, 15.0), (20.0, 20.0, 20.0))
SPREAD = PoseUncertainty(np.zeros(3), np.diag([0.1, 0.1, 1.0, 1e-3, 1e-3, 1e-3]) ** 2, np.zeros((6, 6)))


@pytest.fixture(scope="module")
def model(phantom):
    return prepare_model(phantom, CAMERA, pose_range=RANGE, bank_size=1024)


def evidence(z: float, **other: float) -> dict[str, float]:
    """Evidence that lies `z` standard deviations on the doubtful side, but for those given."""
    weights = calibration()["weights"]
    return {name: w["mean"] + other.get(name.replace(" ", "_"), z) * w["sd"] for name, w in weights.items()}


def test_every_piece_of_evidence_makes_a_pose_more_doubtful():
    base = trust_in(evidence(0.0), SPREAD, np.eye(4)).probability
    for name in calibration()["weights"]:
        steps = [
            trust_in(evidence(0.0, **{name.replace(" ", "_"): z}), SPREAD, np.eye(4)).probability for z in (-2, 0, 2)
        ]
        assert steps[0] < steps[1] < steps[2], name
        assert steps[1] == base
    assert 0 <= base <= 1


def test_the_verdicts_follow_the_probability_with_a_reason_and_the_weakest_freedom():
    table = calibration()
    assert 0 < table["converged_below"] < table["failed_above"] < 1
    seen = [trust_in(evidence(z), SPREAD, np.eye(4)) for z in np.linspace(-4, 4, 33)]
    assert [t.probability for t in seen] == sorted(t.probability for t in seen)
    order = [VERDICTS.index(t.verdict) for t in seen]
    assert order == sorted(order)
    assert set(order) == {0, 1, 2}
    for trust in seen:
        assert trust.reason.endswith(".")
        assert trust.weakest == "depth along the beam: +-2.0 mm (95 %)"
        assert (trust.verdict == "converged") == (trust.probability <= table["converged_below"])


def test_the_reason_names_what_weighs_most():
    for name, words in (("spread", "leaves much of the pose open"), ("rivalry", "another pose explains")):
        doubt = {name: 3.0}
        for z in np.linspace(-3, 2, 26):
            trust = trust_in(evidence(z, **doubt), SPREAD, np.eye(4))
            if trust.verdict == "check":
                assert words in trust.reason
                break
        else:
            pytest.fail(f"nothing to check for {name}")


def test_evidence_that_was_never_seen_is_no_number_but_bounded():
    far = trust_in(evidence(1e6), SPREAD, np.eye(4))
    assert 0.5 < far.probability <= 1
    assert trust_in(evidence(-1e6), SPREAD, np.eye(4)).verdict == "converged"


def test_where_nothing_is_calibrated_a_pose_is_to_be_checked():
    for z in (-3.0, 0.0, 3.0):
        trust = trust_in(evidence(z), SPREAD, np.eye(4), uncalibrated="a test")
        assert trust.verdict == "check"
        assert "not calibrated" in trust.reason


@pytest.mark.parametrize("seed", range(3))
def test_good_xrays_converge(model, points, seed):
    pose = draw_poses(model.view, RANGE, 1, np.random.default_rng(seed))[0]
    found = register_xray(model, expose(model.pyramid.finest, pose, CAMERA, seed, gamma=1.0))
    assert point_distance(found.pose, pose, points) < 2.0
    assert found.verdict == "converged"
    assert set(found.evidence) >= set(calibration()["weights"])
    assert all(np.isfinite(v) for v in found.evidence.values())


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_the_xray_of_another_patient_does_not_converge(model, phantom, seed):
    other = Volume(phantom_hu(seed=seed)[:, ::-1].copy(), phantom.ijk_to_ras, "somebody else")
    pose = draw_poses(NominalView("AP", tuple(phantom.center), 700.0), RANGE, 1, np.random.default_rng(seed))[0]
    found = register_xray(model, expose(density_grid(other), pose, CAMERA, seed, gamma=1.0))
    assert found.verdict in ("check", "failed")


def test_what_shows_no_patient_fails(model):
    rng = np.random.default_rng(0)
    noise = rng.normal(30000, 3000, CAMERA.size[::-1]).clip(1, 65535).astype(np.uint16)
    stripes = (20000 + 10000 * (np.add.outer(np.arange(120), np.arange(128)) % 16 < 8)).astype(np.uint16)
    for name, pixels in (("noise", noise), ("stripes", stripes)):
        assert register_xray(model, Xray(name, pixels, CAMERA)).verdict == "failed", name


def test_a_mirrored_xray_does_not_converge(model):
    """The picture is flipped and does not say so: the phantom is not symmetric."""
    pose = draw_poses(model.view, RANGE, 1, np.random.default_rng(5))[0]
    xray = expose(model.pyramid.finest, pose, CAMERA, 5, gamma=1.0)
    flipped = Xray("flipped", np.ascontiguousarray(xray.pixels[:, ::-1]), CAMERA)
    assert register_xray(model, flipped).verdict != "converged"


def of_one_patient(model, seed=100):
    pose = draw_poses(model.view, RANGE, 1, np.random.default_rng(seed))[0]
    return pose, expose(model.pyramid.finest, pose, CAMERA, 0, gamma=1.0)


def test_a_pose_at_which_nothing_is_seen_has_failed_and_is_stated_to_be_anywhere(model):
    pose, xray = of_one_patient(model)
    looking_away = pose @ np.diag([-1.0, 1.0, -1.0, 1.0])
    behind_the_detector = pose @ translation([0.0, 0.0, -3000.0])
    for start in (looking_away, behind_the_detector):
        found = register_xray(model, xray, (), {"given": start})
        assert found.verdict == "failed"
        assert xray.name in found.trust.reason
        assert np.sqrt(np.diag(found.uncertainty.covariance)[:3]).min() > 100


def test_where_only_air_counts_no_pose_converges(model):
    _, xray = of_one_patient(model)
    corner = np.zeros(xray.pixels.shape, dtype=bool)
    corner[:16, :20] = True
    assert register_xray(model, xray, mask=corner).verdict == "failed"


def test_a_scale_that_is_stated_wrong_is_to_be_checked_because_of_the_depth(model):
    _, xray = of_one_patient(model)
    larger = dataclasses.replace(CAMERA, spacing=(3.6, 3.96))
    found = register_xray(model, dataclasses.replace(xray, intrinsics=larger))
    assert found.verdict in ("check", "failed")
    if found.verdict == "check":
        assert "pixel spacing" in found.trust.reason


def test_a_second_attempt_asks_no_source_that_was_left_out(model):
    """A network that cannot predict is not asked, doubtful as the X-ray is."""
    blind = dataclasses.replace(model, network=object())
    pixels = np.random.default_rng(0).normal(30000, 3000, CAMERA.size[::-1]).clip(1, 65535).astype(np.uint16)
    found = register_xray(blind, Xray("noise", pixels, CAMERA), ("bank",))
    kinds = {start.kind for start in found.starts}
    assert "network" not in kinds
    assert "bank" in kinds
    assert len(kinds) > 1


def test_a_second_attempt_that_comes_back_keeps_the_doubt_of_the_first(model, monkeypatch):
    _, xray = of_one_patient(model)
    first = register_xray(model, xray)
    doubtful = dataclasses.replace(
        first,
        evidence={**first.evidence, "rivalry": 4.6},
        trust=dataclasses.replace(first.trust, verdict="check", probability=0.5),
    )
    again = dataclasses.replace(first, similarity=first.similarity + 1e-6, winner="first attempt")
    attempts = iter([(doubtful,), (again,)])
    monkeypatch.setattr("XVRegistrationLib.registration.attempts._attempt", lambda *args, **kwargs: next(attempts))
    found = register_xray(model, xray)
    assert found.evidence["rivalry"] == 4.6
    assert found.trust.probability > again.trust.probability
    assert found.winner == first.winner
    assert found.seconds == doubtful.seconds + again.seconds


@pytest.mark.parametrize("second_is_better", [True, False])
def test_what_is_all_but_certainly_wrong_is_looked_for_once_more_elsewhere(model, monkeypatch, second_is_better):
    """From starts alone, that the bank's own second attempt does not know; what is likely enough is not."""
    pose, xray = of_one_patient(model)
    good = register_xray(model, xray, (), {"given": pose})
    hopeless = dataclasses.replace(
        good, similarity=0.5, trust=dataclasses.replace(good.trust, verdict="failed", probability=0.995)
    )
    other = dataclasses.replace(good, similarity=0.7 if second_is_better else 0.4)
    drawn = []

    def attempt(*args, **kwargs):
        drawn.append(args[4].draw)
        return ((hopeless,), (other,))[len(drawn) - 1]

    monkeypatch.setattr("XVRegistrationLib.registration.attempts._attempt", attempt)
    found = register_xray(model, xray, (), {"given": pose})
    assert drawn == [0, 1]
    assert found.similarity == max(0.5, other.similarity)
    assert found.verdict == ("converged" if second_is_better else "failed")
    assert found.renders == hopeless.renders + other.renders
    assert [start.kind for start in found.starts] == ["given"]
    drawn.clear()
    monkeypatch.setattr(
        "XVRegistrationLib.registration.attempts._attempt", lambda *args, **kwargs: drawn.append(0) or (good,)
    )
    register_xray(model, xray, (), {"given": pose})
    assert drawn == [0]


def test_a_small_picture_is_refused(model):
    tiny = Intrinsics(1020.0, (20.0, 20.0), (8.0, 8.0), (16, 16))
    with pytest.raises(InputError, match="16 x 16 pixels"):
        register_xray(model, Xray("tiny", np.full((16, 16), 9, np.uint16), tiny))


def test_the_bank_looks_only_at_what_the_blades_leave(model, points):
    """Poses proposed for a field of a quarter of the image are as near as those for what a mask says of the same pixels."""
    nearest = {"blades": [], "no weight": []}
    for seed in range(6):
        pose = draw_poses(model.view, RANGE, 1, np.random.default_rng(500 + seed))[0]
        xray = expose(model.pyramid.finest, pose, CAMERA, seed, gamma=1.0)
        field = np.zeros(xray.pixels.shape, dtype=bool)
        field[30:90, 32:96] = True
        dark = np.random.default_rng(seed).integers(0, 30, field.shape) + int(0.004 * xray.pixels.max())
        shut = Xray("shut", np.where(field, xray.pixels, dark).astype(np.uint16), CAMERA)
        seen = prepare_xray(shut)
        assert seen.weight is not None
        for name, weight in (("blades", seen.weight), ("no weight", None)):
            proposed = propose(model, seen.image, shut, ("bank",), weight=weight)
            nearest[name].append(point_distance(proposed.poses, pose, points).min())
    assert np.median(nearest["blades"]) < 0.7 * np.median(nearest["no weight"])
