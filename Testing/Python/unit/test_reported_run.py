"""A run in a report: all frames are told in few lines, and the curves show the poses that may be looked at."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from Testing.Python.dicom_files import grey, write
from XVRegistrationLib.cli.main import main
from XVRegistrationLib.evaluation.reported_run import ReportedFrame, ReportedRun, curves_of, run_dict, run_table
from XVRegistrationLib.evaluation.run_curves import AXIS_COLORS, HEIGHT, WIDTH, run_curves
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.detector_motion import AXES, motions_since_first, moved
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.registration.looks import VERDICT_LOOKS
from XVRegistrationLib.registration.result import Registration, Trust
from XVRegistrationLib.registration.review import Review

CENTER = np.array([3.0, -4.0, 5.0])
CAMERA = Intrinsics.centered(1000.0, (2.0, 2.0), (64, 48))
FIRST = NominalView("AP", (3.0, -4.0, 5.0), 700.0).pose


def pose(right: float, turn: float = 0.0) -> np.ndarray:
    return moved(FIRST, [right, 0, 0, 0, 0, turn], CENTER)


def registration(name: str, right: float, verdict: str = "converged", risk: float = 0.004) -> Registration:
    trust = Trust(verdict, risk, "So.", "depth")
    return Registration(name, pose(right), CAMERA, 0.9, 1.0, winner="bank", trust=trust)


def frame(number: int, verdict: str = "converged", review: str = "open", note: str = "", risk: float = 0.004):
    found = registration(str(number), 2.0 * number, verdict, risk) if verdict else None
    return ReportedFrame(number, found, Review(review, note))


RUN = ReportedRun(
    (
        frame(0),
        frame(1, risk=0.03),
        frame(2, "check"),
        frame(3, "failed", "rejected", "<moved>"),
        frame(4, ""),
        frame(5, ""),
    ),
    1,
)


def has(picture: np.ndarray, color: tuple[float, float, float], columns: slice) -> bool:
    return bool((np.abs(picture[:, columns] - 255 * np.array(color)).max(axis=-1) < 25).any())


def test_frames_that_are_alike_are_one_line_and_none_is_lost():
    lines = re.findall(r"<tr><td>(.*?)</td></tr>", run_table(RUN))
    assert [line.split("</td><td>") for line in lines] == [
        ["0 to 1", "converged", "open", "3 %", ""],
        ["2", "check", "open", "&lt; 1 %", ""],
        ["3", "failed", "rejected", "–", "&lt;moved&gt;"],
        ["4 to 5", "not registered", "–", "–", ""],
    ]
    assert RUN.open == 2
    entries = run_dict(RUN, (("T", CENTER),))["frames"]
    assert [entry["pose"] is None for entry in entries] == [False, False, False, True, True, True]
    assert [len(entry.get("targets", ())) for entry in entries] == [1, 1, 1, 0, 0, 0]
    json.dumps(entries, allow_nan=False)


def test_motions_are_counted_from_the_first_pose():
    motions = motions_since_first([None, pose(1.0), None, pose(4.0, 2.0)], CENTER)
    assert np.isnan(motions[[0, 2]]).all()
    assert motions[1] == pytest.approx(np.zeros(6), abs=1e-9)
    assert motions[3, AXES.index("right")] == pytest.approx(3.0, abs=1e-2)
    assert motions[3, AXES.index("turn")] == pytest.approx(2.0, abs=1e-6)
    assert np.isnan(motions_since_first([None], CENTER)).all()


def test_the_curves_show_poses_and_verdicts_and_nothing_that_was_rejected():
    curves = curves_of(RUN)
    assert curves is not None
    assert [found is None for found in curves.poses] == [False, False, False, True, True, True]
    drawn = run_curves(curves.numbers, curves.poses, curves.verdicts, curves.shown, CENTER, curves.mirrored)
    picture = np.asarray(Image.open(io.BytesIO(drawn)), dtype=np.float64)
    assert picture.shape == (HEIGHT, WIDTH, 3)
    marks = picture[HEIGHT - 52 : HEIGHT - 40]
    third = (WIDTH // 2 - 66) // 6  # px of a frame of the six, in a plot
    for number, verdict in enumerate(("converged", "converged", "check", "", "", "")):
        columns = slice(50 + number * third, 50 + (number + 1) * third)
        assert {v: has(marks, look.rgb, columns) for v, look in VERDICT_LOOKS.items()} == {
            v: v == verdict for v in VERDICT_LOOKS
        }
    plot = picture[36 : HEIGHT - 58]  # to the right is up, a straight line over three frames; nothing after them
    right = np.abs(plot - 255 * np.array(AXIS_COLORS[0])).max(axis=-1) < 25
    rows = [np.argwhere(right[:, 50 + third * n + third // 2 - 3 :][:, :6])[:, 0].mean() for n in range(3)]
    assert np.diff(rows) == pytest.approx(
        [rows[1] - rows[0]] * 2, abs=6
    )  # the line goes on at one side of the first and last
    assert rows[2] < rows[0] - 50
    assert not has(plot, AXIS_COLORS[0], slice(50 + 3 * third, WIDTH // 2 - 20))
    assert curves_of(ReportedRun((frame(0, ""), frame(1, "failed", "rejected")), 0)) is None


def test_marks_below_the_curves_have_their_verdicts_shapes_and_bars_where_there_is_no_room():
    def marks(count):
        verdicts = [*VERDICT_LOOKS] * (count // 3)
        drawn = run_curves(range(count), [pose(1.0)] * count, verdicts, 0, CENTER, False)
        picture = np.asarray(Image.open(io.BytesIO(drawn)), dtype=np.float64)[HEIGHT - 55 : HEIGHT - 39, : WIDTH // 2]
        found = {}
        for verdict, look in VERDICT_LOOKS.items():
            mark = np.abs(picture - 255 * np.array(look.rgb)).max(axis=-1) < 60
            rows, columns = (np.flatnonzero(mark.any(axis=axis)) for axis in (1, 0))
            found[verdict] = mark[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return found

    shapes = marks(3)
    in_corners = {v: bool(mark[:2, :2].any() and mark[-2:, -2:].any()) for v, mark in shapes.items()}
    assert in_corners == {"converged": False, "check": False, "failed": True}
    assert shapes["converged"].mean() > 0.65 > shapes["check"].mean() > 0.35
    assert not shapes["failed"][:2, len(shapes["failed"]) // 2].any()
    assert all(mark.any(axis=1).sum() >= 9 for mark in marks(300).values())


def test_the_command_joins_the_frames_of_a_run(tmp_path, capsys):
    row, column = np.mgrid[:48, :64]
    frames = np.stack([grey((1.0 + np.hypot(row - 20, column - 30 - n) / 40).astype(np.float32)) for n in range(4)])
    run = write(tmp_path / "run.dcm", frames)
    for number, verdict in enumerate(("check", "converged", "converged", "failed")):
        found = registration(f"run-{number:04d}", 3.0 * number, verdict)
        (tmp_path / f"run-{number:04d}.json").write_text(json.dumps(found.to_dict()))
    (tmp_path / "r.csv").write_text("xray,decision,note\nrun-0002,accepted,fits\nrun-0003,rejected,dark\n")
    results = [str(path) for path in sorted(tmp_path.glob("run-*.json"))]
    out = ["--reviews", str(tmp_path / "r.csv"), "-o", str(tmp_path / "report.html")]
    assert main(["report", *results, "--xrays", str(run), *out]) == 0
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.count("data:image/jpeg") == 3  # X-ray and overlay of the frame that was accepted, and the curves
    assert "1 X-ray: 1 accepted. Signed off" in page
    content = json.loads((tmp_path / "report.json").read_text("utf-8"))
    [xray] = content["xrays"]
    assert (xray["name"], xray["run"]["shown"]) == ("run-0002", 2)
    states = [frame["state"] for frame in xray["run"]["frames"]]
    assert states == ["check", "converged", "converged", "failed"]
    assert xray["run"]["frames"][3]["pose"] is None
