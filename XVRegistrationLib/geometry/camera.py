"""The C-arm as a pinhole camera: intrinsics, projection, and the detector in the camera frame.

Camera frame: origin at the X-ray source, x along image columns, y along image rows (down), z towards the detector.
A pose is the rigid 4x4 matrix camera -> RAS, mm. Pixel centres lie at integers.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import invert

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Intrinsics:
    """Geometry of the detector in the camera frame.

    `mirrored` says that the stored image is flipped left-right with respect to what the camera sees: a camera column u
    is stored at column W - 1 - u. The principal point is given in camera columns. See DESIGN: mirroring is a property
    of the image, never of the pose.
    """

    sdd: float
    """Distance from the source to the detector plane, mm."""
    spacing: tuple[float, float]
    """Detector pixel spacing (dx along columns, dy along rows), mm."""
    principal_point: tuple[float, float]
    """Where the ray perpendicular to the detector hits it (cx, cy), px."""
    size: tuple[int, int]
    """Image width and height, px."""
    mirrored: bool = False

    def __post_init__(self) -> None:
        numbers = (self.sdd, *self.spacing, *self.principal_point)
        if not np.isfinite(numbers).all() or self.sdd <= 0 or min(self.spacing) <= 0 or min(self.size) < 1:
            raise InputError(
                "Distance source-detector, pixel spacing and image size must be positive and finite: "
                f"got {self.sdd} mm, {self.spacing} mm, {self.size} px, principal point {self.principal_point} px."
            )

    @staticmethod
    def centered(sdd: float, spacing: tuple[float, float], size: tuple[int, int], mirrored: bool = False) -> Intrinsics:
        """Intrinsics whose principal point is the middle of the image."""
        return Intrinsics(sdd, spacing, ((size[0] - 1) / 2, (size[1] - 1) / 2), size, mirrored)

    @property
    def matrix(self) -> NDArray[np.float64]:
        """K (3, 3), px: camera mm -> camera pixels (before any mirroring)."""
        (dx, dy), (cx, cy) = self.spacing, self.principal_point
        return np.array([[self.sdd / dx, 0, cx], [0, self.sdd / dy, cy], [0, 0, 1]])

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height of the detector, mm."""
        return self.size[0] * self.spacing[0], self.size[1] * self.spacing[1]

    def footprint(self, depth: float) -> float:
        """Size of a pixel's shorter side projected back to `depth` mm before the source (1 mm if it is behind), mm."""
        return min(self.spacing) * max(depth, 1.0) / self.sdd

    def resized(self, size: tuple[int, int]) -> Intrinsics:
        """The same detector area cut into `size` (width, height) pixels."""
        fx, fy = size[0] / self.size[0], size[1] / self.size[1]
        cx, cy = self.principal_point
        return dataclasses.replace(
            self,
            spacing=(self.spacing[0] / fx, self.spacing[1] / fy),
            principal_point=((cx + 0.5) * fx - 0.5, (cy + 0.5) * fy - 0.5),
            size=size,
        )

    def fitted(self, longest: int) -> Intrinsics:
        """The same detector area with `longest` pixels along its longer side (never more than it has)."""
        width, height = self.size
        scale = min(1.0, longest / max(width, height))
        return self.resized((max(1, round(width * scale)), max(1, round(height * scale))))

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form; `from_dict` is its inverse."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(d: dict[str, Any]) -> Intrinsics:
        """Inverse of `to_dict`."""
        return Intrinsics(
            float(d["sdd"]),
            (float(d["spacing"][0]), float(d["spacing"][1])),
            (float(d["principal_point"][0]), float(d["principal_point"][1])),
            (int(d["size"][0]), int(d["size"][1])),
            bool(d["mirrored"]),
        )


def image_to_camera(intrinsics: Intrinsics) -> NDArray[np.float64]:
    """Matrix (4, 4): stored pixel (i, j, 0) -> its centre on the detector in the camera frame, mm.

    This is the IJK-to-parent matrix of an X-ray volume that lies under its C-arm pose. Determinant is positive for both
    mirrored and plain images: the slice axis k points towards the detector, or away from it when i runs along -x.
    """
    (dx, dy), (cx, cy) = intrinsics.spacing, intrinsics.principal_point
    sign = -1.0 if intrinsics.mirrored else 1.0
    first_column = intrinsics.size[0] - 1 if intrinsics.mirrored else 0
    matrix = np.diag([sign * dx, dy, sign, 1.0])
    matrix[:3, 3] = (first_column - cx) * dx, -cy * dy, intrinsics.sdd
    return matrix


def projection_matrix(pose: ArrayLike, intrinsics: Intrinsics) -> NDArray[np.float64]:
    """P (3, 4), px: homogeneous RAS mm -> homogeneous stored pixel (column, row, depth in mm)."""
    k = intrinsics.matrix
    if intrinsics.mirrored:
        k = np.array([[-1.0, 0, intrinsics.size[0] - 1], [0, 1, 0], [0, 0, 1]]) @ k
    return k @ invert(pose)[:3]


def project(points: ArrayLike, pose: ArrayLike, intrinsics: Intrinsics) -> NDArray[np.float64]:
    """Stored pixels (..., 2) as (column, row) of RAS points (..., 3) in mm; NaN for points not in front of the source."""
    p = projection_matrix(pose, intrinsics)
    q = np.asarray(points, dtype=np.float64) @ p[:, :3].T + p[:, 3]
    depth = np.where(q[..., 2:] > 0, q[..., 2:], np.nan)
    return q[..., :2] / depth


def pixel_to_camera(pixels: ArrayLike, intrinsics: Intrinsics) -> NDArray[np.float64]:
    """Points (..., 3) in mm on the detector, in the camera frame, of stored pixels (..., 2) as (column, row)."""
    m = image_to_camera(intrinsics)
    return np.asarray(pixels, dtype=np.float64) @ m[:3, :2].T + m[:3, 3]
