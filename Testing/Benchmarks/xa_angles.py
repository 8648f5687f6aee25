"""Do a C-arm's angles mean what we take them to mean? Eight real runs of one static phantom, read from a folder.

    python Testing/Benchmarks/xa_angles.py FOLDER

The folder holds IM1.dcm to IM8.dcm of Dataset I of Vukicevic et al., Sci Rep 8:1711 (2018): a coronary phantom, GE XA. The
points below were marked by hand, to about 2 px. For each reading of the angles' signs, of their order and of mirroring, the points'
places and the table's shift in each run are fitted, the directions being those of the headers; what is left is a
reprojection error. Views of a static object cannot see a mirror image of everything: left and right follow from the
standard's words (PS3.3 C.8.7.5.1.2), and are tested in Testing/Python/unit/test_dicom_orientation.py.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
from scipy.optimize import least_squares

from XVRegistrationLib.geometry.angles import pose_from_angles
from XVRegistrationLib.geometry.camera import Intrinsics, project
from XVRegistrationLib.geometry.rigid import rigid, rotation_from_vector
from XVRegistrationLib.imaging.dicom.geometry import read_geometry

if TYPE_CHECKING:
    from numpy.typing import NDArray

POINTS = {
    "thick tube begins": {
        1: (194, 284), 2: (388.6, 287.4), 3: (303.7, 206.4), 4: (304, 384), 5: (419.3, 167.9), 6: (178.3, 285.4),
        7: (409.5, 385.4), 8: (196.6, 359.9),
    },
    "long branch leaves": {
        1: (152.2, 210.3), 2: (333.8, 212.3), 3: (249.5, 137.8), 4: (247.6, 308.3), 5: (354.7, 84.9), 7: (349.4, 316.8),
        8: (151.5, 271.7),
    },
    "long branch ends": {
        1: (154.1, 411.5), 2: (193.3, 410.2), 3: (162.6, 382.1), 4: (154.1, 422.6), 5: (214.9, 321.4), 6: (112.3, 481.4),
        7: (189.4, 476.2), 8: (150.9, 396.5),
    },
    "upper right branch ends": {1: (406.3, 179.6), 4: (397.8, 147), 6: (374.3, 259.3), 7: (344.9, 148.3), 8: (422, 173.1)},
    "lower right branch ends": {
        1: (374.3, 235.1), 3: (396.5, 246.9), 4: (397.8, 227.3), 5: (405.6, 251.5), 6: (348.1, 295.2), 7: (375.6, 225.3),
        8: (391.2, 246.2),
    },
    "arch ends": {
        1: (147.6, 118.2), 2: (170.5, 128.7), 3: (141.7, 117.6), 4: (143.7, 148.9), 5: (189.4, 68.6), 6: (95.4, 202.5),
        7: (171.1, 194), 8: (149.6, 99.3),
    },
    "second branch leaves": {
        2: (233.2, 181.6), 3: (167.9, 135.9), 4: (165.3, 248.2), 5: (253.4, 83.6), 7: (235.8, 279.5), 8: (115, 194.6),
    },
}  # fmt: skip
"""Point -> run -> stored column and row, px."""
TABLE_MM = 100.0
"""How far the table is expected to move between runs: keeps the depth from running away."""


def directions(primary: float, secondary: float, signs: tuple[int, int], swapped: bool) -> NDArray[np.float64]:
    """Rotation (3, 3) of the camera, for a reading of the angles."""
    a, b = signs[0] * primary, signs[1] * secondary
    if not swapped:
        return pose_from_angles(a, b, 1.0, np.zeros(3))[:3, :3]
    # The arm turns towards the head first, and then about the axis that was turned with it.
    tilted = pose_from_angles(0, b, 1.0, np.zeros(3))[:3, :3]
    return tilted @ rotation_from_vector([0, np.radians(a), 0])


def residuals(headers, signs, swapped, mirrored, pixel_mm=None) -> NDArray[np.float64]:
    """(N, 2) px of the best places of points and table, for a reading of the angles."""
    cameras, rotations, sods = [], [], []
    for values in headers:
        spacing = values["spacing"] if pixel_mm is None else (pixel_mm, pixel_mm)
        cameras.append(Intrinsics.centered(values["sdd"], spacing, (512, 512), mirrored))
        rotations.append(directions(values["primary_angle"], values["secondary_angle"], signs, swapped))
        sods.append(values["sod"])
    seen = [(p, run - 1, pixel) for p, runs in enumerate(POINTS.values()) for run, pixel in runs.items()]
    count = len(POINTS)

    def errors(x: NDArray[np.float64]) -> NDArray[np.float64]:
        points, shifts = x[: 3 * count].reshape(-1, 3), x[3 * count :].reshape(-1, 3)
        poses = [rigid(r, shift - sod * r[:, 2]) for r, sod, shift in zip(rotations, sods, shifts, strict=True)]
        found = np.array([project(points[p], poses[v], cameras[v]) - pixel for p, v, pixel in seen])
        return np.concatenate([np.nan_to_num(found, nan=1e3).ravel(), shifts.ravel() / TABLE_MM])

    best = None
    rng = np.random.default_rng(0)
    for _ in range(4):
        start = np.concatenate([rng.normal(0, 30, 3 * count), np.zeros(3 * len(headers))])
        fit = least_squares(errors, start, method="trf", max_nfev=200)
        best = fit if best is None or fit.cost < best.cost else best
    return best.fun[: 2 * len(seen)].reshape(-1, 2)


def main(folder: str) -> None:
    files = [Path(folder) / f"IM{i}.dcm" for i in range(1, 9)]
    headers = [read_geometry(pydicom.dcmread(f, stop_before_pixels=True)).values for f in files]
    for file, values in zip(files, headers, strict=True):
        print(
            f"{file.name}: {values['primary_angle']:6.1f} {values['secondary_angle']:6.1f} degrees, "
            f"SID {values['sdd']:g}, SOD {values['sod']:g}, pixel {values['spacing'][0]:.6g} mm"
        )
    print("\nprimary secondary  order                mirrored  RMS px  worst px")
    for signs, swapped, mirrored in itertools.product(
        [(1, 1), (-1, 1), (1, -1), (-1, -1)], (False, True), (True, False)
    ):
        off = np.linalg.norm(residuals(headers, signs, swapped, mirrored), axis=1)
        name = "secondary first" if swapped else "longitude, latitude"
        print(
            f"{signs[0]:+7d} {signs[1]:+9d}  {name:20} {mirrored!s:8} {np.sqrt((off**2).mean()):7.2f} {off.max():9.2f}",
            flush=True,
        )
    for pixel in (0.38, 0.390625, 0.4, 0.41):
        off = np.linalg.norm(residuals(headers, (1, 1), False, True, pixel), axis=1)
        print(f"as we read them, with pixels of {pixel:g} mm: RMS {np.sqrt((off**2).mean()):.2f} px")


if __name__ == "__main__":
    main(sys.argv[1])
