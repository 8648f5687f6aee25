"""Results of the frames of a run, as one X-ray of a report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.cli.export import frame_of
from XVRegistrationLib.evaluation.reported_run import ReportedFrame, ReportedRun, curves_of
from XVRegistrationLib.evaluation.run_curves import run_curves
from XVRegistrationLib.geometry.rigid import transform_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from XVRegistrationLib.evaluation.xray_report import ReportedXray

_PIVOT = 2 / 3
"""Of the way to the detector: about where the patient is, if nobody says it."""


def as_runs(
    xrays: Sequence[ReportedXray], files: Sequence[str | None], center: ArrayLike | None
) -> tuple[list[ReportedXray], list[str | None]]:
    """X-rays and their files with the frames of one file joined: one of them is shown, and has what is known of all.

    That is the first that was accepted, else that converged, else that has a pose. `center` (3,), RAS mm, is what the curves are about.
    """
    frames: dict[str, list[tuple[int, ReportedXray]]] = {}
    for xray, file in zip(xrays, files, strict=True):
        number = None if file is None else frame_of(xray.name, file)
        if file is not None and isinstance(number, int):
            frames.setdefault(file, []).append((number, xray))
    runs = {file: _joined(found, center) for file, found in frames.items() if len(found) > 1}
    replaced = {id(xray): file for file in runs for _, xray in frames[file]}
    joined: list[ReportedXray] = []
    of: list[str | None] = []
    for xray, file in zip(xrays, files, strict=True):
        run = replaced.get(id(xray))
        if run is None:
            joined.append(xray)
            of.append(file)
        elif run in runs:
            joined.append(runs.pop(run))
            of.append(file)
    return joined, of


def _joined(found: Sequence[tuple[int, ReportedXray]], center: ArrayLike | None) -> ReportedXray:
    ordered = sorted(found, key=lambda frame: frame[0])
    frames = tuple(ReportedFrame(number, xray.registration, xray.review) for number, xray in ordered)
    shown, xray = min(ordered, key=lambda frame: _rank(frame[1]))
    run = ReportedRun(frames, shown)
    curves = curves_of(run)
    if curves is not None:
        first = next(f.stated for f in frames if f.stated is not None)
        along = np.array([0.0, 0.0, _PIVOT * first.intrinsics.sdd])
        pivot = transform_points(first.pose, along) if center is None else center
        drawn = run_curves(curves.numbers, curves.poses, curves.verdicts, curves.shown, pivot, curves.mirrored)
        run = replace(run, curves=drawn)
    return replace(xray, run=run)


def _rank(xray: ReportedXray) -> int:
    """The smallest is shown."""
    if xray.group == "accepted":
        return 0
    verdict = "" if xray.registration is None or xray.group == "rejected" else xray.registration.verdict
    return {"converged": 1, "check": 2, "failed": 3}.get(verdict, 4 if xray.group == "open" else 5)
