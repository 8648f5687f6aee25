"""Progress and verdicts on the console: bars on a terminal, a line now and then in a log."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from XVRegistrationLib.evaluation.report_table import reasons, verdict_in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.registration.result import Registration
    from XVRegistrationLib.training.trainer import Progress as TrainingProgress

console = Console(highlight=False, width=None if Console().is_terminal else 130)
_LOG_EVERY = 20.0  # seconds between lines where there is no terminal


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A callback (done, total) for countable work."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    began = time.monotonic()
    last = (0, 0)
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=None)

        def update(done: int, total: int) -> None:
            nonlocal last
            last = (done, total)
            progress.update(task, completed=done, total=total)

        yield update
    console.print(f"{what}: {last[0]} of {last[1]}, {time.monotonic() - began:.1f} s")


@contextmanager
def training() -> Iterator[Callable[[TrainingProgress], None]]:
    """A callback for the trainer: elapsed, left, images seen, validation error."""
    columns = (TextColumn("Training"), BarColumn(), TextColumn("{task.description}"))
    validation = "-"
    printed = 0.0
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=None)

        def update(p: TrainingProgress) -> None:
            nonlocal validation, printed
            if p.validation is not None:
                validation = f"{p.validation:.1f} mm"
            left = clock(max(0.0, p.budget - p.elapsed))
            said = f"{clock(p.elapsed)} of {clock(p.budget)}, {left} left, {p.images:,} images, validation error {validation}"
            progress.update(task, completed=min(p.elapsed, p.budget), total=p.budget, description=said)
            # A terminal sees the bar move; a log gets a line now and then. Both keep the last one.
            due = not console.is_terminal and p.elapsed - printed >= _LOG_EVERY
            if p.validation is not None and (due or p.elapsed >= p.budget):
                printed = p.elapsed
                console.print(f"Training: {said}")

        yield update


def print_verdict(result: Registration, numbers: str) -> None:
    """Print an X-ray's verdict with some numbers, and below it why, and what the image says least about."""
    console.print(escape(f"{result.name}: {verdict_in_words(result)}, {numbers}"))
    if reasons(result):
        console.print(escape(f"  {reasons(result)}"))


def say_notes(volume: Volume) -> None:
    """Print what was found and done when the volume was read."""
    for note in volume.notes:
        console.print(f"{volume.name}: {note}", markup=False)


def clock(seconds: float) -> str:
    """Seconds as m:ss."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
