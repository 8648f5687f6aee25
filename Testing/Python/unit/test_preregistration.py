"""Patients laid onto a template: found from anywhere, refused where they show something else, and seen alike after it."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
import torch

from Testing.Python.unit.conftest import phantom_hu
from Testing.Python.unit.many_patients import CAMERA, leg, patient
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import (
    invert,
    rigid,
    rotation_angle,
    rotation_from_euler_zxy,
    transform_points,
    translation,
)
from XVRegistrationLib.geometry.views import VIEWS, NominalView, PoseRange, draw_poses
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.rendering.grid import DensityGrid, density_grid
from XVRegistrationLib.rendering.render import render
from XVRegistrationLib.training.patients import PreparedPatient, PreparedPatients, prepare_patient, read_prepared
from XVRegistrationLib.training.preregistration import Placement, checked_place, coarse_template, overlays, place
from XVRegistrationLib.training.task import Task
from XVRegistrationLib.training.validation import Validation

MOTION = rigid(rotation_from_euler_zxy([7.0, -16.0, 10.0]), [150.0, -60.0, 220.0])


@pytest.fixture(scope="module")
def template(phantom) -> Volume:
    return coarse_template(phantom)


@pytest.fixture(scope="module")
def placed(phantom, template) -> Placement:
    return place(Volume(phantom.array, MOTION @ phantom.ijk_to_ras, "moved"), template)


def test_a_patient_who_was_moved_is_found_without_a_start(phantom, placed):
    left = placed.to_template @ MOTION  # the identity, where it is perfect
    assert np.linalg.norm(transform_points(left, phantom.center) - phantom.center) < 2.0
    assert np.degrees(rotation_angle(left[:3, :3])) < 2.0
    assert placed.ok
    assert placed.turn == pytest.approx(np.degrees(rotation_angle(MOTION[:3, :3])), abs=2.0)


def test_another_part_of_the_body_and_too_little_of_it_are_refused(phantom, template):
    half = Volume(phantom.array[:16], phantom.ijk_to_ras, "cut")
    with pytest.raises(InputError, match=r"cut: it does not register to the template: its scan covers \d\d%"):
        checked_place(half, place(half, template))
    other = Volume(leg(), phantom.ijk_to_ras, "leg")
    with pytest.raises(InputError, match=r"leg: it does not register to the template"):
        checked_place(other, place(other, template))
    with pytest.raises(InputError, match="nothing denser than air"):
        place(Volume(np.full((8, 8, 8), -1000), np.eye(4), "air"), template)
    with pytest.raises(InputError, match="no Hounsfield units"):
        place(Volume(np.ones((8, 8, 8)), np.eye(4), "vessels", units="1/mm"), template)


def test_the_pictures_agree_more_after_than_before(phantom, template, placed):
    moved = Volume(phantom.array, MOTION @ phantom.ijk_to_ras, "moved")
    pictures = dict(overlays(moved, template, placed))
    assert list(pictures) == ["coronal, before", "sagittal, before", "coronal, after", "sagittal, after"]
    for plane in ("coronal", "sagittal"):
        before, after = (np.abs(pictures[f"{plane}, {when}"][..., 0] - pictures[f"{plane}, {when}"][..., 1]).mean()
                         for when in ("before", "after"))  # fmt: skip
        assert after < 0.2 * before


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_that_moves_with_the_patient_predicts_the_same_of_the_same_place(name):
    view = NominalView(name, (10.0, -20.0, 30.0), 650.0)
    poses = draw_poses(view, PoseRange(), 5, np.random.default_rng(1))
    moved = view.moved(MOTION)
    np.testing.assert_allclose(moved.absolute(view.relative(poses)), MOTION @ poses, atol=1e-9)
    np.testing.assert_allclose(moved.relative(MOTION @ poses), view.relative(poses), atol=1e-9)
    np.testing.assert_allclose(moved.moved(invert(MOTION)).pose, view.pose, atol=1e-9)


def test_a_prepared_patient_is_seen_in_the_templates_space_as_the_patient_is_in_their_own(
    phantom, template, placed, tmp_path
):
    moved = Volume(phantom.array, MOTION @ phantom.ijk_to_ras, "moved")
    prepared = prepare_patient(tmp_path / "a", moved, placed, 3.0)
    view = NominalView("AP", tuple(template.center.tolist()), 700.0)
    poses = draw_poses(view, PoseRange(), 2, np.random.default_rng(3))
    there = render(prepared.grid(), poses, CAMERA)
    here = render(density_grid(moved), invert(placed.to_template) @ poses, CAMERA)
    assert float((there - here).abs().max()) < 0.01 * float(here.max())

    again = read_prepared(tmp_path / "a")
    assert again.fingerprint == prepared.fingerprint == moved.fingerprint
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:1000])
    assert read_prepared(tmp_path / "a") is None, "a file that was cut short is made again"
    with pytest.raises(InputError, match=r"a\.npy cannot be read"):
        prepared.grid()


def test_patients_take_turns_in_a_memory_that_holds_two_of_them(tmp_path):
    hu = phantom_hu((16, 24, 24))
    still = Placement(translation(np.zeros(3)), 1.0, 1.0, 1.0, 0.0)
    prepared = [prepare_patient(tmp_path / str(n), patient(hu, n), still, 3.0) for n in range(6)]
    size = 2 * max(p.grid().data.numel() for p in prepared)
    patients = PreparedPatients(prepared[1:], prepared[:1], memory=2 * size, seed=[4])
    place_of = {round(float(p.grid_to_template[0, 3]), 6): n for n, p in enumerate(prepared)}
    seen = np.zeros(6, dtype=int)
    for _ in range(200):
        grids = patients.draw(3.0)
        assert patients.kept == len(grids) == 2
        for grid in grids:
            seen[place_of[round(float(grid.grid_to_ras[0, 3]), 6)]] += 1
    assert seen[0] == 0, "who is held out is never trained on"
    assert seen[1:].min() > 0.6 * seen[1:].mean()
    (held,) = patients.validation(1.0)
    np.testing.assert_allclose(held.grid_to_ras, prepared[0].grid_to_template)


def test_a_network_is_validated_on_one_patient_after_the_other(tmp_path, monkeypatch):
    """Of many that are held out hardly more than one is in memory, and each shows its part of the X-rays."""
    hu = phantom_hu((16, 24, 24))
    still = Placement(translation(np.zeros(3)), 1.0, 1.0, 1.0, 0.0)
    prepared = [prepare_patient(tmp_path / str(n), patient(hu, n), still, 3.0) for n in range(8)]
    alive: weakref.WeakSet[DensityGrid] = weakref.WeakSet()
    most = []
    read = PreparedPatient.grid

    def counted(self: PreparedPatient) -> DensityGrid:
        grid = read(self)
        alive.add(grid)
        most.append(len(alive))
        return grid

    monkeypatch.setattr(PreparedPatient, "grid", counted)
    volume = patient(hu, 0)
    view = NominalView("AP", tuple(volume.center.tolist()), 700.0)
    patients = PreparedPatients(prepared, prepared)
    task = Task(density_grid(volume), view, PoseRange(), CAMERA, patients=patients)
    Validation(task, CAMERA.resized((16, 16)), np.zeros((4, 3)), torch.device("cpu"))
    assert len(most) == 8
    assert max(most) <= 2
