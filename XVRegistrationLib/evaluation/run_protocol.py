"""A protocol from its X-rays to its table: simulate, make the patient ready, register, and only then look at the truth."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.evaluation_report import write_evaluation
from XVRegistrationLib.evaluation.measures import CaseRow, measure, refused
from XVRegistrationLib.evaluation.patients import load_patient
from XVRegistrationLib.evaluation.protocol_xrays import draw_start, protocol_xrays, xrays_fingerprint
from XVRegistrationLib.evaluation.run_folder import SUMMARY, RunFolder
from XVRegistrationLib.evaluation.summary import Summary, summarize_rows
from XVRegistrationLib.files import write_json
from XVRegistrationLib.networks.create import create_network
from XVRegistrationLib.networks.settings import NetworkSettings
from XVRegistrationLib.registration.model import prepare_model
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.training.task import Task
from XVRegistrationLib.training.trainer import TrainingSettings, new_state, train

if TYPE_CHECKING:
    from collections.abc import Callable

    from XVRegistrationLib.evaluation.protocol import Protocol
    from XVRegistrationLib.evaluation.protocol_xrays import TrueXray
    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.registration.model import PatientModel


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a protocol measured."""

    protocol: Protocol
    rows: list[CaseRow]
    summary: Summary
    folder: Path


def evaluate_protocol(
    protocol: Protocol,
    output: Path,
    *,
    data: Path = Path(".demo-data"),
    xrays: Path | None = None,
    fresh: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Evaluation:
    """Run a protocol, and write results.csv, summary.json, table.md, the curves and report.html into `output`.

    X-rays already registered by the same code under the same protocol are kept, so that a run that was ended goes on and
    a larger count adds to it; with `fresh` they are registered again. `data` keeps the demo's CT, `xrays` the simulated
    X-rays (by default within `output`), which protocols may share. `progress(what, done, total)` is called as work is done.
    """
    output = Path(output)
    if output.exists() and not output.is_dir():
        raise InputError(f"{output} is a file; give a folder for the evaluation.")
    say = progress or (lambda what, done, total: None)
    patient = load_patient(protocol, data)
    images = protocol_xrays(
        protocol, patient.volume, xrays or output / "xrays", lambda done, total: say("X-rays by nanodrr", done, total)
    )
    whatever_count = dataclasses.replace(
        protocol, name="", title="", poses=dataclasses.replace(protocol.poses, count=1)
    )
    run = RunFolder(
        output, dataclasses.asdict(whatever_count), xrays_fingerprint(protocol, patient.volume), fresh=fresh
    )
    waiting = [(i, image) for i, image in enumerate(images) if image.xray.name not in run.rows]
    if waiting:
        began = time.perf_counter()
        model = prepare(protocol, patient.known, say)
        run.note(ready_after_s=time.perf_counter() - began)
        for done, (i, image) in enumerate(waiting, len(images) - len(waiting) + 1):
            run.keep(_register(protocol, model, image, i, patient.points))
            say("Registrations", done, len(images))
    chosen = [run.rows[image.xray.name] for image in images]
    summary = summarize_rows(chosen, run.facts.get("ready_after_s"))
    made_with = run.facts["versions"]
    write_json(output / SUMMARY, {"protocol": protocol.to_dict(), **summary.to_dict(), "versions": made_with})
    write_evaluation(output, protocol, chosen, summary, made_with)
    return Evaluation(protocol, chosen, summary, output)


def _register(
    protocol: Protocol, model: PatientModel, image: TrueXray, i: int, points: np.ndarray[Any, Any]
) -> CaseRow:
    """Register one X-ray without its truth, unless the protocol gives a start of known error; then measure."""
    starts = None
    if protocol.start is not None:
        rng = np.random.default_rng((protocol.poses.seed, i, 1))
        starts = {"given": draw_start(image.true_pose, model.view.isocenter, protocol.start, rng)}
    try:
        result = register_xray(model, image.xray, protocol.registration.sources, starts)
    except InputError as e:
        return refused(image.xray.name, str(e))
    return measure(result, image.xray, image.true_pose, points, model)


def prepare(protocol: Protocol, volume: Volume, say: Callable[[str, int, int], None]) -> PatientModel:
    """The patient's model as the protocol wants it: a bank of its size over its range, and a network if it gives time."""
    settings = protocol.registration
    model = prepare_model(
        volume,
        protocol.intrinsics,
        protocol.view,
        protocol.sod,
        settings.range,
        lambda done, total: say("Bank", done, total),
        bank_size=settings.bank,
    )
    return _trained(model, settings.minutes, say) if settings.minutes > 0 else model


def _trained(model: PatientModel, minutes: float, say: Callable[[str, int, int], None]) -> PatientModel:
    torch.manual_seed(0)
    network = create_network(NetworkSettings(translation_scale=max(model.pose_range.translation) or 1.0))
    settings = TrainingSettings(seconds=60 * minutes)
    task = Task(model.pyramid.finest, model.view, model.pose_range, model.intrinsics)
    state = train(
        new_state(network, settings), task, settings, lambda p: say("Training, s", int(p.elapsed), int(p.budget))
    )
    seen = {"images": state.images, "history": state.history}
    return dataclasses.replace(model, network=state.network.eval(), training=seen)
