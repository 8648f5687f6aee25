"""Attenuation against xraylib and NIST; densities of materials against what CT numbers mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xraylib

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.imaging.attenuation import (
    linear_attenuation,
    mass_attenuation,
    material_density,
    materials,
    tissue_hu,
)
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.materials import (
    Contrast,
    Metal,
    grids_of,
    material_densities,
    material_grids,
    threshold_densities,
)
from XVRegistrationLib.rendering.polyenergetic import area_densities
from XVRegistrationLib.rendering.tissue_grid import TissueGrid

# ICRU Report 44, by weight (NIST, X-Ray Mass Attenuation Coefficients, table 2).
SOFT = {1: 0.102, 6: 0.143, 7: 0.034, 8: 0.708, 11: 0.002, 15: 0.003, 16: 0.003, 17: 0.002, 19: 0.003}
BONE = {1: 0.034, 6: 0.155, 7: 0.042, 8: 0.435, 11: 0.001, 12: 0.002, 15: 0.103, 16: 0.003, 20: 0.225}
HU = np.concatenate([np.arange(-1024.0, 4000.0), np.arange(4000.0, 14000.0, 10)])


def by_xraylib(elements: dict[int, float], energy: float) -> float:
    return sum(share * xraylib.CS_Total(z, energy) for z, share in elements.items())


@pytest.mark.parametrize(
    ("material", "elements"),
    [
        ("soft_tissue", SOFT),
        ("cortical_bone", BONE),
        ("water", {1: 0.111898, 8: 0.888102}),
        ("iodine", {53: 1.0}),
        ("titanium", {22: 1.0}),
        ("caesium_iodide", {55: 0.511549, 53: 0.488451}),
        ("aluminium", {13: 1.0}),
        ("copper", {29: 1.0}),
    ],
)
def test_attenuation_is_xraylibs(material, elements):
    energies = np.arange(15.03, 149, 0.29)  # between the table's rows, on both sides of the K edges
    theirs = [by_xraylib(elements, float(e)) for e in energies]
    np.testing.assert_allclose(mass_attenuation(material, energies), theirs, rtol=2e-3)


def test_attenuation_is_what_nist_publishes():
    # Hubbell and Seltzer, NISTIR 5632, tables 3 and 4.
    published = {
        ("water", 60): 0.2059,
        ("soft_tissue", 20): 0.8230,
        ("soft_tissue", 100): 0.1693,
        ("cortical_bone", 30): 1.331,
        ("cortical_bone", 80): 0.2229,
        ("adipose", 60): 0.1974,
        ("iodine", 40): 22.10,
        ("titanium", 60): 0.7661,
    }
    for (material, energy), value in published.items():
        assert float(mass_attenuation(material, energy)) == pytest.approx(value, rel=2e-3), (material, energy)


def test_unknown_materials_and_energies_are_refused_in_a_sentence():
    with pytest.raises(InputError, match=r"attenuation of gold is not known; there is that of air, water"):
        mass_attenuation("gold", 60.0)
    with pytest.raises(InputError, match="between 10 and 150 keV, not at 5 to 60"):
        mass_attenuation("water", [5.0, 60.0])
    with pytest.raises(InputError, match="keV"):
        mass_attenuation("water", np.nan)
    assert all(material_density(m) > 0 for m in materials())


def attenuation(densities: dict[str, np.ndarray], energy: float) -> np.ndarray:
    """1/mm."""
    return sum(d * float(mass_attenuation(m, energy)) / 10 for m, d in densities.items())


def meaning(hu: np.ndarray, energy: float) -> np.ndarray:
    return float(mass_attenuation("water", energy)) / 10 * np.maximum(1 + hu / 1000, 0)


@pytest.mark.parametrize("metal", [None, Metal(), Metal("steel", above_hu=2500.0)])
@pytest.mark.parametrize("ct_energy", [62.0, 70.0, 78.0])
def test_at_the_cts_energy_the_densities_are_what_the_ct_number_says(ct_energy, metal):
    found = attenuation(material_densities(HU, ct_energy, metal), ct_energy)
    np.testing.assert_allclose(found, meaning(HU, ct_energy), rtol=2e-6, atol=1e-8)


@pytest.mark.parametrize("energy", [25.0, 34.0, 60.0, 100.0, 120.0])
def test_attenuation_rises_with_hu_without_steps_at_every_energy(energy):
    for metal in (None, Metal(), Metal("titanium_alloy"), Metal("cobalt_chromium")):
        rise = np.diff(attenuation(material_densities(HU, metal=metal), energy)) / np.diff(HU)
        assert (rise[HU[1:] > -1000] > 0).all()
        assert (rise >= 0).all()
        # No more than what metal rises with its density.
        assert rise.max() < 30 * rise[1000]


def test_the_monoenergetic_volume_is_that_of_the_densities():
    for energy in (35.0, 60.0, 110.0):
        np.testing.assert_allclose(
            linear_attenuation(HU, energy), attenuation(material_densities(HU), energy), rtol=1e-5
        )
    whole = HU[HU < 30000].astype(np.int16)
    np.testing.assert_array_equal(linear_attenuation(whole), linear_attenuation(whole.astype(np.float64)))


def test_pure_materials_are_pure():
    soft, bone = tissue_hu()
    assert soft == pytest.approx(53, abs=1)
    assert bone == pytest.approx(1559, abs=1)
    found = material_densities(np.array([soft, bone, -1000.0, np.nan, -3024.0]))
    np.testing.assert_allclose(found["soft_tissue"], [1.06, 0, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found["cortical_bone"], [0, 1.92, 0, 0, 0], atol=1e-6)


def test_what_is_no_number_is_air():
    hu = np.array([np.nan, np.inf, -np.inf, -3024.0])
    for found in (material_densities(hu, metal=Metal(), contrast=Contrast(np.ones(4))), threshold_densities(hu)):
        assert all((density == 0).all() for density in found.values())


def test_a_metal_label_says_what_a_clipped_ct_cannot():
    hu = np.array([40.0, 3071.0, 3071.0])
    found = material_densities(hu, metal=Metal("steel", inside=np.array([0.0, 1.0, 0.5])))
    np.testing.assert_allclose(found["steel"], [0, 8.0, 4.0])
    plain = material_densities(hu)
    for tissue, density in plain.items():
        np.testing.assert_allclose(found[tissue], density * [1, 0, 0.5])


def test_enhanced_vessels_are_iodine_and_not_bone():
    hu = np.array([300.0, 300.0, 300.0, -50.0])
    share = np.array([0.0, 1.0, 0.5, 1.0])
    found = material_densities(hu, contrast=Contrast(share))
    np.testing.assert_allclose(attenuation(found, 70.0), meaning(hu, 70.0), rtol=1e-5)
    assert found["cortical_bone"][1] == 0
    assert found["iodine"][[0, 3]].tolist() == [0, 0]
    # 247 HU above soft tissue are some 9.5 mg/ml at 70 keV: 0.1929 / cm * 0.247 / 5.016 cm2/g.
    assert found["iodine"][1] == pytest.approx(0.1929 * (0.3 - 0.0532) / 5.016, rel=2e-3)
    # Above the K edge iodine attenuates far more than the bone that it would have been taken for.
    assert attenuation(found, 40.0)[1] > 1.1 * attenuation(found, 40.0)[0]


def test_contrast_agent_is_added_to_a_plain_ct():
    hu = np.full(3, 40.0)
    found = material_densities(hu, contrast=Contrast(np.array([0.0, 1.0, 0.25]), mg_per_ml=320.0))
    np.testing.assert_allclose(found["iodine"], [0, 0.32, 0.08])
    np.testing.assert_allclose(found["soft_tissue"], material_densities(hu)["soft_tissue"])


def test_metal_in_a_vessel_keeps_the_ct_number():
    hu = np.array([200.0, 2999.0, 4000.0, 9000.0])
    found = material_densities(hu, metal=Metal(), contrast=Contrast(np.ones(4)))
    np.testing.assert_allclose(attenuation(found, 70.0), meaning(hu, 70.0), rtol=1e-5)


def test_thresholds_jump_by_a_third_where_the_bases_do_not():
    hu = np.array([349.0, 351.0])
    jump = lambda d: float(np.divide(*attenuation(d, 70.0)[::-1]))  # noqa: E731
    assert jump(threshold_densities(hu)) == pytest.approx(1.34, abs=0.02)
    assert jump(material_densities(hu)) == pytest.approx(1.351 / 1.349, rel=1e-3)
    assert sum(threshold_densities(np.array([-900.0, np.nan])).values()).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"metal": Metal("wood")}, "attenuation of wood is not known"),
        (
            {"metal": Metal(above_hu=200.0)},
            "Metal begins between cortical bone and pure titanium, 1559 to 11621 HU, not at 200",
        ),
        ({"metal": Metal("cortical_bone")}, "cortical_bone is among the other materials already"),
        ({"metal": Metal("iodine"), "contrast": Contrast(np.ones(3))}, "iodine is among the other materials already"),
        ({"metal": Metal(inside=np.ones((2, 2)))}, r"on the voxels of the CT, \(3,\), not \(2, 2\)"),
        ({"contrast": Contrast(np.array([0, 1, 7]))}, "share of each voxel, 0 to 1"),
        ({"contrast": Contrast(np.array([0, np.nan, 1]))}, "share of each voxel, 0 to 1"),
        ({"contrast": Contrast(np.ones(3), -5.0)}, "-5 mg/ml does not exist"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(options, sentence):
    with pytest.raises(InputError, match=sentence):
        material_densities(np.zeros(3), **options)


def test_rays_sum_to_area_densities_in_g_per_cm2(phantom):
    hu = np.full((40, 50, 60), -1000.0)
    hu[10:30, 10:40, 10:50] = tissue_hu()[0]
    hu[15:25, 20:30, 15:45] = tissue_hu()[1]
    grids = material_grids(Volume(hu, np.eye(4), name="slabs"))
    view = NominalView("AP", (29.5, 24.5, 19.5), 700.0)
    area = area_densities(grids, view.pose[None], Intrinsics.centered(1000.0, (0.5, 0.5), (3, 3)), step=0.01)
    assert grids.materials == ("soft_tissue", "cortical_bone")
    # Along y: 20 mm of soft tissue and 10 mm of bone.
    assert area[0, :, 1, 1].tolist() == pytest.approx([2.0 * 1.06, 1.0 * 1.92], rel=2e-3)


def test_all_materials_lie_on_the_grid_of_the_monoenergetic_volume(phantom):
    grids, one = material_grids(phantom, metal=Metal()), density_grid(phantom)
    assert len(grids.grids) == 3
    for grid in grids.grids:
        assert grid.data.shape == one.data.shape
        np.testing.assert_allclose(grid.grid_to_ras, one.grid_to_ras)


def test_tissues_of_one_grid_are_those_of_two():
    hu = np.random.default_rng(2).uniform(-1024, 3071, (12, 14, 16))
    hu[:2] = -1000
    volume = Volume(hu.astype(np.float32), np.diag([0.8, 0.9, 1.5, 1.0]), name="tissues")
    for energy in (62.0, 70.0):
        found = material_grids(volume, energy)
        separate = grids_of(material_densities(volume.array, energy), volume.ijk_to_ras)
        assert isinstance(found, TissueGrid)
        steepest = max(found.split.steep, (1 + found.split.bone_mass * found.split.steep) / found.split.soft_mass)
        assert found.materials == separate.materials
        for one, other in zip(found.grids, separate.grids, strict=True):
            # Half a code of the attenuation, as bone or soft tissue counts it, and half a code of the density by itself.
            atol = 0.51 * (steepest * found.attenuation.unit + other.unit)
            torch.testing.assert_close(one.densities(), other.densities(), rtol=1e-5, atol=atol)
            np.testing.assert_array_equal(one.grid_to_ras, other.grid_to_ras)


def test_vessels_are_iodine_and_nothing_is_refused():
    mu = np.zeros((5, 6, 7), np.float32)
    mu[2, 3, 3] = 0.09
    grids = material_grids(Volume(mu, np.eye(4), name="vessels", units="1/mm"))
    assert grids.materials == ("iodine",)
    assert float(grids.grids[0].densities().max()) * 10 == pytest.approx(0.119, rel=0.01)  # 120 mg/ml
    with pytest.raises(InputError, match="vessels is attenuation already"):
        material_grids(Volume(mu, np.eye(4), name="vessels", units="1/mm"), metal=Metal())
    with pytest.raises(InputError, match="nothing holds nothing denser than air"):
        grids_of({"iodine": mu * 0}, np.eye(4), "nothing")
