"""The density grid that rays march through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as functional

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import transform_points, translation
from XVRegistrationLib.imaging.attenuation import DEFAULT_ENERGY_KEV, linear_attenuation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.volume import Volume

AIR = 0.003
"""Voxels below this (1/mm; about -850 HU, under any lung's mean) may be cropped away outside the body's box."""
NOTHING = 1e-3
"""Where the volume is attenuation already there is no air to be told; so small a share of its highest value is nothing."""


@dataclass(frozen=True, eq=False)
class DensityGrid:
    """Linear attenuation on a voxel grid with a border of zeros, so that it is continuous everywhere in space.

    Between voxel centres it is trilinear; beyond the border it is zero. Where a volume is cut off, the border tapers it
    to zero over one voxel, and the derivatives by the pose include the moving cut.
    """

    data: torch.Tensor
    """(K, J, I) float32, 1/mm, contiguous."""
    grid_to_ras: NDArray[np.float64]
    """(4, 4): index (i, j, k) of `data` -> RAS mm."""

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Voxel spacing (3,) along i, j, k, mm."""
        return np.linalg.norm(self.grid_to_ras[:3, :3], axis=0)

    @property
    def center(self) -> NDArray[np.float64]:
        """Centre of the grid (3,), RAS mm."""
        return transform_points(self.grid_to_ras, (np.array(self.data.shape[::-1]) - 1) / 2)

    def to(self, device: torch.device | str) -> DensityGrid:
        """The same grid on a device."""
        return DensityGrid(self.data.to(device), self.grid_to_ras)


def density_grid(volume: Volume, energy_kev: float = DEFAULT_ENERGY_KEV) -> DensityGrid:
    """Density grid of a CT in HU, or of a volume of attenuations as they are, cropped to the box of what is not air.

    Raises InputError when the volume holds nothing denser than air.
    """
    if volume.units == "1/mm":
        density = np.maximum(np.nan_to_num(volume.array, posinf=0.0), 0.0).astype(np.float32)
        return grid_from_density(density, volume.ijk_to_ras, volume.name, NOTHING * float(density.max()))
    return grid_from_density(linear_attenuation(volume.array, energy_kev), volume.ijk_to_ras, volume.name)


def grid_from_density(
    density: NDArray[np.float32], ijk_to_ras: NDArray[np.float64], name: str = "volume", air: float = AIR
) -> DensityGrid:
    """Density grid of attenuations (K, J, I) in 1/mm, cropped to the box of what is above `air` and bordered by zeros."""
    box = occupied_box(density, air, name)
    padded = np.pad(density[box], 1)
    first = np.array([s.start for s in box[::-1]], dtype=np.float64)
    grid_to_ras = ijk_to_ras @ translation(first - 1)
    return DensityGrid(torch.from_numpy(np.ascontiguousarray(padded, dtype=np.float32)), grid_to_ras)


def occupied_box(density: NDArray[np.float32], air: float, name: str = "volume") -> tuple[slice, slice, slice]:
    """The box (k, j, i) of what is above `air`, and a voxel around it; InputError where there is nothing."""
    solid = density > air
    ranges = []
    for axis in range(3):
        inside = np.flatnonzero(solid.any(axis=tuple(a for a in range(3) if a != axis)))
        if not inside.size:
            raise InputError(
                f"{name} holds nothing denser than air; a CT in Hounsfield units is needed, or attenuation in 1/mm."
            )
        # One voxel more on each side keeps the slope at the surface.
        ranges.append(slice(max(0, int(inside[0]) - 1), min(density.shape[axis], int(inside[-1]) + 2)))
    return ranges[0], ranges[1], ranges[2]


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
