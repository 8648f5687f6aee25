"""What a CT shows of a patient, measured on voxels of a few millimetres; nothing that could tell who it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.training.preregistration import mean_hu

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.volume import Volume

    Mask = NDArray[np.bool_]

_COARSE, _LEAST_ALONG = 4.0, 64  # mm, and voxels along the longest side where that is finer
_BODY, _BONE = -300.0, 200.0  # HU; of means over voxels
_SOFT = (-150.0, 150.0)  # fat to muscle and blood
_LUNG = (-980.0, -500.0)  # between the air around a patient and everything else
_SKULL_MM2 = 6000.0
"""What a ring of bone must enclose in an axial slice to be a skull: a newborn's has 7000, the condyles of a knee 4500."""
_RING = 0.3
"""Of the circle that a scanner reconstructs: a body that fills more of it has been cut off by it, not just touched."""
_HARDLY = 0.2
"""Of its length times its width: elbows and skin folds."""
_ENDS = (("left", "right"), ("back", "front"), ("feet", "head"))
"""Towards which a volume ends, along R, A, S: low and high."""


@dataclass(frozen=True, eq=False)
class Body:
    """Of one CT. Shares are 0 to 1."""

    soft: float
    """Of what is denser than lung, soft tissue and fat: bones that were cut out have little."""
    lung: float
    """Lung with body on its left, right, front and back, of all of the body; too little where the CT cuts the lungs off."""
    skull: float
    """What rings of bone as large as a skull enclose in axial slices, of the body."""
    across: float
    """Left to right, mm: nine tenths of its axial slices are narrower."""
    length: float
    """Feet to head, mm, of what was scanned."""
    cut: dict[str, NDArray[np.float64]]
    """Where the scan ends and the body does not: side of the patient (left, right, back, front, feet, head, or around) ->
    points (N, 3), RAS mm."""
    point_mm2: float
    """Area that each of these points stands for, mm^2."""

    @property
    def whole(self) -> bool:
        """Whether hardly anything of it is cut off at its sides, so that what is not there is not in the patient either."""
        sides = sum(len(points) for side, points in self.cut.items() if side not in ("feet", "head"))
        return sides * self.point_mm2 < _HARDLY * self.across * self.length


def body_of(volume: Volume) -> Body | None:
    """What a CT in HU shows; None where there is nothing in it that is as dense as a body, or no HU."""
    if volume.units != "HU":
        return None
    spacing = min(_COARSE, float((np.array(volume.array.shape[::-1]) * volume.spacing).max()) / _LEAST_ALONG)
    factors = np.clip(np.floor(spacing / volume.spacing), 1, np.array(volume.array.shape[::-1])).astype(int)
    hu, to_ras = _upright(mean_hu(volume.array, tuple(factors.tolist())), volume, factors)
    body = _largest(ndimage.binary_opening(hu > _BODY, np.ones((3, 3, 3))))  # without a table's shell, clothes, tubes
    if not body.any():
        return None
    airy = ndimage.binary_opening((hu > _LUNG[0]) & (hu < _LUNG[1]), np.ones((3, 3, 3)))  # without blurred borders
    within = _within(body)
    steps = np.linalg.norm(to_ras[:3, :3], axis=0)  # along S, A, R
    widths = [np.ptp(np.flatnonzero(plane.any(axis=0))) + 1 for plane in body if plane.any()]
    return Body(
        soft=_share(body & (hu > _SOFT[0]) & (hu < _SOFT[1]), body),
        lung=_share(airy & within, within),
        skull=_enclosed(hu > _BONE, _SKULL_MM2 / float(steps[1] * steps[2])) / int(np.count_nonzero(within)),
        across=float(np.percentile(widths, 90) * steps[2]),
        length=float(len(widths) * steps[0]),
        cut={side: transform_points(to_ras, found.astype(float)) for side, found in _cut(body, to_ras, steps).items()},
        point_mm2=float(np.prod(steps) ** (2 / 3)),
    )


def _share(mask: Mask, of: Mask) -> float:
    return float(np.count_nonzero(mask) / np.count_nonzero(of))


def _within(body: Mask) -> Mask:
    """The body and what lies between its parts in an axial slice, left to right as well as front to back: its lungs."""
    between = np.ones_like(body)
    for axis in (1, 2):
        before = np.logical_or.accumulate(body, axis=axis)
        behind = np.flip(np.logical_or.accumulate(np.flip(body, axis), axis=axis), axis)
        between &= before & behind
    return between


def _upright(
    array: NDArray[np.float32], volume: Volume, factors: NDArray[np.int_]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Voxels along the patient's S, A and R, either way, and the matrix (4, 4) of such an index to RAS, mm.

    The axes of a volume that lies obliquely are those that are nearest.
    """
    pooled = volume.ijk_to_ras @ np.block(
        [[np.diag(factors.astype(float)), ((factors - 1) / 2)[:, None]], [np.zeros((1, 3)), np.ones((1, 1))]]
    )
    left = [0, 1, 2]
    order = []  # voxel axes i, j, k that run along S, A, R
    for row in (2, 1, 0):
        order.append(max(left, key=lambda axis: abs(volume.ijk_to_ras[row, axis]) / volume.spacing[axis]))
        left.remove(order[-1])
    to_ras = pooled.copy()
    to_ras[:, :3] = pooled[:, order]
    return array.transpose([2 - axis for axis in order]), to_ras


def _largest(mask: Mask) -> Mask:
    """The largest connected part."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    return np.asarray(labels == 1 + int(np.bincount(labels.ravel())[1:].argmax()))


def _enclosed(bone: Mask, least: float) -> int:
    """Voxels that lie in rings of bone, of those rings that enclose at least so many in a slice."""
    found = 0
    for plane in bone:
        labels, count = ndimage.label(ndimage.binary_fill_holes(plane) & ~plane)
        if count:
            sizes = np.bincount(labels.ravel())[1:]
            found += int(sizes[sizes >= least].sum())
    return found


def _cut(body: Mask, to_ras: NDArray[np.float64], steps: NDArray[np.float64]) -> dict[str, NDArray[np.int_]]:
    """Indices (N, 3) of the body's voxels at the ends of the volume, by their side of the patient."""
    found = {}
    for axis, row in enumerate((2, 1, 0)):
        low, high = _ENDS[row] if to_ras[row, axis] > 0 else _ENDS[row][::-1]
        for side, at in ((low, 0), (high, body.shape[axis] - 1)):
            layer = np.zeros_like(body)
            index: list[Any] = [slice(None)] * 3
            index[axis] = at
            layer[tuple(index)] = body[tuple(index)]
            found[side] = np.argwhere(layer)
    found["around"] = np.argwhere(_at_circle(body, steps))
    return {side: points for side, points in found.items() if len(points)}


def _at_circle(body: Mask, steps: NDArray[np.float64]) -> Mask:
    """The body's voxels at the circle to which scanners reconstruct a slice, where that has cut it off."""
    rows, columns = np.array(body.shape[1:]) * steps[1:]
    around = np.zeros_like(body)
    if abs(rows - columns) > 0.02 * rows:
        return around
    y, x = (steps[1 + n] * (np.arange(body.shape[1 + n]) - (body.shape[1 + n] - 1) / 2) for n in (0, 1))
    inside = min(rows, columns) / 2 - np.hypot(y[:, None], x[None, :])  # mm from the circle
    ring = (inside >= 0) & (inside < 2.5 * steps[1:].max())
    seen = body.any(axis=(1, 2))
    beyond = body[:, inside < -steps[1:].max()].any()
    if not beyond and body[seen][:, ring].mean() > _RING:
        around[:, ring] = body[:, ring]
    return around
