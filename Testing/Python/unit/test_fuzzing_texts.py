"""Damaged calibrations, poses, relations, landmarks and tables: a result, or one sentence that names the file."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest

from Testing.Python.unit.mutations import mutated
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.calibrations import FORMATS, Format, calibration_of, read_calibration, write_calibration
from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.imaging.volume import read_label_names
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.registration.start_files import read_landmarks, read_relations, read_start

CAMERA = Intrinsics.centered(1000.0, (0.5, 0.5), (64, 48))
XRAY = Xray("x", np.zeros((48, 64), np.uint8), CAMERA)
MATRIX = np.eye(4).tolist()


def _landmarks() -> str:
    pose = NominalView("AP", (0.0, 0.0, 0.0), 700.0).pose
    points = np.random.default_rng(0).uniform(-4, 4, (6, 3))
    rows = [",".join(f"{v:.4f}" for v in (*point, *project(point, pose, CAMERA))) for point in points]
    return "r,a,s,column,row\n" + "\n".join(rows)


def _calibration(kind: Format) -> str:
    camera = calibration_of(CAMERA, NominalView("AP", (0.0, 0.0, 0.0), 700.0).pose)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "camera"
        write_calibration(path, camera, kind)
        return path.read_text("utf-8")


READERS = {
    "pose.json": (json.dumps({"pose": MATRIX}), read_start),
    "relative.json": (json.dumps({"relative": [MATRIX, MATRIX]}), lambda path: read_relations(path, [XRAY, XRAY])),
    "landmarks.csv": (_landmarks(), lambda path: read_landmarks(path, XRAY)),
    "names.json": ('{"1": "spleen", "22": "liver"}', read_label_names),
    "names.csv": ("id,structure\n1,spleen\n22,liver\n", read_label_names),
    **{kind: (_calibration(kind), read_calibration) for kind in FORMATS},
}


def check(name: str, numbers: range, folder) -> None:
    text, read = READERS[name]
    path = folder / name
    path.write_text(text)
    read(str(path))
    wrong = []
    for number in numbers:
        content = mutated(text.encode(), np.random.default_rng([len(name), number]))
        path.write_bytes(content)
        try:
            read(str(path))
        except InputError as e:
            if str(path) not in str(e) or "\n" in str(e).replace(str(path), "").strip():
                wrong.append(f"{number}: {e} of {content!r}")
        except Exception as e:
            wrong.append(f"{number}: {type(e).__name__} {e} of {content!r}")
    assert not wrong, f"{len(wrong)}\n" + "\n".join(wrong[:8])


@pytest.mark.parametrize("name", READERS)
def test_a_sample_of_damaged_texts(name, tmp_path):
    check(name, range(40), tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("name", READERS)
def test_many_damaged_texts(name, tmp_path):
    check(name, range(1000, 3000), tmp_path)
