"""DICOM X-rays: DX, CR, XA, RF and Enhanced images, single or frames of a run, with their geometry."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.dicom.dataset import understanding
from XVRegistrationLib.imaging.dicom.frames import checked_frame
from XVRegistrationLib.imaging.dicom.geometry import read_geometry
from XVRegistrationLib.imaging.dicom.run import Frame, Run, over_time
from XVRegistrationLib.imaging.dicom.subtraction import note_of
from XVRegistrationLib.imaging.partial import PartialXray, arguments_for

if TYPE_CHECKING:
    import os

    from pydicom.dataset import Dataset

    from XVRegistrationLib.imaging.dicom.geometry import StatedGeometry
    from XVRegistrationLib.imaging.dicom.subtraction import Subtract
    from XVRegistrationLib.imaging.xray import Xray

_GIVE = {"sdd": "the distance source-detector in mm", "spacing": "the pixel spacing on the detector in mm"}


class Given(NamedTuple):
    """What the user says of the geometry, in mm; it takes precedence over the header."""

    sid: float | None = None
    spacing: float | tuple[float, float] | None = None
    mirrored: bool | None = None


def read_dicom_xray(
    path: str | os.PathLike[str],
    *,
    sid: float | None = None,
    spacing: float | tuple[float, float] | None = None,
    mirrored: bool = False,
    frame: int | str | None = None,
) -> Xray:
    """X-ray of a DX, CR, XA, RF or Enhanced file, with its geometry in mm.

    `sid` (mm) and `spacing` (mm, or mm along columns and rows) take precedence over the header. A secondary capture says
    nothing reliable about its geometry and needs both. `frame` as in `read_dicom_parts`. Raises InputError, which names
    the field that is missing.
    """
    return whole(read_dicom_parts(path, sid=sid, spacing=spacing, mirrored=mirrored, frame=frame), path)


def whole(parts: PartialXray, path: str | os.PathLike[str]) -> Xray:
    """The X-ray of a DICOM file's parts; raises InputError, which names the field that is missing."""
    if parts.missing:
        advice = [_GIVE[name] for name in parts.missing]
        raise InputError(
            f"{path} does not state {' and '.join(parts.absent.values())}; give {' and '.join(advice)}.",
            give=arguments_for(parts.missing),
        )
    return parts.complete()


def read_dicom_parts(
    path: str | os.PathLike[str],
    *,
    sid: float | None = None,
    spacing: float | tuple[float, float] | None = None,
    mirrored: bool | None = None,
    frame: int | str | None = None,
    subtract: Subtract = False,
) -> PartialXray:
    """What a DX, CR, XA, RF or Enhanced file states of an X-ray, in mm and degrees; what it lacks is left open.

    With `mirrored` None an image of a C-arm that states its angle is taken as mirrored (see geometry.angles). `frame` is
    needed of a run: an index from 0, or "min", "max" or "mean" over the run of the radiation that was measured, "min"
    showing all that was dense at any time. With `subtract` the mask frames that the file names, or those (from 0)
    that it lists itself, are subtracted, which leaves the contrast medium. Raises InputError for a file that holds no X-ray.
    """
    run = Run.open(Path(path))
    which = checked_frame(frame, run.count, run.path)
    made = over_time(run, which, subtract) if isinstance(which, str) else next(run.frames([which], subtract))
    geometry = _geometry(run, made, Given(sid, spacing, mirrored))
    if isinstance(which, str):
        return _parts(run, made, geometry, f"-{which}", None, subtract)
    return _parts(run, made, geometry, f"-{which:04d}", which, subtract)


def read_dicom_run(
    path: str | os.PathLike[str],
    frames: slice | None = None,
    *,
    sid: float | None = None,
    spacing: float | tuple[float, float] | None = None,
    mirrored: bool | None = None,
    subtract: Subtract = False,
) -> list[PartialXray]:
    """One X-ray for each frame of a file, in order, or of those in a slice of their indices from 0; decoded once.

    Each has what the file states of that frame: where the C-arm moved, its own angles. With `subtract` frames
    that have no mask, or are one, are left out. Otherwise as `read_dicom_parts`.
    """
    run = Run.open(Path(path))
    indices = range(run.count)[frames or slice(None)]
    if subtract is not False:
        known = set(run.subtractable(subtract))
        chosen = [i for i in indices if i in known]
    else:
        chosen = list(indices)
    if not chosen:
        raise InputError(f"None of the {run.count} frames of {run.path} is among those asked for.")
    given = Given(sid, spacing, mirrored)
    found: list[PartialXray] = []
    described: Dataset | None = None
    for index, frame in zip(chosen, run.frames(chosen, subtract), strict=True):
        # What is the same object for all frames says the same of them: of a long run that takes as long as its pixels.
        if frame.dataset is not described:
            described, geometry = frame.dataset, _geometry(run, frame, given)
        found.append(_parts(run, frame, geometry, f"-{index:04d}", index, subtract))
    return found


def is_subtractable(path: Path, frame: int | None = None) -> bool:
    """Whether a file says which frames are the mask of `frame` (from 0), or, without one, of any; InputError if it is no X-ray."""
    run = Run.open(path)
    try:
        found = run.subtractable()
    except InputError:
        return False
    return frame is None or frame in found


def _geometry(run: Run, frame: Frame, given: Given) -> StatedGeometry:
    with understanding(run.path):
        return read_geometry(frame.dataset, sid=given.sid, spacing=given.spacing, mirrored=given.mirrored)


def _parts(
    run: Run, frame: Frame, geometry: StatedGeometry, suffix: str, index: int | None, subtract: Subtract
) -> PartialXray:
    """The X-ray of one frame of a run; `suffix` names it where the file holds several."""
    several = run.count > 1
    return PartialXray(
        name=run.path.stem + (suffix if several else ""),
        pixels=frame.pixels,
        scale=frame.scale,
        path=str(run.path.resolve()),
        **geometry.values,
        mask=frame.mask,
        frame=index if several else None,
        frames=run.count,
        origins={**geometry.origins, "size": "tag", "scale": "tag" if frame.stated else "assumed"},
        absent=dict(geometry.absent),
        notes=(*geometry.notes, *note_of(subtract)),
    )
