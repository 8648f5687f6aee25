"""What the engine does for a report: pictures and files of one registered X-ray, and the curves of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.evaluation.report_pictures import rendered_drr, report_pictures
from XVRegistrationLib.evaluation.run_curves import run_curves
from XVRegistrationLib.files import writing_to
from XVRegistrationLib.imaging.dicom.segmentation_writer import import_ahead
from XVRegistrationLib.imaging.segmentation import Terminology
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.imaging.xray_labels import ProjectedLabel
from XVRegistrationLib.registration.export import Exported, write_export
from XVRegistrationLib.registration.result import Registration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.jobs.engine_server import Answer, Request, Rest
    from XVRegistrationLib.registration.export_table import Target
    from XVRegistrationLib.rendering.pyramid import Pyramid

    Projected = Callable[[Registration, Callable[[], None], Sequence[int] | None], dict[int, NDArray[np.bool_]]]
    """Masks (H, W) of structures with these values, or of all, on a registered X-ray, by value; the second may end it."""

PICTURES = ("xray", "overlay", "drr")
"""Arrays of the answer: JPEG files, uint8; `drr` may be empty."""


def draw_report(request: Request, pyramid: Pyramid, projected: Projected) -> Answer:
    """The pictures of the X-ray with `pixels`, of which those in `mask` count, at the pose of its `registration`.

    `structures` are (value, name, colour) of those to be outlined; `targets` are names and points, RAS mm. With `files`
    `export_xray` of the same X-ray is asked for next.
    """
    f, (found, xray) = request.fields, _registered(request)
    known = {int(value): (str(name), tuple(color)) for value, name, color in f.get("structures", ())}
    if f.get("files"):
        import_ahead()
    masks = projected(found, request.check, None if f.get("files") else list(known)) if known else {}
    outlines = [(*known[value], masks[value]) for value in known if value in masks]
    made = report_pictures(xray, found, rendered_drr(pyramid, found), outlines, _targets(request))
    arrays = {name: np.frombuffer(getattr(made, name), np.uint8) for name in PICTURES}
    return {"legend": made.legend}, arrays


def export_xray(request: Request, projected: Projected) -> Rest:
    """Where the structures fall on an X-ray; the rest writes its files for other programs into `folder`, as `write_export` does.

    As for `draw_report`, and with: `structures` are all of (value, name, colour, entry of the terminology), `hidden` the names
    of those that the overlay does not show; `dicom` is the X-ray's DICOM file or null, `frame` its frame; `keep_identity`.
    The answer has the names of the files.
    """
    f, (found, xray) = request.fields, _registered(request)
    known = {int(value): (str(name), tuple(color), str(entry)) for value, name, color, entry in f["structures"]}
    masks = projected(found, request.check, None) if known else {}
    drawn = [(known[value], masks[value]) for value in known if value in masks and masks[value].any()]
    shown = tuple(ProjectedLabel(name, color, mask, Terminology.of_entry(said)) for (name, color, said), mask in drawn)
    dicom = None if f["dicom"] is None else Path(f["dicom"])
    item = Exported(found, xray, shown, dicom, f["frame"], left_out=frozenset(f["hidden"]))
    folder, keep_identity = Path(f["folder"]), bool(f["keep_identity"])

    def write() -> Answer:
        with writing_to(folder):
            written = write_export(folder, item, _targets(request), keep_identity=keep_identity)
        return {"files": [path.name for path in written]}, {}

    return write


def draw_run(request: Request) -> Answer:
    """The curves of a run's frames: the fields are the arguments of `run_curves`; a frame without a pose has null."""
    f = request.fields
    poses = [None if pose is None else np.array(pose, dtype=np.float64) for pose in f["poses"]]
    curves = run_curves(f["numbers"], poses, f["verdicts"], f["shown"], f["pivot"], f["mirrored"])
    return {}, {"curves": np.frombuffer(curves, np.uint8)}


def _registered(request: Request) -> tuple[Registration, Xray]:
    """The registration of a request, and its X-ray."""
    found, mask = Registration.from_dict(request.fields["registration"]), request.arrays.get("mask")
    counts = None if mask is None else mask.astype(np.bool_)
    return found, Xray(found.name, request.arrays["pixels"], found.intrinsics, request.fields["scale"], mask=counts)


def _targets(request: Request) -> list[Target]:
    return [(str(name), np.array(point, dtype=np.float64)) for name, point in request.fields.get("targets", ())]
