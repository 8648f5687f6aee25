"""Several X-rays of one scene: the ray of a pixel, its line in another X-ray, and the point that several pixels show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import pixel_to_camera, project, projection_matrix
from XVRegistrationLib.geometry.rigid import check_rigid, transform_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics

_LEAST_ANGLE = 0.5
"""Degrees between rays below which a point on them has no depth: a pixel's error is then a hundred times as long in depth."""
_STEPS = 20
_IN_LINE = 1e-6  # mm between a ray and the other source


@dataclass(frozen=True, eq=False)
class Triangulation:
    """A point seen in V X-rays."""

    point: NDArray[np.float64]
    """(3,) RAS, mm."""
    distance_mm: NDArray[np.float64]
    """(V,) distance of the point from each pixel's ray."""
    residual_px: NDArray[np.float64]
    """(V,) distance of its projection from each pixel, stored px."""


def ray(pixel: ArrayLike, pose: ArrayLike, intrinsics: Intrinsics) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Source (3,), RAS mm, and unit direction (3,) in RAS of the ray that hits a stored pixel (2,)."""
    t = np.asarray(pose, dtype=np.float64)
    direction = t[:3, :3] @ pixel_to_camera(_pixel(pixel), intrinsics)
    return t[:3, 3].copy(), direction / np.linalg.norm(direction)


def epipolar_line(
    pixel: ArrayLike, pose_a: ArrayLike, intrinsics_a: Intrinsics, pose_b: ArrayLike, intrinsics_b: Intrinsics
) -> NDArray[np.float64] | None:
    """Where a thing at a stored pixel (2,) of X-ray a may be seen in X-ray b: a segment (2, 2) of stored px, from a's source on.

    It shows the ray from a's source to a's detector, as much of it as lies in front of b's source and within b's image
    (outer edges of its pixels). None where nothing of it does, or where it shrinks to a point: both sources in line.
    """
    source = np.asarray(pose_a, dtype=np.float64)[:3, 3]
    end = transform_points(pose_a, pixel_to_camera(_pixel(pixel), intrinsics_a))
    aside = np.cross(end - source, np.asarray(pose_b, dtype=np.float64)[:3, 3] - source)
    if np.linalg.norm(aside) <= _IN_LINE * np.linalg.norm(end - source):
        return None
    p = projection_matrix(pose_b, intrinsics_b)
    start = p @ np.append(source, 1.0)
    along = p @ np.append(end - source, 0.0)
    (width, height), eye = intrinsics_b.size, np.eye(3)
    # In homogeneous pixels (x, y, depth) every bound is a linear inequality along the ray.
    bounds = (
        eye[2],
        eye[0] + 0.5 * eye[2],
        (width - 0.5) * eye[2] - eye[0],
        eye[1] + 0.5 * eye[2],
        (height - 0.5) * eye[2] - eye[1],
    )
    first, last = 0.0, 1.0
    for bound in bounds:
        first, last = _clipped(first, last, float(bound @ start), float(bound @ along))
    if first >= last:
        return None
    ends = start + np.array([[first], [last]]) * along
    if (ends[:, 2] <= 0).any():
        return None
    segment: NDArray[np.float64] = ends[:, :2] / ends[:, 2:]
    return segment


def _clipped(first: float, last: float, value: float, slope: float) -> tuple[float, float]:
    """The part of the interval where value + slope t >= 0; an empty one where there is none."""
    if slope > 0:
        return max(first, -value / slope), last
    if slope < 0:
        return first, min(last, -value / slope)
    return (first, last) if value >= 0 else (1.0, 0.0)


def triangulate(pixels: ArrayLike, poses: Sequence[ArrayLike], intrinsics: Sequence[Intrinsics]) -> Triangulation:
    """The point that is seen at stored pixels (V, 2), one in each of V >= 2 X-rays, with least squares of its distances in px.

    That is the maximum likelihood for clicks of equal error in all X-rays. Raises InputError for rays that are parallel
    within half a degree, and for a point that would lie behind a source.
    """
    p = np.asarray(pixels, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] != 2 or not len(p) == len(poses) == len(intrinsics) >= 2:
        raise InputError(
            f"A point is found from one pixel in each of two or more X-rays: got {len(p)} pixels, {len(poses)} poses and "
            f"{len(intrinsics)} geometries."
        )
    checked = [check_rigid(pose, f"pose of X-ray {i + 1}") for i, pose in enumerate(poses)]
    rays = [ray(*one) for one in zip(p, checked, intrinsics, strict=True)]
    sources, directions = np.array([r[0] for r in rays]), np.array([r[1] for r in rays])
    _check_angle(directions)
    matrices = np.array([projection_matrix(*camera) for camera in zip(checked, intrinsics, strict=True)])
    point = _most_likely(_nearest(sources, directions), p, matrices)
    offset = point - sources
    ahead = (offset * directions).sum(axis=1)
    if (ahead <= 0).any():
        raise InputError(
            f"The rays of these pixels meet behind the source of X-ray {int(np.argmin(ahead)) + 1}: "
            "the pixels do not show the same point, or the poses do not belong together."
        )
    seen = np.array([project(point, *camera) for camera in zip(checked, intrinsics, strict=True)])
    distance = np.linalg.norm(offset - ahead[:, None] * directions, axis=1)
    return Triangulation(point, distance, np.linalg.norm(seen - p, axis=1))


def _check_angle(directions: NDArray[np.float64]) -> None:
    sines = [float(np.linalg.norm(np.cross(a, b))) for i, a in enumerate(directions) for b in directions[:i]]
    widest = float(np.degrees(np.arcsin(min(1.0, max(sines)))))
    if widest < _LEAST_ANGLE:
        raise InputError(
            f"The rays of these pixels are {widest:.2f} degrees from parallel, which leaves the depth open; "
            "pick the point in an X-ray from another direction."
        )


def _nearest(sources: NDArray[np.float64], directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """The point (3,) with the least squares of distances from rays (V, 3), (V, 3): where the search starts."""
    across = np.eye(3) - directions[:, :, None] * directions[:, None, :]
    nearest: NDArray[np.float64] = np.linalg.solve(across.sum(axis=0), (across @ sources[:, :, None]).sum(axis=0)[:, 0])
    return nearest


def _most_likely(
    point: NDArray[np.float64], pixels: NDArray[np.float64], matrices: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The point (3,) with the least squared distances in px, by Gauss-Newton from one nearby, never worse than it."""
    cost = _cost(point, pixels, matrices)
    for _ in range(_STEPS):
        q = matrices @ np.append(point, 1.0)
        residual = q[:, :2] / q[:, 2:] - pixels
        slope = (matrices[:, :2, :3] - (q[:, :2] / q[:, 2:])[:, :, None] * matrices[:, 2:, :3]) / q[:, 2:, None]
        step = np.linalg.lstsq(slope.reshape(-1, 3), -residual.ravel(), rcond=None)[0]
        proposed = point + step
        new = _cost(proposed, pixels, matrices)
        if not new < cost:
            break
        point, cost = proposed, new
    return point


def _cost(point: NDArray[np.float64], pixels: NDArray[np.float64], matrices: NDArray[np.float64]) -> float:
    q = matrices @ np.append(point, 1.0)
    return float(((q[:, :2] / q[:, 2:] - pixels) ** 2).sum())


def _pixel(pixel: ArrayLike) -> NDArray[np.float64]:
    p = np.asarray(pixel, dtype=np.float64)
    if p.shape != (2,) or not np.isfinite(p).all():
        raise InputError(f"A pixel is a column and a row, not {pixel!r}.")
    return p
