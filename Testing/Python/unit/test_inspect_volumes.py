"""`xvregistration inspect` of volumes with what is said of them: the facts, and the picture of what X-rays are rendered from."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.Python.unit.dicom_files import write_xray
from XVRegistrationLib.cli.main import main
from XVRegistrationLib.imaging.volume import read_volume
from XVRegistrationLib.imaging.volumes.reading import Reading
from XVRegistrationLib.imaging.volumes.vessels import IODINE
from XVRegistrationLib.registration.card import read_card, reading_of

SHAPE = (20, 24, 30)
PER_MM = np.full(SHAPE, -0.001, np.float32)
PER_MM[4:16, 4:20, 4:26], PER_MM[8:12, 8:16, 8:20] = 0.02, 0.05


def write(path, array):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((3.0, 3.0, 3.0))
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def mr(tmp_path):
    """A file whose values say nothing of attenuation: 500 to 900 and a bright vessel of 1500 off the middle."""
    array = np.random.default_rng(0).integers(500, 900, SHAPE).astype(np.int16)
    array[2:5, 3:6, 4:25] = 1500
    return write(tmp_path / "mr.nrrd", array)


@pytest.fixture
def labels(tmp_path):
    """Two structures in a corner of the grid, and the table of their names."""
    array = np.zeros(SHAPE, np.uint8)
    array[2:8, 2:8, 2:8], array[2:8, 2:8, 8:14] = 1, 2
    (tmp_path / "names.csv").write_text("id,structure\n1,femur left\n2,muscle\n")
    return write(tmp_path / "labels.nrrd", array)


def inspected(capsys, *arguments: object) -> dict:
    capsys.readouterr()
    assert main(["inspect", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *arguments: object) -> str:
    capsys.readouterr()
    assert main([*map(str, arguments)]) == 2
    return " ".join(capsys.readouterr().err.split())


def shown(path) -> list[np.ndarray]:
    """The three slices of a picture, as grey values 0 to 255; the letters on them are left out."""
    picture = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[..., :3].astype(int)
    grey = np.ptp(picture, axis=2) < 8
    columns = np.array_split(np.arange(picture.shape[1]), 3)
    parts = []
    for which in columns:
        part = np.where(grey[:, which], picture[:, which].mean(axis=2), 0)
        for _axis in range(2):  # the page is white, and around a slice it is nothing else
            (inside,) = np.nonzero((part < 250).mean(axis=1) > 0.3)
            part = part[inside[0] : inside[-1] + 1].T
        parts.append(part)
    return parts


def test_an_angiogram_is_said_to_be_vessels_and_its_picture_shows_them(mr, tmp_path, capsys):
    untold = inspected(capsys, mr)
    assert "there is no air" in untold["missing"][0]
    assert "HU" not in untold["values"]["range"]["said"]
    found = inspected(capsys, mr, "--as", "vessels", 1000, 1400, "-o", tmp_path / "out.png")
    values = found["values"]
    assert found["missing"] == []
    assert (values["meaning"]["value"], values["meaning"]["origin"]) == ("vessels", "user")
    assert values["range"]["value"] == [500, 1500]
    assert values["rendered"]["value"] == pytest.approx([0, IODINE])
    assert "padding" not in values
    assert "HU" not in json.dumps(found)
    share = 3 * 3 * 21 / np.prod(SHAPE)
    assert any(f"{share:.1%} of its voxels are vessel" in note for note in found["notes"])
    bright = [np.mean(part > 200) for part in shown(tmp_path / "out.png")]
    # The vessel runs along i, off the middle of the grid: seen from each side it has its whole area, and all else is dark.
    assert bright == pytest.approx([3 * 21 / 720, 3 * 21 / 600, 9 / 480], rel=0.5)
    assert all(np.mean((part > 30) & (part < 200)) < 0.05 for part in shown(tmp_path / "out.png"))
    assert "another window" in inspected(capsys, mr, "--as", "vessels", 5000, 6000)["missing"][0]


def test_densities_are_those_of_named_structures_and_so_is_the_picture(mr, labels, tmp_path, capsys):
    names = ["--label-names", tmp_path / "names.csv"]
    assert "--label-names" in inspected(capsys, mr, "--segmentation", labels)["missing"][0]
    found = inspected(capsys, mr, "--segmentation", labels, *names, "-o", tmp_path / "out.png")
    assert found["missing"] == []
    assert (found["values"]["meaning"]["value"], found["values"]["meaning"]["origin"]) == ("structures", "user")
    volume = read_volume(mr, Reading(segmentation=str(labels), label_names=((1, "femur left"), (2, "muscle"))))
    assert found["values"]["rendered"]["value"] == [-1000, volume.array.max()]
    assert found["values"]["rendered"]["said"].endswith("HU")
    femur, muscle = (np.clip((volume.array[3, 3, i] + 200) / 1000, 0, 1) * 255 for i in (3, 9))
    axial, coronal, sagittal = shown(tmp_path / "out.png")  # through the structures, which are not in the middle
    for part in (axial, coronal):
        assert np.mean(np.abs(part - femur) < 4) > 0.02
        assert np.mean(np.abs(part - muscle) < 4) > 0.02
    assert max(np.mean(np.abs(sagittal - grey) < 4) for grey in (femur, muscle)) > 0.04
    structures = inspected(capsys, labels, *names)
    assert structures["values"]["structure 1"]["value"]["name"] == "femur left"


def test_attenuation_is_said_per_mm_and_what_cannot_be_is_refused_everywhere(mr, tmp_path, capsys):
    path = write(tmp_path / "mu.nrrd", PER_MM)
    values = inspected(capsys, path, "--as", "attenuation", "-o", tmp_path / "out.png")["values"]
    assert values["range"]["said"] == "-0.001 to 0.05 per mm"
    assert values["meaning"]["value"] == "attenuation"
    assert "padding" not in values
    for part, body in zip(shown(tmp_path / "out.png"), (16 * 22 / 720, 12 * 22 / 600, 12 * 16 / 480), strict=True):
        assert np.mean((part > 90) & (part < 120)) + np.mean(part > 240) == pytest.approx(body, abs=0.05)
    assert "Nothing in a patient has so much" in inspected(capsys, mr, "--as", "attenuation")["missing"][0]
    train = ["train", mr, "-o", tmp_path / "model", "--minutes", 0, "--as", "attenuation"]
    assert "mr.nrrd holds no linear attenuation in 1/mm" in refused(capsys, *train)
    assert not (tmp_path / "model").exists()
    nothing = write(tmp_path / "nothing.nrrd", -np.abs(PER_MM))
    assert "absorbs nothing" in refused(capsys, "train", nothing, *train[2:])
    few = np.zeros((140, 140, 140), np.float32)
    few[71, 71, 71] = 0.05  # not among the samples of a large volume
    assert read_volume(write(tmp_path / "few.nrrd", few), Reading("1/mm")).array.max() == np.float32(0.05)


def test_a_model_by_named_structures_is_read_again_by_its_card(mr, labels, tmp_path, capsys):
    given = ["train", mr, "-o", tmp_path / "model", "--segmentation", labels]
    assert "no density for the structure label 1" in refused(capsys, *given, "--minutes", "0")
    given += ["--label-names", tmp_path / "names.csv", "--size", 32, 32, "--spacing", 8, 8]
    assert main([*map(str, given), "--minutes", "0"]) == 0
    card = read_card(tmp_path / "model")
    assert reading_of(card).label_names == ((1, "femur left"), (2, "muscle"))
    assert read_volume(mr, reading_of(card)).fingerprint == card["volume"]["fingerprint"]
    given[3:6] = [tmp_path / "other"]
    assert "--label-names needs the structures" in refused(capsys, *given)


def test_what_is_not_scanned_or_vouched_for_is_said(tmp_path, capsys):
    rng = np.random.default_rng(0)
    bone = np.zeros(SHAPE, np.int16)
    bone[4:16, 4:20, 4:26] = rng.normal(500, 200, (12, 16, 22)).clip(100, 2000)
    path = write(tmp_path / "bone.nrrd", bone)
    assert "there is no air" in " ".join(inspected(capsys, path)["missing"])
    cut = inspected(capsys, path, "--not-scanned", 0)
    assert cut["missing"] == []
    assert cut["values"]["not_scanned"]["value"] == pytest.approx(np.mean(bone == 0))
    assert cut["values"]["not_scanned"]["origin"] == "user"
    [note] = [note for note in cut["notes"] if "unlike those of a whole part of a body" in note]
    assert "right for bones that were cut out of a CT" in note
    assert cut["values"]["meaning"] == {"value": "hu", "origin": "assumed", "said": "Hounsfield units", "where": ""}
    believed = inspected(capsys, path, "--not-scanned", 0, "--as", "hu")
    assert not [note for note in believed["notes"] if "unlike" in note]
    assert believed["values"]["meaning"]["origin"] == "user"
    body = np.full(SHAPE, -1000, np.int16)
    body[2:18, 2:22, 2:28] = rng.normal(40, 30, (16, 20, 26))
    body[8:12, 8:14, 8:14] = 900
    whole = inspected(capsys, write(tmp_path / "body.nrrd", body))
    assert not [note for note in whole["notes"] if "unlike" in note]
    values = inspected(capsys, tmp_path / "body.nrrd", "--not-scanned", 7777)["values"]
    assert values["not_scanned"]["said"] == "nothing has the value 7777"


def test_words_about_a_volume_are_refused_where_there_is_none(labels, tmp_path, capsys):
    xray = write_xray(tmp_path / "xray.dcm", np.full((20, 30), 500, np.uint16))
    assert "xray.dcm is no volume; --as, --not-scanned are for volumes" in refused(
        capsys, "inspect", xray, "--as", "hu", "--not-scanned", 0
    )
    # A label map that is said to be a volume is one.
    assert inspected(capsys, labels, "--as", "attenuation")["kind"] == "volume"
    assert "are for X-rays" in refused(capsys, "inspect", labels, "--as", "hu", "--sid", 900, "--frame", 0)
    assert "--as takes hu, attenuation" in refused(capsys, "inspect", labels, "--as", "mri")
