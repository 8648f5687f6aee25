"""X-rays that are hard: instruments, blades and scatter as protocols make them, and volumes that end within the body."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import xraylib

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.metrics import mtre
from XVRegistrationLib.evaluation.obstacles import (
    IRON,
    TITANIUM,
    Obstacles,
    Rods,
    box_chord,
    collimator_integral,
    draw_instruments,
    instruments_integral,
    rod_chord,
)
from XVRegistrationLib.evaluation.patients import cut_off
from XVRegistrationLib.evaluation.protocol_file import find_protocol, read_protocol
from XVRegistrationLib.evaluation.simulation import Detector, expose
from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.geometry.rigid import rotation_from_vector
from XVRegistrationLib.geometry.views import NominalView, PoseRange, draw_poses
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.registration.bank import bank_features, similarity_where
from XVRegistrationLib.registration.model import prepare_model
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.rendering.grid import beyond, completed, continued, density_grid, matched_to
from XVRegistrationLib.rendering.projected_bounds import covered
from XVRegistrationLib.rendering.render import render

CAMERA = Intrinsics.centered(1000.0, (2.0, 2.0), (128, 96))


def _rays(count: int) -> tuple[np.ndarray, np.ndarray]:
    """A source, and unit directions (count, 3) to points about the origin."""
    rng = np.random.default_rng(3)
    source = np.array([30.0, -500.0, 80.0])
    directions = rng.uniform(-30, 30, (count, 3)) - source
    return source, directions / np.linalg.norm(directions, axis=1, keepdims=True)


def _sampled(source: np.ndarray, directions: np.ndarray, inside) -> np.ndarray:
    """Lengths (N,), mm, in what `inside` says of points (N, M, 3), by samples a fiftieth of a millimetre apart."""
    t = np.arange(450.0, 570.0, 0.02)
    return np.array([0.02 * np.count_nonzero(inside(source + t[:, None] * d)) for d in directions])


def test_chords_through_rods_and_boxes_are_those_of_samples() -> None:
    source, directions = _rays(60)
    start, end, radius = np.array([-20.0, 5.0, -8.0]), np.array([15.0, -9.0, 12.0]), 6.0
    length = np.linalg.norm(end - start)
    axis = (end - start) / length

    def in_rod(p: np.ndarray) -> np.ndarray:
        along = (p - start) @ axis
        across = np.linalg.norm(p - start - along[:, None] * axis, axis=1)
        return (along >= 0) & (along <= length) & (across <= radius)

    axes, place, size = rotation_from_vector([0.4, -0.8, 0.3]), np.array([3.0, -2.0, 5.0]), np.array([4.0, 20.0, 31.0])
    rod = rod_chord(source, directions, start, end, radius)
    box = box_chord(source, directions, place, axes, size)
    assert (rod > 1).mean() > 0.1
    assert (rod == 0).any()
    np.testing.assert_allclose(rod, _sampled(source, directions, in_rod), atol=0.05)
    in_box = _sampled(source, directions, lambda p: (np.abs((p - place) @ axes) <= size / 2).all(axis=1))
    np.testing.assert_allclose(box, in_box, atol=0.05)


def test_metals_attenuate_as_xraylib_says() -> None:
    for z, density, ours in ((26, 7.874, IRON), (22, 4.506, TITANIUM)):
        assert ours == pytest.approx(xraylib.CS_Total(z, 70.0) * density / 10, rel=0.02)


@pytest.mark.parametrize("mirrored", [False, True])
def test_an_instrument_is_shown_where_the_camera_projects_it(mirrored: bool) -> None:
    camera = dataclasses.replace(CAMERA, mirrored=mirrored, principal_point=(50.0, 60.0))
    view = NominalView("AP", (5.0, -10.0, 20.0), 700.0)
    (pose,) = draw_poses(view, PoseRange((10.0, 10.0, 10.0), (20.0, 20.0, 20.0)), 1, np.random.default_rng(1))
    place, half = np.add(view.isocenter, (12.0, 4.0, -9.0)), np.array([0.0, 0.0, 4.0])
    ball = Rods((place - half)[None], (place + half)[None], 4.0, IRON)
    image = instruments_integral([ball], pose, camera)
    rows, columns = np.indices(image.shape)
    found = np.array([(columns * image).sum(), (rows * image).sum()]) / image.sum()
    np.testing.assert_allclose(found, project(place, pose, camera), atol=0.1)
    assert image.max() == pytest.approx(8 * IRON, rel=0.1)


def test_as_many_instruments_as_asked_for_are_drawn_and_openings_lie_within_their_bounds() -> None:
    rng, centre = np.random.default_rng(0), np.array([10.0, 20.0, 30.0])
    wanted = Obstacles((2, 4), (0.4, 0.6), 0.1)
    assert {len(draw_instruments(wanted, centre, rng)) for _ in range(40)} == {2, 3, 4}
    assert draw_instruments(Obstacles(), centre, rng) == []
    assert not collimator_integral(Obstacles(), CAMERA, rng).any()
    short = min(CAMERA.extent) / CAMERA.spacing[0]
    for _ in range(40):
        blades = collimator_integral(wanted, CAMERA, rng)
        side = np.sqrt(np.count_nonzero(blades == 0)) / short
        assert 0.4 * np.sqrt(np.pi / 4) - 0.02 <= side <= 0.62
        rows, columns = np.nonzero(blades == 0)
        off = np.array([columns.mean() - 63.5, rows.mean() - 47.5]) / short
        assert np.abs(off).max() <= 0.12


def test_behind_the_blades_is_scattered_radiation_and_the_exposure_does_not_care() -> None:
    integral = np.full((96, 128), 2.0)
    detector = Detector(0.4, 40.0, 0.0, 1e5, 1.0, 14)
    blades = np.where(np.arange(128) < 64, 0.0, 7.0) * np.ones((96, 1))
    open_, one = expose(integral, CAMERA, detector, np.random.default_rng(1))
    pixels, other = expose(integral, CAMERA, detector, np.random.default_rng(1), blades)
    assert other.photons == one.photons
    near, far = pixels[:, 66].mean() / pixels[:, 60].mean(), pixels[:, 126].mean() / pixels[:, 60].mean()
    assert 0.1 < near < 0.3
    assert far < near / 2
    assert open_[:, 126].mean() > 0.9 * open_[:, 60].mean()


def test_protocols_say_how_hard_their_x_rays_are(tmp_path) -> None:
    hard = read_protocol(find_protocol("hard"))
    assert hard.obstacles == Obstacles((1, 4), (0.45, 0.8), 0.15)
    assert hard.volume.kept == (0.75, 1.0, 0.6)
    assert read_protocol(find_protocol("psss")).obstacles is None
    text = find_protocol("hard").read_text()
    for wrong, words in {
        "instruments = [1.5, 4]": "obstacles.instruments must be two whole numbers",
        "instruments = [4, 1]": "obstacles.instruments must begin with the smaller",
        "screws = 3": "obstacles.screws is not a field",
    }.items():
        (tmp_path / "p.toml").write_text(text.replace("instruments = [1, 4]", wrong))
        with pytest.raises(InputError, match=words):
            read_protocol(tmp_path / "p.toml")
    (tmp_path / "p.toml").write_text(text.replace("kept = [0.75, 1.0, 0.6]", "kept = [0.75, 1.0, 1.6]"))
    with pytest.raises(InputError, match=r"volume\.kept must be shares"):
        read_protocol(tmp_path / "p.toml")


def test_a_cut_volume_lies_where_it_did(phantom) -> None:
    part = cut_off(phantom, (0.5, 1.0, 0.6))
    np.testing.assert_allclose(part.center, phantom.center, atol=1e-9)
    assert part.array.shape == (28, 72, 40)
    np.testing.assert_array_equal(part.array, phantom.array[10:38, :, 20:60])
    assert cut_off(phantom, (1.0, 1.0, 1.0)) is phantom


def test_what_lies_beyond_a_volume_is_guessed_at_its_cut_faces_alone(phantom, camera) -> None:
    whole = density_grid(phantom)
    assert beyond(whole) is None
    part = density_grid(cut_off(phantom, (1.0, 1.0, 0.5)))
    rest = beyond(part)
    assert rest is not None
    view = NominalView("AP", tuple(map(float, phantom.center)), 700.0)
    poses = draw_poses(view, PoseRange(), 4, np.random.default_rng(0))
    cover = covered(rest, poses, camera)
    lost = render(whole, poses, camera, 2.0) - render(part, poses, camera, 2.0)
    # What a part lacks of the whole is not counted, and much of the rest is.
    assert float((cover * (lost > 0.4)).mean()) < 0.01
    assert 0.3 < float(cover.mean()) < 0.95
    # Where nothing of the body is beyond, all counts.
    assert float(cover[lost < 1e-6].mean()) > 0.6


def test_a_body_that_ends_where_air_was_left_out_is_not_cut_off() -> None:
    array = np.full((32, 32, 32), -1000, np.int16)
    array[:, 8:24, 8:24] = 100  # from end to end along k, and flush with the bricks that are kept across it
    grid = density_grid(Volume(array, np.diag([3.0, 3.0, 3.0, 1.0]), "post"))
    assert grid.whole == ((True, True), (True, True), (False, False))
    rest = beyond(grid, voxel=3.0)
    assert rest is not None
    longer = continued(grid)
    for found in (rest, longer):
        assert found.data.shape[1:] == grid.data.shape[1:]
        assert found.data.shape[0] > grid.data.shape[0]


def test_a_completed_volume_is_itself_where_it_is_and_a_share_of_the_guess_around_it(phantom, camera) -> None:
    part = matched_to(density_grid(cut_off(phantom, (1.0, 1.0, 0.5))), 7.0)
    rest = beyond(density_grid(cut_off(phantom, (1.0, 1.0, 0.5))), voxel=7.0)
    assert rest is not None
    view = NominalView("AP", tuple(map(float, phantom.center)), 700.0)
    poses = draw_poses(view, PoseRange(), 4, np.random.default_rng(0))
    both = render(completed(part, rest, 0.7), poses, camera, 0.5)
    # The two fields differ in the one voxel at a cut face over which each by itself falls to zero.
    apart = render(part, poses, camera, 0.5) + 0.7 * render(rest, poses, camera, 0.5)
    np.testing.assert_allclose(both, apart, atol=0.02, rtol=0.01)


def test_the_similarity_of_what_is_covered_is_that_of_what_counts_for_all(phantom, camera) -> None:
    view = NominalView("AP", tuple(map(float, phantom.center)), 700.0)
    poses = draw_poses(view, PoseRange(), 5, np.random.default_rng(0))
    small = camera.fitted(32)
    images = render(density_grid(phantom), poses, small, 4.0)
    features, seen = bank_features(images), images[3] * 1.3 + 0.1
    weight = (images[0] > 0.3).float()
    everywhere = weight.new_ones(images.shape)
    one = similarity_where(features, seen, weight.expand_as(images))
    other = similarity_where(features, seen, everywhere, weight)
    np.testing.assert_allclose(one, other * float(weight.mean()) ** 0.25, atol=1e-5)
    plain = features @ bank_features(seen[None])[0]
    np.testing.assert_allclose(similarity_where(features, seen, everywhere), plain, atol=1e-4)
    assert float(other[3]) == pytest.approx(1.0, abs=1e-4)


def test_an_x_ray_that_shows_more_than_the_volume_holds_is_registered(phantom, points) -> None:
    camera = Intrinsics.centered(1020.0, (2.2, 2.2), (128, 128))
    view = NominalView("AP", tuple(map(float, phantom.center)), 700.0)
    poses = draw_poses(view, PoseRange((8.0, 8.0, 8.0), (15.0, 15.0, 15.0)), 2, np.random.default_rng(4))
    images = render(density_grid(phantom), poses, camera, 1.0).numpy()
    model = prepare_model(cut_off(phantom, (1.0, 1.0, 0.6)), camera, view, pose_range=PoseRange(), bank_size=512)
    assert model.cut_off
    for pose, image in zip(poses, images, strict=True):
        found = register_xray(model, Xray("x", image, camera, "attenuation"))
        assert mtre(found.pose, pose, points) < 2
        assert found.verdict != "failed"
