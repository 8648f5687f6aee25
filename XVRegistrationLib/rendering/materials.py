"""Volumes as densities of materials: what a polyenergetic X-ray is made from.

A CT number fixes the attenuation at the CT's effective energy. All of these bases keep it there, exactly, and differ in how
they go on to other energies: soft tissue, cortical bone, a metal, iodine. The thresholds of others are there to compare with.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.attenuation import (
    CORTICAL_BONE,
    CT_ENERGY_KEV,
    DEFAULT_ENERGY_KEV,
    SOFT_TISSUE,
    finite_hu,
    linear_attenuation,
    mass_attenuation,
    material_density,
    tissue_densities,
    tissue_hu,
)
from XVRegistrationLib.rendering.body import BRICK, body_of, highest_in
from XVRegistrationLib.rendering.grid import AIR, NOTHING, DensityGrid, attenuation_of, coded_grids
from XVRegistrationLib.rendering.tissue_grid import TissueGrid, tissue_grid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch
    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.imaging.volume import Volume

    Densities = Mapping[str, NDArray[np.float32]]

IODINE = "iodine"
_THRESHOLDS_HU = (-800.0, 350.0)


@dataclass(frozen=True, eq=False)
class Metal:
    """Implants: what they are made of, and where they are."""

    material: str = "titanium"
    inside: NDArray[Any] | None = None
    """(K, J, I) share of each voxel, 0 to 1, that is metal; its HU then do not matter. Without it the HU tell.

    A CT stored with 12 bits ends at 3071 HU, far below any metal: such a CT needs this.
    """
    above_hu: float = 3000.0
    """Denser voxels are a mixture of the densest bone and the metal, where `inside` does not say."""


@dataclass(frozen=True, eq=False)
class Contrast:
    """Iodine in vessels."""

    inside: NDArray[Any]
    """(K, J, I) share of each voxel, 0 to 1, that is vessel."""
    mg_per_ml: float | None = None
    """Iodine that is added to the vessels of a CT without contrast agent. None: the CT has it, and what its vessels have
    above soft tissue is iodine."""


_Given = TypeVar("_Given", Metal, Contrast, Metal | None, Contrast | None)


@dataclass(frozen=True, eq=False)
class MaterialGrids:
    """Densities of materials on one and the same grid, each to be marched alone."""

    materials: tuple[str, ...]
    grids: tuple[DensityGrid, ...]
    """One of each material, of equal shape and place; in g/cm2 per mm, so that rays sum to area densities in g/cm2."""

    def to(self, device: torch.device | str) -> MaterialGrids:
        """The same grids on a device."""
        return MaterialGrids(self.materials, tuple(g.to(device) for g in self.grids))


def material_densities(
    hu: ArrayLike, ct_energy_kev: float = CT_ENERGY_KEV, metal: Metal | None = None, contrast: Contrast | None = None
) -> dict[str, NDArray[np.float32]]:
    """Density in g/cm3 of each material in voxels of CT numbers `hu`, all of the shape of `hu`.

    Continuous and increasing in HU at every energy. Their attenuation at the CT's effective energy is what the CT number
    says, except where `metal.inside` or `contrast.mg_per_ml` say something else. Raises InputError for shares that do not fit,
    and for a metal that is one of the other materials.
    """
    values = finite_hu(hu)
    # Where the HU tell of metal, everything else is as dense as it gets where metal begins.
    others = np.minimum(values, metal.above_hu) if metal is not None and metal.inside is None else values
    soft, bone = tissue_densities(others, ct_energy_kev)
    found = {SOFT_TISSUE: soft, CORTICAL_BONE: bone}
    if contrast is not None:
        found[IODINE] = _iodine(others, found, ct_energy_kev, contrast)
    if metal is not None:
        if metal.material in found:
            raise InputError(f"{metal.material} is among the other materials already: name the metal of the implants.")
        found[metal.material] = _metal(values, found, ct_energy_kev, metal)
    return found


def threshold_densities(hu: ArrayLike) -> dict[str, NDArray[np.float32]]:
    """Densities by thresholds as in Diff-DeepDRR (Zhang et al., MICCAI 2023): soft above -800 HU, bone above 350; to compare with.

    One density for both, in g/cm3: DeepDRR's bilinear line. At 350 HU the attenuation jumps by a third.
    """
    values = finite_hu(hu).astype(np.float32)
    density = np.maximum(np.minimum(0.001029 * values + 1.03, 0.0005886 * values + 1.03), 0.0)
    air, bone = _THRESHOLDS_HU
    return {
        SOFT_TISSUE: np.where((values > air) & (values <= bone), density, 0).astype(np.float32),
        CORTICAL_BONE: np.where(values > bone, density, 0).astype(np.float32),
    }


def material_grids(
    volume: Volume,
    ct_energy_kev: float = CT_ENERGY_KEV,
    metal: Metal | None = None,
    contrast: Contrast | None = None,
) -> MaterialGrids | TissueGrid:
    """Grids of a CT's materials; of a volume of attenuations (vessels, 1/mm at 60 keV) that of its iodine.

    Without metal and contrast agent a CT's two tissues share one grid, a `TissueGrid`. Raises InputError where it holds nothing denser than air.
    """
    if volume.units == "1/mm":
        if metal is not None or contrast is not None:
            raise InputError(f"{volume.name} is attenuation already: metal and contrast agent are for CTs in HU.")
        per_g = np.float32(10 / mass_attenuation(IODINE, DEFAULT_ENERGY_KEV))

        def vessels(slices: slice) -> Densities:
            return {IODINE: attenuation_of(volume, part=(slices,)) * per_g}

        return _grids(vessels, volume.array.shape, volume.ijk_to_ras, volume.name, None)
    if metal is None and contrast is None:
        return tissue_grid(volume.array, volume.ijk_to_ras, volume.name, ct_energy_kev)
    for given, what in ((metal, "Metal"), (contrast, "Vessels")):
        if given is not None and given.inside is not None:
            _check_shape(given.inside, volume.array.shape, what)

    def densities(slices: slice) -> Densities:
        return material_densities(volume.array[slices], ct_energy_kev, _part(metal, slices), _part(contrast, slices))

    return _grids(densities, volume.array.shape, volume.ijk_to_ras, volume.name, AIR)


def grids_of(
    densities: Densities, ijk_to_ras: NDArray[np.float64], name: str = "volume", air: float = AIR
) -> MaterialGrids:
    """Grids of densities (K, J, I) in g/cm3, without the air around the body, cropped together and bordered by zeros.

    `air` is an attenuation in 1/mm at 60 keV.
    """
    shape = next(iter(densities.values())).shape
    return _grids(lambda slices: {m: d[slices] for m, d in densities.items()}, shape, ijk_to_ras, name, air)


def _grids(
    densities: Callable[[slice], Densities],
    shape: tuple[int, ...],
    ijk_to_ras: NDArray[np.float64],
    name: str,
    air: float | None,
) -> MaterialGrids:
    """Grids of densities in g/cm3 that are made in slices; without `air`, a small share of the highest attenuation is that."""
    names = tuple(densities(slice(0, 1)))
    mass = np.array([mass_attenuation(m, DEFAULT_ENERGY_KEV) / 10 for m in names], dtype=np.float32)

    def stacked(slices: slice) -> NDArray[np.float32]:
        # g/cm3 are tenths of g/cm2 per mm.
        return np.stack(list(densities(slices).values())) / np.float32(10)

    parts = (stacked(slice(k, k + BRICK)) for k in range(0, shape[0], BRICK))
    # Of each brick the highest of the attenuation and of each of the densities.
    bricks = [
        np.stack([highest_in(v, (BRICK,) * 3) for v in (10 * np.tensordot(mass, part, 1), *part)]) for part in parts
    ]
    attenuation, *highest = np.concatenate(bricks, axis=1)
    body = body_of(attenuation, shape, NOTHING * float(attenuation.max()) if air is None else air, name)
    grids = coded_grids(body, stacked, [float(h[body.bricks].max()) for h in highest], ijk_to_ras)
    return MaterialGrids(names, grids)


def _part(given: _Given, slices: slice) -> _Given:
    """What is said of some slices of the volume."""
    if given is None or given.inside is None:
        return given
    return dataclasses.replace(given, inside=np.asarray(given.inside)[slices])


def _iodine(
    hu: NDArray[Any], tissues: dict[str, NDArray[np.float32]], ct_energy_kev: float, contrast: Contrast
) -> NDArray[np.float32]:
    """Density of iodine; the bone that enhanced vessels were taken for leaves `tissues`."""
    share = _share(contrast.inside, hu, "Vessels")
    if contrast.mg_per_ml is not None:
        if not 0 <= contrast.mg_per_ml <= material_density(IODINE) * 1000:
            raise InputError(f"A concentration of iodine of {contrast.mg_per_ml:g} mg/ml does not exist.")
        return share * np.float32(contrast.mg_per_ml / 1000)
    low = tissue_hu(ct_energy_kev)[0]
    above = np.maximum(
        linear_attenuation(hu, ct_energy_kev, ct_energy_kev) - linear_attenuation(low, ct_energy_kev, ct_energy_kev), 0
    )
    blood = tissue_densities(np.minimum(hu, low), ct_energy_kev)
    for tissue, filled in zip((SOFT_TISSUE, CORTICAL_BONE), blood, strict=True):
        tissues[tissue] = tissues[tissue] + share * (filled - tissues[tissue])
    return np.asarray(share * above * np.float32(10 / mass_attenuation(IODINE, ct_energy_kev)), dtype=np.float32)


def _metal(
    hu: NDArray[Any], others: dict[str, NDArray[np.float32]], ct_energy_kev: float, metal: Metal
) -> NDArray[np.float32]:
    """Density of the metal; what it displaces leaves `others`."""
    pure = material_density(metal.material)
    if metal.inside is not None:
        share = _share(metal.inside, hu, "Metal")
        density = share * np.float32(pure)
    else:
        share, density = _metal_by_hu(hu, pure, ct_energy_kev, metal)
    for material in others:
        others[material] = others[material] * (1 - share)
    return density


def _metal_by_hu(
    hu: NDArray[Any], pure: float, ct_energy_kev: float, metal: Metal
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Share of a voxel that is metal, and the density of the metal, g/cm3."""
    water = float(mass_attenuation("water", ct_energy_kev)) * material_density("water")
    pure_hu = 1000 * (float(mass_attenuation(metal.material, ct_energy_kev)) * pure / water - 1)
    if not tissue_hu(ct_energy_kev)[1] <= metal.above_hu < pure_hu:
        raise InputError(
            f"Metal begins between cortical bone and pure {metal.material}, {tissue_hu(ct_energy_kev)[1]:.0f} to "
            f"{pure_hu:.0f} HU, not at {metal.above_hu:g} HU."
        )
    share = np.interp(hu, [metal.above_hu, pure_hu], [0.0, 1.0]).astype(np.float32)
    # Denser than pure: a CT's overshoot, kept as its number says.
    beyond = np.maximum((1000.0 + hu) / (1000.0 + pure_hu), 1.0)
    return share, np.asarray(share * pure * beyond, dtype=np.float32)


def _share(inside: NDArray[Any], hu: NDArray[Any], what: str) -> NDArray[np.float32]:
    _check_shape(inside, hu.shape, what)
    share = np.asarray(inside, dtype=np.float32)
    if not ((share >= 0) & (share <= 1)).all():
        raise InputError(f"{what} must be given as the share of each voxel, 0 to 1.")
    return share


def _check_shape(inside: NDArray[Any], shape: tuple[int, ...], what: str) -> None:
    if np.shape(inside) != shape:
        raise InputError(f"{what} must be given on the voxels of the CT, {shape}, not {np.shape(inside)}.")
