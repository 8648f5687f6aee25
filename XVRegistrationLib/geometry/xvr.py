"""xvr's conventions, and those of DiffDRR, which renders for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.conventions import diffdrr_pose
from XVRegistrationLib.geometry.rigid import rotation_angle, rotation_from_euler_zxy, translation
from XVRegistrationLib.geometry.views import VIEWS, NominalView, PoseRange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

# What DiffDRR turns its camera by before its pose; that of PA is a reflection.
_REORIENTED = {
    "AP": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "PA": ((1, 0, 0), (0, 0, 1), (0, 1, 0)),
    None: ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
}
_TRUE_SHIFT = 0.5
_LEAST_SOD = 50.0  # mm


def camera_axes(orientation: str | None) -> NDArray[np.float64]:
    """M (4, 4), proper: our pose is the volume's frame times xvr's extrinsic times M; InputError for another orientation."""
    if orientation not in _REORIENTED:
        raise InputError(f"xvr's orientation is {orientation!r}, which is neither AP nor PA.")
    matrix = np.eye(4)
    matrix[:3, :3] = _REORIENTED[orientation]
    matrix = diffdrr_pose(matrix)
    if np.linalg.det(matrix) < 0:  # a reflection is the image's: see is_mirrored
        matrix = matrix @ np.diag([-1.0, 1.0, 1.0, 1.0])
    return matrix


def is_mirrored(orientation: str | None, reverse_x_axis: bool) -> bool:
    """Whether an image of DiffDRR's is stored flipped left-right of what our camera of `camera_axes` sees."""
    return bool(reverse_x_axis) == (orientation == "PA")


def intrinsics_of_xvr(
    sdd: float,
    spacing: tuple[float, float],
    size: tuple[int, int],
    middle: tuple[float, float],
    orientation: str | None,
    reverse_x_axis: bool,
) -> Intrinsics:
    """Our camera of DiffDRR's detector: `spacing` (delx, dely) mm, `size` (width, height) px, `middle` (x0, y0) mm."""
    x0 = -middle[0] if orientation == "PA" else middle[0]
    principal_point = ((size[0] - 1) / 2 + x0 / spacing[0], (size[1] - 1) / 2 + middle[1] / spacing[1])
    return Intrinsics(sdd, spacing, principal_point, size, is_mirrored(orientation, reverse_x_axis))


def centered_frame(center: ArrayLike) -> NDArray[np.float64]:
    """Matrix (4, 4), mm: xvr's frame of a single volume, RAS about the volume's `center` (3,), RAS mm, into RAS."""
    return translation(center)


def without_half_voxel(pose: ArrayLike, ijk_to_ras: ArrayLike, voxel_shift: float) -> NDArray[np.float64]:
    """A pose (4, 4), camera -> RAS, that xvr has refined with `voxel_shift`, where the volume of this matrix (4, 4) truly lies.

    DiffDRR renders voxel i about the place i + 0.5 - voxel_shift. With 0, xvr's default, the volume it registers to lies half
    a voxel along each of its axes from where its matrix says.
    """
    moved = np.array(pose, dtype=np.float64)
    moved[..., :3, 3] -= np.asarray(ijk_to_ras)[:3, :3] @ np.full(3, _TRUE_SHIFT - voxel_shift)
    return moved


def extrinsics_of_range(
    angles: Sequence[tuple[float, float]], shifts: Sequence[tuple[float, float]], count: int = 512, seed: int = 0
) -> NDArray[np.float64]:
    """xvr's extrinsics [R | R t] (count, 4, 4): the middle of its ranges (degrees about z, x, y; mm) first, then random ones."""
    low, high = np.array([*angles, *shifts], dtype=np.float64).T
    drawn = np.random.default_rng(seed).uniform(size=(count, 6))
    drawn[0] = 0.5
    values = low + (high - low) * drawn
    matrix = np.tile(np.eye(4), (count, 1, 1))
    matrix[:, :3, :3] = rotation_from_euler_zxy(values[:, [1, 2, 0]])
    matrix[:, :3, 3] = (matrix[:, :3, :3] @ values[:, 3:, None])[..., 0]
    return matrix


def view_and_range(poses: NDArray[np.float64], isocenter: ArrayLike) -> tuple[NominalView, PoseRange]:
    """The nominal view of `isocenter` (3,), RAS mm, that is nearest to the first of our poses (B, 4, 4), and a range with all.

    Its source is as far from the isocentre as the first pose's; InputError where that is in the patient.
    """
    center = np.asarray(isocenter, dtype=np.float64)
    sod = float(np.linalg.norm(center - poses[0, :3, 3]))
    if sod < _LEAST_SOD:
        raise InputError(f"The middle of the range of poses has its source {sod:.0f} mm from the isocentre.")
    views = [NominalView(name, (center[0], center[1], center[2]), sod) for name in VIEWS]
    view = min(views, key=lambda v: float(rotation_angle(v.axes.T @ poses[0, :3, :3])))
    motion = view.relative(poses)
    r = motion[:, :3, :3]
    about_x = np.arcsin(np.clip(r[:, 2, 1], -1, 1))
    about_y, about_z = np.arctan2(-r[:, 2, 0], r[:, 2, 2]), np.arctan2(-r[:, 0, 1], r[:, 1, 1])
    angles = np.degrees(np.abs(np.stack([about_x, about_y, about_z])).max(axis=1))
    shifts = np.abs(motion[:, :3, 3]).max(axis=0)
    turn, move = np.minimum(np.ceil(angles), 180), np.ceil(shifts)
    return view, PoseRange(tuple(turn.tolist()), tuple(move.tolist()))
