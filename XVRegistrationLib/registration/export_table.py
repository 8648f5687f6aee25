"""Registrations as one table (CSV) and one JSON file."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import replacing, write_json
from XVRegistrationLib.geometry.camera import project, projection_matrix
from XVRegistrationLib.geometry.conventions import ras_to_lps
from XVRegistrationLib.registration.review import Review
from XVRegistrationLib.registration.uncertainty import target_uncertainty

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from XVRegistrationLib.registration.result import Registration

    Target = tuple[str, NDArray[np.float64]]
    """Name and point (3,), RAS mm."""


def write_tables(
    folder: Path, found: Sequence[Registration], targets: Sequence[Target], reviews: Sequence[Review] = ()
) -> list[Path]:
    """Write `registrations.json` and `registrations.csv`, an entry or row for each X-ray; return their paths.

    `reviews` are what was decided on each, in their order; without them all are open.
    """
    decided = reviews or [Review()] * len(found)
    records = [
        {**record(registration, targets), "review": review.to_dict()}
        for registration, review in zip(found, decided, strict=True)
    ]
    rows = [_row(registration, entry) for registration, entry in zip(found, records, strict=True)]
    paths = [folder / "registrations.json", folder / "registrations.csv"]
    write_json(paths[0], records)
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    with replacing(paths[1]) as temporary:
        temporary.write_text(text.getvalue(), "utf-8", newline="")
    return paths


def record(found: Registration, targets: Sequence[Target]) -> dict[str, Any]:
    """JSON-serialisable: the registration, its matrices, and where each target falls (null: behind the source).

    A target has its stored pixel and, where the registration states its uncertainty, the half axes of its 95 % ellipse
    in px and of its interval along the beam in mm.
    """
    placed = []
    for name, point in targets:
        pixel = project(point, found.pose, found.intrinsics)
        seen = bool(np.isfinite(pixel).all())
        entry: dict[str, Any] = {"name": name, "ras": point.tolist(), "pixel": pixel.tolist() if seen else None}
        if seen and found.uncertainty is not None:
            try:
                spread = target_uncertainty(found, point)
                axes, depth = spread.semi_axes[0], spread.depth_mm[0]
            except InputError:
                axes, depth = np.array([np.nan]), np.nan
            if np.isfinite([*axes, depth]).all():
                entry |= {"ellipse_95_px": axes.tolist(), "depth_95_mm": float(depth)}
        placed.append(entry)
    p = projection_matrix(found.pose, found.intrinsics)
    return {
        **found.to_dict(),
        "pose_lps": ras_to_lps(found.pose).tolist(),
        "projection_ras": p.tolist(),
        "projection_lps": (p @ np.diag([-1.0, -1.0, 1.0, 1.0])).tolist(),
        "pixel_convention": "stored column and row, centres at integers from 0",
        "targets": placed,
    }


def _row(found: Registration, entry: dict[str, Any]) -> dict[str, Any]:
    camera = found.intrinsics
    row: dict[str, Any] = {
        "xray": _safe(found.name),
        "verdict": found.verdict,
        "review": entry["review"]["decision"],
        "note": _safe(entry["review"]["note"]),
        "similarity": found.similarity,
        "sdd_mm": camera.sdd,
        "spacing_columns_mm": camera.spacing[0],
        "spacing_rows_mm": camera.spacing[1],
        "principal_column_px": camera.principal_point[0],
        "principal_row_px": camera.principal_point[1],
        "width_px": camera.size[0],
        "height_px": camera.size[1],
        "mirrored": camera.mirrored,
    }
    row |= {f"pose_ras_{i}{j}": float(found.pose[i, j]) for i in range(3) for j in range(4)}
    names = _told_apart([_safe(target["name"]) for target in entry["targets"]])
    for name, target in zip(names, entry["targets"], strict=True):
        pixel = target["pixel"] or ("", "")
        row |= {f"{name} column": pixel[0], f"{name} row": pixel[1]}
    return row


def _told_apart(names: Sequence[str]) -> list[str]:
    """Names of which several may be alike, these with a number: columns of one name would be one."""
    found: list[str] = []
    for name in names:
        candidates = (name if n == 1 else f"{name} {n}" for n in range(1, len(names) + 2))
        found.append(next(candidate for candidate in candidates if candidate not in found))
    return found


def _safe(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
