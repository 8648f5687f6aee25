"""Bodies whose line integrals have a closed form: ellipsoids and boxes, their X-rays, and their voxels."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from XVRegistrationLib.geometry.camera import Intrinsics, image_to_camera


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """An ellipsoid of one density, 1/mm; `axes` (3, 3) holds the directions of its radii (3,), mm, as columns."""

    center: np.ndarray
    radii: np.ndarray
    density: float = 1.0
    axes: np.ndarray = field(default_factory=lambda: np.eye(3))

    def inside(self, points: np.ndarray) -> np.ndarray:
        """Which of the points (..., 3), RAS mm, it holds."""
        return (((points - self.center) @ self.axes / self.radii) ** 2).sum(axis=-1) < 1

    def chords(self, source: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Length (...), mm, that rays from `source` (3,) along unit vectors (..., 3) have in it: |p + t q| < 1."""
        p = (source - self.center) @ self.axes / self.radii
        q = directions @ self.axes / self.radii
        a, b, c = (q**2).sum(axis=-1), q @ p, p @ p - 1
        root = np.sqrt(np.maximum(b**2 - a * c, 0.0))
        # Only what lies before the source.
        return np.maximum((-b + root) / a, 0.0) - np.maximum((-b - root) / a, 0.0)


@dataclass(frozen=True, eq=False)
class Box:
    """A box of one density, 1/mm; `axes` (3, 3) holds the directions of its half sides (3,), mm, as columns."""

    center: np.ndarray
    halves: np.ndarray
    density: float = 1.0
    axes: np.ndarray = field(default_factory=lambda: np.eye(3))

    def inside(self, points: np.ndarray) -> np.ndarray:
        """Which of the points (..., 3), RAS mm, it holds."""
        return (np.abs((points - self.center) @ self.axes) < self.halves).all(axis=-1)

    def chords(self, source: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Length (...), mm, that rays from `source` (3,) along unit vectors (..., 3) have in it: between three slabs."""
        p = (source - self.center) @ self.axes
        q = directions @ self.axes
        q = np.where(q == 0, 1e-300, q)
        near, far = np.sort(np.stack([(-self.halves - p) / q, (self.halves - p) / q]), axis=0)
        return np.maximum(far.min(axis=-1) - np.maximum(near.max(axis=-1), 0.0), 0.0)


def line_integrals(bodies: list[Ellipsoid | Box], poses: np.ndarray, camera: Intrinsics) -> np.ndarray:
    """Line integrals (B, H, W) of bodies, which add up where they overlap, at poses (B, 4, 4)."""
    width, height = camera.size
    i, j = np.meshgrid(np.arange(width), np.arange(height))
    aims = np.stack([i, j, np.ones_like(i)], axis=-1) @ image_to_camera(camera)[:3][:, [0, 1, 3]].T
    directions = aims / np.linalg.norm(aims, axis=-1, keepdims=True)
    return np.stack(
        [sum(b.density * b.chords(t[:3, 3], directions @ t[:3, :3].T) for b in bodies) for t in np.asarray(poses)]
    )


def voxels(
    bodies: list[Ellipsoid | Box], shape: tuple[int, int, int], ijk_to_ras: np.ndarray, finer: int = 4
) -> np.ndarray:
    """Mean densities (K, J, I) float32 of the voxels, each told by `finer`^3 points: what a scanner makes of the bodies."""
    inner = (np.arange(finer) + 0.5) / finer - 0.5
    k, j, i = ((np.arange(n)[:, None] + inner).ravel() for n in shape)
    points = np.stack(np.meshgrid(i, j, k, indexing="ij"), axis=-1) @ ijk_to_ras[:3, :3].T + ijk_to_ras[:3, 3]
    fine = sum(b.density * b.inside(points) for b in bodies).T
    blocks = fine.reshape(shape[0], finer, shape[1], finer, shape[2], finer)
    return blocks.mean(axis=(1, 3, 5)).astype(np.float32)
