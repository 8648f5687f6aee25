"""The report of registered X-rays: what it says of a pose is true, and what must not be used is not in it."""

from __future__ import annotations

import base64
import csv
import dataclasses
import html
import io
import json
import re
import resource

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from XVRegistrationLib.cli.main import main
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.report_pictures import PIXELS, report_pictures
from XVRegistrationLib.evaluation.xray_report import ReportedXray, XrayReport, write_xray_report
from XVRegistrationLib.evaluation.xray_report_page import page_of
from XVRegistrationLib.geometry.angles import direction_in_words, header_pose, pose_from_angles, turn_of
from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.imaging.dicom.writer import write_dicom_dx
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.registration.result import PoseUncertainty, Registration, Trust
from XVRegistrationLib.registration.review import Review, read_reviews

CAMERA = Intrinsics(1000.0, (1.5, 1.0), (60.0, 100.0), (128, 200), False)
ISOCENTER = np.array([5.0, -10.0, 20.0])
TARGETS = (("entry <1>", np.array([15.0, -10.0, 40.0])), ("behind", np.array([0.0, -2000.0, 0.0])))


def registration(name: str = "one", verdict: str = "converged", sd: float = 0.3) -> Registration:
    spread = PoseUncertainty(
        ISOCENTER, sd**2 * np.diag([1, 1, 1, 1e-4, 1e-4, 1e-4]), 4.0 * np.diag([0, 1.0, 0, 0, 0, 0])
    )
    trust = Trust(verdict, 0.012, "Because & so.", "depth")
    pose = pose_from_angles(-30.0, 12.5, 700.0, ISOCENTER)
    return Registration(name, pose, CAMERA, 0.9, 1.0, winner="bank", uncertainty=spread, trust=trust)


def shading(scale: float = 1.0) -> np.ndarray:
    row, column = np.mgrid[:200, :128]
    return (1.0 + np.hypot(row - 90, column - 60) / 100).astype(np.float32) * scale


def text(page: str) -> str:
    """What a reader sees: without tags and pictures."""
    return " ".join(html.unescape(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL)).split())


angles = st.floats(-179.0, 179.0)


@settings(max_examples=50, deadline=None)
@given(angles, st.floats(-80.0, 80.0), angles, st.booleans())
def test_the_words_of_a_pose_are_the_angles_that_made_it(primary, secondary, turn, mirrored):
    known = {"primary_angle": primary, "secondary_angle": secondary, "rotation": turn, "mirrored": mirrored}
    pose = header_pose(known, ISOCENTER, 700.0)
    said = re.findall(r"(LAO|RAO|CRAN|CAUD) ([\d.]+)°", direction_in_words(pose))
    for (word, number), angle, positive in zip(said, (primary, secondary), ("LAO", "CRAN"), strict=True):
        assert float(number) == pytest.approx(abs(angle), abs=0.051)
        assert abs(angle) < 0.051 or (word == positive) == (angle > 0)
    assert ("behind" in direction_in_words(pose)) == (abs(primary) > 90)
    # An image that is to be turned clockwise was taken by a camera that is turned the other way, unless it is mirrored.
    assert turn_of(pose) == pytest.approx(turn if mirrored else -turn, abs=1e-6)


def test_targets_are_drawn_where_they_project_to_on_pixels_that_are_not_square():
    found = registration(sd=4.0)
    plain = Xray("one", shading(), CAMERA, "attenuation")
    made = report_pictures(plain, found, None, (), TARGETS)
    picture = np.asarray(Image.open(io.BytesIO(made.overlay)), dtype=np.float64)
    height, width = picture.shape[:2]
    assert (max(height, width), made.drr) == (PIXELS, b"")
    assert width / height == pytest.approx(128 * 1.5 / 200, abs=2e-3)
    column, row = project(TARGETS[0][1], found.pose, CAMERA)
    expected = np.array([(row + 0.5) * height / 200 - 0.5, (column + 0.5) * width / 128 - 0.5])
    cyan = np.argwhere((picture[..., 2] - picture[..., 0] > 90) & (picture[..., 1] - picture[..., 0] > 60))
    around = cyan[np.abs(cyan - expected).max(axis=1) < 12]
    assert np.abs((around.min(axis=0) + around.max(axis=0)) / 2 - expected).max() < 1.5
    assert [what for what, _ in made.legend] == ["targets", "95 % ellipses of the targets"]
    assert np.abs(np.asarray(Image.open(io.BytesIO(made.xray)), dtype=np.float64) - picture).max() > 90


def test_structures_are_outlined_and_without_any_the_edges_of_the_drr():
    mask = np.zeros((200, 128), np.bool_)
    mask[60:120, 30:90] = True
    xray, drr = Xray("one", shading(), CAMERA, "attenuation"), shading()[::2, ::2]
    made = report_pictures(xray, registration(), drr, [("bone_1", (1.0, 0.0, 0.0), mask)])
    picture = np.asarray(Image.open(io.BytesIO(made.overlay)), dtype=np.float64)
    red = np.argwhere(picture[..., 0] - picture[..., 1:].max(axis=-1) > 120)
    assert (
        np.abs([red.min(axis=0), red.max(axis=0) + 1] - np.array([[60, 30], [120, 90]]) * PIXELS / 200 * [1, 1.5]).max()
        < 4
    )
    assert made.legend == (("bone 1", "#ff0000"),)
    assert report_pictures(xray, registration(), drr).legend[0][0] == "edges of the DRR"


def report(**more) -> XrayReport:
    pictures = report_pictures(Xray("one", shading(), CAMERA, "attenuation"), registration(), None, (), TARGETS)
    xrays = (
        ReportedXray("one", registration(), Review("accepted", 'a <b> & "c"'), pictures=pictures),
        ReportedXray("two", registration("two", "failed"), pictures=pictures),
        ReportedXray("three", registration("three"), Review("rejected", "wrong level"), pictures=pictures),
        ReportedXray("four", reason="It shows nothing."),
    )
    return XrayReport(xrays, TARGETS, ISOCENTER, {"view": "AP"}, versions={"x": "1"}, **more)


def test_a_page_says_what_is_known_and_nothing_of_poses_that_are_not_to_be_used(tmp_path):
    page, program = write_xray_report(tmp_path / "new" / "report.html", report())
    raw = page.read_text("utf-8")
    assert not re.search(r"(src|href)=\"(?!data:)|https?:|<script", raw)
    said = text(raw)
    assert "Research use only" in said
    assert 'Accepted. a <b> & "c"' in said
    assert "RAO 30.0°, CRAN 12.5°" in said
    assert "SOD, source to isocentre 700.0 mm" in said
    one, rest = said[said.index("Accepted. a") :].split("Open: not yet decided", 1)
    assert "entry <1> R 15.0 A" not in one
    assert "entry <1> R 15.0 P 10.0 S 40.0" in one
    assert "behind R 0.0 P 2000.0 S 0.0 not in front of the source" in one
    assert "± " in one
    two, after = rest.split("Without a pose")
    assert "Targets are left out: the pose failed." in two
    assert "entry" not in two
    rejected = after[after.index("Rejected") :]
    assert "three wrong level converged" in rejected
    assert "data:" not in raw[raw.index("<h2>Rejected") :]
    content = json.loads(program.read_text("utf-8"))
    assert [x["pose"] is None for x in content["xrays"]] == [False, False, True, True]
    assert [len(x.get("targets", ())) for x in content["xrays"]] == [2, 0, 0, 0]
    assert not content["signed_off"]
    assert page_of(report()).count("<img") == raw.count("<img") == 4


@pytest.fixture
def results(tmp_path):
    """A folder of results, and the X-rays' files."""
    folder, files = tmp_path / "out", []
    folder.mkdir()
    for name in ("one", "two"):
        (folder / f"{name}.json").write_text(json.dumps(registration(name).to_dict()))
        files.append(tmp_path / f"{name}.dcm")
        write_dicom_dx(files[-1], np.round(900 * np.exp(-shading())).astype(np.uint16), CAMERA, bits_stored=12)
    (folder / "three.json").write_text(
        json.dumps({"name": "three", "pose": None, "verdict": "failed", "reason": "Dark."})
    )
    (folder / "two.failed.json").write_text(json.dumps(registration("two", "failed").to_dict()))
    return folder, files


def command(*arguments) -> int:
    return main(["report", *map(str, arguments)])


def test_the_command_reports_a_folder_of_results_again_and_again(results, tmp_path, capsys):
    folder, files = results
    (tmp_path / "t.csv").write_text("name,r,a,s\nentry,15,-10,40\n")
    with (tmp_path / "r.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("xray", "decision", "note"), ("two", "Rejected", "a, b"), ("three", "rejected", "")]
        )
    for _ in range(2):
        results_now = sorted(folder.glob("*.json"))
        options = ("--xrays", *files, "--targets", tmp_path / "t.csv", "--reviews", tmp_path / "r.csv", "-o", folder)
        assert command(*results_now, *options) == 0
        page = (folder / "report.html").read_text("utf-8")
        assert "3 X-rays: 1 open, 2 rejected." in text(page)
        assert page.count("data:image/jpeg") == 2
    shown = [Image.open(io.BytesIO(base64.b64decode(d))).size for d in re.findall(r"base64,([^\"]+)", page)]
    assert set(shown) == {(round(PIXELS * 192 / 200), PIXELS)}
    assert "a, b" in text(page)


def test_bad_input_of_the_command_is_a_sentence_and_loses_nothing(results, tmp_path, capsys):
    folder, files = results

    def refused(*arguments) -> str:
        capsys.readouterr()
        assert command(*arguments) == 2
        return " ".join(capsys.readouterr().err.split())

    one, two, page = folder / "one.json", folder / "two.json", tmp_path / "report.html"
    files[1].unlink()
    assert "1 of 2 X-rays have no pictures" in refused(one, two, "--xrays", *files, "-o", page)
    before = page.read_text("utf-8")
    assert "There is no picture" in text(before)
    assert before.count("data:image/jpeg") == 2
    assert "cannot be written" in refused(one, "-o", files[0] / "report.html")
    assert "cannot be read as a table" in refused(one, "-o", page, "--reviews", tmp_path / "no.csv")
    (tmp_path / "r.csv").write_text("xray,decision\none,perhaps\n")
    assert "each row needs" in refused(one, "-o", page, "--reviews", tmp_path / "r.csv")
    (tmp_path / "r.csv").write_text("xray,decision\nten,accepted\n")
    assert "decides on ten" in refused(one, "-o", page, "--reviews", tmp_path / "r.csv")
    assert "called like a result" in refused(one, two, "-o", page, "--xrays", tmp_path / "other.dcm")
    assert "--model" in refused(one, "-o", page, "--volume", "ct.nii.gz")
    assert (
        "is not the result" in refused(tmp_path / "t.json", "-o", page)
        if (tmp_path / "t.json").write_text("[1]")
        else ""
    )
    assert "choose another name" in refused(one, "-o", folder / "two.html")
    assert Registration.from_dict(json.loads(two.read_text())).name == "two"
    assert page.read_text("utf-8") == before
    assert not list(tmp_path.rglob(".part-*"))


def test_a_table_of_reviews_that_is_no_table_is_refused(tmp_path):
    path = tmp_path / "r.csv"
    for content in (b"\xff\xfe\x00", b"a,b\n1,2\n", b"xray,decision\n,accepted\n"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="reviews"):
            read_reviews(path)


def test_a_disk_that_is_full_leaves_page_and_file_for_programs_of_one_report(tmp_path):
    """The page fits, what is written after it does not: a limit of this process on the size of files."""
    plain = XrayReport((ReportedXray("four", reason="It shows nothing."),), versions={"x": "1"})
    before = {path: path.read_bytes() for path in write_xray_report(tmp_path / "report.html", plain)}
    many = tuple(ReportedXray(f"x{i}", registration(f"x{i}")) for i in range(20))
    new = dataclasses.replace(plain, xrays=many)
    sizes = [path.stat().st_size for path in write_xray_report(tmp_path / "whole" / "report.html", new)]
    assert sizes[0] < sizes[1]
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (sum(sizes) // 2, unlimited[1]))
    try:
        with pytest.raises(InputError, match="cannot be written to"):
            write_xray_report(tmp_path / "report.html", new)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert {path: path.read_bytes() for path in before} == before
    (tmp_path / "other.html").mkdir()
    with pytest.raises(InputError, match=r"other\.html is in the way"):
        write_xray_report(tmp_path / "other.html", new)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.html", "report.html", "report.json", "whole"]


def test_the_command_writes_files_for_other_programs_beside_the_page_of_what_is_not_rejected(results, tmp_path, capsys):
    folder, files = results
    (tmp_path / "r.csv").write_text("xray,decision\ntwo,rejected\n")
    page, beside = tmp_path / "report.html", tmp_path / "report-files"
    given = [folder / f"{name}.json" for name in ("one", "two", "three")]
    assert command(*given, "--xrays", *files, "-o", page) == 0
    assert (beside / "two_pose_LPS.tfm").exists()
    assert command(*given, "--xrays", *files, "--reviews", tmp_path / "r.csv", "-o", page) == 0
    names = {path.name for path in beside.iterdir()}
    assert {"one_pose_LPS.tfm", "one_overlay.png", "registrations.csv", "README.txt"} <= names
    assert not [name for name in names if name.startswith(("two", "three"))]
    assert [x["name"] for x in json.loads((beside / "registrations.json").read_text())] == ["one"]
    assert 'href="report-files/README.txt"' in page.read_text("utf-8")
    assert command(beside / "registrations.json", "-o", page) == 2
    assert "registrations.json could be overwritten" in " ".join(capsys.readouterr().err.split())
    assert command(*given, "-o", tmp_path / "alone.html", "--no-files") == 0
    assert not (tmp_path / "alone-files").exists()
    (beside / "mine.txt").write_text("stays")
    assert command(beside / "registrations.json", "-o", page, "--no-files") == 2
    assert command(*given, "-o", page, "--no-files") == 0
    assert [path.name for path in beside.iterdir()] == ["mine.txt"]
    assert not list(tmp_path.glob(".part-*"))


def test_the_pdf_of_an_earlier_report_goes_with_it_and_that_of_others_stays(tmp_path):
    page, pdf = tmp_path / "report.html", tmp_path / "report.pdf"
    new = XrayReport((ReportedXray("four", reason="It shows nothing."),), versions={"x": "1"})
    for whose in ("ours", "another's"):
        if whose == "ours":
            (tmp_path / "staged").mkdir()
            (tmp_path / "staged" / pdf.name).write_text(whose)
            write_xray_report(page, new, tmp_path / "staged")
        else:
            pdf.write_text(whose)
        assert pdf.read_text() == whose
        write_xray_report(page, new)
        assert pdf.exists() == (whose != "ours")
