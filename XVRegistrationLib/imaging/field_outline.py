"""The convex field that blades, an iris or an intensifier's rim leave open, as an outline."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST_FIELD = 0.02
_STRAIGHT = 0.7  # of an outline that runs in no more than eight directions, if it is no circle
_DIRECTIONS, _WINDOW = 8, 5.0  # degrees
_ROUND = 0.012  # of the image's side: a circle's points lie so close to it
_LEAST_STRETCH = 0.6  # squared: of the circle of an intensifier, where pixels are not square
_LEAST_COVERED = 0.01  # of the image
_FILLED = 0.6  # of its hull, at least, a lit region fills


class Field:
    """The convex hull of a lit region: half-planes A (n, 2) x <= b (n,) of points (row, column)."""

    def __init__(
        self,
        normals: NDArray[np.float64],
        offsets: NDArray[np.float64],
        corners: NDArray[np.float64],
        shape: tuple[int, ...],
    ) -> None:
        self._normals, self._offsets, self._corners, self._shape = normals, offsets, corners, shape

    @staticmethod
    def of(lit: NDArray[np.bool_]) -> Field | None:
        """The hull of the largest lit region; None where it is none, all, or fills its hull badly."""
        from scipy.ndimage import label
        from scipy.spatial import ConvexHull, QhullError

        if not _LEAST_FIELD <= lit.mean() <= 1 - _LEAST_COVERED:
            return None
        regions, _ = label(lit)
        sizes = np.bincount(regions.ravel())
        sizes[0] = 0
        if sizes.max() < _LEAST_FIELD * lit.size:
            return None
        largest = regions == sizes.argmax()
        rows = np.flatnonzero(largest.any(axis=1))
        ends = [(r, c) for r in rows for c in np.flatnonzero(largest[r])[[0, -1]]]
        try:
            hull = ConvexHull(np.array(ends, dtype=np.float64))
        except QhullError:  # a line
            return None
        field = Field(hull.equations[:, :2], -hull.equations[:, 2], hull.points[hull.vertices], lit.shape)
        filled = largest.sum() / max(1, (~field.beyond(0.0)).sum())
        return field if filled >= _FILLED else None

    def beyond(self, distance: float) -> NDArray[np.bool_]:
        """(H, W) pixels more than `distance` px outside of the field's edge; negative counts inwards.

        Where the image ends there is no edge: the field goes on.
        """
        return np.asarray(self._open_distance > distance)

    @cached_property
    def _open_distance(self) -> NDArray[np.float32]:
        """Distance (H, W) from the edges that lie within the image; from all if none does."""
        cut = self._cut_by_the_image()
        left = ~cut if cut.any() else np.ones(len(cut), dtype=bool)
        rows, columns = (np.arange(n, dtype=np.float32) for n in self._shape)
        distance = np.full(self._shape, -np.inf, dtype=np.float32)
        for (a, b), offset in zip(self._normals[left], self._offsets[left], strict=True):
            np.maximum(
                distance, np.float32(a) * rows[:, None] + (np.float32(b) * columns - np.float32(offset)), out=distance
            )
        return distance

    def _cut_by_the_image(self) -> NDArray[np.bool_]:
        """(n,) half-planes that end the field where the image does."""
        ends = {(-1, 0): 0.0, (1, 0): self._shape[0] - 1.0, (0, -1): 0.0, (0, 1): self._shape[1] - 1.0}
        cut = np.zeros(len(self._offsets), dtype=bool)
        for normal, offset in ends.items():
            cut |= (np.abs(self._normals - normal).max(axis=1) < 1e-3) & (np.abs(self._offsets - offset) < 1.5)
        return cut

    def outline(self, margin: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Points (n, 2), 1 px apart, on the field's edge no nearer than `margin` px to the image's, and outward normals (n, 2)."""
        points, normals = [], []
        following = np.roll(self._corners, -1, axis=0)
        for start, end in zip(self._corners, following, strict=True):
            length = float(np.hypot(*(end - start)))
            along = (np.arange(max(1, round(length))) + 0.5) / max(1, round(length))
            points.append(start + along[:, None] * (end - start))
            direction = (end - start) / max(length, 1e-9)
            normal = np.array([direction[1], -direction[0]])
            outwards = normal if normal @ (start - self._corners.mean(axis=0)) > 0 else -normal
            normals.append(np.broadcast_to(outwards, points[-1].shape))
        every, outward = np.concatenate(points), np.concatenate(normals)
        within = ((every >= margin) & (every <= np.array(self._shape) - 1 - margin)).all(axis=1)
        return every[within], outward[within]

    def is_cut_by_blades(
        self, outline: NDArray[np.float64], normals: NDArray[np.float64], least_stretch: float = _LEAST_STRETCH
    ) -> bool:
        """Whether an outline is as long as a blade, and made of few straight edges or one circle.

        The circle may be stretched by up to the square root of `least_stretch`, as where pixels are not square.
        """
        if len(outline) < 0.2 * min(self._shape):
            return False
        angles = np.rad2deg(np.arctan2(normals[:, 0], normals[:, 1])) % 360
        left = np.bincount(np.round(angles).astype(int) % 360, minlength=360).astype(float)
        straight = 0.0
        reach = int(_WINDOW)
        for _ in range(_DIRECTIONS):
            near = np.sum([np.roll(left, s) for s in range(-reach, reach + 1)], axis=0)
            best = int(np.argmax(near))
            straight += float(near[best])
            left[np.arange(best - reach, best + reach + 1) % 360] = 0
        return straight >= _STRAIGHT * len(outline) or self._is_round(outline, angles, least_stretch)

    def _is_round(self, outline: NDArray[np.float64], angles: NDArray[np.float64], least_stretch: float) -> bool:
        """Whether the outline lies on one circle (stretched, where pixels are not square), and shows a third of it."""
        if len(np.unique(np.round(angles / 10))) < 12:
            return False
        # Kasa's fit of r^2 + q c^2 = a r + b c + d.
        r, c = outline.T - np.array(self._shape)[:, None] / 2
        q, a, b, d = np.linalg.lstsq(np.column_stack([-(c**2), r, c, np.ones(len(r))]), r**2, rcond=None)[0]
        if not least_stretch <= q <= 1 / least_stretch:
            return False
        radius = float(np.sqrt(max(d + a * a / 4 + b * b / (4 * q), 0.0)))
        off = np.abs(np.hypot(r - a / 2, np.sqrt(q) * (c - b / (2 * q))) - radius)
        return bool(np.percentile(off, 95) <= max(1.0, _ROUND * min(self._shape)))
