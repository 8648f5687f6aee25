"""`xvregistration inspect`: what is said of a file, with its origin; the pictures; and that it gives nobody's identity away."""

from __future__ import annotations

import json
import re

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from PIL import Image

from Testing.Python.unit.dicom_files import write_xray
from Testing.Python.unit.mutations import XA
from XVRegistrationLib.cli.main import main
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.imaging.dicom.writer import write_dicom_dx
from XVRegistrationLib.imaging.volumes import image_files, read

SIZE = (120, 160)
ROW, COLUMN = np.mgrid[: SIZE[0], : SIZE[1]]
BODY = 2.5 * np.maximum(1 - ((ROW - 60) / 50) ** 2 - ((COLUMN - 70) / 55) ** 2, 0) ** 0.5


def exposure() -> np.ndarray:
    noise = np.random.default_rng(0).normal(1, 0.01, SIZE)
    return np.round(3000 * np.exp(-BODY) * noise).astype(np.uint16)


@pytest.fixture
def dx(tmp_path):
    path = tmp_path / "xray.dcm"
    write_dicom_dx(path, exposure(), Intrinsics.centered(1000.0, (0.3, 0.2), SIZE[::-1]), seed=1, bits_stored=12)
    return path


def edit(path, **elements):
    dataset = pydicom.dcmread(path)
    for name, value in elements.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path)


def inspected(capsys, *arguments: object) -> dict:
    assert main(["inspect", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_each_value_of_an_x_ray_has_its_origin(dx, capsys):
    edit(dx, PatientOrientation=["L", "F"])
    found = inspected(capsys, dx)
    values = found["values"]
    assert found["kind"] == "X-ray"
    assert found["title"].startswith("Digital X-Ray Image Storage - For Processing")
    assert (values["sdd"]["value"], values["sdd"]["origin"]) == (1000.0, "tag")
    assert (values["spacing"]["value"], values["spacing"]["origin"]) == ([0.3, 0.2], "tag")
    assert (values["principal_point"]["value"], values["principal_point"]["origin"]) == ([79.5, 59.5], "assumed")
    assert (values["scale"]["value"], values["scale"]["origin"]) == ("intensity", "tag")
    assert values["orientation"]["value"] == ["L", "F"]
    assert values["i0"]["value"] == pytest.approx(3000, rel=0.02)
    assert values["counts"]["value"] == 1
    assert found["missing"] == []


def test_the_table_says_the_same_in_words_with_the_attribute(dx, capsys):
    assert main(["inspect", str(dx)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if "source to detector" in line]
    assert re.search(r"1000\.0 mm +stated +DistanceSourceToDetector \(0018,1110\)", line)
    (assumed,) = [line for line in lines if "Central ray" in line]
    assert "column 79.5, row 59.5" in assumed
    assert "assumed" in assumed


def test_what_is_missing_is_asked_for_and_what_is_given_is_said(dx, capsys):
    edit(dx, DistanceSourceToDetector=None, ImagerPixelSpacing=None)
    found = inspected(capsys, dx)
    assert found["values"]["sdd"] | {"where": ""} == {
        "value": None,
        "origin": "missing",
        "said": "not stated",
        "where": "",
    }
    assert [re.findall("--[a-z]+", sentence) for sentence in found["missing"]] == [["--sid"], ["--spacing"]]
    given = inspected(capsys, dx, "--sid", "900", "--spacing", "0.1", "0.2", "--mirrored")
    assert given["missing"] == []
    assert (given["values"]["sdd"]["value"], given["values"]["sdd"]["origin"]) == (900.0, "user")
    assert (given["values"]["mirrored"]["value"], given["values"]["mirrored"]["origin"]) == (True, "user")


def test_angles_of_a_c_arm_are_said_as_clinicians_do(dx, capsys):
    edit(dx, SOPClassUID=XA, PositionerPrimaryAngle=-30, PositionerSecondaryAngle=15, DistanceSourceToPatient=700)
    values = inspected(capsys, dx)["values"]
    assert values["primary_angle"]["said"] == "30.0 degrees RAO"
    assert values["secondary_angle"]["said"] == "15.0 degrees CRA"
    assert values["sod"]["value"] == 700


def test_rectangles_are_left_out(dx, capsys):
    values = inspected(capsys, dx, "--ignore", 0, 0, 16, 12)["values"]
    assert values["counts"]["value"] == pytest.approx(1 - 16 * 12 / exposure().size)
    assert main(["inspect", str(dx), "--ignore", "500", "0", "5", "5"]) == 2
    assert "lies beside the X-ray xray, which has 160 x 120 pixels" in capsys.readouterr().err


def test_a_volume_is_described_with_its_axes_and_its_padding(tmp_path, capsys):
    hu = np.random.default_rng(0).normal(40, 30, (10, 30, 40)).clip(-1000, 3000).astype(np.int16)
    hu[:, :8], hu[:, 20:22], hu[:, :2] = -1000, 900, -2048
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((2.0, 2.5, 6.0))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / "ct.nrrd"))
    found = inspected(capsys, tmp_path / "ct.nrrd", "-o", tmp_path / "ct.png")
    values = found["values"]
    assert found["kind"] == "volume"
    assert values["size"]["value"] == [40, 30, 10]
    assert values["spacing"]["value"] == pytest.approx([2.0, 2.5, 6.0])
    assert values["orientation"]["value"] == ["R", "A", "H"]  # ITK's LPS with its first two axes turned round
    assert values["range"]["value"][0] == -2048
    assert values["padding"]["value"] == pytest.approx(2 / 30)
    assert found["missing"] == []
    assert Image.open(tmp_path / "ct.png").size[0] > 600
    sitk.WriteImage(
        sitk.GetImageFromArray(np.random.default_rng(0).random((5, 8, 9), np.float32)), str(tmp_path / "mr.mha")
    )
    assert "look normalised" in inspected(capsys, tmp_path / "mr.mha")["missing"][0]


@pytest.mark.parametrize("shown", [np.nan, np.inf, -np.inf])
def test_a_volume_with_values_that_are_no_numbers_is_valid_json(tmp_path, capsys, shown):
    array = np.random.default_rng(0).normal(0.3, 0.1, (8, 9, 10)).astype(np.float32)
    low, high = float(array.min()), float(array.max())
    array[array == np.median(array, axis=0)[0, 0]] = shown
    array[4, 4, 4] = shown
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "v.nrrd"))
    arguments = ["inspect", "--json", str(tmp_path / "v.nrrd"), "-o", str(tmp_path / "v.png")]
    assert main(arguments) == 0
    said = json.loads(capsys.readouterr().out, parse_constant=lambda text: pytest.fail(f"{text} is no JSON"))
    assert said["values"]["range"]["value"] == pytest.approx([low, high])
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "v.png")))
    assert picture[150:250, 100:300, 0].std() > 10


def test_a_volume_is_read_once(tmp_path, capsys, monkeypatch):
    files = []

    def counted(path, *more):
        files.append(path)
        return image_files.read_image(path, *more)

    monkeypatch.setattr(read, "read_image", counted)
    hu = np.random.default_rng(0).normal(40, 30, (6, 20, 20)).clip(-1000, 3000).astype(np.int16)
    hu[:, :4], hu[:, 10:12] = -1000, 900
    sitk.WriteImage(sitk.GetImageFromArray(hu), str(tmp_path / "ct.nrrd"))
    assert inspected(capsys, tmp_path / "ct.nrrd", "-o", tmp_path / "ct.png")["missing"] == []
    assert len(files) == 1


def test_the_picture_shows_the_steps_side_by_side_and_what_does_not_count(dx, tmp_path, capsys):
    pixels = exposure()
    pixels[:30] = 12
    dataset = pydicom.dcmread(dx)
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(dx)
    assert main(["inspect", str(dx), "-o", str(tmp_path / "out" / "steps.png")]) == 0
    with Image.open(tmp_path / "out" / "steps.png") as picture:
        shown = np.asarray(picture.convert("RGB")).astype(int)
    height, width = shown.shape[:2]
    assert width > 3 * height - 200  # four panels
    orange = (np.abs(shown - np.array([230, 159, 0])).sum(axis=2) < 300) & (shown[..., 0] - shown[..., 2] > 60)
    where = np.argwhere(orange)
    assert orange[:, : width // 2].sum() == 0
    assert where[:, 1].min() > 0.7 * width
    assert orange.sum() > 0.03 * height * width / 4


@pytest.mark.parametrize("output", ["steps.jpg", "folder.png", "xray.dcm"])
def test_a_picture_that_cannot_be_written_is_a_sentence(dx, tmp_path, output, capsys):
    (tmp_path / "folder.png").mkdir()
    before = dx.read_bytes()
    assert main(["inspect", str(dx), "-o", str(tmp_path / output)]) == 2
    assert capsys.readouterr().err.startswith("xvregistration: ")
    assert dx.read_bytes() == before


def test_bad_input_is_a_sentence(tmp_path, dx, capsys):
    (tmp_path / "text.dcm").write_text("no image")
    edit(dx, SOPClassUID="1.2.840.10008.5.1.4.1.1.6.1")  # ultrasound
    for path in (tmp_path / "text.dcm", tmp_path / "nowhere.nii", dx):
        assert main(["inspect", str(path)]) == 2
        out, err = capsys.readouterr()
        assert path.name in err
        assert out == ""


def identifying(dataset: pydicom.Dataset) -> list[str]:
    """Fill every text, date and number of a header that can tell who it is with a word of its own; those words."""
    words = []
    fill = {
        "PN": "Zqname{}^Zqgiven{}", "LO": "Zqlong{}", "SH": "Zqshort{}", "ST": "Zqtext{}", "LT": "Zqmore{}", "UT": "Zqunlimited{}",
        "UC": "Zqchars{}", "DA": "193112{:02d}", "TM": "2359{:02d}", "DT": "193111{:02d}", "AS": "{:03d}Y", "AE": "Zqtitle{}", "IS": "77{:04d}",
    }  # fmt: skip
    keywords = (
        *("PatientName", "PatientID", "PatientBirthDate", "PatientAge", "OtherPatientIDs", "OtherPatientNames"),
        *("PatientAddress", "PatientMotherBirthName", "PatientTelephoneNumbers", "PatientComments", "EthnicGroup"),
        *("ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName", "NameOfPhysiciansReadingStudy"),
        *(
            "InstitutionName",
            "InstitutionAddress",
            "InstitutionalDepartmentName",
            "StationName",
            "AccessionNumber",
            "StudyID",
        ),
        *("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "StudyTime", "AcquisitionDateTime"),
        *("StudyDescription", "SeriesDescription", "ProtocolName", "ImageComments", "AdditionalPatientHistory"),
        *(
            "DeviceSerialNumber",
            "RequestedProcedureDescription",
            "RequestingPhysician",
            "Manufacturer",
            "ManufacturerModelName",
        ),
        *("DerivationDescription", "LossyImageCompressionMethod", "RescaleType", "PixelSpacingCalibrationDescription"),
    )
    for number, keyword in enumerate(keywords):
        vr = pydicom.datadict.dictionary_VR(keyword)
        word = fill.get(vr, "ZQCODE{}").replace("{}", str(number)).format(number)
        setattr(dataset, keyword, word)
        words += [part for part in re.split(r"[\^]", word) if len(part) > 3]
    dataset.StudyInstanceUID = dataset.SeriesInstanceUID = "1.2.826.0.1.3680043.987654321.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.826.0.1.3680043.987654321.2"
    dataset.add_new(0x00091001, "LO", "Zqprivate")
    return [*words, "987654321", "Zqprivate", "Zq"]


@pytest.mark.parametrize(
    "change", [{}, {"SOPClassUID": XA}, {"DistanceSourceToDetector": None}, {"SOPClassUID": "1.2.826.0.1.987654321"}]
)
def test_nothing_that_tells_who_it_is_leaves_the_command(dx, tmp_path, change, capsys, monkeypatch):
    dataset = pydicom.dcmread(dx)
    words = identifying(dataset)
    dataset.save_as(dx)
    edit(dx, **change)
    folder = tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    said = ""
    for extra in ([], ["--json"], ["-o", str(folder / "steps.png")]):
        main(["inspect", str(dx), *extra])
        out, err = capsys.readouterr()
        said += out + err.replace("1.2.826.0.1.987654321", "" if change else "1.2.826.0.1.987654321")
    written = b"".join(p.name.encode() + p.read_bytes() for p in folder.rglob("*")) if folder.exists() else b""
    for word in words:
        if word == "987654321" and "SOPClassUID" in change:
            continue  # the kind of object is named where it is refused
        assert word not in said
        assert len(word) < 4 or word.encode() not in written  # two letters are in any compressed picture
    if folder.exists():
        with Image.open(folder / "steps.png") as picture:
            assert set(picture.info) <= {"dpi"}


def test_of_a_run_the_first_frame_is_inspected_unless_told_otherwise(tmp_path, capsys):
    path = write_xray(tmp_path / "run.dcm", np.stack([exposure() // (n + 1) for n in range(3)]), bits=12)
    first, second = inspected(capsys, path)["values"], inspected(capsys, path, "--frame", "1")["values"]
    assert first["frames"]["value"] == second["frames"]["value"] == 3
    assert second["range"]["value"][1] == first["range"]["value"][1] // 2
