"""Where to put the 3D view's camera so that X-rays and patient are all seen, and X-rays from their front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_UP = np.array([0.0, 0.0, 1.0])
_ELEVATION = np.radians(20.0)
# Cosine between viewing direction and X-ray that is best: straight on, the patient would hide the X-ray.
_BEST_COSINE = 0.75
_MARGIN = 1.06


@dataclass(frozen=True, eq=False)
class CameraPlacement:
    """A perspective camera with superior up."""

    position: NDArray[np.float64]
    """(3,) RAS mm."""
    focal_point: NDArray[np.float64]
    """(3,) RAS mm."""
    view_up: NDArray[np.float64]
    """(3,) RAS."""


def direction_facing(detector_normals: ArrayLike) -> NDArray[np.float64]:
    """Unit direction (3,), RAS, from the scene to a viewer who sees every X-ray's front at a slant, from above.

    `detector_normals` (N, 3) point from the detectors to the sources. Of equally good directions the most anterior wins.
    """
    normals = np.asarray(detector_normals, dtype=np.float64).reshape(-1, 3)
    azimuth = np.radians(np.arange(0.0, 360.0, 5.0))
    horizontal = np.cos(_ELEVATION) * np.stack([np.cos(azimuth), np.sin(azimuth)], axis=-1)
    candidates = np.column_stack([horizontal, np.full(len(azimuth), np.sin(_ELEVATION))])
    frontal = -np.abs(candidates @ normals.T - _BEST_COSINE).max(axis=1, initial=0.0)
    return candidates[np.argmax(frontal + 0.02 * candidates[:, 1])]


def placement_seeing(
    points: ArrayLike, direction: ArrayLike, view_angle_deg: float, size: tuple[int, int]
) -> CameraPlacement:
    """The nearest camera in a direction (3,) from which all points (N, 3), RAS mm, fit a view of `size`, px."""
    back = np.asarray(direction, dtype=np.float64) / np.linalg.norm(direction)
    right = np.cross(_UP if abs(back @ _UP) < 0.99 else np.array([0.0, 1.0, 0.0]), back)
    right /= np.linalg.norm(right)
    up = np.cross(back, right)
    axes = np.stack([right, up, back])
    x, y, z = (np.asarray(points, dtype=np.float64) @ axes.T).T
    slope_y = np.tan(np.radians(view_angle_deg) / 2) / _MARGIN
    slope_x = slope_y * size[0] / size[1]
    # Two opposite sides of the view pyramid touch the points p and q where x_p / s + z_p and -x_q / s + z_q are largest.
    (near_right, near_left), (near_up, near_down) = (
        ((c / s + z).max(), (-c / s + z).max()) for c, s in ((x, slope_x), (y, slope_y))
    )
    distance = max(near_right + near_left, near_up + near_down) / 2
    center = [_centered(x, distance - z), _centered(y, distance - z)]
    return CameraPlacement(np.array([*center, distance]) @ axes, np.array([*center, z.mean()]) @ axes, up)


def _centered(offsets: NDArray[np.float64], depths: NDArray[np.float64]) -> float:
    """Where the axis must run, mm, so that the outermost points (N,) at these depths are seen equally far from it."""
    low, high = float(offsets.min()), float(offsets.max())
    for _ in range(50):
        middle = (low + high) / 2
        seen = (offsets - middle) / depths
        low, high = (middle, high) if seen.max() > -seen.min() else (low, middle)
    return (low + high) / 2
