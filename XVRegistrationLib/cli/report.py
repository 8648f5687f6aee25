"""`xvregistration report`."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.cli.xray_options import Help, add_bright, add_subtraction, frame_of_text, one_frame
from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from XVRegistrationLib.evaluation.drawing import Structures
    from XVRegistrationLib.evaluation.xray_report import ReportedXray
    from XVRegistrationLib.registration.export import Exported
    from XVRegistrationLib.registration.export_table import Target
    from XVRegistrationLib.registration.model import PatientModel

_PAGE = "report.html"


def add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The grammar of the command."""
    p = commands.add_parser(
        "report",
        help="one page about registered X-rays, to read, sign off and keep",
        description="One HTML file with its pictures inside: of each X-ray the pose in words, the verdict, where the targets "
        "fall, and what was decided on it; the same for programs beside it (.json). Frames of one file of --xrays are one X-ray, "
        "with the picture of one and the poses and verdicts of all. Nothing in it names the patient.",
        formatter_class=Help,
    )
    p.add_argument(
        "results",
        nargs="+",
        metavar="RESULT.json",
        help="of `xvregistration register`, or registrations.json of an export",
    )
    p.add_argument("-o", "--output", required=True, metavar="REPORT.html", help="the page, or a folder for it")
    p.add_argument("--xrays", nargs="+", metavar="XRAY", help="the X-rays: called like the results, or in their order")
    p.add_argument("--model", metavar="MODEL", help="the patient's model, for DRRs and what is said of it")
    p.add_argument("--volume", metavar="CT", help="new place of the model's volume")
    p.add_argument("--frame", type=frame_of_text, default=None, metavar="N", help="of runs, as `export` takes it")
    add_subtraction(p)
    add_bright(p)
    p.add_argument("--labels", metavar="LABELS", help="label map of the CT to outline on the X-rays")
    p.add_argument("--label-names", metavar="TABLE", help="CSV with the columns id and structure, or JSON")
    p.add_argument("--structures", nargs="+", metavar="NAME", help="only these structures")
    p.add_argument("--targets", metavar="FILE", help="planned points: CSV name,r,a,s in mm, or Slicer's .mrk.json")
    p.add_argument(
        "--reviews", metavar="TABLE", help="what was decided: CSV xray,decision,note; accepted, rejected or open"
    )
    p.add_argument("--keep-identity", action="store_true", help="say whom the X-rays are of, as their headers do")
    p.add_argument(
        "--files",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="what `export` writes of the X-rays that are not rejected, in the folder REPORT-files beside the page",
    )
    p.set_defaults(run=run)


@dataclass(frozen=True, eq=False)
class _Given:
    """What the command's files hold, apart from results and X-rays."""

    model: PatientModel | None
    structures: Structures | None
    targets: tuple[Target, ...]


def run(options: argparse.Namespace) -> int:
    """Write the page. X-rays without a pose, or whose file is not there, are said in it, and the others go on."""
    from XVRegistrationLib.cli.export import keep_inputs
    from XVRegistrationLib.cli.progress import console
    from XVRegistrationLib.cli.register import structures_of
    from XVRegistrationLib.cli.report_runs import as_runs
    from XVRegistrationLib.evaluation.xray_report import (
        XrayReport,
        facts_of_card,
        files_folder,
        status_line,
        write_xray_report,
    )
    from XVRegistrationLib.files import staging
    from XVRegistrationLib.registration.card import read_card
    from XVRegistrationLib.registration.target_files import read_targets

    xrays = _with_reviews(_results(options.results), options.reviews)
    files = _files_of([xray.name for xray in xrays], options.xrays or [])
    one_frame(options)
    targets = () if options.targets is None else tuple(read_targets(options.targets))
    output = Path(options.output)
    page = output if output.suffix.lower() in (".html", ".htm") else output / _PAGE
    if page.resolve() in {Path(path).resolve() for path in (*options.results, *(options.xrays or ()))}:
        raise InputError(f"{page} would be overwritten; choose another -o.")
    given = _Given(_model(options), structures_of(options), targets)
    center = None if given.model is None else given.model.view.isocenter
    xrays, files = as_runs(xrays, files, center)
    pairs = [_shown(xray, file, given, options) for xray, file in zip(xrays, files, strict=True)]
    shown, items = [xray for xray, _ in pairs], [item for _, item in pairs if item is not None]
    report = XrayReport(
        tuple(shown),
        targets,
        None if center is None else _array(center),
        facts_of_card(read_card(options.model)) if options.model else {},
        () if given.structures is None else given.structures.left_out,
    )
    with staging(page.parent) as staged:
        inputs = [*options.results, *(options.xrays or ())]  # without files, those of an earlier report are removed
        keep_inputs(inputs, files_folder(page), [item.registration.name for item in items])
        if options.files:
            folder = Path(staged) / files_folder(page).name
            report = replace(report, files=_write_files(folder, items, targets, options.keep_identity))
        write_xray_report(page, report, Path(staged))
    console.print(f"{status_line(report)} The report is {page}.", markup=False)
    lost = [xray for xray, file in zip(shown, files, strict=True) if file and xray.reason and xray.registration]
    if lost:
        raise InputError(f"{len(lost)} of {len(shown)} X-rays have no pictures in the report. {lost[0].reason}")
    return 0


def _results(paths: Sequence[str]) -> list[ReportedXray]:
    """The X-rays of result files; those of tries that did not replace a better one, and of earlier reports, are passed over."""
    from XVRegistrationLib.cli.export import json_in
    from XVRegistrationLib.evaluation.xray_report import is_report

    found: dict[str, ReportedXray] = {}
    for path in paths:
        plain = path.removesuffix(".failed.json") + ".json"
        if path.endswith(".failed.json") and plain in paths:
            continue
        content = json_in(path)
        if is_report(content):
            continue
        for one in content if isinstance(content, list) else [content]:
            xray = _reported(path, one)
            if xray.name in found:
                raise InputError(f"{path}: several results are called {xray.name}; give each X-ray's once.")
            found[xray.name] = xray
    if not found:
        raise InputError("There is no result to report: give NAME.json of `xvregistration register`.")
    return list(found.values())


def _reported(path: str, content: Any) -> ReportedXray:
    from XVRegistrationLib.cli.export import registration_in
    from XVRegistrationLib.evaluation.xray_report import ReportedXray
    from XVRegistrationLib.registration.review import review_of

    if isinstance(content, dict) and "pose" in content and content["pose"] is None:
        name = str(content.get("name") or Path(path).stem)
        return ReportedXray(name, review=review_of(content.get("review")), reason=str(content.get("reason") or ""))
    found = registration_in(path, content)
    return ReportedXray(found.name, found, review_of(content.get("review")))


def _with_reviews(xrays: list[ReportedXray], table: str | None) -> list[ReportedXray]:
    """The X-rays with what a table says was decided on them."""
    from XVRegistrationLib.registration.review import read_reviews

    if table is None:
        return xrays
    reviews = read_reviews(table)
    unknown = sorted(reviews.keys() - {xray.name for xray in xrays})
    if unknown:
        raise InputError(f"{table} decides on {', '.join(unknown)}, of which there is no result.")
    return [replace(xray, review=reviews.get(xray.name, xray.review)) for xray in xrays]


def _files_of(names: Sequence[str], files: Sequence[str]) -> list[str | None]:
    """The file of each X-ray: the one that is called like it, else, where there are as many, the one in its place."""
    from XVRegistrationLib.cli.export import frame_of

    if not files:
        return [None] * len(names)

    def of(name: str) -> str | None:
        stems = {file: (Path(file).stem, Path(file).name, Path(file).name.removesuffix(".nii.gz")) for file in files}
        return next((f for f in files if name in stems[f]), None) or next(
            (f for f in files if frame_of(name, f) is not None), None
        )

    called = [of(name) for name in names]
    if all(called) or len(files) != len(names):
        if not any(called):
            raise InputError(
                f"None of the X-rays is called like a result ({names[0]}, ...); give one for each, in their order."
            )
        return called
    return list(files)


def _model(options: argparse.Namespace) -> PatientModel | None:
    from XVRegistrationLib.imaging.volume import read_volume
    from XVRegistrationLib.registration.card import read_card, reading_of
    from XVRegistrationLib.registration.model import load_model

    if options.model is None:
        if options.volume is not None:
            raise InputError("--volume is the new place of a model's volume: give the model with --model.")
        return None
    volume = None if options.volume is None else read_volume(options.volume, reading_of(read_card(options.model)))
    return load_model(options.model, volume)


def _shown(
    xray: ReportedXray, file: str | None, given: _Given, options: argparse.Namespace
) -> tuple[ReportedXray, Exported | None]:
    """An X-ray with its pictures and, where asked for, whom it is of, with a reason where its file gives none; and what of it is exported."""
    from XVRegistrationLib.cli.export import exported
    from XVRegistrationLib.evaluation.report_pictures import rendered_drr, report_pictures
    from XVRegistrationLib.imaging.dicom.identity import identity_of
    from XVRegistrationLib.imaging.dicom.segmentation_writer import can_segment
    from XVRegistrationLib.registration.export import Exported

    if xray.group in ("rejected", "without a pose"):
        return xray, None
    found = xray.registration
    assert found is not None  # by its group
    plain = Exported(found, review=xray.review)
    if file is None:
        return xray, plain
    try:
        item = exported(found, file, one_frame(options), options, given.structures)
        assert item.xray is not None  # of its file
        drr = None if given.model is None else rendered_drr(given.model.pyramid, found)
        outlines = [(label.name, label.color, label.mask) for label in item.labels]
        pictures = report_pictures(item.xray, found, drr, outlines, given.targets if xray.usable else ())
    except InputError as e:
        return replace(xray, reason=f"There is no picture: {e}"), plain
    identity = identity_of(item.dicom) if options.keep_identity and item.dicom is not None else {}
    dicom = item.dicom if can_segment() else None
    return replace(xray, pictures=pictures, identity=identity), replace(item, dicom=dicom, review=xray.review)


def _write_files(folder: Path, items: Sequence[Exported], targets: Sequence[Target], keep_identity: bool) -> str:
    """Write what `export` does into a new folder; its name, or nothing where there is no X-ray to be exported."""
    from XVRegistrationLib.registration.export import write_exports

    folder.mkdir()
    if items:
        write_exports(folder, items, targets, keep_identity=keep_identity)
    return folder.name if items else ""


def _array(center: Sequence[float]) -> Any:
    import numpy as np

    return np.array(center, dtype=np.float64)
