"""The whole demo on the real CT, with two X-rays and by the bank alone; it downloads the CT."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest

from XVRegistrationLib.cli.main import main
from XVRegistrationLib.scene.bundle import load_mrb
from XVRegistrationLib.scene.standalone.app import start
from XVRegistrationLib.scene.xrays import pose_from_node, xray_nodes_in

pytestmark = pytest.mark.long


def test_the_demo_registers_and_its_scene_holds_what_it_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["demo", "--minutes", "0", "--xrays", "2", "-o", "out"]
    assert main(arguments) == 0
    report = json.loads(Path("out/report.json").read_text())
    assert all(case["mtre_mm"] < 2 for case in report["cases"])
    assert zipfile.is_zipfile("out/scene.mrb")

    for path in Path("out/xrays").glob("*.dcm"):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        assert header.Modality == "DX"
        assert "PositionerPrimaryAngle" not in header

    scene = start().scene
    scene.Clear(0)
    load_mrb(scene, Path("out/scene.mrb").resolve())
    nodes = xray_nodes_in(scene)
    assert len(nodes) == 2
    for case, found in zip(report["cases"], nodes, strict=True):
        pose = np.array(case["registration"]["pose"])
        np.testing.assert_allclose(pose_from_node(found.xray), pose, atol=1e-8)
    scene.Clear(0)
    assert main(arguments) == 0  # a second run replaces the first
