"""Lines of the tables of renders, and how their times are taken."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_ROUNDS = 7


@dataclass(frozen=True)
class Line:
    """One way of making so many images of a size at once."""

    method: str
    size: str
    batch: int
    ms: float
    """Of all of them, median."""
    ratio: float | None = None
    """How many times faster than the line that it is set against."""
    error: float | None = None
    """Relative to the dense integral in double precision."""
    mib: float | None = None
    """Highest memory above the start, MiB; on a GPU of its own memory."""


def interleaved(
    calls: dict[str, Callable[[], object]], device: str = "cpu", rounds: int = _ROUNDS
) -> dict[str, list[float]]:
    """Seconds of each call in each round, all calls in turn in every round, after one that does not count."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for n in range(rounds + 1):
        for name, call in calls.items():
            _finish(device)
            began = time.perf_counter()
            call()
            _finish(device)
            if n > 0:
                times[name].append(time.perf_counter() - began)
    return times


def _finish(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)


def ratio(times: dict[str, list[float]], reference: str, name: str) -> float:
    """How many times faster `name` is than `reference`: median over the rounds, in each of which both were timed."""
    return median(a / b for a, b in zip(times[reference], times[name], strict=True))


def print_lines(title: str, lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Print a table, and return its rows as they are saved."""
    table = Table(title=title)
    for column in ("method", "size", "batch", "ms (median)", "times faster", "error", "peak memory"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for line in lines:
        table.add_row(
            line.method,
            line.size,
            f"{line.batch}",
            f"{line.ms:.1f}",
            "" if line.ratio is None else f"{line.ratio:.1f}",
            "" if line.error is None else f"{100 * line.error:.4f} %",
            "" if line.mib is None else f"{line.mib:.0f} MiB",
        )
    Console(width=150).print(table)
    return [{"table": title, **asdict(line)} for line in lines]
