"""A cohort: what is finished is kept, what is wrong becomes a row, and many workers find what one process finds."""

from __future__ import annotations

import csv
import json
import os

import numpy as np
import pytest

from Testing.Python.cohorts import HEADER, NEAR, PATIENT, found, write_cases, write_table
from Testing.Python.dicom_files import write
from Testing.Python.unit.conftest import phantom_hu
from XVRegistrationLib.cli.main import main
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.cohort import CaseOutcome, XrayRow, row_of, summarize_cohort, write_case_table
from XVRegistrationLib.geometry.angles import pose_from_angles
from XVRegistrationLib.geometry.rigid import point_distance, rigid, rotation_from_vector
from XVRegistrationLib.imaging.volume import Volume, write_volume
from XVRegistrationLib.jobs.cohort import register_cohort
from XVRegistrationLib.jobs.cohort_columns import case_of_row, columns
from XVRegistrationLib.registration.result import Registration


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A folder with a table of four cases of two volumes, the true poses, and what one process makes of them."""
    folder = tmp_path_factory.mktemp("cohort")
    truth = write_cases(folder, 4)
    return folder, truth, register_cohort(folder / "cases.csv", folder / "out", everywhere=NEAR)


def test_each_case_has_its_pose_and_there_is_a_page_on_all(cohort):
    folder, truth, outcomes = cohort
    points = np.random.default_rng(0).uniform(-60, 60, (50, 3))
    for outcome, pose in zip(outcomes, truth, strict=True):
        result = json.loads((folder / "out" / outcome.xrays[0].result).read_text())
        assert result["name"] == outcome.case
        assert point_distance(np.array(result["pose"]), pose, points) < 2.0
        assert (folder / "out" / outcome.xrays[0].picture).read_bytes().startswith(b"\x89PNG")
    assert len(list((folder / "out/models").iterdir())) == 2  # one for each volume, not for each case
    with (folder / "out/cohort.csv").open() as f:
        assert [row["case"] for row in csv.DictReader(f)] == ["P0", "P2", "P1", "P3"]
    with (folder / "out/cases.csv").open() as f:
        cases = list(csv.DictReader(f))
    assert [row["case"] for row in cases] == ["P0", "P2", "P1", "P3"]
    for row, outcome in zip(cases, outcomes, strict=True):
        assert (row["state"], row["xrays"], row["reason"]) == ("done", "1", "")
        assert float(row["worst_probability"]) == outcome.xrays[0].probability
    page = (folder / "out/cohort.html").read_text()
    assert "4 X-rays of 4 cases" in page
    assert (folder / "out/poses.png").exists()


def test_nothing_but_a_models_own_card_says_how_the_files_are_called(cohort):
    folder = cohort[0] / "out"
    said = [path for path in folder.rglob("*") if path.is_file() and PATIENT.encode() in path.read_bytes()]
    assert {path.name for path in said} <= {"model.json"}
    assert not [path for path in folder.rglob("*") if PATIENT in path.name]


def test_what_is_wrong_becomes_a_row_and_the_others_are_kept_or_done(cohort, tmp_path, capsys):
    folder, _truth, before = cohort
    write(tmp_path / "nothing.dcm", np.full((48, 48), 777, np.uint16), **HEADER)
    write_volume(tmp_path / f"{PATIENT}MR.nii.gz", Volume(np.full((20, 20, 20), 300, np.int16), np.eye(4) * 5, "x"))
    metal = np.where(phantom_hu((32, 44, 48), seed=1) > -500, 3000, -1000).astype(np.int16)
    write_volume(tmp_path / f"{PATIENT}-metal.nii.gz", Volume(metal, np.diag([5.0, 5.0, 6.0, 1.0]), "x"))
    with (folder / "cases.csv").open() as f:
        good = list(csv.DictReader(f))
    at = {name: str(folder / good[0][name]) for name in ("volume", "xray")}
    bad = [
        ({"case": "P0"} | at, "has the case of row 1"),
        ({"case": "absent", "xray": f"{PATIENT}.dcm"}, "nothing at the path in the column xray"),
        ({"case": "blank", "xray": str(tmp_path / "nothing.dcm")}, ""),
        ({"case": "units", "volume": str(tmp_path / f"{PATIENT}MR.nii.gz")}, "Hounsfield"),
        ({"case": "metal", "volume": str(tmp_path / f"{PATIENT}-metal.nii.gz")}, "(Columns: force.)"),
        ({"case": "cell", "spacing": "1"}, "spacing takes 2 numbers, not '1'."),
        ({"case": "a/b"}, "case takes letters"),
        ({"case": "twofold", "model": str(folder)}, "leave one of them out"),
        ({"case": "", "view": "AP"}, "has no case"),
    ]
    rows = [*good, *(at | row for row, _ in bad)]
    table = write_table(folder / "more.csv", rows)
    records = {path: path.stat().st_mtime_ns for path in (folder / "out/cases").rglob("case.json")}
    command = ["batch", str(table), "-o", str(folder / "out"), "--workers", "0", "--all"]
    assert main([*command, *(f"{name}={value}" for name, value in NEAR.items())]) == 2
    said = capsys.readouterr()
    assert "9 of 13 have no pose; cohort.csv says why. The first, P0: Row 5" in said.err
    assert said.err.strip().count("\n") == 0
    assert "4 cases were finished before" in said.out
    assert PATIENT not in said.err + said.out
    assert all(path.stat().st_mtime_ns == when for path, when in records.items())
    after = json.loads((folder / "out/cohort.json").read_text())["cases"]
    for case, (_, reason) in zip(after[len(good) :], bad, strict=True):
        why = case["reason"] or case["xrays"][0]["reason"]
        assert reason in why, case
        assert PATIENT not in why
    # A case is done again where its files have changed, and only that one.
    os.utime(folder / good[1]["xray"])
    again = register_cohort(folder / "cases.csv", folder / "out", everywhere=NEAR)
    assert [outcome.kept for outcome in again] == [True, False, True, True]
    assert found(again) == found(before)


def test_a_worker_finds_in_folders_what_this_process_finds_by_the_table(cohort, tmp_path):
    folder, _truth, alone = cohort
    for name, volume, which in (("A", 0, (0, 2)), ("B", 1, (1,))):
        case = tmp_path / "patients" / name
        (case / "xrays").mkdir(parents=True)
        (case / "volume.nii.gz").symlink_to(folder / f"{PATIENT}{volume}.nii.gz")
        (case / "notes.txt").write_text("nothing")
        for i in which:
            (case / "xrays" / f"{i}.dcm").symlink_to(folder / f"{PATIENT}-{i}.dcm")
    a, b = register_cohort(tmp_path / "patients", tmp_path / "out", everywhere=NEAR, workers=1)
    assert [row.name for row in (*a.xrays, *b.xrays)] == ["A-1", "A-2", "B"]
    assert [numbers for _case, *numbers in found([a, b])] == [numbers for _case, *numbers in found(alone)[:3]]


@pytest.mark.parametrize(
    ("text", "options", "reason"),
    [
        ("case,xray,volum\n", [], "has no column volum"),
        ("case,xray,x-ray\nA,b,c\n", [], "twice"),
        ("case;xray;volume\n", [], "no rows"),
        ("case,xray\nA,b,c\n", [], "more cells"),
        ("", [], "is empty"),
        ("case,xray\nA,b\n", ["--all", "minute=1"], "has no column minute"),
        ("case,xray\nA,b\n", ["--all", "minutes"], "COLUMN=VALUE"),
        ("case,xray\nA,b\n", ["--workers", "-1"], "0 or more"),
        ("case,xray,volume\nA,x,x\n", ["-o", "{folder}/cases.csv"], "is a file"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence_and_nothing_written(text, options, reason, tmp_path, capsys):
    (tmp_path / "cases.csv").write_text(text)
    command = ["batch", str(tmp_path / "cases.csv"), "-o", str(tmp_path / "out")]
    assert main([*command, *(option.format(folder=tmp_path) for option in options)]) == 2
    said = capsys.readouterr().err.strip()
    assert reason in said
    assert said.count("\n") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["cases.csv"]


def test_a_scheduler_that_is_not_there_is_one_sentence(cohort, tmp_path):
    with pytest.raises(InputError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:9;"):
        register_cohort(cohort[0] / "cases.csv", tmp_path, everywhere=NEAR, scheduler="tcp://127.0.0.1:9")


def test_a_scheduler_that_is_not_there_is_said_also_where_no_case_waits(cohort, capsys):
    folder = cohort[0]
    command = [
        "batch",
        str(folder / "cases.csv"),
        "-o",
        str(folder / "out"),
        "--scheduler",
        "tcp://127.0.0.1:9",
        "--all",
    ]
    assert main([*command, *(f"{name}={value}" for name, value in NEAR.items())]) == 2
    assert "No Dask scheduler answers at tcp://127.0.0.1:9;" in " ".join(capsys.readouterr().err.split())


def test_the_table_of_cases_counts_verdicts_and_names_the_worst(tmp_path):
    rows = [
        XrayRow("A-1", 1, verdict="converged", probability=0.01, similarity=0.9, seconds=1.0),
        XrayRow("A-2", 2, verdict="check", probability=0.4, similarity=0.8, seconds=2.0),
        XrayRow("A-3", 3, verdict="converged", probability=0.03, similarity=0.9, seconds=1.5),
        XrayRow("A-4", 4, verdict="failed", reason="It shows nothing."),
    ]
    outcomes = [CaseOutcome("A", "done", xrays=tuple(rows)), CaseOutcome("B", "refused", "There is no CT.")]
    write_case_table(tmp_path / "cases.csv", outcomes)
    with (tmp_path / "cases.csv").open() as f:
        a, b = csv.DictReader(f)
    assert [a[name] for name in ("xrays", "converged", "check", "failed", "without_pose")] == ["4", "2", "1", "1", "1"]
    assert (float(a["median_probability"]), float(a["worst_probability"]), a["worst_xray"]) == (0.03, 0.4, "A-2")
    assert (float(a["seconds"]), a["reason"]) == (4.5, "It shows nothing.")
    assert (b["state"], b["xrays"], b["worst_probability"], b["reason"]) == ("refused", "0", "", "There is no CT.")


def test_columns_mean_what_the_options_of_the_commands_mean(tmp_path):
    case = case_of_row(
        {"Case": "A", "X-rays": ["a.dcm", "b.dcm"], "volume": "ct", "as": "vessels 300 2000", "spacing": "0.3 0.4"}
        | {"mask_frames": "0-2", "mirrored": "no", "preset": "AP; LLAT", "sid": 1000, "depth": float("nan")},
        tmp_path,
    )
    assert case.xrays == (str(tmp_path / "a.dcm"), str(tmp_path / "b.dcm"))
    assert (case.values, case.spacing, case.mask_frames) == (("vessels", "300", "2000"), (0.3, 0.4), (0, 1, 2))
    assert (case.mirrored, case.preset, case.sid, case.depth) == (False, ("AP", "LLAT"), 1000.0, None)
    assert {"case", "xray", "volume", "model", "labels", "targets", "calibration", "minutes"} <= set(columns())


def test_a_poses_parameters_are_those_it_was_made_of(camera):
    center = np.array([10.0, -20.0, 30.0])
    pose = pose_from_angles(-30.0, 12.0, 700.0, center) @ rigid(
        rotation_from_vector([0, 0, np.radians(7.0)]), [3, -4, 5]
    )
    row = row_of(Registration("x", pose, camera, 0.9, 1.0), center, 1)
    assert (row.primary_deg, row.secondary_deg, row.in_plane_deg) == pytest.approx((-30.0, 12.0, 7.0))
    x, y = np.array(
        [[np.cos(-7 / 57.29578), -np.sin(-7 / 57.29578)], [np.sin(-7 / 57.29578), np.cos(-7 / 57.29578)]]
    ) @ [-3, 4]
    assert (row.x_mm, row.y_mm, row.depth_mm) == pytest.approx((x, y, 695.0))


def test_angles_about_half_a_turn_are_averaged_as_neighbours():
    numbers = dict.fromkeys(("secondary_deg", "in_plane_deg", "x_mm", "y_mm", "depth_mm"), 1.0)
    rows = [XrayRow("a", 1, verdict="converged", primary_deg=angle, **numbers) for angle in (179.0, -179.0, 177.0)]
    summary = summarize_cohort([CaseOutcome("a", "done", xrays=tuple(rows))])
    assert summary.quartiles["primary_deg"] == pytest.approx((178.0, 179.0, 180.0))
