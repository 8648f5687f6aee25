"""Several X-rays of one patient at once: depth, cameras that are not quite as stated, relations that are wrong."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from Testing.Python.unit.conftest import phantom_hu
from Testing.Python.unit.exposures import expose
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.counterparts import opposite
from XVRegistrationLib.geometry.rigid import increment, point_distance, rigid, rotation_from_vector, translation
from XVRegistrationLib.geometry.views import PoseRange
from XVRegistrationLib.imaging.intensity import line_integral
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.registration.model import prepare_model
from XVRegistrationLib.registration.objective import DepthPrior, Estimates, FreeParameters, View, depth_of, evaluate
from XVRegistrationLib.registration.refine import refine
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.registration.several import register_views
from XVRegistrationLib.registration.similarity import Similarity
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.render import render

CAMERA = Intrinsics(1020.0, (4.0, 4.4), (49.0, 44.0), (96, 90))
SIDE = dataclasses.replace(CAMERA, principal_point=(45.0, 46.5), mirrored=True)


@pytest.fixture(scope="module")
def model(phantom):
    return prepare_model(phantom, CAMERA, pose_range=PoseRange((8, 8, 8), (10, 10, 15)), bank_size=256)


@pytest.fixture(scope="module")
def pose(model):
    return increment([4.0, -6.0, 3.0, 0.06, -0.05, 0.04], model.view.isocenter) @ model.view.pose


@pytest.fixture(scope="module")
def start(model, pose):
    return increment([5.0, -4.0, 12.0, 0.04, -0.03, 0.05], model.view.isocenter) @ pose


def quarter(pose, pivot) -> np.ndarray:
    """(4, 4) a second camera -> the first, that looks at the pivot from the side."""
    camera = np.linalg.inv(pose)
    center = camera[:3, :3] @ pivot + camera[:3, 3]
    turn = rotation_from_vector([0.0, np.pi / 2, 0.0])
    return rigid(turn, center - turn @ center)


@pytest.fixture(scope="module")
def relation(pose, model):
    return [np.eye(4), quarter(pose, np.array(model.view.isocenter))]


@pytest.fixture(scope="module")
def xrays(model, pose, relation):
    """From the front and, mirrored, from the side."""
    views = zip(("front", "side"), relation, (CAMERA, SIDE), strict=True)
    return [expose(model.pyramid.finest, pose @ m, c, i, name=n) for i, (n, m, c) in enumerate(views)]


def depth_error(found, pose, model) -> float:
    pivot = np.array(model.view.isocenter)
    return abs(float(depth_of(found[None], pivot)[0][0] - depth_of(pose[None], pivot)[0][0]))


def test_two_views_know_the_depth_that_one_does_not(model, relation, pose, start):
    """Over noise, of an exposure so low that depth suffers."""
    grid, pivot = model.pyramid.finest, np.array([model.view.isocenter])
    errors: dict[int, list[float]] = {1: [], 2: []}
    for seed in range(3):
        noisy = [
            View(
                torch.from_numpy(
                    line_integral(expose(grid, pose @ m, c, 10 * seed + i, scatter=0.0, gamma=1.0, photons=500))
                ),
                c,
                (grid,),
                2.0,
                Similarity((0, 16)),
                offset=m,
            )
            for i, (m, c) in enumerate(zip(relation, (CAMERA, SIDE), strict=True))
        ]
        for n, found in errors.items():
            end = refine(Estimates.at(start[None], n), noisy[:n], pivot, 15)
            found.append(depth_error(end.estimates.poses[0, 0], pose, model))
    rms = {n: float(np.sqrt(np.mean(np.square(e)))) for n, e in errors.items()}
    assert rms[2] < 0.4 * rms[1]


def test_the_views_of_a_joint_registration_share_one_pose(model, xrays, relation, pose, start, points):
    one = register_xray(model, xrays[0], (), {"start": start})
    two = register_views(model, xrays, relation, (), {"start": start})
    assert [v.name for v in two.views] == ["front", "side"]
    np.testing.assert_allclose(two.views[1].pose, two.views[0].pose @ relation[1], atol=1e-9)
    assert point_distance(two.views[0].pose, pose, points) < 0.5
    sd = [np.sqrt(r.pose[:3, 2] @ r.uncertainty.covariance[:3, :3] @ r.pose[:3, 2]) for r in (two.views[0], one)]
    assert sd[0] < 0.7 * sd[1]
    assert two.trust.verdict == "converged"
    assert two.renders == two.views[1].renders > 2
    assert (two.views[0].intrinsics, two.views[1].intrinsics) == (CAMERA, SIDE)


def test_hypotheses_come_from_every_view(model, xrays, relation, pose, points):
    """The bank knows the first view's kind of pose alone, so that the second X-ray given first must be found by the other's."""
    turned = [np.eye(4), np.linalg.inv(relation[1])]
    found = register_views(model, xrays[::-1], turned, ("bank",))
    assert point_distance(found.views[1].pose, pose, points) < 1.0
    assert {s.kind for s in found.views[0].starts} == {"bank"}


def test_opposites_are_those_of_the_first_cameras_starts(model, xrays, relation, pose, start, points):
    """Alone or with a network that is not there, the other X-rays have nothing to propose."""
    away = opposite(start, model.view.isocenter)
    for sources in (("opposites",), ("network", "opposites")):
        found = register_views(model, xrays, relation, sources, {"away": away})
        assert {s.kind for s in found.views[0].starts} == {"away", "opposite", "mirrored", "opposite mirrored"}
        # The patient is nearly symmetric: both of these lie near enough to end at the pose.
        assert found.views[0].winner in ("opposite", "opposite mirrored")
        assert point_distance(found.views[0].pose, pose, points) < 0.5
    with pytest.raises(InputError, match="nothing to take the opposites of"):
        register_views(model, xrays, relation, ("opposites",))


def test_the_joint_optimum_is_that_of_a_brute_force_search(model, pose, relation):
    """Along the first camera's beam and across it, costs computed from renders alone have their minimum at the joint estimate."""
    pivot = np.array(model.view.isocenter)
    grid = model.pyramid.finest
    images = [render(grid, (pose @ m)[None], c, 1.5)[0] for m, c in zip(relation, (CAMERA, SIDE), strict=True)]
    noise = np.random.default_rng(0)
    images = [i + i.new_tensor(noise.normal(0, 0.3, i.shape)) for i in images]
    views = [
        View(i, c, (grid,), 1.5, Similarity((0,)), offset=m)
        for i, c, m in zip(images, (CAMERA, SIDE), relation, strict=True)
    ]
    begin = Estimates.at((increment([3.0, -2.0, 9.0, 0, 0, 0], pivot) @ pose)[None], 2)
    found = refine(begin, views, pivot[None], 25, stop_at_gain=0.0).estimates.poses[0, 0]

    def cost(shift: np.ndarray) -> float:
        t = increment([*shift, 0, 0, 0], pivot) @ found
        total = 0.0
        for view in views:
            seen = render(grid, (t @ view.offset)[None], view.intrinsics, 1.5)[0].double().numpy()
            total += _unlike(seen, view.xray.double().numpy())
        return total / 2

    along = np.linspace(-1.5, 1.5, 13)
    for axis in range(3):
        costs = [cost(s * found[:3, axis]) for s in along]
        a, b, _ = np.polyfit(along, costs, 2)
        assert abs(-b / (2 * a)) < 0.15
        assert a > 0
    assert cost(np.zeros(3)) == pytest.approx(
        float(evaluate(Estimates.at(found[None], 2), views, pivot[None], FreeParameters())[0].cost[0]), abs=1e-3
    )


def _unlike(a, b) -> float:
    """1 - the mean of the correlation of two images and of their Sobel fields, by scipy."""
    from scipy.ndimage import sobel

    fields = [np.stack([sobel(i, axis=k)[1:-1, 1:-1] for k in (0, 1)]) for i in (a, b)]
    fields = [(f - f.mean(axis=(1, 2), keepdims=True)).ravel() for f in fields]
    of_fields = fields[0] @ fields[1] / np.sqrt((fields[0] @ fields[0]) * (fields[1] @ fields[1]))
    return 1 - (np.corrcoef(a.ravel(), b.ravel())[0, 1] + of_fields) / 2


def stated(xrays, relation, start, model, **wrong):
    """Registrations with a geometry of the first view that is stated wrong: taken as stated, and estimated."""
    first = dataclasses.replace(xrays[0], intrinsics=dataclasses.replace(CAMERA, **wrong))
    return [
        register_views(model, [first, xrays[1]], relation, (), {"start": start}, geometry=geometry).views
        for geometry in (False, True)
    ]


def test_a_distance_that_is_stated_wrong_is_found_from_two_views(model, xrays, relation, pose, start, points):
    as_stated, found = stated(xrays, relation, start, model, sdd=1035.0)
    assert found[0].similarity > as_stated[0].similarity + 0.005
    assert found[0].intrinsics.sdd == pytest.approx(CAMERA.sdd, abs=5.0)
    assert found[1].intrinsics.sdd == pytest.approx(SIDE.sdd, abs=5.0)
    assert point_distance(found[0].pose, pose, points) < 0.5
    assert (found[0].intrinsics.size, found[1].intrinsics.mirrored) == (CAMERA.size, True)
    assert as_stated[0].intrinsics.sdd == 1035.0


def test_a_principal_point_that_is_stated_wrong_is_made_to_agree_with_the_other_view(model, xrays, relation, start):
    """Along the axis that both cameras share, no image tells a patient who moved from two detectors that did."""
    as_stated, found = stated(xrays, relation, start, model, principal_point=(49.0, 46.7))
    assert found[0].similarity > as_stated[0].similarity + 0.05
    assert found[0].similarity > 0.95
    moved = [v.intrinsics.principal_point[1] - true for v, true in zip(found, (44.0, 46.5), strict=True)]
    assert moved[0] == pytest.approx(moved[1], abs=0.5)


def test_the_depth_may_be_known(model, xrays, relation, pose, start):
    pivot = np.array(model.view.isocenter)
    true = depth_of(pose[None], pivot)[0][0]
    found = register_views(model, xrays, relation, (), {"start": start}, depth=DepthPrior(true + 2.0, 0.0))
    assert depth_of(found.views[0].pose[None], pivot)[0][0] == pytest.approx(true + 2.0, abs=0.1)


def test_a_view_that_is_covered_does_not_spoil_the_other(model, xrays, relation, pose, start, points):
    mask = np.ones(xrays[1].pixels.shape, dtype=bool)
    mask[:, 45:] = False
    pixels = np.where(mask, xrays[1].pixels, 9000).astype(np.uint16)
    covered = [xrays[0], dataclasses.replace(xrays[1], pixels=pixels)]
    found = register_views(model, covered, relation, (), {"start": start}, masks=[None, mask])
    assert point_distance(found.views[0].pose, pose, points) < 1.0


def test_a_view_on_which_nothing_falls_has_failed_whatever_the_other_says(model, xrays, relation, pose, start):
    turned = relation[1] @ np.diag([-1.0, 1.0, -1.0, 1.0])  # the second camera looks the other way
    found = register_views(model, xrays, [np.eye(4), turned], (), {"given": start})
    assert found.trust.verdict == "failed"
    assert xrays[1].name in found.trust.reason


def test_the_xray_of_another_patient_as_second_view_is_doubted_however_well_the_first_fits(
    model, phantom, xrays, relation, pose, start
):
    other = Volume(phantom_hu(seed=4)[:, ::-1].copy(), phantom.ijk_to_ras, "somebody else")
    strange = expose(density_grid(other), pose @ relation[1], SIDE, 1, name="side")
    right, wrong = (
        register_views(model, [xrays[0], second], relation, (), {"given": start}).trust
        for second in (xrays[1], strange)
    )
    assert right.probability < 0.02
    assert wrong.probability > 10 * right.probability


def test_views_that_disagree_about_the_pose_are_to_be_checked(model, xrays, relation, start):
    shifted = translation([0.0, 20.0, 0.0]) @ relation[1]
    found = register_views(model, xrays, [np.eye(4), shifted], (), {"given": start})
    assert found.trust.verdict in ("check", "failed")
    assert found.trust.verdict == "failed" or "relation" in found.trust.reason


def test_what_is_wrong_with_the_relations_is_a_sentence(model, xrays, relation, start):
    sheared = np.eye(4)
    sheared[0, 1] = 0.3
    for relative, sentence in [
        (relation[:1], "got 2 X-rays and 1 relations"),
        ([], "got 2 X-rays and 0 relations"),
        ([np.eye(4), sheared], "relation of side to the first X-ray is not a rigid"),
        ([np.eye(4), np.eye(3)], "relation of side to the first X-ray must be a 4x4"),
        (relation[::-1], "must be the identity"),
    ]:
        with pytest.raises(InputError, match=sentence):
            register_views(model, xrays, relative, (), {"start": start})
    with pytest.raises(InputError, match="needs the relation"):
        register_views(model, [], [], (), {"start": start})
    with pytest.raises(InputError, match="two views or more"):
        register_views(model, xrays[:1], relation[:1], (), {"start": start}, geometry=True)
    with pytest.raises(InputError, match="mask"):
        register_views(model, xrays, relation, (), {"start": start}, masks=[None])
