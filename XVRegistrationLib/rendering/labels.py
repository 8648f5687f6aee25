"""Labels of a volume where they fall on an X-ray: how thick they are along each ray, and which pixels show them."""

from __future__ import annotations

import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from XVRegistrationLib.geometry.rigid import invert, transform_points
from XVRegistrationLib.rendering.label_grid import LabelGrid, LabelLayer, label_grid
from XVRegistrationLib.rendering.projected_bounds import part_of, projected_bounds
from XVRegistrationLib.rendering.rays import rays_of
from XVRegistrationLib.rendering.render import sample_distance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics

__all__ = ["LabelGrid", "label_grid", "label_thickness", "project_labels"]

_BAND_BYTES = 64 * 2**20
"""Thickness held at a time: an image of 2048 x 2048 px of a hundred structures is 1.7 GB."""


def label_thickness(
    grid: LabelGrid, poses: ArrayLike, intrinsics: Intrinsics, step: float | None = None
) -> torch.Tensor:
    """Thickness (B, N, H, W), mm, float32, of the N structures of `grid.values` along the rays of poses (B, 4, 4), camera -> RAS.

    One walk a ray and layer, however many structures. `step` is the sample distance in mm; by default the finest voxel spacing.
    Each is what `render` gives for the structure alone, as a volume of ones in it and zeros outside.
    """
    found: dict[int, torch.Tensor] = {}
    for layer in grid.layers:
        thickness = _march()(layer, rays_of(layer, poses, intrinsics), step or sample_distance(layer))
        found.update(zip(layer.values, thickness.unbind(dim=1), strict=True))
    if not found:
        width, height = intrinsics.size
        return torch.zeros(len(np.asarray(poses)), 0, height, width)
    return torch.stack([found[value] for value in grid.values], dim=1)


def project_labels(
    grid: LabelGrid,
    pose: ArrayLike,
    intrinsics: Intrinsics,
    shortest: float = 1.0,
    *,
    values: Sequence[int] | None = None,
    pixels: int | None = None,
    check: Callable[[], None] | None = None,
) -> dict[int, NDArray[np.bool_]]:
    """Masks (H, W) of the pixels whose ray runs through a structure for at least `shortest` mm; empty ones are left out.

    Of all structures, or of those with these `values`. With `pixels` the rays of an image with so many pixels along its
    longer side are walked, in steps of a pixel's footprint, and the lengths inside interpolated: several times faster, and
    right to about a pixel of that image. `check` is called now and then; an exception from it ends the work.
    """
    matrix = np.asarray(pose, dtype=np.float64)
    camera = intrinsics if pixels is None else intrinsics.fitted(pixels)
    wanted = grid.values if values is None else tuple(v for v in grid.values if v in set(values))
    masks: dict[int, NDArray[np.bool_]] = {}
    for layer in grid.layers:
        chosen = [(n, value) for n, value in enumerate(layer.values) if value in wanted]
        if not chosen:
            continue
        step = sample_distance(layer) if pixels is None else _footprint(layer, matrix, camera)
        # A small image is walked whole: what lies between two bands could not be interpolated.
        most = _BAND_BYTES if pixels is None else None
        for left, top, thickness in _bands(layer, matrix, camera, step, most, check):
            for n, value in chosen:
                lengths = thickness[n]
                if not lengths.any():
                    continue
                if value not in masks:
                    masks[value] = np.zeros(intrinsics.size[::-1], dtype=np.bool_)
                if camera == intrinsics:
                    bottom, right = top + lengths.shape[0], left + lengths.shape[1]
                    masks[value][top:bottom, left:right] = lengths >= shortest
                else:
                    if check is not None:
                        check()
                    _draw_finer(masks[value], lengths, (top, left), camera.size[::-1], shortest)
    return {value: masks[value] for value in wanted if value in masks and masks[value].any()}


def _bands(
    layer: LabelLayer,
    pose: NDArray[np.float64],
    camera: Intrinsics,
    step: float,
    most: int | None,
    check: Callable[[], None] | None,
) -> Iterator[tuple[int, int, NDArray[np.float32]]]:
    """First column and row, and thickness (N, h, w), of the part of the image that can show the layer.

    With `most` in bands, one below the other, of no more bytes than that.
    """
    left, top, right, bottom = projected_bounds(layer, pose, camera)
    if left >= right or top >= bottom:
        return
    rows = bottom - top if most is None else max(1, most // (4 * len(layer.values) * (right - left)))
    for first in range(top, bottom, rows):
        if check is not None:
            check()
        part = part_of(camera, left, first, right, min(first + rows, bottom))
        yield left, first, _march()(layer, rays_of(layer, pose[None], part), step)[0].cpu().numpy()


def _draw_finer(
    mask: NDArray[np.bool_],
    lengths: NDArray[np.float32],
    corner: tuple[int, int],
    coarse_shape: tuple[int, ...],
    shortest: float,
) -> None:
    """Set where `lengths` (h, w), of a coarser image's pixels from `corner` on, are `shortest` at least in that of `mask`."""
    inside = lengths > 0
    met = [np.flatnonzero(inside.any(axis=1 - axis)) for axis in (0, 1)]
    # One pixel more on each side, which the structure tapers to.
    ranges = [slice(max(0, int(m[0]) - 1), int(m[-1]) + 2) for m in met]
    cut = lengths[tuple(ranges)]
    rows, columns = (
        _Finer(first + r.start, count, fine, coarse)
        for first, r, count, fine, coarse in zip(corner, ranges, cut.shape, mask.shape, coarse_shape, strict=True)
    )
    fine_lengths = columns.of(rows.of(cut).T).T
    mask[rows.place, columns.place] = fine_lengths >= shortest


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


def _footprint(layer: LabelLayer, pose: NDArray[np.float64], camera: Intrinsics) -> float:
    """Size of a pixel at the structures, mm, but no less than a voxel of theirs."""
    depth = float(transform_points(invert(pose), layer.center)[2])
    return sample_distance(layer, camera.footprint(depth))


@cache
def _march() -> Any:
    """The Warp kernel, or its twin in torch where Warp cannot be loaded."""
    try:
        from XVRegistrationLib.rendering.label_march import march
    except (ImportError, OSError) as e:
        from functools import partial

        from XVRegistrationLib.rendering import oracle

        warnings.warn(f"Warp cannot be loaded ({e}); structures are projected one after the other.", stacklevel=2)
        return partial(oracle.march_labels, dtype=torch.float32)
    return march
