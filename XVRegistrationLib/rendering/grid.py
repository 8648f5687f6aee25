"""The density grid that rays march through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as functional
from scipy import ndimage

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import translation
from XVRegistrationLib.imaging.attenuation import DEFAULT_ENERGY_KEV, linear_attenuation
from XVRegistrationLib.rendering.body import body_of, highest_by_slices, highest_in
from XVRegistrationLib.rendering.voxel_grid import VoxelGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.rendering.body import Body, Slices

AIR = 0.003
"""What is denser (1/mm; about -850 HU, under any lung's mean) is not the air around the body."""
NOTHING = 1e-3
"""Where the volume is attenuation already there is no air to be told; so small a share of its highest value is nothing."""
NEAR = 1
"""What is near a brick, bricks away."""
_MOST = 65535  # the highest code
_BODY, _CUT_FACE, _BEYOND_VOXEL = 0.01, 400.0, 6.0  # 1/mm (half of water's), mm2, mm
_SLICES = 16  # decoded or encoded at once, as near as may be


@dataclass(frozen=True, eq=False)
class DensityGrid(VoxelGrid):
    """Linear attenuation on a voxel grid with a border of zeros, so that it is continuous everywhere in space.

    Between voxel centres it is trilinear; beyond the border it is zero. Where a volume is cut off, the border tapers it
    to zero over one voxel, and the derivatives by the pose include the moving cut. What is made of a volume holds its
    16-bit codes alone: half of what floating-point numbers would take, and finer than a CT's own steps.
    """

    data: torch.Tensor
    """(K, J, I), contiguous, nothing negative: densities in 1/mm, float32, or their codes, uint16."""
    unit: float = 1.0
    """What one of a code is, 1/mm."""
    whole: tuple[tuple[bool, bool], ...] = ((False, False),) * 3
    """Of i, j, k: whether nothing is cut off at the first and the last face, since only air was left out there."""

    @property
    def coded(self) -> bool:
        """Whether `data` are codes."""
        return self.data.dtype == torch.uint16

    @cached_property
    def codes(self) -> tuple[torch.Tensor, float]:
        """(K, J, I) uint16 that the march goes through, and what one of them is in 1/mm; InputError for what is no density."""
        if self.coded:
            return self.data, self.unit
        data = self.data.detach()
        lowest, highest = (float(v) for v in data.aminmax())
        if not (lowest >= 0 and np.isfinite(highest)):
            raise InputError(
                "A grid's densities must be numbers that are not negative; make the grid with density_grid."
            )
        unit = highest / _MOST or 1.0
        codes = np.empty(data.shape, dtype=np.uint16)
        for k in range(0, len(data), _SLICES):
            codes[k : k + _SLICES] = _encoded(data[k : k + _SLICES].cpu().numpy(), unit)
        return torch.from_numpy(codes).to(data.device), unit

    def densities(self, slices: slice = slice(None)) -> torch.Tensor:
        """(k, J, I) float32, 1/mm, of these slices along k, or of all; decoded at each call where the grid holds codes."""
        data = self.data[slices]
        return data.to(torch.float32).mul_(self.unit) if self.coded else data

    @property
    def brick(self) -> tuple[int, int, int]:
        """Voxels (i, j, k) along the sides of the bricks of `occupied`: 4, or 2 where voxels are long."""
        i, j, k = (2 if s > 2 * self.spacing.min() else 4 for s in self.spacing)
        return i, j, k

    @cached_property
    def occupied(self) -> torch.Tensor:
        """(k, j, i) uint8: of each brick, whether anything is within `NEAR` bricks of it."""
        codes, _ = self.codes
        anything = highest_in(codes.cpu().numpy(), self.brick) > 0
        near = ndimage.maximum_filter(anything, 2 * NEAR + 1)
        return torch.from_numpy(near.astype(np.uint8)).to(codes.device)

    def to(self, device: torch.device | str) -> DensityGrid:
        """The same grid on a device."""
        return replace(self, data=self.data.to(device))


def density_grid(volume: Volume, energy_kev: float = DEFAULT_ENERGY_KEV) -> DensityGrid:
    """Density grid of a CT in HU, or of a volume of attenuations as they are, cropped to the box of what is not air.

    Raises InputError when the volume holds nothing denser than air.
    """
    air = None if volume.units == "1/mm" else AIR
    return grid_from_slices(
        lambda slices: attenuation_of(volume, energy_kev, (slices,)),
        volume.array.shape,
        volume.ijk_to_ras,
        volume.name,
        air,
    )


def attenuation_of(
    volume: Volume, energy_kev: float = DEFAULT_ENERGY_KEV, part: tuple[slice, ...] = ()
) -> NDArray[np.float32]:
    """Attenuation (K, J, I), 1/mm, of a CT in HU, or of a volume of attenuations as they are; never negative, never NaN.

    Of a `part` of the voxels (slices along k, j, i), or of all.
    """
    values = volume.array[part]
    if volume.units == "1/mm":
        return np.maximum(np.nan_to_num(values, posinf=0.0), 0.0).astype(np.float32)
    return linear_attenuation(values, energy_kev)


def grid_from_density(
    density: NDArray[np.float32], ijk_to_ras: NDArray[np.float64], name: str = "volume", air: float = AIR
) -> DensityGrid:
    """Density grid of attenuations (K, J, I) in 1/mm, without the air around the body, cropped and bordered by zeros.

    Raises InputError where nothing is above `air`.
    """
    return grid_from_slices(density.__getitem__, density.shape, ijk_to_ras, name, air)


def grid_from_slices(
    values: Slices, shape: tuple[int, ...], ijk_to_ras: NDArray[np.float64], name: str, air: float | None
) -> DensityGrid:
    """The same of attenuations in 1/mm that are made in slices; without `air`, a small share of the highest value is that."""
    highest = highest_by_slices(values, shape[0])
    body = body_of(highest, shape, NOTHING * float(highest.max()) if air is None else air, name)
    return coded_grids(body, lambda slices: values(slices)[None], [float(highest[body.bricks].max())], ijk_to_ras)[0]


def coded_grids(
    body: Body, values: Slices, highest: Sequence[float], ijk_to_ras: NDArray[np.float64]
) -> tuple[DensityGrid, ...]:
    """The body's part of M volumes at one place, of `values` (M, k, J, I), as codes of which the last is each one's `highest`."""
    units = [h / _MOST or 1.0 for h in highest]
    codes = [np.zeros(body.shape, dtype=np.uint16) for _ in units]
    for slices, parts in body.cut(values):
        for own, part, unit in zip(codes, parts, units, strict=True):
            own[slices, 1:-1, 1:-1] = _encoded(part, unit)
    place = ijk_to_ras @ translation(body.first)
    return tuple(
        DensityGrid(torch.from_numpy(own), place, unit, body.whole) for own, unit in zip(codes, units, strict=True)
    )


def _encoded(values: NDArray[np.float32], unit: float) -> NDArray[np.uint16]:
    scaled = values * np.float32(1 / unit)
    # Rounding may put the highest value above the last code.
    return np.minimum(np.rint(scaled, out=scaled), _MOST, out=scaled).astype(np.uint16)


def continued(grid: DensityGrid, mm: float = 30.0) -> DensityGrid:
    """The grid with what is cut off at its faces going on beyond them as it ends there, less and less, over `mm`.

    An X-ray shows the rest of a bone of which the volume holds a part, and no edge where the volume ends.
    """
    codes, unit = grid.codes
    data = codes.cpu().numpy()[1:-1, 1:-1, 1:-1]
    least = NOTHING * float(data.max())
    fades = [np.linspace(1.0, 0.0, int(np.ceil(mm / s)) + 2, dtype=np.float32)[1:-1] for s in reversed(grid.spacing)]
    # What goes on beyond one pair of faces is nowhere more than these: whether the next pair goes on is known before.
    goes_on = [
        [not ends and float(data.take(n, axis).max()) > least for n, ends in zip((0, -1), whole, strict=True)]
        for axis, whole in enumerate(reversed(grid.whole))
    ]
    before, after = ([fade.size if go[n] else 0 for fade, go in zip(fades, goes_on, strict=True)] for n in (0, 1))
    found = np.zeros([b + n + a + 2 for b, n, a in zip(before, data.shape, after, strict=True)], np.uint16)
    inner, there = found[1:-1, 1:-1, 1:-1], [slice(b, b + n) for b, n in zip(before, data.shape, strict=True)]
    inner[tuple(there)] = data
    for axis in (2, 1, 0):
        across = tuple(slice(None) if a == axis else there[a] for a in range(3))
        planes, start, stop = np.moveaxis(inner[across], axis, 0), there[axis].start, there[axis].stop
        for n, share in enumerate(fades[axis], start=1):  # a plane at a time: all at once takes much memory
            if before[axis]:
                planes[start - n] = np.rint(planes[start] * share)
            if after[axis]:
                planes[stop - 1 + n] = np.rint(planes[stop - 1] * share)
        there[axis] = slice(None)
    place = grid.grid_to_ras @ translation([-n for n in reversed(before)])
    return DensityGrid(torch.from_numpy(found).to(codes.device), place, unit)


def beyond(grid: DensityGrid, mm: float = 200.0, voxel: float = _BEYOND_VOXEL) -> DensityGrid | None:
    """What the volume lacks of the body, at a guess and coarsely: the slices at its cut faces, repeated over `mm` outside of it.

    A face is cut where it shows more than a few square centimetres of body. None where the volume holds all of it. The voxels
    are those of `matched_to(grid, voxel)`.
    """
    codes, unit = grid.codes
    fine, coarse = codes[1:-1, 1:-1, 1:-1], matched_to(grid, voxel)
    guess, first = coarse.densities()[1:-1, 1:-1, 1:-1].cpu().numpy(), [0, 0, 0]
    inside = np.zeros(guess.shape, dtype=bool)
    for axis in range(3):
        i = 2 - axis
        area = float(np.prod(np.delete(grid.spacing, i)))
        steps = round(mm / coarse.spacing[i])
        shown = [np.count_nonzero(fine.select(axis, n).cpu().numpy() > _BODY / unit) * area for n in (0, -1)]
        before, after = (
            steps if mm2 > _CUT_FACE and not whole else 0 for mm2, whole in zip(shown, grid.whole[i], strict=True)
        )
        padding = [(before, after) if a == axis else (0, 0) for a in range(3)]
        # The outermost blocks may be half empty.
        ends = [guess.take([n, n + 1 if n == 0 else n - 1], axis).max(axis, keepdims=True) for n in (0, -1)]
        middle = guess
        guess = np.concatenate([*[ends[0]] * before, middle, *[ends[1]] * after], axis)
        inside = np.pad(inside, padding, constant_values=True)
        first[i] = -before
    if not inside.any():
        return None
    return DensityGrid(
        torch.from_numpy(np.pad(np.where(inside, guess, np.float32(0)), 1)).to(codes.device),
        coarse.grid_to_ras @ translation(np.array(first, dtype=np.float64)),
    )


def completed(grid: DensityGrid, rest: DensityGrid, share: float) -> DensityGrid:
    """The grid, and around it `share` of what lies `beyond` it on the same voxels."""
    data = share * rest.densities()
    first = np.rint((np.linalg.inv(rest.grid_to_ras) @ grid.grid_to_ras)[:3, 3]).astype(int)
    i, j, k = (slice(f + 1, f + n - 1) for f, n in zip(first, reversed(grid.data.shape), strict=True))
    data[k, j, i] = grid.densities()[1:-1, 1:-1, 1:-1]
    return DensityGrid(data, rest.grid_to_ras)


def coarser(grid: DensityGrid, factors: tuple[int, int, int]) -> DensityGrid:
    """The grid averaged over blocks of (i, j, k) `factors` voxels; the same places in RAS."""
    if factors == (1, 1, 1):
        return grid
    kji = factors[::-1]
    depth, *across = grid.data.shape
    # A fresh border of zeros and a fill-up to whole blocks: blocks then start one block before the first voxel.
    sides = [p for f, n in reversed([*zip(kji[1:], across, strict=True)]) for p in (f, f + (-n) % f)]
    pooled = []
    group = kji[0] * max(1, _SLICES // kji[0])
    for k in range(0, depth, group):
        part = grid.densities(slice(k, k + group))
        padded = functional.pad(part, [*sides, 0, (-len(part)) % kji[0]])
        pooled.append(functional.avg_pool3d(padded[None, None], kji)[0, 0])
    data = functional.pad(torch.cat(pooled), (0, 0, 0, 0, 1, 1))
    f = np.array(factors, dtype=np.float64)
    to_fine = np.diag([*f, 1.0])
    to_fine[:3, 3] = (f - 1) / 2 - f
    found = DensityGrid(data, grid.grid_to_ras @ to_fine)
    return DensityGrid(found.codes[0], found.grid_to_ras, found.codes[1]) if grid.coded else found


def reduction(grid: DensityGrid, footprint: float) -> tuple[int, int, int]:
    """The largest powers of two (i, j, k) whose voxel blocks are no larger than `footprint`, a pixel's size at the patient, mm."""
    i, j, k = (2 ** max(0, int(np.floor(np.log2(max(footprint / s, 1.0))))) for s in grid.spacing)
    return i, j, k


def matched_to(grid: DensityGrid, footprint: float) -> DensityGrid:
    """The coarsest power-of-two reduction whose voxels are no larger than `footprint`, mm."""
    return coarser(grid, reduction(grid, footprint))
