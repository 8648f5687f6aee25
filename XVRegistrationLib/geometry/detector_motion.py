"""Moving what an X-ray shows along the axes of its detector, as it is seen: to the right, down, towards the detector.

A motion is six numbers (right, down, depth, tilt, swing, turn): mm at the pivot's depth, and degrees about the image's
horizontal, its vertical, and the central ray, clockwise as the image is stored. A mirrored image's right is the camera's left.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.geometry.rigid import increment, invert, rotation_angle, transform_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

AXES = ("right", "down", "depth", "tilt", "swing", "turn")


def moved(pose: ArrayLike, motion: ArrayLike, pivot: ArrayLike, mirrored: bool = False) -> NDArray[np.float64]:
    """The pose (4, 4), camera -> RAS, mm, after what is seen was moved so (6,), turning about `pivot` (3,), RAS mm."""
    now = np.asarray(pose, dtype=np.float64)
    about = transform_points(invert(now), pivot)
    step = np.asarray(motion, dtype=np.float64) * _signs(mirrored)
    return now @ invert(increment(np.concatenate([step[:3], np.radians(step[3:])]), about))


def motion_between(
    reference: ArrayLike, pose: ArrayLike, pivot: ArrayLike, mirrored: bool = False
) -> NDArray[np.float64]:
    """The motion (6,) by which `moved` brings `reference` to `pose`; turns together less than 180 degrees."""
    there = invert(pose)
    relative = there @ np.asarray(reference, dtype=np.float64)
    shift = transform_points(there, pivot) - transform_points(invert(reference), pivot)
    return np.concatenate([shift, np.degrees(_vector(relative[:3, :3]))]) * _signs(mirrored)


def motions_since_first(
    poses: Sequence[ArrayLike | None], pivot: ArrayLike, mirrored: bool = False
) -> NDArray[np.float64]:
    """(n, 6) the motions from the first of several poses (4, 4) to each; not a number for None."""
    motions = np.full((len(poses), 6), np.nan)
    first = next((pose for pose in poses if pose is not None), None)
    for row, pose in zip(motions, poses, strict=True):
        if first is not None and pose is not None:
            row[:] = motion_between(first, pose, pivot, mirrored)
    return motions


def _signs(mirrored: bool) -> NDArray[np.float64]:
    # A reflection of x turns the sense of turns about y and z, which are pseudovectors.
    return np.array([-1.0, 1.0, 1.0, 1.0, -1.0, -1.0]) if mirrored else np.ones(6)


def _vector(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rotation vector (3,), rad, of a matrix (3, 3); near half a turn from its symmetric part."""
    angle = float(rotation_angle(rotation))
    r = rotation
    axis = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]]) / 2  # sin(angle) times the unit axis
    if angle < np.pi - 1e-4:
        return axis / np.sinc(angle / np.pi)
    outer = (r + r.T) / 2 + np.eye(3)  # 2 a a' at half a turn
    column = outer[:, int(np.argmax(np.diag(outer)))]
    unit = column / np.linalg.norm(column)
    return angle * (unit if unit @ axis >= 0 else -unit)
