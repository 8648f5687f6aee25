"""`xvregistration register` on files of several frames beside single ones, and what it leaves where there is no pose."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.Python.dicom_files import grey, write
from XVRegistrationLib.cli.export import frame_of
from XVRegistrationLib.cli.main import main, parser
from XVRegistrationLib.cli.register_input import read_input
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
    assert main(["register", str(model), files[0], "-o", str(out)]) == 2
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


def test_of_a_folder_each_file_is_registered_or_says_why_not(patient, phantom, tmp_path, capsys):
    model, images, poses = patient
    folder, out = tmp_path / "in", tmp_path / "out"
    (folder / "below").mkdir(parents=True)
    for number in (2, 10):  # as people count
        write(folder / f"x{number}.dcm", images[0 if number == 2 else 1], **HEADER)
    write(folder / "run.dcm", np.stack(images[:2]), **HEADER)
    write(folder / "no-distance.dcm", images[0], **HEADER | {"DistanceSourceToDetector": None})
    (folder / "damaged.dcm").write_bytes(b"\0" * 200)
    (folder / "notes.txt").write_text("nothing of an image")
    for name in ("DICOMDIR", ".hidden"):
        (folder / name).write_bytes(b"")
    assert main(["register", str(model), str(folder), "-o", str(out)]) == 2
    said = capsys.readouterr()
    assert "4 of 6 X-rays have no pose" in said.err
    assert said.err.strip().count("\n") == 0
    whys = {
        "run.dcm": "2 frames",
        "no-distance.dcm": "DistanceSourceToDetector",
        "damaged.dcm": "damaged.dcm",
        "notes.txt": "notes.txt",
    }
    assert {path.name for path in out.iterdir()} == {
        *(f"{name}.json" for name in (*whys, "x2", "x10")),
        "x2.png",
        "x10.png",
    }
    points = phantom.center + np.random.default_rng(0).uniform(-60, 60, (50, 3))
    for name, pose in (("x2", poses[0]), ("x10", poses[1])):
        assert point_distance(np.array(read(out / f"{name}.json")["pose"]), pose, points) < 2.0
    rows = [line.split("│")[1].strip() for line in said.out.splitlines() if line.startswith("│")]
    assert rows[:2] == ["x2", "x10"]
    assert sorted(rows[2:]) == sorted(whys)
    for name, word in whys.items():
        found = read(out / f"{name}.json")
        assert (found["pose"], found["verdict"], found["ok"]) == (None, "failed", False)
        assert word in found["reason"]
        assert f"{name}: no pose. " in said.out
        assert "--" not in found["reason"]  # who reads it may have used no command
    assert "(Options: --sid MM.)" in said.out


def test_files_that_are_called_alike_have_results_of_their_own(patient, tmp_path):
    model, images, _poses = patient
    files = [tmp_path / name for name in ("a.dcm", "a.png", "b/a.png", "c.dcm", "c-0001.dcm", "d.dcm")]
    (tmp_path / "b").mkdir()
    for file in files:
        if file.suffix == ".png":
            sitk.WriteImage(sitk.GetImageFromArray(images[0].astype(np.uint16)), file)
        else:
            write(file, np.stack(images[:2]) if file.stem == "c" else images[0], **HEADER)
    given = ["register", model, *files, "-o", tmp_path / "out", "--frame", "all", "--sid", 1000, "--spacing", 1, 1]
    found = read_input(parser().parse_args([str(word) for word in given]))
    names = ["a.dcm", "a.png", "a.png 2", "c-0000", "c.dcm-0001", "c-0001.dcm", "d"]
    assert [xray.name for xray in found.xrays] == [part.name for part in found.parts] == names
    assert [frame_of(name, "c.dcm") for name in names[3:5]] == [0, 1]
    assert frame_of("c-0001.dcm", "c-0001.dcm") is None


def test_what_belongs_together_is_refused_whole_and_so_is_a_folder_without_x_rays(patient, tmp_path, capsys):
    model, images, _poses = patient
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    register = ["register", str(model), str(folder), "-o", str(out)]

    def refused(*more: str) -> str:
        assert main([*register, *more]) == 2
        assert not out.exists()
        return " ".join(capsys.readouterr().err.split())

    assert f"{folder} holds no files" in refused()
    (folder / "b.dcm").write_bytes(b"\0" * 200)
    (folder / "a.dcm").write_bytes(b"\0" * 200)
    assert "a.dcm" in refused()  # none can be used: nothing is written
    write(folder / "a.dcm", images[0], **HEADER)
    assert "b.dcm" in refused("--series")
    assert "one X-ray" in refused("--landmarks", "marks.csv")
    assert "got 3 masks for 2 X-rays" in refused(*["--mask", "m.png"] * 3)
    assert main([*register[:-1], str(folder)]) == 2
    assert "is the folder of the X-rays" in capsys.readouterr().err
    assert {path.name for path in folder.iterdir()} == {"a.dcm", "b.dcm"}


def test_a_mask_for_each_file_is_of_all_its_frames(patient, tmp_path, capsys):
    model, images, _poses = patient
    files = [
        write(tmp_path / "run.dcm", np.stack(images[:2]), **HEADER),
        write(tmp_path / "x.dcm", images[2], **HEADER),
    ]
    masks = []
    for i, width in enumerate((40, 20)):
        mask = np.zeros((PIXELS, width if i else PIXELS), np.uint8)
        mask[8:56, 8:] = 255
        sitk.WriteImage(sitk.GetImageFromArray(mask), str(tmp_path / f"{i}.png"))
        masks += ["--mask", str(tmp_path / f"{i}.png")]
    command = ["register", str(model), *map(str, files), "-o", str(tmp_path / "out"), "--frame", "all", *masks]
    assert main(command) == 2  # the mask of the second is of another size
    assert "1 of 3 X-rays" in capsys.readouterr().err
    assert "20 x 64 pixels" in read(tmp_path / "out" / "x.dcm.json")["reason"]
    assert read(tmp_path / "out" / "run-0001.json")["pose"] is not None
