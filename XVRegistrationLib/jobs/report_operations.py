"""What the engine does for a report: pictures and files of one registered X-ray, and the curves of a run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.evaluation.report_pictures import rendered_drr, report_pictures
from XVRegistrationLib.evaluation.run_curves import run_curves
from XVRegistrationLib.files import writing_to
from XVRegistrationLib.imaging.segmentation import Terminology
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.imaging.xray_labels import ProjectedLabel
from XVRegistrationLib.registration.export import Exported, write_export
from XVRegistrationLib.registration.result import Registration
from XVRegistrationLib.rendering.labels import project_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.jobs.engine_server import Request
    from XVRegistrationLib.registration.export_table import Target
    from XVRegistrationLib.rendering.labels import LabelGrid
    from XVRegistrationLib.rendering.pyramid import Pyramid

    Answer = tuple[dict[str, Any], dict[str, NDArray[Any]]]

PICTURES = ("xray", "overlay", "drr")
"""Arrays of the answer: JPEG files, uint8; `drr` may be empty."""


@dataclass(frozen=True, eq=False)
class PlacedXray:
    """A registered X-ray, and where structures fall on it."""

    found: Registration
    xray: Xray
    labels: LabelGrid | None
    masks: dict[int, NDArray[np.bool_]]
    """(H, W) of each of `labels`, by value."""


def placed(request: Request, labels: LabelGrid | None, pixels: int, before: PlacedXray | None) -> PlacedXray:
    """The X-ray of a request with `pixels`, of which those in `mask` count, at the pose of its `registration`, with all of `labels`.

    They are projected with `pixels` along the longer side; `before` is returned if it is the same. Projecting dozens of
    structures, and finding what of an X-ray does not count, take as long as all else that a report needs.
    """
    f, mask = request.fields, request.arrays.get("mask")
    found, counts = Registration.from_dict(f["registration"]), None if mask is None else mask.astype(np.bool_)
    xray = Xray(found.name, request.arrays["pixels"], found.intrinsics, f["scale"], mask=counts)
    if before is not None and before.labels is labels and _same(before, found, xray):
        return replace(before, found=found)
    none: dict[int, NDArray[np.bool_]] = {}
    check = request.check
    masks = none if labels is None else project_labels(labels, found.pose, found.intrinsics, pixels=pixels, check=check)
    return PlacedXray(found, xray, labels, masks)


def draw_report(request: Request, pyramid: Pyramid, of: PlacedXray) -> Answer:
    """The pictures of a registered X-ray.

    `structures` are (value, name, colour) of those to be outlined; `targets` are names and points, RAS mm.
    """
    known = {int(value): (str(name), tuple(color)) for value, name, color in request.fields.get("structures", ())}
    outlines = [(*known[value], of.masks[value]) for value in known if value in of.masks]
    made = report_pictures(of.xray, of.found, rendered_drr(pyramid, of.found), outlines, _targets(request))
    arrays = {name: np.frombuffer(getattr(made, name), np.uint8) for name in PICTURES}
    return {"legend": made.legend}, arrays


def export_xray(request: Request, of: PlacedXray) -> Answer:
    """Write the files of an X-ray for other programs into `folder`, as `write_export` does; return their names.

    As for `draw_report`, and with: `structures` are all of (value, name, colour, entry of the terminology), `hidden` the names
    of those that the overlay does not show; `dicom` is the X-ray's DICOM file or null, `frame` its frame; `keep_identity`.
    """
    f = request.fields
    known = {int(value): (str(name), tuple(color), str(entry)) for value, name, color, entry in f["structures"]}
    drawn = [(known[value], of.masks[value]) for value in known if value in of.masks and of.masks[value].any()]
    shown = tuple(ProjectedLabel(name, color, mask, Terminology.of_entry(said)) for (name, color, said), mask in drawn)
    dicom = None if f["dicom"] is None else Path(f["dicom"])
    item = Exported(of.found, of.xray, shown, dicom, f["frame"], left_out=frozenset(f["hidden"]))
    with writing_to(f["folder"]):
        written = write_export(Path(f["folder"]), item, _targets(request), keep_identity=f["keep_identity"])
    return {"files": [path.name for path in written]}, {}


def draw_run(request: Request) -> Answer:
    """The curves of a run's frames: the fields are the arguments of `run_curves`; a frame without a pose has null."""
    f = request.fields
    poses = [None if pose is None else np.array(pose, dtype=np.float64) for pose in f["poses"]]
    curves = run_curves(f["numbers"], poses, f["verdicts"], f["shown"], f["pivot"], f["mirrored"])
    return {}, {"curves": np.frombuffer(curves, np.uint8)}


def _same(before: PlacedXray, found: Registration, xray: Xray) -> bool:
    """Whether an X-ray is the one of before, where it was."""
    a, b = before.xray, xray
    if (a.intrinsics, a.scale, a.mask is None) != (b.intrinsics, b.scale, b.mask is None):
        return False
    if not np.array_equal(before.found.pose, found.pose) or not np.array_equal(a.pixels, b.pixels):
        return False
    return a.mask is None or b.mask is None or np.array_equal(a.mask, b.mask)


def _targets(request: Request) -> list[Target]:
    return [(str(name), np.array(point, dtype=np.float64)) for name, point in request.fields.get("targets", ())]
