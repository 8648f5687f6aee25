"""The files that say where a registration starts, and what of an X-ray counts: landmarks, poses, relations of cameras, and masks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import read_text
from XVRegistrationLib.geometry.rigid import check_rigid
from XVRegistrationLib.imaging.markers import ignored
from XVRegistrationLib.imaging.usable import usable
from XVRegistrationLib.imaging.xray_files import read_xray_parts
from XVRegistrationLib.registration.landmarks import pose_from_landmarks
from XVRegistrationLib.registration.several import checked_relations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.xray import Xray
    from XVRegistrationLib.registration.landmarks import LandmarkPose

LANDMARK_COLUMNS = ("r", "a", "s", "column", "row")


def read_landmarks(path: str, xray: Xray) -> LandmarkPose:
    """The pose of an X-ray by a CSV file of landmarks: points in mm RAS, and the stored pixels where they were marked.

    Raises InputError, with the line, for a file that holds anything else, and for landmarks that give no pose.
    """
    wanted = ",".join(LANDMARK_COLUMNS)
    text = read_text(path, "a file of landmarks")
    lines = [[cell.strip() for cell in line.split(",")] for line in text.splitlines()]
    header = [cell.lower() for cell in lines[0]] if lines else []
    if tuple(header) != LANDMARK_COLUMNS:
        raise InputError(f"{path}, line 1: the header must be {wanted}, not {','.join(header) or 'empty'}.")
    rows = [_numbers(path, n, cells) for n, cells in enumerate(lines[1:], 2) if any(cells)]
    values = np.array(rows, dtype=np.float64).reshape(-1, len(LANDMARK_COLUMNS))
    try:
        return pose_from_landmarks(values[:, :3], values[:, 3:], xray.intrinsics)
    except InputError as e:
        raise InputError(f"{path}: {e}") from e


def _numbers(path: str, line: int, cells: list[str]) -> list[float]:
    if len(cells) != len(LANDMARK_COLUMNS):
        raise InputError(
            f"{path}, line {line}: {len(cells)} values where {','.join(LANDMARK_COLUMNS)} are {len(LANDMARK_COLUMNS)}."
        )
    numbers = []
    for name, cell in zip(LANDMARK_COLUMNS, cells, strict=True):
        try:
            number = float(cell)
        except ValueError:
            number = np.nan
        if not np.isfinite(number):
            raise InputError(f"{path}, line {line}: {name} is {cell!r}, which is not a number.")
        numbers.append(number)
    return numbers


def read_start(path: str) -> NDArray[np.float64]:
    """The pose (4, 4), camera -> RAS, of an earlier result or of {"pose": 4x4}; InputError where there is none."""
    return _rigid(_field(path, "pose"), "pose", path)


def read_relations(path: str, xrays: Sequence[Xray]) -> list[NDArray[np.float64]]:
    """The relations (4, 4) of the X-rays' cameras to the first one's, of {"relative": [4x4, ...]}; InputError if wrong."""
    found = _field(path, "relative")
    if not isinstance(found, list):
        raise InputError(f'{path}: "relative" must be a list of 4x4 matrices, one for each X-ray.')
    matrices = [_rigid(m, f"relation of X-ray {i}", path) for i, m in enumerate(found, 1)]
    try:
        return checked_relations(xrays, matrices)
    except InputError as e:
        raise InputError(f"{path}: {e}") from e


def read_masks(
    path: str | None, xrays: Sequence[Xray], rectangles: Sequence[Sequence[float]] = ()
) -> list[NDArray[np.bool_] | None]:
    """Which pixels (H, W) of each X-ray of a file count, by an image of it and without rectangles; None if nothing says so.

    Raises InputError for an image of another size, and where nothing would be left.
    """
    drawn = None if path is None else read_xray_parts(path).pixels != 0
    masks: list[NDArray[np.bool_] | None] = []
    for xray in xrays:
        if drawn is not None:
            usable(xray, drawn)  # before the rectangles, which are of the X-ray's size
        counts = ignored(xray.pixels.shape, rectangles, xray.name)
        mask = drawn if counts is None else counts if drawn is None else drawn & counts
        if counts is not None:
            usable(xray, mask)
        masks.append(mask)
    return masks


def _field(path: str, name: str) -> Any:
    try:
        content = json.loads(read_text(path, "a file of poses"))
    except ValueError as e:
        if isinstance(e, InputError):
            raise
        raise InputError(f"{path} is not a JSON file: {e}.") from e
    if not isinstance(content, dict) or name not in content:
        raise InputError(f'{path} has no field "{name}".')
    return content[name]


def _rigid(value: Any, what: str, path: str) -> NDArray[np.float64]:
    try:
        matrix = np.array(value, dtype=np.float64)
    except (TypeError, ValueError) as e:
        raise InputError(f"{path}: the {what} must be a 4x4 matrix of numbers.") from e
    try:
        return check_rigid(matrix, what)
    except InputError as e:
        raise InputError(f"{path}: {e}") from e
