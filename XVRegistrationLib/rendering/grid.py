"""The density grid that rays march through."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as functional
from scipy import ndimage

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import translation
from XVRegistrationLib.imaging.attenuation import DEFAULT_ENERGY_KEV, linear_attenuation
from XVRegistrationLib.rendering.voxel_grid import VoxelGrid

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.volume import Volume

AIR = 0.003
"""What is denser (1/mm; about -850 HU, under any lung's mean) is not the air around the body."""
NOTHING = 1e-3
"""Where the volume is attenuation already there is no air to be told; so small a share of its highest value is nothing."""
NEAR = 1
"""What is near a brick, bricks away."""
_AIR_BRICK = 4
_MOST = 65535  # the highest code


@dataclass(frozen=True, eq=False)
class DensityGrid(VoxelGrid):
    """Linear attenuation on a voxel grid with a border of zeros, so that it is continuous everywhere in space.

    Between voxel centres it is trilinear; beyond the border it is zero. Where a volume is cut off, the border tapers it
    to zero over one voxel, and the derivatives by the pose include the moving cut.
    """

    data: torch.Tensor
    """(K, J, I) float32, 1/mm, contiguous, nothing negative."""

    @cached_property
    def codes(self) -> tuple[torch.Tensor, float]:
        """(K, J, I) uint16 that the march goes through, and what one of them is in 1/mm: finer than a CT's own steps."""
        unit = float(self.data.max()) / _MOST or 1.0
        # torch knows no rounding into 16 bits without a sign; NumPy does.
        scaled = np.multiply(self.data.detach().cpu().numpy(), np.float32(1 / unit))
        codes = torch.from_numpy(np.rint(scaled, out=scaled).astype(np.uint16))
        return codes.to(self.data.device), unit

    @property
    def brick(self) -> tuple[int, int, int]:
        """Voxels (i, j, k) along the sides of the bricks of `occupied`: 4, or 2 where voxels are long."""
        i, j, k = (2 if s > 2 * self.spacing.min() else 4 for s in self.spacing)
        return i, j, k

    @cached_property
    def occupied(self) -> torch.Tensor:
        """(k, j, i) uint8: of each brick, whether anything is within `NEAR` bricks of it."""
        codes, _ = self.codes
        anything = _highest(codes.cpu().numpy(), self.brick) > 0
        near = ndimage.maximum_filter(anything, 2 * NEAR + 1)
        return torch.from_numpy(near.astype(np.uint8)).to(codes.device)

    def to(self, device: torch.device | str) -> DensityGrid:
        """The same grid on a device."""
        return DensityGrid(self.data.to(device), self.grid_to_ras)


def density_grid(volume: Volume, energy_kev: float = DEFAULT_ENERGY_KEV) -> DensityGrid:
    """Density grid of a CT in HU, or of a volume of attenuations as they are, cropped to the box of what is not air.

    Raises InputError when the volume holds nothing denser than air.
    """
    density = attenuation_of(volume, energy_kev)
    air = NOTHING * float(density.max()) if volume.units == "1/mm" else AIR
    return grid_from_density(density, volume.ijk_to_ras, volume.name, air)


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
    body = body_of(density, air, name)
    return DensityGrid(torch.from_numpy(body.cut(density)), ijk_to_ras @ translation(body.first))


@dataclass(frozen=True, eq=False)
class Body:
    """Where a volume holds more than the air around a body."""

    bricks: NDArray[np.bool_]
    """(k, j, i) those of 4 voxels a side that do."""
    box: tuple[slice, slice, slice]
    """(k, j, i) of the voxels that they hold."""

    @property
    def first(self) -> NDArray[np.float64]:
        """Index (i, j, k) in the volume of the first voxel of what is cut out of it."""
        return np.array([s.start - 1.0 for s in self.box[::-1]])

    def cut(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values (K, J, I) of the volume in the box, zero in the air around the body, bordered by zeros."""
        part = np.pad(values[self.box].astype(np.float32, copy=False), 1)
        k, j, i = (slice(s.start // _AIR_BRICK, None) for s in self.box)
        height, width = (n - 2 for n in part.shape[1:])
        for layer, cells in enumerate(self.bricks[k, j, i][: -(-(len(part) - 2) // _AIR_BRICK)]):
            kept = np.kron(cells, np.ones((_AIR_BRICK, _AIR_BRICK), dtype=bool))[:height, :width]
            first = 1 + layer * _AIR_BRICK
            part[first : min(first + _AIR_BRICK, len(part) - 1), 1:-1, 1:-1] *= kept
        return part


def body_of(density: NDArray[np.float32], air: float = AIR, name: str = "volume") -> Body:
    """The body in attenuations (K, J, I), 1/mm: all but bricks without anything above `air` that are connected to the border.

    A scanner's noise is all that is in these, and summed up along a ray it would look like something. Raises InputError
    where there is nothing but air.
    """
    highest = _highest(density, (_AIR_BRICK,) * 3)
    if not (highest > air).any():
        raise InputError(
            f"{name} holds nothing denser than air; a CT in Hounsfield units is needed, or attenuation in 1/mm."
        )
    bricks = ~_connected_to_border(highest <= air)
    box = []
    for axis, size in enumerate(density.shape):
        along = np.flatnonzero(bricks.any(axis=tuple(a for a in range(3) if a != axis))) * _AIR_BRICK
        box.append(slice(int(along[0]), min(size, int(along[-1]) + _AIR_BRICK)))
    return Body(bricks, (box[0], box[1], box[2]))


def _highest(values: NDArray[Any], brick: tuple[int, int, int]) -> NDArray[Any]:
    """The highest of (K, J, I) values in each brick of (i, j, k) voxels."""
    for axis, side in enumerate(brick[::-1]):
        values = np.maximum.reduceat(values, np.arange(0, values.shape[axis], side), axis=axis)
    return values


def _connected_to_border(chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those of the chosen cells (k, j, i) that are connected to one at the border by chosen ones."""
    parts, _ = ndimage.label(chosen)
    faces = [parts[index] for axis in range(3) for index in ((slice(None),) * axis + (end,) for end in (0, -1))]
    at_border = np.unique(np.concatenate([face.ravel() for face in faces]))
    return np.isin(parts, at_border[at_border > 0])


def continued(grid: DensityGrid, mm: float = 30.0) -> DensityGrid:
    """The grid with what is cut off at its faces going on beyond them as it ends there, less and less, over `mm`.

    An X-ray shows the rest of a bone of which the volume holds a part, and no edge where the volume ends.
    """
    data = grid.data[1:-1, 1:-1, 1:-1]
    least = NOTHING * float(data.max())
    grid_to_ras = grid.grid_to_ras
    for axis, spacing in zip((2, 1, 0), grid.spacing, strict=True):
        fade = torch.linspace(1.0, 0.0, int(np.ceil(mm / spacing)) + 2, device=data.device)[1:-1]
        fade = fade.reshape([-1 if a == axis else 1 for a in range(3)])
        first, last = data.narrow(axis, 0, 1), data.narrow(axis, data.shape[axis] - 1, 1)
        if float(last.max()) > least:
            data = torch.cat([data, last * fade], dim=axis)
        if float(first.max()) > least:
            data = torch.cat([first * fade.flip(axis), data], dim=axis)
            grid_to_ras = grid_to_ras @ translation([-fade.numel() if a == 2 - axis else 0 for a in range(3)])
    return DensityGrid(functional.pad(data, (1,) * 6).contiguous(), grid_to_ras)


def coarser(grid: DensityGrid, factors: tuple[int, int, int]) -> DensityGrid:
    """The grid averaged over blocks of (i, j, k) `factors` voxels; the same places in RAS."""
    if factors == (1, 1, 1):
        return grid
    kji = factors[::-1]
    # A fresh border of zeros and a fill-up to whole blocks: blocks then start one block before the first voxel.
    pads = [(f, f + (-n) % f) for f, n in zip(kji, grid.data.shape, strict=True)]
    flat = [p for pair in reversed(pads) for p in pair]
    pooled = functional.avg_pool3d(functional.pad(grid.data, flat)[None, None], kji)[0, 0]
    f = np.array(factors, dtype=np.float64)
    to_fine = np.diag([*f, 1.0])
    to_fine[:3, 3] = (f - 1) / 2 - f
    return DensityGrid(pooled.contiguous(), grid.grid_to_ras @ to_fine)


def reduction(grid: DensityGrid, footprint: float) -> tuple[int, int, int]:
    """The largest powers of two (i, j, k) whose voxel blocks are no larger than `footprint`, a pixel's size at the patient, mm."""
    i, j, k = (2 ** max(0, int(np.floor(np.log2(max(footprint / s, 1.0))))) for s in grid.spacing)
    return i, j, k


def matched_to(grid: DensityGrid, footprint: float) -> DensityGrid:
    """The coarsest power-of-two reduction whose voxels are no larger than `footprint`, mm."""
    return coarser(grid, reduction(grid, footprint))
