"""What a session knows of its X-rays at the moment that a report of them begins."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.reported_run import ReportedFrame, ReportedRun
from XVRegistrationLib.evaluation.xray_report import ReportedXray, facts_of_card
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.registration.card import read_card
from XVRegistrationLib.scene.results import registration_that_holds
from XVRegistrationLib.scene.reviews import read_review
from XVRegistrationLib.scene.run_results import frame_results

if TYPE_CHECKING:
    from pathlib import Path

    from XVRegistrationLib.panel.structures import Structures
    from XVRegistrationLib.panel.views import XrayRow
    from XVRegistrationLib.panel.xray_files import XrayFiles


def reported(row: XrayRow) -> ReportedXray:
    """An X-ray without its pictures; of a run, the frame that is shown, with what is known of the others."""
    name = row.name if row.count == 1 else _("{name}, frame {number}").format(name=row.name, number=row.item)
    found = registration_that_holds(row.node)
    review = read_review(row.node).review
    return ReportedXray(name, found, review, "" if found is not None else row.outcome, run=_run_of(row))


def _run_of(row: XrayRow) -> ReportedRun | None:
    """All frames of a run; None for a single image, and for a run without any pose."""
    if row.count == 1:
        return None
    frames = [ReportedFrame(frame.item, frame.registration, frame.kept) for frame in frame_results(row.node)]
    return ReportedRun(tuple(frames), row.item) if frames else None


def identify(rows: list[XrayRow], xrays: list[ReportedXray], files: XrayFiles) -> str:
    """Put to each X-ray whom it is of; which are not known, a sentence."""
    from XVRegistrationLib.imaging.dicom.identity import identity_of

    unknown = []
    for i, row in enumerate(rows):
        file = files.of(row.node)
        said = {} if file is None else identity_of(file)
        xrays[i] = replace(xrays[i], identity=said)
        if not said:
            unknown.append(row.name)
    if not unknown:
        return ""
    return _(" Whom these are of is not known, for want of their files: {names}.").format(names=", ".join(unknown))


def left_out_of(structures: Structures, without_targets: bool) -> tuple[str, ...]:
    """Of what could be drawn on the X-rays, what is not drawn in the panel, in the report's language."""
    names = [row.name for row in structures.rows()]
    off = [name for name in names if not structures.draws(name)]
    off = [f"all {len(names)} structures"] if len(off) == len(names) > 1 else off
    return (*off, *(("the targets",) if without_targets else ()))


def facts_of(folder: Path | None) -> dict[str, str]:
    """The card of the model in this folder in words; nothing where it was removed."""
    try:
        return {} if folder is None else facts_of_card(read_card(folder))
    except InputError:
        return {}
