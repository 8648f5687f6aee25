"""Errors of a pose against a reference, each with its definition, and the uncertainty of a success rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.geometry.rigid import invert, point_distance, rotation_angle, transform_points

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics

_CANDIDATES = 20_000


def farthest_points(points: ArrayLike, n: int = 100, seed: int = 0) -> NDArray[np.float64]:
    """(min(n, N), 3) of the points (N, 3), mm, spread out: each is the farthest from those before it.

    More than 20 000 points are first thinned at random (by `seed`), which keeps the extremes to within a voxel or two.
    """
    candidates = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    if len(candidates) == 0:
        raise ValueError("No points to choose from: the structure has no voxels.")
    if len(candidates) > _CANDIDATES:
        chosen = np.random.default_rng(seed).choice(len(candidates), _CANDIDATES, replace=False)
        candidates = candidates[np.sort(chosen)]
    n = min(n, len(candidates))
    # Starting at the point farthest from the centroid makes the choice independent of the order of the voxels.
    picked = [int(np.argmax(((candidates - candidates.mean(axis=0)) ** 2).sum(axis=1)))]
    distance = ((candidates - candidates[picked[0]]) ** 2).sum(axis=1)
    while len(picked) < n:
        picked.append(int(np.argmax(distance)))
        np.minimum(distance, ((candidates - candidates[picked[-1]]) ** 2).sum(axis=1), out=distance)
    return candidates[picked]


def mtre(estimated_pose: ArrayLike, true_pose: ArrayLike, points: ArrayLike) -> float:
    """Mean target registration error, mm: mean over points (N, 3) of |T_est^-1 x - T_true^-1 x|."""
    return float(point_distance(estimated_pose, true_pose, points))


def mpd(estimated_pose: ArrayLike, true_pose: ArrayLike, intrinsics: Intrinsics, points: ArrayLike) -> float:
    """Mean projection distance, mm on the detector, between where points (N, 3) appear at the two poses.

    Infinite if a point does not lie in front of the source at either pose.
    """
    difference = project(points, estimated_pose, intrinsics) - project(points, true_pose, intrinsics)
    distance = np.linalg.norm(difference * intrinsics.spacing, axis=-1).mean()
    return float(distance) if np.isfinite(distance) else float("inf")


@dataclass(frozen=True)
class PoseError:
    """What the estimated pose gets wrong, seen from the true camera."""

    rotation_deg: float
    """Angle of the rotation between the two poses."""
    in_plane_mm: float
    """Mean shift of the points parallel to the detector."""
    depth_mm: float
    """Mean shift of the points along the camera's z axis; positive: taken to be farther from the source."""


def pose_error(estimated_pose: ArrayLike, true_pose: ArrayLike, points: ArrayLike) -> PoseError:
    """Rotation error in degrees, and the points' (N, 3) mean shift in mm, in the true camera's frame, in-plane and in depth."""
    estimated, true = invert(estimated_pose), invert(true_pose)
    shift = (transform_points(estimated, points) - transform_points(true, points)).reshape(-1, 3).mean(axis=0)
    angle = rotation_angle(estimated[:3, :3] @ true[:3, :3].T)
    return PoseError(float(np.degrees(angle)), float(np.hypot(shift[0], shift[1])), float(shift[2]))


def wilson_interval(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Bounds of the success rate (0..1) that `successes` of `n` allow; 95 % for z = 1.96 (Wilson 1927)."""
    if not 0 <= successes <= n:
        raise ValueError(f"There cannot be {successes} successes in {n} trials.")
    if n == 0:
        return 0.0, 1.0
    rate = successes / n
    middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))
