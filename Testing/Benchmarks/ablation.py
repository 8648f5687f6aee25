"""What each part of a network gains: PSSS's parts one after the other (its Table 3), and three ways to a model (xvr's Figure 3).

Each arm learns for the same time, on PSSS's protocol with X-rays by nanodrr, and is measured by its predictions alone; two of them
after the refinement too. PSSS's network runs on 128 px here, half of its own, so that a CPU shows it enough X-rays. With a
folder of other patients' CTs, a network learns from these first: what it says of the protocol's patient as it is (patient-agnostic),
and what it gains there in some minutes beside one from scratch.
"""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from training import predicted_pose, prepared

from XVRegistrationLib.cli.progress import counting
from XVRegistrationLib.evaluation.metrics import axis_errors, mpd, mtre
from XVRegistrationLib.evaluation.pictures import save_figure
from XVRegistrationLib.evaluation.protocol_file import find_protocol, read_protocol
from XVRegistrationLib.evaluation.rates import success_rate
from XVRegistrationLib.files import write_json
from XVRegistrationLib.jobs.finetune_patient import start_finetuning
from XVRegistrationLib.jobs.pretrain import pretrain
from XVRegistrationLib.jobs.pretraining_plan import Plan, find_volumes
from XVRegistrationLib.networks.create import create_network
from XVRegistrationLib.networks.settings import EULER, NetworkSettings, attention_settings
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.training.objective import LossWeights, Weight
from XVRegistrationLib.training.task import Task
from XVRegistrationLib.training.trainer import TrainingSettings, new_state, train
from XVRegistrationLib.versions import versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from XVRegistrationLib.evaluation.protocol import Protocol
    from XVRegistrationLib.evaluation.protocol_xrays import TrueXray
    from XVRegistrationLib.networks.pose_network import PoseNetwork
    from XVRegistrationLib.registration.model import PatientModel

MINUTES = 3.0
_FAR = 10.0  # mm: PSSS's success, as far as its table tells
_PIXELS = 128
_L2 = LossWeights(Weight(0.0), euler=Weight(1.0))
_ATTENTION = dataclasses.replace(attention_settings(), pixels=_PIXELS)
_PLAIN = NetworkSettings(backbone=_ATTENTION.backbone, pixels=_PIXELS, rotation=EULER)


@dataclass(frozen=True)
class Arm:
    """A network, and how it learns."""

    name: str
    network: NetworkSettings
    changes: dict[str, Any]
    refined: bool = False


PSSS_ARMS = (
    Arm("A: EfficientNet-b0", _PLAIN, {"losses": _L2, "pool": 2048, "replaced": 0.0}),
    Arm(
        "A + C: with attention",
        _ATTENTION,
        {"losses": _L2, "regulariser_weight": 0.0, "pool": 2048, "replaced": 0.0},
    ),
    Arm("A + B + C: and the decoder", _ATTENTION, {"losses": _L2, "pool": 2048, "replaced": 0.0}),
    Arm("[A + B + C]*: and incremental learning", _ATTENTION, {"losses": _L2, "pool": 2048}, refined=True),
    Arm("ours: the default network, every X-ray new", NetworkSettings(), {}, refined=True),
)
"""Of PSSS's Table 3, without A + B, which no setting of ours makes; its D is our refinement."""


def run(data: Path, output: Path, count: int, minutes: float = MINUTES, others: Path | None = None) -> None:
    """Print and save the table of the arms, and with a folder of `others`' CTs the curves of the three ways."""
    protocol = read_protocol(find_protocol("psss"))
    protocol = dataclasses.replace(protocol, poses=dataclasses.replace(protocol.poses, count=count))
    patient, xrays, model = prepared(protocol, data, output)
    console = Console(width=160)
    found: dict[str, Any] = {"minutes": minutes, "threads": torch.get_num_threads(), "versions": versions(), "arms": []}
    for arm in PSSS_ARMS:
        found["arms"].append(_arm(arm, model, xrays, patient.points, minutes))
        write_json(output / "ablation.json", found)
    console.print(_table(found["arms"], count, minutes))
    if others is None:
        console.print("Scratch, agnostic and finetuned need other patients' CTs: --others FOLDER.")
        return
    found["ways"] = _ways(protocol, model, xrays, patient.points, minutes, others)
    write_json(output / "ablation.json", found)
    console.print(_ways_table(found["ways"], count, minutes))
    _plot(output / "ablation.png", found)
    console.print(f"The curves: {output / 'ablation.png'}")


def _arm(
    arm: Arm, model: PatientModel, xrays: Sequence[TrueXray], points: np.ndarray[Any, Any], minutes: float
) -> dict[str, Any]:
    settings = dataclasses.replace(TrainingSettings(seconds=60 * minutes), **arm.changes)
    torch.manual_seed(settings.seed)
    scale = max(model.pose_range.translation)
    network = create_network(dataclasses.replace(arm.network, translation_scale=scale))
    learnt, row = _learnt(model, network, settings, arm.name)
    return {"arm": arm.name, **row, **_predicted(learnt, xrays, points), **_refined(arm, learnt, xrays, points)}


def _learnt(
    model: PatientModel, network: PoseNetwork, settings: TrainingSettings, name: str
) -> tuple[PatientModel, dict[str, Any]]:
    """The model with the network after its training, and what that saw."""
    state = new_state(network, settings)
    with counting(f"{name}, s") as bar:
        task = Task(model.pyramid.finest, model.view, model.pose_range, model.intrinsics)
        train(state, task, settings, lambda p: bar(int(p.elapsed), int(p.budget)))
    return dataclasses.replace(model, network=network.eval()), {"images": state.images, "history": state.history}


def _predicted(model: PatientModel, xrays: Sequence[TrueXray], points: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Errors of the network's predictions alone."""
    rows = []
    for x in xrays:
        pose = predicted_pose(model, x)
        axes = axis_errors(pose, x.true_pose, points)
        rows.append(
            [
                mtre(pose, x.true_pose, points),
                mpd(pose, x.true_pose, x.xray.intrinsics, points),
                *np.abs(axes.rotation_deg),
                *np.abs(axes.shift_mm),
            ]
        )
    errors = np.array(rows)
    return {
        "mean": errors.mean(axis=0).tolist(),
        "std": errors.std(axis=0).tolist(),
        "success": str(success_rate(errors[:, 0], _FAR)),
    }


def _refined(arm: Arm, model: PatientModel, xrays: Sequence[TrueXray], points: np.ndarray[Any, Any]) -> dict[str, Any]:
    if not arm.refined:
        return {}
    with counting("D: refined") as bar:
        errors = []
        for done, x in enumerate(xrays, 1):
            errors.append(mtre(register_xray(model, x.xray, ("network",)).pose, x.true_pose, points))
            bar(done, len(xrays))
    return {
        "refined_mm": float(np.mean(errors)),
        "refined_success": str(success_rate(errors, _FAR)),
        "refined_1": str(success_rate(errors, 1.0)),
    }


def _ways(
    protocol: Protocol,
    model: PatientModel,
    xrays: Sequence[TrueXray],
    points: np.ndarray[Any, Any],
    minutes: float,
    others: Path,
) -> list[dict[str, Any]]:
    """Agnostic, finetuned and from scratch, each with what its predictions reach."""
    volumes = find_volumes(others)
    view, sod, poses = protocol.view, protocol.sod, protocol.registration.range
    plan = Plan(volumes, volumes[0], protocol.intrinsics, view, sod, poses, seconds=180 * minutes)
    with tempfile.TemporaryDirectory() as folder:
        with counting("Pretraining, s") as bar:
            pretrained = pretrain(
                Path(folder) / "pretrained", plan, progress=lambda p: bar(int(p.elapsed), int(p.budget))
            )
        agnostic = start_finetuning(Path(folder) / "patient", pretrained, model.volume, bank_size=64)
    assert agnostic.network is not None
    settings = TrainingSettings(seconds=60 * minutes)
    before = _predicted(agnostic, xrays, points)
    finetuned, row = _learnt(agnostic, agnostic.network, settings, "finetuned")
    torch.manual_seed(settings.seed)
    anew = create_network(dataclasses.replace(plan.network, translation_scale=max(poses.translation)))
    scratch, other = _learnt(model, anew, settings, "from scratch")
    return [
        {"way": "patient-agnostic", "images": pretrained.training["images"], "history": [], **before},
        {"way": "finetuned", **row, **_predicted(finetuned, xrays, points)},
        {"way": "from scratch", **other, **_predicted(scratch, xrays, points)},
    ]


def _table(rows: Sequence[dict[str, Any]], count: int, minutes: float) -> Table:
    table = Table(
        title=f"PSSS's parts, {minutes:g} minutes each, {count} X-rays: mean (standard deviation) of predictions"
    )
    for name in ("arm", "X-rays", "mTRE, mm", "mPD, mm", "Rx Ry Rz, deg", "Tx Ty Tz, mm", f"< {_FAR:g} mm", "refined"):
        table.add_column(name, justify="left" if name == "arm" else "right")
    for r in rows:
        mean, std = r["mean"], r["std"]
        said = f"{r['refined_mm']:.2f} mm; < {_FAR:g} mm {r['refined_success']}" if "refined_mm" in r else ""
        table.add_row(
            r["arm"],
            f"{r['images']:,}",
            f"{mean[0]:.1f} ({std[0]:.1f})",
            f"{mean[1]:.1f} ({std[1]:.1f})",
            " ".join(f"{v:.1f}" for v in mean[2:5]),
            " ".join(f"{v:.1f}" for v in mean[5:8]),
            r["success"],
            said,
        )
    return table


def _ways_table(rows: Sequence[dict[str, Any]], count: int, minutes: float) -> Table:
    table = Table(
        title=f"Three ways to a model, {minutes:g} minutes for the patient, {count} X-rays, predictions alone"
    )
    for name in ("way", "X-rays", "mTRE, mm", f"< {_FAR:g} mm", "seconds: validation, mm"):
        table.add_column(name, justify="left" if name == "way" else "right")
    for r in rows:
        curve = "  ".join(f"{h['seconds']:.0f}: {h['validation']:.1f}" for h in r["history"])
        table.add_row(r["way"], f"{r['images']:,}", f"{r['mean'][0]:.1f} ({r['std'][0]:.1f})", r["success"], curve)
    return table


def _plot(path: Path, found: dict[str, Any]) -> None:
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for r in found["arms"]:
        left.plot([h["seconds"] for h in r["history"]], [h["validation"] for h in r["history"]], label=r["arm"])
    left.set_title("PSSS's parts, and ours", fontsize=10)
    for r in found["ways"]:
        if r["history"]:
            right.plot([h["seconds"] for h in r["history"]], [h["validation"] for h in r["history"]], label=r["way"])
        else:
            right.axhline(r["mean"][0], color="tab:gray", linestyle="--", label=f"{r['way']}, on the X-rays")
    right.set_title("Three ways to a model", fontsize=10)
    for axes in (left, right):
        axes.set_xlabel("training, s")
        axes.set_ylabel("validation error, median, mm")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=7)
        axes.grid(visible=True, alpha=0.3)
    save_figure(figure, path)
