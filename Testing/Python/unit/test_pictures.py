"""Pictures and reports: left is left, outlines lie where their masks are, and the page holds what it should."""

from __future__ import annotations

import json
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.image import imread
from rich.console import Console

from XVRegistrationLib.cli.progress import print_verdict
from XVRegistrationLib.evaluation.pictures import side_markers, training_curve, window, xray_picture
from XVRegistrationLib.evaluation.report import Case, Summary, summarize, summary_line, write_report
from XVRegistrationLib.evaluation.report_table import console_table, reasons
from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.geometry.views import NominalView, relative_motion
from XVRegistrationLib.registration.result import Registration, Trust

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CENTER = (10.0, -20.0, 30.0)


def camera(view: str) -> tuple[NominalView, Intrinsics]:
    nominal = NominalView(view, CENTER, 700.0)
    return nominal, Intrinsics.centered(1000.0, (0.5, 0.8), (200, 100), nominal.mirrored)


@pytest.mark.parametrize(
    ("view", "left", "right"), [("AP", "R", "L"), ("PA", "R", "L"), ("LLAT", "P", "A"), ("RLAT", "A", "P")]
)
def test_side_markers_name_the_patient_s_side_as_a_radiograph_shows_it(view: str, left: str, right: str) -> None:
    nominal, intrinsics = camera(view)
    assert side_markers(nominal.pose, intrinsics) == {"left": left, "right": right, "top": "H", "bottom": "F"}


@pytest.mark.parametrize("view", ["AP", "PA", "LLAT", "RLAT"])
def test_side_markers_agree_with_where_points_are_projected(view: str) -> None:
    nominal, intrinsics = camera(view)
    pose = nominal.absolute(relative_motion((15, -20, 10), (5, 5, 5)))
    towards = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1)}
    middle = project(CENTER, pose, intrinsics)
    for side, letter in side_markers(pose, intrinsics).items():
        column, row = project(np.add(CENTER, towards[letter]), pose, intrinsics) - middle
        assert {"left": -column, "right": column, "top": -row, "bottom": row}[side] > 0


def test_an_image_that_is_mirrored_has_its_markers_swapped() -> None:
    import dataclasses

    nominal, intrinsics = camera("AP")
    flipped = side_markers(nominal.pose, dataclasses.replace(intrinsics, mirrored=True))
    assert (flipped["left"], flipped["right"]) == ("L", "R")


def test_window_ignores_outliers_and_keeps_flat_images_dark() -> None:
    image = np.linspace(0, 1, 10_000).reshape(100, 100)
    image[0, 0], image[0, 1], image[0, 2] = 1e6, -1e6, np.nan
    shown = window(image)
    assert shown.min() == 0
    assert shown.max() == 1
    assert shown[50, 50] == pytest.approx(0.5, abs=0.02)
    assert not window(np.full((4, 4), 7.0)).any()
    assert not window(np.full((4, 4), np.nan)).any()


def marked(image: NDArray[np.float32], color: tuple[float, float, float]) -> NDArray[np.bool_]:
    return (np.abs(image[..., :3] - color) < 0.15).all(axis=-1)


def on_x_ray(path: Path, color: tuple[float, float, float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Columns and rows of the X-ray (200, 100), px, where the third panel of a picture has a colour."""
    image = imread(path)
    # The third panel is the right third of the picture, above the legend; its black background shows where it is.
    width = image.shape[1]
    dark = (image[..., :3] < 0.02).all(axis=-1)
    rows = np.flatnonzero(dark[:, 2 * width // 3 + 40 : width - 40].mean(axis=1) > 0.5)
    columns = np.flatnonzero(dark[rows[0] : rows[-1]].mean(axis=0) > 0.5)
    columns = columns[columns > 2 * width // 3]
    top, bottom, left, right = rows[0], rows[-1], columns[0], columns[-1]
    v, u = np.nonzero(marked(image, color)[top:bottom, left:right])
    return u / (right - left) * 200 - 0.5, v / (bottom - top) * 100 - 0.5


CYAN, AMBER = (0.0, 229 / 255, 1.0), (1.0, 176 / 255, 0.0)


def ellipse(column: float, row: float, a: float, b: float) -> NDArray[np.float64]:
    t = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return np.stack([column + a * np.cos(t), row + b * np.sin(t)], axis=1)


def test_an_ellipse_lies_around_its_target_and_is_left_out_where_nobody_would_see_it(tmp_path: Path) -> None:
    x_ray = np.zeros((100, 200), np.float32)
    seen, hidden, lost = ellipse(60, 40, 30, 12), ellipse(150, 80, 0.3, 0.2), np.full((64, 2), np.nan)
    xray_picture(tmp_path / "all.png", x_ray, x_ray, ellipses=[seen, hidden, lost])
    u, v = on_x_ray(tmp_path / "all.png", AMBER)
    assert (u.min(), u.max(), v.min(), v.max()) == pytest.approx((30, 90, 28, 52), abs=1.0)
    assert np.abs(((u - 60) / 30) ** 2 + ((v - 40) / 12) ** 2 - 1).max() < 0.25
    xray_picture(tmp_path / "none.png", x_ray, x_ray, ellipses=[hidden])
    assert not len(on_x_ray(tmp_path / "none.png", AMBER)[0])


def test_the_picture_has_the_outline_and_the_target_where_they_are_on_the_x_ray(tmp_path: Path) -> None:
    path = tmp_path / "case.png"
    x_ray = np.zeros((100, 200), np.float32)
    x_ray[10:30, 20:40] = 1.0
    mask = x_ray > 0
    red, cyan = (1.0, 0.0, 0.0), CYAN
    xray_picture(
        path, x_ray, x_ray[::2, ::2], [("first_rib", "red", mask)], [("", (150.0, 80.0))], "Case 1", {"left": "R"}
    )
    assert [p.name for p in tmp_path.iterdir()] == ["case.png"]
    u, v = on_x_ray(path, red)
    assert (u.min(), u.max(), v.min(), v.max()) == pytest.approx((19.5, 39.5, 9.5, 29.5), abs=1.5)
    u, v = on_x_ray(path, cyan)
    assert ((u.min() + u.max()) / 2, (v.min() + v.max()) / 2) == pytest.approx((150, 80), abs=1.0)


def test_without_structures_the_edges_of_the_drr_are_on_the_x_ray_where_they_are_in_it(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:200, :400]
    disc = (((columns - 199.5) / 100) ** 2 + ((rows - 79.5) / 60) ** 2 < 1).astype(
        np.float32
    )  # of twice as many pixels
    x_ray = np.zeros((100, 200), np.float32)
    xray_picture(tmp_path / "edges.png", x_ray, 3 * disc)
    u, v = on_x_ray(tmp_path / "edges.png", AMBER)
    assert (u.min(), u.max(), v.min(), v.max()) == pytest.approx((49.5, 149.5, 9.5, 69.5), abs=2.0)
    radius = np.hypot((u - 99.5) / 50, (v - 39.5) / 30)
    assert np.abs(radius - 1).max() < 0.1  # along the border, and neither inside nor outside of it
    around = np.histogram(np.arctan2(v - 39.5, u - 99.5), bins=12, range=(-np.pi, np.pi))[0]
    assert around.min() > 0
    xray_picture(tmp_path / "flat.png", x_ray, np.ones_like(disc))
    assert not len(on_x_ray(tmp_path / "flat.png", AMBER)[0])
    mask = np.zeros((100, 200), bool)
    mask[20:40, 20:40] = True
    xray_picture(tmp_path / "rib.png", x_ray, 3 * disc, [("rib", "red", mask)])  # structures are drawn instead
    assert not len(on_x_ray(tmp_path / "rib.png", AMBER)[0])


def test_greys_are_those_of_the_x_ray_and_of_the_drr_scaled_to_what_it_shows(tmp_path: Path) -> None:
    x_ray = np.full((100, 200), 0.25, np.float32)
    x_ray[:, 100:] = 0.75
    drr = np.zeros((50, 100), np.float32)
    drr[:, 25:75], drr[:, 75:] = 2.0, 4.0  # of any unit
    xray_picture(tmp_path / "greys.png", x_ray, drr)
    image = imread(tmp_path / "greys.png")[..., :3].mean(axis=-1)
    row = image[image.shape[0] // 2]
    third = len(row) // 3
    for panel, expected in ((0, [(0.25, 0.5), (0.75, 0.5)]), (1, [(0.0, 0.25), (0.5, 0.5), (1.0, 0.25)])):
        inner = row[panel * third + 30 : (panel + 1) * third - 30]
        for grey, share in expected:
            assert np.mean(np.abs(inner - grey) < 0.02) == pytest.approx(share, abs=0.08)


def test_a_picture_without_structures_and_one_with_many_are_written(tmp_path: Path) -> None:
    x_ray = np.random.default_rng(0).random((60, 40)).astype(np.float32)
    xray_picture(tmp_path / "plain.png", x_ray, x_ray)
    rng = np.random.default_rng(1)
    outlines = [(f"bone {i}", tuple(rng.random(3)), rng.random((60, 40)) > 0.5) for i in range(30)]
    outlines.append(("out of view", "red", np.zeros((60, 40), bool)))
    xray_picture(tmp_path / "many.png", x_ray, x_ray, outlines, title="Many", aspect=1.5)
    plain, many = imread(tmp_path / "plain.png"), imread(tmp_path / "many.png")
    assert many.shape[0] > plain.shape[0]
    with pytest.raises(ValueError, match="outline of rib has shape"):
        xray_picture(tmp_path / "wrong.png", x_ray, x_ray, [("rib", "red", np.zeros((4, 4), bool))])
    assert not (tmp_path / "wrong.png").exists()


def test_pictures_leave_pyplot_alone(tmp_path: Path) -> None:
    training_curve(tmp_path / "curve.png", [(0.0, 3.0, 40.0), (60.0, 2.0, None), (300.0, 1.0, 18.0)])
    training_curve(tmp_path / "short.png", [(0.0, 3.0, None), (10.0, 2.0, None)])
    assert imread(tmp_path / "curve.png").std() > 0.01
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def case(
    name: str, mtre: float | None, mpd: float | None = 0.2, seconds: float = 3.0, trust: Trust | None = None
) -> Case:
    nominal, intrinsics = camera("AP")
    registration = Registration(
        name, nominal.pose, intrinsics, similarity=0.95, seconds=seconds, winner="bank", trust=trust
    )
    starts = None if mtre is None else {"network": 18.0, "bank": 12.5}
    return Case(name, registration, starts, mtre, None if mtre is None else mpd, f"pictures/{name}.png")


def test_the_summary_counts_strictly_below_the_thresholds() -> None:
    cases = [case("a", 0.3), case("b", 1.0), case("c", 2.0), case("d", 1.99)]
    s = summarize(cases)
    assert (s.cases, s.judged, s.below_1_mm, s.below_2_mm) == (4, 4, 1, 3)
    assert s.median_mtre_mm == pytest.approx(1.495)
    assert s.median_start_errors_mm == {"bank": 12.5, "network": 18.0}
    line = summary_line(cases)
    assert line.startswith("1 of 4 X-rays < 1 mm, 3 < 2 mm; median mTRE 1.50 mm")
    assert "bank 12.5 mm, network 18.0 mm" in line


def test_without_a_reference_nothing_is_claimed() -> None:
    assert "without a reference pose" in summary_line([case("a", None)])
    assert "mm" not in summary_line([case("a", None)])
    assert summary_line([]) == "No X-ray was registered."
    assert summarize([]) == Summary(0, 0, 0, 0, None, None, {}, None, None)


def test_the_console_table_shows_every_case_with_its_errors() -> None:
    console = Console(width=140, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(console_table([case("x-[01]", 0.34), case("x-02", None), case("x-03", 5.0, float("inf"))]))
    text = capture.get()
    for expected in ("x-[01]", "0.34", "18.0", "12.5", "bank", "–", "out of view"):
        assert expected in text


CHECK = Trust("check", 0.3, "Look at <it> first.", "depth along the beam: +-6.0 mm (95 %)")
FAILED = Trust("failed", 0.9, "Another pose is as good.", "the spin in the image's plane: +-2.0 degrees (95 %)")


def test_the_verdict_is_a_column_with_its_reasons_below_on_the_page(tmp_path: Path) -> None:
    cases = [case("x01", 0.34, trust=CHECK), case("x02", 1.5, trust=FAILED), case("x03", None)]
    path = write_report(tmp_path, cases)
    text = path.read_text("utf-8")
    page = Page(text)
    assert "verdict" in page.texts
    for trust, grade in ((CHECK, "fair"), (FAILED, "poor")):
        below = page.texts[page.texts.index(trust.verdict) + 1]
        assert below == f"{trust.reason} The image says least about {trust.weakest}."
        assert f'<td class="{grade}">{trust.verdict}<div' in text
    assert reasons(cases[2].registration) == ""
    assert "it" not in page.tags
    console = Console(width=160)
    with console.capture() as capture:
        console.print(console_table(cases))
    rows = [line for line in capture.get().splitlines() if "x0" in line]
    assert [next((v for v in ("check", "failed", "–") if v in row), None) for row in rows] == ["check", "failed", "–"]
    record = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert Registration.from_dict(record["cases"][1]["registration"]).trust == FAILED


def test_the_command_line_says_the_verdict_with_its_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    for trust, words in ((CHECK, "check"), (None, "no verdict")):
        print_verdict(case("x-[01]", 0.3, trust=trust).registration, "similarity 0.950, 3.0 s")
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"x-[01]: {words}, similarity 0.950, 3.0 s"
        assert " ".join(" ".join(lines[1:]).split()) == (
            "" if trust is None else f"{trust.reason} The image says least about {trust.weakest}."
        )


class Page(HTMLParser):
    """Collects the text and the pictures of a page, and complains about tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.pictures: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "img":
            self.pictures.append(dict(attrs)["src"] or "")
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_report_holds_table_pictures_versions_and_the_notice(tmp_path: Path) -> None:
    cases = [case("x01", 0.34), case("x02", 1.5)]
    path = write_report(
        tmp_path / "out",
        cases,
        training_curve="training.png",
        scene_picture="scene 3d.png",
        facts={"CT": "chest"},
        versions={"torch": "2.13"},
    )
    page = Page(path.read_text("utf-8"))
    text = " ".join(page.texts)
    assert page.pictures == ["scene%203d.png", "pictures/x01.png", "pictures/x02.png", "training.png"]
    for expected in ("Research use only. Not a medical device.", summary_line(cases), "0.34", "torch", "2.13", "chest"):
        assert expected in text
    assert not page.tags & {"script", "link"}
    assert sorted(p.name for p in path.parent.iterdir()) == ["report.html", "report.json"]


def test_the_report_s_numbers_are_in_its_json_and_registrations_can_be_read_back(tmp_path: Path) -> None:
    cases = [case("x01", 0.34), case("x02", 5.0, float("inf"))]
    write_report(tmp_path, cases)
    record = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert record["summary"]["below_1_mm"] == 1
    assert record["summary"]["line"] == summary_line(cases)
    assert record["cases"][0]["mtre_mm"] == 0.34
    assert record["cases"][1]["mpd_mm"] is None
    read = Registration.from_dict(record["cases"][0]["registration"])
    assert np.array_equal(read.pose, cases[0].registration.pose)
    assert read.intrinsics == cases[0].registration.intrinsics


def test_names_cannot_inject_html(tmp_path: Path) -> None:
    path = write_report(tmp_path, [case('<script>alert("x")</script>', 0.5)], facts={"<b>": "<img src=x>"})
    page = Page(path.read_text("utf-8"))
    assert "script" not in page.tags
    assert len(page.pictures) == 1
    assert '<script>alert("x")</script>' in page.texts
