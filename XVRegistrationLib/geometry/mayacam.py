"""MayaCam 1 and 2, the camera files of XROMM, XMALab and Autoscoper.

Both are described at https://autoscoper.readthedocs.io (file specifications, camera calibration); what MayaCam 1's numbers
do, is taken from Autoscoper's `Camera.cpp` (loadMayaCam1) and `CoordFrame.cpp`. Image sizes are width, then height,
as the programs read them, whatever the page says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.calibrated_camera import CalibratedCamera, checked, extrinsic
from XVRegistrationLib.geometry.rigid import rotation_from_vector

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PARTS = {"image size": (2,), "camera matrix": (3, 3), "rotation": (3, 3), "translation": (3,)}
_DEFAULT_SIDE = 1024
"""Width or height of a MayaCam 1 file that states 0."""
_SAME = 1e-6
_UPWARD = np.diag([1.0, -1.0, -1.0])
"""Between our axes (y down, z ahead) and Maya's (y up, z back)."""


def parse_mayacam2(text: str, where: str = "the MayaCam file") -> CalibratedCamera:
    """The camera of a MayaCam 2 file's text; `where` names it in the InputError for text that is not one."""
    lines = [line.strip() for line in text.splitlines()]
    parts = {}
    for name, shape in _PARTS.items():
        try:
            first = lines.index(name) + 1
            end = next((i for i in range(first, len(lines)) if not lines[i]), len(lines))
            numbers = [float(v) for line in lines[first:end] for v in line.split(",")]
            parts[name] = np.array(numbers).reshape(shape)
        except ValueError as e:
            raise InputError(f"{where} is not a MayaCam 2 calibration: its part {name!r} is missing or damaged.") from e
    if not np.isfinite(parts["image size"]).all():
        raise InputError(f"{where} is not a MayaCam 2 calibration: its part 'image size' is missing or damaged.")
    width, height = parts["image size"]
    placed = extrinsic(parts["rotation"], parts["translation"])
    return checked(CalibratedCamera((int(width), int(height)), parts["camera matrix"], placed), where)


def format_mayacam2(camera: CalibratedCamera) -> str:
    """Text of a MayaCam 2 file; InputError for a camera without a place."""
    placed = camera.placed
    rows = [",".join(repr(float(v)) for v in row) for m in (camera.intrinsic, placed[:3, :3]) for row in m]
    shift = [repr(float(v)) for v in placed[:3, 3]]
    size = f"{camera.size[0]},{camera.size[1]}"
    blocks = [["image size", size], ["camera matrix", *rows[:3]], ["rotation", *rows[3:]], ["translation", *shift]]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def parse_mayacam1(text: str, where: str = "the MayaCam file") -> CalibratedCamera:
    """The camera of a MayaCam 1 file's text; InputError, with the line, for text that is not one.

    Lines: place of the camera; its rotation about x, y, z in degrees, R = Rz Ry Rx, camera (y up, z back) -> world; place of
    the film, which follows from the rest; u0, v0 (counted from 1, v from the bottom) and the focal length in px, negative;
    size of a pixel, width, height.
    """
    lines = [line for line in text.splitlines() if line.strip()][:5]
    values = []
    for number, line in enumerate(lines, 1):
        try:
            row = [float(v) for v in line.split(",")[:3]]
        except ValueError:
            row = []
        if len(row) != 3 or not np.isfinite(row).all():
            raise InputError(f"{where} is not a MayaCam 1 calibration: line {number} must hold three numbers.")
        values.append(row)
    if len(values) != 5:
        raise InputError(f"{where} is not a MayaCam 1 calibration: it has {len(values)} lines of five.")
    place, degrees = np.array(values[0]), np.array(values[1])
    (u0, v0, focal), (scale, width, height) = values[3], values[4]
    size = (int(width) or _DEFAULT_SIDE, int(height) or _DEFAULT_SIDE)
    k = np.array([[abs(focal), 0, u0 - 1], [0, abs(focal), size[1] - v0], [0, 0, 1.0]])
    about = [
        rotation_from_vector(np.radians(angle) * axis) for angle, axis in zip(degrees.tolist(), np.eye(3), strict=True)
    ]
    rotation = _UPWARD @ (about[2] @ about[1] @ about[0]).T
    placed = extrinsic(rotation, -rotation @ place)
    return checked(CalibratedCamera(size, k, placed, scale if scale > 0 else None), where)


def format_mayacam1(camera: CalibratedCamera) -> str:
    """Text of a MayaCam 1 file; InputError for a camera without a place, with oblong pixels, or a mirrored one."""
    placed, k = camera.placed, camera.intrinsic / camera.intrinsic[2, 2]
    if k[0, 0] < 0 or k[1, 1] < 0:
        raise InputError("MayaCam 1 has no mirrored images: flip the image left-right, or write MayaCam 2 or OpenCV.")
    if abs(k[0, 0] / k[1, 1] - 1) > _SAME or abs(k[0, 1]) > _SAME:
        raise InputError("MayaCam 1 has square pixels only: resample the image, or write MayaCam 2 or OpenCV.")
    to_world = (_UPWARD @ placed[:3, :3]).T
    degrees = np.degrees(_angles(to_world))
    width, height = camera.size
    focal, u0, v0 = k[0, 0], k[0, 2] + 1, height - k[1, 2]
    scale = camera.pixel or 1.0
    film = scale * (width / 2 - u0), scale * (height / 2 - v0), -scale * focal
    place = -placed[:3, :3].T @ placed[:3, 3]
    rows = np.array([place, degrees, film, (u0, v0, -focal), (scale, width, height)])
    return "\n".join(",".join(repr(float(v)) for v in row) for row in rows) + "\n"


def _angles(r: NDArray[np.float64]) -> tuple[float, float, float]:
    """Angles about x, y, z in rad of R = Rz Ry Rx."""
    across = float(np.hypot(r[0, 0], r[1, 0]))
    about_y = np.arctan2(-r[2, 0], across)
    if across < 1e-9:  # x and z turn about the same line: z keeps still
        return float(np.arctan2(-r[1, 2], r[1, 1])), float(about_y), 0.0
    return float(np.arctan2(r[2, 1], r[2, 2])), float(about_y), float(np.arctan2(r[1, 0], r[0, 0]))
