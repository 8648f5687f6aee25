"""What networks must reach, beside what the benchmarks of networks have measured: one table, made of their saved results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import against_bank
import network_forward
from bars import Line
from evaluation import print_lines

from XVRegistrationLib.evaluation.rates import success_rate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_NONE = "–"
_LIKELY = 0.05  # a difference that chance makes less often is significant
_GIB = 2**30


def run(output: Path) -> None:
    """Print the table; what was not measured yet has a dash."""
    scratch, against, forward = (_read(output / f"{n}.json") for n in ("training", "against-bank", "network-forward"))
    lines = [
        _scratch(scratch.get("budgets", [])),
        *_against("wide", against.get("wide"), ((1.0, 0.95), (10.0, 0.99))),
        *_against("hard", against.get("hard"), ((2.0, 0.90),)),
        _forward(forward.get("networks", [])),
        _step(scratch.get("step")),
        _memory(scratch.get("peak_512")),
    ]
    print_lines(lines, "What networks reach")


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def _scratch(budgets: Sequence[dict[str, Any]]) -> Line:
    """The shortest of the trainings that is enough."""
    name, bar = "scratch, network alone", "<= 60 s"
    enough = [b for b in budgets if b["below_1_mm"]["rate"] >= 0.95 and b["seconds"] > 0]
    if not budgets:
        return Line(name, "until 95 % < 1 mm", bar, _NONE, None)
    if not enough:
        return Line(name, "until 95 % < 1 mm", bar, f"more than {max(b['seconds'] for b in budgets):g} s", False)
    best = min(enough, key=lambda b: b["with_start_s"])
    return Line(
        name,
        "until 95 % < 1 mm",
        bar,
        f"{best['with_start_s']:.0f} s: {best['said_1']}",
        best["with_start_s"] <= 60,
    )


def _against(name: str, found: dict[str, Any] | None, bars: Sequence[tuple[float, float]]) -> list[Line]:
    title = f"{name}, bank + network"
    if found is None:
        return [Line(title, f"< {limit:g} mm", f">= {100 * least:g} %", _NONE, None) for limit, least in bars]
    both, bank = found["errors"][against_bank.BOTH], found["errors"]["bank"]
    rates = [(limit, least, success_rate(both, limit)) for limit, least in bars]
    won, lost, p = against_bank.mcnemar(bank, both, found["limit_mm"])
    return [
        *(Line(title, f"< {lim:g} mm", f">= {100 * least:g} %", str(r), r.rate >= least) for lim, least, r in rates),
        Line(
            title,
            f"< {found['limit_mm']:g} mm, against the bank",
            "better, p < 0.05",
            f"{won} won, {lost} lost (p = {p:.2g}); bank {100 * success_rate(bank, found['limit_mm']).rate:.1f} %",
            p < _LIKELY and won > lost,
        ),
    ]


def _forward(networks: Sequence[dict[str, Any]]) -> Line:
    took = next((n["median_ms"] for n in networks if n["network"] == "default"), None)
    said = _NONE if took is None else f"{took:.1f} ms"
    met = None if took is None else took <= network_forward.BAR_MS
    return Line("one X-ray to a pose", "median", f"<= {network_forward.BAR_MS:g} ms", said, met)


def _step(step: dict[str, float] | None) -> Line:
    rest = None if step is None else step["objects, detector, processing"] / sum(step.values())
    return Line(
        "a training step",
        "outside network and renderer",
        "<= 5 %",
        _NONE if rest is None else f"{100 * rest:.1f} %",
        None if rest is None else rest <= 0.05,
    )


def _memory(peak: int | None) -> Line:
    said = _NONE if peak is None else f"{peak / _GIB:.2f} GiB"
    return Line("training, 512^3 voxels", "peak memory", "<= 4 GiB", said, None if peak is None else peak <= 4 * _GIB)
