"""What the engine does with an X-ray alone: reading its file, and showing the steps to what is compared."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.xray_steps import xray_steps
from XVRegistrationLib.imaging.dicom.plain_words import dicom_words
from XVRegistrationLib.imaging.partial import PartialXray
from XVRegistrationLib.imaging.xray_files import can_be_subtracted, read_run, read_xray_parts
from XVRegistrationLib.jobs.xray_messages import IF_POSSIBLE, pack

if TYPE_CHECKING:
    from XVRegistrationLib.imaging.dicom.subtraction import Subtract
    from XVRegistrationLib.jobs.engine_server import Answer, Request


def read_xray(request: Request) -> Answer:
    """Pixels of the file `path`, all frames of a run or the one that `frame` names, and what it states of each.

    As `xray_messages.pack` puts it; what a frame lacks is in `absent`. Also whether the frames are "subtracted", as
    `subtract` asks for (true, false or IF_POSSIBLE), by which `mask_frames` (none: those that the file names), whether it
    names some, and the "digest" of the file. With `digest` in
    the request another file is refused.
    """
    f = request.fields
    path, frame = str(f["path"]), f.get("frame")
    spacing = f.get("spacing")
    if isinstance(spacing, (list, tuple)):
        spacing = (spacing[0], spacing[-1])
    subtractable = can_be_subtracted(path, frame)
    mask = tuple(int(n) for n in f.get("mask_frames") or ())
    wanted = bool(mask) or subtractable if f.get("subtract") == IF_POSSIBLE else bool(f.get("subtract"))
    subtract: Subtract = mask if wanted and mask else wanted
    options: dict[str, Any] = {"sid": f.get("sid"), "spacing": spacing, "mirrored": f.get("mirrored")}
    if frame is not None:
        found = [read_xray_parts(path, frame=frame, subtract=subtract, **options)]
    else:
        found = read_run(path, subtract=subtract, **options)
    digest = _digest(path)
    if f.get("digest") and f["digest"] != digest:
        raise InputError(f"{path} is not the file that {f.get('name') or 'the X-ray'} was read from.")
    fields, arrays = pack(found)
    said = {"subtracted": wanted, "mask_frames": mask, "subtractable": subtractable, "digest": digest}
    return {**fields, **said}, arrays


def show_steps(request: Request) -> Answer:
    """The steps of an X-ray with `pixels`, of which those in `mask` count, without what is not in `counts`; (h, w[, 3]) uint8.

    With `path` (and `frame`) the first is what that file stores. Arrays are called "step 0" and so on.
    """
    f, arrays = request.fields, request.arrays
    mask, counts = (None if arrays.get(k) is None else arrays[k].astype(np.bool_) for k in ("mask", "counts"))
    path, spacing = f.get("path") or "", f.get("spacing")
    parts = PartialXray(
        name=str(f["name"]),
        pixels=arrays["pixels"],
        scale=f["scale"],
        path=path,
        mirrored=False,
        spacing=None if spacing is None else (float(spacing[0]), float(spacing[1])),
        mask=mask,
        frame=f.get("frame"),
        frames=int(f.get("frames") or 1),
    )
    steps = xray_steps(parts, dicom_words(Path(path)) if path else None, counts)
    images = {f"step {i}": np.round(255 * step.image).astype(np.uint8) for i, step in enumerate(steps.images)}
    told = {"titles": [step.title for step in steps.images], "left_out": steps.left_out, "aspect": steps.aspect}
    return {**told, "letters": steps.letters}, images


def _digest(path: str) -> str:
    """SHA-256 of a file, hexadecimal."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as e:
        raise InputError(f"{path} cannot be read: {e.strerror or e}.") from e
