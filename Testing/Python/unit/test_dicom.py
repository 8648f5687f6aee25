"""Reading and writing X-rays."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.imaging.dicom.writer import make_dicom_ids, write_dicom_dx
from XVRegistrationLib.imaging.dicom.xray import read_dicom_xray
from XVRegistrationLib.imaging.intensity import line_integral
from XVRegistrationLib.imaging.xray_files import read_xray, read_xray_parts

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

XA = "1.2.840.10008.5.1.4.1.1.12.1"
CR = "1.2.840.10008.5.1.4.1.1.1"
SC = "1.2.840.10008.5.1.4.1.1.7"
INTRINSICS = Intrinsics.centered(1020.0, (0.194, 0.25), (40, 30))


def pixels(shape: tuple[int, int] = (30, 40), top: int = 4096) -> NDArray[np.uint16]:
    return np.random.default_rng(3).integers(0, top, shape).astype(np.uint16)


@pytest.fixture
def dx(tmp_path: Path) -> Path:
    path = tmp_path / "case-01.dcm"
    write_dicom_dx(path, pixels(), INTRINSICS, seed=1, bits_stored=12)
    return path


def changed(path: Path, *, remove: tuple[str, ...] = (), **elements: Any) -> Path:
    """The file with elements set or removed, as another vendor would have written it."""
    dataset = pydicom.dcmread(path)
    for keyword in remove:
        delattr(dataset, keyword)
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    if "SOPClassUID" in elements:
        dataset.file_meta.MediaStorageSOPClassUID = elements["SOPClassUID"]
    dataset.save_as(path)
    return path


def test_a_written_x_ray_reads_back_with_the_same_pixels_and_geometry(dx: Path) -> None:
    xray = read_dicom_xray(dx)
    assert np.array_equal(xray.pixels, pixels())
    assert xray.pixels.dtype == np.uint16
    assert xray.intrinsics == INTRINSICS
    assert xray.scale == "intensity"
    assert xray.name == "case-01"
    assert xray.origins["sdd"] == xray.origins["spacing"] == "tag"
    assert xray.origins["principal_point"] == "assumed"


def test_simpleitk_reads_the_written_x_ray_with_the_same_pixels_and_spacing(dx: Path) -> None:
    image = sitk.ReadImage(str(dx))
    assert np.array_equal(sitk.GetArrayFromImage(image)[0], pixels())
    assert image.GetSpacing()[:2] == pytest.approx(INTRINSICS.spacing)


def test_the_written_x_ray_contains_nothing_about_the_pose_and_nobody_s_name(dx: Path) -> None:
    dataset = pydicom.dcmread(dx)
    assert not any(element.tag.is_private for element in dataset.iterall())
    telling = re.compile("Position|Orientation|Angle|Isocenter|Table|Frame|Matrix|DistanceSourceToPatient|Comment|View")
    told = {e.keyword: e.value for e in dataset.iterall() if telling.search(e.keyword) and e.value not in ("", None)}
    assert told == {}
    assert dataset.PatientName == "Anonymous"
    # Numbers could hide elsewhere; these are all the decimal ones that there are.
    decimals = {e.keyword for e in dataset.iterall() if e.VR in ("DS", "FL", "FD", "OD", "OF")}
    assert decimals == {
        "DistanceSourceToDetector", "ImagerPixelSpacing", "DetectorElementSpacing", "DetectorElementPhysicalSize",
        "DetectorActiveDimensions", "RescaleIntercept", "RescaleSlope",
    }  # fmt: skip


def test_the_same_seed_writes_the_same_file_and_no_seed_a_new_one(dx: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again.dcm", tmp_path / "other.dcm"
    write_dicom_dx(again, pixels(), INTRINSICS, seed=1, bits_stored=12)
    write_dicom_dx(other, pixels(), INTRINSICS, bits_stored=12)
    assert again.read_bytes() == dx.read_bytes()
    assert pydicom.dcmread(other).SOPInstanceUID != pydicom.dcmread(dx).SOPInstanceUID


def test_images_of_one_series_share_study_and_series_but_not_the_instance(tmp_path: Path) -> None:
    ids = make_dicom_ids(seed=4)
    for number in (1, 2):
        write_dicom_dx(tmp_path / f"{number}.dcm", pixels(), INTRINSICS, ids=ids, seed=4, instance_number=number)
    first, second = (pydicom.dcmread(tmp_path / f"{n}.dcm") for n in (1, 2))
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="12 bits"):
        write_dicom_dx(tmp_path / "x.dcm", pixels(top=60000), INTRINSICS, bits_stored=12)
    (tmp_path / "folder.dcm").mkdir()  # a file cannot replace a folder
    with pytest.raises(OSError, match="folder"):
        write_dicom_dx(tmp_path / "folder.dcm", pixels(), INTRINSICS)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.dcm"]


@pytest.mark.parametrize(
    ("field", "tag", "give"),
    [("DistanceSourceToDetector", "0018,1110", "sid"), ("ImagerPixelSpacing", "0018,1164", "spacing")],
)
def test_missing_geometry_names_the_field_its_tag_and_what_to_do(dx: Path, field: str, tag: str, give: str) -> None:
    with pytest.raises(InputError, match=rf"{field} \({tag}\).*in mm\.$") as error:
        read_dicom_xray(changed(dx, remove=(field,)))
    assert error.value.give == (give,)


def test_everything_that_is_missing_is_named_in_one_sentence(dx: Path, tmp_path: Path) -> None:
    path = changed(dx, remove=("DistanceSourceToDetector", "ImagerPixelSpacing"))
    with pytest.raises(
        InputError, match=r"DistanceSourceToDetector.* and ImagerPixelSpacing.*; give .* distance .* and .* spacing"
    ):
        read_dicom_xray(path)
    picture = tmp_path / "x.png"
    sitk.WriteImage(sitk.GetImageFromArray(pixels()), str(picture))
    with pytest.raises(InputError, match="the distance source-detector and the pixel spacing; give it in mm"):
        read_xray(picture)


def test_the_user_s_geometry_replaces_the_header_s(dx: Path) -> None:
    xray = read_dicom_xray(
        changed(dx, remove=("DistanceSourceToDetector",)), sid=900, spacing=(0.3, 0.4), mirrored=True
    )
    assert xray.intrinsics == Intrinsics.centered(900.0, (0.3, 0.4), (40, 30), mirrored=True)
    assert (xray.origins["sdd"], xray.origins["spacing"], xray.origins["mirrored"]) == ("user", "user", "user")
    with pytest.raises(InputError, match="positive"):
        read_dicom_xray(dx, sid=0)
    with pytest.raises(InputError, match="positive"):
        read_dicom_xray(dx, sid=900, spacing=(0.2, float("nan")))


def test_imager_pixel_spacing_wins_over_a_calibrated_pixel_spacing(dx: Path) -> None:
    xray = read_dicom_xray(changed(dx, PixelSpacing=[0.1, 0.1], PixelSpacingCalibrationType="FIDUCIAL"))
    assert xray.intrinsics.spacing == (0.194, 0.25)


def test_pixel_spacing_alone_is_taken_to_be_at_the_detector_and_marked_as_assumed(dx: Path) -> None:
    xray = read_dicom_xray(changed(dx, remove=("ImagerPixelSpacing",), PixelSpacing=[0.5, 0.4]))
    assert xray.intrinsics.spacing == (0.4, 0.5)
    assert xray.origins["spacing"] == "assumed"


@pytest.mark.parametrize(
    "element", [{"PixelSpacingCalibrationType": "GEOMETRY"}, {"EstimatedRadiographicMagnificationFactor": "1.4"}]
)
def test_pixel_spacing_calibrated_in_the_patient_is_refused(dx: Path, element: dict[str, str]) -> None:
    path = changed(dx, remove=("ImagerPixelSpacing",), PixelSpacing=[0.5, 0.4], **element)
    with pytest.raises(InputError, match=r"calibrated in the patient.*; give the pixel spacing"):
        read_dicom_xray(path)


@pytest.mark.parametrize("spacing", [["0", "0"], ["0.2", "0"], None])
def test_a_zero_or_empty_spacing_counts_as_missing(dx: Path, spacing: list[str] | None) -> None:
    with pytest.raises(InputError, match="ImagerPixelSpacing"):
        read_dicom_xray(changed(dx, ImagerPixelSpacing=spacing))


@pytest.mark.parametrize(
    ("relationship", "sign", "scale", "inverted"),
    [
        ("LIN", 1, "intensity", False),
        ("LIN", -1, "intensity", True),
        ("LOG", -1, "attenuation", False),
        ("LOG", 1, "attenuation", True),
    ],
)
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_relationship_and_sign_decide_what_bright_means(
    dx: Path, relationship: str, sign: int, scale: str, inverted: bool, photometric: str
) -> None:
    elements = {"PixelIntensityRelationship": relationship, "PixelIntensityRelationshipSign": sign}
    xray = read_dicom_xray(changed(dx, PhotometricInterpretation=photometric, **elements))
    assert xray.scale == scale
    assert np.array_equal(xray.pixels, 4095 - pixels() if inverted else pixels())
    assert xray.origins["scale"] == "tag"


@pytest.mark.parametrize(
    ("sop_class", "photometric", "inverted"),
    [(CR, "MONOCHROME2", False), (CR, "MONOCHROME1", True), (XA, "MONOCHROME2", True), (XA, "MONOCHROME1", False)],
)
def test_without_a_relationship_the_way_it_is_shown_decides(
    dx: Path, sop_class: str, photometric: str, inverted: bool
) -> None:
    removed = ("PixelIntensityRelationship", "PixelIntensityRelationshipSign")
    xray = read_dicom_xray(changed(dx, remove=removed, SOPClassUID=sop_class, PhotometricInterpretation=photometric))
    assert xray.scale == "attenuation"
    assert np.array_equal(xray.pixels, 4095 - pixels() if inverted else pixels())
    assert xray.origins["scale"] == "assumed"


def test_a_linear_angiogram_needs_no_sign(dx: Path) -> None:
    xray = read_dicom_xray(changed(dx, remove=("PixelIntensityRelationshipSign",), SOPClassUID=XA))
    assert xray.scale == "intensity"
    assert np.array_equal(xray.pixels, pixels())


def test_the_look_up_table_of_a_logarithmic_angiogram_makes_it_linear(dx: Path) -> None:
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 16]
    table.LUTData = (np.arange(4096) ** 2 // 256).astype("<u2").tobytes()
    table.ModalityLUTType = "US"
    removed = ("PixelIntensityRelationshipSign", "RescaleIntercept", "RescaleSlope", "RescaleType")
    path = changed(dx, remove=removed, SOPClassUID=XA, PixelIntensityRelationship="LOG", ModalityLUTSequence=[table])
    xray = read_dicom_xray(path)
    assert xray.scale == "intensity"
    assert np.array_equal(xray.pixels, pixels().astype(np.int64) ** 2 // 256)


def test_rescale_is_applied(dx: Path) -> None:
    xray = read_dicom_xray(changed(dx, RescaleSlope=2, RescaleIntercept=-100))
    assert np.array_equal(xray.pixels, pixels() * 2.0 - 100)


def test_a_multi_frame_file_is_refused_with_the_number_of_frames(dx: Path) -> None:
    path = changed(dx, SOPClassUID=XA, NumberOfFrames=2, Rows=15)
    with pytest.raises(InputError, match="2 frames"):
        read_dicom_xray(path)


def test_a_secondary_capture_needs_the_whole_geometry(dx: Path) -> None:
    path = changed(dx, SOPClassUID=SC)
    with pytest.raises(InputError, match="distance source-detector"):
        read_dicom_xray(path, spacing=0.2)
    with pytest.raises(InputError, match=r"give (it|the pixel spacing)"):
        read_dicom_xray(path, sid=1000)
    assert read_dicom_xray(path, sid=1000, spacing=0.2).intrinsics.spacing == (0.2, 0.2)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CT_small.dcm", "CT Image Storage"),
        ("rtplan.dcm", "no image"),
        ("SC_rgb_small_odd.dcm", "colour"),
        ("MR_truncated.dcm", "MR Image Storage"),
    ],
)
def test_other_dicom_objects_are_refused_by_what_they_are(name: str, message: str) -> None:
    path = get_testdata_file(name)
    assert isinstance(path, str)
    with pytest.raises(InputError, match=message):
        read_dicom_xray(path)


def test_missing_unreadable_and_truncated_files_are_bad_input(dx: Path, tmp_path: Path) -> None:
    text = tmp_path / "notes.dcm"
    text.write_text("not an image")
    empty = tmp_path / "empty.dcm"
    empty.touch()
    truncated = tmp_path / "truncated.dcm"
    truncated.write_bytes(dx.read_bytes()[:-500])
    for path, message in [
        (tmp_path / "none.dcm", "does not exist"),
        (tmp_path, "folder"),
        (text, "not a DICOM file"),
        (empty, "not a DICOM file"),
        (truncated, "cannot be decoded"),
    ]:
        with pytest.raises(InputError, match=message) as e:
            read_dicom_xray(path)
        assert str(path) in str(e.value)
        assert "\n" not in str(e.value)


def test_read_xray_finds_dicom_by_its_content(dx: Path) -> None:
    plain = dx.rename(dx.with_name("IM0001"))
    assert read_xray(plain).intrinsics == INTRINSICS
    assert read_xray(plain, scale="attenuation").scale == "attenuation"


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_picture_needs_distance_and_spacing(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"frontal{suffix}"
    image = sitk.GetImageFromArray(pixels())
    image.SetSpacing((0.3, 0.3))
    sitk.WriteImage(image, str(path))
    with pytest.raises(InputError, match="distance source-detector"):
        read_xray(path, spacing=0.3)
    with pytest.raises(InputError, match=r"give (it|the pixel spacing)"):
        read_xray(path, sid=1000)
    xray = read_xray(path, sid=1000, spacing=(0.3, 0.2), mirrored=True)
    assert np.array_equal(xray.pixels, pixels())
    assert xray.intrinsics == Intrinsics.centered(1000.0, (0.3, 0.2), (40, 30), mirrored=True)
    assert (xray.name, xray.scale) == ("frontal", "attenuation")


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("dimension", [2, 3])
def test_the_spacing_of_a_medical_image_is_used(tmp_path: Path, suffix: str, dimension: int) -> None:
    path = tmp_path / f"a.b{suffix}"
    image = sitk.GetImageFromArray(pixels() if dimension == 2 else pixels()[None])
    image.SetSpacing((0.3, 0.2, 1.0)[:dimension])
    sitk.WriteImage(image, str(path))
    xray = read_xray(path, sid=1000)
    assert np.array_equal(xray.pixels, pixels())
    assert xray.intrinsics.spacing == pytest.approx((0.3, 0.2))
    assert xray.name == "a.b"
    with pytest.raises(InputError, match="distance source-detector"):
        read_xray(path)


def test_a_spacing_that_nobody_set_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "x.mha"
    sitk.WriteImage(sitk.GetImageFromArray(pixels()), str(path))
    with pytest.raises(InputError, match=r"give (it|the pixel spacing)"):
        read_xray(path, sid=1000)
    assert read_xray(path, sid=1000, spacing=1.0).intrinsics.spacing == (1.0, 1.0)


@pytest.mark.parametrize("suffix", [".tif", ".mha", ".nrrd"])
def test_pixels_that_are_no_numbers_do_not_count(tmp_path: Path, suffix: str) -> None:
    stored = pixels().astype(np.float32)
    stored[:4], stored[6, 7], stored[8, 9] = np.nan, np.inf, -np.inf
    path = tmp_path / f"x{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(stored), str(path))
    parts = read_xray_parts(path, sid=1000, spacing=0.2)
    finite = np.isfinite(stored)
    assert parts.mask is not None
    assert np.array_equal(parts.mask, finite)
    assert np.array_equal(parts.pixels[finite], stored[finite])
    assert np.isfinite(line_integral(parts)).all()
    assert any("no numbers" in note for note in parts.notes)


def test_grey_that_a_lossy_compression_tinted_is_grey(tmp_path: Path) -> None:
    planes = np.repeat(pixels(top=200)[..., None], 3, axis=-1).astype(np.uint8)
    planes[::3, ::2, 1] += 1
    sitk.WriteImage(sitk.GetImageFromArray(planes, isVector=True), str(tmp_path / "x.png"))
    assert np.array_equal(read_xray(tmp_path / "x.png", sid=1000, spacing=0.2).pixels, planes[..., 0])


def test_colour_stacks_damage_and_absence_are_bad_input(tmp_path: Path) -> None:
    colour, grey = tmp_path / "colour.png", tmp_path / "grey.png"
    planes = np.stack([pixels(top=255), pixels(top=200), pixels(top=100)], axis=-1).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(planes, isVector=True), str(colour))
    sitk.WriteImage(sitk.GetImageFromArray(np.repeat(planes[..., :1], 3, axis=-1), isVector=True), str(grey))
    stack, damaged = tmp_path / "stack.nii", tmp_path / "damaged.png"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 5, 6), np.int16)), str(stack))
    damaged.write_bytes(grey.read_bytes()[:60])
    for path, message in [
        (colour, "colour"),
        (stack, "4 frames"),
        (damaged, "cannot be read"),
        (tmp_path / "none.png", "does not exist"),
    ]:
        with pytest.raises(InputError, match=message):
            read_xray(path, sid=1000, spacing=0.2)
    assert np.array_equal(read_xray(grey, sid=1000, spacing=0.2).pixels, planes[..., 0])
