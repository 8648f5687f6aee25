"""`xvregistration register`."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.cli.drawing import Structures, draw_registration
from XVRegistrationLib.cli.progress import console, counting, print_verdict
from XVRegistrationLib.cli.start_files import read_landmarks, read_masks, read_relations, read_start
from XVRegistrationLib.cli.starts import BY_CALIBRATION, EACH, check_options, starts_of
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.report import Case
from XVRegistrationLib.evaluation.report_table import console_table
from XVRegistrationLib.files import write_json
from XVRegistrationLib.geometry.c_arms import c_arm
from XVRegistrationLib.geometry.calibrations import read_calibration, relations_of
from XVRegistrationLib.imaging.completed import with_c_arm, with_calibration
from XVRegistrationLib.imaging.dicom.xray import whole
from XVRegistrationLib.imaging.segmentation_files import read_segmentation
from XVRegistrationLib.imaging.volume import read_label_names, read_volume
from XVRegistrationLib.imaging.xray_files import read_run, read_xray_parts
from XVRegistrationLib.registration.card import intrinsics_of, read_card, reading_of
from XVRegistrationLib.registration.model import load_model
from XVRegistrationLib.registration.objective import DepthPrior
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.registration.result_files import stem_of_result, write_no_result
from XVRegistrationLib.registration.series import register_series
from XVRegistrationLib.registration.several import checked_relations, register_views

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.cli.starts import Starts
    from XVRegistrationLib.geometry.calibrated_camera import CalibratedCamera
    from XVRegistrationLib.imaging.partial import PartialXray
    from XVRegistrationLib.imaging.xray import Xray
    from XVRegistrationLib.registration.landmarks import LandmarkPose
    from XVRegistrationLib.registration.model import PatientModel
    from XVRegistrationLib.registration.result import Registration


@dataclasses.dataclass(frozen=True, eq=False)
class _Input:
    """The X-rays, and what the options' files say of them."""

    parts: list[PartialXray]
    xrays: list[Xray]
    masks: list[NDArray[np.bool_] | None]
    relations: list[NDArray[np.float64]] | None
    """Of the cameras to the first one's, where they are registered together."""
    landmarks: LandmarkPose | None
    start: NDArray[np.float64] | None
    """The pose to go on from, where no other start is wanted."""


def run(options: argparse.Namespace) -> int:
    """Register each X-ray; write NAME.json and NAME.png. All input is checked before anything is written."""
    check_options(options)
    given = _read(options)
    volume = None if options.volume is None else read_volume(options.volume, reading_of(read_card(options.model)))
    model = load_model(options.model, volume)
    structures = structures_of(options)
    output = Path(options.output)
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; give a folder for the results.")
    _keep_inputs(options, given.xrays, output)
    output.mkdir(parents=True, exist_ok=True)
    if given.landmarks is not None and given.landmarks.remark:
        console.print(f"Landmarks: {given.landmarks.remark}", markup=False)
    cases, lost = [], []
    for xray, result in zip(given.xrays, _registrations(options, model, given), strict=True):
        if isinstance(result, InputError):
            lost.append(result)
            write_no_result(output, xray.name, str(result))
            continue
        stem = stem_of_result(output, xray.name, result.verdict)
        write_json(output / f"{stem}.json", result.to_dict())
        with suppress(InputError):  # a frame of a run that shows nothing has no picture either
            draw_registration(output / f"{stem}.png", model, xray, result, structures)
        cases.append(Case(xray.name, result, picture=f"{stem}.png"))
        if given.relations is None:
            _print_verdict(result)
        if stem != xray.name:
            kept = f"  {xray.name}.json keeps the better result of an earlier try; this one is {stem}.json."
            console.print(kept, markup=False)
    if given.relations is not None and cases:  # the verdict is one on all of them
        _print_verdict(dataclasses.replace(cases[0].registration, name=f"{', '.join(c.name for c in cases)} together"))
    if cases:
        console.print(console_table(cases))
        console.print(f"Poses and pictures are in {output}.")
    if lost:
        few = f"{len(lost)} of {len(given.xrays)} X-rays have no pose; their files in {output} say why. The first: "
        raise InputError(f"{few if len(given.xrays) > 1 else ''}{lost[0]}")
    return 0


def _registrations(
    options: argparse.Namespace, model: PatientModel, given: _Input
) -> Iterator[Registration | InputError]:
    """One for each X-ray, in their order, as soon as it is known, or why there is none."""
    for first, last in _groups(options, given):
        try:
            yield from _together(options, model, given, slice(first, last))
        except InputError as e:
            yield from [e] * (last - first)


def _groups(options: argparse.Namespace, given: _Input) -> Iterator[tuple[int, int]]:
    """Where those X-rays begin and end that are registered as one: all, the frames of one file, or each."""
    count = len(given.xrays)
    if given.relations is not None or options.series:
        yield 0, count
        return
    first = 0
    for i in range(1, count + 1):
        if i == count or options.frame != EACH or given.parts[i].path != given.parts[first].path:
            yield first, i
            first = i


def _together(options: argparse.Namespace, model: PatientModel, given: _Input, which: slice) -> Sequence[Registration]:
    """The registrations of X-rays that are views of one moment, frames of one run, or a single one."""
    xrays, masks, parts = given.xrays[which], given.masks[which], given.parts[which]
    how: dict[str, Any] = {"surroundings": options.surroundings}
    how["depth"] = None if options.depth is None else DepthPrior(*options.depth)
    if given.relations is not None:
        start = _starts(options, model, given, parts, given.relations)
        return register_views(model, xrays, given.relations, start.sources, start.poses, masks=masks, **how).views
    start = _starts(options, model, given, parts[:1])
    if len(xrays) == 1 and not options.series:
        return [register_xray(model, xrays[0], start.sources, start.poses, mask=masks[0], **how)]
    with counting("Frames") as progress:
        return register_series(model, xrays, start.sources, start.poses, progress, masks=masks, **how)


def _starts(
    options: argparse.Namespace,
    model: PatientModel,
    given: _Input,
    parts: Sequence[PartialXray],
    relations: Sequence[NDArray[np.float64]] = (np.eye(4),),
) -> Starts:
    """Poses of the camera of the first of some X-rays."""
    return starts_of(model, parts, options.preset or (), given.landmarks, given.start, relations)


def _print_verdict(result: Registration) -> None:
    print_verdict(result, f"similarity {result.similarity:.3f}, {result.seconds:.1f} s")


def _read(options: argparse.Namespace) -> _Input:
    parts, paths = _parts(options)
    parts = _as_shown(options, parts)
    if options.c_arm is not None:
        parts = [with_c_arm(part, c_arm(options.c_arm)) for part in parts]
    calibrations = _calibrations(options, parts, paths)
    if calibrations:
        parts = [with_calibration(part, one) for part, one in zip(parts, calibrations, strict=True)]
    said = {note: part.name for part in reversed(parts) for note in part.notes}  # of a run once
    for note, name in reversed(said.items()):
        console.print(f"{name}: {note}", markup=False, highlight=False)
    xrays = [whole(part, path) for part, path in zip(parts, paths, strict=True)]
    names = [xray.name for xray in xrays]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError(
            f"Several X-rays are called {', '.join(sorted(twice))}; their results would overwrite each other."
        )
    return _Input(
        parts,
        xrays,
        read_masks(options.mask, xrays, options.ignore or ()),
        _relations(options, xrays, calibrations),
        None if options.landmarks is None else read_landmarks(options.landmarks, xrays[0]),
        None if options.start is None else read_start(options.start),
    )


def _parts(options: argparse.Namespace) -> tuple[list[PartialXray], list[str]]:
    """What the files state of each X-ray, and the file that each is from: with --series or --frame all every frame of each."""
    spacing = None if options.spacing is None else (options.spacing[0], options.spacing[1])
    given: dict[str, Any] = {"sid": options.sid, "spacing": spacing, "mirrored": options.mirrored}
    given["subtract"] = options.subtract
    if not (options.series or options.frame == EACH):
        return [read_xray_parts(path, frame=options.frame, **given) for path in options.xrays], list(options.xrays)
    runs = [(path, read_run(path, options.frame if options.series else None, **given)) for path in options.xrays]
    return [part for _, run in runs for part in run], [path for path, run in runs for _ in run]


def _as_shown(options: argparse.Namespace, parts: list[PartialXray]) -> list[PartialXray]:
    """The X-rays mirrored as the user or their files say, and where nobody does as the model's were."""
    if options.mirrored is not None:
        return parts
    like_model = intrinsics_of(read_card(options.model)).mirrored
    return [part if part.origins["mirrored"] == "derived" else part.shown(like_model, "assumed") for part in parts]


def _calibrations(
    options: argparse.Namespace, parts: Sequence[PartialXray], paths: Sequence[str]
) -> list[CalibratedCamera]:
    """One for each X-ray, the same for all frames of a file; none without --calibration."""
    files = options.calibration or []
    if not files:
        return []
    of_path = dict(zip(options.xrays, files if len(files) > 1 else files * len(options.xrays), strict=True))
    return [
        read_calibration(of_path[path], size=part.size, undistorted=options.undistorted, unit=options.calibration_unit)
        for part, path in zip(parts, paths, strict=True)
    ]


def _relations(
    options: argparse.Namespace, xrays: Sequence[Xray], calibrations: Sequence[CalibratedCamera]
) -> list[NDArray[np.float64]] | None:
    """Of the cameras to the first one's, for X-rays that are registered together."""
    if options.relative == BY_CALIBRATION:
        return checked_relations(xrays, relations_of(calibrations))
    return None if options.relative is None else read_relations(options.relative, xrays)


def _keep_inputs(options: argparse.Namespace, xrays: list[Xray], output: Path) -> None:
    """Raise InputError where a result would replace one of the files that it is made from."""
    named = [options.volume, options.labels, options.label_names, options.landmarks, options.start, options.relative]
    named += options.calibration or []
    inputs = {Path(p).resolve() for p in [*options.xrays, *(options.mask or []), *named] if p}
    for xray in xrays:
        for suffix in (".json", ".png", ".failed.json", ".failed.png"):
            if (output / f"{xray.name}{suffix}").resolve() in inputs:
                raise InputError(
                    f"{output / xray.name}{suffix} is an input and would be overwritten; choose another -o."
                )


def structures_of(options: argparse.Namespace) -> Structures | None:
    """The structures to draw that the options name; None without a label map."""
    if options.labels is None:
        if options.structures or options.label_names:
            raise InputError("--structures and --label-names need the label map: give it with --labels.")
        return None
    names = None if options.label_names is None else read_label_names(options.label_names)
    labels = read_segmentation(options.labels, names)
    values = sorted(labels.names) if options.structures is None else labels.values(options.structures)
    return Structures.of(labels, values)
