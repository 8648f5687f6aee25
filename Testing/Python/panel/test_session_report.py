"""Accepting and rejecting X-rays in a session, and the report of them."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from PIL import Image

from Testing.Python.dicom_files import NAMES, grey, named, write
from Testing.Python.panel.patients import bones, line_integrals, patient, write_xray
from Testing.Python.panel.sessions import TIMEOUT, add, choose, row_of, tick_until
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.reported_run import curves_of
from XVRegistrationLib.panel import reporting
from XVRegistrationLib.scene.bundle import load_mrb, save_mrb
from XVRegistrationLib.scene.volumes import add_segmentation
from XVRegistrationLib.scene.xrays import all_xrays_in, name_of, nodes_of, pose_from_node, set_pose

if TYPE_CHECKING:
    from pathlib import Path

    from XVRegistrationLib.evaluation.reported_run import Curves, ReportedRun

TARGET = (5.0, 20.0, -40.0)


@pytest.fixture
def registered(session, tmp_path):
    """Nodes: one registered X-ray of DICOM, full of names, one of a NIfTI file, and one that was not registered."""
    targets = session.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Targets")
    targets.AddControlPoint(*TARGET, "entry")
    choose(session, segmentation=add_segmentation(session.scene, bones(3)), targets=targets)
    dicom = write(tmp_path / "one.dcm", grey(line_integrals(patient(), 0)))
    others = [
        write_xray(tmp_path / f"{name}.nii.gz", patient(), number) for number, name in enumerate(("two", "three"))
    ]
    nodes = add(session, [dicom, *others])
    session.register(nodes[:2])
    session.wait(TIMEOUT)
    return nodes


def pictures(page: str) -> list[np.ndarray]:
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in re.findall(r"base64,([^\"]+)", page)]


def written(session, path: Path, **options) -> tuple[str, dict]:
    session.report(path, **options)
    session.wait(TIMEOUT)
    return path.read_text("utf-8"), json.loads(path.with_suffix(".json").read_text("utf-8"))


def test_a_report_says_what_was_decided_and_shows_no_pose_that_was_rejected(session, registered, tmp_path):
    one, two, three = registered
    with pytest.raises(InputError, match="Register three"):
        session.review(three, "accepted")
    session.review(one, "accepted", 'Spine & ribs agree: "fine" <3')
    session.review(two, note="wait")
    page, content = written(session, tmp_path / "report.html")
    assert [x["group"] for x in content["xrays"]] == ["accepted", "open", "without a pose"]
    assert "Not signed off: to be decided are two, three." in page
    assert "Spine &amp; ribs agree: &quot;fine&quot; &lt;3" in page
    assert "of&nbsp;the&nbsp;DRR" not in page  # outlines of bones instead
    assert "bone&nbsp;2" in page
    assert len(pictures(page)) == 6
    entry = content["xrays"][0]["targets"][0]
    assert f"{entry['pixel'][0]:.1f}, {entry['pixel'][1]:.1f}" in page
    assert named([tmp_path / f"report.{suffix}" for suffix in ("html", "json")]) == []
    files = tmp_path / "report-files"
    assert 'href="report-files/README.txt"' in page
    assert content["files"] == "report-files"
    assert {x["name"] for x in json.loads((files / "registrations.json").read_text())} == {"one", "two"}
    for name in ("one_labels.dcm", "one_labels.nrrd", "one_pose_LPS.tfm", "one_overlay.png", "two_labels.nrrd"):
        assert (files / name).is_file()
    found = {path.name: path.read_bytes() for path in files.iterdir()}
    session.export(tmp_path / "same", bundle=False)
    assert set(found) == {path.name for path in (tmp_path / "same").iterdir()}
    for name in ("one_labels.nrrd", "one_labels.json", "two_overlay.png", "one_pose_LPS.txt", "registrations.csv"):
        assert (tmp_path / "same" / name).read_bytes() == found[name]
    segments = pydicom.dcmread(files / "one_labels.dcm").SegmentSequence
    assert [s.SegmentLabel for s in segments] == ["bone 1", "bone 2", "bone 3"]
    assert named(files.iterdir()) == []
    (files / "mine.txt").write_text("stays")

    page, content = written(session, tmp_path / "named.html", keep_identity=True)
    assert NAMES["PatientID"] in {value for _file, value in named((tmp_path / "named-files").iterdir())}
    assert content["xrays"][0]["identity"]["patient ID"] == NAMES["PatientID"]
    assert NAMES["PatientName"].replace("^", " ") in page
    assert "not known, for want of their files: two, three" in session.status

    pose = content["xrays"][0]["pose"]
    session.review(one, "rejected", "wrong level")
    session.review(three, "rejected")
    session.review(two, "accepted")
    page, content = written(session, tmp_path / "report.html")
    assert content["signed_off"]
    assert page.index("wrong level") > page.index("<h2>Rejected</h2>") > page.index("<h2>Accepted</h2>")
    assert len(pictures(page)) == 3
    assert content["xrays"][0]["pose"] is None
    assert str(pose[0][3])[:8] not in json.dumps(content)
    left = {path.name for path in files.iterdir()}
    assert not [name for name in left if name.startswith("one")]  # nor those of the report before
    assert {"mine.txt", "two_pose_LPS.tfm"} <= left
    page, content = written(session, tmp_path / "alone.html", files=False)
    assert content["files"] is None
    assert "README.txt" not in page
    assert not (tmp_path / "alone-files").exists()
    assert {path.name.partition("_")[0] for path in session.export(tmp_path / "out", bundle=False)} >= {"two"}
    assert not list((tmp_path / "out").glob("one_*"))
    assert "Left out, as rejected: one" in session.status
    assert json.loads((tmp_path / "out/registrations.json").read_text())[0]["review"]["decision"] == "accepted"


def test_what_cannot_be_written_or_drawn_is_said_and_nothing_is_lost(session, registered, tmp_path, monkeypatch):
    monkeypatch.setattr(reporting, "_ASKED_AT_A_TIME", 1)  # so that the second is asked for after it was removed
    path = tmp_path / "report.html"
    before = written(session, path)[0]
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file cannot be written to"):
        session.report(tmp_path / "file" / "report.html")
    assert not session.busy
    session.ignore(registered[0], [(-10, -10, 500, 500)])
    page, _ = written(session, path)
    assert "There is no picture" in page
    assert "leave nothing of it" in page
    session.ignore(registered[0], [])
    session.report(path)
    session.scene.RemoveNode(registered[1])
    session.wait(TIMEOUT)
    assert "it was removed" in path.read_text("utf-8")
    assert before
    assert not list(tmp_path.glob(".part-*"))


def test_an_xray_whose_files_cannot_be_written_has_none_and_its_picture_stays(
    session, registered, tmp_path, monkeypatch
):
    monkeypatch.setattr(reporting, "_ASKED_AT_A_TIME", 1)  # so that the files are asked for after this
    session.report(tmp_path / "report.html")
    (tmp_path / "one.dcm").write_bytes(b"no DICOM")  # its transforms and label maps are written before that is found
    session.wait(TIMEOUT)
    page, files = (tmp_path / "report.html").read_text("utf-8"), tmp_path / "report-files"
    assert {path.name.partition("_")[0] for path in files.iterdir()} == {
        *("two", "registrations.csv", "registrations.json", "README.txt")
    }
    assert "_labels.dcm" not in (files / "README.txt").read_text()
    assert "Not written for other programs: one: " in session.status
    assert "There is no picture" not in page
    session.review(registered[1], "rejected")
    session.review(registered[0], "rejected")
    assert written(session, tmp_path / "report.html")[1]["files"] is None
    assert not files.exists()


def test_a_page_does_not_link_the_readme_that_could_not_be_written(session, registered, tmp_path):
    session.report(tmp_path / "report.html")
    [staged] = tmp_path.glob(".part-*/report-files")
    (staged / "README.txt").mkdir()
    session.wait(TIMEOUT)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "Not written for other programs: " in session.status
    assert "are in the folder report-files.<" in page
    assert "README.txt" not in page
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["files"] == "report-files"
    assert (tmp_path / "report-files/one_pose_LPS.tfm").is_file()


def test_pictures_show_what_the_panel_draws_and_data_stay_complete(session, registered, tmp_path):
    def overlay() -> tuple[np.ndarray, list[dict], str]:
        session.export(tmp_path / "out", registered[:1], bundle=False)
        legend = json.loads((tmp_path / "out/one_labels.json").read_text())
        picture = np.asarray(Image.open(tmp_path / "out/one_overlay.png"))
        return picture, legend, (tmp_path / "out/registrations.csv").read_text()

    def has(picture: np.ndarray, color: list[float]) -> bool:
        return bool((picture == np.round(255 * np.array(color))).all(axis=-1).any())

    page, content = written(session, tmp_path / "report.html")
    assert "Not drawn" not in page
    assert content["left_out"] == []
    every, legend, table = overlay()
    assert [entry["name"] for entry in legend] == ["bone 1", "bone 2", "bone 3"]
    assert all(has(every, entry["color"]) for entry in legend)
    session.show_structures(["bone 2"], False)
    session.parameters.showTargets = False
    page, content = written(session, tmp_path / "report.html")
    assert "<p>Not drawn in the pictures, as chosen: bone 2, the targets.</p>" in page
    assert content["left_out"] == ["bone 2", "the targets"]
    assert "bone&nbsp;1" in page
    assert "bone&nbsp;2" not in page
    assert "&nbsp;targets" not in page
    assert "<td>entry</td>" in page  # in the table it is
    some, complete, same = overlay()
    assert [has(some, entry["color"]) for entry in legend] == [True, False, True]
    assert complete == legend
    assert same == table
    assert "not drawn in Slicer" in (tmp_path / "out/README.txt").read_text()
    session.parameters.showOutlines = session.parameters.showLabels = False
    page, _ = written(session, tmp_path / "report.html")
    assert "as chosen: all 3 structures, the targets." in page
    assert "edges&nbsp;of&nbsp;the&nbsp;DRR" in page


def test_a_scene_that_closes_meanwhile_leaves_nothing_of_its_report(session, registered, tmp_path):
    session.report(tmp_path / "report.html", keep_identity=True)
    tick_until(session, lambda: list(tmp_path.glob(".part-*/report-files/.part-*/*")))
    session.scene.Clear(0)
    session.wait(TIMEOUT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.dcm", "three.nii.gz", "two.nii.gz"]


def test_relative_paths_are_those_of_this_program_and_not_of_its_engine(session, registered, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    session.add_files(["two.nii.gz"])
    session.report("report.html")
    session.wait(TIMEOUT)
    assert len(session.rows()) == 4
    assert (tmp_path / "report-files/one_labels.dcm").is_file()
    assert "Not written" not in session.status


def registered_run(session, path: Path, numbers: tuple[int, ...]) -> Any:
    """The node of a run that was registered; a frame from `pose_of` each of the numbers."""
    choose(session)
    frames = np.stack([grey(line_integrals(patient(), number)) for number in numbers])
    session.add_files([write(path, frames, PositionerPrimaryAngle=None, PositionerSecondaryAngle=None)])
    session.wait(TIMEOUT)
    [node] = [row.node for row in session.rows()]
    session.register_run(node)
    session.wait(TIMEOUT)
    return node


def test_all_frames_of_a_run_are_in_its_report_and_one_is_shown(session, tmp_path):
    node = registered_run(session, tmp_path / "run.dcm", (0, 1, 0, 1))
    session.show_frame(node, 1)
    session.review(node, "rejected", "moved")
    rejected = pose_from_node(node).copy()
    session.show_frame(node, 2)
    session.review(node, "accepted")
    page, content = written(session, tmp_path / "report.html")
    assert len(pictures(page)) == 4  # X-ray, DRR and overlay of one frame, and the curves
    assert "1 accepted, 1 rejected. Frame 2 is the one" in page
    assert "2 other registered frames are open" in page
    [xray] = content["xrays"]
    assert xray["name"] == "run, frame 2"
    assert [frame["frame"] for frame in xray["run"]["frames"]] == [0, 1, 2, 3]
    assert [frame["review"]["decision"] for frame in xray["run"]["frames"]] == ["open", "rejected", "accepted", "open"]
    assert xray["run"]["frames"][1]["pose"] is None
    assert str(rejected[0, 3])[:8] not in json.dumps(content["xrays"][0]["run"]["frames"][1])
    session.show_frame(node, 0)
    assert np.abs(np.array(xray["run"]["frames"][0]["pose"]) - pose_from_node(node)).max() < 1e-6
    session.show_frame(node, 1)  # of a run whose frame that is shown is rejected, the others are told
    page, content = written(session, tmp_path / "report.html")
    assert len(pictures(page)) == 1
    assert page.index("All frames of run, frame 1") > page.index("<h2>Rejected</h2>")


def test_curves_of_a_run_that_cannot_be_drawn_are_said_and_all_else_is_in_the_report(session, tmp_path, monkeypatch):
    node = registered_run(session, tmp_path / "run.dcm", (0, 1))
    session.show_frame(node, 1)

    def without_verdicts(run: ReportedRun) -> Curves | None:
        curves = curves_of(run)
        return None if curves is None else replace(curves, verdicts=[])

    # The engine fails with what it is asked for then.
    monkeypatch.setattr(reporting, "curves_of", without_verdicts)
    page, content = written(session, tmp_path / "report.html")
    assert "The poses of run, frame 1 are not drawn: The engine failed: " in session.status
    assert "1 other registered frame is open" in session.status
    assert len(pictures(page)) == 3  # X-ray, DRR and overlay of the frame
    assert "There is no picture" not in page
    assert "2 frames: " in page
    assert all(frame["pose"] is not None for frame in content["xrays"][0]["run"]["frames"])
    assert (tmp_path / "report-files/README.txt").is_file()
    monkeypatch.undo()  # and the engine goes on
    assert len(pictures(written(session, tmp_path / "report.html")[0])) == 4
    assert "not drawn" not in session.status


def test_a_decision_holds_for_its_pose_and_is_kept_in_the_scene(session, registered, tmp_path):
    one, two, _ = registered
    session.review(one, "accepted", "Zeile 1;\nä: %\"'")
    session.review(two, "rejected")
    assert row_of(session, two).look == "unknown"
    assert row_of(session, one).outcome.startswith("accepted; ")
    place = pose_from_node(one).copy()
    moved = place.copy()
    moved[0, 3] += 2
    set_pose(nodes_of(one), moved)
    row = row_of(session, one)
    assert (row.review, row.review_outdated, row.note) == ("open", True, "Zeile 1;\nä: %\"'")
    set_pose(nodes_of(one), place)
    assert row_of(session, one).review == "accepted"
    for node in registered:
        node.SetAttribute("XVRegistration.Unknown", "of a later version")
    save_mrb(session.scene, tmp_path / "s.mrb")
    session.parameters.volume = session.parameters.xray = None
    session.parameters.segmentation = session.parameters.targets = None
    load_mrb(session.scene, tmp_path / "s.mrb")
    kept = {name_of(node): session.review_of(node) for node in all_xrays_in(session.scene)}
    assert kept["one"].note == "Zeile 1;\nä: %\"'"
    assert [kept[name].decision for name in ("one", "two", "three")] == ["accepted", "rejected", "open"]
    [node] = [node for node in all_xrays_in(session.scene) if name_of(node) == "one"]
    node.SetAttribute("XVRegistration.Review", "{damaged")
    assert session.review_of(node).decision == "open"
