"""Voxels at places in space, whatever they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.imaging.volume import check_grid

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class VoxelGrid:
    """A box of voxels that rays go through; beyond it there is nothing."""

    data: torch.Tensor
    """(K, J, I), contiguous."""
    grid_to_ras: NDArray[np.float64]
    """(4, 4): index (i, j, k) of `data` -> RAS mm."""

    def __post_init__(self) -> None:
        check_grid(tuple(self.data.shape), self.grid_to_ras, "grid of voxels")

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Voxel spacing (3,) along i, j, k, mm."""
        return np.linalg.norm(self.grid_to_ras[:3, :3], axis=0)

    @property
    def center(self) -> NDArray[np.float64]:
        """Centre of the grid (3,), RAS mm."""
        return transform_points(self.grid_to_ras, (np.array(self.data.shape[::-1]) - 1) / 2)
