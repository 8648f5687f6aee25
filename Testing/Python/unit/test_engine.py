"""The engine as a real child process, on a small phantom: all it can do, and what happens when something goes wrong."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

from Testing.Python.unit.dicom_files import noise, write_xray
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.geometry.rigid import point_distance, transform_points
from XVRegistrationLib.geometry.views import NominalView, relative_motion
from XVRegistrationLib.imaging.dicom.writer import write_dicom_dx
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.jobs.engine import Engine
from XVRegistrationLib.jobs.engine_protocol import ProtocolError, decode, encode
from XVRegistrationLib.jobs.interpreter import child_environment
from XVRegistrationLib.jobs.xray_messages import unpack
from XVRegistrationLib.registration.model import load_model
from XVRegistrationLib.registration.result import Registration
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.render import render

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 120.0  # s; far more than anything here takes, so that a test ends


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine()
    engine.start()
    yield engine
    engine.close()


def hand_over(engine: Engine, volume: Volume, folder: Path, key: str) -> dict:
    """Tell the engine of a volume, as the panel does; what it says about it."""
    file = folder / f"{key}.npy"
    np.save(file, volume.array)
    request = engine.request(
        "describe_volume", volume=key, volume_file=str(file), ijk_to_ras=volume.ijk_to_ras.tolist(), name=volume.name
    )
    return engine.wait(request, PATIENCE).fields


@pytest.fixture(scope="module")
def described(engine, phantom, tmp_path_factory) -> dict:
    return hand_over(engine, phantom, tmp_path_factory.mktemp("volume"), "patient")


@pytest.fixture(scope="module")
def prepared(engine, described, camera, tmp_path_factory) -> tuple[Path, list]:
    """A model's folder, and the progress that was told while it was made."""
    folder = tmp_path_factory.mktemp("models") / "model"
    steps: list = []
    request = engine.request(
        "prepare",
        volume="patient",
        model=str(folder),
        view="AP",
        sod=700.0,
        intrinsics=camera.to_dict(),
        rotation=[15, 15, 15],
        translation=[20, 20, 20],
    )
    result = engine.wait(request, PATIENCE, lambda message: steps.append(message.fields))
    assert result.fields["bank_size"] == 4096
    assert result.fields["network"] is False
    return folder, steps


@pytest.fixture(scope="module")
def true_pose(phantom) -> np.ndarray:
    view = NominalView("AP", tuple(phantom.center), 700.0)
    return view.absolute(relative_motion([6.0, -9.0, 4.0], [8.0, -12.0, 5.0]))


@pytest.fixture(scope="module")
def image(phantom, camera, true_pose) -> np.ndarray:
    return render(density_grid(phantom), true_pose[None], camera)[0].numpy()


def ask_to_register(engine: Engine, folder: Path, image: np.ndarray, camera: Intrinsics, **more) -> int:
    fields = {"volume": "patient", "model": str(folder), "name": "x", "intrinsics": camera.to_dict()}
    return engine.request("register", {"pixels": image}, **fields, scale="attenuation", **more)


def test_frames_carry_arrays_of_all_shapes_unchanged_and_nothing_but_numbers():
    arrays = {
        "empty": np.zeros((0, 3), np.float32),
        "scalar": np.array(4.5),
        "bool": np.array([[True, False, True]]),
        "flipped": np.arange(24, dtype=np.uint16).reshape(2, 3, 4)[:, ::-1],
        "big endian": np.arange(3, dtype=">i4"),
    }
    header, back = decode(encode({"a": [1, None, "µ"]}, arrays))
    assert header == {"a": [1, None, "µ"]}
    assert all(np.array_equal(back[name], array) and back[name].shape == array.shape for name, array in arrays.items())
    back["flipped"][:] = 0  # may be written to
    with pytest.raises(ProtocolError, match="numbers"):
        encode({}, {"objects": np.array([object()])})
    for frame in (b"", b"123", encode({})[:-4], encode({}, {"a": np.zeros(9)})[:-16], b"\x01" * 40):
        with pytest.raises(ProtocolError):
            decode(frame)


def test_the_client_loads_none_of_the_heavy_packages():
    heavy = "{'torch', 'warp', 'timm', 'scipy', 'pydicom', 'matplotlib', 'SimpleITK'}"
    code = f"import sys, XVRegistrationLib.jobs.engine; sys.exit(str({heavy} & set(sys.modules)) if {heavy} & set(sys.modules) else 0)"
    subprocess.run([sys.executable, "-c", code], check=True, env=child_environment())


def test_a_volume_is_described(described, phantom):
    assert described["fingerprint"] == phantom.fingerprint
    assert (described["kind"], described["ok"]) == ("CT", True)
    assert described["spacing"] == pytest.approx([3.0, 3.2, 4.0])
    assert described["field_of_view_mm"] == pytest.approx([240.0, 230.4, 192.0])
    assert described["value_range"] == [-1000, pytest.approx(1300, abs=200)]


def test_a_model_is_prepared_once_and_loaded_after_that(engine, prepared, phantom, camera):
    folder, steps = prepared
    assert steps[0]["done"] < steps[-1]["done"] == steps[-1]["total"] == 4096
    model = load_model(folder, phantom)
    assert (model.intrinsics, model.view.sod, model.pose_range.rotation) == (camera, 700.0, (15, 15, 15))
    assert model.volume.fingerprint == phantom.fingerprint
    assert ".npy" not in (folder / "model.json").read_text("utf-8")
    again: list = []
    request = engine.request("prepare", volume="patient", model=str(folder), view="PA", intrinsics=camera.to_dict())
    assert engine.wait(request, PATIENCE, again.append).fields["view"]["name"] == "AP"
    assert again == []
    loaded = engine.wait(engine.request("load_model", volume="patient", model=str(folder)), PATIENCE)
    assert loaded.fields["fingerprint"] == phantom.fingerprint


def test_a_model_of_another_volume_is_refused_and_left_alone(engine, prepared, phantom, camera, tmp_path):
    folder, _ = prepared
    before = (folder / "model.json").read_bytes()
    hand_over(engine, Volume(phantom.array[::-1].copy(), phantom.ijk_to_ras, "other"), tmp_path, "other")
    request = engine.request("prepare", volume="other", model=str(folder), view="AP", intrinsics=camera.to_dict())
    with pytest.raises(InputError, match="made for another volume"):
        engine.wait(request, PATIENCE)
    assert (folder / "model.json").read_bytes() == before
    with pytest.raises(InputError, match="no longer has this volume"):  # it keeps the latest
        engine.wait(engine.request("load_model", volume="patient", model=str(folder)), PATIENCE)
    hand_over(engine, phantom, tmp_path, "patient")


def test_the_nominal_picture_says_which_side_is_which(engine, described, camera):
    request = engine.request("nominal", volume="patient", view="AP", sod=700.0, intrinsics=camera.to_dict(), pixels=64)
    answer = engine.wait(request, PATIENCE)
    assert answer.fields["markers"] == {"left": "R", "right": "L", "top": "H", "bottom": "F"}
    assert (answer.arrays["image"].shape, answer.arrays["image"].dtype) == ((60, 64), np.float32)
    assert answer.arrays["image"].max() > 1


def test_a_drr_is_the_image_at_its_pose(engine, described, image, camera, true_pose):
    request = engine.request("drr", volume="patient", pose=true_pose.tolist(), intrinsics=camera.to_dict(), pixels=128)
    live = engine.wait(request, PATIENCE).arrays["image"]
    assert live.shape == image.shape
    assert np.corrcoef(live.ravel(), image.ravel())[0, 1] > 0.99


def test_a_newer_drr_of_the_channel_takes_the_place_of_those_that_wait(engine, prepared, image, camera, true_pose):
    # While this is being registered the others wait.
    busy = ask_to_register(engine, prepared[0], image, camera, sources=["bank"])
    fields = {"volume": "patient", "pose": true_pose.tolist(), "intrinsics": camera.to_dict(), "pixels": 32}
    live = [engine.request("drr", **fields) for _ in range(4)]
    other = engine.request("drr", **fields, channel="other")
    kinds = {n: engine.wait(n, PATIENCE).kind for n in [busy, *live, other]}
    assert [kinds[n] for n in live] == ["superseded", "superseded", "superseded", "result"]
    assert (kinds[busy], kinds[other]) == ("result", "result")


def test_an_xray_is_registered_with_progress(engine, prepared, image, camera, true_pose, phantom):
    steps: list = []
    request = ask_to_register(engine, prepared[0], image, camera, sources=["bank", "network"])
    answer = engine.wait(request, PATIENCE, lambda message: steps.append(message.fields))
    found = Registration.from_dict(answer.fields)
    assert point_distance(found.pose, true_pose, phantom.center[None]) < 1.0
    assert found.similarity > 0.9
    levels = [s["level"] for s in steps]
    assert levels == sorted(levels)
    assert set(levels) == set(range(steps[0]["levels"]))
    assert steps[-1]["similarity"] == pytest.approx(found.similarity, abs=0.05)


def test_a_given_start_is_refined_and_competes_by_name(engine, prepared, image, camera, true_pose, phantom):
    near, far = true_pose.copy(), true_pose.copy()
    near[:3, 3] += 4.0
    far[:3, 3] += 60.0
    starts = {"current": near.tolist(), "preset": far.tolist()}
    request = ask_to_register(engine, prepared[0], image, camera, sources=[], starts=starts)
    found = Registration.from_dict(engine.wait(request, PATIENCE).fields)
    assert found.winner == "current"
    assert {s.kind for s in found.starts} == {"current", "preset"}
    assert point_distance(found.pose, true_pose, phantom.center[None]) < 1.0
    angles = true_pose.copy()
    angles[:3, 3] += 25.0 * true_pose[:3, 0]
    stated = ask_to_register(
        engine, prepared[0], image, camera, sources=[], starts={"header": angles.tolist()}, by_angles=["header"]
    )
    found = Registration.from_dict(engine.wait(stated, PATIENCE).fields)
    header, onto = found.starts
    assert (header.kind, onto.kind) == ("header", "header, shifted")
    np.testing.assert_allclose(header.pose, angles, atol=1e-9)
    assert point_distance(onto.pose, true_pose, phantom.center[None]) < 12.5
    broken = ask_to_register(engine, prepared[0], image, camera, sources=[], starts={"current": (2 * near).tolist()})
    with pytest.raises(InputError, match="start 'current' is not a rigid"):
        engine.wait(broken, PATIENCE)


def test_work_in_progress_and_work_that_waits_can_be_cancelled(engine, prepared, image, camera):
    running, waiting, last = (ask_to_register(engine, prepared[0], image, camera, sources=["bank"]) for _ in range(3))
    while not any(m.request == running for m in engine.poll()):
        time.sleep(0.01)  # until it has told of its progress
    engine.cancel(running)
    engine.cancel(waiting)
    for request in (running, waiting):
        with pytest.raises(InputError, match="Cancelled"):
            engine.wait(request, PATIENCE)
    assert engine.wait(last, PATIENCE).kind == "result"


def test_a_bank_that_is_given_up_leaves_no_model(engine, described, camera, tmp_path):
    request = engine.request(
        "prepare", volume="patient", model=str(tmp_path / "m"), view="AP", intrinsics=camera.to_dict()
    )
    while not any(m.request == request for m in engine.poll()):  # until it has told of its progress
        time.sleep(0.005)
    engine.cancel(request)
    with pytest.raises(InputError, match="Cancelled"):
        engine.wait(request, PATIENCE)
    assert not (tmp_path / "m").exists()


def test_an_xray_file_is_read_as_far_as_it_goes(engine, camera, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 4000, camera.size[::-1]).astype(np.uint16)
    write_dicom_dx(tmp_path / "whole.dcm", pixels, camera)
    answer = engine.wait(engine.request("read_xray", path=str(tmp_path / "whole.dcm"), mirrored=True), PATIENCE)
    [read] = unpack(answer.fields, answer.arrays)
    assert np.array_equal(read.pixels, pixels)
    assert read.missing == []
    assert read.spacing == pytest.approx(camera.spacing)
    assert read.origins["mirrored"] == "user"
    np.save(tmp_path / "x.npy", pixels)  # not an image
    with pytest.raises(InputError, match="cannot be read as an image"):
        engine.wait(engine.request("read_xray", path=str(tmp_path / "x.npy")), PATIENCE)


def test_a_frame_of_a_run_is_read_with_the_pixels_that_count(engine, tmp_path):
    run = noise((3, 30, 40), 4096)
    run[:, :2] = 0
    path = str(write_xray(tmp_path / "run.dcm", run, bits=12, PixelPaddingValue=0))
    answer = engine.wait(engine.request("read_xray", path=path, frame=1), PATIENCE)
    [read] = unpack(answer.fields, answer.arrays)
    assert np.array_equal(read.pixels, run[1])
    assert np.array_equal(read.mask, run[1] != 0)
    assert (read.name, read.frame, read.frames) == ("run-0001", 1, 3)
    answer = engine.wait(engine.request("read_xray", path=path), PATIENCE)
    for i, (read, frame) in enumerate(zip(unpack(answer.fields, answer.arrays), run, strict=True)):
        assert np.array_equal(read.pixels, frame)
        assert read.frame == i


def test_structures_are_projected_where_they_are(engine, described, phantom, camera, true_pose, tmp_path):
    labels = np.zeros(phantom.array.shape, np.uint16)
    labels[20:26, 30:40, 10:20] = 3
    labels[5:9, 50:55, 60:66] = 7
    np.save(tmp_path / "labels.npy", labels)
    kept = engine.request(
        "labels",
        volume="patient",
        labels_file=str(tmp_path / "labels.npy"),
        ijk_to_ras=phantom.ijk_to_ras.tolist(),
        values=[3, 7, 9],
        names=["a", "b", "c"],
    )
    assert engine.wait(kept, PATIENCE).fields["values"] == [3, 7]
    fields = {"volume": "patient", "pose": true_pose.tolist(), "intrinsics": camera.to_dict()}
    both = engine.wait(engine.request("project_labels", **fields), PATIENCE)
    one = engine.wait(engine.request("project_labels", **fields, values=[7]), PATIENCE)
    assert both.fields["values"] == [3, 7]
    assert both.arrays["masks"].dtype == np.uint8
    assert np.array_equal(one.arrays["masks"][0], both.arrays["masks"][1])
    for mask, ijk in zip(both.arrays["masks"], ([14.5, 34.5, 22.5], [62.5, 52.0, 6.5]), strict=True):
        column, row = project(transform_points(phantom.ijk_to_ras, ijk), true_pose, camera)
        assert np.allclose(np.argwhere(mask).mean(axis=0), (row, column), atol=1.0)


def test_bad_requests_get_a_sentence_and_the_engine_goes_on(engine, described, camera, tmp_path):
    np.save(tmp_path / "flat.npy", np.zeros((4, 4), np.int16))
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    volume = {"volume": "x", "ijk_to_ras": np.eye(4).tolist(), "name": "x"}
    for operation, fields, sentence in [
        ("fly", {}, "no operation 'fly'"),
        ("drr", {}, "lacks 'volume'"),
        ("drr", {"volume": "none"}, "no longer has this volume"),
        (
            "drr",
            {"volume": "patient", "pose": np.zeros((4, 4)).tolist(), "intrinsics": camera.to_dict()},
            "not a rigid",
        ),
        ("load_model", {"volume": "patient", "model": str(tmp_path)}, "holds no model"),
        (
            "prepare",
            {
                "volume": "patient",
                "model": str(tmp_path / "flat.npy" / "model"),
                "view": "AP",
                "intrinsics": camera.to_dict(),
            },
            "A file cannot be read or written: .*flat.npy",
        ),
        ("describe_volume", {**volume, "volume_file": str(tmp_path / "none.npy")}, "cannot be read"),
        ("describe_volume", {**volume, "volume_file": str(tmp_path / "objects.npy")}, "cannot be read"),
        ("describe_volume", {**volume, "volume_file": str(tmp_path / "flat.npy")}, "2 dimensions"),
        (
            "nominal",
            {"volume": "patient", "view": ["AP"], "intrinsics": camera.to_dict()},
            "The engine failed: TypeError",
        ),
    ]:
        with pytest.raises(InputError, match=sentence):
            engine.wait(engine.request(operation, **fields), PATIENCE)
    assert engine.state == "ready"


def test_an_engine_that_dies_says_so_for_all_that_waits_and_can_be_started_again(tmp_path, phantom):
    engine = Engine(log=tmp_path / "engine.log")
    assert engine.state == "stopped"
    with pytest.raises(InputError, match="not running"):
        engine.request("drr")
    engine.start()
    while engine.state == "starting":
        engine.poll()
    waiting = [engine.request("read_xray", path="x") for _ in range(20)]
    (tmp_path / "engine.log").open("a").write("the last words\n")
    psutil.Process(engine.process_id).kill()
    messages = []
    began = time.monotonic()
    while engine.state != "failed" and time.monotonic() < began + PATIENCE:
        messages += engine.poll()
    messages += engine.poll()
    answered = [m.request for m in messages]
    assert sorted(answered) == waiting  # each exactly once
    lost = [m for m in messages if "ended unexpectedly" in m.fields["message"]]
    assert lost
    assert all("the last words" in m.fields["message"] for m in lost)
    engine.start()
    assert hand_over(engine, phantom, tmp_path, "patient")["ok"]
    child = psutil.Process(engine.process_id)
    engine.close()
    assert engine.state == "stopped"
    assert not child.is_running()
