"""Where a target may be, given what an image leaves open about its pose: ellipses on the X-ray, intervals in depth.

To first order a point x in RAS lies, in the camera's frame, at T^-1 x - R' (v + w x (x - c)) for an increment xi = (v, w) about
the pivot c, so that its covariance there is A C A' with A = -R' [I, -[x - c]x]. Only numpy is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.geometry.rigid import invert, skew, transform_points

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.registration.result import PoseUncertainty, Registration

_TWO_AXES_95 = np.sqrt(5.991)  # chi-squared of two degrees of freedom
_ONE_AXIS_95 = 1.96
REACH_MM = 50.0
"""From the pivot: where it is looked at how far a pose moves, and how sure it is."""


@dataclass(frozen=True, eq=False)
class TargetUncertainty:
    """95 % regions of N targets."""

    pixels: NDArray[np.float64]
    """(N, 2) where the targets appear: stored (column, row); NaN for one that is not in front of the source."""
    semi_axes: NDArray[np.float64]
    """(N, 2) half axes of the ellipses, stored px, the longer first."""
    angle_deg: NDArray[np.float64]
    """(N,) of the longer axis, from +column towards +row."""
    in_plane_mm: NDArray[np.float64]
    """(N,) longer half axis in the target's own plane, parallel to the detector, mm."""
    depth_mm: NDArray[np.float64]
    """(N,) half width of the interval along the beam, mm."""


def target_uncertainty(result: Registration, points: ArrayLike) -> TargetUncertainty:
    """The 95 % regions of points (N, 3), RAS mm; InputError for a registration that says nothing about them."""
    if result.uncertainty is None:
        raise InputError(f"The registration of {result.name} states no uncertainty; register it again.")
    x = np.atleast_2d(np.asarray(points, dtype=np.float64))
    camera = result.intrinsics
    inside = transform_points(invert(result.pose), x)
    spread = result.uncertainty
    covariance = camera_covariance(spread.covariance, spread.pivot, result.pose, x)
    # With another scale the pose is another one in depth, at which everything appears where it does now.
    by_scale = camera_covariance(spread.scale, spread.pivot, result.pose, x)
    dx, dy = camera.spacing
    sign = -1.0 if camera.mirrored else 1.0
    depth = np.where(inside[:, 2] > 0, inside[:, 2], np.nan)
    # Stored pixel of (X, Y, Z): sdd / dx * X / Z, and its derivative.
    by_x = np.zeros((len(x), 2, 3))
    by_x[:, 0, 0] = sign * camera.sdd / dx / depth
    by_x[:, 1, 1] = camera.sdd / dy / depth
    by_x[:, 0, 2] = -by_x[:, 0, 0] * inside[:, 0] / depth
    by_x[:, 1, 2] = -by_x[:, 1, 1] * inside[:, 1] / depth
    on_image = by_x @ covariance @ np.swapaxes(by_x, 1, 2)
    semi_axes, angle = _ellipses(on_image)
    in_mm = np.array([[sign * dx, 0.0], [0.0, dy]]) * (depth / camera.sdd)[:, None, None]
    in_plane, _ = _ellipses(in_mm @ on_image @ np.swapaxes(in_mm, 1, 2))
    return TargetUncertainty(
        project(x, result.pose, camera),
        semi_axes,
        np.degrees(angle),
        in_plane[:, 0],
        _ONE_AXIS_95 * np.sqrt(covariance[:, 2, 2] + by_scale[:, 2, 2]),
    )


def ellipse_points(uncertainty: TargetUncertainty, i: int, n: int = 64) -> NDArray[np.float64]:
    """Outline (n, 2) of the i-th ellipse, stored px."""
    t = np.linspace(0, 2 * np.pi, n, endpoint=False)
    a, b = uncertainty.semi_axes[i]
    angle = np.radians(uncertainty.angle_deg[i])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    outline: NDArray[np.float64] = uncertainty.pixels[i] + np.stack([a * np.cos(t), b * np.sin(t)], axis=1) @ turn.T
    return outline


def camera_covariance(
    covariance: NDArray[np.float64], pivot: NDArray[np.float64], pose: NDArray[np.float64], points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Covariances (N, 3, 3), mm^2, in the camera's frame of points (N, 3), RAS mm, for one (6, 6) of increments about `pivot`."""
    into_camera = pose[:3, :3].T
    move = np.zeros((len(points), 3, 6))
    move[:, :, :3] = -into_camera
    move[:, :, 3:] = into_camera @ skew(points - pivot)
    of_points: NDArray[np.float64] = move @ covariance @ np.swapaxes(move, 1, 2)
    return of_points


def around(pivot: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (6, 3) at `REACH_MM` from a pivot (3,), RAS mm, along the axes."""
    points: NDArray[np.float64] = pivot + REACH_MM * np.concatenate([np.eye(3), -np.eye(3)])
    return points


def weakest_freedom(uncertainty: PoseUncertainty, pose: NDArray[np.float64]) -> str:
    """The camera's degree of freedom that moves a point at `REACH_MM` from the pivot most, with its 95 % half width, in words."""
    turn = np.kron(np.eye(2), pose[:3, :3].T)
    sd = np.sqrt(np.maximum(np.diag(turn @ (uncertainty.covariance + uncertainty.scale) @ turn.T), 0.0))
    names = (
        "the shift along the image's rows",
        "the shift along its columns",
        "depth along the beam",
        "the tilt about the image's horizontal",
        "the turn about its vertical",
        "the spin in the image's plane",
    )
    worst = int(np.argmax(sd * np.array([1, 1, 1, REACH_MM, REACH_MM, REACH_MM])))
    half = _ONE_AXIS_95 * (sd[worst] if worst < 3 else np.degrees(sd[worst]))
    return f"{names[worst]}: +-{half:.1f} {'mm' if worst < 3 else 'degrees'} (95 %)"


def _ellipses(covariance: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Half axes (N, 2), the longer first, and angles (N,) in radians of the 95 % ellipses of covariances (N, 2, 2)."""
    finite: NDArray[np.bool_] = np.asarray(np.isfinite(covariance).all(axis=(1, 2)))
    values, vectors = np.linalg.eigh(np.where(finite[:, None, None], covariance, np.eye(2)))
    axes = _TWO_AXES_95 * np.sqrt(np.maximum(values[:, ::-1], 0.0))
    angle = np.arctan2(vectors[:, 1, 1], vectors[:, 0, 1])
    axes[~finite], angle[~finite] = np.nan, np.nan
    return axes, angle
