"""How long a network must learn from scratch: for some time budgets, what registration reaches from its prediction alone.

The chest CT, +-30 mm and +-20 degrees, X-rays by nanodrr with scatter, noise, gamma and blur. Each budget is a training of its
own, whose learning rate falls to zero over it; 0 s is an untrained network, which says that the X-ray is at the nominal view. Also
printed: what a step's time goes into, and the peak memory of a training of a CT of 512^3 voxels. X-rays that were registered
are kept.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from XVRegistrationLib.cli.progress import counting
from XVRegistrationLib.evaluation.metrics import mtre
from XVRegistrationLib.evaluation.patients import load_patient
from XVRegistrationLib.evaluation.protocol_file import find_protocol, read_protocol
from XVRegistrationLib.evaluation.protocol_xrays import protocol_xrays
from XVRegistrationLib.evaluation.rates import success_rate
from XVRegistrationLib.files import write_json
from XVRegistrationLib.geometry.views import PoseRange
from XVRegistrationLib.networks.create import create_network
from XVRegistrationLib.networks.predict import network_camera
from XVRegistrationLib.networks.settings import NetworkSettings
from XVRegistrationLib.registration.hypotheses import propose
from XVRegistrationLib.registration.model import prepare_model
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.registration.search import prepare_xray
from XVRegistrationLib.training.prefetch import TOGETHER
from XVRegistrationLib.training.task import Task
from XVRegistrationLib.training.trainer import TrainingSettings, new_state, threads_for_both, train
from XVRegistrationLib.training.xray_sources import Randomization, Stream, batches_of
from XVRegistrationLib.versions import versions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from XVRegistrationLib.evaluation.patients import Patient
    from XVRegistrationLib.evaluation.protocol import Protocol
    from XVRegistrationLib.evaluation.protocol_xrays import TrueXray
    from XVRegistrationLib.registration.model import PatientModel
    from XVRegistrationLib.rendering.grid import DensityGrid

BUDGETS = (0.0, 15.0, 30.0, 60.0, 120.0)
_RANGE = PoseRange((20.0, 20.0, 20.0), (30.0, 30.0, 30.0))
_PROFILED = 80  # steps
_MEMORY = """
import resource, numpy as np
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import NominalView, PoseRange
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.networks.create import create_network
from XVRegistrationLib.networks.settings import NetworkSettings
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.training.task import Task
from XVRegistrationLib.training.trainer import TrainingSettings, new_state, train
array = np.random.default_rng(0).integers(-200, 900, ({n}, {n}, {n}), dtype=np.int16)
volume = Volume(array, np.diag([0.7, 0.7, 0.7, 1.0]), "noise")
task = Task(density_grid(volume), NominalView("AP", tuple(map(float, volume.center)), 700.0), PoseRange(),
            Intrinsics.centered(1020.0, (0.76, 0.76), (512, 512)))
settings = TrainingSettings(seconds={seconds})
train(new_state(create_network(NetworkSettings()), settings), task, settings)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def run(data: Path, output: Path, count: int, budgets: Sequence[float] = BUDGETS, *, alone: bool = False) -> None:
    """Print and save what networks trained for the `budgets`, in seconds, reach on `count` X-rays; the rest too, unless `alone`."""
    patient, xrays, model = prepared(protocol_of(count), data, output)
    console = Console(width=150)
    found: dict[str, Any] = {"budgets": [], "versions": versions(), "threads": torch.get_num_threads()}
    for seconds in budgets:
        found["budgets"].append(_reached(model, seconds, xrays, patient.points))
        write_json(output / "training.json", found)
    console.print(_budget_table(found["budgets"], count))
    if not alone:
        found["step"] = profile(model)
        console.print(_step_sentence(found["step"]))
        found["peak_512"] = peak_memory(512)
        console.print(f"A training of a CT of 512^3 voxels takes {found['peak_512'] / 2**30:.2f} GiB at its peak.")
        write_json(output / "training.json", found)


def protocol_of(count: int) -> Protocol:
    """PSSS's, over the wider range of the bar, from the network alone."""
    psss = read_protocol(find_protocol("psss"))
    poses = dataclasses.replace(psss.poses, range=_RANGE, count=count, seed=1700)
    settings = dataclasses.replace(psss.registration, range=_RANGE, sources=("network",))
    return dataclasses.replace(psss, name="training", poses=poses, registration=settings)


def prepared(protocol: Protocol, data: Path, output: Path) -> tuple[Patient, list[TrueXray], PatientModel]:
    """The protocol's patient, its X-rays, which are kept in `output`, and a model of the patient without a network."""
    patient = load_patient(protocol, data)
    with counting("X-rays") as bar:
        xrays = protocol_xrays(protocol, patient.volume, output / "protocol-xrays", bar)
    model = prepare_model(
        patient.volume, protocol.intrinsics, protocol.view, protocol.sod, protocol.registration.range, bank_size=64
    )
    return patient, xrays, model


def trained(
    model: PatientModel,
    settings: TrainingSettings,
    network: NetworkSettings | None = None,
    structures: tuple[DensityGrid, ...] = (),
) -> tuple[PatientModel, dict[str, float]]:
    """The model with a network trained from scratch, and what it took; nothing but the network's start for 0 s."""
    torch.manual_seed(settings.seed)
    scale = max(model.pose_range.translation)
    state = new_state(
        create_network(dataclasses.replace(network or NetworkSettings(), translation_scale=scale)), settings
    )
    began, cpu = time.perf_counter(), time.process_time()
    if settings.seconds > 0:
        task = Task(model.pyramid.finest, model.view, model.pose_range, model.intrinsics, structures=structures)
        train(state, task, settings)
    took = {
        "seconds": settings.seconds,
        "with_start_s": time.perf_counter() - began,
        "cpu_s": time.process_time() - cpu,
        "images": state.images,
        "validation": state.history[-1]["validation"] if state.history else float("nan"),
    }
    return dataclasses.replace(model, network=state.network.eval()), took


def predicted_pose(model: PatientModel, x: TrueXray) -> NDArray[np.float64]:
    """The pose (4, 4) that the model's network says."""
    ready = prepare_xray(x.xray)
    return propose(model, ready.image, x.xray, ("network",), weight=ready.weight).poses[0]


def _reached(
    model: PatientModel, seconds: float, xrays: Sequence[TrueXray], points: np.ndarray[Any, Any]
) -> dict[str, Any]:
    """What registration from the prediction of a network trained for `seconds` reaches."""
    ready, took = trained(model, TrainingSettings(seconds=seconds))
    starts, errors = [], []
    with counting(f"{seconds:g} s") as bar:
        for done, x in enumerate(xrays, 1):
            result = register_xray(ready, x.xray, ("network",))
            starts.append(mtre(result.starts[0].pose, x.true_pose, points))
            errors.append(mtre(result.pose, x.true_pose, points))
            bar(done, len(xrays))
    rates = {f"below_{limit:g}_mm": success_rate(errors, limit).to_dict() for limit in (1.0, 2.0, 10.0)}
    said = {f"said_{limit:g}": str(success_rate(errors, limit)) for limit in (1.0, 2.0, 10.0)}
    median, farthest = float(np.median(starts)), float(np.percentile(starts, 95))
    return {**took, "start_mm": median, "start_95_mm": farthest, "mtre_mm": float(np.median(errors)), **rates, **said}


def profile(model: PatientModel, batch: int = 16) -> dict[str, float]:
    """Seconds of the processor, all its cores, that a step of `batch` X-rays takes for what, on average; one thing after the other."""
    task = Task(model.pyramid.finest, model.view, model.pose_range, model.intrinsics)
    network = create_network(NetworkSettings()).to(memory_format=torch.channels_last)
    stream = Stream(
        task, network_camera(task.intrinsics, network.settings.pixels), Randomization(), torch.device("cpu"), 0
    )
    optimizer = new_state(network, TrainingSettings()).optimizer
    times = dict.fromkeys(("poses and render", "objects, detector, processing", "network"), 0.0)
    with threads_for_both(torch.device("cpu")):
        for block in range(-1, _PROFILED // TOGETHER):  # the first warms up
            laps = [time.process_time()]
            rendered = [stream.rendered(batch) for _ in range(TOGETHER)]
            laps.append(time.process_time())
            made = batches_of(stream, rendered, 1.0)
            laps.append(time.process_time())
            for x in made:
                rotation, translation = network(x.images)
                (
                    (rotation - x.motions[:, :3, :3]).square().sum()
                    + (translation - x.motions[:, :3, 3]).square().sum()
                ).backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            laps.append(time.process_time())
            if block >= 0:
                for name, seconds in zip(times, np.diff(laps), strict=True):
                    times[name] += float(seconds) / (_PROFILED // TOGETHER * TOGETHER)
    return times


def peak_memory(side: int, seconds: float = 5.0) -> int:
    """Bytes that a process which trains on a volume of side^3 voxels without any air takes at its peak."""
    script = _MEMORY.format(n=side, seconds=seconds)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def _budget_table(rows: Sequence[dict[str, Any]], count: int) -> Table:
    table = Table(title=f"From the network's prediction alone, {count} X-rays, {torch.get_num_threads()} threads")
    names = ("s", "with start, s", "images", "validation, mm", "start, mm (95 %)", "mTRE, mm", "< 1 mm", "< 2 mm")
    for name in names:
        table.add_column(name, justify="right")
    for r in rows:
        table.add_row(
            f"{r['seconds']:g}",
            f"{r['with_start_s']:.0f}",
            f"{r['images']:,}",
            f"{r['validation']:.1f}",
            f"{r['start_mm']:.1f} ({r['start_95_mm']:.1f})",
            f"{r['mtre_mm']:.2f}",
            r["said_1"],
            r["said_2"],
        )
    return table


def _step_sentence(step: dict[str, float]) -> str:
    total = sum(step.values())
    parts = ", ".join(f"{name} {1e3 * s:.1f} ms ({100 * s / total:.0f} %)" for name, s in step.items())
    return f"A step of 16 X-rays takes the processor {1e3 * total:.0f} ms: {parts}."
