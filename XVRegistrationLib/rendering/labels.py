"""Labels of a volume drawn where they fall on an X-ray."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from XVRegistrationLib.geometry.rigid import invert, transform_points, translation
from XVRegistrationLib.rendering.grid import DensityGrid, encoded
from XVRegistrationLib.rendering.projected_bounds import part_of, projected_bounds
from XVRegistrationLib.rendering.render import render, sample_distance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.imaging.segmentation import Segmentation
    from XVRegistrationLib.imaging.volume import LabelMap


def label_grids(labels: LabelMap | Segmentation, values: Iterable[int]) -> dict[int, DensityGrid]:
    """For each label value a grid that is 1 inside the structure, cropped to it; made once, projected often.

    Structures that overlap in a segmentation are whole, each in its layer.
    """
    from scipy.ndimage import find_objects

    boxes = [(layer, find_objects(layer)) for layer in labels.layers]
    grids = {}
    for value in values:
        found = ((x, b[value - 1]) for x, b in boxes if 0 < value <= len(b) and b[value - 1] is not None)
        layer, box = next(found, (None, None))
        if layer is None or box is None:
            continue
        inside = np.pad((layer[box] == value).astype(np.float32), 1)
        first = np.array([s.start - 1 for s in box[::-1]], dtype=np.float64)
        grids[value] = encoded(torch.from_numpy(inside), labels.ijk_to_ras @ translation(first))
    return grids


def project_labels(
    grids: dict[int, DensityGrid],
    pose: ArrayLike,
    intrinsics: Intrinsics,
    shortest: float = 1.0,
    *,
    pixels: int | None = None,
    check: Callable[[], None] | None = None,
) -> dict[int, NDArray[np.bool_]]:
    """Masks (H, W) of the pixels whose ray runs through a structure for at least `shortest` mm; empty ones are left out.

    With `pixels` the rays of an image with so many pixels along its longer side are marched, in steps of a pixel's
    footprint, and the lengths inside interpolated: several times faster, and right to about a pixel of that image.
    `check` is called before each structure; an exception from it ends the work.
    """
    matrix = np.asarray(pose, dtype=np.float64)
    camera = intrinsics if pixels is None else intrinsics.fitted(pixels)
    masks = {}
    for value, grid in grids.items():
        if check is not None:
            check()
        left, top, right, bottom = projected_bounds(grid, matrix, camera)
        if left >= right or top >= bottom:
            continue
        step = None if pixels is None else _footprint(grid, matrix, camera)
        lengths = render(grid, matrix[None], part_of(camera, left, top, right, bottom), step)[0].numpy()
        mask = np.zeros(intrinsics.size[::-1], dtype=np.bool_)
        if camera == intrinsics:
            mask[top:bottom, left:right] = lengths >= shortest
        else:
            rows, columns = (
                _Finer(first, count, fine, coarse)
                for first, count, fine, coarse in zip(
                    (top, left), lengths.shape, mask.shape, camera.size[::-1], strict=True
                )
            )
            fine_lengths = columns.of(rows.of(lengths).T).T
            mask[rows.place, columns.place] = fine_lengths >= shortest
        if mask.any():
            masks[value] = mask
    return masks


class _Finer:
    """Linear interpolation along one axis, from `count` pixels, the first of them `first`, of `coarse` to all `fine` in reach.

    In NumPy because it is done for each structure alone: torch's threads would wait for each other longer than they work,
    all the more when a training runs beside.
    """

    def __init__(self, first: int, count: int, fine: int, coarse: int) -> None:
        ratio = fine / coarse
        start = max(0, int(np.floor((first - 0.5) * ratio)))
        stop = min(fine, int(np.ceil((first + count + 0.5) * ratio)))
        self.place = slice(start, stop)
        # One pixel more on each side: what the first and last pixel hold, which is nothing but at the image's border.
        positions = np.clip((np.arange(start, stop) + 0.5) / ratio - 0.5 - first + 1, 0, count + 1)
        self._lower = np.minimum(positions.astype(int), count)
        self._share = (positions - self._lower).astype(np.float32)[:, None]

    def of(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Rows of `values` (count, N) interpolated to those at `place`."""
        padded = np.pad(values, ((1, 1), (0, 0)), mode="edge")
        lower, upper = padded[self._lower], padded[self._lower + 1]
        return lower + self._share * (upper - lower)


def _footprint(grid: DensityGrid, pose: NDArray[np.float64], camera: Intrinsics) -> float:
    """Size of a pixel at the structure, mm, but no less than a voxel of it."""
    depth = float(transform_points(invert(pose), grid.center)[2])
    return sample_distance(grid, camera.footprint(depth))
