"""A made-up patient, X-rays of it and poses near it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import NominalView, relative_motion
from XVRegistrationLib.imaging.volume import LabelMap, Volume
from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.registration.result import PoseUncertainty, Registration, Trust
from XVRegistrationLib.scene.attributes import read_intrinsics
from XVRegistrationLib.scene.xrays import pose_from_node

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.scene.xrays import XrayNodes

GEOMETRIES = {
    "centred": Intrinsics.centered(1020.0, (3.0, 3.0), (120, 100)),
    "mirrored": Intrinsics.centered(1000.0, (3.0, 3.0), (121, 90), mirrored=True),
    "off-centre": Intrinsics(980.0, (2.9, 2.9), (31.25, 77.5), (128, 96)),
    "unequal spacing": Intrinsics.centered(1100.0, (2.1, 3.7), (150, 80)),
    "mirrored, off-centre, unequal spacing": Intrinsics(1234.5678, (0.1 + 2.0, 1 / 0.3), (20.1, 55.7), (140, 90), True),
}


def phantom_ct() -> Volume:
    """Two bones in water in air, HU, on an oblique grid with three spacings."""
    k, j, i = np.mgrid[:24, :32, :40]
    array = np.full((24, 32, 40), -1000, np.int16)
    array[((i - 20) / 18) ** 2 + ((j - 16) / 14) ** 2 < 1] = 0
    array[_spine(i, j, k)] = 900
    array[_rib(i, j, k)] = 700
    return Volume(array, _grid(), name="phantom")


def phantom_labels() -> LabelMap:
    """The phantom's two bones."""
    k, j, i = np.mgrid[:24, :32, :40]
    array = np.zeros((24, 32, 40), np.int16)
    array[_spine(i, j, k)] = 3
    array[_rib(i, j, k)] = 7
    return LabelMap(array, _grid(), {3: "spine", 7: "rib_left_1"})


def pose_near(view: str, isocenter: NDArray[np.float64]) -> NDArray[np.float64]:
    """A pose (4, 4), camera -> RAS, mm, near a nominal view of an isocentre (3,), RAS mm."""
    nominal = NominalView(view, (float(isocenter[0]), float(isocenter[1]), float(isocenter[2])), 700.0)
    return nominal.absolute(relative_motion([4.0, -7.0, 11.0], [9.0, -14.0, 22.0]))


def make_xray(name: str, intrinsics: Intrinsics) -> Xray:
    """An X-ray of noise with a bright top-left corner as it is stored."""
    width, height = intrinsics.size
    pixels = np.random.default_rng(0).uniform(100, 200, (height, width)).astype(np.float32)
    pixels[: height // 4, : width // 4] = 4000
    return Xray(name, pixels, intrinsics, scale="attenuation", origins={"sdd": "tag", "principal_point": "assumed"})


def registered(nodes: XrayNodes, pivot: NDArray[np.float64], scale: float = 1.0) -> Registration:
    """A registration that found the pose at which an X-ray stands, sure to some mm, and less so in depth.

    `scale` multiplies its standard deviations; `pivot` (3,) is in RAS, mm.
    """
    pose, camera = pose_from_node(nodes.pose), read_intrinsics(nodes.xray)
    into_ras = np.kron(np.eye(2), pose[:3, :3])
    sd = scale * np.array([0.8, 0.3, 4.0, 0.006, 0.004, 0.002])
    # The shift along the rows comes with a turn about the columns.
    mixed = np.eye(6)
    mixed[0, 4] = mixed[4, 0] = 0.5
    covariance = into_ras @ (mixed * np.outer(sd, sd)) @ into_ras.T
    along = into_ras @ (scale * np.array([0, 0, 3.0, 0, 0, 0]))
    spread = PoseUncertainty(np.asarray(pivot, np.float64), covariance=covariance, scale=np.outer(along, along))
    trust = Trust("check", 0.2, "Look at the overlay.", "depth along the beam: +-10 mm (95 %)")
    return Registration(nodes.name, pose, camera, 0.9, 1.0, uncertainty=spread, trust=trust)


def _spine(i: NDArray[Any], j: NDArray[Any], k: NDArray[Any]) -> NDArray[np.bool_]:
    return (i - 20) ** 2 + (j - 22) ** 2 < 12


def _rib(i: NDArray[Any], j: NDArray[Any], k: NDArray[Any]) -> NDArray[np.bool_]:
    return (abs(k - 14) < 2) & (abs(((i - 20) / 14) ** 2 + ((j - 16) / 10) ** 2 - 1) < 0.2) & (i > 25)


def _grid() -> NDArray[np.float64]:
    angle = np.radians(10.0)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[-np.cos(angle), np.sin(angle), 0], [-np.sin(angle), -np.cos(angle), 0], [0, 0, 1]]) * (
        8,
        9,
        12,
    )
    matrix[:3, 3] = 170, 150, -900
    return matrix
