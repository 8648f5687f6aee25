"""Reading volumes and labels, and refusing what is none."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.imaging.attenuation import linear_attenuation
from XVRegistrationLib.imaging.intensity import line_integral
from XVRegistrationLib.imaging.volume import LabelMap, Volume, read_label_map, read_label_names, read_volume
from XVRegistrationLib.imaging.xray import Xray


def itk_image(shape=(5, 6, 7), spacing=(1.5, 2.0, 2.5), origin=(10.0, -20.0, 30.0)) -> sitk.Image:
    image = sitk.GetImageFromArray(np.random.default_rng(0).integers(-1000, 2000, shape).astype(np.int16))
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    c, s = np.cos(0.3), np.sin(0.3)
    image.SetDirection((c, -s, 0, s, c, 0, 0, 0, 1))
    return image


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_every_format_puts_voxels_where_simpleitk_does(tmp_path, suffix):
    image = itk_image()
    path = tmp_path / f"ct{suffix}"
    sitk.WriteImage(image, path)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, sitk.GetArrayFromImage(image))
    lps = np.array(image.TransformIndexToPhysicalPoint((3, 4, 2)))
    np.testing.assert_allclose(transform_points(volume.ijk_to_ras, [3, 4, 2]), lps * [-1, -1, 1], atol=1e-4)
    np.testing.assert_allclose(volume.spacing, [1.5, 2.0, 2.5], atol=1e-5)
    assert volume.name == "ct"


def write_series(folder, positions) -> None:
    image = itk_image((len(positions), 6, 7))
    direction = image.GetDirection()
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for i, z in enumerate(positions):
        slice_ = image[:, :, i]
        tags = {
            "0008|0060": "CT",
            "0020|000e": "1.2.826.0.1.3680043.2.1125.1",
            "0020|000d": "1.2.826.0.1.3680043.2.1125.2",
            "0008|0018": f"1.2.826.0.1.3680043.2.1125.1.{i + 1}",
            "0020|0013": str(i),
            "0020|0032": f"10\\-20\\{z}",
            "0020|0037": "\\".join(f"{direction[k]:.8f}" for k in (0, 3, 6, 1, 4, 7)),
        }
        for tag, value in tags.items():
            slice_.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{i}.dcm"))
        writer.Execute(slice_)


def test_a_dicom_series_is_read_as_a_volume(tmp_path):
    write_series(tmp_path, [30.0, 32.5, 35.0, 37.5])
    volume = read_volume(tmp_path)
    assert volume.array.shape == (4, 6, 7)
    np.testing.assert_allclose(volume.spacing, [1.5, 2.0, 2.5], atol=1e-4)
    np.testing.assert_allclose(volume.ijk_to_ras[:3, 3], [-10, 20, 30], atol=1e-4)


def test_a_series_with_a_missing_slice_is_refused(tmp_path):
    write_series(tmp_path, [30.0, 32.5, 37.5, 40.0])
    with pytest.raises(InputError, match="irregular slice distances"):
        read_volume(tmp_path)


def test_a_folder_without_dicom_a_missing_file_and_no_image_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.nii.gz").write_text("no image")
    for name, reason in (
        ("empty", "no DICOM series"),
        ("absent.nii.gz", "does not exist"),
        ("text.nii.gz", "cannot be read"),
    ):
        with pytest.raises(InputError, match=reason):
            read_volume(tmp_path / name)


def test_one_slice_is_no_volume(tmp_path):
    sitk.WriteImage(itk_image((1, 6, 7)), tmp_path / "slice.nrrd")
    with pytest.raises(InputError, match="only one slice"):
        read_volume(tmp_path / "slice.nrrd")


def test_a_colour_image_and_a_time_series_are_no_volumes(tmp_path):
    sitk.WriteImage(sitk.Image([6, 6, 6], sitk.sitkVectorUInt8, 3), tmp_path / "colour.mha")
    sitk.WriteImage(sitk.Image([6, 6, 6, 3], sitk.sitkInt16), tmp_path / "time.nii.gz")
    with pytest.raises(InputError, match="scalar volume"):
        read_volume(tmp_path / "colour.mha")
    with pytest.raises(InputError, match="three-dimensional"):
        read_volume(tmp_path / "time.nii.gz")


def test_sheared_axes_are_refused():
    matrix = np.eye(4)
    matrix[0, 2] = 0.1
    with pytest.raises(InputError, match="sheared"):
        Volume(np.zeros((3, 3, 3)), matrix, "tilted")


def test_the_fingerprint_tells_volumes_apart():
    array = np.random.default_rng(0).integers(0, 9, (4, 4, 4)).astype(np.int16)
    moved = np.eye(4)
    moved[0, 3] = 0.5
    changed = array.copy()
    changed[1, 2, 3] += 1
    first = Volume(array, np.eye(4)).fingerprint
    assert Volume(array.astype(np.float32), np.eye(4), "another name").fingerprint == first
    assert Volume(array, moved).fingerprint == first  # where it lies is compared with a tolerance
    assert Volume(array.reshape(2, 8, 4), np.eye(4)).fingerprint != first
    assert Volume(changed, np.eye(4)).fingerprint != first


def test_labels_have_names_and_points(tmp_path):
    array = np.zeros((4, 5, 6), np.uint8)
    array[1, 2, 3] = 2
    array[2, 2, 2] = 5
    sitk.WriteImage(sitk.GetImageFromArray(array), tmp_path / "labels.nrrd")
    (tmp_path / "names.csv").write_text("group,id,structure\nbones,2,femur\nbones,9,absent\n")
    (tmp_path / "names.json").write_text(json.dumps({"2": "femur"}))
    names = read_label_names(tmp_path / "names.csv")
    labels = read_label_map(tmp_path / "labels.nrrd", names)
    assert labels.names == {2: "femur", 5: "label 5"}
    assert labels.values(["femur"]) == [2]
    np.testing.assert_allclose(labels.points([2]), [[-3, -2, 1]])
    assert read_label_names(tmp_path / "names.json") == {2: "femur"}
    for name in ("names.csv", "names.json"):  # as spreadsheets and Windows' editors write it
        before = read_label_names(tmp_path / name)
        (tmp_path / name).write_text((tmp_path / name).read_text(), "utf-8-sig")
        assert read_label_names(tmp_path / name) == before
    with pytest.raises(InputError, match=r"no structure named tibia; it has femur, label 5\.$"):
        labels.values(["tibia"])


def test_a_volume_of_fractions_is_no_label_map(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(np.full((3, 3, 3), 0.5, np.float32)), tmp_path / "ct.nrrd")
    with pytest.raises(InputError, match="not a label map"):
        read_label_map(tmp_path / "ct.nrrd")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.int64, np.float32])
def test_labels_of_any_type_are_whole_numbers_from_zero(tmp_path, dtype):
    array = np.random.default_rng(0).integers(0, 100, (3, 4, 5)).astype(dtype)
    sitk.WriteImage(sitk.GetImageFromArray(array), tmp_path / "labels.nrrd")
    np.testing.assert_array_equal(read_label_map(tmp_path / "labels.nrrd").array, array)
    wrong = {np.int16: -1, np.uint32: 2**31 + 5, np.int64: 2**40, np.float32: -3}.get(dtype)
    if wrong is not None:
        array[0, 0, 0] = wrong
        sitk.WriteImage(sitk.GetImageFromArray(array), tmp_path / "labels.nrrd")
        with pytest.raises(InputError, match=rf"labels.nrrd is not a label map: it has values .*{wrong}"):
            read_label_map(tmp_path / "labels.nrrd")


def test_a_table_without_the_needed_columns_is_refused(tmp_path):
    for text in ("a,b\n1,2\n", "structure,id\nfemur\n"):
        (tmp_path / "names.csv").write_text(text)
        with pytest.raises(InputError, match="not a table of label names"):
            read_label_names(tmp_path / "names.csv")


def test_a_label_map_checks_its_grid():
    with pytest.raises(InputError, match="only one slice"):
        LabelMap(np.zeros((1, 4, 4), np.uint8), np.eye(4))


@pytest.mark.parametrize("energy", [40.0, 60.0, 80.0, 100.0])
def test_attenuation_of_pure_materials_agrees_with_xraylib(energy):
    import xraylib

    # ICRU-44 soft tissue and cortical bone, g/cm3 and their places on the scale of a 70 keV CT.
    for compound, density, hu in (("Tissue, Soft (ICRP)", 1.06, 53.0), ("Bone, Cortical (ICRP)", 1.92, 1559.0)):
        theirs = xraylib.CS_Total_CP(compound, energy) * density / 10
        ours = float(linear_attenuation(np.array([hu]), energy)[0])
        assert ours == pytest.approx(theirs, rel=0.08)  # the ICRP's compositions differ a little from the ICRU's


def test_at_the_cts_own_energy_attenuation_is_what_hu_means():
    import xraylib

    water = xraylib.CS_Total_CP("Water, Liquid", 70.0) / 10
    hu = np.array([-1000.0, -500.0, 0.0, 53.0, 800.0, 1559.0, 2500.0])
    np.testing.assert_allclose(linear_attenuation(hu, 70.0), water * (1 + hu / 1000), rtol=0.012, atol=1e-9)


def test_attenuation_rises_with_hu_and_padding_is_air():
    values = linear_attenuation(np.arange(-3024, 4000), 60.0)
    assert (np.diff(values) >= 0).all()
    assert (values[: 3024 - 1000] == 0).all()
    assert linear_attenuation(np.array([np.nan]))[0] == 0
    with pytest.raises(InputError, match="between 10 and 150 keV"):
        linear_attenuation(np.zeros(1), 5.0)


def test_line_integrals_undo_the_exponential(camera):
    p = np.random.default_rng(0).uniform(0, 6, camera.size[::-1])
    p[:2] = 0
    counts = Xray("x", (60000 * np.exp(-p)).astype(np.uint16), camera)
    np.testing.assert_allclose(line_integral(counts), p, atol=0.02)


def test_a_dead_pixel_gives_no_infinity(camera):
    pixels = np.full(camera.size[::-1], 1000.0)
    pixels[5, 5] = 0
    assert np.isfinite(line_integral(Xray("x", pixels, camera))).all()
    pixels[:, :60] = 0
    assert np.isfinite(line_integral(Xray("half black", pixels, camera))).all()
