"""Rigid transforms as 4x4 float64 matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def rotation_from_vector(rotation_vector: ArrayLike) -> NDArray[np.float64]:
    """Rotation matrices (..., 3, 3) of rotation vectors (..., 3) in radians, by Rodrigues' formula."""
    w = np.asarray(rotation_vector, dtype=np.float64)
    angle = np.linalg.norm(w, axis=-1)[..., None, None]
    cross = skew(w)
    # sin(a)/a and (1 - cos(a))/a^2 through sinc, which is finite and exact at zero.
    return np.eye(3) + np.sinc(angle / np.pi) * cross + 0.5 * np.sinc(angle / (2 * np.pi)) ** 2 * (cross @ cross)


def rotation_angle(rotation: ArrayLike) -> NDArray[np.float64]:
    """Angles (...) in radians of rotation matrices (..., 3, 3); accurate also near 0 and pi."""
    r = np.asarray(rotation, dtype=np.float64)
    axis = np.stack([r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]], axis=-1)
    return np.arctan2(np.linalg.norm(axis, axis=-1), np.trace(r, axis1=-2, axis2=-1) - 1.0)


def rotation_from_euler_zxy(degrees: ArrayLike) -> NDArray[np.float64]:
    """R = Rz Rx Ry (..., 3, 3) of angles (..., 3) in degrees, given in the order (about x, about y, about z)."""
    x, y, z = np.moveaxis(np.radians(np.asarray(degrees, dtype=np.float64)), -1, 0)
    zero = np.zeros_like(x)
    rx, ry, rz = (
        rotation_from_vector(np.stack(v, axis=-1)) for v in ((x, zero, zero), (zero, y, zero), (zero, zero, z))
    )
    return rz @ rx @ ry


def skew(vector: ArrayLike) -> NDArray[np.float64]:
    """Cross-product matrices (..., 3, 3) of vectors (..., 3): skew(a) @ b == cross(a, b)."""
    x, y, z = np.moveaxis(np.asarray(vector, dtype=np.float64), -1, 0)
    zero = np.zeros_like(x)
    rows = [[zero, -z, y], [z, zero, -x], [-y, x, zero]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def rigid(rotation: ArrayLike, translation: ArrayLike) -> NDArray[np.float64]:
    """Homogeneous matrices (..., 4, 4) of rotations (..., 3, 3) and translations (..., 3)."""
    r = np.asarray(rotation, dtype=np.float64)
    t = np.asarray(translation, dtype=np.float64)
    shape = np.broadcast_shapes(r.shape[:-2], t.shape[:-1])
    matrix = np.zeros((*shape, 4, 4))
    matrix[..., :3, :3] = r
    matrix[..., :3, 3] = t
    matrix[..., 3, 3] = 1.0
    return matrix


def translation(vector: ArrayLike) -> NDArray[np.float64]:
    """Homogeneous translation (..., 4, 4) by vectors (..., 3)."""
    return rigid(np.eye(3), vector)


def invert(matrix: ArrayLike) -> NDArray[np.float64]:
    """Inverses (..., 4, 4) of rigid matrices (..., 4, 4)."""
    m = np.asarray(matrix, dtype=np.float64)
    rotation_t = np.swapaxes(m[..., :3, :3], -1, -2)
    return rigid(rotation_t, -(rotation_t @ m[..., :3, 3, None])[..., 0])


def transform_points(matrix: ArrayLike, points: ArrayLike) -> NDArray[np.float64]:
    """Points (..., 3) mapped by one affine matrix (4, 4), in the matrix's target frame."""
    m = np.asarray(matrix, dtype=np.float64)
    return np.asarray(points, dtype=np.float64) @ m[:3, :3].T + m[:3, 3]


def increment(xi: ArrayLike, pivot: ArrayLike) -> NDArray[np.float64]:
    """Rigid motions (..., 4, 4): rotate about `pivot` (3,), mm, by xi[3:] rad, then shift by xi[:3] mm.

    Applied on the left of a pose, this is the increment of the registration: `x -> c + R(w) (x - c) + v`.
    """
    x = np.asarray(xi, dtype=np.float64)
    c = np.asarray(pivot, dtype=np.float64)
    rotation = rotation_from_vector(x[..., 3:])
    return rigid(rotation, c + x[..., :3] - rotation @ c)


def check_rigid(matrix: ArrayLike, what: str = "pose", tolerance: float = 1e-5) -> NDArray[np.float64]:
    """Return `matrix` as (4, 4) float64, or raise InputError that names `what` if it is not a proper rigid transform."""
    m = np.asarray(matrix, dtype=np.float64)
    if m.shape != (4, 4):
        raise InputError(f"The {what} must be a 4x4 matrix, not one of shape {m.shape}.")
    rotation = m[:3, :3]
    orthonormal = np.allclose(rotation @ rotation.T, np.eye(3), atol=tolerance)
    if not (np.isfinite(m).all() and orthonormal and np.linalg.det(rotation) > 0 and np.allclose(m[3], [0, 0, 0, 1])):
        raise InputError(f"The {what} is not a rigid transform (rotation with determinant +1, last row 0 0 0 1).")
    return m


def point_distance(estimated: ArrayLike, true: ArrayLike, points: ArrayLike) -> NDArray[np.float64]:
    """Mean over points (N, 3), RAS mm, of |T_est^-1 x - T_true^-1 x| for poses (..., 4, 4): an error (...) in mm.

    With the points of the mTRE's definition (100 farthest-point samples of a structure) this is the mTRE.
    """
    x = np.asarray(points, dtype=np.float64)
    a, b = invert(estimated), invert(true)
    difference = a - b
    moved = x @ np.swapaxes(difference[..., :3, :3], -1, -2) + difference[..., None, :3, 3]
    return np.linalg.norm(moved, axis=-1).mean(axis=-1)
