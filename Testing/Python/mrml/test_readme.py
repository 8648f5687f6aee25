"""The README's commands and code, run as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from Testing.Python.mrml.phantom import phantom_ct, phantom_labels
from XVRegistrationLib.cli.main import main
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.conventions import ras_to_lps
from XVRegistrationLib.geometry.rigid import check_rigid
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.imaging.dicom_writer import write_dicom_dx
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.render import render

README = Path(__file__).parents[3] / "README.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"<!-- a test runs th\w+ -->\n```{language}\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The files that the README names, in the current folder; trainings of a few seconds instead of minutes."""
    monkeypatch.chdir(tmp_path)
    ct = phantom_ct()
    for name, array in (("CT", ct.array), ("LABELS", np.minimum(phantom_labels().array, 1))):
        image = sitk.GetImageFromArray(array)
        lps = ras_to_lps(ct.ijk_to_ras)
        image.SetSpacing(ct.spacing.tolist())
        image.SetDirection((lps[:3, :3] / ct.spacing).ravel().tolist())
        image.SetOrigin(lps[:3, 3].tolist())
        sitk.WriteImage(image, f"{name}.nii.gz")
    camera = Intrinsics.centered(1020.0, (2.5, 2.5), (128, 128))
    pose = NominalView("AP", tuple(ct.center), 700.0).pose
    p = render(density_grid(ct), pose[None], camera)[0].numpy()
    write_dicom_dx("XRAY.dcm", np.round(60000 * np.exp(-p)).astype(np.uint16), camera)
    return tmp_path


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
    assert Path("scene.mrb").stat().st_size > 1000
