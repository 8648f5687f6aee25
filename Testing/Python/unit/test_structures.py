"""Several structures that moved since the CT, each found with its own pose."""

from __future__ import annotations

import numpy as np
import pytest

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import increment, invert, point_distance, translation
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.imaging.volume import LabelMap
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.registration.structures import REST, register_structures, structures_of
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.render import render


@pytest.fixture(scope="module")
def halves(phantom):
    """Labels that cut the phantom's dense things into those of its upper and of its lower half."""
    dense = phantom.array > 300
    upper = np.arange(phantom.array.shape[0])[:, None, None] > phantom.array.shape[0] // 2
    labels = np.where(dense, np.where(upper, 1, 2), 0).astype(np.uint16)
    return LabelMap(labels, phantom.ijk_to_ras, {1: "upper", 2: "lower"})


@pytest.fixture(scope="module")
def pose(phantom):
    centre = tuple(float(c) for c in phantom.center)
    return NominalView("AP", centre, 700.0).pose


def test_the_structures_add_up_to_the_volume(phantom, halves, camera, pose):
    parts = structures_of(phantom, halves, [1, 2])
    assert [s.name for s in parts] == ["upper", "lower", REST]
    whole = render(density_grid(phantom), pose[None], camera, 1.0)
    total = sum(render(s.pyramid.finest, pose[None], camera, 1.0) for s in parts)
    # Where a part is cropped its border tapers within a voxel: that is all that may differ.
    assert float((whole - total).abs().mean()) < 2e-3 * float(whole.mean())


def test_structures_that_moved_by_themselves_are_told_apart(phantom, halves, camera, pose):
    parts = structures_of(phantom, halves, [1, 2])
    moved = {
        "upper": increment([4.0, -2.0, 1.0, 0.03, 0.0, -0.05], parts[0].pivot) @ pose,
        "lower": increment([-3.0, 1.0, -2.0, -0.02, 0.04, 0.03], parts[1].pivot) @ pose,
        REST: pose,
    }
    side = NominalView("LLAT", tuple(float(c) for c in phantom.center), 700.0).pose
    relative = [np.eye(4), invert(pose) @ side]
    xrays = []
    for n, offset in enumerate(relative):
        image = sum(render(s.pyramid.finest, (moved[s.name] @ offset)[None], camera, 1.0)[0] for s in parts)
        xrays.append(Xray(f"view {n}", image.numpy(), camera, "attenuation"))
    found = register_structures(parts, xrays, {s.name: pose for s in parts}, relative)
    for s in parts[:2]:
        near = s.pivot + 30 * np.concatenate([np.eye(3), -np.eye(3)])
        before = point_distance(pose, moved[s.name], near)
        after = point_distance(found[s.name][0].pose, moved[s.name], near)
        assert before > 3, s.name
        assert after < 0.3, s.name
        np.testing.assert_allclose(found[s.name][1].pose, found[s.name][0].pose @ relative[1], atol=1e-9)
        assert found[s.name][0].uncertainty is not None


def test_what_cannot_be_registered_is_refused(phantom, halves, camera, pose):
    with pytest.raises(InputError, match="no voxels"):
        structures_of(phantom, halves, [7])
    elsewhere = LabelMap(halves.array, translation([5000.0, 0.0, 0.0]) @ halves.ijk_to_ras, halves.names)
    with pytest.raises(InputError, match="upper holds nothing of phantom"):
        structures_of(phantom, elsewhere, [1])
    parts = structures_of(phantom, halves, [1], rest=False)
    xray = Xray("x", np.random.default_rng(0).random(camera.size[::-1]).astype(np.float32), camera)
    with pytest.raises(InputError, match="no start"):
        register_structures(parts, [xray], {})


def test_a_structure_that_is_not_on_the_xray_has_failed_and_the_others_are_to_be_checked(phantom, halves, camera, pose):
    parts = structures_of(phantom, halves, [1, 2], rest=False)
    image = sum(render(s.pyramid.finest, pose[None], camera, 1.0)[0] for s in parts)
    starts = {"upper": pose, "lower": pose @ translation([900.0, 0.0, 0.0])}
    found = register_structures(parts, [Xray("front", image.numpy(), camera, "attenuation")], starts)
    assert found["lower"][0].verdict == "failed"
    assert "front" in found["lower"][0].trust.reason
    assert found["upper"][0].verdict == "check"


def test_structures_of_one_name_are_refused(phantom, halves, camera, pose):
    both = LabelMap(halves.array, halves.ijk_to_ras, {1: "vertebra", 2: "vertebra"})
    with pytest.raises(InputError, match="more than one is called vertebra"):
        structures_of(phantom, both, [1, 2])
    rest = LabelMap(halves.array, halves.ijk_to_ras, {1: REST})
    with pytest.raises(InputError, match=f"more than one is called {REST}"):
        structures_of(phantom, rest, [1])
    assert [s.name for s in structures_of(phantom, rest, [1], rest=False)] == [REST]
    twice = structures_of(phantom, both, [1], rest=False) + structures_of(phantom, both, [2], rest=False)
    xray = Xray("x", np.random.default_rng(0).random(camera.size[::-1]).astype(np.float32), camera)
    with pytest.raises(InputError, match="more than one is called vertebra"):
        register_structures(twice, [xray], {"vertebra": pose})


def test_a_rest_of_nothing_is_left_out(phantom):
    upper = np.arange(phantom.array.shape[0])[:, None, None] > phantom.array.shape[0] // 2
    labels = np.broadcast_to(np.where(upper, 1, 2), phantom.array.shape).astype(np.uint16)
    everything = LabelMap(labels, phantom.ijk_to_ras, {1: "upper", 2: "lower"})
    assert [s.name for s in structures_of(phantom, everything, [1, 2])] == ["upper", "lower"]
    assert [s.name for s in structures_of(phantom, everything, [1])] == ["upper", REST]
