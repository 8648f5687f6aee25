"""Polyenergetic images: closed forms of slabs, exact sums, finite differences, and what must stay when one energy is left."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import increment
from XVRegistrationLib.geometry.views import NominalView, PoseRange, draw_poses
from XVRegistrationLib.imaging.attenuation import mass_attenuation
from XVRegistrationLib.rendering import oracle
from XVRegistrationLib.rendering.differentiable import differentiable_render
from XVRegistrationLib.rendering.grid import DensityGrid, density_grid
from XVRegistrationLib.rendering.materials import MaterialGrids, Metal, grids_of, material_grids
from XVRegistrationLib.rendering.polyenergetic import (
    area_densities,
    area_densities_with_jacobian,
    attenuated,
    attenuated_with_derivative,
    combined,
    render_channels,
    render_channels_with_jacobian,
    render_polyenergetic,
    render_polyenergetic_with_jacobian,
)
from XVRegistrationLib.rendering.rays import rays_of
from XVRegistrationLib.rendering.render import render, render_with_jacobian
from XVRegistrationLib.rendering.spectrum import Beam, Tube, beam, monoenergetic

TOP = torch.tensor([40.0, 10.0], dtype=torch.float64)[:, None, None]


def some_areas(shape: tuple[int, int, int] = (2, 5, 7), seed: int = 0) -> torch.Tensor:
    """(B, 2, H, W) g/cm2, float64, the first ray through nothing."""
    generator = torch.Generator().manual_seed(seed)
    area = torch.rand((shape[0], 2, *shape[1:]), generator=generator, dtype=torch.float64) * TOP
    area[:, :, 0, 0] = 0
    return area


def test_slabs_have_their_closed_form():
    from_beam = beam(Tube(90, 4), bins=None)
    area = some_areas()
    image = attenuated(area, from_beam).numpy()
    for (b, i, j), value in np.ndenumerate(image):
        depth = from_beam.coefficients @ area[b, :, i, j].numpy()
        assert value == pytest.approx(-np.log((from_beam.weights * np.exp(-depth)).sum()), abs=1e-12)


def test_a_slab_of_water_is_what_a_detector_measures():
    # By hand for two energies: half the signal at 40 keV (0.2683 cm2/g), half at 80 (0.1837), behind 10 g/cm2.
    import dataclasses

    two = dataclasses.replace(
        beam(materials=("water",)),
        weights=np.array([0.5, 0.5]),
        coefficients=mass_attenuation("water", [40.0, 80.0])[:, None],
    )
    expected = -np.log(0.5 * np.exp(-2.683) + 0.5 * np.exp(-1.837))
    assert attenuated(torch.full((1, 1, 1, 1), 10.0), two).item() == pytest.approx(expected, rel=1e-3)


def test_sixteen_bins_are_within_the_stated_error():
    area = some_areas((4, 12, 12))
    for tube in (Tube(60), Tube(90, 4), Tube(120, 2.5)):
        exact, few = attenuated(area, beam(tube, bins=None)), attenuated(area, beam(tube))
        assert float(((few - exact).abs() / exact.clamp_min(0.1)).max()) < 3.5e-3


def test_single_precision_is_enough():
    area, seen = some_areas((4, 16, 16)), beam()
    image, by_area = attenuated_with_derivative(area, seen)
    image32, by_area32 = attenuated_with_derivative(area.float(), seen)
    assert image32.dtype == torch.float32
    assert float((image32 - image).abs().max()) < 2e-6
    assert float((by_area32 / by_area - 1).abs().max()) < 1e-5


def test_nothing_is_zero_and_very_much_stays_finite():
    for dtype, tolerance in ((torch.float32, 2e-7), (torch.float64, 1e-15)):
        assert attenuated(torch.zeros((1, 2, 3, 3), dtype=dtype), beam()).abs().max() <= tolerance
    thick = torch.full((1, 2, 3, 3), 1e5, requires_grad=True)
    image = attenuated(thick, beam())
    image.sum().backward()
    assert torch.isfinite(image).all()
    assert torch.isfinite(thick.grad).all()


def test_derivatives_by_area_are_those_of_the_image():
    area, seen = some_areas(), beam()
    image, by_area = attenuated_with_derivative(area, seen)
    for m in range(2):
        step = torch.zeros_like(area)
        step[:, m] = 1e-5
        ahead, behind = attenuated(area + step, seen), attenuated(area - step, seen)
        torch.testing.assert_close((ahead - behind) / 2e-5, by_area[:, m], rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(attenuated(area, seen), image)
    assert torch.autograd.gradcheck(lambda a: attenuated(a, seen), (area.requires_grad_(),))


def test_the_beam_hardens_along_the_ray():
    seen = beam()
    thickness = torch.linspace(0, 40, 41, dtype=torch.float64).reshape(1, 1, 1, -1)
    _, by_area = attenuated_with_derivative(torch.cat([thickness, thickness / 4], dim=1), seen)
    assert (by_area.diff(dim=3) < 0).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 70_001), (9, 5)])
def test_large_and_small_images_are_alike(size):
    height = size[1]
    area = some_areas((size[0], height, 1), seed=3)
    seen = beam()
    image, by_area = attenuated_with_derivative(area, seen)
    for b, i in ((0, 0), (size[0] - 1, height - 1), (size[0] // 2, height // 2)):
        one, one_by_area = attenuated_with_derivative(area[b : b + 1, :, i : i + 1], seen)
        torch.testing.assert_close(image[b, i], one[0, 0])
        torch.testing.assert_close(by_area[b, :, i], one_by_area[0, :, 0])


@pytest.fixture(scope="module")
def poses(phantom):
    return draw_poses(NominalView("AP", tuple(phantom.center), 700.0), PoseRange(), 2, np.random.default_rng(1))


def test_at_one_energy_it_is_the_monoenergetic_image(phantom, camera, poses):
    small, pivot = camera.resized((32, 30)), phantom.center
    image, jacobian = render_polyenergetic_with_jacobian(
        material_grids(phantom), poses, small, monoenergetic(60.0), pivot
    )
    one, one_jacobian = render_with_jacobian(density_grid(phantom), poses, small, pivot)
    torch.testing.assert_close(image, one, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(jacobian, one_jacobian, rtol=1e-3, atol=1e-3 * float(one_jacobian.abs().max()))


def test_the_image_alone_is_the_one_with_derivatives(phantom, camera, poses):
    small, grids = camera.resized((20, 18)), material_grids(phantom, metal=Metal())
    seen = beam(materials=grids.materials)
    image, jacobian = render_polyenergetic_with_jacobian(grids, poses, small, seen, phantom.center)
    torch.testing.assert_close(render_polyenergetic(grids, poses, small, seen), image)
    torch.testing.assert_close(render(grids, poses, small, beam=seen), image)
    for one, other in zip(
        render_with_jacobian(grids, poses, small, phantom.center, beam=seen), (image, jacobian), strict=True
    ):
        torch.testing.assert_close(one, other)
    assert image.shape == (2, 18, 20)
    assert jacobian.shape == (2, 6, 18, 20)


def smooth_grids(phantom) -> MaterialGrids:
    """Without kinks at voxel faces, which a difference quotient sees from both sides."""
    grids = material_grids(phantom)
    parts = []
    for grid in grids.grids:
        data = gaussian_filter(grid.densities().numpy().astype(np.float64), 1.5).astype(np.float32)
        data[[0, -1]] = data[:, [0, -1]] = data[:, :, [0, -1]] = 0
        parts.append(DensityGrid(torch.from_numpy(data), grid.grid_to_ras))
    return MaterialGrids(grids.materials, tuple(parts))


def test_pose_derivatives_agree_with_finite_differences_in_float64(phantom, camera, poses):
    grids, pose, seen = smooth_grids(phantom), poses[:1], beam()
    small, pivot = camera.resized((16, 14)), np.array([10.0, -20.0, 30.0])

    def march(at: np.ndarray, about: np.ndarray | None) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
        return [oracle.march(g, rays_of(g, at, small), 1.0, about) for g in grids.grids]

    marched = march(pose, pivot)
    area, by_pose = (torch.stack([m[k] for m in marched], dim=1) for k in (0, 1))
    jacobian = combined(attenuated_with_derivative(area, seen)[1], by_pose)
    for parameter, size in enumerate([1e-3, 1e-3, 1e-3, 1e-5, 1e-5, 1e-5]):
        xi = np.zeros(6)
        xi[parameter] = size
        ahead, behind = (
            attenuated(torch.stack([m[0] for m in march(increment(s * xi, pivot) @ pose, None)], dim=1), seen)
            for s in (1, -1)
        )
        difference = (ahead - behind)[0] / (2 * size)
        assert (difference - jacobian[0, parameter]).norm() < 2e-3 * difference.norm()


def test_the_kernel_and_its_twin_make_the_same_derivatives(phantom, camera, poses):
    grids, small, pivot, seen = material_grids(phantom), camera.resized((24, 22)), phantom.center, beam()
    image, jacobian = render_polyenergetic_with_jacobian(grids, poses, small, seen, pivot, step=3.0)
    marched = [oracle.march(g, rays_of(g, poses, small), 3.0, pivot) for g in grids.grids]
    area, by_pose = (torch.stack([m[k] for m in marched], dim=1) for k in (0, 1))
    true_image, by_area = attenuated_with_derivative(area, seen)
    torch.testing.assert_close(image.double(), true_image, rtol=0, atol=2e-5 * float(true_image.max()))
    true = combined(by_area, by_pose)
    assert float(((jacobian - true).norm(dim=(2, 3)) / true.norm(dim=(2, 3))).max()) < 2e-2


def test_autograd_by_the_pose_is_the_jacobian(phantom, camera, poses):
    grids, small, seen = material_grids(phantom), camera.resized((16, 15)), beam()
    _, jacobian = render_polyenergetic_with_jacobian(grids, poses[:1], small, seen, phantom.center)
    xi = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    v, w = xi[:3], xi[3:]
    turn = torch.linalg.cross(w.expand(3, 3), torch.eye(3, dtype=torch.float64)).T
    pose, pivot = torch.from_numpy(poses[0]), torch.from_numpy(phantom.center)
    top = torch.cat([pose[:3, :3] + turn @ pose[:3, :3], (pose[:3, 3] + turn @ (pose[:3, 3] - pivot) + v)[:, None]], 1)
    moved = torch.cat([top, pose[3:]])
    area = torch.cat([differentiable_render(g, moved[None], small, phantom.center) for g in grids.grids])[None]
    weights = torch.rand(15, 16, generator=torch.Generator().manual_seed(0))
    (attenuated(area, seen)[0] * weights).sum().backward()
    torch.testing.assert_close(xi.grad.float(), (jacobian[0] * weights).sum(dim=(1, 2)), rtol=1e-3, atol=1e-3)


def test_channels_are_their_own_renders(phantom, camera, poses):
    grids, small = material_grids(phantom), camera.resized((16, 15))
    area = render_channels(grids.grids, poses, small)
    both, by_pose = render_channels_with_jacobian(grids.grids, poses, small, phantom.center)
    assert area.shape == (2, 2, 15, 16)
    assert by_pose.shape == (2, 2, 6, 15, 16)
    torch.testing.assert_close(both, area)
    torch.testing.assert_close(area[:, 1], render(grids.grids[1], poses, small))


@pytest.mark.parametrize("size", [(21, 18), (3, 1)])
def test_one_walk_through_both_tissues_is_one_through_each(phantom, camera, poses, size):
    grids, small = material_grids(phantom), camera.resized(size)
    area, by_pose = area_densities_with_jacobian(grids, poses, small, phantom.center)
    each, each_by_pose = render_channels_with_jacobian(grids.grids, poses, small, phantom.center)
    # Codes of 16 bits, of the attenuation here and of each tissue's density there.
    torch.testing.assert_close(area, each, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(area_densities(grids, poses, small), area)
    assert ((by_pose - each_by_pose).norm(dim=(3, 4)) <= 2e-3 * each_by_pose.norm(dim=(3, 4))).all()


def test_bone_stands_out_from_soft_tissue_more_at_low_voltage():
    # What a little bone behind 20 g/cm2 of tissue adds, over what the tissue does, over the same at 70 keV.
    area = torch.tensor([20.0, 0.0], dtype=torch.float64).reshape(1, 2, 1, 1)

    def contrast(seen: Beam) -> float:
        image, by_area = attenuated_with_derivative(area, seen)
        return float(by_area[0, 1]) / float(image)

    # By a separate program, with spectra of spekpy and an independent sum over energies.
    for tube, expected in (
        (Tube(60, 3.5), 1.51),
        (Tube(80, 3, 0.1), 1.23),
        (Tube(90, 4), 1.18),
        (Tube(120, 4.3), 1.07),
    ):
        assert contrast(beam(tube)) / contrast(monoenergetic(70.0)) == pytest.approx(expected, rel=0.02)


def test_a_beam_for_other_materials_is_refused(phantom, camera, poses):
    with pytest.raises(InputError, match=r"beam is for water; the volume holds soft_tissue, cortical_bone"):
        render_polyenergetic(material_grids(phantom), poses, camera, beam(materials=("water",)))
    with pytest.raises(InputError, match="Materials are seen in a beam"):
        render(material_grids(phantom), poses, camera)
    with pytest.raises(InputError, match="not by the method siddon"):
        render(material_grids(phantom), poses, camera, method="siddon", beam=beam())
    with pytest.raises(InputError, match="A beam needs densities of materials"):
        render(density_grid(phantom), poses, camera, beam=beam())
    with pytest.raises(InputError, match=r"\(B, 2, H, W\).* not \(1, 3, 4, 4\)"):
        attenuated(torch.zeros(1, 3, 4, 4), beam())
    with pytest.raises(InputError, match="slab holds nothing denser"):
        grids_of({"soft_tissue": np.zeros((4, 4, 4), np.float32)}, np.eye(4), "slab")
