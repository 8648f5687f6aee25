"""Whether a network earns its place: registrations from the bank alone, from the network alone, and from both, of the same X-rays.

Of three protocols: a wide range, hard X-rays (instruments, a collimator off centre, strong scatter, a CT that is cut off), and hard
ones over a wide range. The network learns each patient from scratch for the same time. Beside the success rates with Wilson's 95 %
intervals stands how often one succeeds where the other fails, with the exact test of McNemar.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import binomtest

from XVRegistrationLib.cli.progress import counting
from XVRegistrationLib.evaluation.metrics import mtre
from XVRegistrationLib.evaluation.patients import load_patient
from XVRegistrationLib.evaluation.protocol_file import find_protocol, read_protocol
from XVRegistrationLib.evaluation.protocol_xrays import protocol_xrays
from XVRegistrationLib.evaluation.rates import Rate, success_rate
from XVRegistrationLib.evaluation.run_protocol import prepare
from XVRegistrationLib.files import write_json
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.versions import versions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from XVRegistrationLib.evaluation.protocol_xrays import TrueXray
    from XVRegistrationLib.registration.model import PatientModel

PROTOCOLS = {"wide": 1.0, "hard": 2.0, "hard-wide": 2.0}
"""With the limit of success, mm."""
BOTH = "bank + network"
ARMS = {"bank": ("bank",), "network": ("network",), BOTH: ("network", "bank")}
MINUTES = 5.0
_FAR = 10.0  # mm


def run(
    data: Path, output: Path, count: int, minutes: float = MINUTES, names: Sequence[str] = tuple(PROTOCOLS)
) -> None:
    """Print and save what the arms reach on `count` X-rays of each of the protocols."""
    console = Console(width=150)
    found: dict[str, Any] = {"minutes": minutes, "threads": torch.get_num_threads(), "versions": versions()}
    for name in names:
        found[name] = _protocol(name, data, output, count, minutes)
        write_json(output / "against-bank.json", found)
        console.print(_table(name, found[name], count, minutes))
        console.print(compared(found[name]["errors"]["bank"], found[name]["errors"][BOTH], PROTOCOLS[name]))


def _protocol(name: str, data: Path, output: Path, count: int, minutes: float) -> dict[str, Any]:
    protocol = read_protocol(find_protocol(name))
    settings = dataclasses.replace(protocol.registration, minutes=minutes)
    protocol = dataclasses.replace(
        protocol, poses=dataclasses.replace(protocol.poses, count=count), registration=settings
    )
    patient = load_patient(protocol, data)
    with counting("X-rays") as bar:
        xrays = protocol_xrays(protocol, patient.volume, output / "protocol-xrays", bar)
    with counting("Bank, seconds of training") as bar:
        model = prepare(protocol, patient.known, lambda _, done, total: bar(done, total))
    errors: dict[str, list[float]] = {}
    seconds: dict[str, float] = {}
    verdicts: dict[str, list[str]] = {}
    starts: list[float] = []
    for arm, sources in ARMS.items():
        rows = _registered(model, xrays, sources, patient.points, arm)
        errors[arm], verdicts[arm] = [r["mtre_mm"] for r in rows], [r["verdict"] for r in rows]
        seconds[arm] = float(np.median([r["seconds"] for r in rows]))
        if arm == "network":
            starts = [r["start_mm"] for r in rows]
    return {
        "errors": errors,
        "seconds": seconds,
        "verdicts": verdicts,
        "start_mm": float(np.median(starts)),
        "start_95_mm": float(np.percentile(starts, 95)),
        "limit_mm": PROTOCOLS[name],
        **model.training,
    }


def _registered(
    model: PatientModel, xrays: Sequence[TrueXray], sources: Sequence[str], points: np.ndarray[Any, Any], arm: str
) -> list[dict[str, Any]]:
    rows = []
    with counting(arm) as bar:
        for done, x in enumerate(xrays, 1):
            found = register_xray(model, x.xray, sources)
            rows.append(
                {
                    "mtre_mm": mtre(found.pose, x.true_pose, points),
                    "start_mm": mtre(found.starts[0].pose, x.true_pose, points),
                    "seconds": found.seconds,
                    "verdict": found.verdict,
                }
            )
            bar(done, len(xrays))
    return rows


def mcnemar(one: Sequence[float], other: Sequence[float], limit: float) -> tuple[int, int, float]:
    """On how many X-rays the other succeeds where the one fails, on how many it fails, and how likely that is by chance.

    McNemar's exact test, two-sided.
    """
    first, second = np.array(one) < limit, np.array(other) < limit
    won, lost = int(np.count_nonzero(second & ~first)), int(np.count_nonzero(first & ~second))
    return won, lost, binomtest(won, won + lost).pvalue if won + lost else 1.0


def compared(one: Sequence[float], other: Sequence[float], limit: float) -> str:
    """A sentence on which of two ways succeeds where the other fails."""
    won, lost, p = mcnemar(one, other, limit)
    if won + lost == 0:
        return f"Below {limit:g} mm, the bank and both together succeed on the same X-rays."
    return (
        f"Below {limit:g} mm, both together succeed on {won} X-rays where the bank alone fails, and fail on {lost} where it "
        f"succeeds: p = {p:.2g}."
    )


def _table(name: str, found: dict[str, Any], count: int, minutes: float) -> Table:
    limit = found["limit_mm"]
    table = Table(title=f"{name}: {count} X-rays, a network from scratch in {minutes:g} minutes")
    for heading in ("from", f"< {limit:g} mm", f"< {_FAR:g} mm", "median, mm", "s an X-ray", "wrong of converged"):
        table.add_column(heading, justify="left" if heading == "from" else "right")
    for arm, errors in found["errors"].items():
        converged = [e >= 2 for e, v in zip(errors, found["verdicts"][arm], strict=True) if v == "converged"]
        table.add_row(
            arm,
            str(success_rate(errors, limit)),
            str(success_rate(errors, _FAR)),
            f"{np.median(errors):.2f}",
            f"{found['seconds'][arm]:.2f}",
            str(Rate.of(converged)) if converged else "–",
        )
    table.caption = f"The network's own error: median {found['start_mm']:.0f} mm, 95 % {found['start_95_mm']:.0f} mm"
    return table
