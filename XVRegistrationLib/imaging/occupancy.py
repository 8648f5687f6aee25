"""How much of each voxel of a volume lies in structures, on whatever grid these are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.geometry.rigid import transform_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.segmentation import Segmentation
    from XVRegistrationLib.imaging.volume import LabelMap

_FINEST = 8  # samples along each axis of a voxel: a share is then right to a few hundredths for labels finer than that


def occupancy(
    labels: LabelMap | Segmentation, values: Sequence[int], shape: tuple[int, ...], ijk_to_ras: NDArray[np.float64]
) -> NDArray[np.float32]:
    """(K, J, I) of `shape` on the grid `ijk_to_ras` (4, 4): the share, 0 to 1, of each voxel that lies in any of the structures.

    On the labels' own grid that is 0 or 1. On another it is the mean of samples about as dense as the labels' voxels, at
    least one a voxel, between which the labels are trilinear.
    """
    same = shape == labels.layers[0].shape and np.allclose(ijk_to_ras, labels.ijk_to_ras, atol=1e-4)
    share = np.zeros(shape, dtype=np.float32)
    for layer in labels.layers:
        inside = np.isin(layer, [value for value in values if value > 0])
        if same:
            np.maximum(share, inside, out=share)
        elif inside.any():
            place, part = _resampled(inside, np.linalg.inv(labels.ijk_to_ras) @ ijk_to_ras, shape)
            share[place] = np.maximum(share[place], part)
    return share


def _resampled(
    inside: NDArray[np.bool_], to_labels: NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], NDArray[np.float32]]:
    """The box (slices along k, j, i) of a grid of `shape` that can meet what is inside, and the shares of its voxels.

    `to_labels` (4, 4) takes the grid's indices (i, j, k) to those of `inside` (K, J, I).
    """
    from scipy.ndimage import affine_transform, find_objects

    found = find_objects(inside.astype(np.uint8))[0]
    corners = np.stack(np.meshgrid(*[(s.start - 1, s.stop) for s in found[::-1]]), axis=-1).reshape(-1, 3)
    reach = transform_points(np.linalg.inv(to_labels), corners)[:, ::-1]
    first = np.clip(np.floor(reach.min(axis=0) - 0.5).astype(int), 0, shape)
    last = np.clip(np.ceil(reach.max(axis=0) + 1.5).astype(int), first, shape)
    place = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    part = np.zeros(last - first, dtype=np.float32)
    if not part.size:
        return place, part
    # In index order (k, j, i) from here on. `inside` is cut to its box with a border of zeros, which samples taper to.
    cut = np.pad(inside[found], 1).astype(np.float32)
    corner = np.array([s.start - 1 for s in found])
    matrix, offset = to_labels[2::-1, 2::-1], to_labels[2::-1, 3]
    # A voxel is as long in labels' voxels as its edge reaches along their axes.
    samples = np.clip(np.ceil(np.abs(matrix).max(axis=0) - 1e-6), 1, _FINEST).astype(int)
    fine = matrix / samples  # a sample is 1 / samples of a voxel, the first of them half of that from the voxel's edge
    across = (last - first) * samples
    for k in range(len(part)):
        start = first + np.array([k, 0.0, 0.0])
        origin = matrix @ (start + 0.5 / samples - 0.5) + offset - corner
        values: NDArray[Any] = affine_transform(
            cut, fine, origin, (int(samples[0]), int(across[1]), int(across[2])), order=1, prefilter=False
        )
        blocks = values.reshape(samples[0], part.shape[1], samples[1], part.shape[2], samples[2])
        part[k] = blocks.mean(axis=(0, 2, 4))
    return place, part
