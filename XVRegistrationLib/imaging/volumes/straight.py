"""Slices at uneven distances, or sheared by a tilted gantry, onto a grid with even distances and right angles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.conventions import lps_to_ras
from XVRegistrationLib.imaging.volumes.hounsfield import clamp_padding
from XVRegistrationLib.imaging.volumes.pixels import AIR

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.volumes.stack import Stack

SHEAR = 5e-4
"""Sine between an axis and where it should point, up to which a grid counts as straight; 512 voxels bend by a quarter of one."""
# A slice may lie so far from its place in an even stack: rounded header values, and a share of the distance.
_ROUNDING, _SHARE = 0.05, 0.05  # mm, of the distance
# Between slices further apart than this bone cannot be guessed: mm, or a share of the usual distance.
_BRIDGED, _UNEVEN = 3.0, 1.5
_GROWTH = 4  # so many times as many voxels are resampled to; more is a damaged header
_STEEPEST = 45.0  # degrees; gantries tilt up to 30


def straight(
    array: NDArray[Any], stack: Stack, path: Path, hounsfield: bool
) -> tuple[NDArray[Any], NDArray[np.float64], list[str]]:
    """Voxels (K, J, I) of a stack on a straight grid, its IJK-to-RAS matrix (4, 4), mm, and what was done, in sentences.

    An even stack is left as it is. Uneven distances are interpolated linearly along the normal, and a tilt within the
    slices; of a CT in `hounsfield` units padding becomes air first, and what lies outside too. Raises InputError for a gap
    too wide to fill and for a tilt beyond that of any gantry.
    """
    notes = []
    fill = AIR if hounsfield else None
    first = stack.slices[0]
    steps = np.diff(stack.heights)
    usual = float(np.median(steps))
    even = np.linspace(stack.heights[0], stack.heights[-1], len(stack.heights))
    positions = stack.positions
    if np.abs(stack.heights - even).max() > _ROUNDING + _SHARE * usual:
        _check_gaps(stack, usual, path)
        if hounsfield:
            clamp_padding(array)
        count = round(float(np.ptp(stack.heights)) / usual) + 1
        if count > _GROWTH * len(stack.heights):
            raise InputError(
                f"{path} has slice distances from {steps.min():.3f} to {steps.max():.2f} mm; export it again."
            )
        even = np.linspace(stack.heights[0], stack.heights[-1], count)
        array = _between(array, stack.heights, even)
        positions = np.stack([np.interp(even, stack.heights, p) for p in stack.positions.T], axis=1)
        notes.append(
            f"Slice distances vary from {steps.min():.2f} to {steps.max():.2f} mm; the volume was interpolated to "
            f"{len(even)} slices {even[1] - even[0]:.3f} mm apart."
        )
    # The first and the last slice say best how the stack leans.
    step = (positions[-1] - positions[0]) / (len(positions) - 1)
    _check_line(positions, step, path)
    lps = np.eye(4)
    lps[:3, 0], lps[:3, 1], lps[:3, 2] = first.rows * first.spacing[0], first.columns * first.spacing[1], step
    lps[:3, 3] = positions[0]
    if hounsfield and np.linalg.norm(np.cross(step, first.normal)) > SHEAR * np.linalg.norm(step):
        clamp_padding(array)
    array, matrix, said = without_shear(array, lps_to_ras(lps), str(path), fill)
    return array, matrix, notes + said


def without_shear(
    array: NDArray[Any], ijk_to_ras: NDArray[np.float64], name: str, fill: float | None = None, labels: bool = False
) -> tuple[NDArray[Any], NDArray[np.float64], list[str]]:
    """Voxels and matrix on a grid whose third axis is normal to the slices; what is straight already stays as it is.

    Raises InputError where the slices themselves are sheared, or the stack leans by more than 45 degrees.
    """
    spacing = np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
    if not np.isfinite(ijk_to_ras).all() or spacing.min() <= 0:
        return array, ijk_to_ras, []  # the volume's own checks say what is wrong
    i, j, k = (ijk_to_ras[:3, axis] / spacing[axis] for axis in range(3))
    if max(abs(float(i @ j)), abs(float(i @ k)), abs(float(j @ k))) <= SHEAR or abs(float(i @ j)) > SHEAR:
        return array, ijk_to_ras, []
    normal = np.cross(i, j)
    normal *= np.sign(normal @ k)
    tilt = float(np.degrees(np.arccos(np.clip(normal @ k, -1, 1))))
    if tilt > _STEEPEST:
        raise InputError(f"{name} has axes sheared by {tilt:.0f} degrees, which no gantry does; correct its header.")
    straightened, matrix = _resampled(array, ijk_to_ras, normal, fill, labels, name)
    return straightened, matrix, [f"A tilt of {tilt:.1f} degrees (gantry) was resampled to right angles."]


def _resampled(
    array: NDArray[Any],
    sheared: NDArray[np.float64],
    normal: NDArray[np.float64],
    fill: float | None,
    labels: bool,
    name: str,
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Resampled by SimpleITK slice for slice, on a grid as much wider as the stack leans."""
    import SimpleITK as sitk

    depth = sheared[:3, 2] @ normal
    lean = np.linalg.solve(sheared[:3, :3], sheared[:3, 2] - depth * normal)[:2]  # px a slice along i and j
    total = lean * (len(array) - 1)
    low, high = np.floor(np.minimum(total, 0)).astype(int), np.ceil(np.maximum(total, 0)).astype(int)
    size = [int(array.shape[2] + high[0] - low[0]), int(array.shape[1] + high[1] - low[1])]
    if size[0] * size[1] > _GROWTH * array.shape[1] * array.shape[2]:
        raise InputError(
            f"The slices of {name} are shifted by more than their own size; correct the positions in its header."
        )
    value = float(array.min()) if fill is None else fill
    result = np.empty((len(array), size[1], size[0]), array.dtype)
    method = sitk.sitkNearestNeighbor if labels else sitk.sitkLinear
    for k, plane in enumerate(array):
        # Pixel (u, v) of the straight slice lies at (u + low - k lean) of the sheared one.
        shift = sitk.TranslationTransform(2, (low - k * lean).tolist())
        # In floating point, because SimpleITK cuts off decimals, which would make everything darker.
        image = sitk.GetImageFromArray(np.ascontiguousarray(plane) if labels else plane.astype(np.float32))
        resampled = sitk.Resample(image, size, shift, method, (0.0, 0.0), (1.0, 1.0), (1.0, 0.0, 0.0, 1.0), value)
        values = sitk.GetArrayViewFromImage(resampled)
        result[k] = np.rint(values) if array.dtype.kind in "iu" and not labels else values
    matrix = sheared.copy()
    matrix[:3, 2] = depth * normal
    matrix[:3, 3] += sheared[:3, 0] * low[0] + sheared[:3, 1] * low[1]
    return result, matrix


def _between(array: NDArray[Any], heights: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[Any]:
    """Slices at the heights wanted, linear between the given ones."""
    result = np.empty((len(wanted), *array.shape[1:]), array.dtype)
    below = np.clip(np.searchsorted(heights, wanted, side="right") - 1, 0, len(heights) - 2)
    for k, (index, height) in enumerate(zip(below, wanted, strict=True)):
        share = (height - heights[index]) / (heights[index + 1] - heights[index])
        mixed = (1 - share) * array[index].astype(np.float32) + share * array[index + 1].astype(np.float32)
        result[k] = np.rint(mixed) if array.dtype.kind in "iu" else mixed
    return result


def _check_gaps(stack: Stack, usual: float, path: Path) -> None:
    steps = np.diff(stack.heights)
    widest = int(steps.argmax())
    if steps[widest] > max(_BRIDGED, _UNEVEN * usual):
        a, b = stack.slices[widest], stack.slices[widest + 1]
        raise InputError(
            f"{path} has irregular slice distances: {steps[widest]:.2f} mm between the images {a.number} and {b.number}, "
            f"{usual:.2f} mm elsewhere; slices are missing. Export the whole series, or resample it first."
        )


def _check_line(positions: NDArray[np.float64], step: NDArray[np.float64], path: Path) -> None:
    """Slices of one stack follow each other along a line, also where the gantry is tilted."""
    expected = positions[0] + step * np.arange(len(positions))[:, None]
    off = float(np.linalg.norm(positions - expected, axis=1).max())
    if off > _ROUNDING + _SHARE * float(np.linalg.norm(step)) + 0.5:
        raise InputError(
            f"{path} has slices that are shifted against each other within their plane, by up to {off:.1f} mm; "
            "correct ImagePositionPatient (0020,0032), or export the series again."
        )
