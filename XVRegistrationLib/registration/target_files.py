"""Planned points from files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import read_text

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_targets(path: str) -> list[tuple[str, NDArray[np.float64]]]:
    """Names and points (3,), RAS mm, of a CSV file (name,r,a,s) or of Slicer's markups (.mrk.json); InputError if neither."""
    text = read_text(
        path,
        "a file of targets or results",
        instead="give the file of a result (NAME.json) or of targets (CSV, .mrk.json)",
    )
    try:
        found = _markups(json.loads(text)) if text.lstrip().startswith("{") else _table(text)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as e:
        raise InputError(
            f"{path} holds no targets: a table name,r,a,s or Slicer's markups (.mrk.json) is needed."
        ) from e
    if not all(np.isfinite(point).all() for _, point in found):
        raise InputError(f"{path} has a target whose position is not three numbers of mm.")
    return found


def _table(text: str) -> list[tuple[str, NDArray[np.float64]]]:
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines() if line.strip()]
    if [cell.lower() for cell in rows[0]] != ["name", "r", "a", "s"]:
        raise ValueError("no such header")
    return [(name, np.array([float(v) for v in (r, a, s)])) for name, r, a, s in rows[1:]]


def _markups(content: dict[str, Any]) -> list[tuple[str, NDArray[np.float64]]]:
    """Control points of all lists of a markups file, which says for each list whether it is in LPS or RAS."""
    found: list[tuple[str, NDArray[np.float64]]] = []
    for markup in content["markups"]:
        sign = np.array([1.0, 1.0, 1.0] if str(markup.get("coordinateSystem")) in ("RAS", "0") else [-1.0, -1.0, 1.0])
        found += [
            (str(point["label"]), sign * np.array(point["position"], dtype=np.float64).reshape(3))
            for point in markup["controlPoints"]
            if point.get("positionStatus", "defined") == "defined"
        ]
    return found
