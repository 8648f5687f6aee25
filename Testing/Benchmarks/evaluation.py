"""The shipped protocols one after another, and one table of what each must reach and what it reached.

X-rays are registered one by one and kept, so that a run that was ended goes on, and more X-rays add to those that are there.
"""

from __future__ import annotations

import dataclasses
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import bars
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from XVRegistrationLib.cli.progress import counting
from XVRegistrationLib.evaluation.measures import read_rows
from XVRegistrationLib.evaluation.page import write_text
from XVRegistrationLib.evaluation.protocol import with_volume
from XVRegistrationLib.evaluation.protocol_file import find_protocol, read_protocol
from XVRegistrationLib.evaluation.run_folder import ROWS
from XVRegistrationLib.evaluation.run_protocol import evaluate_protocol
from XVRegistrationLib.evaluation.summary import summarize_rows
from XVRegistrationLib.evaluation.wrist import STARTS, evaluate_wrist
from XVRegistrationLib.files import write_json
from XVRegistrationLib.imaging.volumes.reading import Reading
from XVRegistrationLib.versions import versions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from bars import Line

    from XVRegistrationLib.evaluation.measures import CaseRow
    from XVRegistrationLib.evaluation.protocol import Protocol

PROTOCOLS = ("psss", "wide", "near", "far", "vessels", "hard")
"""Those whose volume comes along."""
GIVEN = "strong-scatter"
"""That whose volume is given by hand."""
XRAYS = "protocol-xrays"
"""Folder of the simulated X-rays, which protocols and benchmarks share."""
_HEADER = ("protocol", "measure", "bar", "reached (95 % Wilson interval)", "met")


def run(
    data: Path,
    output: Path,
    count: int,
    *,
    protocols: Sequence[str] = PROTOCOLS,
    minutes: float = 0.0,
    volumes: Sequence[tuple[Path, float | None]] = (),
    wrist: Path | None = None,
    compared: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Print and save the table of the named protocols, `count` X-rays each.

    With `minutes` PSSS's protocol is also run from a network trained for so long, alone. `volumes` are those of the
    protocol with strong scatter: path, and value of what was not scanned. `wrist` is the folder of the biplane X-rays,
    `compared` the rows of the benchmark of baselines.
    """
    folder = output / "evaluation"
    lines: list[Line] = []
    pooled: list[CaseRow] = []
    for protocol, goal, counts in _all(protocols, minutes, volumes):
        chosen = dataclasses.replace(protocol, poses=dataclasses.replace(protocol.poses, count=count))
        with counting(protocol.name) as bar:
            found = evaluate_protocol(
                chosen,
                folder / protocol.name,
                data=data,
                xrays=output / XRAYS,
                progress=lambda what, done, total, bar=bar: bar(done, total),  # type: ignore[misc]
            )
        lines += bars.of_protocol(protocol.name, found.summary, goal)
        pooled += found.rows if counts else []
    if pooled:
        lines += bars.of_verdicts(summarize_rows(pooled))
    if compared:
        lines += bars.of_baselines(compared)
    if wrist is not None:
        lines += bars.of_wrist(_wrist(wrist, folder / "wrist", count))
    write_json(output / "evaluation.json", {"lines": [asdict(line) for line in lines], "versions": versions()})
    write_text(output / "evaluation.md", _markdown(lines))
    print_lines(lines, f"What the protocols reach, {count} X-rays each by nanodrr")


def _all(
    protocols: Sequence[str], minutes: float, volumes: Sequence[tuple[Path, float | None]]
) -> Iterator[tuple[Protocol, bars.Bars, bool]]:
    """Every protocol to run, its bars, and whether its verdicts count among all."""
    for name in protocols:
        yield read_protocol(find_protocol(name)), bars.BARS[name], True
    for path, background in volumes:
        protocol = with_volume(read_protocol(find_protocol(GIVEN)), path, Reading(background=background))
        yield dataclasses.replace(protocol, name=f"{GIVEN}-{path.name.split('.')[0]}"), bars.BARS[GIVEN], True
    if minutes > 0:
        protocol = read_protocol(find_protocol("psss"))
        settings = dataclasses.replace(protocol.registration, sources=("network",), minutes=minutes)
        yield dataclasses.replace(protocol, name="psss-network", registration=settings), bars.NO_BARS, False


def _wrist(wrist: Path, output: Path, count: int) -> dict[str, list[CaseRow]]:
    with counting("wrist") as bar:
        ways = evaluate_wrist(
            wrist, output, starts=min(count, STARTS), progress=lambda way, done, total: bar(done, total)
        )
    return {way: read_rows(output / way.replace(" ", "-") / ROWS) for way in ways}


def print_lines(lines: Sequence[Line], title: str) -> None:
    """Print what was reached beside its bars."""
    table = Table(title=title)
    for column in _HEADER:
        table.add_column(escape(column), no_wrap=column != "measure")
    last = ""
    for line in lines:
        if last and line.protocol != last:
            table.add_section()
        cells = [escape(cell) for cell in _cells(line)]
        cells[0] = "" if line.protocol == last else cells[0]
        color = {True: "green", False: "red", None: "default"}[line.met]
        table.add_row(*cells[:-1], f"[{color}]{cells[-1]}[/]")
        last = line.protocol
    Console(width=150).print(table)


def _markdown(lines: Sequence[Line]) -> str:
    rows = [_HEADER, ("---",) * len(_HEADER), *(_cells(line) for line in lines)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cells(line: Line) -> tuple[str, ...]:
    met = {True: "yes", False: "no", None: ""}[line.met]
    return line.protocol, line.measure, line.bar, line.reached, met
