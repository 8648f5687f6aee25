"""A rotational angiogram that never was: a random vessel tree full of contrast agent, and subtracted X-rays of it.

The volume holds what a subtracted reconstruction would: the attenuation of the iodine alone, zero elsewhere.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.evaluation.simulation import expose
from XVRegistrationLib.geometry.camera import pixel_to_camera
from XVRegistrationLib.geometry.rigid import rotation_from_vector, translation
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.imaging.volumes.vessels import IODINE

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.evaluation.simulation import Detector
    from XVRegistrationLib.geometry.camera import Intrinsics

SIZE_MM = 128.0
"""Side of the volume, mm."""
_ROOT_RADIUS, _LEAST_RADIUS = 2.8, 0.4  # mm
_STEP = 0.8  # mm between the points of a centre line
_BEND = 0.08  # rad a step, of a vessel of 1 mm; narrow vessels wind more
_ROOM = np.array([56.0, 58.0, 58.0])  # semi-axes of the ellipsoid that the tree stays in, mm
_OUTWARDS = 0.05  # a step; vessels of the brain run from its base to its surface
_MOST_SEGMENTS = 300

# A head: semi-axes of the skull's outside, mm (R, A, S), its thickness, mm, and attenuations, 1/mm at 60 keV.
_HEAD, _SKULL = np.array([75.0, 95.0, 85.0]), 6.0
_BRAIN_MU, _BONE_MU = 0.0207, 0.055
# Contrast and noise of the subtracted image are stored as that many grey levels a unit of line integral.
_LEVELS = 8192


@dataclass(frozen=True, eq=False)
class Vessel:
    """A vessel between two branchings."""

    points: NDArray[np.float64]
    """Centre line (N, 3), mm from the tree's middle."""
    radius: float
    """mm."""
    parent: int
    """Index of the vessel that it comes from; -1 for the first."""


def vessel_tree(seed: int = 0) -> list[Vessel]:
    """A tortuous tree of two or three hundred vessels within the volume; a vessel's parent stands before it.

    Radii at a branching follow Murray's law, r^3 = r1^3 + r2^3, and the angles the least work for such radii (Murray 1926):
    cos a1 = (r^4 + r1^4 - r2^4) / (2 r^2 r1^2). Vessels that would be narrower than 0.4 mm end.
    """
    rng = np.random.default_rng(seed)
    vessels: list[Vessel] = []
    start = np.array([4.0, -6.0, -0.95 * _ROOM[2]])
    # The widest of what is still to grow comes first, so that a limit on the number cuts off twigs.
    buds = [(_ROOT_RADIUS, start, np.array([0.0, 0.15, 1.0]), -1)]
    while buds and len(vessels) < _MOST_SEGMENTS:
        radius, origin, direction, parent = buds.pop(max(range(len(buds)), key=lambda i: buds[i][0]))
        points, heading = _grow(origin, direction, radius, rng)
        vessels.append(Vessel(points, radius, parent))
        buds += [(r, points[-1], d, len(vessels) - 1) for r, d in _branch(radius, heading, rng) if r >= _LEAST_RADIUS]
    return vessels


def _grow(
    origin: NDArray[np.float64], direction: NDArray[np.float64], radius: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centre line (N, 3) of a vessel, and its direction at the end: a walk whose curvature changes slowly."""
    count = max(4, round(float(rng.uniform(10, 20)) * radius**0.5 / _STEP))
    heading, point = direction / np.linalg.norm(direction), origin
    points, turn = [point], np.zeros(3)
    for _ in range(count):
        turn = 0.85 * turn + rng.normal(0, _BEND / np.sqrt(radius), 3) * 0.5
        heading = rotation_from_vector(turn) @ heading
        place = point / _ROOM
        far = max(float(np.linalg.norm(place)), 1e-9)
        # Outwards at first, and along the surface when they are near it.
        heading = heading + (_OUTWARDS if far < 0.7 else -1.5 * (far - 0.7)) * place / far
        heading /= np.linalg.norm(heading)
        point = point + _STEP * heading
        points.append(point)
    return np.array(points), heading


def _branch(
    radius: float, heading: NDArray[np.float64], rng: np.random.Generator
) -> list[tuple[float, NDArray[np.float64]]]:
    """Radii and directions of the two vessels that one becomes."""
    share = float(rng.uniform(0.2, 0.8))
    radii = (radius * share ** (1 / 3), radius * (1 - share) ** (1 / 3))
    across = np.cross(heading, rng.normal(size=3))
    across /= np.linalg.norm(across)
    children = []
    for this, other, side in ((radii[0], radii[1], 1.0), (radii[1], radii[0], -1.0)):
        cosine = (radius**4 + this**4 - other**4) / (2 * radius**2 * this**2)
        angle = float(np.arccos(np.clip(cosine, -1, 1)))
        children.append((this, np.cos(angle) * heading + side * np.sin(angle) * across))
    return children


def simulate_vessels(seed: int = 0, voxel: float = 0.5, center: ArrayLike = (0.0, 0.0, 0.0)) -> Volume:
    """A subtracted rotational angiogram about `center` (3,), RAS mm: attenuation in 1/mm, zero outside of the vessels."""
    n = round(SIZE_MM / voxel)
    array = np.zeros((n, n, n), dtype=np.float32)
    first = -(n - 1) / 2 * voxel
    for vessel in vessel_tree(seed):
        for a, b in zip(vessel.points[:-1], vessel.points[1:], strict=True):
            _paint(array, a, b, vessel.radius, voxel, first)
    array *= IODINE
    matrix = translation(np.asarray(center, dtype=np.float64) + first) @ np.diag([voxel, voxel, voxel, 1.0])
    return Volume(array, matrix, name=f"vessels-{seed}", units="1/mm")


def vessel_points(seed: int = 0, center: ArrayLike = (0.0, 0.0, 0.0)) -> NDArray[np.float64]:
    """Points (N, 3) of all centre lines, RAS mm: what errors of poses are measured at."""
    return np.concatenate([vessel.points for vessel in vessel_tree(seed)]) + np.asarray(center, dtype=np.float64)


def _paint(
    array: NDArray[np.float32],
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    radius: float,
    voxel: float,
    first: float,
) -> None:
    """Fill the tube from a to b: each voxel holds about the share of it that lies inside."""
    reach = radius + voxel
    low = np.maximum(np.floor((np.minimum(a, b) - reach - first) / voxel).astype(int), 0)
    high = np.minimum(np.ceil((np.maximum(a, b) + reach - first) / voxel).astype(int) + 1, len(array))
    if (low >= high).any():
        return
    x, y, z = (first + voxel * np.arange(lo, hi) for lo, hi in zip(low, high, strict=True))
    centers = np.stack(np.meshgrid(z, y, x, indexing="ij"), axis=-1)[..., ::-1]
    along = b - a
    t = np.clip((centers - a) @ along / (along @ along), 0.0, 1.0)
    distance = np.linalg.norm(centers - a - t[..., None] * along, axis=-1)
    box = array[low[2] : high[2], low[1] : high[1], low[0] : high[0]]
    np.maximum(box, np.clip(0.5 + (radius - distance) / voxel, 0.0, 1.0), out=box, casting="same_kind")


def expose_subtracted(
    vessels: NDArray[np.floating[Any]],
    background: NDArray[np.floating[Any]],
    intrinsics: Intrinsics,
    detector: Detector,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint16], Detector]:
    """Subtracted attenuation (H, W) uint16 of line integrals (H, W) with and without contrast agent, and the detector used.

    Both exposures have scatter, blur and noise of their own; nothing moved between them. Scatter does not know of the
    vessels, so that they lose contrast where the head is thick. The detector's gamma bends the contrast at last. Exposure
    is controlled as in angiography: the detector's photons are what arrives behind the head. A subtracted series is taken
    with some 3 uGy a frame at the detector, 1e5 photons a mm2, so that the usual 1e4 to 1e5 a pixel are on the noisy side.
    """
    head = background[background > 0]
    transmitted = float(np.exp(-np.median(head))) if head.size else 1.0
    linear = dataclasses.replace(detector, gamma=1.0, bits=16, photons=detector.photons / transmitted)
    mask, used = expose(background, intrinsics, linear, rng)
    # The same exposure for both: what `expose` raised for the first holds for the second.
    filled, used = expose(background + vessels, intrinsics, dataclasses.replace(linear, photons=used.photons), rng)
    difference = np.log(np.maximum(mask, 1.0)) - np.log(np.maximum(filled, 1.0))
    difference -= np.median(difference)
    span = float(np.percentile(np.abs(difference), 99.9)) or 1.0
    bent = span * (2 * np.clip(difference / (2 * span) + 0.5, 0.0, 1.0) ** detector.gamma - 1)
    pixels = np.clip(np.round(_LEVELS * (bent + 1.0)), 0, 65535).astype(np.uint16)
    return pixels, dataclasses.replace(detector, photons=used.photons)


def head_integral(pose: ArrayLike, intrinsics: Intrinsics, center: ArrayLike) -> NDArray[np.float64]:
    """(H, W) line integral, unitless, through a head of brain within a skull, two ellipsoids about `center` (3,), RAS mm."""
    width, height = intrinsics.size
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    matrix = np.asarray(pose, dtype=np.float64)
    ray = pixel_to_camera(np.stack([columns, rows], axis=-1), intrinsics) @ matrix[:3, :3].T
    source = matrix[:3, 3] - np.asarray(center, dtype=np.float64)
    outside = _chord(source, ray, _HEAD)
    inside = _chord(source, ray, _HEAD - _SKULL)
    return _BONE_MU * (outside - inside) + _BRAIN_MU * inside


def _chord(source: NDArray[np.float64], ray: NDArray[np.float64], axes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Length in mm (...) that lines from `source` (3,) along `ray` (..., 3) have within an ellipsoid about the origin."""
    o, d = source / axes, ray / axes
    a, b, c = (d * d).sum(axis=-1), d @ o, float(o @ o) - 1.0
    return 2 * np.sqrt(np.maximum(b * b - a * c, 0.0)) / a * np.linalg.norm(ray, axis=-1)
