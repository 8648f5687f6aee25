"""Protocols: what a file may say, the X-rays that it means, and a run from the file to the table."""

from __future__ import annotations

import dataclasses
import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("nanodrr")

from XVRegistrationLib.cli.main import main
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation import run_folder
from XVRegistrationLib.evaluation.curves import write_curves
from XVRegistrationLib.evaluation.measures import CaseRow, ellipse_radii, read_rows, write_rows
from XVRegistrationLib.evaluation.patients import structure_points
from XVRegistrationLib.evaluation.protocol import Points, StartError, with_volume
from XVRegistrationLib.evaluation.protocol_file import SHIPPED, find_protocol, read_protocol
from XVRegistrationLib.evaluation.protocol_xrays import draw_start, protocol_xrays, xrays_fingerprint
from XVRegistrationLib.evaluation.run_folder import code_fingerprint
from XVRegistrationLib.evaluation.run_protocol import evaluate_protocol
from XVRegistrationLib.evaluation.simulation import ExposureRange, draw_detector
from XVRegistrationLib.evaluation.summary import summarize_rows, table
from XVRegistrationLib.geometry.rigid import check_rigid, increment, rotation_angle, transform_points
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.imaging.volume import LabelMap, read_volume, write_volume
from XVRegistrationLib.imaging.volumes.reading import Reading
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.render import render
from XVRegistrationLib.rendering.spectrum import Tube
from XVRegistrationLib.resources import PACKAGE

if TYPE_CHECKING:
    from pathlib import Path

    from XVRegistrationLib.evaluation.protocol import Protocol
    from XVRegistrationLib.imaging.volume import Volume

SMALL = """
title = "Small"
[volume]
source = "phantom.nii.gz"
[view]
name = "AP"
sod = 700.0
[detector]
sid = 1020.0
spacing = [4.0, 4.4]
size = [96, 90]
[poses]
rotation = [8, 8, 8]
translation = [10, 10, 10]
count = 2
seed = 3
[exposure]
scatter_to_primary = [0.05, 0.1]
photons = [1e5, 2e5]
gamma = [1.0, 1.0]
bits = [14, 16]
[registration]
sources = ["bank"]
bank = 256
[points]
threshold = 300
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, phantom: Volume) -> Path:
    path = tmp_path_factory.mktemp("protocols")
    write_volume(path / "phantom.nii.gz", phantom)
    return path


@pytest.fixture(scope="module")
def protocol(folder: Path) -> Protocol:
    (folder / "small.toml").write_text(SMALL)
    return read_protocol(folder / "small.toml")


def changed(protocol: Protocol, **poses: object) -> Protocol:
    return dataclasses.replace(protocol, poses=dataclasses.replace(protocol.poses, **poses))


def test_the_shipped_protocols_are_the_published_ones() -> None:
    by_name = {name: read_protocol(find_protocol(name)) for name in SHIPPED}
    psss, wide = by_name["psss"], by_name["wide"]
    assert (psss.intrinsics.sdd, psss.intrinsics.size, psss.intrinsics.spacing) == (
        1259.65,
        (256, 256),
        (1.6875, 1.6875),
    )
    assert psss.poses.range.rotation == (15, 15, 10)
    assert psss.poses.range.translation == (30, 30, 30)
    depth = wide.poses.range.translation[2]
    assert (wide.sod - depth, wide.sod + depth) == (450, 1000)
    assert wide.poses.min_body == 0.5
    assert by_name["near"].start == StartError(20, 10)
    assert by_name["far"].start == StartError(40, 20)
    assert by_name["strong-scatter"].exposure.scatter_to_primary == (0.5, 2.0)
    assert by_name["strong-scatter"].exposure.gamma == ExposureRange().gamma
    assert all(p.poses.count >= 200 and p.name == name for name, p in by_name.items())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("sod = 700.0", "sod = -1", "view.sod must be at least"),
        ("sod = 700.0", "sod = true", "view.sod must be a number"),
        ("sod = 700.0", "", "view.sod is missing"),
        ('"AP"', '"front"', "view.name must be one of AP"),
        ("sid = 1020.0", "sdi = 1020.0", "detector.sid is missing"),
        ("sid = 1020.0", "sid = 1020.0\ngrid = 3", "detector.grid is not a field"),
        ("size = [96, 90]", "size = [96]", "detector.size must be a list of 2 numbers"),
        ("size = [96, 90]", "size = [96.5, 90]", "detector.size must be two whole numbers"),
        ("rotation = [8, 8, 8]", "rotation = [8, 8, 190]", "poses.rotation must be at most 180"),
        ("rotation = [8, 8, 8]", "rotation = [8, -8, 8]", "poses.rotation must be at least 0"),
        ("[exposure]", "[spectrum]\nkvp = 300\n[exposure]", "spectrum: The tube voltage must lie between"),
        ("[exposure]", "[spectrum]\nkvp = 80\nkvm = 3\n[exposure]", "spectrum.kvm is not a field"),
        ('"phantom.nii.gz"', '"vessels"\n[spectrum]\nkvp = 80', "spectrum.kvp needs a CT in Hounsfield units"),
        ("count = 2", "count = 0", "poses.count must be a whole number of at least 1"),
        ("count = 2", "min_body = 1.5", "poses.min_body must be between 0 and 1"),
        ('["bank"]', '["guess"]', "registration.sources must name network and bank"),
        ('["bank"]', "[]", "registration.sources may be empty only where"),
        ("bank = 256", "bank = 100", "registration.bank must be a power of two"),
        ("threshold = 300", 'labels = "bone"', "points.labels must be a list of texts"),
        ("photons = [1e5, 2e5]", "photons = [5, 2]", "exposure.photons must begin with the smaller"),
        ("bits = [14, 16]", "bits = [8, 20]", "exposure.bits must be two whole numbers up to 16"),
        ("threshold = 300", "[start]\nmm = 5", "start.degrees is missing"),
        ('title = "Small"', "speed = 3", "toml: speed is not a field"),
        ('title = "Small"', "view = 3", "view must be a table"),
        ("[view]", "[view", "is not a TOML file"),
        ("[view]", 'as = "mr"\n[view]', "volume.as must be hu, attenuation or vessels"),
        ("[view]", 'as = "vessels"\n[view]', "volume.window is missing"),
        ("[view]", 'as = "vessels"\nwindow = [9, 3]\n[view]', "toml: The window of vessels must rise"),
        ("[view]", "window = [3, 9]\n[view]", "volume.window is not a field"),
        ("[view]", 'densities = "t.json"\n[view]', "volume.densities needs the structures"),
        ('"phantom.nii.gz"', '"demo"\nnot_scanned = 0', "volume.source must be a file or folder"),
    ],
)
def test_a_wrong_field_is_a_sentence_with_file_and_field(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in SMALL
    text = SMALL.replace(old, new, 1)
    path = tmp_path / "wrong.toml"
    # The top's fields stand before the tables.
    path.write_text(text.replace("[view]\n", "", 1) if new == "view = 3" else text)
    with pytest.raises(InputError) as e:
        read_protocol(path)
    assert "wrong.toml" in str(e.value)
    assert said in str(e.value)


def test_the_i_th_xray_is_the_same_whatever_the_count_and_is_kept(
    protocol: Protocol, phantom: Volume, tmp_path: Path
) -> None:
    made: list[int] = []
    few = protocol_xrays(changed(protocol, count=1), phantom, tmp_path, lambda i, n: made.append(i))
    many = protocol_xrays(protocol, phantom, tmp_path, lambda i, n: made.append(i))
    assert made == [1, 2]
    again = protocol_xrays(protocol, phantom, tmp_path / "elsewhere")
    for a, b in zip(many, again, strict=True):
        assert np.array_equal(a.xray.pixels, b.xray.pixels)
        assert np.array_equal(a.true_pose, b.true_pose)
    assert np.array_equal(few[0].xray.pixels, many[0].xray.pixels)
    assert not np.array_equal(many[0].true_pose, many[1].true_pose)


def test_a_changed_protocol_or_volume_never_meets_the_xrays_of_another(protocol: Protocol, phantom: Volume) -> None:
    mark = xrays_fingerprint(protocol, phantom)
    assert xrays_fingerprint(changed(protocol, count=50), phantom) == mark
    scatter = dataclasses.replace(protocol, exposure=ExposureRange(scatter_to_primary=(0.5, 2.0)))
    moved = dataclasses.replace(phantom, ijk_to_ras=increment([1, 0, 0, 0, 0, 0], np.zeros(3)) @ phantom.ijk_to_ras)
    denser = dataclasses.replace(phantom, array=phantom.array + np.int16(1))
    others = [
        xrays_fingerprint(changed(protocol, seed=4), phantom),
        xrays_fingerprint(changed(protocol, min_body=0.1), phantom),
        xrays_fingerprint(scatter, phantom),
        xrays_fingerprint(dataclasses.replace(protocol, sod=701.0), phantom),
        xrays_fingerprint(dataclasses.replace(protocol, spectrum=Tube(80)), phantom),
        xrays_fingerprint(protocol, moved),
        xrays_fingerprint(protocol, denser),
    ]
    assert len({mark, *others}) == 8


def test_xrays_are_made_anew_by_changed_code_that_makes_them(
    protocol: Protocol, phantom: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark, code = xrays_fingerprint(protocol, phantom), code_fingerprint()
    copy = tmp_path / "library"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("Resources", "__pycache__"))
    monkeypatch.setattr(run_folder, "PACKAGE", copy)
    assert (xrays_fingerprint(protocol, phantom), code_fingerprint()) == (mark, code)

    def change(name: str) -> None:
        (copy / name).write_text((copy / name).read_text() + "# changed\n")

    change("registration/register.py")
    assert xrays_fingerprint(protocol, phantom) == mark
    assert code_fingerprint() != code
    seen = {mark}
    for name in ("simulation", "vessels", "patients", "protocol_xrays"):
        change(f"evaluation/{name}.py")
        seen.add(xrays_fingerprint(protocol, phantom))
    assert len(seen) == 5


def test_poses_see_as_much_of_the_body_as_the_protocol_asks(
    protocol: Protocol, phantom: Volume, tmp_path: Path
) -> None:
    far = dataclasses.replace(protocol.poses.range, translation=(150.0, 150.0, 50.0))
    grid = density_grid(phantom)

    def shares(min_body: float) -> np.ndarray:
        asked = changed(protocol, range=far, min_body=min_body, count=3)
        poses = np.stack([x.true_pose for x in protocol_xrays(asked, phantom, tmp_path)])
        # Our own renderer and resolution judge what the other renderer chose.
        return (render(grid, poses, protocol.intrinsics) > 0.2).numpy().mean(axis=(1, 2))

    assert shares(0.0).min() < 0.2
    assert shares(0.28).min() > 0.25
    with pytest.raises(InputError, match="100 % of the pixels"):
        protocol_xrays(changed(protocol, min_body=1.0, count=1), phantom, tmp_path)


def test_detectors_are_drawn_between_the_protocols_bounds() -> None:
    asked = ExposureRange((0.5, 2.0), (30.0, 31.0), (0.2, 0.3), (2e3, 3e3), (1.0, 1.0), (14, 15))
    drawn = [draw_detector(np.random.default_rng(i), asked) for i in range(100)]
    for name, (low, high) in dataclasses.asdict(asked).items():
        values = [getattr(d, name) for d in drawn]
        assert low <= min(values) <= max(values) <= high
    assert {d.bits for d in drawn} == {14, 15}


def test_a_start_is_as_wrong_as_the_protocol_says_in_every_direction() -> None:
    pivot = np.array([10.0, -20.0, 30.0])
    truth = NominalView("AP", (10.0, -20.0, 30.0), 700.0).pose
    rng = np.random.default_rng(0)
    starts = np.stack([draw_start(truth, pivot, StartError(40, 20), rng) for _ in range(500)])
    motions = starts @ np.linalg.inv(truth)
    shift = np.stack([transform_points(m, pivot) - pivot for m in motions])
    angle = np.degrees(rotation_angle(motions[:, :3, :3]))
    length = np.linalg.norm(shift, axis=1)
    assert (length.min() > 19.9, length.max() < 40.1, angle.min() > 9.9, angle.max() < 20.1) == (True,) * 4
    assert np.abs((shift / length[:, None]).mean(axis=0)).max() < 0.1
    check_rigid(starts[0])


def test_points_come_from_labels_by_pattern_or_from_a_threshold(phantom: Volume) -> None:
    dense = phantom.array > 300
    labels = LabelMap(dense + 2 * (phantom.array < -500), phantom.ijk_to_ras, {1: "rib_left_1", 2: "lung"})
    by_label = structure_points(phantom, labels, Points(("rib_*", "hip_*")))
    assert np.array_equal(by_label, structure_points(phantom, None, Points(threshold=300.0)))
    for points, said in (
        (Points(("hip_*",)), "no structure like hip.*rib_left_1"),
        (Points(threshold=9e3), "no voxels above 9000"),
    ):
        with pytest.raises(InputError, match=said):
            structure_points(phantom, labels, points)
    with pytest.raises(InputError, match="without a label map"):
        structure_points(phantom, None, Points(("rib_*",)))


class Stop(Exception):  # noqa: N818
    pass


@pytest.fixture(scope="module")
def output(protocol: Protocol, folder: Path) -> Path:
    """A run that was ended after its first X-ray, and then went on."""
    path = folder / "out"

    def end(what: str, done: int, total: int) -> None:
        if what == "Registrations":
            raise Stop

    with pytest.raises(Stop):
        evaluate_protocol(protocol, path, progress=end)
    assert len(read_rows(path / "results.csv")) == 1
    return path


def test_a_run_goes_on_where_it_was_ended_and_writes_everything(protocol: Protocol, output: Path) -> None:
    first = read_rows(output / "results.csv")[0]
    result = evaluate_protocol(protocol, output)
    assert result.rows[0].seconds == first.seconds  # kept, not measured again
    assert [row.name for row in result.rows] == ["xray-0000", "xray-0001"]
    # In plane only: depth is uncertain in so coarse an image.
    assert all(row.in_plane_mm < 1 for row in result.rows)
    assert all(row.mtre_mm < row.start_mtre_mm and row.ssim > 0.5 and row.css > row.ssim - 1e-9 for row in result.rows)
    summary = json.loads((output / "summary.json").read_text())
    assert summary["summary"]["success"]["1"]["n"] == 2
    assert summary["summary"]["ready_after_s"] > 0
    assert summary["protocol"]["poses"]["seed"] == 3
    page = (output / "report.html").read_text()
    assert all(
        (output / name).read_bytes().startswith(b"\x89PNG") and name in page for name in ("survival.png", "starts.png")
    )
    assert "mTRE < 1 mm" in (output / "table.md").read_text()
    more = evaluate_protocol(changed(protocol, count=3), output)
    assert [row.seconds for row in more.rows[:2]] == [row.seconds for row in result.rows]
    assert more.summary.cases == 3


def test_the_registration_does_not_see_the_truth(protocol: Protocol, output: Path, folder: Path) -> None:
    """With another truth in the files the registration finds the same; only its error changes."""
    one = changed(protocol, count=1)
    honest = evaluate_protocol(one, output).rows
    volume = read_volume(folder / "phantom.nii.gz")
    files = output / "xrays" / xrays_fingerprint(protocol, volume)
    wrong = folder / "wrong-truth" / files.name
    wrong.mkdir(parents=True)
    for path in sorted(files.glob("*.npz")):
        content = dict(np.load(path))
        content["true_pose"] = increment([30, 0, 0, 0, 0, 0.2], volume.center) @ content["true_pose"]
        np.savez(wrong / path.name, **content)
    misled = evaluate_protocol(one, folder / "misled", xrays=wrong.parent).rows
    for a, b in zip(honest, misled, strict=True):
        assert (a.similarity, a.winner, a.ncc, a.renders) == pytest.approx(
            (b.similarity, b.winner, b.ncc, b.renders), nan_ok=True
        )
        assert b.mtre_mm > 20


def test_another_protocol_in_the_same_folder_begins_anew(protocol: Protocol, output: Path) -> None:
    one = changed(protocol, count=1)
    before = evaluate_protocol(one, output).rows
    started = dataclasses.replace(
        one, start=StartError(6, 3), registration=dataclasses.replace(protocol.registration, sources=())
    )
    after = evaluate_protocol(started, output).rows
    assert {row.winner for row in before} == {"bank"}
    assert {row.winner for row in after} == {"given"}
    assert all(row.start_mtre_mm < 12 and row.in_plane_mm < 1 for row in after)


def test_rows_survive_their_file(tmp_path: Path) -> None:
    rows = [CaseRow("a", 0.1, verdict="check", reason='depth, "weak"', depth_mm=-1 / 3), CaseRow("b", float("inf"))]
    write_rows(tmp_path / "r.csv", rows)
    assert repr(read_rows(tmp_path / "r.csv")) == repr(rows)
    (tmp_path / "r.csv").write_text("name,other\na,1\n")
    assert read_rows(tmp_path / "r.csv") == []


def test_a_share_of_95_percent_of_gaussian_errors_lies_in_their_ellipses() -> None:
    rng = np.random.default_rng(0)
    angle = rng.uniform(-180, 180, 20_000)
    sigma = np.array([3.0, 0.5])
    local = rng.normal(size=(len(angle), 2)) * sigma
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    offsets = np.stack([c * local[:, 0] - s * local[:, 1], s * local[:, 0] + c * local[:, 1]], axis=1)
    axes = np.broadcast_to(np.sqrt(5.991) * sigma, offsets.shape)  # chi-squared, two degrees of freedom
    assert (ellipse_radii(offsets, axes, angle) <= 1).mean() == pytest.approx(0.95, abs=0.006)
    assert (ellipse_radii(offsets, axes, angle + 90) <= 1).mean() < 0.7


def test_the_summary_counts_what_is_wrong_and_believed() -> None:
    rows = [
        *(CaseRow(f"g{i}", 0.5, verdict="converged", depth_mm=-0.4, points=10.0, covered=0.9) for i in range(8)),
        CaseRow("timid", 0.8, verdict="check", depth_mm=0.8, points=30.0, covered=1.0),
        CaseRow("wrong", 3.0, verdict="converged", depth_mm=2.0),
        CaseRow("lost", 80.0, verdict="failed", depth_mm=70.0),
        CaseRow("refused", float("inf"), verdict="failed"),
    ]
    s = summarize_rows(rows)
    assert (s.success[1.0].successes, s.success[1.0].n) == (9, 12)
    assert (s.wrong_of_converged.successes, s.wrong_of_converged.n) == (1, 9)
    assert (s.wrong_and_converged.successes, s.wrong_and_converged.n) == (1, 12)
    assert (s.converged_of_good.successes, s.converged_of_good.n) == (8, 9)
    assert (s.failed_of_bad.successes, s.failed_of_bad.n) == (2, 3)
    # A pose that is elsewhere says nothing about depth.
    assert s.mean_depth_mm == pytest.approx((8 * -0.4 + 0.8 + 2.0) / 10)
    assert s.ellipse_coverage == pytest.approx((80 * 0.9 + 30 * 1.0) / 110)
    assert s.median_renders is None
    lines = dict(table(s))
    assert lines["verdicts"] == "1 check, 9 converged, 2 failed"
    assert "renders per X-ray, median" not in lines
    json.dumps(s.to_dict(), allow_nan=False)


def test_curves_are_drawn_of_what_is_known(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        CaseRow(
            f"x{i}",
            float(error),
            start_mtre_mm=10.0,
            verdict=("converged", "check", "failed", "")[i % 4],
            probability=float(rng.uniform()),
            semi_major_px=1.0,
            error_px=0.3,
            depth_mm=0.0,
            depth_95_mm=2.0,
        )
        for i, error in enumerate([*rng.exponential(1.0, 20), np.inf])
    ]
    names = [name for name, _ in write_curves(tmp_path, rows)]
    assert names == ["survival.png", "starts.png", "calibration.png", "uncertainty.png"]
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in names)
    assert [name for name, _ in write_curves(tmp_path, [CaseRow("refused", np.inf)])] == ["survival.png"]


def test_the_command_evaluates_a_file_and_lists_what_comes_along(
    protocol: Protocol, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in SHIPPED)
    out = folder / "command"
    assert main(["evaluate", str(folder / "small.toml"), "-o", str(out), "--count", "1"]) == 0
    assert "mTRE < 10 mm" in capsys.readouterr().out
    assert len(read_rows(out / "small" / "results.csv")) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Give a protocol"),
        (["unheard-of"], "neither a file nor one of the protocols"),
        (["strong-scatter"], "give one. (Options: --volume FILE.)"),
        (["psss", "--count", "0"], "At least one X-ray"),
        (["psss", "--sources", "luck"], "--sources must name"),
        (["psss", "--not-scanned", "0"], "with --volume"),
        (["psss", "--minutes", "nan"], "number of minutes"),
        (["psss", "psss"], "same name"),
    ],
)
def test_the_command_refuses_in_one_sentence(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *arguments, "-o", str(tmp_path / "out"), "--data", str(tmp_path / "none")]) == 2
    assert said in capsys.readouterr().err


def test_a_volume_of_ones_own_replaces_the_protocols_and_its_points(tmp_path: Path) -> None:
    other = with_volume(read_protocol(find_protocol("psss")), tmp_path / "mine.nii.gz", Reading(background=0.0))
    assert (other.volume.source, other.volume.reading) == (str(tmp_path / "mine.nii.gz"), Reading(background=0.0))
    assert other.points.labels == ()
