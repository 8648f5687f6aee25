"""Make the table of verdicts, Resources/verdict.json, from registrations whose error is known; run by hand.

    python Testing/Benchmarks/calibration.py --volume CT1.nii.gz --volume CT2.mha 0 --table Resources/verdict.json

X-rays of the given CTs are registered under good and bad conditions: as the protocols do; from a start alone that is far away; to the
model of another CT; with strong scatter. A logistic regression then tells from what the registrations left behind which of them
are wrong by more than 2 mm. Thresholds are chosen on predictions for CTs that the fit did not see. The CT of the protocols is not
used unless it is given: it is what `make bench` measures the verdicts on. The last line printed is the factor by which
registration/covariance.py should inflate its covariance.

Registrations are kept one by one, so that a run that was ended goes on. With one CT its X-rays are left out by fifths instead.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from volumes import volumes_of

from XVRegistrationLib.cli.progress import counting
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.metrics import mtre
from XVRegistrationLib.evaluation.patients import Patient, load_patient
from XVRegistrationLib.evaluation.protocol import StartError, fingerprint, with_volume
from XVRegistrationLib.evaluation.protocol_file import find_protocol, read_protocol
from XVRegistrationLib.evaluation.protocol_xrays import draw_start, protocol_xrays, xrays_fingerprint
from XVRegistrationLib.evaluation.rates import Rate
from XVRegistrationLib.evaluation.run_folder import code_fingerprint
from XVRegistrationLib.evaluation.run_protocol import prepare
from XVRegistrationLib.evaluation.verdict_fit import (
    choose_thresholds,
    fit_table,
    inflation_factor,
    left_out,
    point_radii,
)
from XVRegistrationLib.files import write_json
from XVRegistrationLib.imaging.volumes.reading import Reading
from XVRegistrationLib.registration.covariance import INFLATION
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.registration.verdict import WRONG_MM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from XVRegistrationLib.evaluation.protocol import Protocol
    from XVRegistrationLib.evaluation.protocol_xrays import TrueXray
    from XVRegistrationLib.registration.model import PatientModel

_FOLDS = 5
_SEED_OF_STARTS = 2
_console = Console(width=130, highlight=False)


@dataclass(frozen=True)
class Condition:
    """One way of registering."""

    name: str
    protocol: str
    """Whose X-rays, and whose bank."""
    start: StartError | None = None
    """The start given alone; None: hypotheses from the bank."""
    other: bool = False
    """Whether X-rays of another CT are registered to this one's model."""


CONDITIONS = (
    Condition("normal", "psss"),
    Condition("heavy scatter", "strong-scatter"),
    Condition("wide", "wide"),
    Condition("start 60 mm, 40 degrees", "psss", StartError(60, 40)),
    Condition("start 120 mm, 90 degrees", "psss", StartError(120, 90)),
    Condition("X-ray of another CT", "psss", other=True),
)


@dataclass(frozen=True, eq=False)
class Subject:
    """A CT that was given."""

    name: str
    path: Path
    background: float | None

    def protocol(self, name: str, count: int) -> Protocol:
        """A shipped protocol for this CT."""
        protocol = with_volume(read_protocol(find_protocol(name)), self.path, Reading(background=self.background))
        return dataclasses.replace(protocol, poses=dataclasses.replace(protocol.poses, count=count))


def main() -> None:
    """Register, fit, and write the table."""
    options = _parser().parse_args()
    subjects = [Subject(path.name.split(".")[0], path, value) for path, value in volumes_of(options.volume)]
    if not subjects:
        raise InputError("Give the CTs to calibrate on, each with --volume FILE [BACKGROUND].")
    chosen = [c for c in CONDITIONS if c.name not in options.without]
    rows: list[dict[str, Any]] = []
    for i, subject in enumerate(subjects):
        others = [s for s in subjects if s is not subject]
        for condition in chosen:
            if condition.other and not others:
                _console.print(f"{condition.name}: left out, there is only one CT.")
                continue
            seen = others[i % len(others)] if condition.other else subject
            rows += _registered(subject, seen, condition, options.xrays, options.output)
    _finish(rows, [s.name for s in subjects], options.table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--volume",
        action="append",
        nargs="+",
        default=[],
        metavar=("FILE", "BACKGROUND"),
        help="a CT, and its value for what was not scanned; can be given several times",
    )
    parser.add_argument("--xrays", type=int, default=60, help="of each CT and condition (default: 60)")
    parser.add_argument(
        "--without",
        nargs="+",
        default=[],
        choices=[c.name for c in CONDITIONS],
        metavar="CONDITION",
        help=f"leave out some of: {'; '.join(c.name for c in CONDITIONS)}",
    )
    parser.add_argument("--table", type=Path, default=Path("bench-output/calibration/verdict.json"), help="to write")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("bench-output/calibration"), help="keeps registrations"
    )
    return parser


def _registered(
    subject: Subject, seen: Subject, condition: Condition, count: int, output: Path
) -> list[dict[str, Any]]:
    """The rows of one condition: read where the same code made them before, registered where not."""
    protocol = seen.protocol(condition.protocol, count)
    patient = load_patient(protocol, output)
    own = subject.protocol(condition.protocol, count)
    volume = load_patient(own, output).volume if condition.other else patient.volume
    try:
        with counting(f"{subject.name}: X-rays for {condition.name}") as bar:
            images = protocol_xrays(protocol, patient.volume, output / "xrays", bar)
    except InputError as e:
        _console.print(f"{condition.name}: left out. {e}")
        return []
    made_of = (xrays_fingerprint(protocol, patient.volume), volume.fingerprint, dataclasses.asdict(condition))
    mark = fingerprint(*made_of, code_fingerprint())
    path = output / f"{subject.name}-{condition.name.replace(' ', '-').replace(',', '')}.json"
    rows = _kept(path, mark)
    waiting = [(i, image) for i, image in enumerate(images) if image.xray.name not in {row["xray"] for row in rows}]
    if waiting:
        model = prepare(own, volume, lambda what, done, total: None)
        with counting(f"{subject.name}: {condition.name}") as bar:
            for done, (i, image) in enumerate(waiting):
                row = _row(model, patient, image, condition, i)
                if row is not None:
                    rows.append({"ct": subject.name, "condition": condition.name, **row})
                write_json(path, {"mark": mark, "rows": rows})
                bar(done + 1, len(waiting))
    names = {image.xray.name for image in images}
    return [row for row in rows if row["xray"] in names]


def _row(model: PatientModel, patient: Patient, image: TrueXray, condition: Condition, i: int) -> dict[str, Any] | None:
    """Evidence and error of one registration; None where it was refused, which is no verdict."""
    starts, sources = None, ("bank",)
    if condition.start is not None:
        rng = np.random.default_rng((_SEED_OF_STARTS, i))
        starts, sources = {"given": draw_start(image.true_pose, model.view.isocenter, condition.start, rng)}, ()
    try:
        result = register_xray(model, image.xray, sources, starts)
    except InputError:
        return None
    row = {"xray": image.xray.name, "evidence": result.evidence, "mtre_mm": None, "radii": []}
    if not condition.other:
        radii = point_radii(result, image.true_pose, patient.points)
        row["mtre_mm"] = mtre(result.pose, image.true_pose, patient.points)
        row["radii"] = [round(float(r), 3) for r in radii]
    return row


def _kept(path: Path, mark: str) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    content = json.loads(path.read_text("utf-8"))
    return list(content["rows"]) if content["mark"] == mark else []


def _finish(rows: Sequence[dict[str, Any]], subjects: Sequence[str], path: Path) -> None:
    """Fit, choose, print and write."""
    if not rows:
        raise InputError("No registration was made: all X-rays were refused.")
    names = list(rows[0]["evidence"])
    evidence = [[row["evidence"][name] for name in names] for row in rows]
    wrong = [_is_wrong(row) for row in rows]
    folds = cycle(range(_FOLDS))
    groups = [row["ct"] if len(subjects) > 1 else f"fifth {next(folds)}" for row in rows]
    chosen = choose_thresholds(left_out(evidence, names, wrong, groups), wrong)
    counts = _counts(rows)
    table = {
        **fit_table(evidence, names, wrong),
        "converged_below": chosen.converged_below,
        "failed_above": chosen.failed_above,
        "provenance": {
            "made_by": "Testing/Benchmarks/calibration.py",
            "wrong_above_mm": WRONG_MM,
            "volumes": list(subjects),
            "left_out": "one CT at a time" if len(subjects) > 1 else f"one of {_FOLDS} parts of the X-rays at a time",
            "conditions": counts,
            "wrong_of_converged": chosen.wrong_of_converged.to_dict(),
            "converged_of_right": chosen.converged_of_right.to_dict(),
            "wrong_of_failed": chosen.wrong_of_failed.to_dict(),
        },
    }
    write_json(path, table)
    for name, count in counts.items():
        _console.print(f"{name}: {count['n']} registrations, {count['wrong']} wrong")
    for name, w in table["weights"].items():
        _console.print(f"weight of {name}: {w['weight']:.2f} (mean {w['mean']:.2f}, sd {w['sd']:.2f})")
    _console.print(f"converged up to {chosen.converged_below:.4f}: wrong of them {chosen.wrong_of_converged}")
    _console.print(f"right ones called converged: {chosen.converged_of_right}")
    _console.print(f"failed from {chosen.failed_above:.4f}: wrong of them {chosen.wrong_of_failed}")
    _console.print(f"The table is in {path}.")
    _inflation(rows)


def _inflation(rows: Sequence[dict[str, Any]]) -> None:
    """Print by how much the covariance of good registrations has to be inflated."""
    good = [row for row in rows if not _is_wrong(row) and row["radii"]]
    if not good:
        _console.print("INFLATION: no good registration to measure it by.")
        return
    factor = inflation_factor([row["radii"] for row in good], [row["ct"] for row in good])
    inside = Rate.of([r <= 1 for row in good for r in row["radii"]])
    _console.print(f"points within their 95 % ellipse now: {100 * inside.rate:.1f} %, {len(good)} good registrations")
    _console.print(f"INFLATION of registration/covariance.py: {INFLATION:g} now, should be {INFLATION * factor:.2f}")


def _is_wrong(row: dict[str, Any]) -> bool:
    return row["mtre_mm"] is None or row["mtre_mm"] > WRONG_MM


def _counts(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        count = found.setdefault(row["condition"], {"n": 0, "wrong": 0})
        count["n"] += 1
        count["wrong"] += _is_wrong(row)
    return found


if __name__ == "__main__":
    try:
        main()
    except InputError as e:
        sys.exit(f"calibration.py: {e}")
