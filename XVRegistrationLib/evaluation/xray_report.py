"""A report of registered X-rays: what is in it, what may be said of each, and its page and JSON file."""

from __future__ import annotations

import dataclasses
import json
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.page import DISCLAIMER, finite, write_text
from XVRegistrationLib.evaluation.reported_run import run_dict
from XVRegistrationLib.files import move_staged, staging, writing_to
from XVRegistrationLib.registration.export import remove_exports
from XVRegistrationLib.registration.export_table import record
from XVRegistrationLib.registration.review import Review
from XVRegistrationLib.versions import versions

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.evaluation.report_pictures import ReportPictures
    from XVRegistrationLib.evaluation.reported_run import ReportedRun
    from XVRegistrationLib.registration.export_table import Target
    from XVRegistrationLib.registration.result import Registration

TITLE = "X-ray to CT registration: report"
Group = Literal["accepted", "open", "without a pose", "rejected"]
GROUPS: tuple[Group, ...] = ("accepted", "open", "without a pose", "rejected")


@dataclass(frozen=True, eq=False)
class ReportedXray:
    """One X-ray of a report."""

    name: str
    """The X-ray's name, never the patient's."""
    registration: Registration | None = None
    """None where there is no pose that holds."""
    review: Review = field(default_factory=Review)
    reason: str = ""
    """Why there is no pose, or no picture, a sentence."""
    pictures: ReportPictures | None = None
    run: ReportedRun | None = None
    """All frames of the run of which this X-ray is the frame that was chosen; None for a single image."""
    identity: Mapping[str, str] = field(default_factory=dict)
    """Whom the X-ray is of: only where that was asked for."""

    @property
    def group(self) -> Group:
        """Under which heading it comes. A rejected one is rejected, whatever else is known of it."""
        if self.review.decision == "rejected":
            return "rejected"
        if self.registration is None:
            return "without a pose"
        return self.review.decision

    @property
    def usable(self) -> bool:
        """Whether targets are shown: not where the verdict is that the pose failed, unless somebody accepted it."""
        failed = self.registration is not None and self.registration.verdict == "failed"
        return self.group == "accepted" or (self.group == "open" and not failed)


@dataclass(frozen=True, eq=False)
class XrayReport:
    """All that a report says."""

    xrays: tuple[ReportedXray, ...]
    targets: tuple[Target, ...] = ()
    """Names and points (3,), RAS mm."""
    isocenter: NDArray[np.float64] | None = None
    """(3,) RAS, mm: what distances from the source are stated to."""
    model: Mapping[str, str] = field(default_factory=dict)
    """The patient model's card in words."""
    left_out: tuple[str, ...] = ()
    """Names of structures, or what else, that the pictures do not show because somebody chose so."""
    files: str = ""
    """Name of the folder beside the page that holds the same for other programs; empty without one."""
    explained: bool = True
    """Whether a README.txt in that folder says what its files hold."""
    title: str = TITLE
    versions: Mapping[str, str] = field(default_factory=versions)
    date: str = field(default_factory=lambda: time.strftime("%Y-%m-%d %H:%M"))

    def of(self, group: Group) -> list[ReportedXray]:
        """The X-rays under one heading, in their order."""
        return [xray for xray in self.xrays if xray.group == group]

    @property
    def signed_off(self) -> bool:
        """Whether every X-ray was decided on."""
        return bool(self.xrays) and all(xray.group in ("accepted", "rejected") for xray in self.xrays)


def status_line(report: XrayReport) -> str:
    """How many X-rays are accepted, and what is left to decide."""
    return " ".join(status_sentences(report))


def status_sentences(report: XrayReport) -> list[str]:
    """The parts of `status_line` that are translated each by itself: on the X-rays, and on the other frames of runs if any are open."""
    counts = [f"{len(report.of(group))} {group}" for group in GROUPS if report.of(group)]
    noun = "X-ray" if len(report.xrays) == 1 else "X-rays"
    first = f"{len(report.xrays)} {noun}: {', '.join(counts)}."
    others = sum(xray.run.open for xray in report.xrays if xray.run is not None)
    open_ones = "1 other registered frame is open" if others == 1 else f"{others} other registered frames are open"
    frames = [f"Of runs this is about the frame shown; {open_ones}."] if others else []
    if report.signed_off:
        return [f"{first} Signed off: every X-ray was accepted or rejected.", *frames]
    left = [xray.name for group in ("open", "without a pose") for xray in report.of(group)]
    return [f"{first} Not signed off: to be decided are {', '.join(left)}.", *frames]


def facts_of_card(card: Mapping[str, Any]) -> dict[str, str]:
    """A patient model's card in words, without paths and names, which may be the patient's."""
    facts: dict[str, str] = {}
    volume, view = card.get("volume") or {}, card.get("view") or {}
    if volume.get("size"):
        facts["CT"] = f"{' x '.join(str(n) for n in volume['size'])} voxels, values in {volume.get('units', 'HU')}"
    if volume.get("fingerprint"):
        facts["fingerprint of the CT"] = str(volume["fingerprint"])[:16]
    if view.get("name"):
        facts["view"] = f"{view['name']}, source {float(view.get('sod', 0.0)):.0f} mm from the isocentre"
    ranges = card.get("pose_range") or {}
    if ranges:
        turn, shift = ("/".join(f"{float(v):g}" for v in ranges[name]) for name in ("rotation", "translation"))
        facts["poses"] = f"within {turn} degrees and {shift} mm of it"
    training = card.get("training") or {}
    facts["network"] = (
        f"trained for {float(training.get('seconds', 0.0)) / 60:.1f} minutes" if card.get("network") else "none"
    )
    made = (card.get("versions") or {}).get("xvregistration")
    if made:
        facts["made by"] = f"xvregistration {made}"
    return facts


def files_folder(page: Path) -> Path:
    """The folder beside a report's page for what other programs read."""
    return page.with_name(f"{page.stem}-files")


def write_xray_report(path: str | os.PathLike[str], report: XrayReport, staged: Path | None = None) -> list[Path]:
    """Write the page `path` and, beside it, the same for programs (.json); return both.

    What lies in the folder `staged` (`files.staging`), such as a PDF and `files_folder`, is moved beside them. Of an earlier
    report no PDF stays, and in `files_folder` no X-ray, that this one does not have: they would contradict it. All is written
    before anything is replaced. Raises InputError where nothing can be written there.
    """
    from XVRegistrationLib.evaluation.xray_report_page import page_of

    page = Path(path)
    earlier, pdf = check_place(page), page.with_suffix(".pdf")
    with ExitStack() as stack:
        place = Path(stack.enter_context(staging(page.parent))) if staged is None else staged
        stack.enter_context(writing_to(page.parent))
        content = as_dict(report) | {"pdf": pdf.name if (place / pdf.name).exists() else None}
        text = json.dumps(finite(content), indent=2, ensure_ascii=False, allow_nan=False)
        write_text(place / page.name, page_of(report))
        write_text(place / page.with_suffix(".json").name, text + "\n")
        files = place / files_folder(page).name
        names = [file.name for file in files.iterdir()] if files.is_dir() else []
        move_staged(place, page.parent)
        if earlier.get("files") or names:
            remove_exports(files_folder(page), names)
        if earlier.get("pdf") and content["pdf"] is None:  # one that somebody else put there stays
            pdf.unlink(missing_ok=True)
    return [page, page.with_suffix(".json")]


def is_report(content: Any) -> bool:
    """Whether what a JSON file holds was written with a report."""
    return isinstance(content, dict) and "signed_off" in content


def check_place(page: Path) -> dict[str, Any]:
    """What the file for programs of an earlier report `page` holds; empty without one.

    Raises InputError where no report may be written to `page`: it is no page, or the file for programs would replace another's,
    such as the result of an X-ray of that name.
    """
    if page.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"A report is a page of HTML: {page} does not end in .html.")
    program = page.with_suffix(".json")
    try:
        content: Any = json.loads(program.read_text("utf-8")) if program.exists() else {}
    except (OSError, ValueError):
        content = None
    if content != {} and not is_report(content):
        raise InputError(f"{program} is something else and would be overwritten; choose another name for the report.")
    found: dict[str, Any] = content
    return found


def as_dict(report: XrayReport) -> dict[str, Any]:
    """The report without its pictures. What is rejected has no pose here, so that nobody uses it by mistake."""
    return {
        "title": report.title,
        "notice": DISCLAIMER,
        "date": report.date,
        "status": status_line(report),
        "signed_off": report.signed_off,
        "left_out": list(report.left_out),
        "files": report.files or None,
        "model": dict(report.model),
        "versions": dict(report.versions),
        "xrays": [_entry(report, xray) for xray in report.xrays],
    }


def _entry(report: XrayReport, xray: ReportedXray) -> dict[str, Any]:
    found = xray.registration
    entry: dict[str, Any] = {"name": xray.name, "group": xray.group, "review": xray.review.to_dict()}
    if xray.identity:
        entry["identity"] = dict(xray.identity)
    if found is not None and xray.group != "rejected":
        entry |= record(dataclasses.replace(found, name=xray.name), report.targets if xray.usable else ())
    else:
        trust = None if found is None or found.trust is None else dataclasses.asdict(found.trust)
        entry |= {"pose": None, "trust": trust, "reason": xray.reason}
    if xray.run is not None:
        entry["run"] = run_dict(xray.run, report.targets)
    return entry
