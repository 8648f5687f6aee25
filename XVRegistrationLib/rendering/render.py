"""Rendering: the one public way to a synthetic X-ray."""

from __future__ import annotations

import warnings
from functools import cache, partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.rendering.grid import DensityGrid
from XVRegistrationLib.rendering.rays import rays_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.rendering.materials import MaterialGrids
    from XVRegistrationLib.rendering.rays import Rays
    from XVRegistrationLib.rendering.spectrum import Beam
    from XVRegistrationLib.rendering.voxel_grid import VoxelGrid

    Projector = Callable[
        [DensityGrid, Rays, float, NDArray[np.float64] | None], tuple[torch.Tensor, torch.Tensor | None]
    ]

_FINE, _LEAST = 0.7, 0.01  # of the finest voxel spacing

Method = Literal["march", "joseph", "siddon"]


def render(
    grid: DensityGrid | MaterialGrids,
    poses: ArrayLike,
    intrinsics: Intrinsics,
    step: float | None = None,
    *,
    method: Method = "march",
    beam: Beam | None = None,
) -> torch.Tensor:
    """Line integrals (B, H, W), unitless, float32 on the grid's device, of poses (B, 4, 4), camera -> RAS.

    Of the densities of materials, seen in a `beam` of their energies, -ln(I / I0).

    `step` is the march's sample distance in mm; by default 0.7 of the finest voxel spacing, at which sampling adds
    less than 1e-4 to the integral of the trilinear density. The other methods have no step: Joseph's, bilinear in the planes
    that a ray crosses, and Siddon's, exact through voxels of one density each, which is slow. Mirrored cameras give mirrored
    images. Raises InputError for what is no pose, for a step that leads nowhere, and for a beam without materials or the reverse.
    """
    if not isinstance(grid, DensityGrid):
        from XVRegistrationLib.rendering.polyenergetic import render_polyenergetic

        return render_polyenergetic(grid, poses, intrinsics, _beam_of_materials(beam, method), step)
    _check_no_beam(beam)
    return _projector(method)(grid, rays_of(grid, poses, intrinsics), _checked(grid, step), None)[0]


def render_with_jacobian(
    grid: DensityGrid | MaterialGrids,
    poses: ArrayLike,
    intrinsics: Intrinsics,
    pivot: ArrayLike,
    step: float | None = None,
    *,
    method: Method = "march",
    beam: Beam | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (B, H, W) as `render`'s and their derivatives (B, 6, H, W) by the left increment xi = (v, w) about `pivot` (3,), RAS.

    Derivatives are per mm (v) and per radian (w) of `geometry.rigid.increment(xi, pivot) @ pose`. Raises ValueError for
    Siddon's method, which has none.
    """
    if not isinstance(grid, DensityGrid):
        from XVRegistrationLib.rendering.polyenergetic import render_polyenergetic_with_jacobian

        seen = _beam_of_materials(beam, method)
        return render_polyenergetic_with_jacobian(grid, poses, intrinsics, seen, pivot, step)
    _check_no_beam(beam)
    rays = rays_of(grid, poses, intrinsics)
    center = np.asarray(pivot, dtype=np.float64)
    image, jacobian = _projector(method)(grid, rays, _checked(grid, step), center)
    if jacobian is None:
        raise ValueError(f"The method {method} has no derivatives by the pose.")
    return image, jacobian


def _beam_of_materials(beam: Beam | None, method: str) -> Beam:
    if beam is None:
        raise InputError("Materials are seen in a beam: render(..., beam=beam(Tube(KVP), grids.materials)).")
    if method != "march":
        raise InputError(f"Materials are rendered by the march alone, not by the method {method}.")
    return beam


def _check_no_beam(beam: Beam | None) -> None:
    if beam is not None:
        raise InputError(
            "A beam needs densities of materials: render material_grids(volume) instead of a density grid."
        )


def _checked(grid: VoxelGrid, step: float | None) -> float:
    """The step, or the fine one without any; InputError for one that no march can go in."""
    if step is None:
        return fine_step(grid)
    least = _LEAST * float(grid.spacing.min())
    if not least <= step < np.inf:
        raise InputError(
            f"The step must be at least {least:g} mm, a hundredth of a voxel, and finite; not {step:g} mm."
        )
    return float(step)


def fine_step(grid: VoxelGrid) -> float:
    """Distance in mm between the samples of a ray at which sampling adds less than 1e-4 to a CT's integral."""
    return _FINE * sample_distance(grid)


def sample_distance(grid: VoxelGrid, at_least: float = 0.0) -> float:
    """Distance in mm between the samples of a ray: `at_least`, or the grid's finest voxel spacing where that is longer."""
    return max(at_least, float(grid.spacing.min()))


@cache
def _projector(method: str) -> Projector:
    """The Warp kernel of a method, or its twin in torch where Warp cannot be loaded. Raises ValueError for another name."""
    if method == "siddon":
        import torch

        from XVRegistrationLib.rendering.siddon import siddon

        return lambda grid, rays, step, pivot: (siddon(grid, rays, torch.float32), None)
    if method not in ("march", "joseph"):
        raise ValueError(f"There is no rendering method {method!r}: march, joseph or siddon.")
    try:
        if method == "march":
            from XVRegistrationLib.rendering.march import march

            return march
        from XVRegistrationLib.rendering.joseph import joseph

        return lambda grid, rays, step, pivot: joseph(grid, rays, pivot)
    except (ImportError, OSError) as e:
        import torch

        from XVRegistrationLib.rendering import joseph_oracle, oracle

        warnings.warn(f"Warp cannot be loaded ({e}); rendering with torch, which is many times slower.", stacklevel=3)
        if method == "march":
            return partial(oracle.march, dtype=torch.float32)
        return lambda grid, rays, step, pivot: joseph_oracle.joseph(grid, rays, pivot, torch.float32)
