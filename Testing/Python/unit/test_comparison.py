"""Pictures and maps that compare an X-ray with its DRR."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
import torch
import torch.nn.functional as functional

from XVRegistrationLib.cli.main import main
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.imaging.volume import Volume, read_volume, write_volume
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.networks.attention import AttentionNetwork
from XVRegistrationLib.networks.attention_on_xray import attends, attention_on_xray
from XVRegistrationLib.networks.create import create_network
from XVRegistrationLib.networks.settings import ATTENTION, NetworkSettings
from XVRegistrationLib.panel import comparison_pictures as pictures
from XVRegistrationLib.registration.error_map import error_map
from XVRegistrationLib.registration.model import prepare_model, save_model
from XVRegistrationLib.registration.search import prepare_xray
from XVRegistrationLib.registration.similarity import Similarity, normal_equations, patch_agreement
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.pyramid import Pyramid
from XVRegistrationLib.rendering.render import render

RNG = np.random.default_rng(5)


def test_an_image_is_resized_over_the_same_area():
    ramp = np.add.outer(np.arange(40.0), 2 * np.arange(60.0)).astype(np.float32)
    coarse = pictures.resized(ramp, (10, 15))
    np.testing.assert_allclose(coarse[3:7, 3:12], ramp.reshape(10, 4, 15, 4).mean(axis=(1, 3))[3:7, 3:12], rtol=1e-4)
    fine = pictures.resized(coarse, (40, 60))
    np.testing.assert_allclose(fine[10:30, 15:45], ramp[10:30, 15:45], rtol=1e-4)
    assert pictures.resized(np.ones((7, 5)), (13, 3)) == pytest.approx(1.0)


def test_a_window_goes_from_black_to_white_and_the_other_way():
    values = np.array([[-1.0, 2.0, 3.0, 9.0, np.nan]])
    np.testing.assert_allclose(pictures.windowed(values, 1.0, 5.0)[0], [0, 0.25, 0.5, 1, 0])
    np.testing.assert_allclose(pictures.windowed(values, 1.0, 5.0, inverted=True)[0], [1, 0.75, 0.5, 0, 0])


def test_tiles_edges_and_differences_show_what_is_there():
    a, b = (np.full((64, 96), v, dtype=np.float32) for v in (0.25, 0.75))
    board = pictures.checkerboard(a, b)
    assert set(np.unique(board)) == {64, 191}
    assert board[0, 0, 0] == 64
    assert (board == 64).mean() == pytest.approx(0.5, abs=0.05)

    y, x = np.mgrid[:96, :96]
    disc = (np.hypot(x - 47.5, y - 47.5) < 30).astype(np.float32)
    radius = np.hypot(x - 47.5, y - 47.5)[pictures.edge_mask(disc)]
    assert np.abs(radius - 30).max() < 2.0
    assert 100 < radius.size < 400  # a line, all around

    smooth = pictures.resized(RNG.random((8, 8)).astype(np.float32), (64, 64)) * 0.8 + 0.1
    assert pictures.difference(smooth, 0.5 * smooth + 0.2).max() <= 1  # scale and offset are no difference
    more = 0.5 * smooth + 0.2
    more[:32] += 0.05
    shown = pictures.difference(smooth, more).astype(int)
    assert (shown[:30, :, 0] > shown[:30, :, 2]).mean() > 0.9  # orange where the DRR is denser
    assert (shown[34:, :, 2] > shown[34:, :, 0]).mean() > 0.9


def test_agreement_in_patches_is_what_the_similarity_is_made_of():
    images = torch.from_numpy(RNG.random((2, 40, 48)).astype(np.float32))
    xray = images[0] + 0.5 * torch.from_numpy(RNG.random((40, 48)).astype(np.float32))
    similarity = Similarity((40,))
    square = images[:, :, :40]
    ncc, share = patch_agreement(square, xray[:, :40], similarity, 40, 40)
    cost = normal_equations(square, square[:, None][:, :0], xray[:, :40], Similarity((0,))).cost
    np.testing.assert_allclose(1 - (ncc * share).sum(dim=(1, 2)), cost, atol=0.02)
    ncc, share = patch_agreement(images, xray, similarity, 8, 2)
    assert ncc.shape == share.shape == (2, 17, 21)
    np.testing.assert_allclose(share.sum(dim=(1, 2)), 1.0, rtol=1e-6)
    assert ncc[0].mean() > 0.6
    assert abs(ncc[1].mean()) < 0.1


def test_the_error_map_is_bright_where_something_lies_over_the_volume():
    values = np.full((40, 40, 40), -1000, np.int16)
    values[9:31, 9:31, 9:31] = (200 * RNG.random((22, 22, 22))).astype(np.int16)
    values[14:20, 12:28, 12:18] = 1200
    matrix = np.diag([4.0, 4.0, 4.0, 1.0])
    volume = Volume(values, matrix)
    camera = Intrinsics.centered(1000.0, (1.5, 1.5), (160, 128))
    center = tuple(float(v) for v in volume.center)
    pose = NominalView("AP", center, 700.0).pose
    pyramid = Pyramid(density_grid(volume))
    image = render(pyramid.finest, pose[None], camera)[0].numpy()
    image[60:80, 40:60] += 2.0  # an instrument
    found = error_map(pyramid, prepare_xray(Xray("x", image, camera, "attenuation")), pose, volume.center)
    assert found.shape == (128, 160)
    assert found.min() >= 0
    assert found.max() <= 1
    inside = found[56:84, 36:64]
    outside = found.copy()
    outside[48:92, 28:72] = 0
    assert inside.max() > 0.4
    assert np.percentile(outside, 99) < 0.25 * inside.max()


def test_the_error_map_says_nothing_where_the_xray_shows_what_the_volume_lacks():
    values = np.full((60, 40, 40), -1000, np.int16)
    values[5:, 9:31, 9:31] = (200 * RNG.random((55, 22, 22))).astype(np.int16)
    for k in range(8, 60, 12):
        values[k : k + 6, 12:28, 14:24] = 1000
    whole = Volume(values, np.diag([4.0, 4.0, 4.0, 1.0]))
    part = Volume(values[:40], whole.ijk_to_ras)  # its upper third was not scanned
    camera = Intrinsics.centered(1000.0, (1.5, 1.5), (160, 240))
    center = tuple(float(v) for v in whole.center)
    pose = NominalView("AP", center, 700.0).pose
    image = render(density_grid(whole), pose[None], camera)[0].numpy()
    found = error_map(
        Pyramid(density_grid(part)), prepare_xray(Xray("x", image, camera, "attenuation")), pose, part.center
    )
    row = int(project([center[0], center[1], 4.0 * 39.5], pose, camera)[1] * found.shape[0] / 240)
    assert np.isnan(found[: row - 16, 64:106]).all()
    held = found[row + 16 :]
    assert np.isfinite(held).mean() > 0.9
    assert np.nanmax(found) < 0.2, "at the true pose nothing is wrong"

    shown = pictures.map_over(np.full(found.shape, 0.5, np.float32), found)
    lacking = shown[: row - 16, 64:106]
    assert lacking.max() < 64, "dimmed"
    assert np.ptp(lacking.astype(int), axis=2).max() == 0, "and without a colour"


def test_attention_lies_on_the_xray_and_other_networks_have_none():
    settings = NetworkSettings(architecture=ATTENTION)
    torch.manual_seed(0)
    network = create_network(settings)
    model_camera = Intrinsics.centered(1000.0, (4.0, 4.0), (64, 64))
    # Twice as wide as what the network sees: beside that there is no attention.
    xray_camera = Intrinsics.centered(1000.0, (4.0, 4.0), (128, 64))
    image = torch.from_numpy(RNG.random((64, 128)).astype(np.float32))
    assert attends(network)
    found = attention_on_xray(network, model_camera, image, xray_camera)
    assert found.shape == (64, 128)
    assert np.ptp(found[:, 32:96]) > 0.8
    assert not found[:, :31].any()
    assert not found[:, 97:].any()
    other = create_network(NetworkSettings())
    assert not attends(other)
    for without in (other, None):
        with pytest.raises(InputError, match="no attention"):
            attention_on_xray(without, model_camera, image, xray_camera)


class _LooksAtDense(AttentionNetwork):
    """Attends to what is dense, so that it is known where its map has to be bright."""

    def attention_maps(self, images):
        return functional.avg_pool2d(images[:, None], 4)


@pytest.mark.parametrize("mirrored", [False, True])
def test_attention_is_bright_on_what_the_network_looks_at(mirrored):
    network = _LooksAtDense(NetworkSettings(architecture=ATTENTION))
    camera = Intrinsics.centered(1000.0, (2.0, 2.0), (100, 80), mirrored=mirrored)
    image = torch.zeros(80, 100)
    image[10:20, 70:82] = 3.0  # above and to the right
    found = attention_on_xray(
        network, Intrinsics.centered(1000.0, (4.0, 4.0), (64, 64), mirrored=mirrored), image, camera
    )
    assert found.shape == (80, 100)
    row, column = np.average(np.indices(found.shape).reshape(2, -1), axis=1, weights=found.ravel())
    assert (row, column) == pytest.approx((14.5, 75.5), abs=2.0)


def test_the_command_draws_where_a_network_looks(phantom, camera, tmp_path, capsys):
    write_volume(tmp_path / "ct.nrrd", phantom)
    model = prepare_model(read_volume(tmp_path / "ct.nrrd"), camera, bank_size=32)
    save_model(tmp_path / "bank", model)
    torch.manual_seed(0)
    model.network = create_network(NetworkSettings(architecture=ATTENTION))
    save_model(tmp_path / "model", model)
    p = render(model.pyramid.finest, model.view.pose[None], camera)[0].numpy()
    sitk.WriteImage(sitk.GetImageFromArray(np.round(60000 * np.exp(-p)).astype(np.uint16)), str(tmp_path / "a.png"))
    words = [str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "--sid", "1020", "--spacing", "3", "3.3"]
    words += ["--bright", "radiation", "--attention"]
    assert main(["register", str(tmp_path / "bank"), *words]) == 2
    assert "no attention to show; train one with the network psss" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["register", str(tmp_path / "model"), *words]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.json", "a.png", "a-attention.png"}
