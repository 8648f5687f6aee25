"""`xvregistration register` told of the geometry by calibration files, by a C-arm's name, and by the header."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from XVRegistrationLib.cli.main import main
from XVRegistrationLib.geometry.calibrations import calibration_of, write_calibration
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import check_rigid, increment, point_distance, rigid
from XVRegistrationLib.geometry.views import PoseRange, preset_pose
from XVRegistrationLib.imaging.dicom.writer import write_dicom_dx
from XVRegistrationLib.imaging.volume import read_volume, write_volume
from XVRegistrationLib.registration.model import prepare_model, save_model
from XVRegistrationLib.rendering.render import render

if TYPE_CHECKING:
    from pathlib import Path

    from XVRegistrationLib.registration.model import PatientModel

CAMERA = Intrinsics.centered(1020.0, (3.0, 3.3), (128, 120))
OFF_CENTRE = Intrinsics(1100.0, (3.0, 3.1), (57.0, 66.5), (128, 120))
AWAY = np.array([6.0, -9.0, 4.0, 0.05, -0.04, 0.03])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("geometry")


@pytest.fixture(scope="module")
def model(phantom, folder) -> PatientModel:
    """A bank of frontal views, in folder/model."""
    write_volume(folder / "ct.nii.gz", phantom)
    made = prepare_model(
        read_volume(folder / "ct.nii.gz"),
        CAMERA,
        sod=700.0,
        pose_range=PoseRange((9, 9, 9), (15, 15, 15)),
        bank_size=256,
    )
    save_model(folder / "model", made)
    return made


def line_integrals(model, pose, camera):
    return render(model.pyramid.finest, pose[None], camera, 0.9)[0].numpy()


def picture(model, path, pose, camera) -> Path:
    """A PNG of line integrals, which states no geometry."""
    p = line_integrals(model, pose, camera)
    sitk.WriteImage(sitk.GetImageFromArray(np.round(60000 * p / p.max()).astype(np.uint16)), str(path))
    return path


def register(folder, out, *arguments) -> dict[str, dict]:
    assert main(["register", str(folder / "model"), *map(str, arguments), "-o", str(out)]) == 0
    return {p.stem: json.loads(p.read_text()) for p in out.glob("*.json")}


def points(model):
    return model.volume.center + np.random.default_rng(0).uniform(-60, 60, (50, 3))


def test_two_calibrated_cameras_find_the_patient_in_their_room(model, folder, tmp_path):
    truth = [increment(AWAY, model.view.isocenter) @ model.view.pose]
    truth.append(increment(AWAY, model.view.isocenter) @ preset_pose("LAO 45", model.view.isocenter, 690.0))
    to_room = rigid(check_rigid(truth[0])[:3, :3].T, [100.0, -2000.0, 30.0])  # a laboratory's frame, somewhere else
    files, calibrations = [], []
    for i, (pose, kind) in enumerate(zip(truth, ("mayacam2", "opencv-yaml"), strict=True)):
        files.append(picture(model, tmp_path / f"view{i}.png", pose, OFF_CENTRE))
        calibrations += ["--calibration", tmp_path / f"camera{i}.txt"]
        write_calibration(tmp_path / f"camera{i}.txt", calibration_of(OFF_CENTRE, to_room @ pose), kind)
    found = register(folder, tmp_path / "out", *files, *calibrations, "--relative", "calibration")
    for i, pose in enumerate(truth):
        result = found[f"view{i}"]
        assert point_distance(check_rigid(result["pose"]), pose, points(model)) < 1
        camera = Intrinsics.from_dict(result["intrinsics"])
        np.testing.assert_allclose(camera.matrix, OFF_CENTRE.matrix, rtol=1e-9)


def test_a_c_arm_stands_in_for_the_header_and_the_notes_are_shown(model, folder, tmp_path, capsys):
    detector = Intrinsics.centered(1020.0, (0.194 * 12, 0.194 * 12), (128, 128))
    truth = increment(AWAY, model.view.isocenter) @ model.view.pose
    path = tmp_path / "frontal.dcm"
    values = np.round(60000 * np.exp(-line_integrals(model, truth, detector))).astype(np.uint16)
    write_dicom_dx(path, values, detector)
    dataset = pydicom.dcmread(path)
    dataset.DistanceSourceToDetector, dataset.ImagerPixelSpacing = "1e9", ["0", "0"]
    dataset.save_as(path)
    result = register(folder, tmp_path / "out", path, "--c-arm", "cios-fusion")["frontal"]
    assert point_distance(check_rigid(result["pose"]), truth, points(model)) < 1
    out = " ".join(capsys.readouterr().out.split())
    assert "DistanceSourceToDetector (0018,1110) is 1e9" in out
    assert "From Siemens Cios Fusion" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--c-arm", "another"], "No C-arm is called 'another'"),
        (["--calibration", "none.txt"], "none.txt does not exist"),
        (["--calibration", "a", "--calibration", "b"], "once for all X-rays or once for each"),
        (["--relative", "calibration"], "needs a --calibration for each"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(model, folder, tmp_path, capsys, arguments, sentence):
    file = picture(model, tmp_path / "x.png", model.view.pose, CAMERA)
    assert main(["register", str(folder / "model"), str(file), "-o", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
