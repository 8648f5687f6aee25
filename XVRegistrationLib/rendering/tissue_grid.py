"""Soft tissue and cortical bone out of one attenuation: one volume to keep, and one to march through, for both."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from XVRegistrationLib.imaging.attenuation import (
    DEFAULT_ENERGY_KEV,
    SOFT_TISSUE,
    linear_attenuation,
    mass_attenuation,
    material_density,
)
from XVRegistrationLib.rendering.grid import AIR, DensityGrid, grid_from_slices
from XVRegistrationLib.rendering.spectrum import TISSUES

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class TissueSplit:
    """How attenuations mu, 1/mm, at a CT's effective energy are made of soft tissue and bone: `tissue_densities`.

    Densities in g/cm2 per mm: bone = steep max(0, min(mu - knee, flat mu)), soft = (mu - bone_mass bone) / soft_mass.
    """

    knee: float
    """Attenuation of pure soft tissue, 1/mm: there is no bone in what has less."""
    flat: float
    """From pure bone on, where flat mu is the lesser, its density rises with the attenuation."""
    steep: float
    soft_mass: float
    """Mass attenuation of soft tissue, cm2/g."""
    bone_mass: float

    @staticmethod
    def at(ct_energy_kev: float) -> TissueSplit:
        """That of a CT of this effective energy."""
        masses = [float(mass_attenuation(m, ct_energy_kev)) for m in TISSUES]
        pure = [material_density(m) / 10 for m in TISSUES]  # g/cm3 are tenths of g/cm2 per mm
        soft, bone = (mass * density for mass, density in zip(masses, pure, strict=True))
        return TissueSplit(soft, (bone - soft) / bone, pure[1] / (bone - soft), *masses)


@dataclass(frozen=True, eq=False)
class TissueGrid:
    """Densities of soft tissue and cortical bone, as the voxels of one attenuation have them; `MaterialGrids` of a plain CT."""

    attenuation: DensityGrid
    """At the CT's effective energy, where it says what the CT number says."""
    split: TissueSplit

    @property
    def materials(self) -> tuple[str, ...]:
        """Soft tissue and cortical bone."""
        return TISSUES

    @cached_property
    def grids(self) -> tuple[DensityGrid, ...]:
        """One of each material by itself, in g/cm2 per mm: made when asked for, and then kept."""
        mu, of = self.attenuation.densities(), self.split
        bone = of.steep * torch.minimum(mu - of.knee, of.flat * mu).clamp_min(0)
        soft = ((mu - of.bone_mass * bone) / of.soft_mass).clamp_min(0)
        return tuple(DensityGrid(data, self.attenuation.grid_to_ras) for data in (soft, bone))

    def to(self, device: torch.device | str) -> TissueGrid:
        """The same grid on a device."""
        return TissueGrid(self.attenuation.to(device), self.split)


def tissue_grid(hu: ArrayLike, ijk_to_ras: NDArray[np.float64], name: str, ct_energy_kev: float) -> TissueGrid:
    """Tissues of CT numbers (K, J, I), without the air around the body, on the grid that `density_grid` makes of them.

    Raises InputError where they hold nothing denser than air.
    """
    masses = (float(mass_attenuation(SOFT_TISSUE, e)) for e in (ct_energy_kev, DEFAULT_ENERGY_KEV))
    air = AIR * next(masses) / next(masses)
    values = np.asarray(hu)

    def attenuation(slices: slice) -> NDArray[np.float32]:
        return linear_attenuation(values[slices], ct_energy_kev, ct_energy_kev)

    return TissueGrid(grid_from_slices(attenuation, values.shape, ijk_to_ras, name, air), TissueSplit.at(ct_energy_kev))
