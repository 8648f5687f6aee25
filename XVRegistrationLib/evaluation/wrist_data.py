"""A real biplane X-ray of a wrist and the CT of its radius, as Autoscoper's sample folder has them.

The folder holds one synchronous pair of undistorted 8-bit images, their MayaCam 2 calibrations, the CT of the segmented
bone, and `reference_pose.json`, a two-view registration done elsewhere: a reference for agreement, not the truth.
RAS is the CT's own frame here, p = (column, row, page) times the spacing, as the calibration knows no patient.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.calibrations import distances_to_crossing, read_calibration
from XVRegistrationLib.geometry.cameras_of_others import camera_from_matrices
from XVRegistrationLib.geometry.rigid import check_rigid, invert, rigid, transform_points, translation
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.imaging.xray import Xray

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

    from XVRegistrationLib.geometry.calibrated_camera import CalibratedCamera

_SPACING = (0.39625, 0.39625, 0.625)  # mm, column, row, page; the TIFF has no header for it
_WATER = 0.02 / 1000  # 1/mm for each of the CT's units, which are HU + 1000
# The calibration gives sdd / spacing alone. Any width of a pixel does; this one makes the distances those of a real room.
_PIXEL_MM = 0.2
_SLACK = 1e-3  # the reference's rotation is written with many digits, but is no exact rotation


@dataclass(frozen=True, eq=False)
class Wrist:
    """A bone, two X-rays of it at one moment, and where the reference says that the cameras were."""

    volume: Volume
    """The radius alone, attenuation in 1/mm, zero elsewhere."""
    xrays: tuple[Xray, Xray]
    relative: tuple[NDArray[np.float64], NDArray[np.float64]]
    """(4, 4) each, from the calibration alone: pose of camera i = pose of camera 0 @ relative[i]; the first is the identity."""
    reference: tuple[NDArray[np.float64], NDArray[np.float64]]
    """Poses (4, 4), camera -> RAS, by the reference."""
    distances: tuple[float, float]
    """mm from each source to where the two beams' axes meet, from the calibration alone."""

    @property
    def points(self) -> NDArray[np.float64]:
        """Centres (N, 3) of the bone's voxels, RAS mm."""
        kji = np.argwhere(self.volume.array > 0)
        return transform_points(self.volume.ijk_to_ras, kji[:, ::-1])


def read_wrist(folder: str | os.PathLike[str]) -> Wrist:
    """Read the folder; InputError for a file that is missing or not what it should be."""
    root = Path(folder)
    calibrations = [_one(root, f"xr_calib_*cam0{i}.txt") for i in (1, 2)]
    cameras = [read_calibration(path) for path in calibrations]
    volume = _read_bone(_one(root, "*_dcm_cropped.tif"))
    bone_to_room = _read_reference(root / "reference_pose.json")
    xrays, reference = [], []
    for i, camera in enumerate(cameras):
        path = _one(root, f"xr_*_cam0{i + 1}_UND*.tif")
        extrinsic = camera.placed @ bone_to_room
        intrinsics, pose = camera_from_matrices(camera.intrinsic, extrinsic, camera.size, volume.center, _PIXEL_MM)
        xrays.append(Xray(f"camera-{i + 1}", _read_xray(path, camera), intrinsics, "attenuation", str(path.resolve())))
        reference.append(pose)
    # Both cameras see straight ahead and are not mirrored, so that what takes one camera's frame to the other's is theirs.
    between = cameras[0].placed @ np.linalg.inv(cameras[1].placed)
    first, second = distances_to_crossing([invert(_orthonormal(camera.placed)) for camera in cameras])
    return Wrist(
        volume=volume,
        xrays=(xrays[0], xrays[1]),
        relative=(np.eye(4), check_rigid(_orthonormal(between), "pose between the wrist's cameras")),
        reference=(reference[0], reference[1]),
        distances=(first, second),
    )


def _read_bone(path: Path) -> Volume:
    raw = _read_tiff(path, 3)
    density = np.where(raw > 0, raw.astype(np.float32) * np.float32(_WATER), np.float32(0))
    return Volume(density, np.diag([*_SPACING, 1.0]), "radius", str(path.resolve()), units="1/mm")


def _read_reference(path: Path) -> NDArray[np.float64]:
    """(4, 4): the bone's CT frame, mm -> the calibration's room, mm; X = R (p - c) + T."""
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        frames = content["radius"]
        frame = frames[min(frames)]
        rotation, shift = np.array(frame["R"], dtype=np.float64), np.array(frame["T"], dtype=np.float64)
        center = np.array(content["radius_c_mm"], dtype=np.float64)
        matrix = rigid(rotation, shift) @ translation(-center)
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise InputError(f"{path} is missing, or does not hold the reference pose of the radius (R, T, c): {e}.") from e
    return _orthonormal(check_rigid(matrix, f"reference pose in {path}", _SLACK))


def _read_xray(path: Path, camera: CalibratedCamera) -> NDArray[np.float32]:
    """Line integrals (H, W) of an image whose grey values grow with the intensity; black pixels stay finite."""
    image = _read_tiff(path, 2)
    if image.shape != camera.size[::-1]:
        raise InputError(f"{path} has {image.shape[1]} x {image.shape[0]} px, its calibration says {camera.size}.")
    return -np.log((image.astype(np.float32) + 2) / 257)


def _read_tiff(path: Path, dimensions: int) -> NDArray[Any]:
    import SimpleITK as sitk

    try:
        image = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    except RuntimeError as e:
        raise InputError(f"{path} cannot be read as a TIFF image: {str(e).strip().splitlines()[-1]}") from e
    if image.ndim == 3 and dimensions == 2 and image.shape[0] == 1:
        image = image[0]
    if image.ndim != dimensions:
        raise InputError(f"{path} has {image.ndim} dimensions; {dimensions} are expected.")
    return image


def _one(root: Path, pattern: str) -> Path:
    found = sorted(root.glob(pattern))
    if not found:
        raise InputError(f"{root} holds no {pattern}; give a folder like Autoscoper's wrist sample.")
    return found[0]


def _orthonormal(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The rigid matrix (4, 4) nearest to one with rounding in its rotation."""
    u, _, vt = np.linalg.svd(matrix[:3, :3])
    return rigid(u @ vt, matrix[:3, 3])
