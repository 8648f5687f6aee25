"""The `xvregistration` command as a user types it: train, register, bad input, Ctrl-C."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import SimpleITK as sitk

from XVRegistrationLib.cli.main import main
from XVRegistrationLib.geometry.rigid import check_rigid, point_distance
from XVRegistrationLib.geometry.views import PoseRange, draw_poses
from XVRegistrationLib.imaging.dicom.writer import write_dicom_dx
from XVRegistrationLib.imaging.volume import write_volume
from XVRegistrationLib.registration.card import read_card
from XVRegistrationLib.registration.model import load_model
from XVRegistrationLib.rendering.render import render

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def ct(phantom, folder) -> Path:
    write_volume(folder / "ct.nii.gz", phantom)
    write_volume(folder / "labels.nii.gz", dataclasses.replace(phantom, array=(phantom.array > 300).astype(np.uint8)))
    (folder / "names.csv").write_text("id,structure\n1,bone\n")
    return folder / "ct.nii.gz"


@pytest.fixture(scope="module")
def geometry(camera, folder) -> Path:
    """A DICOM X-ray of nothing in particular, for its geometry."""
    path = folder / "geometry.dcm"
    write_dicom_dx(path, np.full(camera.size[::-1], 1000, np.uint16), camera)
    return path


@pytest.fixture(scope="module")
def model_folder(ct, geometry, folder) -> Path:
    path = folder / "model"
    ranges = ["--rotation", "15", "15", "15", "--translation", "20", "20", "20"]
    assert main(["train", str(ct), "-o", str(path), "--minutes", "0.1", "--geometry", str(geometry), *ranges]) == 0
    return path


@pytest.fixture(scope="module")
def xrays(model_folder, folder) -> dict[str, np.ndarray]:
    """Two X-ray files and their true poses."""
    model = load_model(model_folder)
    poses = draw_poses(model.view, PoseRange((15, 15, 15), (20, 20, 20)), 2, np.random.default_rng(5))
    truth = {}
    for i, pose in enumerate(poses):
        p = render(model.pyramid.finest, pose[None], model.intrinsics, 0.9)[0].numpy()
        write_dicom_dx(folder / f"xray{i}.dcm", np.round(60000 * np.exp(-p)).astype(np.uint16), model.intrinsics)
        truth[f"xray{i}"] = pose
    return truth


def test_training_writes_a_model_with_the_xrays_geometry(model_folder, camera):
    card = read_card(model_folder)
    assert card["network"] is not None
    assert card["training"]["images"] > 0
    assert card["intrinsics"]["sdd"] == camera.sdd
    assert card["intrinsics"]["size"] == list(camera.size)


def test_registering_writes_a_pose_and_a_picture_for_each_xray(model_folder, xrays, folder, phantom):
    out = folder / "out"
    files = [str(folder / f"{name}.dcm") for name in xrays]
    labels = [
        "--labels",
        str(folder / "labels.nii.gz"),
        "--label-names",
        str(folder / "names.csv"),
        "--structures",
        "bone",
    ]
    assert main(["register", str(model_folder), *files, "-o", str(out), *labels]) == 0
    points = phantom.center + np.random.default_rng(0).uniform(-60, 60, (50, 3))
    for name, truth in xrays.items():
        result = json.loads((out / f"{name}.json").read_text())
        assert point_distance(check_rigid(result["pose"]), truth, points) < 1.0
        assert {"pose", "intrinsics", "similarity", "seconds", "versions"} <= set(result)
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["train", "{folder}/absent.nii.gz", "-o", "{new}"], "does not exist"),
        (["train", "{folder}/geometry.dcm", "-o", "{new}"], "one slice"),
        (["train", "{ct}", "-o", "{model}"], "already holds a model"),
        (["train", "{ct}", "-o", "{new}", "--minutes", "-1"], "time budget"),
        (["train", "{ct}", "-o", "{new}", "--sid", "-5"], "positive"),
        (["train", "{ct}", "-o", "{new}", "--rotation", "20", "20", "-1"], "must not be negative"),
        (["train", "{ct}", "-o", "{new}", "--sod", "0"], "must be positive"),
        (["train", "{ct}", "-o", "{new}", "--geometry", "{folder}/names.csv"], "names.csv"),
        (["train", "{ct}", "-o", "{new}", "--device", "gpu"], "no device"),
        (["train", "{ct}", "-o", "{new}", "--anatomy", "knee"], "no anatomy preset"),
        (["train", "{ct}", "-o", "{new}", "--network", "resnot18"], "'resnot18'; there is resnet18"),
        (["train", "{ct}", "-o", "{new}", "--network", "vit_tiny_patch16_224"], "vit_tiny_patch16_224"),
        (["train", "{ct}", "-o", "{model}", "--resume", "--minutes", "9", "--pixels", "32"], "leave --pixels out"),
        (["train", "{ct}", "-o", "{new}", "--background", "--minutes", "0"], "more than 0 minutes"),
        (["train", "{ct}", "-o", "{new}", "--resume"], "holds no model"),
        (["train", "{ct}", "-o", "{model}", "--resume", "--minutes", "nan"], "time budget"),
        (["register", "{model}", "{folder}/plain.png", "--sid", "1000", "--spacing", "1", "1", "-o", "{folder}"], "overwritten"),
        (["register", "{folder}/nowhere", "{folder}/geometry.dcm", "-o", "{new}"], "holds no model"),
        (["register", "{model}", "{folder}/absent.dcm", "-o", "{new}"], "absent.dcm"),
        (["register", "{model}", "{folder}/plain.png", "-o", "{new}"], "--sid"),
        (["register", "{model}", "{folder}/geometry.dcm", "{folder}/geometry.dcm", "-o", "{new}"], "is given twice"),
        (["register", "{model}", "{folder}/geometry.dcm", "-o", "{new}", "--volume", "{folder}/labels.nii.gz"], "no Hounsfield units"),
        (["register", "{model}", "{folder}/geometry.dcm", "-o", "{ct}"], "is a file"),
        (["demo", "--minutes", "nan", "-o", "{new}"], "time budget"),
        (["demo", "--xrays", "0", "-o", "{new}"], "At least one X-ray"),
        (["demo", "--kvp", "300", "-o", "{new}"], "tube voltage must lie between 50 and 125 kVp"),
        (["demo", "-o", "{folder}"], "not an earlier demo"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_exit_code_2_and_nothing_written(
    arguments, reason, ct, model_folder, folder, geometry, capsys
):
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((20, 20), np.uint8)), folder / "plain.png")
    before = sorted(folder.rglob("*"))
    new = folder / "new"
    filled = [a.format(folder=folder, ct=ct, model=model_folder, new=new) for a in arguments]
    assert main(filled) == 2
    said = capsys.readouterr().err.strip()
    assert reason in said
    assert said.count("\n") == 0
    assert "Traceback" not in said
    assert sorted(folder.rglob("*")) == before


def test_ctrl_c_leaves_the_last_checkpoint_and_says_how_to_go_on(ct, geometry, folder):
    path = folder / "interrupted"
    command = [
        sys.executable,
        "-m",
        "XVRegistrationLib.cli.main",
        "train",
        str(ct),
        "-o",
        str(path),
        "--minutes",
        "0.4",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [*command, "--geometry", str(geometry)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        # A shell starts what it runs in the background with Ctrl-C ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not list(path.glob("network-*.safetensors")) or not read_card(path)["training"]:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"xvregistration train {ct} -o {path} --resume" in errors
    assert "Traceback" not in errors
    assert load_model(path).network is not None
    assert not list(path.glob(".part-*"))


def test_the_version_is_the_packages(capsys):
    import XVRegistrationLib

    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == XVRegistrationLib.__version__


def test_a_command_does_not_wait_in_busy_loops_unless_it_is_told_to(tmp_path, monkeypatch):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    main(["models", str(tmp_path)])
    assert os.environ["GOMP_SPINCOUNT"] == "1000"
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    main(["models", str(tmp_path)])
    assert os.environ["GOMP_SPINCOUNT"] == "7"
