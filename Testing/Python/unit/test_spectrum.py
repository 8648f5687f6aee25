"""Spectra against measured half-value layers and spekpy's own; few bins against all of them."""

from __future__ import annotations

import numpy as np
import pytest
import xraylib
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.attenuation import mass_attenuation
from XVRegistrationLib.rendering.spectrum import Beam, Scintillator, Tube, beam, monoenergetic, tube_spectrum

TUBES = [Tube(60), Tube(70, 3), Tube(80), Tube(80, 3, 0.1), Tube(93, 4), Tube(100), Tube(120), Tube(120, 4.3, 0.3)]
# Mass energy-absorption coefficient of dry air by photon energy, keV -> cm2/g (Hubbell and Seltzer, NISTIR 5632, table 4).
AIR = {
    10: 4.742, 15: 1.334, 20: 0.5389, 30: 0.1537, 40: 0.06833, 50: 0.04098, 60: 0.03041, 80: 0.02407, 100: 0.02325,
    150: 0.02496,
}  # fmt: skip


def half_value_layers(tube: Tube) -> tuple[float, float]:
    """First and second half-value layer of the air kerma, mm of aluminium."""
    spectrum = tube_spectrum(tube)
    e = spectrum.energies
    absorption = np.exp(CubicSpline(np.log(list(AIR)), np.log(list(AIR.values())))(np.log(e)))
    kerma = spectrum.photons * e * absorption
    aluminium = np.array([xraylib.CS_Total(13, float(x)) for x in e]) * 0.2699  # 1/mm
    first, both = (
        brentq(lambda t, h=left: float(kerma @ np.exp(-aluminium * t)) - h * float(kerma.sum()), 0, 99)
        for left in (0.5, 0.25)
    )
    return first, both - first


@pytest.mark.parametrize(
    ("kvp", "aluminium", "first", "second"),
    # Radiation qualities RQA 3 to RQA 9 of IEC 61267 as measured by the PTB: U. Ankerhold, Catalogue of X-ray spectra and
    # their characteristic data, PTB-Dos-34 (2000), doi 10.7795/110.20190315B. So much aluminium hides the anode's angle.
    [
        (50, 12.5, 3.67, 4.05),
        (60, 18.5, 5.24, 5.70),
        (70, 23.5, 6.64, 7.16),
        (80, 28.5, 7.96, 8.50),
        (90, 32.5, 9.03, 9.57),
        (100, 36.5, 9.93, 10.47),
        (120, 42.5, 11.37, 11.97),
    ],
)
def test_half_value_layers_are_those_measured(kvp, aluminium, first, second):
    assert half_value_layers(Tube(kvp, aluminium)) == pytest.approx((first, second), rel=0.02)


@pytest.mark.parametrize(
    ("tube", "first", "second", "mean"),
    # spekpy 2.5.4, casim, 12 degrees: get_hvl1, get_hvl2 (mm Al), get_emean (keV). Its air is of another table.
    [
        (Tube(60), 2.082, 2.893, 35.95),
        (Tube(80), 2.734, 4.084, 42.90),
        (Tube(100), 3.458, 5.398, 49.14),
        (Tube(120), 4.219, 6.672, 54.44),
        (Tube(82, 3.5, 0.1), 4.873, 6.145, 49.60),
        (Tube(113, 4.0, 0.3), 8.566, 9.731, 64.62),
    ],
)
def test_spectra_are_spekpys_between_the_tables_columns_and_behind_filters(tube, first, second, mean):
    assert half_value_layers(tube) == pytest.approx((first, second), rel=0.015)
    assert tube_spectrum(tube).mean_energy == pytest.approx(mean, abs=0.05)


def test_mean_energies_are_near_those_of_a_monte_carlo_simulation():
    # Those of MC-GPU as DeepDRR ships them: 60 kVp 3.5 mm Al, 90 kVp 4 mm, 120 kVp 4.3 mm.
    for tube, mean in ((Tube(60, 3.5), 37.53), (Tube(90, 4.0), 49.24), (Tube(120, 4.3), 58.16)):
        assert tube_spectrum(tube).mean_energy == pytest.approx(mean, rel=0.015)


@pytest.mark.parametrize("kvp", [50.0, 60.3, 77.77, 125.0])
def test_no_photon_has_more_energy_than_the_voltage_gives(kvp):
    spectrum = tube_spectrum(Tube(kvp))
    assert spectrum.edges[-1] == pytest.approx(kvp)
    assert (np.diff(spectrum.edges) > 0).all()
    assert (spectrum.photons >= 0).all()


def transmitted(of: Beam, area: np.ndarray) -> np.ndarray:
    """-ln(I / I0) (N,) behind area densities (N, M), by the plain sum in float64."""
    return -np.log(np.exp(-area @ of.coefficients.T) @ of.weights)


def areas(*tops: tuple[float, int]) -> np.ndarray:
    return np.stack(np.meshgrid(*(np.linspace(0, *t) for t in tops), indexing="ij"), axis=-1).reshape(-1, len(tops))


def error(tube: Tube, materials: tuple[str, ...], bins: int, area: np.ndarray) -> float:
    """Largest error of -ln(I / I0) for so many bins, relative (to no less than 0.1)."""
    exact = transmitted(beam(tube, materials, bins=None), area)
    return float((np.abs(transmitted(beam(tube, materials, bins=bins), area) - exact) / np.maximum(exact, 0.1)).max())


@pytest.mark.parametrize("tube", TUBES)
def test_few_bins_are_as_good_as_all(tube):
    tissues = ("soft_tissue", "cortical_bone")
    area = areas((40, 21), (10, 11))
    assert error(tube, tissues, 16, area) < 3.5e-3
    assert error(tube, tissues, 32, area) < 0.9e-3


@pytest.mark.parametrize(
    ("third", "most", "bound"), [("iodine", 0.2, 6e-3), ("titanium", 2.0, 4e-3), ("steel", 4.0, 7e-3)]
)
def test_few_bins_are_good_enough_for_iodine_and_metal(third, most, bound):
    area = areas((40, 9), (10, 5), (most, 9))
    for tube in (Tube(60), Tube(80), Tube(120)):
        assert error(tube, ("soft_tissue", "cortical_bone", third), 16, area) < bound
        assert error(tube, ("soft_tissue", "cortical_bone", third), 24, area) < bound / 1.8


def test_bins_part_at_the_k_edge_of_iodine():
    found = beam(Tube(80), ("water", "iodine"))
    coefficients = found.coefficients[:, 1]
    # Attenuation falls with energy but for one jump, which no bin averages over.
    jump = np.flatnonzero(np.diff(coefficients) > 0)
    assert len(jump) == 1
    assert coefficients[jump[0]] < 8 < 30 < coefficients[jump[0] + 1]


def test_a_beam_is_normalised_and_hardens():
    found = beam()
    assert len(found.weights) == 16
    assert found.weights.sum() == pytest.approx(1, abs=1e-12)
    p = transmitted(found, np.array([[0.0, 0.0], [1.0, 0.0], [20.0, 0.0]]))
    assert p[0] == pytest.approx(0, abs=1e-12)
    assert 0.8 * 20 * p[1] < p[2] < 0.97 * 20 * p[1]


def test_one_energy_is_that_energy():
    found = monoenergetic(60.0, ("water",))
    assert found.coefficients.tolist() == [[float(mass_attenuation("water", 60.0))]]
    assert transmitted(found, np.array([[10.0]]))[0] == pytest.approx(2.059, rel=1e-3)


def test_a_thick_scintillator_absorbs_what_a_thin_one_lets_through():
    energies = np.array([30.0, 60.0, 100.0])
    # Beer-Lambert with xraylib's caesium iodide: 0.06 cm of 4.51 g/cm3, three quarters of it there.
    mu = np.array([xraylib.CS_Total_CP("CsI", float(e)) for e in energies])
    np.testing.assert_allclose(Scintillator().absorbed(energies), 1 - np.exp(-mu * 4.51 * 0.75 * 0.06), rtol=2e-3)
    assert (Scintillator(200).absorbed(energies) < Scintillator(700).absorbed(energies)).all()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Tube(40), "between 50 and 125 kVp, not at 40"),
        (lambda: Tube(float("nan")), "between 50 and 125 kVp"),
        (lambda: Tube(80, 1.0), "2.5 mm .* of aluminium, not 1 mm"),
        (lambda: Tube(80, copper_mm=-0.1), "copper, not -0.1 mm"),
        (lambda: Scintillator(0), "A scintillator of 0 um"),
        (lambda: Scintillator(600, 1.2), "1.2 of it"),
        (lambda: beam(bins=0), "at least one bin, not 0"),
        (lambda: beam(materials=("soft",)), "attenuation of soft is not known"),
    ],
)
def test_what_does_not_exist_is_refused_in_a_sentence(make, sentence):
    with pytest.raises(InputError, match=sentence):
        make()
