"""The commands and code of README and documentation, run as they stand there."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from Testing.Python.mrml.phantom import phantom_ct, phantom_labels
from XVRegistrationLib.cli.main import main
from XVRegistrationLib.evaluation.metrics import mtre
from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.geometry.rigid import check_rigid, increment, invert
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.imaging.dicom.writer import write_dicom_dx
from XVRegistrationLib.imaging.volume import read_volume, write_volume
from XVRegistrationLib.jobs.train_patient import start_patient
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.render import render

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.volume import Volume

ROOT = Path(__file__).parents[3]
README = ROOT / "README.md"
TRAINING = ROOT / "Documentation" / "training.md"
REGISTRATION = ROOT / "Documentation" / "registration.md"
CAMERA = Intrinsics.centered(1020.0, (2.5, 2.5), (128, 128))


def blocks(language: str, page: Path = README) -> list[str]:
    return re.findall(rf"<!-- a test runs th\w+ -->\n```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The files that the README names, in the current folder; trainings of a few seconds instead of minutes."""
    monkeypatch.chdir(tmp_path)
    ct = phantom_ct()
    for name, array in (("CT", ct.array), ("LABELS", np.minimum(phantom_labels().array, 1))):
        write_volume(f"{name}.nii.gz", dataclasses.replace(ct, array=array))
    expose("XRAY.dcm", ct, first_pose(ct))
    return tmp_path


def first_pose(ct: Volume) -> NDArray[np.float64]:
    return NominalView("AP", tuple(ct.center), 700.0).pose


def expose(path: str, ct: Volume, pose: NDArray[np.float64]) -> None:
    p = render(density_grid(ct), pose[None], CAMERA)[0].numpy()
    write_dicom_dx(path, np.round(60000 * np.exp(-p)).astype(np.uint16), CAMERA)


def test_the_commands_of_the_readme_run(files):
    (commands,) = blocks("sh")
    for line in commands.strip().splitlines():
        program, *arguments = shlex.split(line.replace("--minutes 5", "--minutes 0.05"))
        assert program == "xvregistration"
        assert main(arguments) == 0
    assert {p.name for p in Path("OUT").iterdir()} == {"XRAY.json", "XRAY.png"}


def test_the_python_of_the_readme_runs(files):
    code = blocks("python")
    assert len(code) == 2
    names: dict[str, object] = {}
    for block in code:
        exec(compile(block.replace("minutes=5", "minutes=0.05"), str(README), "exec"), names)
    check_rigid(names["result"].pose)  # type: ignore[attr-defined]
    assert names["where"].semi_axes.shape == (1, 2)  # type: ignore[attr-defined]
    assert Path("scene.mrb").stat().st_size > 1000


def test_the_python_of_the_documentation_runs(files):
    ct = phantom_ct()
    pose, turn = first_pose(ct), increment([0, 0, 0, 0, 0, np.radians(50.0)], ct.center)
    expose("XRAY2.dcm", ct, turn @ pose)
    np.savetxt("RELATION.txt", invert(pose) @ turn @ pose)
    points = ct.center + np.random.default_rng(0).uniform(-60, 60, (6, 3))
    np.savetxt("POINTS.txt", points)
    np.savetxt("PIXELS.txt", project(points, pose, CAMERA))
    start_patient("MODEL", read_volume("CT.nii.gz"), CAMERA)
    (code,) = blocks("python", REGISTRATION)
    names: dict[str, Any] = {}
    exec(compile(code, str(REGISTRATION), "exec"), names)
    assert mtre(names["marked"].pose, pose, points) < 0.1
    for found, truth in ((names["a"], pose), (names["b"], turn @ pose), (names["from_landmarks"], pose)):
        assert mtre(found.pose, truth, points) < 2.0


def test_the_python_of_the_page_on_training_runs(files):
    start_patient("MODEL", read_volume("CT.nii.gz"), CAMERA)
    (code,) = blocks("python", TRAINING)
    for usual, quick in (("minutes=5", "minutes=0.02"), ("pool=1024", "pool=32")):
        assert usual in code
        code = code.replace(usual, quick)
    names: dict[str, Any] = {}
    exec(compile(code, str(TRAINING), "exec"), names)
    assert names["model"].training["settings"]["losses"]["dice"]["value"] == 30.0
