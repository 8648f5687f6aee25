"""What a network is to learn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from XVRegistrationLib.geometry.rigid import transform_points

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.geometry.views import NominalView, PoseRange
    from XVRegistrationLib.rendering.grid import DensityGrid

_DENSE = 0.03  # 1/mm at 60 keV: bone, metal and contrast


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be learnt: one patient, seen by one camera from poses about one view."""

    grid: DensityGrid
    view: NominalView
    pose_range: PoseRange
    intrinsics: Intrinsics
    structures: tuple[DensityGrid, ...] = ()
    """Structures whose shadows a loss compares (`rendering.structure_grid`); only where it asks for them."""
    patients: Patients | None = None
    """Where the X-rays' patients are taken from, all lying as the one of `grid` does; that one alone without it."""


class Patients(Protocol):
    """Many patients, of whom some are drawn for each batch."""

    def draw(self, footprint: float) -> Sequence[DensityGrid]:
        """Grids with voxels of no more than a pixel's `footprint` at the patient, mm."""

    @property
    def held_out(self) -> int:
        """How many there are to validate on."""

    def validation(self, footprint: float) -> Iterator[DensityGrid]:
        """Those that the network is validated on, always the same, one after the other: together they may be larger than memory."""


def dense_points(grid: DensityGrid, count: int = 200, seed: int = 0) -> NDArray[np.float64]:
    """Centres (count, 3) of dense voxels drawn at random, RAS mm; of any voxels that are not air where none is dense."""
    codes, unit = grid.codes
    flat = codes.cpu().numpy().ravel()
    dense = np.flatnonzero(flat > _DENSE / unit)
    if len(dense) < count:
        dense = np.flatnonzero(flat > _DENSE / 5 / unit)
    chosen = np.random.default_rng(seed).choice(len(dense), min(count, len(dense)), replace=False)
    kji = np.stack(np.unravel_index(dense[chosen], codes.shape), axis=-1)
    return transform_points(grid.grid_to_ras, kji[:, ::-1])
