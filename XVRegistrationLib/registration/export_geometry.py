"""A registered X-ray's camera as files of other programs: ITK transforms, matrices, calibrations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import replacing
from XVRegistrationLib.geometry.calibrations import calibration_of, write_calibration
from XVRegistrationLib.geometry.camera import projection_matrix
from XVRegistrationLib.geometry.conventions import ras_to_lps
from XVRegistrationLib.geometry.rigid import invert

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.registration.result import Registration

_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
_CALIBRATIONS = (("MayaCam1.csv", "mayacam1"), ("MayaCam2.txt", "mayacam2"), ("OpenCV.yaml", "opencv-yaml"))

FILES = {
    "_pose_LPS.tfm": "ITK transform of the C-arm for Slicer, ITK and elastix (the same as .h5). As all ITK files it maps in "
    "LPS from the parent: a point of the patient to the camera's frame, x and y of both negated. Slicer turns it round "
    "when it opens it: the node is the pose in RAS.",
    "_pose_LPS.h5": "The same in double precision.",
    "_pose_RAS.txt": "Pose, 4 x 4, mm: a point of the camera's frame (origin at the source, x along columns, y along rows, "
    "z towards the detector) to the patient in RAS.",
    "_pose_LPS.txt": "The same to the patient in LPS; the camera's frame is as above.",
    "_projection_RAS.txt": "Projection, 3 x 4: (r, a, s, 1) in mm to (column w, row w, w) of the stored image, pixel centres at "
    "integers from 0.",
    "_projection_LPS.txt": "The same from (l, p, s, 1).",
    "_MayaCam1.csv": "Calibration for XMALab and Autoscoper; the laboratory is the patient in RAS, mm.",
    "_MayaCam2.txt": "The same as MayaCam 2.",
    "_OpenCV.yaml": "The same as OpenCV's FileStorage.",
}
"""Ending of a file -> what it holds."""


def write_geometry(folder: Path, found: Registration) -> list[Path]:
    """Write all of `FILES` for one registration, each named by the X-ray; return what was written.

    A format that cannot hold the camera is left out (MayaCam 1 holds no mirrored image).
    """
    pose, name = found.pose, found.name
    p_ras = projection_matrix(pose, found.intrinsics)
    matrices = {
        "_pose_RAS.txt": pose,
        "_pose_LPS.txt": ras_to_lps(pose),
        "_projection_RAS.txt": p_ras,
        "_projection_LPS.txt": p_ras @ _FLIP,
    }
    written = []
    for ending in ("_pose_LPS.tfm", "_pose_LPS.h5"):
        written.append(folder / f"{name}{ending}")
        write_itk_transform(written[-1], pose)
    for ending, matrix in matrices.items():
        written.append(folder / f"{name}{ending}")
        with replacing(written[-1]) as temporary:
            # 17 digits tell any two floats apart.
            temporary.write_text("\n".join(" ".join(f"{v:.17g}" for v in row) for row in matrix) + "\n", "utf-8")
    for ending, kind in _CALIBRATIONS:
        path = folder / f"{name}_{ending}"
        try:
            write_calibration(path, calibration_of(found.intrinsics, pose), kind)  # type: ignore[arg-type]
        except InputError:
            continue
        written.append(path)
    return written


def itk_matrix(pose: ArrayLike) -> NDArray[np.float64]:
    """(4, 4) of the ITK transform that Slicer opens as a transform node with this matrix to its parent, RAS mm."""
    matrix: NDArray[np.float64] = _FLIP @ invert(pose) @ _FLIP
    return matrix


def write_itk_transform(path: Path, pose: ArrayLike) -> None:
    """Write a pose (4, 4), camera -> RAS, mm, as an ITK transform file (.tfm or .h5)."""
    import SimpleITK as sitk

    matrix = itk_matrix(pose)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    try:
        with replacing(path) as temporary:
            sitk.WriteTransform(transform, str(temporary))
    except RuntimeError as e:
        raise InputError(f"{path} cannot be written: {str(e).strip().splitlines()[-1]}") from e
