"""The page of a report of X-rays, in HTML that both a browser and Qt's rich text show."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation import run_curves
from XVRegistrationLib.evaluation.page import address_inside, facts_html, image_html, page, table_html
from XVRegistrationLib.evaluation.report_table import GRADES, reasons, verdict_in_words
from XVRegistrationLib.evaluation.reported_run import run_html
from XVRegistrationLib.evaluation.xray_report import status_line
from XVRegistrationLib.geometry.angles import direction_in_words, turn_of
from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.geometry.rigid import invert, transform_points
from XVRegistrationLib.registration.export import README
from XVRegistrationLib.registration.uncertainty import target_uncertainty

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from XVRegistrationLib.evaluation.report_pictures import ReportPictures
    from XVRegistrationLib.evaluation.reported_run import ReportedRun
    from XVRegistrationLib.evaluation.xray_report import ReportedXray, XrayReport
    from XVRegistrationLib.registration.result import Registration

_STYLE = """
td { vertical-align: top; } .pictures td { border: none; padding: 3px; text-align: left; }
.caption { color: #57606a; font-size: .85rem; } .review { font-weight: 600; } .warning { color: #8a2d0b; font-weight: 600; }
.rejected { color: #57606a; } .pictures { break-inside: avoid; }
"""
_WIDTH = 1000
"""px, of the pictures of one X-ray side by side."""
_PRINTED_WIDTH = 580
"""px, of the same on paper, A4."""
_PRINTED_STYLE = """
p, td, th { font-size: 9pt; } h1 { font-size: 16pt; } h2 { font-size: 13pt; } h3 { font-size: 11pt; }
.line { font-size: 10pt; } .caption { font-size: 8pt; } table { margin: 4px 0; }
"""
_NEW_SHEET = ' style="page-break-before: always"'
_OVERLAY = 0.655  # of the width: the X-ray and the DRR, one above the other beside it, are half as wide
_SIDE = 0.325
_DECISIONS = {"accepted": "Accepted", "open": "Open: not yet decided", "rejected": "Rejected"}
_LEAST_PERCENT = 1.0
"""Of probabilities that are stated: the table rests on some hundred registrations."""
_UNKNOWN = "–"


@dataclass(frozen=True)
class PrintedPage:
    """A page that fits on A4, with its pictures beside it, so that they can be taken in one by one."""

    html: str
    pictures: Mapping[str, tuple[bytes, int]]
    """Address in the page -> JPEG file, and how wide it is shown there, px."""


@dataclass(frozen=True)
class _Form:
    """How a page is set."""

    width: int
    """px, of the pictures of one X-ray side by side."""
    address: Callable[[bytes, int], str]
    """Of a JPEG file that is shown so wide, px."""
    style: str
    sheets: bool
    """Whether each X-ray begins a new sheet of paper, so that no picture is torn from what is said of it."""


def page_of(report: XrayReport) -> str:
    """The whole page, with its pictures inside."""
    return _page(report, _Form(_WIDTH, lambda picture, _width: address_inside(picture), _STYLE, sheets=False))


def printed_page(report: XrayReport) -> PrintedPage:
    """The same, to be printed: each X-ray on a sheet of its own, but a single one, which goes on the first."""
    pictures: dict[str, tuple[bytes, int]] = {}

    def address(picture: bytes, width: int) -> str:
        name = f"picture-{len(pictures) + 1}"
        pictures[name] = picture, width
        return name

    several = len(report.of("accepted")) + len(report.of("open")) > 1
    form = _Form(_PRINTED_WIDTH, address, _STYLE + _PRINTED_STYLE, sheets=several)
    return PrintedPage(_page(report, form), pictures)


def _page(report: XrayReport, form: _Form) -> str:
    e = html.escape
    body = [f'<p class="line">{e(status_line(report))}</p>', f"<p>Made on {e(report.date)}.</p>"]
    if report.left_out:
        body.append(f"<p>Not drawn in the pictures, as chosen: {e(', '.join(report.left_out))}.</p>")
    body += _files(report) + _overview(report)
    for group in ("accepted", "open"):
        found = report.of(group)
        if found:
            body.append(f"<h2{_NEW_SHEET if form.sheets else ''}>{_DECISIONS[group]}</h2>")
            body += [_section(report, xray, form, begins=i > 0) for i, xray in enumerate(found)]
    body += _without_pose(report)
    body += _rejected(report)
    for xray in (*report.of("without a pose"), *report.of("rejected")):
        if xray.run is not None:
            body += [f"<h3>All frames of {e(xray.name)}</h3>", _run(xray.run, form)]
    for heading, facts in (("The patient's model", report.model), ("Versions", report.versions)):
        if facts:
            body += [f"<h2>{heading}</h2>", facts_html(facts)]
    return page(report.title, body, form.style)


def _overview(report: XrayReport) -> list[str]:
    """A line for each X-ray whose pose may be looked at."""
    lines = []
    for xray in (*report.of("accepted"), *report.of("open")):
        found = xray.registration
        assert found is not None  # by its group
        lines.append([xray.name, xray.review.decision, verdict_in_words(found), _probability(found)])
        lines[-1] += [direction_in_words(found.pose), xray.review.note]
    header = ["X-ray", "review", "verdict", "P(error > 2 mm)", "C-arm", "note"]
    return [table_html(header, lines, of_words=True)] if lines else []


def _files(report: XrayReport) -> list[str]:
    """Where the same is for other programs."""
    if not report.files:
        return []
    place = html.escape(quote(f"{report.files}/{README}"))
    what = f': <a href="{place}">what is what</a>' if report.explained else ""
    return [
        f"<p>Transforms, tables and labels for other programs are in the folder {html.escape(report.files)}{what}.</p>"
    ]


def _section(report: XrayReport, xray: ReportedXray, form: _Form, *, begins: bool) -> str:
    """All that is said of one X-ray; where it `begins`, on a new sheet."""
    e, found = html.escape, xray.registration
    assert found is not None  # by its group
    note = f" {e(xray.review.note)}" if xray.review.note else ""
    parts = [
        f"<h3{_NEW_SHEET if begins and form.sheets else ''}>{e(xray.name)}</h3>",
        f'<p><span class="review">{_DECISIONS[xray.review.decision]}.</span>{note}</p>',
    ]
    why = e(reasons(found))
    grade = GRADES.get(found.verdict, "")
    parts.append(f'<p><span class="{grade}"><b>{e(verdict_in_words(found))}</b></span> {why}</p>')
    if found.verdict == "failed":
        parts.append('<p class="warning">The verdict is that this pose failed.</p>')
    if xray.reason:
        parts.append(f"<p>{e(xray.reason)}</p>")
    if xray.pictures is not None:
        parts.append(_pictures(xray.name, xray.pictures, form))
    parts.append(facts_html({**xray.identity, **_pose_facts(report, found)}))
    if report.targets:
        parts += [_targets(report, found)] if xray.usable else ["<p>Targets are left out: the pose failed.</p>"]
    if xray.run is not None:
        parts.append(_run(xray.run, form))
    return '<div class="xray">\n' + "\n".join(parts) + "\n</div>"


def _pictures(name: str, pictures: ReportPictures, form: _Form) -> str:
    """The overlay, beside it the X-ray above the DRR, and below them what is drawn."""
    large, small = round(_OVERLAY * form.width), round(_SIDE * form.width)
    overlay = image_html(form.address(pictures.overlay, large), large, f"{name} with what falls on it")
    xray = image_html(form.address(pictures.xray, small), small, name)
    drr = image_html(form.address(pictures.drr, small), small, f"DRR of {name}") if pictures.drr else ""
    second = f'<tr><td>{drr}<br><span class="caption">DRR at the pose found</span></td></tr>' if drr else ""
    span = ' rowspan="2"' if drr else ""
    legend = " &nbsp; ".join(
        f'<span style="color:{color};background-color:#24292f">&nbsp;&#9632;&nbsp;</span>&nbsp;{html.escape(what).replace(" ", "&nbsp;")}'
        for what, color in pictures.legend
    )
    return (
        f'<table class="pictures"><tr><td{span}>{overlay}</td>'
        f'<td>{xray}<br><span class="caption">X-ray</span></td></tr>{second}</table><p class="caption">{legend}</p>'
    )


def _run(run: ReportedRun, form: _Form) -> str:
    """The other frames of an X-ray that is one of a run."""
    width = min(form.width, run_curves.WIDTH)
    shown = image_html(form.address(run.curves, width), width, "Pose curves") if run.curves else ""
    return run_html(run, shown)


def _pose_facts(report: XrayReport, found: Registration) -> dict[str, str]:
    """The pose in words."""
    camera, pose = found.intrinsics, found.pose
    (dx, dy), (width, height) = camera.spacing, camera.size
    facts = {
        "C-arm": f"{direction_in_words(pose)}; turned {turn_of(pose):+.1f}° about its beam (clockwise as seen from the source)",
        "SID, source to detector": f"{camera.sdd:.0f} mm",
    }
    if report.isocenter is not None:
        depth = float(transform_points(invert(pose), report.isocenter)[2])
        facts["SOD, source to isocentre"] = f"{depth:.1f} mm along the beam"
    facts["source"] = _place(pose[:3, 3])
    facts["detector"] = f"{width} x {height} px of {dx:g} x {dy:g} mm{', mirrored' if camera.mirrored else ''}"
    facts["similarity"] = f"{found.similarity:.3f} (1 is perfect), start: {found.winner or _UNKNOWN}"
    facts["probability of an error above 2 mm"] = _probability(found)
    return facts


def _targets(report: XrayReport, found: Registration) -> str:
    """Where each target falls, and how sure that is."""
    points = np.array([point for _, point in report.targets])
    try:
        spread = target_uncertainty(found, points)
    except InputError:
        spread = None
    depths = transform_points(invert(found.pose), points)[:, 2]
    lines = []
    for i, (name, point) in enumerate(report.targets):
        pixel = np.asarray(project(point, found.pose, found.intrinsics))
        line = [name, _place(point), _pixel(pixel, found.intrinsics.size)]
        ellipse, plane, along = _UNKNOWN, _UNKNOWN, f"{depths[i]:.0f}" if depths[i] > 0 else _UNKNOWN
        if spread is not None and np.isfinite([*spread.semi_axes[i], spread.depth_mm[i]]).all():
            a, b = spread.semi_axes[i]
            ellipse = f"{a:.1f} x {b:.1f} at {spread.angle_deg[i]:.0f}°"
            plane, along = f"{spread.in_plane_mm[i]:.2f}", f"{depths[i]:.0f} ± {spread.depth_mm[i]:.1f}"
        lines.append([*line, ellipse, plane, along])
    header = [
        "target",
        "in the CT, mm",
        "column, row, px",
        "95 % ellipse, px",
        "longer half axis, mm",
        "from the source, mm",
    ]
    return table_html(header, lines)


def _without_pose(report: XrayReport) -> list[str]:
    found = report.of("without a pose")
    lines = [[xray.name, xray.reason or _UNKNOWN, xray.review.note] for xray in found]
    return ["<h2>Without a pose</h2>", table_html(["X-ray", "why", "note"], lines, of_words=True)] if found else []


def _rejected(report: XrayReport) -> list[str]:
    """Names and notes alone: nothing that could be taken for a pose to use."""
    found = report.of("rejected")
    if not found:
        return []
    lines = [
        [x.name, x.review.note or _UNKNOWN, _UNKNOWN if x.registration is None else verdict_in_words(x.registration)]
        for x in found
    ]
    words = '<p class="warning">Not to be used. Their poses, pictures and targets are left out.</p>'
    return [
        "<h2>Rejected</h2>",
        words,
        f'<div class="rejected">{table_html(["X-ray", "note", "verdict"], lines, of_words=True)}</div>',
    ]


def _probability(found: Registration) -> str:
    """In per cent; never less than what the table of verdicts can tell."""
    if found.trust is None:
        return _UNKNOWN
    percent = 100 * found.trust.probability
    return f"{percent:.1f} %" if percent >= _LEAST_PERCENT else f"< {_LEAST_PERCENT:g} %"


def _place(point: np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    """A point (3,), RAS mm, with the sides that it lies towards."""
    sides = ("RL", "AP", "SI")
    return "  ".join(f"{pair[0] if v >= 0 else pair[1]} {abs(v):.1f}" for pair, v in zip(sides, point, strict=True))


def _pixel(pixel: np.ndarray[tuple[int], np.dtype[np.float64]], size: tuple[int, int]) -> str:
    if not np.isfinite(pixel).all():
        return "not in front of the source"
    inside = bool(((pixel >= -0.5) & (pixel < np.array(size) - 0.5)).all())
    return f"{pixel[0]:.1f}, {pixel[1]:.1f}{'' if inside else ' (outside the image)'}"
