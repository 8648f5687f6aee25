"""How others refine a pose, on our renderer: xvr's recipe and PSSS's, so that only the refinement is compared.

Both climb a similarity with Adam. They see the same line integrals, cameras and voxel grids as our refinement does; a
gradient costs one render, because the renderer's six derivatives of every pixel are contracted with the similarity's.
Settings are those that the authors' published programs run with, restated from their description.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import roma
import torch

from XVRegistrationLib.geometry.rigid import check_rigid, invert, rigid, translation
from XVRegistrationLib.imaging.intensity import line_integral
from XVRegistrationLib.imaging.resample import resample
from XVRegistrationLib.registration.correlation import ncc, psss_presented, xvr_presented, xvr_similarity
from XVRegistrationLib.registration.result import Registration, Start
from XVRegistrationLib.rendering.differentiable import differentiable_render
from XVRegistrationLib.rendering.render import sample_distance
from XVRegistrationLib.versions import versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.geometry.views import NominalView
    from XVRegistrationLib.imaging.xray import Xray
    from XVRegistrationLib.registration.model import PatientModel
    from XVRegistrationLib.rendering.grid import DensityGrid

    Progress = Callable[[int, int, float], None]


@dataclass(frozen=True)
class XvrRecipe:
    """Refinement as xvr's registrar does it (Gopalakrishnan et al. 2025, arXiv 2503.16309)."""

    pixels: tuple[int, ...] = (64, 128, 256)
    """Longer side of the image at each scale; xvr's 24, 12, 6 of 1536 px."""
    iterations: tuple[int, ...] = (500, 500, 500)
    divisors: tuple[float, ...] = (1.0, 2.0, 8.0)
    """Steps of a scale are divided by this; xvr multiplies its divisor by 2^(scale - 1) at each."""
    rotation_step: float = 1e-2
    """Radians."""
    translation_step: float = 1.0
    """mm."""
    factor: float = 0.1
    """By which steps shrink at a plateau."""
    patience: int = 10
    threshold: float = 1e-4
    plateaus: int = 3
    """xvr counts the first iteration as one: a scale ends when its steps have shrunk for the second time."""


@dataclass(frozen=True)
class PsssRecipe:
    """Refinement as PSSS's program does it (Zhang et al. 2023, doi 10.1007/978-3-031-43996-4_49)."""

    pixels: int = 256
    iterations: int = 100
    rotation_step: float = 0.5
    """Degrees. The published program has 5 degrees and 0.5 mm, by exchanging the two; these are what their names say."""
    translation_step: float = 5.0
    """mm."""
    halve_after: int = 20
    """Iterations after which the steps are halved, again and again."""
    enough: float = 1e-4
    """1 - ZNCC at which it stops."""


XVR = XvrRecipe()
PSSS = PsssRecipe()
PSSS_AS_RELEASED = PsssRecipe(rotation_step=5.0, translation_step=0.5)
"""With the exchanged steps of the published program."""


def register_like_xvr(
    model: PatientModel, xray: Xray, start: ArrayLike, recipe: XvrRecipe = XVR, progress: Progress | None = None
) -> Registration:
    """The pose (4, 4) that xvr's recipe reaches from `start` (4, 4), with its similarity (1 is perfect) and its renders.

    The pose is the last one, as in xvr. `progress` is called after each render with scales done, scales in all and the
    similarity; an exception from it ends the work. Raises InputError for a start that is not rigid.
    """
    began = time.perf_counter()
    image, first = torch.from_numpy(line_integral(xray)), check_rigid(start, "start")
    chart, renders = xvr_chart(model.view), 0
    angles, shift = chart.parameters(first)
    scales = list(zip(recipe.pixels, recipe.iterations, recipe.divisors, strict=True))
    for n, (pixels, iterations, divisor) in enumerate(scales):
        goal = _goal(model, image, xray.intrinsics, pixels)
        fixed = xvr_presented(goal.xray)
        likeness = partial(_xvr_likeness, goal, fixed, chart, angles, shift)
        for similarity in ascend(xvr_steps(angles, shift, recipe, divisor), likeness, iterations, recipe):
            renders += 1
            if progress is not None:
                progress(n, len(scales), similarity)
    with torch.no_grad():
        final = float(likeness())
    return _registration(xray, first, chart.matrix(angles, shift), final, began, renders + 1)


def _xvr_likeness(
    goal: _Goal, fixed: torch.Tensor, chart: Chart, angles: torch.Tensor, shift: torch.Tensor
) -> torch.Tensor:
    return xvr_similarity(xvr_presented(goal.render(chart.pose(angles, shift))), fixed)


def register_like_psss(
    model: PatientModel, xray: Xray, start: ArrayLike, recipe: PsssRecipe = PSSS, progress: Progress | None = None
) -> Registration:
    """The pose (4, 4) of the lowest loss that PSSS's recipe meets from `start` (4, 4), with its ZNCC and its renders.

    `progress` is called after each render with 0, 1 and the highest ZNCC; an exception from it ends the work. Raises
    InputError for a start that is not rigid.
    """
    began = time.perf_counter()
    image, first = torch.from_numpy(line_integral(xray)), check_rigid(start, "start")
    chart, goal = psss_chart(model.view), _goal(model, image, xray.intrinsics, recipe.pixels)
    angles, shift = chart.parameters(first)
    fixed = psss_presented(goal.xray)
    groups = [{"params": [angles], "lr": recipe.rotation_step}, {"params": [shift], "lr": recipe.translation_step}]
    optimizer = torch.optim.Adam(groups)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, recipe.halve_after, 0.5)
    best, lowest, renders = first, float("inf"), 0
    while renders < recipe.iterations and lowest > recipe.enough:
        optimizer.zero_grad()
        loss = 1.0 - ncc(psss_presented(goal.render(chart.pose(angles, shift))), fixed)
        renders += 1
        if float(loss.detach()) < lowest:
            lowest, best = float(loss.detach()), chart.matrix(angles, shift)
        if progress is not None:
            progress(0, 1, 1.0 - lowest)
        loss.backward()
        optimizer.step()
        schedule.step()
    return _registration(xray, first, best, 1.0 - lowest, began, renders)


def _registration(
    xray: Xray, start: NDArray[np.float64], pose: NDArray[np.float64], similarity: float, began: float, renders: int
) -> Registration:
    return Registration(
        name=xray.name,
        pose=pose,
        intrinsics=xray.intrinsics,
        similarity=similarity,
        seconds=time.perf_counter() - began,
        starts=(Start("given", start, 1.0 - similarity),),
        winner="given",
        versions=versions(),
        renders=renders,
    )


@dataclass(frozen=True, eq=False)
class _Goal:
    """An X-ray (H, W) at a scale, and what renders at the same one: as our refinement's levels have it."""

    xray: torch.Tensor
    intrinsics: Intrinsics
    grid: DensityGrid
    step: float
    pivot: tuple[float, float, float]

    def render(self, pose: torch.Tensor) -> torch.Tensor:
        return differentiable_render(self.grid, pose[None], self.intrinsics, self.pivot, self.step)[0]


def _goal(model: PatientModel, image: torch.Tensor, intrinsics: Intrinsics, pixels: int) -> _Goal:
    camera = intrinsics.fitted(pixels)
    seen, _ = resample(image, intrinsics, camera)
    footprint = camera.footprint(model.view.sod)
    grid = model.pyramid.matched_to(footprint)
    return _Goal(seen, camera, grid, sample_distance(grid, footprint / 2), model.view.isocenter)


def ascend(
    groups: list[dict[str, Any]], similarity: Callable[[], torch.Tensor], iterations: int, recipe: XvrRecipe = XVR
) -> Iterator[float]:
    """Climb as xvr does at one scale: yields the similarity of each iteration, one render each, until steps shrank enough.

    `groups` are Adam's parameter groups, changed in place; `similarity` is the scalar to be raised, a function of them.
    """
    optimizer = torch.optim.Adam(groups, maximize=True)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=recipe.factor, patience=recipe.patience, threshold=recipe.threshold
    )
    plateaus, step = 0, float("inf")
    for _ in range(iterations):
        optimizer.zero_grad()
        value = similarity()
        value.backward()
        optimizer.step()
        schedule.step(float(value.detach()))
        yield float(value.detach())
        now = optimizer.param_groups[0]["lr"]
        plateaus, step = plateaus + (now < step), now
        if plateaus >= recipe.plateaus:
            return


def xvr_steps(
    angles: torch.Tensor, shift: torch.Tensor, recipe: XvrRecipe = XVR, divisor: float = 1.0
) -> list[dict[str, Any]]:
    """Adam's parameter groups of xvr's recipe at a scale."""
    return [
        {"params": [angles], "lr": recipe.rotation_step / divisor},
        {"params": [shift], "lr": recipe.translation_step / divisor},
    ]


@dataclass(frozen=True, eq=False)
class Chart:
    """Six parameters of a pose: pose = left @ [R | t] @ right with R = Rz Rx Ry, and t = shift or R @ shift."""

    left: NDArray[np.float64]
    right: NDArray[np.float64]
    turned: bool
    """Whether the shift turns with R."""
    degrees: bool
    """Whether angles are in degrees; otherwise in radians."""

    def pose(self, angles: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        """Pose (4, 4) float64, differentiable, of angles (3,) about z, x, y and a shift (3,) in mm."""
        rotation = roma.euler_to_rotmat("ZXY", angles, degrees=self.degrees)
        column = rotation @ shift if self.turned else shift
        motion = torch.cat([rotation, column[:, None]], dim=1)
        motion = torch.cat([motion, motion.new_tensor([[0.0, 0.0, 0.0, 1.0]])])
        return torch.from_numpy(self.left) @ motion @ torch.from_numpy(self.right)

    def matrix(self, angles: torch.Tensor, shift: torch.Tensor) -> NDArray[np.float64]:
        """The pose (4, 4) as it is now, a copy."""
        with torch.no_grad():
            return self.pose(angles, shift).numpy().copy()

    def parameters(self, pose: ArrayLike) -> tuple[torch.Tensor, torch.Tensor]:
        """Angles (3,) about z, x, y and shift (3,) of a pose (4, 4): leaves that Adam changes in place."""
        motion = invert(self.left) @ np.asarray(pose, dtype=np.float64) @ invert(self.right)
        rotation = torch.from_numpy(motion[:3, :3].copy())
        column = torch.from_numpy(motion[:3, 3].copy())
        angles = roma.rotmat_to_euler("ZXY", rotation, degrees=self.degrees)
        shift = rotation.T @ column if self.turned else column
        return angles.detach().clone().requires_grad_(), shift.detach().clone().requires_grad_()


def xvr_chart(view: NominalView) -> Chart:
    """xvr's parameters: angles about the patient's axes through the isocentre, and the source's place, turned with them."""
    return Chart(translation(view.isocenter), rigid(view.axes, np.zeros(3)), turned=True, degrees=False)


def psss_chart(view: NominalView) -> Chart:
    """PSSS's parameters: degrees about, and mm along, the nominal camera's axes through the isocentre."""
    frame = rigid(view.axes, view.isocenter)
    return Chart(frame, invert(frame) @ view.pose, turned=False, degrees=True)
