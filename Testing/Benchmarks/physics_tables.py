"""Make the tables of X-ray physics, Resources/physics; by hand, with `pip install .[tables]` (spekpy, xraydb).

    python Testing/Benchmarks/physics_tables.py

They are small and change only with these packages, which nobody else needs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import spekpy
import xraydb

from XVRegistrationLib.files import replacing

FOLDER = Path(__file__).resolve().parents[2] / "Resources" / "physics"

_ICRU = "ICRU Report 44"
_NIST = "NIST X-Ray Mass Attenuation Coefficients, table 1"
# Density, g/cm3; share of each element by weight; where both are from.
MATERIALS: dict[str, tuple[float, dict[str, float], str]] = {
    "air": (0.001205, {"C": 0.000124, "N": 0.755268, "O": 0.231781, "Ar": 0.012827}, "NIST, dry air near sea level"),
    "water": (1.0, {"H": 0.111898, "O": 0.888102}, "H2O"),
    "soft_tissue": (
        1.06,
        {
            "H": 0.102,
            "C": 0.143,
            "N": 0.034,
            "O": 0.708,
            "Na": 0.002,
            "P": 0.003,
            "S": 0.003,
            "Cl": 0.002,
            "K": 0.003,
        },
        _ICRU,
    ),
    "adipose": (
        0.95,
        {"H": 0.114, "C": 0.598, "N": 0.007, "O": 0.278, "Na": 0.001, "S": 0.001, "Cl": 0.001},
        _ICRU,
    ),
    "blood": (
        1.06,
        {
            "H": 0.102,
            "C": 0.110,
            "N": 0.033,
            "O": 0.745,
            "Na": 0.001,
            "P": 0.001,
            "S": 0.002,
            "Cl": 0.003,
            "K": 0.002,
            "Fe": 0.001,
        },
        _ICRU,
    ),
    "cortical_bone": (
        1.92,
        {
            "H": 0.034,
            "C": 0.155,
            "N": 0.042,
            "O": 0.435,
            "Na": 0.001,
            "Mg": 0.002,
            "P": 0.103,
            "S": 0.003,
            "Ca": 0.225,
        },
        _ICRU,
    ),
    "iodine": (4.93, {"I": 1.0}, _NIST),
    "aluminium": (2.699, {"Al": 1.0}, _NIST),
    "copper": (8.96, {"Cu": 1.0}, _NIST),
    "titanium": (4.54, {"Ti": 1.0}, _NIST),
    "titanium_alloy": (4.43, {"Ti": 0.90, "Al": 0.06, "V": 0.04}, "Ti-6Al-4V, ASTM F136"),
    "steel": (8.0, {"Fe": 0.655, "Cr": 0.17, "Ni": 0.12, "Mo": 0.025, "Mn": 0.02, "Si": 0.01}, "316L, ASTM F138"),
    "cobalt_chromium": (8.3, {"Co": 0.655, "Cr": 0.285, "Mo": 0.06}, "CoCrMo, ASTM F75"),
    "caesium_iodide": (4.51, {"Cs": 0.511549, "I": 0.488451}, "CsI"),
}
# keV; between the rows on either side of an edge nothing is interpolated.
_EDGES = (20.0002, 33.1697, 35.9867)  # of Mo, I and Cs, K, where xraydb has them
_TUBE_VOLTAGES = range(50, 126, 5)
_ANODE_ANGLE, _INHERENT_AL = 12.0, 2.5


def attenuation_table() -> str:
    """Rows of keV and total mass attenuation with coherent scattering, cm2/g, every half keV from 10 to 150."""
    energies = np.sort(np.concatenate([np.arange(20, 301) / 2, *([e - 1e-3, e + 1e-3] for e in _EDGES)]))
    energies = energies[energies != 20.0]
    columns = []
    for _, shares, _ in MATERIALS.values():
        assert abs(sum(shares.values()) - 1) < 1e-5, shares
        columns.append(sum(w * xraydb.mu_elam(e, energies * 1000, kind="total") for e, w in shares.items()))
    lines = [
        (
            f"# Total mass attenuation with coherent scattering, cm2/g, by photon energy, keV: xraydb {xraydb.__version__} "
            "(W. T. Elam, B. D. Ravel, J. R. Sieber, Radiat. Phys. Chem. 63 (2002) 121), mixtures by weight."
        ),
        "# Made by Testing/Benchmarks/physics_tables.py. Row 'density' is in g/cm3.",
        *(f"# {name}: {source}" for name, (_, _, source) in MATERIALS.items()),
        "keV," + ",".join(MATERIALS),
        "density," + ",".join(f"{density:g}" for density, _, _ in MATERIALS.values()),
    ]
    lines += [f"{e:.7g}," + ",".join(f"{c[k]:.5g}" for c in columns) for k, e in enumerate(energies)]
    return "\n".join(lines) + "\n"


def spectra_table() -> str:
    """Rows of keV (middle of a bin of 1 keV) and photons of each tube voltage."""
    columns = []
    for kvp in _TUBE_VOLTAGES:
        spectrum = spekpy.Spek(kvp=kvp, th=_ANODE_ANGLE, dk=1.0, physics="casim", mas=1.0, z=100.0)
        spectrum.filter("Al", _INHERENT_AL)
        middles, photons = spectrum.get_spectrum(edges=False)
        column = np.zeros(max(_TUBE_VOLTAGES))
        column[np.floor(middles).astype(int)] = photons
        columns.append(column)
    lines = [
        (
            f"# Photons per cm2, keV and mAs at 1 m from a tungsten anode of {_ANODE_ANGLE:g} degrees behind {_INHERENT_AL:g} mm "
            f"of aluminium, by photon energy (middle of a bin of 1 keV) and tube voltage, kVp: spekpy {spekpy.__version__}, "
            "model casim (G. Poludniowski, A. Omar, R. Bujila, P. Andreo, Med. Phys. 48 (2021) 3630)."
        ),
        "# Made by Testing/Benchmarks/physics_tables.py.",
        "keV," + ",".join(str(kvp) for kvp in _TUBE_VOLTAGES),
    ]
    lines += [f"{k + 0.5:g}," + ",".join(f"{c[k]:.4g}" for c in columns) for k in range(10, max(_TUBE_VOLTAGES))]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for name, table in (("mass_attenuation.csv", attenuation_table()), ("tube_spectra.csv", spectra_table())):
        with replacing(FOLDER / name) as path:
            path.write_text(table, encoding="utf-8")
