"""X-ray spectra, and what a detector makes of them: few energy bins with the attenuation of each material in each.

The tube is a tungsten anode of 12 degrees behind 2.5 mm of aluminium (Resources/physics/tube_spectra.csv, from spekpy); more
filtration is exp(-mu t), exactly. The detector integrates the energy that a caesium iodide scintillator absorbs; fluorescence
that leaves it is not modelled.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.attenuation import CORTICAL_BONE, SOFT_TISSUE, mass_attenuation, material_density
from XVRegistrationLib.resources import resource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

INHERENT_ALUMINIUM_MM = 2.5
"""Filtration of the table's spectra: about what IEC 60601-1-3 asks of a tube."""

IODINE_EDGE_KEV = 33.17
_EDGES_KEV = (IODINE_EDGE_KEV, 35.987)  # K edges of iodine and caesium
_FINE_KEV = 0.25
_MOST_AL_MM, _MOST_CU_MM = 50.0, 5.0
# So small a share of the signal is not worth a bin: the first one holds it as well.
_NOTHING = 1e-3
TISSUES = (SOFT_TISSUE, CORTICAL_BONE)


@dataclass(frozen=True)
class Tube:
    """An X-ray tube with a tungsten anode, and the filters before the patient."""

    kvp: float = 80.0
    """Peak tube voltage, kV: 60 to 120, and 50 to 125 at most."""
    aluminium_mm: float = INHERENT_ALUMINIUM_MM
    """All the aluminium, with the inherent filtration's equivalent; no less than 2.5 mm."""
    copper_mm: float = 0.0

    def __post_init__(self) -> None:
        lowest, highest = _table()[0][[0, -1]]
        if not lowest <= self.kvp <= highest:
            raise InputError(f"The tube voltage must lie between {lowest:g} and {highest:g} kVp, not at {self.kvp:g}.")
        if not INHERENT_ALUMINIUM_MM <= self.aluminium_mm <= _MOST_AL_MM:
            raise InputError(
                f"The filtration must be {INHERENT_ALUMINIUM_MM:g} mm (a tube's own) to {_MOST_AL_MM:g} mm of aluminium, "
                f"not {self.aluminium_mm:g} mm."
            )
        if not 0 <= self.copper_mm <= _MOST_CU_MM:
            raise InputError(f"The filter must be 0 to {_MOST_CU_MM:g} mm of copper, not {self.copper_mm:g} mm.")


@dataclass(frozen=True)
class Scintillator:
    """A layer of caesium iodide needles."""

    thickness_um: float = 600.0
    packing: float = 0.75
    """Share of the layer that is caesium iodide."""

    def __post_init__(self) -> None:
        if not (0 < self.thickness_um < math.inf and 0 < self.packing <= 1):
            raise InputError(
                f"A scintillator of {self.thickness_um:g} um, {self.packing:g} of it caesium iodide, does not exist: give a "
                "positive thickness and a share up to 1."
            )

    def absorbed(self, energy_kev: NDArray[np.float64]) -> NDArray[np.float64]:
        """Share (N,) of the photons at energies (N,) that interact in it."""
        mass = material_density("caesium_iodide") * self.packing * self.thickness_um * 1e-4  # g/cm2
        return np.asarray(-np.expm1(-mass_attenuation("caesium_iodide", energy_kev) * mass))


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Photons in narrow bins of energy."""

    edges: NDArray[np.float64]
    """(N + 1,) keV, rising."""
    photons: NDArray[np.float64]
    """(N,) photons per cm2 and mAs at 1 m."""

    @property
    def energies(self) -> NDArray[np.float64]:
        """Middles (N,) of the bins, keV."""
        return (self.edges[1:] + self.edges[:-1]) / 2

    @property
    def mean_energy(self) -> float:
        """Mean photon energy, keV."""
        return float(np.average(self.energies, weights=self.photons))


@dataclass(frozen=True, eq=False)
class Beam:
    """A detected spectrum in a few bins, and the attenuation in each of the materials that are rendered."""

    materials: tuple[str, ...]
    weights: NDArray[np.float64]
    """(N,) share of each bin in the signal of the open field; they add up to one."""
    coefficients: NDArray[np.float64]
    """(N, M) mass attenuation of each material, averaged over the bin's signal, cm2/g."""


def tube_spectrum(tube: Tube | None = None) -> Spectrum:
    """Photons that leave a tube through its filters, in bins of a quarter keV that part at the K edges of iodine and caesium.

    Between two voltages of the table their spectra are mixed, up to the voltage asked for: within 0.3 % in -ln I of spekpy.
    """
    tube = tube or Tube()
    voltages, middles, table = _table()
    upper = int(np.clip(np.searchsorted(voltages, tube.kvp), 1, len(voltages) - 1))
    share = (tube.kvp - voltages[upper - 1]) / (voltages[upper] - voltages[upper - 1])
    per_kev = (1 - share) * table[:, upper - 1] + share * table[:, upper]
    lowest = middles[0] - 0.5
    parted = [e for e in (*_EDGES_KEV, tube.kvp) if e <= tube.kvp]
    edges = np.union1d(np.arange(lowest, tube.kvp, _FINE_KEV), parted)
    energies = (edges[1:] + edges[:-1]) / 2
    depth = np.zeros(len(energies))
    for metal, mm in (("aluminium", tube.aluminium_mm - INHERENT_ALUMINIUM_MM), ("copper", tube.copper_mm)):
        depth += mass_attenuation(metal, energies) * material_density(metal) * mm / 10
    return Spectrum(edges, per_kev[(energies - lowest).astype(int)] * np.diff(edges) * np.exp(-depth))


def beam(
    tube: Tube | None = None,
    materials: Sequence[str] = TISSUES,
    scintillator: Scintillator | None = None,
    bins: int | None = 16,
) -> Beam:
    """What the detector sees of a tube: the signal in `bins` bins and the mean attenuation of `materials` in each.

    16 bins are within 0.35 % of the exact -ln(I / I0) behind 0-40 g/cm2 of soft tissue and 0-10 of bone at 60-120 kVp
    (0.6 % with 0.2 g/cm2 of iodine, at whose K edge bins then part, or 2 of titanium); 24 halve that. None: all of them.
    """
    spectrum = tube_spectrum(tube)
    energies = spectrum.energies
    signal = spectrum.photons * energies * (scintillator or Scintillator()).absorbed(energies)
    signal /= signal.sum()
    phi = np.stack([mass_attenuation(m, energies) for m in materials], axis=1)
    if bins is None:
        return Beam(tuple(materials), signal[signal > 0], phi[signal > 0])
    if bins < 1:
        raise InputError(f"A spectrum has at least one bin, not {bins}.")
    inner = _bin_edges(spectrum.edges, signal, bins, IODINE_EDGE_KEV if "iodine" in materials else None)
    which = np.searchsorted(inner, energies)
    weights = np.asarray(np.bincount(which, signal, bins), dtype=np.float64)
    sums = np.stack([np.bincount(which, signal * phi[:, m], bins) for m in range(len(materials))], axis=1)
    filled = weights > 0
    return Beam(tuple(materials), weights[filled], sums[filled] / weights[filled, None])


def monoenergetic(energy_kev: float, materials: Sequence[str] = TISSUES) -> Beam:
    """A beam of one photon energy, keV."""
    coefficients = [[float(mass_attenuation(m, energy_kev)) for m in materials]]
    return Beam(tuple(materials), np.ones(1), np.array(coefficients))


def _bin_edges(
    edges: NDArray[np.float64], signal: NDArray[np.float64], bins: int, split: float | None
) -> NDArray[np.float64]:
    """Where (bins - 1,) the bins part, keV: evenly in the square root of the energy, as attenuation falls.

    Of even, logarithmic, reciprocal and equally filled bins these came closest to the exact sum (0.23 % at most for tissues).
    """
    lowest = float(np.interp(_NOTHING, np.concatenate([[0.0], np.cumsum(signal)]), edges))
    inner: NDArray[np.float64] = np.linspace(np.sqrt(lowest), np.sqrt(edges[-1]), bins + 1)[1:-1] ** 2
    if split is not None and len(inner):
        inner[np.abs(inner - split).argmin()] = split
    return inner


@cache
def _table() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Tube voltages (V,) in kVp, energies (N,) in keV, photons (N, V) per cm2, keV and mAs at 1 m."""
    text = resource("physics/tube_spectra.csv").read_text("utf-8").splitlines()
    head, *rows = csv.reader(line for line in text if not line.startswith("#"))
    values = np.array(rows, dtype=np.float64)
    return np.array(head[1:], dtype=np.float64), values[:, 0], values[:, 1:]
