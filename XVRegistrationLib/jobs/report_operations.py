"""What the engine does for a report: the pictures of one registered X-ray, and the curves of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.evaluation.report_pictures import rendered_drr, report_pictures
from XVRegistrationLib.evaluation.run_curves import run_curves
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.registration.result import Registration
from XVRegistrationLib.rendering.labels import project_labels

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from XVRegistrationLib.jobs.engine_server import Request
    from XVRegistrationLib.rendering.labels import LabelGrid
    from XVRegistrationLib.rendering.pyramid import Pyramid

    Answer = tuple[dict[str, Any], dict[str, NDArray[Any]]]

PICTURES = ("xray", "overlay", "drr")
"""Arrays of the answer: JPEG files, uint8; `drr` may be empty."""


def draw_report(request: Request, pyramid: Pyramid, labels: LabelGrid | None, pixels: int) -> Answer:
    """The pictures of the X-ray with `pixels`, of which those in `mask` count, at the pose of its `registration`.

    `structures` are (value, name, colour) of those of `labels` to be outlined, projected with `pixels` along the longer side;
    `targets` are names and points, RAS mm.
    """
    f, mask = request.fields, request.arrays.get("mask")
    found = Registration.from_dict(f["registration"])
    counts = None if mask is None else mask.astype(np.bool_)
    xray = Xray(found.name, request.arrays["pixels"], found.intrinsics, f["scale"], mask=counts)
    known = {int(value): (str(name), tuple(color)) for value, name, color in f.get("structures", ())}
    masks = _projected(labels, found, list(known), pixels, request.check) if labels is not None and known else {}
    outlines = [(*known[value], drawn) for value, drawn in masks.items()]
    targets = [(str(name), np.array(point, dtype=np.float64)) for name, point in f.get("targets", ())]
    made = report_pictures(xray, found, rendered_drr(pyramid, found), outlines, targets)
    arrays = {name: np.frombuffer(getattr(made, name), np.uint8) for name in PICTURES}
    return {"legend": made.legend}, arrays


def draw_run(request: Request) -> Answer:
    """The curves of a run's frames: the fields are the arguments of `run_curves`; a frame without a pose has null."""
    f = request.fields
    poses = [None if pose is None else np.array(pose, dtype=np.float64) for pose in f["poses"]]
    curves = run_curves(f["numbers"], poses, f["verdicts"], f["shown"], f["pivot"], f["mirrored"])
    return {}, {"curves": np.frombuffer(curves, np.uint8)}


def _projected(
    labels: LabelGrid, found: Registration, values: list[int], pixels: int, check: Callable[[], None]
) -> dict[int, NDArray[np.bool_]]:
    there = [value for value in values if value in labels.values]
    return project_labels(labels, found.pose, found.intrinsics, values=there, pixels=pixels, check=check)
