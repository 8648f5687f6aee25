"""A cohort of small cases: two phantoms, X-rays of them, and the table that says so. Files are called by a patient."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import psutil

from Testing.Python.dicom_files import grey, write
from Testing.Python.unit.conftest import phantom_hu
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import PoseRange, draw_poses
from XVRegistrationLib.imaging.volume import Volume, write_volume
from XVRegistrationLib.registration.model import prepare_model
from XVRegistrationLib.rendering.render import render

if TYPE_CHECKING:
    from pathlib import Path

    from XVRegistrationLib.evaluation.cohort import CaseOutcome

PATIENT = "Mustermann"
CAMERA = Intrinsics.centered(1020.0, (8.0, 8.0), (48, 48))
HEADER = {"ImagerPixelSpacing": [8.0, 8.0], "PositionerPrimaryAngle": None, "PositionerSecondaryAngle": None}
NEAR = {"rotation": "4 4 4", "translation": "5 5 5"}
"""For all rows: how far poses lie from the view."""


def write_cases(folder: Path, count: int, volumes: int = 2) -> list[np.ndarray]:
    """Write `cases.csv` and its files; the true pose (4, 4) of each case's X-ray."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, truth = [], []
    for v in range(volumes):
        hu = phantom_hu((32, 44, 48), seed=v + 1)
        matrix = np.diag([-5.0, 5.2, 6.0, 1.0])
        matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(hu.shape[::-1]) - 1) / 2)
        volume = Volume(hu, matrix, PATIENT)
        write_volume(folder / f"{PATIENT}{v}.nii.gz", volume)
        model = prepare_model(volume, CAMERA, bank_size=8)
        of = range(v, count, volumes)
        for i, pose in zip(
            of, draw_poses(model.view, PoseRange((4,) * 3, (5,) * 3), len(of), np.random.default_rng(v)), strict=True
        ):
            write(
                folder / f"{PATIENT}-{i}.dcm",
                grey(render(model.pyramid.finest, pose[None], CAMERA)[0].numpy()),
                **HEADER,
            )
            rows.append({"case": f"P{i}", "volume": f"{PATIENT}{v}.nii.gz", "xray": f"{PATIENT}-{i}.dcm"})
            truth.append(pose)
    write_table(folder / "cases.csv", rows)
    return truth


def write_table(path: Path, rows: list[dict[str, str]]) -> Path:
    """Write rows, of which each may lack columns; the file."""
    with path.open("w", newline="", encoding="utf-8") as f:
        table = csv.DictWriter(f, list(dict.fromkeys(name for row in rows for name in row)), restval="")
        table.writeheader()
        table.writerows(rows)
    return path


def found(outcomes: list[CaseOutcome]) -> list[tuple]:
    """All of what was found but the time: case, verdict, numbers."""
    return [
        (
            outcome.case,
            outcome.state,
            outcome.reason,
            row.verdict,
            row.similarity,
            row.primary_deg,
            row.depth_mm,
            row.x_mm,
        )
        for outcome in outcomes
        for row in outcome.xrays
    ]


def workers() -> list[psutil.Process]:
    """The worker processes that this one has started."""
    return [p for p in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(_command(p))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
