"""The label volumes that rays walk through: dozens of structures in one, and where in them a ray may leap."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from XVRegistrationLib.geometry.rigid import translation
from XVRegistrationLib.rendering.voxel_grid import VoxelGrid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.segmentation import Segmentation
    from XVRegistrationLib.imaging.volume import LabelMap

BRICK = 4
"""Cells along an edge of a brick. A cell is what lies between eight voxel centres."""

_MOST = 255  # structures that fit into one layer's numbers, beside the background


@dataclass(frozen=True, eq=False)
class LabelLayer(VoxelGrid):
    """Structures that do not overlap, in the box of voxels that holds them all, with a border of background.

    `data` (K, J, I), uint8, is 0 in the background and n + 1 in the structure `values[n]`. Between voxel centres each
    structure's share is trilinear, from 0 to 1: so a structure's edge is soft, and its thickness along a ray continuous.
    """

    values: tuple[int, ...]
    """The structures' labels."""

    @cached_property
    def bricks(self) -> torch.Tensor:
        """(K', J', I') uint8: how many bricks away, along any axis or diagonal, the nearest brick with an edge in it is.

        0 is a brick with an edge of a structure in it; within d - 1 bricks of one with d everything is of one label.
        """
        from scipy.ndimage import distance_transform_cdt

        lowest, highest = self.data.cpu().numpy(), self.data.cpu().numpy()
        for axis in range(3):
            lowest, highest = _over_bricks(lowest, axis, np.minimum), _over_bricks(highest, axis, np.maximum)
        away = distance_transform_cdt(lowest == highest, "chessboard")
        return torch.from_numpy(np.minimum(away, 255).astype(np.uint8)).to(self.data.device)

    def to(self, device: torch.device | str) -> LabelLayer:
        """The same layer on a device."""
        return LabelLayer(self.data.to(device), self.grid_to_ras, self.values)


@dataclass(frozen=True, eq=False)
class LabelGrid:
    """Structures made ready to be projected; those that overlap lie in different layers."""

    layers: tuple[LabelLayer, ...]
    values: tuple[int, ...]
    """The structures' labels, in the order in which they were asked for; those without voxels are not among them."""

    def to(self, device: torch.device | str) -> LabelGrid:
        """The same structures on a device."""
        return LabelGrid(tuple(layer.to(device) for layer in self.layers), self.values)


def label_grid(labels: LabelMap | Segmentation, values: Iterable[int]) -> LabelGrid:
    """The structures with these label values, made once, projected often; those without voxels are left out.

    Structures that overlap in a segmentation are whole, each in its layer.
    """
    wanted = tuple(dict.fromkeys(values))
    missing, layers = list(wanted), []
    for voxels in labels.layers:
        for found in _layers(np.asarray(voxels), labels.ijk_to_ras, missing):
            layers.append(found)
            missing = [value for value in missing if value not in found.values]
    return LabelGrid(tuple(layers), tuple(value for value in wanted if value not in missing))


def _layers(voxels: NDArray[Any], ijk_to_ras: NDArray[np.float64], wanted: list[int]) -> list[LabelLayer]:
    """What of the wanted structures is in `voxels` (K, J, I), in boxes of no more structures than a byte can count."""
    from scipy.ndimage import find_objects

    boxes = find_objects(voxels)
    present = [value for value in wanted if 0 < value <= len(boxes) and boxes[value - 1] is not None]
    layers = []
    for start in range(0, len(present), _MOST):
        values = present[start : start + _MOST]
        first, last = (
            np.array([edge(getattr(boxes[v - 1][axis], name) for v in values) for axis in range(3)])
            for edge, name in ((min, "start"), (max, "stop"))
        )
        box = voxels[tuple(slice(a, b) for a, b in zip(first, last, strict=True))]
        numbers = np.zeros(len(boxes) + 1, dtype=np.uint8)
        numbers[values] = np.arange(1, len(values) + 1)
        data = np.pad(numbers[np.maximum(box, 0)], 1)
        place = ijk_to_ras @ translation(first[::-1] - 1.0)
        layers.append(LabelLayer(torch.from_numpy(data), place, tuple(values)))
    return layers


def _over_bricks(values: NDArray[np.uint8], axis: int, extreme: np.ufunc) -> NDArray[np.uint8]:
    """The least or greatest of the BRICK + 1 voxels along an axis that a brick's cells lie between."""
    moved = np.moveaxis(values, axis, -1)
    count = -(-(moved.shape[-1] - 1) // BRICK)
    short = count * BRICK + 1 - moved.shape[-1]
    moved = np.pad(moved, ((0, 0), (0, 0), (0, short)), mode="edge")
    parts = [moved[..., n : n + (count - 1) * BRICK + 1 : BRICK] for n in range(BRICK + 1)]
    return np.moveaxis(extreme.reduce(parts), -1, axis)
