"""Registration of many X-rays by an independent renderer: bank alone, network alone, both, with Wilson intervals.

X-rays go through DICOM files as the demo's do. The truth is compared with after the registration and reaches no step of it.
"""

from __future__ import annotations

import json
import shutil
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.table import Table

from XVRegistrationLib.cli.demo import INTRINSICS, POSE_RANGE, bone_points
from XVRegistrationLib.cli.progress import counting, training
from XVRegistrationLib.evaluation.demo_data import demo_data
from XVRegistrationLib.evaluation.metrics import mtre, wilson_interval
from XVRegistrationLib.evaluation.simulation import simulate_xrays
from XVRegistrationLib.files import write_json
from XVRegistrationLib.imaging.dicom_writer import write_dicom_dx
from XVRegistrationLib.imaging.volume import read_label_map, read_label_names, read_volume
from XVRegistrationLib.imaging.xray_files import read_xray
from XVRegistrationLib.jobs.train_patient import start_patient, train_patient
from XVRegistrationLib.registration.register import register_xray

if TYPE_CHECKING:
    from pathlib import Path

_SEED = 7_000_000  # not the demo's
_WAYS = {"bank": ("bank",), "network": ("network",), "both": ("network", "bank")}


def run(data: Path, output: Path, count: int, minutes: float) -> None:
    """Train, register every X-ray in three ways, and print and save success rates."""
    files = demo_data(data)
    volume = read_volume(files.ct)
    points = bone_points(read_label_map(files.labels, read_label_names(files.label_names)))
    model_folder = output / "bench-model"
    if model_folder.exists():
        shutil.rmtree(model_folder)
    with counting("Bank") as count_renders:
        model = start_patient(model_folder, volume, INTRINSICS, pose_range=POSE_RANGE, progress=count_renders)
    with training() as progress:
        model = train_patient(model_folder, model, minutes=minutes, progress=progress)

    folder = output / "xrays"
    _simulate(volume, model.view, folder, count)
    truth = {name: np.array(pose) for name, pose in json.loads((folder / "truth.json").read_text()).items()}
    rows: list[dict[str, object]] = []
    with counting("Registrations") as registered:
        for i in range(count):
            name = f"xray-{i:03d}"
            xray = read_xray(folder / f"{name}.dcm")
            for way, sources in _WAYS.items():
                result = register_xray(model, xray, sources)
                starts = {s.kind: mtre(s.pose, truth[name], points) for s in result.starts}
                error = mtre(result.pose, truth[name], points)
                row = {
                    "xray": name,
                    "way": way,
                    "mtre_mm": error,
                    "start_mm": min(starts.values()),
                    "similarity": result.similarity,
                }
                rows.append({**row, "seconds": result.seconds})
            registered(i + 1, count)
    write_json(output / "registration.json", rows)
    _print(rows, count, minutes)


def _simulate(volume, view, folder: Path, count: int) -> None:  # type: ignore[no-untyped-def]
    """X-rays as DICOM files, kept for the next run: the i-th of a seed is always the same."""
    truth_file = folder / "truth.json"
    if truth_file.exists() and len(json.loads(truth_file.read_text())) >= count:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with counting("X-rays by nanodrr") as progress:
        xrays = simulate_xrays(volume, view, INTRINSICS, count, _SEED, POSE_RANGE, progress)
    for i, xray in enumerate(xrays):
        write_dicom_dx(folder / f"xray-{i:03d}.dcm", xray.pixels, xray.intrinsics, bits_stored=xray.detector.bits)
    write_json(truth_file, {f"xray-{i:03d}": xray.true_pose.tolist() for i, xray in enumerate(xrays)})


def _print(rows: list[dict[str, object]], count: int, minutes: float) -> None:
    table = Table(title=f"{count} X-rays by nanodrr, network trained for {minutes:g} minutes; 95 % Wilson intervals")
    for column in ("start from", "start, mm", "median, mm", "95 %, mm", "< 1 mm", "< 2 mm", "< 10 mm", "seconds"):
        table.add_column(column, justify="left" if column == "start from" else "right", no_wrap=True)
    for way in _WAYS:
        of_way = [row for row in rows if row["way"] == way]
        errors = np.array([row["mtre_mm"] for row in of_way], dtype=float)
        rates = [_rate(int((errors < limit).sum()), len(errors)) for limit in (1, 2, 10)]
        start, seconds = (median(float(row[key]) for row in of_way) for key in ("start_mm", "seconds"))  # type: ignore[arg-type]
        table.add_row(
            way,
            f"{start:.1f}",
            f"{np.median(errors):.2f}",
            f"{np.percentile(errors, 95):.2f}",
            *rates,
            f"{seconds:.1f}",
        )
    Console(width=140).print(table)


def _rate(successes: int, n: int) -> str:
    low, high = wilson_interval(successes, n)
    return f"{successes}/{n} ({100 * low:.1f}-{100 * high:.1f} %)"
