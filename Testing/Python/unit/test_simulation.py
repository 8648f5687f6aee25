"""Simulated X-rays: the independent renderer agrees with our camera, and the detector behaves like one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("nanodrr")

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.polyenergetic_xrays import PolyenergeticRenderer
from XVRegistrationLib.evaluation.simulation import (
    Detector,
    NanodrrRenderer,
    draw_detector,
    expose,
    simulate_xrays,
)
from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.geometry.rigid import rigid, rotation_from_vector, transform_points
from XVRegistrationLib.geometry.views import NominalView, relative_motion
from XVRegistrationLib.imaging.dicom.writer import write_dicom_dx
from XVRegistrationLib.imaging.dicom.xray import read_dicom_xray
from XVRegistrationLib.imaging.intensity import line_integral
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.rendering.materials import material_grids
from XVRegistrationLib.rendering.render import render
from XVRegistrationLib.rendering.spectrum import Tube, beam

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

QUIET = Detector(scatter_to_primary=1e-9, scatter_sigma_mm=30.0, blur_sigma_px=0.0, photons=1e9, gamma=1.0, bits=16)


def impulse(ijk: tuple[int, int, int], shape: tuple[int, int, int] = (20, 24, 28)) -> Volume:
    """Air with one bright voxel, on an oblique grid of unequal spacing."""
    array = np.full(shape, -1000, dtype=np.int16)
    array[ijk[::-1]] = 3000
    matrix = rigid(rotation_from_vector((0.2, -0.4, 0.3)), (15.0, -40.0, 60.0)) @ np.diag([1.2, -0.9, 2.0, 1.0])
    return Volume(array, matrix, name="impulse")


def centroid(image: NDArray[np.floating]) -> NDArray[np.float64]:
    rows, columns = np.indices(image.shape)
    weights = image.astype(np.float64)
    return np.array([(columns * weights).sum(), (rows * weights).sum()]) / weights.sum()


@pytest.mark.parametrize("view", ["AP", "PA", "LLAT", "RLAT"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_bright_voxel_is_rendered_where_our_camera_projects_it(view: str, mirrored: bool) -> None:
    ijk = (21, 5, 13)
    volume = impulse(ijk)
    intrinsics = Intrinsics(1050.0, (0.2, 0.3), (150.3, 90.8), (340, 260), mirrored)
    bright = transform_points(volume.ijk_to_ras, ijk)
    nominal = NominalView(view, tuple(bright + np.array([4.0, -3.0, 2.0])), 750.0)
    pose = nominal.absolute(relative_motion((12, -17, 9), (4, -3, 20)))
    image = NanodrrRenderer(volume).line_integral(pose, intrinsics)
    expected = project(bright, pose, intrinsics)
    assert image.shape == (260, 340)
    assert centroid(image) == pytest.approx(expected, abs=0.05)


def test_the_line_integral_through_water_is_thickness_times_attenuation() -> None:
    volume = Volume(np.zeros((40, 60, 60), np.int16), np.diag([2.0, 2.0, 2.0, 1.0]), name="water")
    view = NominalView("AP", tuple(volume.center), 800.0)
    image = NanodrrRenderer(volume).line_integral(view.pose, Intrinsics.centered(1000.0, (0.5, 0.5), (9, 9)))
    assert image[4, 4] == pytest.approx(60 * 2.0 * 0.0192, rel=5e-3)


def test_a_quiet_detector_returns_the_line_integral_that_it_was_given() -> None:
    p = np.linspace(0, 5, 64 * 48).reshape(48, 64)
    intrinsics = Intrinsics.centered(1000.0, (0.5, 0.5), (64, 48))
    pixels, _ = expose(p, intrinsics, QUIET, np.random.default_rng(0))
    assert pixels.dtype == np.uint16
    assert -np.log(pixels / 65535) == pytest.approx(p, abs=0.01)


def test_each_part_of_the_detector_does_what_it_is_for() -> None:
    intrinsics = Intrinsics.centered(1000.0, (1.0, 1.0), (96, 96))
    p = np.full((96, 96), 0.1)
    p[:, 48:] = 4.0

    def seen(**changes: float) -> NDArray[np.float64]:
        pixels, _ = expose(p, intrinsics, dataclasses.replace(QUIET, **changes), np.random.default_rng(0))
        return pixels / pixels.max()

    plain = seen()
    assert plain[48, 90] == pytest.approx(np.exp(-3.9), rel=0.01)
    scattered = seen(scatter_to_primary=0.5, scatter_sigma_mm=20.0)
    assert scattered[48, 60] > 3 * plain[48, 60]
    assert scattered[48, 60] > scattered[48, 90]
    assert seen(blur_sigma_px=1.0)[48, 48] > 2 * plain[48, 48]
    noisy = seen(photons=1e4)[:, :40]
    assert noisy.std() / noisy.mean() == pytest.approx(1 / np.sqrt(1e4 * np.exp(-0.1)), rel=0.1)
    assert len(np.unique(seen(bits=12, photons=1e4))) < len(np.unique(seen(bits=16, photons=1e4)))
    bent = seen(gamma=1.3)
    assert bent[48, 90] == pytest.approx(plain[48, 90], rel=0.01)


def test_the_exposure_is_raised_until_the_darkest_pixels_count_photons() -> None:
    p = np.full((32, 32), 9.0)
    p[0] = 0.0
    intrinsics = Intrinsics.centered(1000.0, (1.0, 1.0), (32, 32))
    detector = Detector(1e-9, 30.0, 0.0, photons=1e4, gamma=1.0, bits=16)
    _, used = expose(p, intrinsics, detector, np.random.default_rng(0))
    assert used.photons * np.exp(-9.0) == pytest.approx(20, rel=0.01)


def test_the_digitiser_gets_bits_until_the_darkest_pixels_have_grey_levels() -> None:
    p = np.full((32, 32), 5.5)
    p[0] = 0.0
    intrinsics = Intrinsics.centered(1000.0, (1.0, 1.0), (32, 32))
    pixels, used = expose(p, intrinsics, dataclasses.replace(QUIET, bits=10), np.random.default_rng(0))
    assert used.bits == 12
    assert pixels.max() == 4095
    assert np.median(pixels) >= 16


def test_detectors_are_drawn_within_their_ranges() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_detector(rng) for _ in range(200)]
    assert {d.bits for d in drawn} == {12, 13, 14, 15, 16}
    assert all(
        0.05 <= d.scatter_to_primary <= 0.5 and 0.75 <= d.gamma <= 1.3 and 1e4 <= d.photons <= 1e5 for d in drawn
    )


def test_x_rays_of_a_tube_are_those_of_our_renderer(phantom: Volume, camera: Intrinsics) -> None:
    """Two programs that go through the voxels, one table of attenuation."""
    tube = Tube(60, copper_mm=0.1)
    pose = NominalView("AP", tuple(phantom.center), 700.0).pose
    theirs = PolyenergeticRenderer(phantom, tube).line_integral(pose, camera)
    ours = render(material_grids(phantom), pose[None], camera, 0.5, beam=beam(tube))[0].numpy()
    assert np.abs(theirs - ours).mean() < 3e-3 * ours.mean()
    # The thicker, the harder what is left: less and less than one energy would lose.
    one = NanodrrRenderer(phantom).line_integral(pose, camera)
    ratio = theirs / np.maximum(one, 1e-6)
    assert ratio[one > 3].mean() < 0.95 * ratio[(one > 0.3) & (one < 0.6)].mean()
    with pytest.raises(InputError, match="phantom is no CT in Hounsfield units"):
        PolyenergeticRenderer(dataclasses.replace(phantom, units="1/mm"), tube)


def test_simulated_x_rays_are_the_same_for_a_seed_and_survive_dicom(tmp_path: Path) -> None:
    volume = impulse((10, 10, 10))
    view = NominalView("PA", tuple(volume.center), 700.0)
    intrinsics = Intrinsics.centered(1000.0, (1.5, 1.0), (40, 50), view.mirrored)
    done: list[tuple[int, int]] = []
    xrays = simulate_xrays(
        NanodrrRenderer(volume), view, intrinsics, 3, seed=7, progress=lambda i, n: done.append((i, n))
    )
    again = simulate_xrays(NanodrrRenderer(volume), view, intrinsics, 2, seed=7)
    assert done == [(1, 3), (2, 3), (3, 3)]
    for a, b in zip(xrays, again, strict=False):
        assert np.array_equal(a.pixels, b.pixels)
        assert np.array_equal(a.true_pose, b.true_pose)
        assert a.detector == b.detector
    assert not np.allclose(xrays[0].true_pose, xrays[1].true_pose)
    other = simulate_xrays(NanodrrRenderer(volume), view, intrinsics, 1, seed=8)
    assert not np.allclose(xrays[0].true_pose, other[0].true_pose)

    path = tmp_path / "x.dcm"
    write_dicom_dx(path, xrays[0].pixels, intrinsics, seed=1)
    read = read_dicom_xray(path, mirrored=True)
    assert np.array_equal(read.pixels, xrays[0].pixels)
    assert read.intrinsics == intrinsics
    # The bright voxel absorbs: after the logarithm it is the densest of the image.
    dense = np.unravel_index(np.argmax(line_integral(read)), read.pixels.shape)[::-1]
    expected = project(transform_points(volume.ijk_to_ras, (10, 10, 10)), xrays[0].true_pose, intrinsics)
    assert np.linalg.norm(dense - expected) < 1.5
