"""Poses from three landmarks: the minimal perspective-three-point problem.

Grunert's solution of 1841 in the notation of Haralick, Lee, Ottenberg and Noelle, "Review and Analysis of Solutions of the Three Point
Perspective Pose Estimation Problem", IJCV 13, 1994, for many triples at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.geometry.rigid import rigid

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def three_point_poses(points: ArrayLike, rays: ArrayLike) -> NDArray[np.float64]:
    """Poses (M, 4, 4), camera -> RAS, that may explain triples of points (T, 3, 3), RAS mm, seen along rays (T, 3, 3).

    Rays are vectors of any length in the camera frame. A triple has up to four exact solutions. Where noise has pushed two of
    them off the real axis, their common real part is taken, which is near both: these poses are candidates, to be
    compared with further landmarks and refined. Triples on a line give nothing.
    """
    world = np.asarray(points, dtype=np.float64).reshape(-1, 3, 3)
    unit = np.asarray(rays, dtype=np.float64).reshape(-1, 3, 3)
    unit = unit / np.linalg.norm(unit, axis=-1, keepdims=True)
    distances, triple = _distances(_squared_sides(world), _cosines(unit))
    return _absolute_orientation(world[triple], unit[triple] * distances[..., None])


def _squared_sides(world: NDArray[np.float64]) -> NDArray[np.float64]:
    """a^2, b^2, c^2 (T, 3): the sides opposite to the first, second and third point."""
    difference = world[:, [1, 0, 0]] - world[:, [2, 2, 1]]
    return (difference**2).sum(axis=-1)


def _cosines(unit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosines of alpha, beta, gamma (T, 3): the angles under which those sides are seen."""
    return (unit[:, [1, 0, 0]] * unit[:, [2, 2, 1]]).sum(axis=-1)


def _distances(
    squared: NDArray[np.float64], cosines: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Distances (M, 3) of the points from the source, mm, and the triple (M,) each solution belongs to."""
    cos_a, cos_b, cos_c = cosines.T[:, :, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        roots = _roots(_quartic(squared, cosines))
        b2 = squared[:, 1, None]
        q = (squared[:, 0, None] - squared[:, 2, None]) / b2
        # Second and third distance in units of the first are u and v.
        v = roots.real
        u = ((q - 1) * v**2 - 2 * q * cos_b * v + 1 + q) / (2 * (cos_c - v * cos_a))
        first = np.sqrt(b2 / (1 + v**2 - 2 * v * cos_b))
        found = np.stack([first, u * first, v * first], axis=-1)
        good = np.isfinite(found).all(axis=-1) & (found > 0).all(axis=-1)
    return found[good], np.nonzero(good)[0]


def _quartic(squared: NDArray[np.float64], cosines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients (T, 5), highest power first, of the equation for the third distance over the first; ibid., eq. (9)."""
    a2, b2, c2 = squared.T
    cos_a, cos_b, cos_c = cosines.T
    q, p, a, c = (a2 - c2) / b2, (a2 + c2) / b2, a2 / b2, c2 / b2
    return np.stack(
        [
            (q - 1) ** 2 - 4 * c * cos_a**2,
            4 * (q * (1 - q) * cos_b - (1 - p) * cos_a * cos_c + 2 * c * cos_a**2 * cos_b),
            2
            * (
                q**2
                - 1
                + 2 * q**2 * cos_b**2
                + 2 * (1 - c) * cos_a**2
                - 4 * p * cos_a * cos_b * cos_c
                + 2 * (1 - a) * cos_c**2
            ),
            4 * (-q * (1 + q) * cos_b + 2 * a * cos_c**2 * cos_b - (1 - p) * cos_a * cos_c),
            (1 + q) ** 2 - 4 * a * cos_c**2,
        ],
        axis=-1,
    )


def _roots(coefficients: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Roots (T, 4) of polynomials (T, 5), as eigenvalues of their companion matrices; NaN where the highest power is missing."""
    companion = np.zeros((len(coefficients), 4, 4))
    companion[:, 1:, :3] = np.eye(3)
    companion[:, 0] = -coefficients[:, 1:] / coefficients[:, :1]
    fine = np.isfinite(companion).all(axis=(1, 2))
    roots = np.full((len(coefficients), 4), np.nan, dtype=np.complex128)
    roots[fine] = np.linalg.eigvals(companion[fine])
    return roots


def _absolute_orientation(world: NDArray[np.float64], camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """Poses (M, 4, 4) that map camera points (M, 3, 3) onto RAS points (M, 3, 3) with the least squares of distances (Kabsch)."""
    world_mean, camera_mean = world.mean(axis=1, keepdims=True), camera.mean(axis=1, keepdims=True)
    u, _, vt = np.linalg.svd(np.swapaxes(world - world_mean, 1, 2) @ (camera - camera_mean))
    u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
    rotation = u @ vt
    return rigid(rotation, world_mean[:, 0] - (rotation @ np.swapaxes(camera_mean, 1, 2))[:, :, 0])
