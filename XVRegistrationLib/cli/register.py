"""`xvregistration register`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from XVRegistrationLib.cli.drawing import Structures, draw_registration
from XVRegistrationLib.cli.progress import console
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.report import Case, console_table
from XVRegistrationLib.files import write_json
from XVRegistrationLib.imaging.volume import read_label_map, read_label_names, read_volume
from XVRegistrationLib.imaging.xray_files import read_xray
from XVRegistrationLib.registration.card import intrinsics_of, read_card
from XVRegistrationLib.registration.model import load_model
from XVRegistrationLib.registration.register import register_xray

if TYPE_CHECKING:
    import argparse

    from XVRegistrationLib.imaging.xray import Xray


def run(options: argparse.Namespace) -> int:
    """Register each X-ray; write NAME.json and NAME.png. All input is checked before anything is written."""
    mirrored = options.mirrored
    if mirrored is None:
        mirrored = intrinsics_of(read_card(options.model)).mirrored
    xrays = _read_xrays(options, mirrored)
    volume = None if options.volume is None else read_volume(options.volume)
    model = load_model(options.model, volume)
    structures = _structures(options)
    output = Path(options.output)
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; give a folder for the results.")
    _keep_inputs(options, xrays, output)
    output.mkdir(parents=True, exist_ok=True)
    cases = []
    for xray in xrays:
        result = register_xray(model, xray)
        write_json(output / f"{xray.name}.json", result.to_dict())
        draw_registration(output / f"{xray.name}.png", model, xray, result, structures)
        cases.append(Case(xray.name, result, picture=f"{xray.name}.png"))
        console.print(f"{xray.name}: similarity {result.similarity:.3f}, {result.seconds:.1f} s")
    console.print(console_table(cases))
    console.print(f"Poses and pictures are in {output}.")
    return 0


def _read_xrays(options: argparse.Namespace, mirrored: bool) -> list[Xray]:
    spacing = None if options.spacing is None else (options.spacing[0], options.spacing[1])
    xrays = [read_xray(path, sid=options.sid, spacing=spacing, mirrored=mirrored) for path in options.xrays]
    names = [xray.name for xray in xrays]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError(
            f"Several X-rays are called {', '.join(sorted(twice))}; their results would overwrite each other."
        )
    return xrays


def _keep_inputs(options: argparse.Namespace, xrays: list[Xray], output: Path) -> None:
    """Raise InputError where a result would replace one of the files that it is made from."""
    inputs = {Path(p).resolve() for p in [*options.xrays, options.volume, options.labels, options.label_names] if p}
    for xray in xrays:
        for suffix in (".json", ".png"):
            if (output / f"{xray.name}{suffix}").resolve() in inputs:
                raise InputError(
                    f"{output / xray.name}{suffix} is an input and would be overwritten; choose another -o."
                )


def _structures(options: argparse.Namespace) -> Structures | None:
    if options.labels is None:
        if options.structures or options.label_names:
            raise InputError("--structures and --label-names need the label map: give it with --labels.")
        return None
    names = None if options.label_names is None else read_label_names(options.label_names)
    labels = read_label_map(options.labels, names)
    values = sorted(labels.names) if options.structures is None else labels.values(options.structures)
    return Structures.of(labels, values)
