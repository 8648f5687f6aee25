"""Polyenergetic X-rays from area densities of materials (after Diff-DeepDRR, Zhang et al., MICCAI 2023).

A ray that crosses A_m g/cm2 of each material m lets of the signal S_E in each bin of energy exp(-sum_m phi_m(E) A_m) through:

    p = -ln(I / I0) = -logsumexp_E(ln S_E - sum_m phi_m(E) A_m)
    dp/dA_m = sum_E w_E phi_m(E),    w = softmax_E(ln S_E - sum_m phi_m(E) A_m)

The derivative is the mean attenuation of what is left of the beam, so that the march, and nothing of the spectrum, is what an
image and its derivatives by the pose cost: one for soft tissue and bone together, one for each material of other volumes.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.rendering.rays import rays_of
from XVRegistrationLib.rendering.render import fine_step, render, render_with_jacobian
from XVRegistrationLib.rendering.tissue_grid import TissueGrid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.rendering.grid import DensityGrid
    from XVRegistrationLib.rendering.materials import MaterialGrids
    from XVRegistrationLib.rendering.rays import Rays
    from XVRegistrationLib.rendering.spectrum import Beam

    TissueMarch = Callable[
        [TissueGrid, Rays, float, NDArray[np.float64] | None], tuple[torch.Tensor, torch.Tensor | None]
    ]

# Values of all bins at once: what stays in a processor's cache; a GPU wants more to do.
_VALUES, _VALUES_CUDA = 2**18, 2**26


def render_polyenergetic(
    volume: MaterialGrids | TissueGrid,
    poses: ArrayLike,
    intrinsics: Intrinsics,
    beam: Beam,
    step: float | None = None,
) -> torch.Tensor:
    """-ln(I / I0) (B, H, W), float32 on the grids' device, of poses (B, 4, 4), camera -> RAS; `step` as for `render`, mm."""
    check_beam(volume, beam)
    return attenuated(area_densities(volume, poses, intrinsics, step), beam)


def render_polyenergetic_with_jacobian(
    volume: MaterialGrids | TissueGrid,
    poses: ArrayLike,
    intrinsics: Intrinsics,
    beam: Beam,
    pivot: ArrayLike,
    step: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """-ln(I / I0) (B, H, W) and its derivatives (B, 6, H, W) by the left increment about `pivot`, as `render_with_jacobian`."""
    check_beam(volume, beam)
    area, by_pose = area_densities_with_jacobian(volume, poses, intrinsics, pivot, step)
    image, by_area = attenuated_with_derivative(area, beam)
    return image, combined(by_area, by_pose)


def area_densities(
    volume: MaterialGrids | TissueGrid, poses: ArrayLike, intrinsics: Intrinsics, step: float | None = None
) -> torch.Tensor:
    """Area densities (B, M, H, W), g/cm2, of each of a volume's materials; poses and `step` as for `render`."""
    if not isinstance(volume, TissueGrid) or (march := _tissue_march()) is None:
        return render_channels(volume.grids, poses, intrinsics, step)
    grid = volume.attenuation
    return march(volume, rays_of(grid, poses, intrinsics), step or fine_step(grid), None)[0]


def area_densities_with_jacobian(
    volume: MaterialGrids | TissueGrid,
    poses: ArrayLike,
    intrinsics: Intrinsics,
    pivot: ArrayLike,
    step: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Area densities (B, M, H, W), g/cm2, and their derivatives (B, M, 6, H, W) by the left increment about `pivot`."""
    if not isinstance(volume, TissueGrid) or (march := _tissue_march()) is None:
        return render_channels_with_jacobian(volume.grids, poses, intrinsics, pivot, step)
    grid, center = volume.attenuation, np.asarray(pivot, dtype=np.float64)
    area, by_pose = march(volume, rays_of(grid, poses, intrinsics), step or fine_step(grid), center)
    assert by_pose is not None
    return area, by_pose


@cache
def _tissue_march() -> TissueMarch | None:
    """The march through both tissues; None where Warp cannot be loaded: each is then rendered by itself, as torch does."""
    try:
        from XVRegistrationLib.rendering.tissue_march import march_tissues
    except (ImportError, OSError):
        return None
    return march_tissues


def render_channels(
    grids: Sequence[DensityGrid], poses: ArrayLike, intrinsics: Intrinsics, step: float | None = None
) -> torch.Tensor:
    """Line integrals (B, M, H, W) through each of M grids: area densities, g/cm2, of `MaterialGrids`."""
    return torch.stack([render(grid, poses, intrinsics, step) for grid in grids], dim=1)


def render_channels_with_jacobian(
    grids: Sequence[DensityGrid],
    poses: ArrayLike,
    intrinsics: Intrinsics,
    pivot: ArrayLike,
    step: float | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Line integrals (B, M, H, W) through each of M grids and their derivatives (B, M, 6, H, W) per mm and per radian."""
    images, jacobians = zip(
        *(render_with_jacobian(grid, poses, intrinsics, pivot, step) for grid in grids), strict=True
    )
    return torch.stack(images, dim=1), torch.stack(jacobians, dim=1)


def attenuated(area: torch.Tensor, beam: Beam) -> torch.Tensor:
    """-ln(I / I0) (B, H, W) behind area densities (B, M, H, W), g/cm2, in their precision; gradients flow back to them.

    Zero where there is nothing (to rounding), finite however much there is.
    """
    image: torch.Tensor = _Attenuated.apply(area, beam)
    return image


def attenuated_with_derivative(area: torch.Tensor, beam: Beam) -> tuple[torch.Tensor, torch.Tensor]:
    """-ln(I / I0) (B, H, W) behind area densities (B, M, H, W), g/cm2, and its derivatives (B, M, H, W) by them, cm2/g."""
    batch, count = _shape(area, beam)
    flat = area.detach().reshape(batch, count, -1)
    phi = torch.as_tensor(beam.coefficients, dtype=area.dtype, device=area.device)
    log_weights = torch.as_tensor(beam.weights, dtype=torch.float64).log().to(phi)[:, None]
    image, by_area = flat.new_empty(batch, flat.shape[2]), torch.empty_like(flat)
    limit = max(1, (_VALUES_CUDA if area.device.type == "cuda" else _VALUES) // len(phi))
    pixels = min(limit, max(1, flat.shape[2]))
    together = max(1, limit // pixels)
    for b in range(0, batch, together):
        for first in range(0, flat.shape[2], pixels):
            part = (slice(b, b + together), slice(first, first + pixels))
            left = torch.baddbmm(
                log_weights, phi.expand(len(flat[part[0]]), -1, -1), flat[part[0], :, part[1]], alpha=-1
            )
            highest = left.amax(dim=1, keepdim=True)
            left.sub_(highest).exp_()
            total = left.sum(dim=1)
            image[part] = -(highest[:, 0] + total.log())
            by_area[part[0], :, part[1]] = (phi.T @ left) / total[:, None]
    shape = (batch, *area.shape[2:])
    return image.reshape(shape), by_area.reshape(area.shape)


def combined(by_area: torch.Tensor, by_pose: torch.Tensor) -> torch.Tensor:
    """Derivatives (B, P, H, W) of an image: by area densities (B, M, H, W), these by P parameters (B, M, P, H, W)."""
    total = by_area[:, :1] * by_pose[:, 0]
    for m in range(1, by_area.shape[1]):
        total.addcmul_(by_area[:, m : m + 1], by_pose[:, m])
    return total


def check_beam(volume: MaterialGrids | TissueGrid, beam: Beam) -> None:
    """Raise InputError unless the beam has the attenuation of just the volume's materials, in their order."""
    if volume.materials != beam.materials:
        raise InputError(
            f"The beam is for {', '.join(beam.materials)}; the volume holds {', '.join(volume.materials)}: make the beam with "
            "the volume's materials."
        )


def _shape(area: torch.Tensor, beam: Beam) -> tuple[int, int]:
    if area.ndim != 4 or area.shape[1] != len(beam.materials):
        raise InputError(
            f"Area densities must be (B, {len(beam.materials)}, H, W), one of each of {', '.join(beam.materials)}, "
            f"not {tuple(area.shape)}."
        )
    return area.shape[0], area.shape[1]


class _Attenuated(torch.autograd.Function):
    """Keeps the derivative alone for the way back: a float a material and pixel, whatever the number of bins."""

    @staticmethod
    def forward(ctx: Any, area: torch.Tensor, beam: Beam) -> torch.Tensor:
        image, by_area = attenuated_with_derivative(area, beam)
        ctx.save_for_backward(by_area)
        return image

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        (by_area,) = ctx.saved_tensors
        return gradient[:, None] * by_area, None
