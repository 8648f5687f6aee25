"""The simulated angiogram: a tree by Murray's law, a volume of attenuation, and X-rays that show it subtracted."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.simulation import Detector, NanodrrRenderer
from XVRegistrationLib.evaluation.vessels import (
    SIZE_MM,
    expose_subtracted,
    head_integral,
    simulate_vessels,
    vessel_points,
    vessel_tree,
)
from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.geometry.views import NominalView, PoseRange
from XVRegistrationLib.imaging.describe import describe
from XVRegistrationLib.imaging.volume import Volume, read_volume, write_volume
from XVRegistrationLib.imaging.volumes.reading import Reading
from XVRegistrationLib.imaging.volumes.vessels import IODINE
from XVRegistrationLib.registration.bank import build_bank
from XVRegistrationLib.registration.model import PatientModel, load_model, save_model
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.pyramid import Pyramid
from XVRegistrationLib.rendering.render import render

if TYPE_CHECKING:
    from pathlib import Path

CAMERA = Intrinsics.centered(1200.0, (2.0, 2.0), (120, 120))
CENTER = (10.0, -20.0, 30.0)
QUIET = Detector(scatter_to_primary=1e-9, scatter_sigma_mm=30.0, blur_sigma_px=0.0, photons=1e9, gamma=1.0, bits=16)


@pytest.fixture(scope="module")
def vessels() -> Volume:
    return simulate_vessels(1, voxel=1.0, center=CENTER)


def test_the_tree_branches_by_murrays_law_within_its_volume() -> None:
    tree = vessel_tree(2)
    assert 200 <= len(tree) <= 300
    radii = np.array([v.radius for v in tree])
    assert radii.min() >= 0.4
    assert radii.max() <= 3.0
    children: dict[int, list[int]] = {}
    for i, vessel in enumerate(tree):
        assert vessel.parent < i
        children.setdefault(vessel.parent, []).append(i)
        if vessel.parent >= 0:
            assert np.array_equal(vessel.points[0], tree[vessel.parent].points[-1])
    pairs = [(p, c) for p, c in children.items() if len(c) == 2]
    assert len(pairs) > 50
    for parent, both in pairs:
        assert (radii[both] ** 3).sum() == pytest.approx(radii[parent] ** 3)
    points = vessel_points(2)
    assert np.abs(points).max() < SIZE_MM / 2 - 3
    assert (np.ptp(points, axis=0) > 60).all()
    assert np.array_equal(points, vessel_points(2))
    assert not np.array_equal(points[:50], vessel_points(3)[:50])


def test_the_volume_holds_the_iodine_of_the_tree_and_nothing_else(vessels: Volume) -> None:
    assert vessels.units == "1/mm"
    assert np.allclose(vessels.center, CENTER)
    assert vessels.array.min() == 0
    assert vessels.array.max() == pytest.approx(IODINE)
    # Vessels overlap where they branch, so that their volumes are a little more than what is painted.
    tubes = sum(np.pi * v.radius**2 * np.linalg.norm(np.diff(v.points, axis=0), axis=1).sum() for v in vessel_tree(1))
    painted = float(vessels.array.astype(np.float64).sum()) / IODINE
    assert 0.8 * tubes < painted < 1.25 * tubes
    first = vessel_tree(1)[0].points[5] + CENTER
    i, j, k = np.round(np.linalg.inv(vessels.ijk_to_ras) @ np.append(first, 1)).astype(int)[:3]
    assert vessels.array[k, j, i] == pytest.approx(IODINE)


def test_attenuations_are_rendered_as_they_are_by_both_renderers(vessels: Volume) -> None:
    pytest.importorskip("nanodrr")
    pose = NominalView("AP", CENTER, 750.0).pose
    ours = render(density_grid(vessels), pose[None], CAMERA)[0].numpy()
    theirs = NanodrrRenderer(vessels).line_integral(pose, CAMERA)
    assert ours.max() > 0.2
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.999
    assert ours.sum() == pytest.approx(theirs.sum(), rel=0.01)


def test_units_belong_to_the_volume(vessels: Volume, tmp_path: Path) -> None:
    as_hu = dataclasses.replace(vessels, units="HU")
    assert as_hu.fingerprint != vessels.fingerprint
    assert describe(vessels).ok
    write_volume(tmp_path / "v.nrrd", vessels)
    assert read_volume(tmp_path / "v.nrrd", Reading("1/mm")).fingerprint == vessels.fingerprint
    # Values that would be air as HU, and thin contrast as attenuation, fill the grid all the same.
    thin = dataclasses.replace(vessels, array=vessels.array / 100)
    assert density_grid(thin).data.shape == density_grid(vessels).data.shape
    holes = vessels.array.copy()
    holes[0, 0, 0], holes[0, 0, 1] = np.nan, -5.0
    assert density_grid(dataclasses.replace(vessels, array=holes)).densities().min() == 0
    with pytest.raises(InputError, match="denser than air"):
        density_grid(dataclasses.replace(vessels, array=np.zeros_like(vessels.array)))


def test_a_models_card_keeps_the_units(vessels: Volume, tmp_path: Path) -> None:
    write_volume(tmp_path / "v.nrrd", vessels)
    volume = read_volume(tmp_path / "v.nrrd", Reading("1/mm"))
    pyramid, view = Pyramid(density_grid(volume)), NominalView("AP", CENTER, 750.0)
    bank = build_bank(pyramid.finest, view, PoseRange(), CAMERA, 16)
    save_model(tmp_path / "model", PatientModel(volume, pyramid, view, PoseRange(), CAMERA, bank))
    # The file does not say what its values are: the card does, and the volume is read as what it was.
    again = load_model(tmp_path / "model")
    assert again.volume.units == "1/mm"
    assert again.pyramid.finest.densities().max() == pyramid.finest.densities().max()
    with pytest.raises(InputError, match="another volume"):
        load_model(tmp_path / "model", read_volume(tmp_path / "v.nrrd", Reading(believed=True)))


def test_the_head_is_as_thick_as_it_is_where_the_beam_goes_through_its_middle() -> None:
    pose = NominalView("AP", CENTER, 750.0).pose
    camera = Intrinsics.centered(1200.0, (1.0, 1.0), (401, 401))
    p = head_integral(pose, camera, CENTER)
    assert p[200, 200] == pytest.approx(2 * 6 * 0.055 + 2 * 89 * 0.0207)
    assert p[0, 0] == 0
    # Seen from the front the head is narrower than high; its skull is seen edge-on at the rim.
    assert np.count_nonzero(p[200]) < np.count_nonzero(p[:, 200])


def test_subtraction_leaves_the_vessels(vessels: Volume) -> None:
    view = NominalView("AP", CENTER, 750.0)
    p = render(density_grid(vessels), view.pose[None], CAMERA)[0].numpy()
    head = head_integral(view.pose, CAMERA, CENTER)

    def seen(**changes: float) -> np.ndarray:
        detector = dataclasses.replace(QUIET, **changes)
        pixels, _ = expose_subtracted(p, head, CAMERA, detector, np.random.default_rng(0))
        assert pixels.dtype == np.uint16
        return pixels.astype(np.float64)

    quiet = seen()
    assert np.corrcoef(quiet.ravel(), p.ravel())[0, 1] > 0.995  # bright where vessels are; the head is gone
    noisy = seen(photons=3e4)
    empty = (p == 0) & (head > 3)
    bare = (p == 0) & (head == 0)
    assert noisy[empty].std() > 2 * noisy[bare].std()  # noise is where few photons arrive
    scattered = seen(scatter_to_primary=0.5)
    bright = p > 0.5 * p.max()
    assert scattered[bright].mean() - np.median(scattered) < 0.8 * (quiet[bright].mean() - np.median(quiet))
    wide = np.array([v.points[3] for v in vessel_tree(1) if v.radius > 2]) + CENTER
    columns, rows = np.round(project(wide, view.pose, CAMERA)).astype(int).T
    assert (noisy[rows, columns] > np.percentile(noisy, 97)).mean() > 0.8
