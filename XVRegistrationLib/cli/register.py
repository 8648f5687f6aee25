"""`xvregistration register`."""

from __future__ import annotations

import dataclasses
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.cli.progress import console, counting, print_verdict
from XVRegistrationLib.cli.register_input import keep_inputs, read_input, with_files
from XVRegistrationLib.cli.starts import check_options
from XVRegistrationLib.cli.xray_options import EACH, in_words
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.attention_pictures import draw_attention
from XVRegistrationLib.evaluation.drawing import Structures, draw_registration
from XVRegistrationLib.evaluation.report import Case
from XVRegistrationLib.evaluation.report_table import console_table
from XVRegistrationLib.files import write_json
from XVRegistrationLib.imaging.segmentation_files import read_segmentation
from XVRegistrationLib.imaging.volume import read_label_names, read_volume
from XVRegistrationLib.networks.attention_on_xray import check_attends
from XVRegistrationLib.registration.card import read_card, reading_of
from XVRegistrationLib.registration.model import load_model
from XVRegistrationLib.registration.objective import DepthPrior
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.registration.result_files import stem_of_result, write_no_result
from XVRegistrationLib.registration.series import register_series, register_series_of_views
from XVRegistrationLib.registration.several import register_views
from XVRegistrationLib.registration.starts import starts_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.cli.register_input import Input
    from XVRegistrationLib.imaging.partial import PartialXray
    from XVRegistrationLib.registration.model import PatientModel
    from XVRegistrationLib.registration.result import Registration
    from XVRegistrationLib.registration.starts import Starts


def run(options: argparse.Namespace) -> int:
    """Register each X-ray; write NAME.json and NAME.png, or why there is no pose. All input is checked before."""
    options = with_files(options)
    check_options(options)
    given = read_input(options)
    volume = None if options.volume is None else read_volume(options.volume, reading_of(read_card(options.model)))
    model = load_model(options.model, volume, other_volume=options.other_volume)
    if options.attention:
        check_attends(model.network)
    structures = structures_of(options)
    output = Path(options.output)
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; give a folder for the results.")
    keep_inputs(options, given, output)
    output.mkdir(parents=True, exist_ok=True)
    if given.landmarks is not None and given.landmarks.remark:
        console.print(f"Landmarks: {given.landmarks.remark}", markup=False)
    cases: list[Case] = []
    lost: list[tuple[str, InputError]] = []
    for one in given.unusable:
        _without(output, one.name, one.why, lost)
    for xray, result in zip(given.xrays, _registrations(options, model, given), strict=True):
        if isinstance(result, InputError):
            _without(output, xray.name, result, lost)
            continue
        stem = stem_of_result(output, xray.name, result.verdict)
        write_json(output / f"{stem}.json", result.to_dict())
        with suppress(InputError):  # a frame of a run that shows nothing has no picture either
            draw_registration(output / f"{stem}.png", model, xray, result, structures)
            if options.attention:
                draw_attention(output / f"{stem}-attention.png", model, xray)
        cases.append(Case(xray.name, result, picture=f"{stem}.png"))
        if given.relations is None:
            _print_verdict(result)
        if stem != xray.name:
            kept = f"  {xray.name}.json keeps the better result of an earlier try; this one is {stem}.json."
            console.print(kept, markup=False)
    if given.relations is not None and cases:  # the verdict is one on all of them
        for k in range(given.moments):
            of_one = cases[k :: given.moments]
            names = ", ".join(case.name for case in of_one)
            _print_verdict(dataclasses.replace(of_one[0].registration, name=f"{names} together"))
    if cases:
        console.print(console_table(cases, [name for name, _ in lost]))
        console.print(f"Poses and pictures are in {output}.")
    if lost:
        count = len(given.xrays) + len(given.unusable)
        few = f"{len(lost)} of {count} X-rays have no pose; their files in {output} say why. The first: "
        raise InputError(f"{few if count > 1 else ''}{lost[0][1]}") from lost[0][1]
    return 0


def _without(output: Path, name: str, why: InputError, lost: list[tuple[str, InputError]]) -> None:
    """Write and say why an X-ray has no pose, and put it to those that are lost; of a run it is said once."""
    write_no_result(output, name, str(why))
    if not lost or lost[-1][1] is not why:
        console.print(f"{name}: no pose. {in_words(why)}", markup=False)
    lost.append((name, why))


def _registrations(
    options: argparse.Namespace, model: PatientModel, given: Input
) -> Iterator[Registration | InputError]:
    """One for each X-ray, in their order, as soon as it is known, or why there is none."""
    for first, last in _groups(options, given):
        try:
            yield from _together(options, model, given, slice(first, last))
        except InputError as e:
            yield from [e] * (last - first)


def _groups(options: argparse.Namespace, given: Input) -> Iterator[tuple[int, int]]:
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


def _together(options: argparse.Namespace, model: PatientModel, given: Input, which: slice) -> Sequence[Registration]:
    """The registrations of X-rays that are views of one moment, frames of one run or of several, or a single one."""
    xrays, masks, parts = given.xrays[which], given.masks[which], given.parts[which]
    how: dict[str, Any] = {"surroundings": options.surroundings}
    how["depth"] = None if options.depth is None else DepthPrior(*options.depth)
    if given.relations is not None:
        n = given.moments
        start = _starts(options, model, given, parts[::n], given.relations)
        if not options.series:
            return register_views(model, xrays, given.relations, start.sources, start.poses, masks=masks, **how).views
        firsts = range(0, len(xrays), n)
        runs, marks = [xrays[i : i + n] for i in firsts], [masks[i : i + n] for i in firsts]
        with counting("Frames") as progress:
            found = register_series_of_views(
                model, runs, given.relations, start.sources, start.poses, progress, masks=marks, **how
            )
        return [moment.views[v] for v in range(len(runs)) for moment in found]
    start = _starts(options, model, given, parts[:1])
    if len(xrays) == 1 and not options.series:
        return [register_xray(model, xrays[0], start.sources, start.poses, mask=masks[0], **how)]
    with counting("Frames") as progress:
        return register_series(model, xrays, start.sources, start.poses, progress, masks=masks, **how)


def _starts(
    options: argparse.Namespace,
    model: PatientModel,
    given: Input,
    parts: Sequence[PartialXray],
    relations: Sequence[NDArray[np.float64]] = (np.eye(4),),
) -> Starts:
    """Poses of the camera of the first of some X-rays."""
    return starts_of(model, parts, options.preset or (), given.landmarks, given.start, relations)


def _print_verdict(result: Registration) -> None:
    print_verdict(result, f"similarity {result.similarity:.3f}, {result.seconds:.1f} s")


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
