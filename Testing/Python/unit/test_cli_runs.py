"""`xvregistration register` on files of several frames beside single ones, and what it leaves where there is no pose."""

from __future__ import annotations

import json

import numpy as np
import pytest

from Testing.Python.dicom_files import grey, write
from XVRegistrationLib.cli.main import main
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import point_distance
from XVRegistrationLib.geometry.views import PoseRange, draw_poses
from XVRegistrationLib.imaging.volume import write_volume
from XVRegistrationLib.registration.model import load_model
from XVRegistrationLib.rendering.render import render

PIXELS = 64
CAMERA = Intrinsics.centered(1020.0, (6.0, 6.0), (PIXELS, PIXELS))
HEADER = {"ImagerPixelSpacing": [6.0, 6.0], "PositionerPrimaryAngle": None, "PositionerSecondaryAngle": None}
BLANK = np.full((PIXELS, PIXELS), 777, np.uint16)
"""An image of nothing at all, which has no pose."""


@pytest.fixture(scope="module")
def patient(phantom, tmp_path_factory):
    """A model's folder, X-rays of it, and their poses."""
    folder = tmp_path_factory.mktemp("patient")
    write_volume(folder / "ct.nii.gz", phantom)
    first = write(folder / "geometry.dcm", BLANK, **HEADER)
    near = ["--rotation", "3", "3", "3", "--translation", "5", "5", "5", "--minutes", "0"]
    model = folder / "model"
    assert main(["train", str(folder / "ct.nii.gz"), "-o", str(model), "--geometry", str(first), *near]) == 0
    made = load_model(model)
    poses = draw_poses(made.view, PoseRange((3, 3, 3), (5, 5, 5)), 3, np.random.default_rng(5))
    shown = [render(made.pyramid.finest, pose[None], CAMERA)[0].numpy() for pose in poses]
    return model, [grey(image) for image in shown], poses


def read(path):
    return json.loads(path.read_text("utf-8"))


def test_every_frame_of_each_file_is_registered_and_what_has_no_pose_says_why(patient, phantom, tmp_path, capsys):
    model, images, poses = patient
    out, points = tmp_path / "out", phantom.center + np.random.default_rng(0).uniform(-60, 60, (50, 3))
    run = write(tmp_path / "run.dcm", np.stack([images[0], images[1], BLANK]), **HEADER)
    single = write(tmp_path / "single.dcm", images[2], **HEADER)
    nothing = write(tmp_path / "nothing.dcm", BLANK, **HEADER)
    files = [str(file) for file in (run, nothing, single)]
    assert main(["register", str(model), *files, "-o", str(out)]) == 2
    assert "--frame all" in capsys.readouterr().err
    assert not out.exists()
    assert main(["register", str(model), *files, "-o", str(out), "--frame", "all"]) == 2
    said = capsys.readouterr()
    assert "1 of 5 X-rays have no pose" in said.err
    assert said.err.strip().count("\n") == 0
    for name, pose in (("run-0000", poses[0]), ("run-0001", poses[1]), ("single", poses[2])):
        assert point_distance(np.array(read(out / f"{name}.json")["pose"]), pose, points) < 2.0
        assert (out / f"{name}.png").exists()
    assert read(out / "run-0002.json")["trust"]["verdict"] == "failed"
    found = read(out / "nothing.json")
    assert (found["pose"], found["verdict"], found["ok"]) == (None, "failed", False)
    assert found["reason"] in said.err
    assert main(["export", str(out / "nothing.json"), "-o", str(tmp_path / "exported")]) == 2
    assert "no pose" in capsys.readouterr().err


def test_a_try_that_failed_is_kept_beside_a_better_one(patient, tmp_path, capsys):
    model, images, _poses = patient
    out = tmp_path / "out"
    arguments = ["register", str(model), str(tmp_path / "x.dcm"), "-o", str(out)]
    write(tmp_path / "x.dcm", images[0], **HEADER)
    assert main(arguments) == 0
    good = (out / "x.json").read_bytes()
    assert read(out / "x.json")["trust"]["verdict"] != "failed"
    noise = np.random.default_rng(0).permutation(images[0].ravel()).reshape(images[0].shape)
    for image, code, words in ((noise, 0, "x.json keeps the better result"), (BLANK, 2, "")):
        write(tmp_path / "x.dcm", image, **HEADER)
        assert main(arguments) == code
        assert words in " ".join(capsys.readouterr().out.split())
        assert (out / "x.json").read_bytes() == good
        assert (out / "x.failed.json").exists()
    write(tmp_path / "x.dcm", images[0], **HEADER)
    assert main(arguments) == 0
    assert {path.name for path in out.iterdir()} == {"x.json", "x.png"}


def test_what_is_known_of_one_xray_is_not_said_of_every_frame(patient, tmp_path, capsys):
    arguments = ["register", str(patient[0]), str(tmp_path / "x.dcm"), "-o", str(tmp_path / "out"), "--frame", "all"]
    assert main([*arguments, "--start", "x.json"]) == 2
    assert "about one X-ray" in capsys.readouterr().err
