"""What the march goes through: one density or several on the same grid, in 16 bits each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import ndimage

from XVRegistrationLib.rendering.voxel_grid import VoxelGrid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_MOST = 65535  # the highest code
MOST_CHANNELS = 4
"""Densities that one march can sum up."""
NEAR = 1
"""What is near a brick, bricks away."""


@dataclass(frozen=True, eq=False)
class Channels(VoxelGrid):
    """C densities on one grid, those of a voxel side by side: half of what rays would have to fetch in single precision."""

    data: torch.Tensor
    """(K, J, I, W) uint16, contiguous; W is C, or 4 for three densities."""
    units: tuple[float, ...]
    """What one code of each of the C densities means."""

    @property
    def brick(self) -> tuple[int, int, int]:
        """Voxels (i, j, k) along the sides of the bricks of `occupied`: 4, or 2 where voxels are long."""
        i, j, k = (2 if s > 2 * self.spacing.min() else 4 for s in self.spacing)
        return i, j, k

    @cached_property
    def occupied(self) -> torch.Tensor:
        """(k, j, i) uint8: of each brick, whether anything is within `NEAR` bricks of it."""
        anything = highest(self.data.cpu().numpy().max(axis=3), self.brick) > 0
        near = ndimage.maximum_filter(anything, 2 * NEAR + 1)
        return torch.from_numpy(near.astype(np.uint8)).to(self.data.device)

    @property
    def densities(self) -> list[torch.Tensor]:
        """(K, J, I) float32 each, decoded anew each time."""
        return [self.data[..., c].to(torch.float32) * unit for c, unit in enumerate(self.units)]


def encode(densities: Sequence[torch.Tensor], grid_to_ras: NDArray[np.float64]) -> Channels:
    """Densities (K, J, I), none of them negative, four at most, rounded to a 65535th of the highest of each: finer than a CT's own steps."""
    width = len(densities) if len(densities) != 3 else MOST_CHANNELS
    codes = np.zeros((*densities[0].shape, width), dtype=np.uint16)
    units = []
    for c, density in enumerate(densities):
        unit = float(density.max()) / _MOST or 1.0
        # torch knows no rounding into 16 bits without a sign; NumPy does.
        scaled = np.multiply(density.detach().cpu().numpy(), np.float32(1 / unit))
        codes[..., c] = np.rint(scaled, out=scaled)
        units.append(unit)
    return Channels(torch.from_numpy(codes).to(densities[0].device), grid_to_ras, tuple(units))


def highest(values: NDArray[Any], brick: tuple[int, int, int]) -> NDArray[Any]:
    """The highest of (K, J, I) values in each brick of (i, j, k) voxels."""
    for axis, side in enumerate(brick[::-1]):
        values = np.maximum.reduceat(values, np.arange(0, values.shape[axis], side), axis=axis)
    return values
