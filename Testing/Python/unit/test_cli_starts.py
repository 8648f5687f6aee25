"""`xvregistration register` told what is known beforehand: angles, views, landmarks, poses, depth, masks, relations, runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from XVRegistrationLib.cli.main import main
from XVRegistrationLib.geometry.angles import pose_from_angles
from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.geometry.rigid import check_rigid, increment, invert, point_distance, transform_points
from XVRegistrationLib.geometry.views import PoseRange, preset_pose
from XVRegistrationLib.imaging.dicom.writer import write_dicom_dx
from XVRegistrationLib.imaging.volume import read_volume, write_volume
from XVRegistrationLib.registration.model import prepare_model, save_model
from XVRegistrationLib.rendering.render import render

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.registration.model import PatientModel

CAMERA = Intrinsics.centered(1020.0, (3.0, 3.3), (128, 120))
SOD = 700.0
AWAY = np.array([6.0, -9.0, 4.0, 0.05, -0.04, 0.03])
"""mm and rad: how the patient lies otherwise than a view has it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("starts")


@pytest.fixture(scope="module")
def model(phantom, folder) -> PatientModel:
    """A bank of frontal views, in folder/model."""
    write_volume(folder / "ct.nii.gz", phantom)
    made = prepare_model(
        read_volume(folder / "ct.nii.gz"), CAMERA, sod=SOD, pose_range=PoseRange((9, 9, 9), (15, 15, 15)), bank_size=256
    )
    save_model(folder / "model", made)
    return made


@pytest.fixture(scope="module")
def points(model) -> NDArray[np.float64]:
    return model.volume.center + np.random.default_rng(0).uniform(-60, 60, (50, 3))


def moved(pose, model, away=AWAY) -> NDArray[np.float64]:
    return increment(away, model.view.isocenter) @ pose


def expose(model, path, pose, added: ArrayLike = 0.0, **header: str) -> str:
    """An X-ray of the pose as a DICOM file, with line integrals (H, W) of something else in it and elements of its header."""
    p = render(model.pyramid.finest, pose[None], CAMERA, 0.9)[0].numpy() + added
    write_dicom_dx(path, np.round(60000 * np.exp(-p)).astype(np.uint16), CAMERA)
    if header:
        dataset = pydicom.dcmread(path)
        for name, value in header.items():
            setattr(dataset, name, value)
        dataset.save_as(path)
    return str(path)


def register(folder, out, *arguments) -> dict[str, dict]:
    """The result files of a registration, by name, each with its picture."""
    assert main(["register", str(folder / "model"), *map(str, arguments), "-o", str(out)]) == 0
    assert {p.suffix for p in out.iterdir()} == {".json", ".png"}
    results = {p.stem: json.loads(p.read_text()) for p in out.glob("*.json")}
    assert all((out / f"{name}.png").read_bytes().startswith(b"\x89PNG") for name in results)
    return results


def kinds(result) -> set[str]:
    return {start["kind"] for start in result["starts"]}


def start_of(result, kind) -> NDArray[np.float64]:
    (pose,) = [np.array(start["pose"]) for start in result["starts"] if start["kind"] == kind]
    return pose


def test_the_headers_angles_find_a_view_that_the_bank_does_not_hold(model, folder, points, tmp_path):
    stated = pose_from_angles(40, 10, 660.0, model.view.isocenter)
    in_plane = stated[:3, :2] @ [30.0, -25.0]
    truth = moved(stated, model, [*in_plane, 0.05, -0.04, 0.03])
    angles = {"PositionerPrimaryAngle": "40", "PositionerSecondaryAngle": "10"}
    file = expose(model, tmp_path / "oblique.dcm", truth, **angles, DistanceSourceToPatient="660")
    result = register(folder, tmp_path / "out", file)["oblique"]
    assert point_distance(check_rigid(result["pose"]), truth, points) < 1
    assert {"header", "header, shifted", "bank"} <= kinds(result)
    np.testing.assert_allclose(start_of(result, "header"), stated, atol=1e-9)
    shifted = start_of(result, "header, shifted")
    assert point_distance(shifted, truth, points) < 0.6 * point_distance(stated, truth, points)
    np.testing.assert_allclose(shifted[:3, :3], stated[:3, :3], atol=1e-9)


def test_a_usual_view_is_a_start_wherever_the_patient_lies(model, folder, points, tmp_path):
    away = [30.0, 25.0, -20.0, 0.05, -0.04, 0.03]
    truth = moved(preset_pose("LAO 45", model.view.isocenter, SOD), model, away)
    file = expose(model, tmp_path / "oblique.dcm", truth)
    result = register(folder, tmp_path / "out", file, "--preset", "LAO 45", "--preset", "RAO 45")["oblique"]
    assert point_distance(check_rigid(result["pose"]), truth, points) < 1
    assert {"LAO 45", "RAO 45", "bank"} <= kinds(result)
    assert result["winner"] == "LAO 45"


def test_landmarks_start_it_and_a_wrong_pair_is_told(model, folder, points, tmp_path, capsys):
    truth = moved(preset_pose("RAO 30", model.view.isocenter, SOD), model)
    file = expose(model, tmp_path / "oblique.dcm", truth)
    pixels = project(points[:6], truth, CAMERA)
    pixels[2] += 25
    rows = "\n".join(",".join(f"{v:.3f}" for v in row) for row in np.hstack([points[:6], pixels]))
    (tmp_path / "marks.csv").write_text(f"r,a,s,column,row\n{rows}\n")
    result = register(folder, tmp_path / "out", file, "--landmarks", tmp_path / "marks.csv")["oblique"]
    assert "Left out as wrong: pair 3 of 6" in capsys.readouterr().out
    assert point_distance(check_rigid(result["pose"]), truth, points) < 1
    assert point_distance(start_of(result, "landmarks"), truth, points) < 5


def test_an_earlier_result_is_refined_and_nothing_else_is_tried(model, folder, points, tmp_path):
    truth = moved(preset_pose("CAU 30", model.view.isocenter, SOD), model)
    angles = {"PositionerPrimaryAngle": "0", "PositionerSecondaryAngle": "-30"}
    file = expose(model, tmp_path / "oblique.dcm", truth, **angles)
    earlier = moved(truth, model, [-9.0, 8.0, 8.0, 0.1, -0.08, 0.06])
    (tmp_path / "earlier.json").write_text(json.dumps({"pose": earlier.tolist(), "similarity": 0.4}))
    result = register(folder, tmp_path / "out", file, "--start", tmp_path / "earlier.json")["oblique"]
    assert kinds(result) == {"start"}
    assert point_distance(check_rigid(result["pose"]), truth, points) < 1


def test_a_locked_depth_is_kept(model, folder, tmp_path):
    truth = moved(model.view.pose, model)
    depth = transform_points(invert(truth), model.view.isocenter)[2]
    file = expose(model, tmp_path / "frontal.dcm", truth)
    result = register(folder, tmp_path / "out", file, "--depth", depth + 7, 0)["frontal"]
    assert transform_points(invert(result["pose"]), model.view.isocenter)[2] == pytest.approx(depth + 7, abs=0.5)


def test_what_the_mask_leaves_out_does_not_matter(model, folder, points, tmp_path):
    truth = moved(model.view.pose, model)
    tool = np.zeros((120, 128), dtype=bool)
    tool[40:90, 60:80] = True
    file = expose(model, tmp_path / "tool.dcm", truth, 3.0 * tool)
    mask = np.where(tool, 0, 255).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(mask), tmp_path / "mask.png")

    def error(out: str, *more: object) -> float:
        result = register(folder, tmp_path / out, file, *more)["tool"]
        return float(point_distance(check_rigid(result["pose"]), truth, points))

    masked = error("masked", "--mask", tmp_path / "mask.png")
    assert masked < 1
    assert error("plain") > 2 * masked


def test_with_surroundings_what_is_smooth_around_the_volume_is_taken_away(model, folder, points, tmp_path):
    truth = moved(model.view.pose, model)
    columns, rows = np.arange(128), np.arange(120)[:, None]
    around = 2 * np.exp(-(((columns - 20) / 40) ** 2) - ((rows - 90) / 50) ** 2) + 1.5 * (rows < 14)
    file = expose(model, tmp_path / "more.dcm", truth, around)
    without = register(folder, tmp_path / "without", file)["more"]
    result = register(folder, tmp_path / "with", file, "--surroundings")["more"]
    assert point_distance(check_rigid(result["pose"]), truth, points) < 1
    assert result["similarity"] > without["similarity"] + 0.1


def test_cameras_in_known_relation_share_one_pose_and_one_verdict(model, folder, points, tmp_path, capsys):
    first = moved(model.view.pose, model)
    second = increment([0, 0, 0, 0, 0, np.radians(60)], model.view.isocenter) @ first
    relation = invert(first) @ second
    angles = {"PositionerPrimaryAngle": "-120", "PositionerSecondaryAngle": "0"}
    files = [expose(model, tmp_path / "a.dcm", first), expose(model, tmp_path / "b.dcm", second, **angles)]
    (tmp_path / "cameras.json").write_text(json.dumps({"relative": [np.eye(4).tolist(), relation.tolist()]}))
    results = register(folder, tmp_path / "out", *files, "--relative", tmp_path / "cameras.json")
    for name, truth in (("a", first), ("b", second)):
        assert point_distance(check_rigid(results[name]["pose"]), truth, points) < 1
    np.testing.assert_allclose(np.array(results["a"]["pose"]) @ relation, results["b"]["pose"], atol=1e-6)
    assert results["a"]["trust"]["probability"] == results["b"]["trust"]["probability"]
    said = capsys.readouterr().out
    assert said.count("The image says least about") == said.count("a, b together: ") == 1
    np.testing.assert_allclose(
        start_of(results["b"], "header"), pose_from_angles(-120, 0, SOD, model.view.isocenter), atol=1e-9
    )


def test_frames_of_a_run_start_from_the_last_one(model, folder, points, tmp_path):
    steps = [moved(model.view.pose, model, AWAY * scale) for scale in (0.6, 0.8, 1.0)]
    files = [expose(model, tmp_path / f"frame{i}.dcm", pose) for i, pose in enumerate(steps)]
    results = register(folder, tmp_path / "out", *files, "--series")
    for i, truth in enumerate(steps):
        assert point_distance(check_rigid(results[f"frame{i}"]["pose"]), truth, points) < 1
    assert [results[f"frame{i}"]["winner"] for i in range(3)] == ["bank", "last frame", "last frame"]


def stack(files, path) -> str:
    """Files of one image each as a run."""
    frames = [pydicom.dcmread(file) for file in files]
    run = frames[0]
    run.NumberOfFrames, run.PixelData = len(frames), b"".join(frame.PixelData for frame in frames)
    run.save_as(path)
    return str(path)


def test_runs_of_two_cameras_are_registered_frame_by_frame_together(model, folder, points, tmp_path, capsys):
    first = [moved(model.view.pose, model, AWAY * scale) for scale in (0.6, 0.8, 1.0)]
    relation = invert(first[0]) @ increment([0, 0, 0, 0, 0, np.radians(60)], model.view.isocenter) @ first[0]
    poses = {"a": first, "b": [pose @ relation for pose in first]}
    frames = {
        name: [expose(model, tmp_path / f"{name}{i}.dcm", pose) for i, pose in enumerate(own)]
        for name, own in poses.items()
    }
    files = [stack(own, tmp_path / f"{name}.dcm") for name, own in frames.items()]
    (tmp_path / "cameras.json").write_text(json.dumps({"relative": [np.eye(4).tolist(), relation.tolist()]}))
    together = ["--series", "--relative", tmp_path / "cameras.json"]
    results = register(folder, tmp_path / "out", *files, *together)
    assert len(results) == 6
    for k in range(3):
        a, b = (results[f"{name}-{k:04}"] for name in poses)
        assert point_distance(check_rigid(a["pose"]), first[k], points) < 1
        np.testing.assert_allclose(np.array(a["pose"]) @ relation, b["pose"], atol=1e-6)
        assert a["trust"]["probability"] == b["trust"]["probability"]
        assert (a["winner"] == "last frame") == (k > 0)
    said = " ".join(capsys.readouterr().out.split())
    assert [said.count(f"a-{k:04}, b-{k:04} together: ") for k in range(3)] == [1, 1, 1]
    assert register(folder, tmp_path / "two", *files, *together, "--frame", "1:").keys() == {
        f"{name}-{k:04}" for name in poses for k in (1, 2)
    }
    shorter = stack(frames["b"][:2], tmp_path / "shorter.dcm")
    command = [files[0], shorter, "--series", "--relative", str(tmp_path / "cameras.json")]
    assert_refused(folder, command, "that of a-0000 has 3 and that of shorter-0000 has 2", capsys)


def test_a_file_of_several_frames_is_a_run_or_gives_the_frame_that_is_asked_for(
    model, folder, points, tmp_path, capsys
):
    steps = [moved(model.view.pose, model, AWAY * scale) for scale in (0.6, 0.8, 1.0)]
    stack([expose(model, tmp_path / f"{i}.dcm", pose) for i, pose in enumerate(steps)], tmp_path / "run.dcm")
    results = register(folder, tmp_path / "all", tmp_path / "run.dcm", "--series", "--frame", "1:")
    assert results.keys() == {"run-0001", "run-0002"}
    one = register(folder, tmp_path / "one", tmp_path / "run.dcm", "--frame", 2)
    for name, truth in (("run-0001", steps[1]), ("run-0002", steps[2])):
        assert point_distance(check_rigid(results[name]["pose"]), truth, points) < 1
    assert point_distance(check_rigid(one["run-0002"]["pose"]), steps[2], points) < 1
    assert main(["register", str(folder / "model"), str(tmp_path / "run.dcm"), "-o", str(tmp_path / "none")]) == 2
    assert "holds 3 frames: say which one, 0 to 2" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_what_is_known_beforehand_holds_for_every_frame_of_a_run(model, folder, tmp_path):
    steps = [moved(model.view.pose, model, AWAY * scale) for scale in (0.6, 0.8)]
    files = [expose(model, tmp_path / f"frame{i}.dcm", pose) for i, pose in enumerate(steps)]
    sitk.WriteImage(sitk.GetImageFromArray(np.full((120, 128), 255, np.uint8)), tmp_path / "mask.png")
    locked = transform_points(invert(steps[0]), model.view.isocenter)[2] + 7
    known = ["--depth", locked, 0, "--surroundings", "--mask", tmp_path / "mask.png"]
    results = register(folder, tmp_path / "out", *files, "--series", *known)
    for result in results.values():
        assert transform_points(invert(result["pose"]), model.view.isocenter)[2] == pytest.approx(locked, abs=0.5)
        assert "not calibrated" in result["trust"]["reason"]


MARKS = "r,a,s,column,row\n" + "\n".join(["1,2,3,4,5", "20,2,3,40,5", "1,50,3,40,60"])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--landmarks", "{f}/few.csv"], "register that one by itself"),
        (["--start", "{f}/pose.json"], "the pose of one X-ray"),
        (["--start", "{f}/pose.json", "--series", "--preset", "AP"], "leave out --preset"),
        (["--mask", "{f}/mask.png"] * 3, "3 masks for 2 X-rays"),
        (["--mask", "{f}/small.png"], "20 x 20 pixels"),
        (["--mask", "{f}/empty.png"], "draw it larger"),
        (["--mask", "{f}/absent.png"], "does not exist"),
        (["--depth", "-1", "3"], "positive distance"),
        (["--depth", "700", "nan"], "standard deviation"),
        (["--relative", "{f}/absent.json"], "absent.json does not exist"),
        (["--relative", "{f}/pose.json"], 'pose.json has no field "relative"'),
        (["--relative", "{f}/one.json"], "one.json: Each X-ray needs the relation"),
        (["--relative", "{f}/bent.json"], "bent.json: The relation of X-ray 2 is not a rigid transform"),
        (["--relative", "{f}/cameras.json", "--frame", "all"], "give --series in place of --frame all"),
        (["--start", "{f}/few.csv", "--series"], "few.csv is not a JSON file"),
        (["--start", "{f}/ragged.json", "--series"], "4x4 matrix of numbers"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_for_two_xrays_is_one_sentence(arguments, reason, model, folder, capsys):
    files = [expose(model, folder / f"plain{i}.dcm", model.view.pose) for i in range(2)]
    write_bad_files(folder)
    assert_refused(folder, [*files, *(a.format(f=folder) for a in arguments)], reason, capsys)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1: the header must be r,a,s,column,row, not empty"),
        ("x,y,z,u,v\n1,2,3,4,5\n", "line 1: the header must be r,a,s,column,row, not x,y,z,u,v"),
        (MARKS + "\n1,2,3,4\n", "line 5: 4 values where r,a,s,column,row are 5"),
        (MARKS + "\n\n1,2,north,4,5\n", "line 6: s is 'north', which is not a number"),
        (MARKS + "\n1,2,3,nan,5\n", "line 5: column is 'nan'"),
        (MARKS + "\n", "marks.csv: A pose needs at least four different landmarks; there are 3"),
    ],
)
def test_a_bad_file_of_landmarks_is_one_sentence_with_its_line(text, reason, model, folder, capsys):
    file = expose(model, folder / "plain.dcm", model.view.pose)
    (folder / "marks.csv").write_text(text)
    assert_refused(folder, [file, "--landmarks", str(folder / "marks.csv")], reason, capsys)


def test_a_start_is_not_overwritten_by_what_is_made_of_it(model, folder, capsys):
    file = expose(model, folder / "pose.dcm", model.view.pose)
    write_bad_files(folder)
    assert main(["register", str(folder / "model"), file, "--start", f"{folder}/pose.json", "-o", str(folder)]) == 2
    assert "pose.json is an input and would be overwritten" in capsys.readouterr().err


def assert_refused(folder, arguments, reason, capsys) -> None:
    assert main(["register", str(folder / "model"), *arguments, "-o", str(folder / "new")]) == 2
    said = capsys.readouterr().err.strip()
    assert reason in said
    assert said.count("\n") == 0
    assert not (folder / "new").exists()


def write_bad_files(folder) -> None:
    for name, shape, value in (("mask", (120, 128), 1), ("empty", (120, 128), 0), ("small", (20, 20), 1)):
        sitk.WriteImage(sitk.GetImageFromArray(np.full(shape, value, np.uint8)), folder / f"{name}.png")
    one, bent = np.eye(4).tolist(), np.diag([2.0, 1.0, 1.0, 1.0]).tolist()
    contents = {
        "cameras": {"relative": [one, one]},
        "one": {"relative": [one]},
        "bent": {"relative": [one, bent]},
        "pose": {"pose": one},
        "ragged": {"pose": [[1, 2], [3]]},
    }
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "few.csv").write_text(MARKS)
