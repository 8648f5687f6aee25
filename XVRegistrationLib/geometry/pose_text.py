"""A pose as text, to be copied and pasted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import check_rigid, rigid

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_ROUNDED = 2e-3
"""A rotation that is rounded to a few digits is no rotation by up to so much; the nearest one is taken."""


def pose_text(pose: ArrayLike) -> str:
    """A pose (4, 4) as JSON: a list of rows, one a line, that reads back exactly."""
    rows = [json.dumps([float(v) for v in row]) for row in np.asarray(pose, dtype=np.float64)]
    return "[" + ",\n ".join(rows) + "]"


def pose_of_text(text: str) -> NDArray[np.float64]:
    """The pose (4, 4), camera -> RAS, mm, of a text: JSON rows, a result's JSON with its "pose", or 16 numbers.

    The last is what Slicer's Transforms module copies. Raises InputError for everything else.
    """
    matrix = _matrix(text)
    if matrix is None:
        raise InputError(
            "The clipboard holds no pose: copy a 4x4 matrix as JSON rows or 16 numbers, or a result's JSON file."
        )
    if not np.isfinite(matrix).all() or not np.allclose(matrix[3], [0, 0, 0, 1]):
        return check_rigid(matrix, "pose that was pasted")
    u, size, v = np.linalg.svd(matrix[:3, :3])
    if np.abs(size - 1).max() > _ROUNDED or np.linalg.det(u @ v) < 0:
        return check_rigid(matrix, "pose that was pasted")
    exact = np.abs(matrix[:3, :3] @ matrix[:3, :3].T - np.eye(3)).max() < 1e-9
    return matrix if exact else rigid(u @ v, matrix[:3, 3])


def _matrix(text: str) -> NDArray[np.float64] | None:
    try:
        found: Any = json.loads(text)
        if isinstance(found, dict):
            found = found.get("pose")
    except (ValueError, RecursionError):
        found = text.replace(",", " ").replace(";", " ").split()
    try:
        numbers = np.array(found, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    if numbers.shape == (16,):
        return numbers.reshape(4, 4)
    return numbers if numbers.shape == (4, 4) else None
