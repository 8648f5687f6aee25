"""Calibration files of cameras, in and out: MayaCam 1 and 2 (XMALab, Autoscoper) and OpenCV's FileStorage.

All describe a pinhole camera as OpenCV does: X_cam = R X + t, pixels = K X_cam, x right, y down, pixel centres at integers.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import read_text, replacing
from XVRegistrationLib.geometry.calibrated_camera import CalibratedCamera
from XVRegistrationLib.geometry.cameras_of_others import camera_from_matrices
from XVRegistrationLib.geometry.mayacam import format_mayacam1, format_mayacam2, parse_mayacam1, parse_mayacam2
from XVRegistrationLib.geometry.opencv_files import format_opencv, parse_opencv
from XVRegistrationLib.geometry.rigid import invert, rigid

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics

Format = Literal["mayacam1", "mayacam2", "opencv-yaml", "opencv-json"]
FORMATS: tuple[Format, ...] = ("mayacam1", "mayacam2", "opencv-yaml", "opencv-json")
ASSUMED_SDD = 1000.0
"""mm, where a calibration is all that is known: only the distance in pixels has a meaning then."""
_PARALLEL = 1e6  # condition of the normal equations; of axes one degree apart it is 1e4
_LARGEST = 1_000_000  # bytes: a calibration has a few hundred


def read_calibration(
    path: str | os.PathLike[str], *, size: tuple[int, int] | None = None, undistorted: bool = False, unit: float = 1.0
) -> CalibratedCamera:
    """The camera of a calibration file in mm; the format is told by the content, and `unit` says how many mm its unit has.

    `size` (width, height), px, is used where the file does not state one. A file with lens distortion is refused, unless
    the images are said to be `undistorted` already. Raises InputError, which names the file and what is wrong in it.
    """
    if not (np.isfinite(unit) and unit > 0):
        raise InputError(f"The unit of a calibration must be a positive number of mm, not {unit}.")
    camera = _parse(read_text(path, "a calibration file", largest=_LARGEST), str(path), size, undistorted)
    placed = camera.extrinsic
    if placed is not None:
        placed = rigid(placed[:3, :3], placed[:3, 3] * unit)
    return dataclasses.replace(camera, extrinsic=placed, pixel=None if camera.pixel is None else camera.pixel * unit)


def _parse(text: str, where: str, size: tuple[int, int] | None, undistorted: bool) -> CalibratedCamera:
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if first.lower() == "image size":
        return parse_mayacam2(text, where)
    if first.startswith(("%YAML", "{", "---")) or "opencv-matrix" in text:
        return parse_opencv(text, where, size, undistorted)
    if _is_mayacam1(text):
        return parse_mayacam1(text, where)
    raise InputError(
        f"{where} is no calibration that is known: MayaCam 1 (five lines of three numbers), MayaCam 2 (begins with "
        "'image size') or OpenCV (YAML or JSON)."
    )


def write_calibration(path: str | os.PathLike[str], camera: CalibratedCamera, kind: Format) -> None:
    """Write a camera in one of FORMATS; `read_calibration` gives it back. InputError for one that the format cannot hold."""
    if kind == "mayacam1":
        text = format_mayacam1(camera)
    elif kind == "mayacam2":
        text = format_mayacam2(camera)
    elif kind in ("opencv-yaml", "opencv-json"):
        text = format_opencv(camera, as_json=kind == "opencv-json")
    else:
        raise InputError(f"Unknown calibration format {kind!r}: choose one of {', '.join(FORMATS)}.")
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8", newline="\n")


def calibration_of(intrinsics: Intrinsics, pose: ArrayLike) -> CalibratedCamera:
    """The camera, as others write it, of an X-ray with a pose (4, 4), camera -> RAS, mm: their world is RAS.

    A mirrored image has a negative first focal length.
    """
    k = intrinsics.matrix
    if intrinsics.mirrored:
        k = np.array([[-1.0, 0, intrinsics.size[0] - 1], [0, 1, 0], [0, 0, 1]]) @ k
    return CalibratedCamera(intrinsics.size, k, invert(pose), intrinsics.spacing[0])


def camera_of(calibration: CalibratedCamera, *, pixel: float | None = None) -> tuple[Intrinsics, NDArray[np.float64]]:
    """Our intrinsics, and the pose (4, 4), camera -> their world; the identity for a calibration without one.

    `pixel` is a pixel's width in mm; without it the file's, and at last one that puts the detector at ASSUMED_SDD.
    """
    extrinsic = np.eye(4) if calibration.extrinsic is None else calibration.extrinsic
    seen = np.linalg.solve(extrinsic, [0.0, 0.0, 1.0, 1.0])[:3]  # on the axis, in front
    focal = abs(calibration.intrinsic[0, 0] / calibration.intrinsic[2, 2])
    width = float(pixel or calibration.pixel or ASSUMED_SDD / focal)
    return camera_from_matrices(calibration.intrinsic, extrinsic, calibration.size, seen, width)


def relations_of(calibrations: Sequence[CalibratedCamera]) -> list[NDArray[np.float64]]:
    """Relations (4, 4) of cameras to the first one's: pose of each = pose of the first @ its relation; InputError without poses."""
    poses = []
    for calibration in calibrations:
        _ = calibration.placed
        poses.append(camera_of(calibration)[1])
    return [invert(poses[0]) @ pose for pose in poses]


def distances_to_crossing(poses: Sequence[ArrayLike]) -> list[float]:
    """Distance (mm) from each camera, pose (4, 4) to any one world, to the point that is nearest to all their optical axes."""
    normal, right = np.zeros((3, 3)), np.zeros(3)
    places = [np.asarray(pose, dtype=np.float64) for pose in poses]
    for pose in places:
        across = np.eye(3) - np.outer(pose[:3, 2], pose[:3, 2])
        normal += across
        right += across @ pose[:3, 3]
    if np.linalg.cond(normal) > _PARALLEL:
        raise InputError("The axes of the cameras are parallel: they meet nowhere.")
    meeting = np.linalg.solve(normal, right)
    return [float(np.linalg.norm(meeting - pose[:3, 3])) for pose in places]


def _is_mayacam1(text: str) -> bool:
    lines = [line for line in text.splitlines() if line.strip()]
    return len(lines) >= 5 and all(len(line.split(",")) >= 3 for line in lines[:5])
