"""`xvregistration evaluate`: protocols with simulated X-rays, and other people's data with their reference poses."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from XVRegistrationLib.cli.progress import console, counting
from XVRegistrationLib.cli.volume_options import reading_from
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.protocol import SOURCES, with_volume
from XVRegistrationLib.evaluation.protocol_file import SHIPPED, find_protocol, read_protocol
from XVRegistrationLib.imaging.volumes.reading import Reading

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from XVRegistrationLib.evaluation.protocol import Protocol
    from XVRegistrationLib.evaluation.summary import Summary


def run(options: argparse.Namespace) -> int:
    """Evaluate each protocol and data set that was asked for, each into a folder of its own; print their tables."""
    if options.list:
        _list()
        return 0
    output = Path(options.output)
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; give a folder for the evaluation with -o.")
    if options.count is not None and options.count < 1:
        raise InputError(f"At least one X-ray is needed, not {options.count}.")
    protocols = [_protocol(name, options) for name in options.protocols]
    names = [protocol.name for protocol in protocols]
    if len(set(names)) < len(names):
        raise InputError("Two protocols have the same name; their results would overwrite each other.")
    sets = [name for name in ("wrist", "deepfluoro", "ljubljana") if getattr(options, name)]
    if not protocols and not sets:
        raise InputError(f"Give a protocol: a TOML file or one of {', '.join(SHIPPED)} (see --list).")
    try:
        for protocol in protocols:
            _evaluate(protocol, output, options)
        for name in sets:
            _data_set(name, Path(getattr(options, name)), output / name, options)
    except KeyboardInterrupt as e:
        command = "the same command without --fresh" if options.fresh else "the same command"
        raise KeyboardInterrupt(f"stopped; the X-rays registered so far are kept, {command} goes on.") from e
    return 0


def _list() -> None:
    for name in SHIPPED:
        console.print(f"{name:15} {read_protocol(find_protocol(name)).title}", markup=False)


def _protocol(name: str, options: argparse.Namespace) -> Protocol:
    """The protocol with what the command line changes of it."""
    protocol = read_protocol(find_protocol(name))
    reading = reading_from(options)
    if options.volume is not None:
        protocol = with_volume(protocol, options.volume, reading)
    elif reading != Reading():
        raise InputError("What the values are belongs to a volume; give it with --volume.")
    if options.count is not None:
        protocol = dataclasses.replace(protocol, poses=dataclasses.replace(protocol.poses, count=options.count))
    if options.sources is not None:
        unknown = set(options.sources) - set(SOURCES)
        if unknown:
            raise InputError(f"--sources must name {' and '.join(SOURCES)}, not {', '.join(sorted(unknown))}.")
        settings = dataclasses.replace(protocol.registration, sources=tuple(options.sources))
        protocol = dataclasses.replace(protocol, registration=settings)
    if options.minutes is not None:
        if not 0 <= options.minutes < float("inf"):
            raise InputError(f"The time budget of a training must be a number of minutes, not {options.minutes}.")
        settings = dataclasses.replace(protocol.registration, minutes=options.minutes)
        protocol = dataclasses.replace(protocol, registration=settings)
    return protocol


def _evaluate(protocol: Protocol, output: Path, options: argparse.Namespace) -> None:
    # Imported here: a list of protocols and a wrong name do not wait for all that registers and trains, a second.
    from XVRegistrationLib.evaluation.evaluation_report import PAGE, console_table
    from XVRegistrationLib.evaluation.run_protocol import evaluate_protocol

    console.print(f"{protocol.name}: {protocol.title}", markup=False)
    stages = _Stages()
    try:
        result = evaluate_protocol(
            protocol,
            output / protocol.name,
            data=Path(options.data),
            xrays=output / "xrays",
            fresh=options.fresh,
            progress=stages,
        )
    finally:
        stages.close()
    console.print(console_table(protocol.title, result.summary))
    console.print(f"Rows, curves and report are in {result.folder}; open {result.folder / PAGE}.", markup=False)


class _Stages:
    """A callback (what, done, total) that shows one bar for each kind of work."""

    def __init__(self) -> None:
        self._what = ""
        self._bar = ExitStack()
        self._update: Callable[[int, int], None] = lambda done, total: None

    def __call__(self, what: str, done: int, total: int) -> None:
        if what != self._what:
            self.close()
            self._what, self._update = what, self._bar.enter_context(counting(what))
        self._update(done, total)

    def close(self) -> None:
        """End the bar that is shown."""
        self._bar.close()
        self._what = ""


def _data_set(name: str, path: Path, output: Path, options: argparse.Namespace) -> None:
    """Evaluate a data set that somebody has, and print a table for each way of registering it."""
    from XVRegistrationLib.evaluation.evaluation_report import console_table

    for title, summary in _summaries(name, path, output, options).items():
        console.print(console_table(title, summary))
    console.print(f"{name}: rows and curves are in {output}.", markup=False)


def _summaries(name: str, path: Path, output: Path, options: argparse.Namespace) -> Mapping[str, Summary]:
    count, fresh = options.count, options.fresh
    if name == "wrist":
        from XVRegistrationLib.evaluation.wrist import STARTS, evaluate_wrist

        stages = _Stages()
        try:
            ways = evaluate_wrist(path, output, starts=count or STARTS, fresh=fresh, progress=stages)
        finally:
            stages.close()
        return {f"Wrist, {way}": summary for way, summary in ways.items()}
    if name == "deepfluoro":
        from XVRegistrationLib.evaluation.deepfluoro import evaluate_deepfluoro

        found = evaluate_deepfluoro(path, output, count=count, fresh=fresh, progress=console.print)
        return {"DeepFluoro": found}
    from XVRegistrationLib.evaluation.ljubljana import evaluate_ljubljana

    found = evaluate_ljubljana(path, output, subjects=count, fresh=fresh, progress=console.print)
    return {"Ljubljana": found}
