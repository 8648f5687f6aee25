"""Cameras as other programs write them: OpenCV's K and [R | t], DeepFluoro's and Ljubljana's matrices, MayaCam 2 files."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import invert

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_TOLERANCE = 1e-3  # calibrations are printed with six digits or more
_MAYACAM_PARTS = {"image size": (2,), "camera matrix": (3, 3), "rotation": (3, 3), "translation": (3,)}


def camera_from_matrices(
    intrinsic: ArrayLike, extrinsic: ArrayLike, size: tuple[int, int], seen: ArrayLike, dx: float
) -> tuple[Intrinsics, NDArray[np.float64]]:
    """Our intrinsics and pose (4, 4), camera -> RAS, of the camera u = K E x that sees the point `seen` (3,), RAS mm.

    K `intrinsic` (3, 3) is in px, E `extrinsic` (4, 4) maps RAS mm into their camera frame; pixel centres lie at integers,
    `size` is width and height. Their axes may point anywhere: z towards the detector or the source, focal lengths of either
    sign. The point tells which half of their space is in front, and a left-handed rest is a mirrored image. `dx` is the
    pixel's width in mm; where it is not known any value will do, as only sdd / dx is seen. Unequal focal lengths become
    unequal spacings. Raises InputError for a K with skew, an E that is not rigid (a reflection is), or a point in the
    plane of the source.
    """
    k, e = np.asarray(intrinsic, dtype=np.float64), np.asarray(extrinsic, dtype=np.float64)
    _check(k, e)
    depth = float((e @ np.append(np.asarray(seen, dtype=np.float64), 1.0))[2])
    if depth == 0 or not np.isfinite(depth):
        raise InputError("The camera cannot see the volume: its centre lies in the plane of the source.")
    k = k / k[2, 2]
    fx, fy, cx, cy = k[0, 0], k[1, 1], k[0, 2], k[1, 2]
    front = np.sign(depth)
    axes = np.diag([front * np.sign(fx), front * np.sign(fy), front])
    rotation, shift = axes @ e[:3, :3], axes @ e[:3, 3]
    mirrored = bool(np.linalg.det(rotation) < 0)
    if mirrored:
        flip = np.diag([-1.0, 1.0, 1.0])
        rotation, shift = flip @ rotation, flip @ shift
        cx = size[0] - 1 - cx
    sdd = abs(fx) * dx
    camera = Intrinsics(float(sdd), (dx, float(sdd / abs(fy))), (float(cx), float(cy)), size, mirrored)
    # Digits cut off on paper are taken out of the rotation, the nearest by the singular value decomposition.
    u, _, vt = np.linalg.svd(rotation)
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3], world_to_camera[:3, 3] = u @ vt, shift
    return camera, invert(world_to_camera)


def turned(intrinsics: Intrinsics, pose: ArrayLike) -> tuple[Intrinsics, NDArray[np.float64]]:
    """Intrinsics and pose (4, 4) of the same image turned by 180 degrees: stored pixel (u, v) is then (W-1-u, H-1-v)."""
    (cx, cy), (width, height) = intrinsics.principal_point, intrinsics.size
    camera = dataclasses.replace(intrinsics, principal_point=(width - 1 - cx, height - 1 - cy))
    return camera, np.asarray(pose, dtype=np.float64) @ np.diag([-1.0, -1.0, 1.0, 1.0])


def cropped(intrinsics: Intrinsics, border: int) -> Intrinsics:
    """The camera of an image without its outermost `border` pixels on every side."""
    (cx, cy), (width, height) = intrinsics.principal_point, intrinsics.size
    if border < 0 or 2 * border >= min(width, height):
        raise InputError(f"A border of {border} px leaves nothing of an image of {width} x {height} px.")
    size = (width - 2 * border, height - 2 * border)
    return dataclasses.replace(intrinsics, principal_point=(cx - border, cy - border), size=size)


@dataclass(frozen=True, eq=False)
class MayaCam:
    """A camera as MayaCam 2 (XMALab, Autoscoper) writes it: plain OpenCV, X_cam = R X + t, in the units of the calibration."""

    size: tuple[int, int]
    """Width and height, px."""
    intrinsic: NDArray[np.float64]
    """K (3, 3), px."""
    extrinsic: NDArray[np.float64]
    """[R | t] as (4, 4): laboratory -> camera."""


def parse_mayacam(text: str, where: str = "the MayaCam file") -> MayaCam:
    """Read the text of a MayaCam 2 file; `where` names it in the InputError for text that is not one."""
    lines = [line.strip() for line in text.splitlines()]
    parts: dict[str, NDArray[np.float64]] = {}
    for name, shape in _MAYACAM_PARTS.items():
        try:
            first = lines.index(name) + 1
            end = next((i for i in range(first, len(lines)) if not lines[i]), len(lines))
            numbers = [float(v) for line in lines[first:end] for v in line.split(",")]
            parts[name] = np.array(numbers).reshape(shape)
        except ValueError as e:
            raise InputError(f"{where} is not a MayaCam 2 calibration: its part {name!r} is missing or damaged.") from e
    if not np.isfinite(parts["image size"]).all():
        raise InputError(f"{where} is not a MayaCam 2 calibration: its image size is not a number.")
    extrinsic = np.eye(4)
    extrinsic[:3, :3], extrinsic[:3, 3] = parts["rotation"], parts["translation"]
    width, height = parts["image size"]
    return MayaCam((int(width), int(height)), parts["camera matrix"], extrinsic)


def _check(k: NDArray[np.float64], e: NDArray[np.float64]) -> None:
    if k.shape != (3, 3) or not np.isfinite(k).all() or k[2, 2] == 0 or k[0, 0] == 0 or k[1, 1] == 0:
        raise InputError("The camera matrix K must be a 3x3 matrix with two focal lengths that are not zero.")
    off = np.array([k[0, 1], k[1, 0]]) / k[0, 0], k[2, :2]
    if max(np.abs(part).max() for part in off) > _TOLERANCE:
        raise InputError(
            "The camera matrix K has skewed pixels; undistort and resample the images to rectangular ones."
        )
    if e.shape != (4, 4) or not np.isfinite(e).all() or not np.allclose(e[3], [0, 0, 0, 1]):
        raise InputError("The camera's extrinsic must be a 4x4 matrix with the last row 0 0 0 1.")
    if not np.allclose(e[:3, :3] @ e[:3, :3].T, np.eye(3), atol=_TOLERANCE):
        raise InputError("The camera's extrinsic is not rigid: its rotation is not orthonormal.")
