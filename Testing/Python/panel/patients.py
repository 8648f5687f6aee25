"""Made-up patients for the session's tests: voxels in HU, and files of X-rays that were rendered from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset
from scipy.ndimage import gaussian_filter

from Testing.Python.dicom_files import grey, write
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import NominalView, relative_motion
from XVRegistrationLib.imaging.volume import LabelMap, Volume
from XVRegistrationLib.imaging.volumes.vessels import vessel_attenuation
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.render import render

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

CAMERA = Intrinsics.centered(1020.0, (5.0, 5.0), (78, 70))
_BONES = ((-35, 10, 25, 18, 900), (30, -15, -20, 24, 700), (5, 20, -40, 14, 1200), (40, 25, 30, 10, 1000))
"""Centre, radius, mm, and HU."""


def patient(name: str = "patient", flipped: bool = False) -> Volume:
    """Four ellipsoids of bone in a body of water in air, without any symmetry; `flipped`, another patient."""
    array = np.full(_grid()[0].shape, -1000, np.int16)
    x, y, z = _grid()
    array[(x / 80) ** 2 + (y / 60) ** 2 + (z / 70) ** 2 < 1] = 0
    for number, (_, _, _, _, hu) in enumerate(_BONES):
        array[_inside(number)] = hu
    return Volume(array[:, ::-1] if flipped else array, _ijk_to_ras(), name)


def bones(count: int = len(_BONES)) -> LabelMap:
    """The bones of `patient`, the first `count` of them."""
    array = np.zeros(_grid()[0].shape, np.int16)
    for number in range(count):
        array[_inside(number)] = number + 1
    return LabelMap(array, _ijk_to_ras(), {n + 1: f"bone {n + 1}" for n in range(count)})


def angiogram() -> Volume:
    """Vessels as thick as bones, with blurred walls, in the values of a workstation: noise about 100, contrast about 1700."""
    filled = gaussian_filter((bones().array > 0).astype(np.float32), 1.0)
    values = 100 + 1600 * filled + np.random.default_rng(3).normal(0, 30, filled.shape)
    return Volume(values.astype(np.int16), _ijk_to_ras(), "angiogram")


def mr() -> Volume:
    """The patient as an MR may show it: water bright, bone and air dark."""
    array = np.where(patient().array > -500, 700, 10).astype(np.int16)
    array[bones().array > 0] = 30
    return Volume(array, _ijk_to_ras(), "mr")


def pose_of(number: int) -> NDArray[np.float64]:
    """One of several poses (4, 4), camera -> RAS, mm, near the nominal view from the front."""
    view = NominalView("AP", (-1.0, -1.0, -1.0), 700.0)
    motions = (([5.0, -8.0, 3.0], [10.0, -6.0, 12.0]), ([-7.0, 4.0, -6.0], [-12.0, 8.0, 5.0]))
    return view.absolute(relative_motion(*motions[number]))


def line_integrals(volume: Volume, number: int) -> NDArray[np.float32]:
    """The X-ray (h, w) of a patient from `pose_of(number)`, as line integrals."""
    image: NDArray[np.float32] = render(density_grid(volume), pose_of(number)[None], CAMERA)[0].numpy()
    return image


def write_xray(path: Path, volume: Volume, number: int) -> Path:
    """An X-ray file that states its spacing and not the distance from source to detector."""
    image = sitk.GetImageFromArray(line_integrals(volume, number))
    image.SetSpacing(CAMERA.spacing)
    sitk.WriteImage(image, str(path))
    return path


def _grid() -> tuple[NDArray[np.float32], ...]:
    """x, y, z of the voxels (K, J, I), mm."""
    z, y, x = np.mgrid[-32:32, -40:40, -48:48].astype(np.float32) * 2.0
    return x, y, z


def _ijk_to_ras() -> NDArray[np.float64]:
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[:3, 3] = -96.0, -80.0, -64.0
    return matrix


def _inside(number: int) -> NDArray[np.bool_]:
    x, y, z = _grid()
    cx, cy, cz, r, _ = _BONES[number]
    inside: NDArray[np.bool_] = ((x - cx) / r) ** 2 + ((y - cy) / r) ** 2 + ((z - cz) / (1.4 * r)) ** 2 < 1
    return inside


def dsa_run(path: Path, masks: bool = True) -> Path:
    """A run from `pose_of(0)`: a mask frame, contrast medium that fills half and then all of the vessels, and it is gone.

    The C-arm's angles are not stated: `pose_of` is no usual view.
    """
    body, vessels = line_integrals(patient(), 0), filled_vessels(0)
    frames = np.stack([grey(0.5 * body + share * vessels) for share in (0.0, 0.5, 1.0, 0.0)])
    how = Dataset()
    how.MaskOperation, how.MaskFrameNumbers, how.ApplicableFrameRange = "AVG_SUB", 1, [2, 4]
    tags = {"MaskSubtractionSequence": [how]} if masks else {}
    return write(path, frames, PositionerPrimaryAngle=None, PositionerSecondaryAngle=None, **tags)


def filled_vessels(number: int) -> NDArray[np.float32]:
    """The line integrals (h, w) of the angiogram's vessels, thinly filled with contrast medium, from `pose_of(number)`."""
    vessels = vessel_attenuation(angiogram().array, (500.0, 1300.0))
    return 0.3 * line_integrals(Volume(vessels, _ijk_to_ras(), units="1/mm"), number)
