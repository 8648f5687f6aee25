"""Poses that are taken for one another: from the other side of the patient, and with the patient's left and right exchanged.

With M the reflection of RAS through a plane and F that of the camera through its y-z plane, the image of a volume V from a pose T is the
left-right flip of the image of the reflected volume from M T F, which is a proper pose again. A patient is about his own reflection
through the sagittal plane.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.geometry.rigid import invert, rigid

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

SAGITTAL = (1.0, 0.0, 0.0)
"""Normal of the sagittal plane in RAS."""
_HALF_TURN_ABOUT_Y = np.diag([-1.0, 1.0, -1.0])
_FLIP_X = np.diag([-1.0, 1.0, 1.0, 1.0])
_FLIP_Z = np.diag([1.0, 1.0, -1.0])


def opposite(poses: ArrayLike, isocenter: ArrayLike) -> NDArray[np.float64]:
    """Poses (..., 4, 4) with the source on the other side: half a turn about the camera's y axis through `isocenter` (3,), RAS mm.

    The isocentre keeps its pixel and its depth; the image is about the left-right mirror of it about that pixel's column,
    but for perspective. The opposite of the opposite is the pose.
    """
    t = np.asarray(poses, dtype=np.float64)
    return _seeing(t[..., :3, :3] @ _HALF_TURN_ABOUT_Y, _in_camera(t, isocenter), isocenter)


def mirror_symmetric(poses: ArrayLike, point: ArrayLike, normal: ArrayLike = SAGITTAL) -> NDArray[np.float64]:
    """Poses (..., 4, 4) whose images of a symmetric patient are the left-right mirrored images of `poses`, exactly.

    The plane of symmetry passes through `point` (3,), RAS mm; the image is mirrored about the principal point's column.
    RAO and LAO change places. The same again gives the pose back.
    """
    return reflection(point, normal) @ np.asarray(poses, dtype=np.float64) @ _FLIP_X


def look_alike(poses: ArrayLike, isocenter: ArrayLike, normal: ArrayLike = SAGITTAL) -> NDArray[np.float64]:
    """Poses (..., 4, 4) from the other side whose images of a symmetric patient look as those of `poses`, but for perspective.

    It is what is left of the opposite and the mirror-symmetric pose together, placed so that the isocentre, on the plane of
    symmetry, keeps its pixel and its depth: AP and PA in an image whose mirroring is known. The same again gives the pose
    back.
    """
    t = np.asarray(poses, dtype=np.float64)
    reflected = reflection(isocenter, normal)[:3, :3] @ t[..., :3, :3] @ _FLIP_Z
    return _seeing(reflected, _in_camera(t, isocenter), isocenter)


def reflection(point: ArrayLike, normal: ArrayLike) -> NDArray[np.float64]:
    """Reflection (4, 4) of RAS through the plane of `point` (3,), mm, and `normal` (3,) of any length."""
    n = np.asarray(normal, dtype=np.float64)
    n = n / np.linalg.norm(n)
    return rigid(np.eye(3) - 2 * np.outer(n, n), 2 * n * (n @ np.asarray(point, dtype=np.float64)))


def _in_camera(poses: NDArray[np.float64], point: ArrayLike) -> NDArray[np.float64]:
    inverse = invert(poses)
    return inverse[..., :3, :3] @ np.asarray(point, dtype=np.float64) + inverse[..., :3, 3]


def _seeing(rotation: NDArray[np.float64], place: NDArray[np.float64], point: ArrayLike) -> NDArray[np.float64]:
    """Poses with this rotation (..., 3, 3) that see `point` (3,), RAS mm, at `place` (..., 3) in their camera frame."""
    return rigid(rotation, np.asarray(point, dtype=np.float64) - (rotation @ place[..., None])[..., 0])
