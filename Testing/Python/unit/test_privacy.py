"""A DICOM X-ray full of names through training, registration, report and export: no byte of what is written names anybody."""

from __future__ import annotations

import json

import numpy as np

from Testing.Python.dicom_files import NAMES, named, write
from XVRegistrationLib.cli.main import main
from XVRegistrationLib.evaluation.report import Case, write_report
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.imaging.volume import Volume, write_volume
from XVRegistrationLib.registration.model import load_model
from XVRegistrationLib.registration.result import Registration
from XVRegistrationLib.rendering.render import render

PIXELS = 64


def found_in(folder):
    """(file, value) wherever something of the patient is in a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return named(files)


def test_nothing_that_the_command_writes_or_says_names_the_patient(phantom, tmp_path, capfd):
    write_volume(tmp_path / "ct.nii.gz", phantom)
    write_volume(tmp_path / "labels.nii.gz", Volume((phantom.array > 300).astype(np.int16), phantom.ijk_to_ras))
    geometry = {"ImagerPixelSpacing": [6.0, 6.0], "PositionerPrimaryAngle": None, "PositionerSecondaryAngle": None}
    first = write(tmp_path / "geometry.dcm", np.full((PIXELS, PIXELS), 7, np.uint16), **geometry)
    assert found_in(tmp_path)  # the search finds what is there
    model, out = tmp_path / "model", tmp_path / "out"
    near = ["--rotation", "3", "3", "3", "--translation", "5", "5", "5"]
    assert (
        main(
            ["train", str(tmp_path / "ct.nii.gz"), "-o", str(model), "--minutes", "0", "--geometry", str(first), *near]
        )
        == 0
    )
    made = load_model(model)
    camera = Intrinsics.centered(1020.0, (6.0, 6.0), (PIXELS, PIXELS))
    shown = render(made.pyramid.finest, made.view.pose[None], camera)[0].numpy()
    xray = write(tmp_path / "x.dcm", np.round(60000 * np.exp(-shown)).astype(np.uint16), **geometry)
    labels = ["--labels", str(tmp_path / "labels.nii.gz")]
    assert main(["register", str(model), str(xray), "-o", str(out), *labels]) == 0
    result = Registration.from_dict(json.loads((out / "x.json").read_text()))
    write_report(out, [Case("x", result, picture="x.png")])
    exported = tmp_path / "exported"
    arguments = ["--xrays", str(xray), *labels, "--volume", str(tmp_path / "ct.nii.gz")]
    assert main(["export", str(out / "x.json"), "-o", str(exported), *arguments]) == 0
    said = capfd.readouterr()
    for folder in (model, out, exported):
        assert found_in(folder) == []
    assert not [value for value in NAMES.values() if value in said.out + said.err]
    names = {path.name for path in exported.iterdir()}
    assert {"x_labels.dcm", "x_overlay.png", "scene.mrb"} <= names
