"""CT numbers to linear attenuation, consistent with the CT's own energy.

A CT number fixes the attenuation at the CT's effective energy. For an X-ray at another energy the voxel is taken as a
mixture of soft tissue and cortical bone (ICRU-44 compositions), which are 1.06 and 1.92 g/cm3 when pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Mass attenuation coefficients with coherent scattering, cm2/g (NIST, Hubbell & Seltzer 1995).
_ENERGY_KEV = np.array([30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 100.0, 110.0, 120.0])
_SOFT_TISSUE = np.array([0.3790, 0.2688, 0.2264, 0.2048, 0.1916, 0.1823, 0.1752, 0.1693, 0.1643, 0.1599])
_CORTICAL_BONE = np.array([1.331, 0.6655, 0.4242, 0.3148, 0.2570, 0.2229, 0.2008, 0.1855, 0.1743, 0.1656])

_SOFT_DENSITY, _BONE_DENSITY = 1.06, 1.92  # g/cm3
# Where the pure materials lie on the scale of a CT with an effective energy of 70 keV (120 kVp).
_SOFT_HU, _BONE_HU = 53.0, 1559.0

DEFAULT_ENERGY_KEV = 60.0
"""Mean energy of a diagnostic X-ray beam behind a patient, keV."""


def linear_attenuation(hu: NDArray[Any], energy_kev: float = DEFAULT_ENERGY_KEV) -> NDArray[np.float32]:
    """Linear attenuation in 1/mm at `energy_kev` of CT numbers in HU; air and padding become exactly zero.

    Continuous and increasing in HU: below soft tissue the density varies, between soft tissue and cortical bone the
    mixture, above cortical bone the density again.
    """
    if not _ENERGY_KEV[0] <= energy_kev <= _ENERGY_KEV[-1]:
        raise ValueError(f"The X-ray energy must lie between 30 and 120 keV, not {energy_kev}.")
    soft, bone = (_interpolate(table, energy_kev) for table in (_SOFT_TISSUE, _CORTICAL_BONE))
    mu_soft, mu_bone = soft * _SOFT_DENSITY / 10, bone * _BONE_DENSITY / 10  # 1/cm -> 1/mm
    hu = np.where(np.isfinite(hu), hu, -1000.0)  # padding of resampled volumes
    values = np.array([0.0, mu_soft, mu_bone])
    attenuation = np.interp(hu, [-1000.0, _SOFT_HU, _BONE_HU], values).astype(np.float32)
    dense = hu > _BONE_HU
    if dense.any():
        attenuation[dense] = mu_bone * (1000.0 + hu[dense]) / (1000.0 + _BONE_HU)
    return attenuation


def _interpolate(table: NDArray[np.float64], energy_kev: float) -> float:
    """Log-log cubic would be exact to 0.1 %; log-log linear on a 10 keV grid is within 1 % above 40 keV."""
    return float(np.exp(np.interp(np.log(energy_kev), np.log(_ENERGY_KEV), np.log(table))))
