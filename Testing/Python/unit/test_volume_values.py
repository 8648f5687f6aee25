"""What voxel values are: Hounsfield units or not, vessels by a window, densities by a segmentation; grids of any hand."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import SimpleITK as sitk

from XVRegistrationLib.cli.main import main
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.vessels import simulate_vessels
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.imaging.segmentation import Segment, Segmentation
from XVRegistrationLib.imaging.volume import Volume, read_label_map, read_volume, write_volume
from XVRegistrationLib.imaging.volumes.densities import pseudo_ct, read_densities, standard_densities
from XVRegistrationLib.imaging.volumes.reading import Reading
from XVRegistrationLib.imaging.volumes.vessels import IODINE, usual_window, vessel_attenuation
from XVRegistrationLib.registration.card import read_card, reading_of
from XVRegistrationLib.registration.model import load_model
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.render import render

if TYPE_CHECKING:
    from pathlib import Path

CAMERA = Intrinsics.centered(1020.0, (4.0, 4.0), (64, 64))


@pytest.fixture
def written(phantom: Volume, tmp_path: Path) -> Path:
    write_volume(tmp_path / "ct.nrrd", phantom)
    return tmp_path / "ct.nrrd"


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("flip", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_grids_of_either_hand_stay_as_they_are(
    phantom: Volume, tmp_path: Path, suffix: str, flip: tuple[int, ...]
) -> None:
    matrix = phantom.ijk_to_ras @ np.diag([*flip, 1.0])
    volume = Volume(phantom.array, matrix)
    write_volume(tmp_path / f"ct{suffix}", volume)
    back = read_volume(tmp_path / f"ct{suffix}")
    np.testing.assert_array_equal(back.array, phantom.array)
    np.testing.assert_allclose(back.ijk_to_ras, matrix, atol=1e-3)


def test_a_sheared_file_is_resampled_and_its_labels_to_the_nearest(tmp_path: Path) -> None:
    array = np.full((30, 24, 26), -1000, np.int16)
    array[5:25, 6:18, 8:20] = 300
    array[12:15, 10:13, 11:14] = 1200
    for name, voxels in (("ct", array), ("labels", (array > 0).astype(np.uint8) * 7)):
        image = sitk.GetImageFromArray(voxels)
        image.SetSpacing((2.0, 2.0, 2.0))
        lean = np.tan(np.radians(12))
        image.SetDirection((1, 0, 0, 0, 1, lean / np.hypot(1, lean), 0, 0, 1 / np.hypot(1, lean)))
        sitk.WriteImage(image, str(tmp_path / f"{name}.nrrd"))
    volume, labels = read_volume(tmp_path / "ct.nrrd"), read_label_map(tmp_path / "labels.nrrd")
    assert volume.array.shape == labels.array.shape
    assert any("tilt of 12.0 degrees" in note for note in volume.notes)
    assert set(np.unique(labels.array)) == {0, 7}
    inside = transform_points(volume.ijk_to_ras, np.argwhere(labels.array == 7)[:, ::-1])
    direction = np.array(image.GetDirection()).reshape(3, 3)
    expected = np.argwhere(array > 0)[:, ::-1] @ (direction * 2.0).T * [-1, -1, 1]
    np.testing.assert_allclose(inside.mean(axis=0), expected.mean(axis=0), atol=0.15)
    assert len(inside) == pytest.approx(len(expected), rel=0.02)


def test_a_fourth_dimension_of_one_entry_is_no_time_series(tmp_path: Path, phantom: Volume) -> None:
    image = sitk.JoinSeries([sitk.GetImageFromArray(phantom.array)])
    sitk.WriteImage(image, str(tmp_path / "one.nii.gz"))
    np.testing.assert_array_equal(read_volume(tmp_path / "one.nii.gz").array, phantom.array)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda hu: (hu + 1000) / 4000, "normalised"),
        (lambda hu: hu + 1024, "offset"),
        (lambda hu: np.maximum(hu, 0), "say that 0 is what was not scanned"),
        (lambda hu: np.abs(hu) / 3, "give a segmentation"),
        # What is no number is not the air that a CT has.
        (lambda hu: np.where(hu < -900, np.nan, (hu + 1000) / 4000), "normalised"),
        (lambda hu: np.where(hu < -900, np.nan, np.abs(hu) / 3), "give a segmentation"),
    ],
)
def test_what_is_no_hounsfield_unit_is_refused_with_advice(
    phantom: Volume, tmp_path: Path, change: object, said: str
) -> None:
    values = change(phantom.array.astype(np.float32)).astype(np.float32)  # type: ignore[operator]
    write_volume(tmp_path / "ct.nrrd", dataclasses.replace(phantom, array=values))
    with pytest.raises(InputError, match=said):
        read_volume(tmp_path / "ct.nrrd")
    believed = read_volume(tmp_path / "ct.nrrd", Reading(believed=True))
    np.testing.assert_array_equal(believed.array, np.where(np.isnan(values), np.float32(-1000), values))


def test_what_was_cut_away_becomes_air(phantom: Volume, tmp_path: Path) -> None:
    bones = np.where(phantom.array > 200, phantom.array, 0)
    write_volume(tmp_path / "bones.nrrd", dataclasses.replace(phantom, array=bones))
    volume = read_volume(tmp_path / "bones.nrrd", Reading(background=0))
    np.testing.assert_array_equal(volume.array, np.where(bones == 0, -1000, bones))


def test_metal_is_kept_and_said(phantom: Volume, tmp_path: Path) -> None:
    for top, said in ((3071, "12 bits end"), (9000, "up to 9000 HU")):
        array = phantom.array.copy()
        array[20:24, 30:34, 30:34] = top
        write_volume(tmp_path / "ct.nrrd", dataclasses.replace(phantom, array=array))
        volume = read_volume(tmp_path / "ct.nrrd")
        assert volume.array.max() == top
        assert any(said in note for note in volume.notes)


def test_no_number_is_air(phantom: Volume, tmp_path: Path) -> None:
    array = phantom.array.astype(np.float64)
    array[:, :4] = np.nan
    write_volume(tmp_path / "ct.nrrd", dataclasses.replace(phantom, array=array))
    volume = read_volume(tmp_path / "ct.nrrd")
    assert volume.array.dtype == np.float32
    assert (volume.array[:, :4] == -1000).all()


def test_a_window_of_an_angiogram_gives_back_its_vessels(tmp_path: Path) -> None:
    vessels = simulate_vessels(1, voxel=1.5)
    # As a workstation stores it: grey values with an offset, noise below the window.
    grey = 300 + vessels.array / IODINE * 2000 + np.random.default_rng(0).normal(0, 20, vessels.array.shape)
    write_volume(tmp_path / "dsa.nrrd", Volume(grey.astype(np.int16), vessels.ijk_to_ras))
    volume = read_volume(tmp_path / "dsa.nrrd", Reading(vessels=(400, 2300)))
    assert volume.units == "1/mm"
    assert volume.array.max() == pytest.approx(IODINE)
    pose = NominalView("AP", tuple(volume.center), 750.0).pose
    ours, truth = (render(density_grid(v), pose[None], CAMERA)[0].numpy() for v in (volume, vessels))
    assert np.corrcoef(ours.ravel(), truth.ravel())[0, 1] > 0.99
    assert ours.sum() == pytest.approx(truth.sum(), rel=0.15)
    with pytest.raises(InputError, match="choose another window"):
        read_volume(tmp_path / "dsa.nrrd", Reading(vessels=(5000, 6000)))
    with pytest.raises(InputError, match="must rise"):
        Reading(vessels=(500, 100))


def _dice(found: np.ndarray, truth: np.ndarray) -> float:
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


def test_the_usual_window_finds_vessels_among_noise_and_tissue() -> None:
    share = simulate_vessels(1, voxel=1.0).array / IODINE
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, share.shape).astype(np.float32)
    k, j, i = np.mgrid[-1 : 1 : share.shape[0] * 1j, -1 : 1 : share.shape[1] * 1j, -1 : 1 : share.shape[2] * 1j]
    head = k**2 + j**2 + i**2 < 0.9
    clip = 300 + 2000 * share
    clip[5, 5, 5] = 1e6
    mra = np.where(head, 150 + 30 * noise, 10 * np.abs(noise)) * (1 - share) + 350 * share
    for values in (
        300 + 2000 * share + 20 * noise,
        (300 + 2000 * share + 200 * noise).astype(np.int16),
        share,
        clip,
        mra,
    ):
        low, high = usual_window(values)
        found = vessel_attenuation(values, (low, high)) > IODINE / 2
        assert _dice(found, share > 0.5) > 0.85, (low, high)
    holes = np.where(share > 0.9, np.nan, 300 + 2000 * share)
    assert np.isfinite(usual_window(holes)).all()
    for flat in (np.full((4, 4, 4), 7), np.full((4, 4, 4), np.nan)):
        with pytest.raises(InputError, match="no vessels"):
            usual_window(flat)


def test_large_vessels_of_two_values_have_a_window_between_them() -> None:
    block = np.zeros((40, 40, 40))
    block[10:30, 10:30, 10:30] = 1  # an eighth of all
    low, high = usual_window(100 + 900 * block)
    assert (low, high) == (325, 775)
    assert usual_window(np.arange(2.0).reshape(1, 1, 2)) == (0.25, 0.75)


def test_attenuation_rises_within_the_window_alone() -> None:
    values = vessel_attenuation(np.array([-np.inf, 0, 100, 150, 200, 900, np.nan, np.inf]), (100, 200))
    np.testing.assert_allclose(values / IODINE, [0, 0, 0, 0.5, 1, 1, 0, 1], atol=1e-6)


def ellipsoids(phantom: Volume) -> Segmentation:
    """Body, lungs and bones of the phantom; the body holds the others too."""
    hu = phantom.array
    body = (hu > -900).astype(np.uint8)
    parts = np.where(hu == -800, 2, np.where(hu > 200, 3, 0)).astype(np.uint8)
    return Segmentation(
        (body, parts),
        phantom.ijk_to_ras,
        (Segment(1, "Body", 0), Segment(2, "lung_left", 1), Segment(3, "vertebrae_L3", 1)),
    )


def test_structures_get_the_densities_of_the_table(phantom: Volume) -> None:
    array = pseudo_ct(ellipsoids(phantom), phantom.array.shape, phantom.ijk_to_ras)
    expected = np.select([phantom.array > 200, phantom.array == -800, phantom.array > -900], [526, -742, 53], -1000)
    np.testing.assert_array_equal(array, expected)
    own = (("lung*", -800.0), ("*", 20.0))
    assert set(np.unique(pseudo_ct(ellipsoids(phantom), phantom.array.shape, phantom.ijk_to_ras, own))) == {
        -1000,
        -800,
        20,
    }
    with pytest.raises(InputError, match="no density for the structure lung_left"):
        pseudo_ct(ellipsoids(phantom), phantom.array.shape, phantom.ijk_to_ras, (("body", 20.0), ("vert*", 20.0)))
    far = phantom.ijk_to_ras + np.array([[0, 0, 0, 5000.0], [0] * 4, [0] * 4, [0] * 4])
    with pytest.raises(InputError, match="None of the segmentation's structures"):
        pseudo_ct(ellipsoids(phantom), phantom.array.shape, far)


def test_the_tables_densities_are_those_of_their_materials() -> None:
    import xraylib

    table = dict(standard_densities())
    water = xraylib.CS_Total_CP("Water, Liquid", 70.0)
    for pattern, material in (
        ("*adipose*", "Adipose Tissue (ICRP)"),
        ("*muscle*", "Muscle, Skeletal"),
        ("*brain*", "Brain (ICRP)"),
        ("*blood*", "Blood (ICRP)"),
    ):
        density = xraylib.GetCompoundDataNISTByName(material)["density"]
        hu = 1000 * (xraylib.CS_Total_CP(material, 70.0) * density / water - 1)
        assert table[pattern] == pytest.approx(hu, abs=1)
    assert table["*metal*"] == pytest.approx(1000 * (xraylib.CS_Total(22, 70.0) * 4.54 / water - 1), abs=30)
    assert table["*lung*"] == pytest.approx(1000 * (xraylib.CS_Total_CP("Lung (ICRP)", 70.0) * 0.26 / water - 1), abs=2)
    # Mixtures of soft tissue (53 HU, 1.06 g/cm3) and cortical bone (1559 HU, 1.92 g/cm3).
    for pattern, density in (("*vertebra*", 1.33), ("*bone*", 1.40), ("*cortical*", 1.92)):
        assert table[pattern] == pytest.approx(53 + (density - 1.06) / 0.86 * 1506, abs=1)


def test_an_mr_renders_through_its_segmentation(phantom: Volume, tmp_path: Path) -> None:
    # An MR knows the places of bones, not their attenuation: they are dark in it.
    write_volume(tmp_path / "mr.nrrd", dataclasses.replace(phantom, array=np.abs(phantom.array) // 3))
    parts = np.where(phantom.array == -800, 2, np.where(phantom.array > 200, 3, (phantom.array > -900) * 1))
    write_volume(tmp_path / "labels.nii.gz", Volume(parts.astype(np.int16), phantom.ijk_to_ras))
    (tmp_path / "hu.json").write_text(json.dumps({"label 1": 40, "label 2": -800, "label 3": 700}))
    table = read_densities(tmp_path / "hu.json")
    reading = Reading(segmentation=str(tmp_path / "labels.nii.gz"), densities=table)
    volume = read_volume(tmp_path / "mr.nrrd", reading)
    assert set(np.unique(volume.array)) == {-1000, -800, 40, 700}
    pose = NominalView("AP", tuple(volume.center), 750.0).pose
    ours, truth = (render(density_grid(v), pose[None], CAMERA)[0].numpy() for v in (volume, phantom))
    assert np.corrcoef(ours.ravel(), truth.ravel())[0, 1] > 0.99
    (tmp_path / "hu.json").write_text("[1]")
    with pytest.raises(InputError, match="not a table of densities"):
        read_densities(tmp_path / "hu.json")


def test_a_reading_survives_json_and_a_damaged_one_is_refused() -> None:
    reading = Reading(series="4", background=-1.5, segmentation="a.nrrd", densities=(("bone*", 650.0),))
    assert Reading.from_dict(json.loads(json.dumps(reading.to_dict()))) == reading
    assert Reading.from_dict(Reading(vessels=(1, 2)).to_dict()) == Reading(vessels=(1.0, 2.0))
    assert Reading().to_dict() == {"units": "HU"}
    for damaged in ({"vessels": [1]}, {"units": "kg"}, {"background": "x"}, {"run": "rm"}, {"densities": 3}):
        with pytest.raises(InputError):
            Reading.from_dict(damaged)


def test_a_model_reads_its_volume_again_as_it_was_said_to_be(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vessels = simulate_vessels(1, voxel=2.0)
    write_volume(tmp_path / "mra.nrrd", Volume((vessels.array / IODINE * 1000).astype(np.int16), vessels.ijk_to_ras))
    train = ["train", str(tmp_path / "mra.nrrd"), "-o", str(tmp_path / "model"), "--minutes", "0", "--size", "32", "32"]
    assert main([*train, "--spacing", "8", "8"]) == 2
    assert "there is no air" in capsys.readouterr().err
    assert main([*train, "--as", "vessels", "100"]) == 2
    assert main([*train, "--as", "bones"]) == 2
    assert main([*train, "--densities", "x.json"]) == 2
    assert not (tmp_path / "model").exists()
    capsys.readouterr()
    assert main([*train, "--spacing", "8", "8", "--as", "vessels", "100", "1000"]) == 0
    assert reading_of(read_card(tmp_path / "model")) == Reading(vessels=(100.0, 1000.0))
    model = load_model(tmp_path / "model")
    assert model.volume.units == "1/mm"
    assert model.volume.array.max() == pytest.approx(IODINE)


def test_what_was_not_scanned_is_air_in_the_units_of_the_volume(tmp_path: Path) -> None:
    attenuation = np.full((8, 8, 8), 0.02, np.float32)
    attenuation[:, :, :3] = -1.0
    write_volume(tmp_path / "mu.nrrd", Volume(attenuation, np.eye(4)))
    found = read_volume(tmp_path / "mu.nrrd", Reading("1/mm", background=-1.0)).array
    assert np.array_equal(found[:, :, :3], np.zeros((8, 8, 3)))
    assert np.allclose(found[:, :, 3:], 0.02)
