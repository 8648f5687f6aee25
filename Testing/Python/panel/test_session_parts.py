"""Presets, signals, and the batch example."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import slicer
import slicer.util

from Testing.Python.panel.patients import CAMERA, patient, pose_of, write_xray
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.calibrations import calibration_of, write_calibration
from XVRegistrationLib.geometry.views import NominalView, PoseRange
from XVRegistrationLib.imaging.anatomies import load_presets, preset_named
from XVRegistrationLib.panel.batch import register_folder
from XVRegistrationLib.panel.dicom_source import source_of
from XVRegistrationLib.panel.files import session_folder
from XVRegistrationLib.panel.signal import Signal
from XVRegistrationLib.scene.standalone.app import start
from XVRegistrationLib.scene.volumes import add_volume
from XVRegistrationLib.scene.xrays import xray_nodes_in


@pytest.mark.parametrize("preset", load_presets().values(), ids=lambda preset: preset.name)
def test_every_preset_is_a_view_a_range_and_a_detector_that_make_sense(preset):
    NominalView(preset.view, (0.0, 0.0, 0.0), preset.sod)
    PoseRange(preset.rotation, preset.translation)
    assert 0 < preset.sod < preset.sid < 2000
    assert preset.title
    assert preset.intrinsics.sdd == preset.sid
    assert preset_named(preset.name) is preset


def test_the_presets_of_the_first_panel_are_there_and_an_unknown_one_is_refused():
    assert {"thorax-ap", "thorax-pa", "pelvis-ap", "spine-ap", "spine-lateral", "skull-ap"} <= load_presets().keys()
    with pytest.raises(InputError, match=r"no anatomy preset 'knee'; choose one of thorax-ap"):
        preset_named("knee")


def test_a_signal_calls_each_listener_once_in_order_and_raises_after_all_were_called():
    signal: Signal[str] = Signal()
    heard: list[tuple[str, str]] = []

    def first(value):
        heard.append(("first", value))
        raise ValueError("first failed")

    def second(value):
        heard.append(("second", value))

    for listener in (first, second, second):
        signal.connect(listener)
    with pytest.raises(ValueError, match="first failed"):
        signal.emit("a")
    assert heard == [("first", "a"), ("second", "a")]
    signal.disconnect(first)
    signal.disconnect(first)
    signal.emit("b")
    assert heard[2:] == [("second", "b")]


def test_the_file_of_a_node_from_dicom_is_found_and_nothing_else_is(monkeypatch, tmp_path):
    scene = start().scene
    scene.Clear(0)
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "fluoro")
    slicer.util.updateVolumeFromArray(node, np.zeros((1, 4, 4), np.uint16))
    file = tmp_path / "1.2.3"
    file.touch()
    files = {"1.2.3": str(file), "1.2.4": str(tmp_path / "gone")}
    database = SimpleNamespace(isOpen=True, fileForInstance=lambda uid: files.get(uid, ""))
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    assert source_of(node) is None
    for uids, found in (("1.2.3", file), ("1.2.4", None), ("9", None), ("1.2.3 1.2.4", None)):
        node.SetAttribute("DICOM.instanceUIDs", uids)
        assert (source_of(node) and source_of(node).file) == found
    monkeypatch.delattr(slicer, "dicomDatabase")
    node.SetAttribute("DICOM.instanceUIDs", "1.2.3")
    assert source_of(node) is None
    scene.Clear(0)


def test_the_folder_of_a_session_that_crashed_is_removed_and_that_of_a_living_one_is_not(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    crashed, living = (tmp_path / "sessions" / f"{number}-x" for number in (gone.pid, os.getppid()))
    for folder in (crashed, living):
        folder.mkdir(parents=True)
    mine = session_folder(tmp_path)
    assert (mine.exists(), living.exists(), crashed.exists()) == (True, True, False)


def test_a_folder_of_xrays_is_registered_and_what_cannot_be_read_does_not_stop_the_others(tmp_path):
    scene = start().scene
    scene.Clear(0)
    files = [write_xray(tmp_path / f"xray{number}.nii.gz", patient(), number) for number in range(2)]
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"")
    volume = add_volume(scene, patient())
    calibration = tmp_path / "camera.txt"
    write_calibration(calibration, calibration_of(CAMERA, np.eye(4)), "mayacam2")
    try:
        outcomes = register_folder(
            volume,
            [files[0], damaged, files[1]],
            tmp_path / "out",
            calibration=calibration,
            root=tmp_path / "data",
            timeout=120,
        )
        assert list(outcomes) == ["xray0.nii.gz", "damaged.png", "xray1.nii.gz"]
        assert "damaged.png" in outcomes["damaged.png"]
        for number, name in enumerate(("xray0", "xray1")):
            found = json.loads((tmp_path / "out" / f"{name}.json").read_text("utf-8"))
            assert np.abs(np.array(found["pose"]) - pose_of(number)).max() < 1.0
            assert found["outcome"] == outcomes[f"{name}.nii.gz"]
        assert [nodes.name for nodes in xray_nodes_in(scene)] == ["xray0", "xray1"]
        with pytest.raises(InputError, match="new"):
            register_folder(scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "new"), files, tmp_path, root=tmp_path)
    finally:
        scene.Clear(0)
