"""The pose network and its training: losses, randomisation, checkpoints, and going on after an interruption."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest
import roma
import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.views import PoseRange
from XVRegistrationLib.imaging.volume import LabelMap
from XVRegistrationLib.jobs.train_patient import resume_training, start_patient, train_patient
from XVRegistrationLib.networks.create import create_network
from XVRegistrationLib.networks.pose_network import relative_motions
from XVRegistrationLib.networks.predict import network_camera, predict
from XVRegistrationLib.networks.settings import NetworkSettings
from XVRegistrationLib.registration.card import read_card
from XVRegistrationLib.registration.library import models_in
from XVRegistrationLib.registration.model import load_model
from XVRegistrationLib.rendering.render import render
from XVRegistrationLib.rendering.structure_grid import structure_grid
from XVRegistrationLib.training.beam_objects import ObjectShares
from XVRegistrationLib.training.checkpoints import kept_settings
from XVRegistrationLib.training.losses import geodesic_distance
from XVRegistrationLib.training.objective import LossWeights, Weight
from XVRegistrationLib.training.randomize import randomized
from XVRegistrationLib.training.trainer import TrainingSettings
from XVRegistrationLib.training.xray_sources import Randomization

RANGE = PoseRange((15.0, 15.0, 15.0), (20.0, 20.0, 20.0))


def test_an_untrained_network_predicts_the_nominal_view(phantom, camera):
    torch.manual_seed(0)
    network = create_network(NetworkSettings()).eval()
    rotation, shift = network(torch.rand(3, 64, 64))
    assert rotation.shape == (3, 3, 3)
    torch.testing.assert_close(rotation.det(), torch.ones(3))
    angle = roma.rotmat_geodesic_distance(rotation, torch.eye(3).expand(3, 3, 3))
    assert float(angle.detach().max()) < np.radians(3)
    assert float(shift.detach().abs().max()) < 3


def test_brightness_and_contrast_of_an_xray_do_not_change_the_prediction():
    torch.manual_seed(0)
    network = create_network(NetworkSettings()).eval()
    image = torch.rand(2, 64, 64)
    for a, b in zip(network(image), network(5 * image + 3), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


def test_motions_are_rigid_in_double_precision():
    rotation = roma.random_rotmat(4) + 1e-4 * torch.randn(4, 3, 3)
    motion = relative_motions(rotation, torch.randn(4, 3))
    product = motion[:, :3, :3] @ motion[:, :3, :3].transpose(1, 2)
    torch.testing.assert_close(product, torch.eye(3, dtype=torch.float64).expand(4, 3, 3), atol=1e-12, rtol=0)


def test_an_unknown_backbone_is_refused():
    with pytest.raises(InputError, match="no timm backbone called 'resnot'"):
        create_network(NetworkSettings(backbone="resnot"))


def test_timm_loads_beside_a_torchvision_whose_compiled_part_does_not():
    """What a CPU torch beside a CUDA torchvision gives: whatever is installed here, both must be importable after."""
    create_network(NetworkSettings())
    assert "timm" in sys.modules
    assert "torchvision" in sys.modules


def test_the_geodesic_distance_is_zero_for_the_same_pose_and_counts_angle_and_shift():
    rotation, shift = roma.random_rotmat(5), torch.randn(5, 3)
    assert float(geodesic_distance(rotation, shift, rotation, shift, 100.0).max()) < 0.1
    turned = rotation @ roma.rotvec_to_rotmat(torch.tensor([0.03, 0.0, 0.0]))
    moved = geodesic_distance(turned, shift + torch.tensor([4.0, 0, 0]), rotation, shift, 100.0)
    torch.testing.assert_close(moved, torch.full((5,), 5.0), atol=1e-2, rtol=0)


def test_the_geodesic_distance_has_a_finite_gradient_at_the_truth():
    rotation = torch.eye(3).repeat(2, 1, 1).requires_grad_()
    shift = torch.zeros(2, 3, requires_grad=True)
    geodesic_distance(rotation, shift, torch.eye(3).repeat(2, 1, 1), torch.zeros(2, 3), 100.0).sum().backward()
    assert torch.isfinite(rotation.grad).all()
    assert torch.isfinite(shift.grad).all()


def test_randomised_images_are_finite_different_and_repeatable(phantom, camera):
    from XVRegistrationLib.rendering.grid import density_grid

    small = camera.resized((48, 45))
    view = np.eye(4)
    view[:3] = [[-1, 0, 0, 12.0], [0, 0, -1, 670.0], [0, -1, 0, 55.0]]
    images = render(density_grid(phantom), view[None].repeat(8, axis=0), small)
    first = randomized(images, small.spacing, torch.Generator().manual_seed(1))
    assert torch.isfinite(first).all()
    assert torch.equal(first, randomized(images, small.spacing, torch.Generator().manual_seed(1)))
    flat = first[:, 5:-5, 5:-5].flatten(1)  # without a collimator's blades
    flat = flat - flat.mean(dim=1, keepdim=True)
    flat = flat / flat.norm(dim=1, keepdim=True)
    correlation = flat @ flat.T
    off_diagonal = correlation[~torch.eye(8, dtype=torch.bool)]
    assert float(off_diagonal.min()) > 0.3  # still the same patient
    assert float(off_diagonal.max()) < 0.9999


def test_the_networks_camera_keeps_the_principal_point_in_its_place(camera):
    square = network_camera(camera, 96)
    assert square.size == (96, 96)
    assert square.extent[0] == pytest.approx(max(camera.extent))
    for axis in (0, 1):
        ours = (square.principal_point[axis] - 47.5) * square.spacing[axis]
        theirs = (camera.principal_point[axis] - (camera.size[axis] - 1) / 2) * camera.spacing[axis]
        assert ours == pytest.approx(theirs)


def steps(count: int) -> TrainingSettings:
    """A budget that does not depend on how fast the computer is."""
    return TrainingSettings(most_steps=count)


class EnoughError(Exception):
    """Ends a training as Ctrl-C would."""


def test_training_is_interrupted_resumed_and_gets_better(phantom, camera, tmp_path):
    """One way through: a bank, a training that is stopped after its first checkpoint, going on, a model that predicts."""
    folder = tmp_path / "model"
    model = start_patient(folder, phantom, camera, pose_range=RANGE)
    seen = []

    def stop_after_the_first_checkpoint(progress) -> None:
        seen.append(progress)
        if progress.validation is not None:
            raise EnoughError

    with pytest.raises(EnoughError):
        train_patient(
            folder,
            model,
            minutes=600,
            network=NetworkSettings(pixels=32),
            settings=steps(40),
            progress=stop_after_the_first_checkpoint,
        )
    stopped = read_card(folder)["training"]
    assert 0 < stopped["images"] == seen[-1].images
    interrupted = load_model(folder, phantom)
    assert interrupted.network is not None

    resumed = resume_training(folder, volume=phantom, settings=steps(80))
    assert resumed.training["images"] == 80 * 16 > stopped["images"]
    assert resumed.training["history"][0] == stopped["history"][0]
    assert resumed.training["history"][-1]["validation"] < stopped["history"][0]["validation"]
    assert len(list(folder.glob("network-*.safetensors"))) == 1
    assert resumed.network is not None
    eye = render(resumed.pyramid.finest, resumed.view.pose[None], network_camera(camera, 32), 2.0)
    assert predict(resumed.network, resumed.view, eye).shape == (1, 4, 4)
    with pytest.raises(InputError, match="already"):
        resume_training(folder, volume=phantom, minutes=1e-6)


def test_a_patient_is_trained_by_the_settings_that_are_given_and_goes_on_by_them(phantom, camera, tmp_path):
    """Losses, also of structures, the pool and what is random; the folder keeps them for a process that goes on."""
    folder = tmp_path / "model"
    model = start_patient(folder, phantom, camera, pose_range=RANGE, anatomy="thorax-ap")
    bones = structure_grid(
        phantom, LabelMap((phantom.array > 300).astype(np.uint8), phantom.ijk_to_ras, {1: "bones"}), [1]
    )
    settings = TrainingSettings(
        batch=4,
        most_steps=2,
        pool=8,
        losses=LossWeights(dice=Weight(10.0), projected=Weight(0.5, begins=0.3)),
        randomization=Randomization(objects=ObjectShares(wires=0.5), beyond=0.0),
    )
    with pytest.raises(InputError, match="needs structures"):
        train_patient(folder, model, settings=settings)
    trained = train_patient(folder, model, minutes=600, seed=7, settings=settings, structures=[bones])
    assert (trained.training["images"], trained.training["seed"], trained.training["budget"]) == (8, 7, 36000.0)
    kept = kept_settings(read_card(folder)["training"], TrainingSettings(), 60.0)
    assert kept == dataclasses.replace(settings, seconds=60.0, seed=7, most_steps=0)
    with pytest.raises(InputError, match="needs structures"):
        resume_training(folder, volume=phantom)
    more = resume_training(folder, volume=phantom, structures=[bones], settings=dataclasses.replace(kept, most_steps=3))
    assert more.training["images"] == 12
    assert models_in(folder)[0][0].anatomy == load_model(folder, phantom).anatomy == "thorax-ap"
    # A learnt network outlives its optimiser.
    (folder / read_card(folder)["files"]["optimizer"]).write_bytes(b"cut short")
    with pytest.raises(
        InputError, match=r"optimizer-\d+\.safetensors is missing or damaged. What it has learnt is whole"
    ):
        resume_training(folder, volume=phantom)
    assert load_model(folder, phantom).network is not None


def test_a_bank_alone_is_given_a_network_from_scratch_when_it_goes_on(phantom, camera, tmp_path):
    start_patient(tmp_path / "model", phantom, camera, pose_range=RANGE)
    with pytest.raises(InputError, match="more than 0"):
        resume_training(tmp_path / "model", volume=phantom, minutes=0)
    model = resume_training(tmp_path / "model", volume=phantom, minutes=0.02, seed=3)
    assert model.network is not None
    assert model.training["seed"] == 3
    assert read_card(tmp_path / "model")["training"] == model.training
    with pytest.raises(InputError, match="already holds a model"):
        start_patient(tmp_path / "model", phantom, camera, pose_range=RANGE)
