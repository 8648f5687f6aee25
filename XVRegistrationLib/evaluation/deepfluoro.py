"""DeepFluoro (Grupp et al. 2020): fluoroscopies of six cadaveric pelves with their CTs and reference poses, in one HDF5 file.

The layout is that of `ipcai_2020_full_res_data.h5` as its authors document it (rg2/DeepFluoroLabeling-IPCAI2020): images as
ITK's, in LPS mm; a pixel is u = K E C^-1 x with one K and E for all, a pose C "cam-to-pelvis-vol" for each X-ray, and a
camera z that points to the source.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.dataset_cases import DatasetCase, Search, evaluate_cases
from XVRegistrationLib.evaluation.hdf5_files import open_hdf5, read_array
from XVRegistrationLib.evaluation.run_folder import data_mark, source_fingerprint
from XVRegistrationLib.geometry.cameras_of_others import camera_from_matrices, cropped, turned
from XVRegistrationLib.geometry.conventions import lps_to_ras, ras_to_lps
from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.geometry.views import PoseRange
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.imaging.xray import Xray

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from XVRegistrationLib.evaluation.summary import Summary

SPECIMENS = ("17-1882", "18-1109", "18-0725", "18-2799", "18-2800", "17-1905")
"""In the order of their numbers in the paper."""
QUESTIONABLE = frozenset({("17-1882", "003"), ("17-1882", "050"), ("18-2799", "002"), ("18-2799", "004")})
"""X-rays whose reference is in doubt (issue 8 of the data set's repository); others leave them out too."""
BORDER = 50
"""px that the collimator shadows on each side; the authors crop as many."""
SEARCH = Search(725.0, PoseRange((45.0, 45.0, 15.0), (100.0, 100.0, 275.0)), 32768)
"""xvr's range for this data set, but for the 150 mm that it allows in the plane."""
_POSE = "gt-poses/cam-to-pelvis-vol"


def deepfluoro_cases(
    path: str | os.PathLike[str], border: int = BORDER, questionable: bool = False, count: int | None = None
) -> Iterator[DatasetCase]:
    """The cases, specimen by specimen, each read when asked for; at most `count` of each specimen.

    Images are turned by 180 degrees where the file says so, so that the head is up, and lose `border` px on each side. The
    pose is the pelvis's; the femurs move by themselves. Errors are measured at the CT's anatomical landmarks.
    """
    with open_hdf5(path) as file:
        found = [name for name in file if name != "proj-params"]
        order = [name for name in SPECIMENS if name in found] + sorted(set(found) - set(SPECIMENS))
        for specimen in order:
            group = file[specimen]
            if "projections" not in group:
                raise InputError(f"{path}:{specimen} has no projections; the full-resolution file is needed.")
            volume = _volume(group, specimen, path)
            points = _landmarks(group)
            chosen = [n for n in sorted(group["projections"]) if questionable or (specimen, n) not in QUESTIONABLE]
            for number in chosen[:count]:
                yield _case(file, specimen, number, volume, points, border)


def evaluate_deepfluoro(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    count: int | None = None,
    search: Search = SEARCH,
    border: int = BORDER,
    fresh: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Summary:
    """Register the data set's X-rays, at most `count` of each specimen; see `evaluate_cases` for what is written and kept."""
    cases = deepfluoro_cases(path, border, count=count)
    made_of = (data_mark(path), border, source_fingerprint("evaluation/deepfluoro.py"))
    return evaluate_cases(cases, search, Path(output), made_of, fresh=fresh, progress=progress)


def _volume(group: Any, specimen: str, path: str | os.PathLike[str]) -> Volume:
    ijk_to_lps = np.eye(4)
    spacing = read_array(group, "vol/spacing", 3).astype(np.float64)
    ijk_to_lps[:3, :3] = read_array(group, "vol/dir-mat", 3, 3).astype(np.float64) * spacing
    ijk_to_lps[:3, 3] = read_array(group, "vol/origin", 3)
    return Volume(read_array(group, "vol/pixels"), lps_to_ras(ijk_to_lps), specimen, str(Path(path).resolve()))


def _landmarks(group: Any) -> np.ndarray[Any, Any]:
    """Landmarks (N, 3) of the CT, RAS mm, by name."""
    if "vol-landmarks" not in group or not len(group["vol-landmarks"]):
        raise InputError(
            f"{group.file.filename}:{group.name} has no vol-landmarks; the full-resolution file is needed."
        )
    lps = np.stack([read_array(group, f"vol-landmarks/{name}", 3) for name in sorted(group["vol-landmarks"])])
    return transform_points(lps_to_ras(np.eye(4)), lps)


def _case(
    file: Any, specimen: str, number: str, volume: Volume, points: np.ndarray[Any, Any], border: int
) -> DatasetCase:
    projection, params = file[specimen]["projections"][number], file["proj-params"]
    extrinsic = read_array(params, "extrinsic", 4, 4).astype(np.float64)
    room_to_lps = read_array(projection, _POSE, 4, 4).astype(np.float64)
    size = (int(read_array(params, "num-cols")), int(read_array(params, "num-rows")))
    intrinsics, pose = camera_from_matrices(
        read_array(params, "intrinsic", 3, 3),
        extrinsic @ np.linalg.inv(room_to_lps) @ ras_to_lps(np.eye(4)),
        size,
        volume.center,
        float(read_array(params, "pixel-col-spacing")),
    )
    pixels = read_array(projection, "image/pixels", size[1], size[0])
    if bool(read_array(projection, "rot-180-for-up")):
        pixels, (intrinsics, pose) = pixels[::-1, ::-1], turned(intrinsics, pose)
    if border:
        pixels, intrinsics = pixels[border:-border, border:-border], cropped(intrinsics, border)
    name = f"{specimen}-{number}"
    return DatasetCase(name, volume, Xray(name, np.ascontiguousarray(pixels), intrinsics), pose, points)
