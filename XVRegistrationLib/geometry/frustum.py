"""The C-arm's frustum: source and detector corners, as points, lines and faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.geometry.camera import pixel_to_camera

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics


@dataclass(frozen=True, eq=False)
class Frustum:
    """A pyramid from the source to the detector, in the camera frame."""

    points: NDArray[np.float64]
    """(5, 3) mm: the source, then the detector's corners in the order of the image's outline."""
    lines: tuple[tuple[int, ...], ...]
    """Polylines as point indices: four rays and the detector's outline."""
    faces: tuple[tuple[int, ...], ...]
    """Polygons as point indices: the four sides."""


def frustum(intrinsics: Intrinsics) -> Frustum:
    """Frustum of a camera, in mm in the camera frame; corners are the outer edges of the corner pixels."""
    width, height = intrinsics.size
    left, right, top, bottom = -0.5, width - 0.5, -0.5, height - 0.5
    corners = pixel_to_camera([[left, top], [right, top], [right, bottom], [left, bottom]], intrinsics)
    return Frustum(
        points=np.vstack([np.zeros(3), corners]),
        lines=((0, 1), (0, 2), (0, 3), (0, 4), (1, 2, 3, 4, 1)),
        faces=((0, 1, 2), (0, 2, 3), (0, 3, 4), (0, 4, 1)),
    )
