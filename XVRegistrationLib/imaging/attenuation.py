"""CT numbers to densities and to linear attenuation, consistent with the CT's own energy.

A CT number fixes the attenuation at the CT's effective energy. For an X-ray at another energy the voxel is taken as a
mixture of soft tissue and cortical bone (ICRU-44 compositions), which are 1.06 and 1.92 g/cm3 when pure.
"""

from __future__ import annotations

import csv
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.resources import resource

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

DEFAULT_ENERGY_KEV = 60.0
"""Mean energy of a diagnostic X-ray beam behind a patient, keV."""

CT_ENERGY_KEV = 70.0
"""Effective energy of a CT at 120 kVp, keV."""

SOFT_TISSUE, CORTICAL_BONE = "soft_tissue", "cortical_bone"


def mass_attenuation(material: str, energy_kev: ArrayLike) -> NDArray[np.float64]:
    """Mass attenuation coefficients, cm2/g, with coherent scattering, of a material at photon energies in keV.

    From Resources/physics/mass_attenuation.csv (xraydb; W. T. Elam et al. 2002), log-log between its rows, which is within
    0.2 %. Raises InputError for another material and for energies outside of the table.
    """
    energies, columns, _ = _table()
    asked = np.asarray(energy_kev, dtype=np.float64)
    if not ((asked >= energies[0]) & (asked <= energies[-1])).all():
        raise InputError(
            f"Photon energies must lie between {energies[0]:g} and {energies[-1]:g} keV, not at "
            f"{asked.min():g} to {asked.max():g}."
        )
    values: NDArray[np.float64] = np.exp(np.interp(np.log(asked), np.log(energies), np.log(columns[_known(material)])))
    return values


def material_density(material: str) -> float:
    """Density of a pure material, g/cm3; raises InputError for one that the table does not have."""
    return _table()[2][_known(material)]


def materials() -> tuple[str, ...]:
    """Names of the materials whose attenuation is known."""
    return tuple(_table()[1])


def tissue_hu(ct_energy_kev: float = CT_ENERGY_KEV) -> tuple[float, float]:
    """CT numbers of pure soft tissue and of pure cortical bone in a CT of this effective energy, HU."""
    water = float(mass_attenuation("water", ct_energy_kev)) * material_density("water")
    soft, bone = (
        1000 * (float(mass_attenuation(m, ct_energy_kev)) * material_density(m) / water - 1)
        for m in (SOFT_TISSUE, CORTICAL_BONE)
    )
    return soft, bone


def tissue_densities(hu: ArrayLike, ct_energy_kev: float = CT_ENERGY_KEV) -> NDArray[np.float32]:
    """Densities (2, ...) of soft tissue and of cortical bone, g/cm3, that make up voxels of CT numbers `hu` (...), HU.

    Together they have at the CT's effective energy exactly the attenuation that the CT number says. Below soft tissue
    its density varies, between soft tissue and cortical bone the mixture, above cortical bone its density again: both are
    continuous. Air and padding (not a number) are zero.
    """
    values = finite_hu(hu)
    low, high = tissue_hu(ct_energy_kev)
    anchors = [-1000.0, low, high]
    densities = np.empty((2, *values.shape), dtype=np.float32)
    densities[0] = np.interp(values, anchors, [0.0, material_density(SOFT_TISSUE), 0.0])
    densities[1] = np.interp(values, anchors, [0.0, 0.0, material_density(CORTICAL_BONE)])
    dense = values > high
    densities[1][dense] *= (1000.0 + values[dense]) / (1000.0 + high)
    return densities


def linear_attenuation(
    hu: ArrayLike, energy_kev: float = DEFAULT_ENERGY_KEV, ct_energy_kev: float = CT_ENERGY_KEV
) -> NDArray[np.float32]:
    """Linear attenuation in 1/mm at `energy_kev` of CT numbers in HU; air and padding become exactly zero.

    That of `tissue_densities`, in one pass: continuous and increasing in HU.
    """
    mu_soft, mu_bone = (
        float(mass_attenuation(m, energy_kev)) * material_density(m) / 10 for m in (SOFT_TISSUE, CORTICAL_BONE)
    )  # 1/cm -> 1/mm
    values = finite_hu(hu)
    low, high = tissue_hu(ct_energy_kev)
    attenuation = np.interp(values, [-1000.0, low, high], [0.0, mu_soft, mu_bone]).astype(np.float32)
    dense = values > high
    if dense.any():
        attenuation[dense] = mu_bone * (1000.0 + values[dense]) / (1000.0 + high)
    return attenuation


def finite_hu(hu: ArrayLike) -> NDArray[Any]:
    """CT numbers with air where there is no number: padding of resampled volumes."""
    values = np.asarray(hu)
    return values if values.dtype.kind in "iu" else np.where(np.isfinite(values), values, -1000.0)


def _known(material: str) -> str:
    if material not in _table()[1]:
        raise InputError(f"The attenuation of {material} is not known; there is that of {', '.join(_table()[1])}.")
    return material


@cache
def _table() -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]], dict[str, float]]:
    """Energies (N,) in keV; coefficients (N,) in cm2/g and density in g/cm3 of each material."""
    text = resource("physics/mass_attenuation.csv").read_text("utf-8").splitlines()
    names, densities, *rows = csv.reader(line for line in text if not line.startswith("#"))
    values = np.array(rows, dtype=np.float64)
    columns = {name: values[:, k] for k, name in enumerate(names) if k > 0}
    return values[:, 0], columns, {name: float(d) for name, d in zip(names[1:], densities[1:], strict=True)}
