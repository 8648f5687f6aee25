"""A camera as a calibration gives it, before it is one of ours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROTATION = 1e-3  # calibrations are printed with six digits or more


@dataclass(frozen=True, eq=False)
class CalibratedCamera:
    """Plain OpenCV: X_cam = R X + t, pixel = K X_cam, in the units of the calibration; pixel centres at integers."""

    size: tuple[int, int]
    """Width and height, px."""
    intrinsic: NDArray[np.float64]
    """K (3, 3), px."""
    extrinsic: NDArray[np.float64] | None
    """[R | t] as (4, 4): world (laboratory) -> camera; None where only the camera itself was calibrated."""
    pixel: float | None = None
    """A pixel's width in the calibration's unit, where it is stated: without it K has no length."""

    @property
    def placed(self) -> NDArray[np.float64]:
        """[R | t] as (4, 4); InputError for a camera of which it is not known where it stood."""
        if self.extrinsic is None:
            raise InputError("The calibration does not say where the camera stood: it has no rotation and translation.")
        return self.extrinsic


def checked(camera: CalibratedCamera, where: str) -> CalibratedCamera:
    """The camera, if its numbers can be one; InputError that names `where` if not."""
    k, e = camera.intrinsic, camera.extrinsic
    if not 1 <= min(camera.size) <= max(camera.size) <= 100_000:
        raise InputError(f"{where}: an image of {camera.size[0]} x {camera.size[1]} px is none.")
    if not np.isfinite(k).all() or k[0, 0] == 0 or k[1, 1] == 0 or k[2, 2] == 0:
        raise InputError(
            f"{where}: the camera matrix must hold finite numbers and two focal lengths that are not zero."
        )
    if not 1e-3 < abs(k[0, 0] / k[2, 2]) < 1e9 or not 1e-3 < abs(k[1, 1] / k[2, 2]) < 1e9:
        raise InputError(f"{where}: focal lengths of {k[0, 0]:g} and {k[1, 1]:g} px are no camera's.")
    if e is not None:
        r = e[:3, :3]
        if not np.isfinite(e).all() or not np.allclose(r @ r.T, np.eye(3), atol=_ROTATION) or np.linalg.det(r) < 0:
            raise InputError(
                f"{where}: the rotation is not one (orthonormal, determinant +1), or the translation not finite."
            )
    if camera.pixel is not None and not (np.isfinite(camera.pixel) and camera.pixel > 0):
        raise InputError(f"{where}: a pixel of {camera.pixel} is none; its size must be positive.")
    return camera


def extrinsic(rotation: NDArray[np.float64], translation: NDArray[np.float64]) -> NDArray[np.float64]:
    """[R | t] as (4, 4)."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, translation
    return matrix
