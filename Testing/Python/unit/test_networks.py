"""Backbones, rotations, the attention network, what networks are shown, and their settings on cards."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import roma
import torch
from skimage.filters import sobel_h, sobel_v

from Testing.Python.unit.exposures import expose
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.attention_pictures import attention_picture
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import point_distance
from XVRegistrationLib.geometry.views import PoseRange, draw_poses
from XVRegistrationLib.imaging.resample import cover_as, resample
from XVRegistrationLib.networks import settings as known
from XVRegistrationLib.networks.attention import gradient_images
from XVRegistrationLib.networks.backbones import create_backbone
from XVRegistrationLib.networks.create import create_network, settings_of_card
from XVRegistrationLib.networks.pose_network import PoseNetwork
from XVRegistrationLib.networks.predict import network_camera
from XVRegistrationLib.networks.rotations import ROTATIONS
from XVRegistrationLib.networks.settings import NetworkSettings, attention_settings, network_named
from XVRegistrationLib.registration.hypotheses import propose
from XVRegistrationLib.registration.model import load_model, prepare_model, save_model
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.registration.several import register_views
from XVRegistrationLib.rendering.render import render

SMALL = {"backbone": "mobilenetv4_conv_small_050", "pixels": 64, "head_channels": 32}
NETWORKS = [
    NetworkSettings(**SMALL, rotation="quaternion_adjugate", normalization="group"),
    NetworkSettings(**SMALL, rotation="euler"),
    NetworkSettings(**SMALL, architecture="attention", rotation="6d"),
]
RANGE = PoseRange((10.0, 10.0, 10.0), (15.0, 15.0, 15.0))


def numbers_of(rotation, matrices):
    """The network's numbers of rotations, by roma and not by our code."""
    if rotation == "6d":
        return matrices[:, :, :2].reshape(-1, 6)
    if rotation == "euler":
        return torch.stack(roma.rotmat_to_euler("ZXY", matrices, as_tuple=True), dim=-1)
    q = roma.quat_xyzw_to_wxyz(roma.rotmat_to_unitquat(matrices))
    rows, columns = torch.triu_indices(4, 4)
    return (q[:, :, None] * q[:, None, :])[:, rows, columns]


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_rotations_come_back_from_their_numbers_with_finite_gradients(rotation):
    torch.manual_seed(0)
    matrices = torch.cat([torch.eye(3, dtype=torch.float64)[None], roma.random_rotmat(200, dtype=torch.float64)])
    numbers = numbers_of(rotation, matrices).requires_grad_()
    made = ROTATIONS[rotation].matrices(numbers)
    torch.testing.assert_close(made, matrices, atol=1e-9, rtol=0)
    # Of numbers that no rotation has: still a rotation, which can be learnt from.
    wild = torch.randn(200, numbers.shape[1], dtype=torch.float64, requires_grad=True)
    turned = ROTATIONS[rotation].matrices(wild)
    torch.testing.assert_close(turned @ turned.mT, torch.eye(3, dtype=torch.float64).expand(200, 3, 3))
    torch.testing.assert_close(turned.det(), torch.ones(200, dtype=torch.float64))
    for values, result in ((numbers, made), (wild, turned)):
        weights = torch.randn(result.shape, dtype=torch.float64)
        (gradient,) = torch.autograd.grad((result * weights).sum(), values)
        assert torch.isfinite(gradient).all()
        assert (gradient.norm(dim=1) > 1e-6).all()
    identity = torch.tensor(ROTATIONS[rotation].identity)[None]
    torch.testing.assert_close(ROTATIONS[rotation].matrices(identity), torch.eye(3)[None])


@pytest.mark.parametrize("settings", NETWORKS, ids=lambda s: f"{s.architecture}-{s.rotation}")
def test_networks_begin_at_the_nominal_view_and_learn(settings):
    """Four images whose pose is known are learnt by heart, through whatever the network is made of."""
    torch.manual_seed(0)
    network = create_network(settings)
    images = torch.rand(4, 64, 64).cumsum(dim=2)
    rotation, shift = network.eval()(images)
    assert float(roma.rotmat_geodesic_distance(rotation, torch.eye(3).expand(4, 3, 3)).max().detach()) < np.radians(3)
    assert float(shift.detach().abs().max()) < 3
    true_rotation, true_shift = roma.rotvec_to_rotmat(0.3 * torch.randn(4, 3)), 20 * torch.randn(4, 3)
    optimizer = torch.optim.AdamW(network.train().parameters(), 2e-3)
    losses = []
    for _ in range(15):
        rotation, shift, regulariser = network.learning(images)
        angle = roma.rotmat_geodesic_distance(rotation, true_rotation)
        loss = 100 * angle.mean() + (shift - true_shift).norm(dim=1).mean()
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        (loss if regulariser is None else loss + 5 * regulariser.mean()).backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]
    assert (regulariser is not None) == (settings.architecture == "attention")


@pytest.mark.parametrize("name", ["resnet18", "efficientnet_b0", "mobilenetv4_conv_small", "regnety_002"])
def test_group_normalisation_replaces_all_batch_normalisation(name):
    torch.manual_seed(0)
    plain, size = create_backbone(NetworkSettings(backbone=name, pixels=64))
    grouped, same = create_backbone(NetworkSettings(backbone=name, pixels=64, normalization="group"))
    assert size == same
    kinds = [[m for m in b.modules() if isinstance(m, torch.nn.BatchNorm2d)] for b in (plain, grouped)]
    groups = [m for m in grouped.modules() if isinstance(m, torch.nn.GroupNorm)]
    assert len(kinds[0]) == len(groups) > 5
    assert not kinds[1]
    for group in groups:
        assert group.num_groups == max(n for n in range(1, 33) if group.num_channels % n == 0)
    # timm's normalisations end in an activation: none is lost.
    shapes = [
        sum("act" in n and not isinstance(m, torch.nn.Identity) for n, m in b.named_modules()) for b in (plain, grouped)
    ]
    assert shapes[0] == shapes[1]
    images = torch.rand(4, 1, 64, 64)
    torch.testing.assert_close(grouped.train()(images)[1:2], grouped.eval()(images[1:2]), atol=1e-4, rtol=1e-3)


def test_what_cannot_be_a_network_is_refused():
    for wrong, reason in (
        ({"rotation": "9d"}, "no rotation '9d'"),
        ({"architecture": "transformer"}, "no architecture"),
        ({"normalization": "layer"}, "no normalisation"),
        ({"attention_heads": 3}, "divided among 3 heads"),
        ({"translation_scale": 0.0}, "positive"),
    ):
        with pytest.raises(InputError, match=reason):
            NetworkSettings(**wrong)
    for backbone, reason in (
        ("hf-hub:someone/something", "no timm backbone"),
        ("vit_tiny_patch16_224", "no feature map|cannot see"),
    ):
        with pytest.raises(InputError, match=reason):
            create_network(NetworkSettings(backbone=backbone))


def test_networks_have_names_and_what_is_said_beside_one_stays():
    usual = NetworkSettings(normalization="group", translation_scale=12.0)
    assert network_named("default", usual) == usual
    assert network_named("psss", usual) == dataclasses.replace(attention_settings(12.0), normalization="group")
    assert network_named("resnet18", usual) == dataclasses.replace(usual, backbone="resnet18")
    assert set(ROTATIONS) == set(known.ROTATIONS)


def test_cards_keep_settings_and_older_cards_are_read():
    for settings in (*NETWORKS, attention_settings(12.0)):
        assert settings_of_card(json.loads(json.dumps(settings.to_dict()))) == settings
    old = {"backbone": "mobilenetv4_conv_small", "pixels": 96, "head_channels": 128, "translation_scale": 30.0}
    assert settings_of_card(old) == NetworkSettings(backbone=old["backbone"], pixels=96)
    # The names and shapes of the weights that models of the first version hold beside such a card.
    weights = {k: tuple(v.shape) for k, v in create_network(settings_of_card(old)).state_dict().items()}
    assert weights["head.0.weight"] == (128, 960, 1, 1)
    assert weights["head.3.weight"] == (256, 1152)
    assert weights["head.5.bias"] == (9,)
    assert "backbone.model.conv_stem.weight" in weights
    with pytest.raises(InputError, match="does not know: dropout"):
        settings_of_card({**old, "dropout": 0.1})
    with pytest.raises(InputError, match="damaged"):
        settings_of_card({"architecture": "xvr"})


def test_attention_maps_are_the_softmax_of_queries_and_keys(tmp_path):
    torch.manual_seed(0)
    network = create_network(dataclasses.replace(attention_settings(), pixels=96)).eval()
    images = torch.rand(2, 96, 96).cumsum(dim=1)
    maps = network.attention_maps(images)
    assert maps.shape == (2, 4, 3, 3)
    torch.testing.assert_close(maps.sum(dim=(2, 3)), torch.ones(2, 4))
    caught = []
    network.attention.register_forward_hook(lambda _, inputs, __: caught.append(inputs[0]))
    network(images)
    size = network.settings.head_channels
    weight, bias = network.attention.in_proj_weight.detach(), network.attention.in_proj_bias.detach()
    query, key = (
        (caught[0].detach() @ weight[i * size : (i + 1) * size].T + bias[i * size : (i + 1) * size])
        .unflatten(-1, (4, size // 4))
        .transpose(1, 2)
        for i in (0, 1)
    )
    expected = torch.softmax(query @ key.mT / (size // 4) ** 0.5, dim=-1).mean(dim=2).reshape(2, 4, 3, 3)
    torch.testing.assert_close(maps, expected, atol=1e-5, rtol=1e-4)
    attention_picture(tmp_path / "attention.png", images[0], maps[0])
    assert (tmp_path / "attention.png").read_bytes().startswith(b"\x89PNG")


def test_the_decoder_is_given_the_images_gradients():
    images = torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(0)).cumsum(dim=1)
    made = gradient_images(images, 8)
    for image, got in zip(images.double().numpy(), made, strict=True):
        field = np.hypot(sobel_h(image), sobel_v(image))
        means = field.reshape(8, 4, 8, 4).mean(axis=(1, 3))[1:-1, 1:-1]  # skimage leaves the border at 0
        assert np.corrcoef(means.ravel(), got[1:-1, 1:-1].numpy().ravel())[0, 1] > 0.9999


class Spy(PoseNetwork):
    """Predicts a motion that it is told, and keeps what it is shown."""

    def __init__(self, motion) -> None:
        super().__init__()
        self.settings = NetworkSettings(pixels=48)
        self.motion = torch.from_numpy(np.asarray(motion)).float()
        self.seen = []

    def forward(self, images):
        self.seen.append(images[0])
        return self.motion[None, :3, :3], self.motion[None, :3, 3]


@pytest.fixture(scope="module")
def model(phantom, camera):
    return prepare_model(phantom, camera, pose_range=RANGE, bank_size=64)


def drawn_camera(rng):
    """Cropped or larger, of unequal spacing, off-centre, rectangular, mirrored or not, at another distance."""
    size = (int(rng.integers(90, 260)), int(rng.integers(90, 260)))
    spacing = tuple(rng.uniform(1.2, 3.6, 2).tolist())
    middle = (
        (size[0] - 1) / 2 + rng.uniform(-0.12, 0.12) * size[0],
        (size[1] - 1) / 2 + rng.uniform(-0.12, 0.12) * size[1],
    )
    return Intrinsics(float(rng.uniform(900, 1250)), spacing, middle, size, bool(rng.integers(2)))


@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_detector_the_network_sees_what_its_own_camera_would(model, seed):
    rng = np.random.default_rng(seed)
    detector = drawn_camera(rng)
    truth = draw_poses(model.view, RANGE, 1, rng)[0]
    spy = Spy(model.view.relative(truth))
    xray = expose(model.pyramid.finest, truth, detector)
    shown = render(model.pyramid.finest, truth[None], detector, 1.5)[0]
    found = propose(dataclasses.replace(model, network=spy), shown, xray, ("network",))
    own = network_camera(model.intrinsics, 48)
    fine = render(model.pyramid.finest, truth[None], own.resized((192, 192)), 1.5)
    expected = cover_as(torch.nn.functional.avg_pool2d(fine, 4), own, detector)[0]
    _, covered = resample(shown, detector, own)
    difference = (spy.seen[0] - expected).abs()
    assert float(difference[covered].mean()) < 0.03 * float(expected[covered].mean())
    # Beside the detector that is its border, of whole pixels.
    assert float(difference.mean()) < 0.06 * float(expected.mean())
    np.testing.assert_allclose(found.poses[0], truth, atol=1e-3)


def test_registration_starts_from_the_network_for_any_detector(model, points):
    rng = np.random.default_rng(5)
    truth = draw_poses(model.view, RANGE, 1, rng)[0]
    near = model.view.relative(truth)
    near[:3, 3] += [3.0, -2.0, 5.0]
    for mirrored in (False, True):
        detector = dataclasses.replace(drawn_camera(rng), mirrored=mirrored)
        spy = Spy(near)
        xray = expose(model.pyramid.finest, truth, detector)
        found = register_xray(dataclasses.replace(model, network=spy), xray, ("network",))
        assert found.winner == "network"
        assert point_distance(found.pose, truth, points) < 1.0
    spy = Spy(near)
    xrays = [expose(model.pyramid.finest, truth, drawn_camera(rng)) for _ in range(2)]
    register_views(dataclasses.replace(model, network=spy), xrays, [np.eye(4), np.eye(4)], ("network",))
    assert len(spy.seen) == 2


def test_a_model_with_any_network_is_saved_and_read(model, tmp_path):
    network = create_network(NETWORKS[0]).eval()
    save_model(tmp_path, dataclasses.replace(model, network=network, training={"steps": 1}))
    again = load_model(tmp_path, model.volume).network
    images = torch.rand(2, 64, 64)
    for a, b in zip(network(images), again(images), strict=True):
        torch.testing.assert_close(a, b)
