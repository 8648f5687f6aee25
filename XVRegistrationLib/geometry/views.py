"""Nominal views and poses about them.

A nominal view looks at an isocentre from a standard direction. A pose is described relative to it by a rigid matrix D,
a motion about the isocentre written in the nominal camera's axes (x right, y down, z towards the detector).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.angles import pose_from_angles
from XVRegistrationLib.geometry.rigid import check_rigid, invert, rigid, rotation_from_euler_zxy, transform_points

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

_R, _L = (1.0, 0.0, 0.0), (-1.0, 0.0, 0.0)
_A, _P = (0.0, 1.0, 0.0), (0.0, -1.0, 0.0)
_I = (0.0, 0.0, -1.0)

# Camera axes (x, y, z) in RAS, and whether the image is shown mirrored. RAS has x towards the patient's right.
_VIEWS = {
    "AP": ((_L, _I, _P), False),
    "PA": ((_R, _I, _A), True),
    "LLAT": ((_A, _I, _L), False),
    "RLAT": ((_P, _I, _R), False),
}
VIEWS = tuple(_VIEWS)

PRESETS = {
    "AP": (180.0, 0.0),
    "PA": (0.0, 0.0),
    "LLAT": (90.0, 0.0),
    "RLAT": (-90.0, 0.0),
    "RAO 30": (-30.0, 0.0),
    "LAO 30": (30.0, 0.0),
    "RAO 45": (-45.0, 0.0),
    "LAO 45": (45.0, 0.0),
    "CRA 30": (0.0, 30.0),
    "CAU 30": (0.0, -30.0),
    "inlet 40": (0.0, 40.0),
    "outlet 40": (0.0, -40.0),
}
"""Usual positions of a C-arm to start from: name -> primary and secondary angle, degrees, as in geometry.angles. They place
the detector; the source is behind the patient but in AP. The inlet of the pelvis is seen along a beam that runs
between in front of the head and behind the feet, so with the detector towards the head, its outlet the other way."""


@dataclass(frozen=True)
class NominalView:
    """A standard view of an isocentre."""

    name: str
    """AP, PA, LLAT or RLAT (detector at the patient's left or right side)."""
    isocenter: tuple[float, float, float]
    """RAS, mm."""
    sod: float
    """Distance from the source to the isocentre, mm."""
    lying: tuple[tuple[float, float, float], ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    """Rotation (3, 3) in RAS by which the view turns with a patient who does not lie straight in the scanner."""

    def __post_init__(self) -> None:
        if self.name not in _VIEWS:
            raise InputError(f"Unknown view {self.name!r}: choose one of {', '.join(VIEWS)}.")
        if not self.sod > 0:
            raise InputError(f"The distance from source to isocentre must be positive, not {self.sod} mm.")
        check_rigid(rigid(self.lying, np.zeros(3)), "rotation of a view")

    @property
    def mirrored(self) -> bool:
        """Whether an image of this view is conventionally shown mirrored."""
        return _VIEWS[self.name][1]

    @property
    def axes(self) -> NDArray[np.float64]:
        """Camera axes as columns (3, 3) in RAS."""
        return np.array(self.lying) @ np.array(_VIEWS[self.name][0]).T

    @property
    def pose(self) -> NDArray[np.float64]:
        """Nominal pose (4, 4), camera -> RAS."""
        return rigid(self.axes, np.array(self.isocenter) - self.sod * self.axes[:, 2])

    def absolute(self, relative: ArrayLike) -> NDArray[np.float64]:
        """Poses (..., 4, 4), camera -> RAS, of relative motions D (..., 4, 4)."""
        frame = rigid(self.axes, self.isocenter)
        return frame @ np.asarray(relative, dtype=np.float64) @ invert(frame) @ self.pose

    def moved(self, motion: ArrayLike) -> NominalView:
        """The view of a patient whom a rigid motion (4, 4), RAS, has moved: it sees the same of the same place."""
        m = check_rigid(motion, "motion of a patient")
        x, y, z = transform_points(m, self.isocenter).tolist()
        a, b, c = (tuple(row) for row in (m[:3, :3] @ np.array(self.lying)).tolist())
        return NominalView(self.name, (x, y, z), self.sod, (a, b, c))

    def relative(self, pose: ArrayLike) -> NDArray[np.float64]:
        """Relative motions D (..., 4, 4) of poses (..., 4, 4); inverse of `absolute`."""
        frame = rigid(self.axes, self.isocenter)
        return invert(frame) @ np.asarray(pose, dtype=np.float64) @ invert(self.pose) @ frame


def preset_pose(name: str, isocenter: ArrayLike, sod: float) -> NDArray[np.float64]:
    """Pose (4, 4), camera -> RAS, of one of PRESETS about `isocenter` (3,), RAS mm, with the source `sod` mm from it."""
    if name not in PRESETS:
        raise InputError(f"Unknown view {name!r}: choose one of {', '.join(PRESETS)}.")
    return pose_from_angles(*PRESETS[name], sod, isocenter)


def relative_motion(rotation_deg: ArrayLike, translation_mm: ArrayLike) -> NDArray[np.float64]:
    """D (..., 4, 4) of angles (..., 3) about (x, y, z), degrees, R = Rz Rx Ry, and shifts (..., 3), mm."""
    return rigid(rotation_from_euler_zxy(rotation_deg), translation_mm)


@dataclass(frozen=True)
class PoseRange:
    """How far poses may lie from a nominal view: +- so much about and along the nominal camera's x, y, z."""

    rotation: tuple[float, float, float] = (20.0, 20.0, 20.0)
    """Degrees."""
    translation: tuple[float, float, float] = (30.0, 30.0, 30.0)
    """mm."""

    def __post_init__(self) -> None:
        if min(*self.rotation, *self.translation) < 0 or max(self.rotation) > 180:
            raise InputError("Pose ranges must not be negative, rotations at most 180 degrees.")


def draw_poses(view: NominalView, pose_range: PoseRange, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Poses (count, 4, 4), camera -> RAS, uniform over the range about the nominal view."""
    rotation = rng.uniform(-1, 1, (count, 3)) * np.array(pose_range.rotation)
    shift = rng.uniform(-1, 1, (count, 3)) * np.array(pose_range.translation)
    return view.absolute(relative_motion(rotation, shift))
