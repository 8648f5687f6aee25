"""Ljubljana's cerebral angiograms (Mitrovic et al. 2013): ten patients' 3D-DSA and two 2D-DSA of each, with marker-based poses.

Read is `ljubljana.h5`, the form in which DiffPose and xvr use the data: `subjectNN/volume/{pixels,spacing,origin}`,
`subjectNN/points`, and for each view `subjectNN/proj-ap` or `proj-lat` with `pixels`, `intrinsic`, `extrinsic`,
`col-spacing` and `row-spacing`. A pixel is u = K E x, x in mm. That the voxels' first axis is x and runs backwards is what
both of those programs do; it could not be tried on the data here. Whether x is the patient's left or right is not
documented, and taken as RAS: errors do not depend on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.dataset_cases import DatasetCase, Search, evaluate_cases
from XVRegistrationLib.evaluation.hdf5_files import open_hdf5, read_array
from XVRegistrationLib.evaluation.run_folder import data_mark, source_fingerprint
from XVRegistrationLib.geometry.cameras_of_others import camera_from_matrices
from XVRegistrationLib.geometry.views import PoseRange
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.imaging.xray import Xray

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from XVRegistrationLib.evaluation.summary import Summary

FILE = "ljubljana.h5"
SEARCH = Search(750.0, PoseRange((20.0, 20.0, 20.0), (40.0, 40.0, 75.0)))
"""About the frontal and the lateral view each; xvr allows 25 mm, and 700 to 800 mm from the source."""
_BACKGROUND = 1000.0  # grey values below are no vessel: xvr's threshold
_DENSEST = 0.09  # 1/mm, given to the brightest voxel; only the shape of the vessels matters, not this scale
_VIEWS = {"ap": ("AP", "PA"), "lat": ("LLAT", "RLAT")}


def ljubljana_cases(folder: str | os.PathLike[str], subjects: int | None = None) -> Iterator[DatasetCase]:
    """The cases of a folder with ljubljana.h5 (or of that file), two of each subject, each read when asked for."""
    path = _file(folder)
    with open_hdf5(path) as file:
        names = sorted(name for name in file if name.startswith("subject"))
        if not names:
            raise InputError(f"{path} holds no subjects; {FILE} of the Ljubljana data set is needed.")
        for subject in names[:subjects]:
            volume = _volume(file[subject], subject, path)
            points = read_array(file[subject], "points", -1, 3).astype(np.float64)
            for view in _VIEWS:
                yield _case(file[subject], subject, view, volume, points)


def evaluate_ljubljana(
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    subjects: int | None = None,
    search: Search = SEARCH,
    fresh: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Summary:
    """Register the data set's angiograms; see `evaluate_cases` for what is written and kept."""
    cases = ljubljana_cases(folder, subjects)
    made_of = (data_mark(_file(folder)), source_fingerprint("evaluation/ljubljana.py"))
    return evaluate_cases(cases, search, Path(output), made_of, fresh=fresh, progress=progress)


def _file(folder: str | os.PathLike[str]) -> Path:
    """The data set's file, in its folder or named itself."""
    return Path(folder) / FILE if Path(folder).is_dir() else Path(folder)


def _volume(group: Any, subject: str, path: Path) -> Volume:
    raw = read_array(group, "volume/pixels")
    if raw.ndim != 3:
        raise InputError(f"{path}:{subject}/volume/pixels has {raw.ndim} dimensions; a volume has three.")
    spacing = read_array(group, "volume/spacing", 3).astype(np.float64)
    matrix = np.diag([-spacing[0], spacing[1], spacing[2], 1.0])
    matrix[:3, 3] = read_array(group, "volume/origin", 3)
    matrix[0, 3] += (raw.shape[0] - 1) * spacing[0]
    vessels = np.where(raw >= _BACKGROUND, raw, 0).astype(np.float32)
    if not vessels.any():
        raise InputError(f"{path}:{subject}/volume/pixels has no vessel: no voxel reaches {_BACKGROUND:g}.")
    density = np.ascontiguousarray(vessels.transpose(2, 1, 0)) * np.float32(_DENSEST / vessels.max())
    return Volume(density, matrix, subject, str(path.resolve()), units="1/mm")


def _case(group: Any, subject: str, view: str, volume: Volume, points: NDArray[np.float64]) -> DatasetCase:
    projection = group.get(f"proj-{view}")
    if projection is None:
        raise InputError(f"{group.file.filename}:{subject} has no proj-{view}; it is not the documented layout.")
    pixels = read_array(projection, "pixels").astype(np.float32)
    intrinsics, pose = camera_from_matrices(
        read_array(projection, "intrinsic", 3, 3),
        read_array(projection, "extrinsic", 4, 4),
        (pixels.shape[1], pixels.shape[0]),
        volume.center,
        float(read_array(projection, "col-spacing")),
    )
    # Vessels are darker than the median, which is background: most of an angiogram is.
    dense = np.maximum(np.float32(np.median(pixels)) - pixels, 0)
    name = f"{subject}-{view}"
    return DatasetCase(name, volume, Xray(name, dense, intrinsics, "attenuation"), pose, points, _VIEWS[view])
