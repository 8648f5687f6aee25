"""What `xvregistration register` is given: the X-rays, and what the options' files say of them."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.cli.progress import console
from XVRegistrationLib.cli.starts import BY_CALIBRATION
from XVRegistrationLib.cli.xray_options import EACH, camera, of_c_arm, said_of, subtraction_of
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.calibrations import distances_to_crossing, relations_of
from XVRegistrationLib.imaging.completed import with_calibration
from XVRegistrationLib.imaging.dicom.xray import whole
from XVRegistrationLib.imaging.xray_files import read_run, read_xray_parts
from XVRegistrationLib.imaging.xray_folder import xray_files
from XVRegistrationLib.registration.card import intrinsics_of, read_card
from XVRegistrationLib.registration.result_files import named_by_file, unused
from XVRegistrationLib.registration.series import frames_in_all
from XVRegistrationLib.registration.several import checked_relations
from XVRegistrationLib.registration.start_files import read_landmarks, read_masks, read_relations, read_start

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.geometry.calibrated_camera import CalibratedCamera
    from XVRegistrationLib.imaging.partial import PartialXray
    from XVRegistrationLib.imaging.xray import Xray
    from XVRegistrationLib.registration.landmarks import LandmarkPose

_ELSEWHERE = 0.1
"""By so much of it may the distance of the patient differ from what the model expects before it is said."""


@dataclass(frozen=True, eq=False)
class Unusable:
    """A file that cannot be registered."""

    name: str
    """Of its result: the file's, with its extension."""
    why: InputError


@dataclass(frozen=True, eq=False)
class Input:
    """The X-rays, and what the options' files say of them."""

    parts: list[PartialXray]
    xrays: list[Xray]
    masks: list[NDArray[np.bool_] | None]
    relations: list[NDArray[np.float64]] | None
    """Of the cameras to the first one's, where they are registered together: X-rays, or runs that follow one another."""
    landmarks: LandmarkPose | None
    start: NDArray[np.float64] | None
    """The pose to go on from, where no other start is wanted."""
    unusable: list[Unusable]

    @property
    def moments(self) -> int:
        """How many X-rays there are of each camera, where they are registered together."""
        return len(self.xrays) // len(self.relations or (None,))


@dataclass(frozen=True, eq=False)
class _View:
    """One X-ray of a file."""

    part: PartialXray
    xray: Xray
    calibration: CalibratedCamera | None
    mask: NDArray[np.bool_] | None


def with_files(options: argparse.Namespace) -> argparse.Namespace:
    """The options with the files of folders in their place.

    Raises InputError for a folder without files, for a file that is given twice, and for a folder into which the results
    would be written: the next time they would be read as X-rays.
    """
    files: list[str] = []
    for path in options.xrays:
        if Path(path).is_dir() and Path(path).resolve() == Path(options.output).resolve():
            raise InputError(f"{path} is the folder of the X-rays; choose another -o for what comes of them.")
        files += map(str, xray_files(path))
    once = {Path(file).resolve(): file for file in reversed(files)}
    twice = next((file for file in files if once[Path(file).resolve()] is not file), None)
    if twice is not None:
        raise InputError(f"{twice} is given twice; give each X-ray once.")
    return argparse.Namespace(**{**vars(options), "xrays": files})


def read_input(options: argparse.Namespace) -> Input:
    """Read and complete the X-rays, and the files of other options; print what was noticed.

    Of X-rays that are registered each by itself some may be unusable. Raises InputError where all are, where X-rays that
    belong together are not all there, and for what is wrong with the other files.
    """
    views, unusable = _views(options)
    said = {note: view.part.name for view in reversed(views) for note in view.part.notes}  # of a run once
    for note, name in reversed(said.items()):
        console.print(f"{name}: {note}", markup=False, highlight=False)
    views = _told_apart(views, {one.name for one in unusable})
    xrays = [view.xray for view in views]
    firsts = views if options.relative is None else _first_of_each(views)
    return Input(
        [view.part for view in views],
        xrays,
        [view.mask for view in views],
        _relations(options, firsts),
        None if options.landmarks is None else read_landmarks(options.landmarks, xrays[0]),
        None if options.start is None else read_start(options.start),
        unusable,
    )


def _first_of_each(views: Sequence[_View]) -> list[_View]:
    """The first frame of each file; InputError where these have different numbers of frames."""
    runs = [list(run) for _, run in groupby(views, key=lambda view: view.part.path)]
    frames_in_all([[view.xray for view in run] for run in runs])
    return [run[0] for run in runs]


def _told_apart(views: Sequence[_View], others: set[str]) -> list[_View]:
    """The X-rays with names that differ, also from `others`: those called alike are a.dcm and a.png, or numbered."""
    names = [view.xray.name for view in views]
    alike = {name for name in names if names.count(name) > 1}
    taken = {*names, *others} - alike
    found = []
    for view in views:
        name = view.xray.name
        if name in alike:
            name = unused(named_by_file(name, view.part.path), taken)
            taken.add(name)
        part, xray = dataclasses.replace(view.part, name=name), dataclasses.replace(view.xray, name=name)
        found.append(dataclasses.replace(view, part=part, xray=xray))
    return found


def _views(options: argparse.Namespace) -> tuple[list[_View], list[Unusable]]:
    """The X-rays of all files in order, and the files that are left out."""
    views: list[_View] = []
    unusable: list[Unusable] = []
    like_model = intrinsics_of(read_card(options.model)).mirrored
    together = options.series or options.relative is not None
    for file, path in enumerate(options.xrays):
        try:
            views += _views_of(options, file, like_model)
        except InputError as e:
            if together or len(options.xrays) == 1:
                raise
            unusable.append(Unusable(unused(Path(path).name, {other.name for other in unusable}), e))
    if not views:
        raise unusable[0].why
    return views, unusable


def _views_of(options: argparse.Namespace, file: int, like_model: bool) -> list[_View]:
    """The X-rays of one file: with --series or --frame all, each of its frames."""
    path = options.xrays[file]
    given: dict[str, Any] = {**said_of(options), "subtract": subtraction_of(options)}
    if options.series or options.frame == EACH:
        parts = read_run(path, options.frame if options.series else None, **given)
    else:
        parts = [read_xray_parts(path, frame=options.frame, **given)]
    parts, calibrations = _completed(options, parts, file, like_model)
    xrays = [whole(part, path) for part in parts]
    masks = read_masks(_of_file(options.mask, file), xrays, options.ignore or ())
    return [_View(*view) for view in zip(parts, xrays, calibrations, masks, strict=True)]


def _completed(
    options: argparse.Namespace, parts: Sequence[PartialXray], file: int, like_model: bool
) -> tuple[list[PartialXray], list[CalibratedCamera | None]]:
    """The X-rays of a file with what the user says of them, and their calibrations."""
    completed: list[PartialXray] = []
    calibrations: list[CalibratedCamera | None] = []
    calibration = _of_file(options.calibration, file)
    for part in parts:
        if options.mirrored is None and part.origins["mirrored"] != "derived":
            part = part.shown(like_model, "assumed")
        part = of_c_arm(part, options)
        known = None if calibration is None else camera(calibration, part, options)
        completed.append(part if known is None else with_calibration(part, known))
        calibrations.append(known)
    return completed, calibrations


def _of_file(given: Sequence[str] | None, file: int) -> str | None:
    """What was given once for all files, or once for each; None where nothing was."""
    return None if not given else given[file if len(given) > 1 else 0]


def _relations(options: argparse.Namespace, views: Sequence[_View]) -> list[NDArray[np.float64]] | None:
    """Of the cameras to the first one's, for X-rays or runs that are registered together, by the first frame of each."""
    xrays = [view.xray for view in views]
    if options.relative == BY_CALIBRATION:
        relations = relations_of([view.calibration for view in views if view.calibration is not None])
        _compare_distance(options, relations)
        return checked_relations(xrays, relations)
    return None if options.relative is None else read_relations(options.relative, xrays)


def _compare_distance(options: argparse.Namespace, relations: Sequence[NDArray[np.float64]]) -> None:
    """Say where the model expects the patient elsewhere than where the cameras look: nothing may be found then."""
    try:
        crossing = distances_to_crossing(relations)[0]
    except InputError:
        return
    expected = float(read_card(options.model)["view"]["sod"])
    if abs(crossing / expected - 1) > _ELSEWHERE and options.start is None and options.depth is None:
        console.print(
            f"The axes of the cameras meet {crossing:.0f} mm from the first source, and {options.model} expects the patient "
            f"at {expected:.0f} mm: if the pose is not found, train with --sod {crossing:.0f}.",
            markup=False,
        )


def keep_inputs(options: argparse.Namespace, given: Input, output: Path) -> None:
    """Raise InputError where a result would replace one of the files that it is made from."""
    named = [options.volume, options.labels, options.label_names, options.landmarks, options.start, options.relative]
    named += options.calibration or []
    inputs = {Path(p).resolve() for p in [*options.xrays, *(options.mask or []), *named] if p}
    for name in [*(xray.name for xray in given.xrays), *(one.name for one in given.unusable)]:
        for suffix in (".json", ".png", ".failed.json", ".failed.png"):
            if (output / f"{name}{suffix}").resolve() in inputs:
                raise InputError(f"{output / name}{suffix} is an input and would be overwritten; choose another -o.")
