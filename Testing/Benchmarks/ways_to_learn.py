"""Ways to learn beside each other: losses, X-rays, batches, normalisations and rotations, each from scratch for the same time.

The chest CT, +-30 mm and +-20 degrees. Each way learns several times, with seeds of their own, on a computer left alone; what counts
is the error of its predictions on X-rays by nanodrr, without any refinement. Dice's structures are the labels' vertebrae, one by one,
S1 among them and the rest of the sacrum not.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from training import predicted_pose, prepared, protocol_of, trained

from XVRegistrationLib.cli.progress import counting
from XVRegistrationLib.evaluation.demo_data import demo_data
from XVRegistrationLib.evaluation.metrics import mtre
from XVRegistrationLib.files import write_json
from XVRegistrationLib.imaging.volume import read_label_map, read_label_names
from XVRegistrationLib.networks.settings import ADJUGATE, EULER, GROUP, NetworkSettings
from XVRegistrationLib.rendering.structure_grid import structure_grid
from XVRegistrationLib.training.beam_objects import NO_OBJECTS
from XVRegistrationLib.training.objective import LossWeights, Weight
from XVRegistrationLib.training.presentation import AS_IS
from XVRegistrationLib.training.trainer import TrainingSettings
from XVRegistrationLib.training.xray_sources import Randomization
from XVRegistrationLib.versions import versions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from XVRegistrationLib.evaluation.protocol_xrays import TrueXray
    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.registration.model import PatientModel
    from XVRegistrationLib.rendering.grid import DensityGrid

SECONDS = 20.0
_SEEDS = (0, 1)
_OFF = Weight(0.0)
_STRUCTURE = "vertebrae"


@dataclass(frozen=True)
class Way:
    """How a network learns, and what it is, where that is not the default."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    network: NetworkSettings = field(default_factory=NetworkSettings)


WAYS = (
    Way("as by default"),
    Way("without objects in the beam, openings, local contrast", {"randomization": Randomization(NO_OBJECTS, AS_IS)}),
    Way("as hard from the first step on", {"randomization": Randomization(full_at=0.0)}),
    Way("pool of 1024, a quarter new each epoch", {"pool": 1024}),
    Way("batches of 32", {"batch": 32}),
    Way("batches of 8", {"batch": 8}),
    Way("group normalisation", network=NetworkSettings(normalization=GROUP)),
    Way("rotation as quaternion's adjugate", network=NetworkSettings(rotation=ADJUGATE)),
    Way("rotation as Euler angles", network=NetworkSettings(rotation=EULER)),
    Way("geodesic on SE(3)", {"losses": LossWeights(_OFF, screw=Weight(1.0))}),
    Way("PSSS's L2", {"losses": LossWeights(_OFF, euler=Weight(1.0))}),
    Way("projected points", {"losses": LossWeights(_OFF, projected=Weight(1.0))}),
    Way("default + projected points", {"losses": LossWeights(projected=Weight(0.5))}),
    Way("default + between views", {"losses": LossWeights(between_views=Weight(0.3))}),
    Way("default + NCC, second half", {"losses": LossWeights(ncc=Weight(30.0, 0.5))}),
    Way("default + gradient NCC, second half", {"losses": LossWeights(gradient_ncc=Weight(30.0, 0.5))}),
    Way("default + Dice, second half", {"losses": LossWeights(dice=Weight(30.0, 0.5))}),
)


def run(data: Path, output: Path, count: int) -> None:
    """Print and save the table of the ways, measured on `count` X-rays."""
    patient, xrays, model = prepared(protocol_of(count), data, output)
    structures = _structures(patient.volume, data)
    rows = []
    for way in WAYS:
        rows.append(_row(model, way, structures, xrays, patient.points))
        write_json(
            output / "ways-to-learn.json", {"ways": rows, "threads": torch.get_num_threads(), "versions": versions()}
        )
    Console(width=150).print(_table(rows, count))


def _structures(volume: Volume, data: Path) -> tuple[DensityGrid, ...]:
    files = demo_data(data)
    labels = read_label_map(files.labels, read_label_names(files.label_names))
    chosen = [value for value, name in labels.names.items() if name.startswith(_STRUCTURE)]
    return tuple(structure_grid(volume, labels, [value]) for value in chosen if (labels.array == value).any())


def _row(
    model: PatientModel,
    way: Way,
    structures: tuple[DensityGrid, ...],
    xrays: Sequence[TrueXray],
    points: np.ndarray[Any, Any],
) -> dict[str, Any]:
    needed = structures if way.settings.get("losses", LossWeights()).dice.value > 0 else ()
    medians, farthest, images, cpu = [], [], [], []
    with counting(way.name) as bar:
        for done, seed in enumerate(_SEEDS, 1):
            settings = dataclasses.replace(TrainingSettings(seconds=SECONDS, seed=seed), **way.settings)
            learnt, took = trained(model, settings, way.network, needed)
            errors = [mtre(predicted_pose(learnt, x), x.true_pose, points) for x in xrays]
            medians.append(float(np.median(errors)))
            farthest.append(float(np.percentile(errors, 95)))
            images.append(took["images"])
            cpu.append(took["cpu_s"])
            bar(done, len(_SEEDS))
    return {"way": way.name, "medians_mm": medians, "farthest_mm": farthest, "images": images, "cpu_s": cpu}


def _table(rows: Sequence[dict[str, Any]], count: int) -> Table:
    table = Table(
        title=f"Ways to learn for {SECONDS:g} s: errors of predictions on {count} X-rays, {len(_SEEDS)} trainings"
    )
    for name in ("way", "X-rays seen", "processor, s", "median, mm: mean (least to most)", "95 %, mm"):
        table.add_column(name, justify="left" if name == "way" else "right")
    for r in rows:
        m = r["medians_mm"]
        table.add_row(
            r["way"],
            f"{np.mean(r['images']):,.0f}",
            f"{np.mean(r['cpu_s']):.0f}",
            f"{np.mean(m):.1f} ({min(m):.1f} to {max(m):.1f})",
            f"{np.mean(r['farthest_mm']):.1f}",
        )
    return table
