"""The weighted sum of losses that a network learns by, and how its weights change over the time budget."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import rigid
from XVRegistrationLib.rendering.differentiable import differentiable_render
from XVRegistrationLib.training.image_losses import dice_loss, gradient_ncc_loss, ncc_loss, soft_shadow
from XVRegistrationLib.training.losses import (
    between_views_distance,
    euler_distance,
    geodesic_distance,
    motions_to_poses,
    projected_distance,
    screw_distance,
)

if TYPE_CHECKING:
    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.rendering.grid import DensityGrid
    from XVRegistrationLib.training.task import Task


@dataclass(frozen=True)
class Weight:
    """How much a loss counts, and when."""

    value: float = 0.0
    begins: float = 0.0
    """Share of the time budget before which the loss counts nothing."""
    full_at: float = 0.0
    """Share from which on it counts in full; in between evenly more. Before `begins`: at once."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.value) and self.value >= 0 and 0 <= self.begins <= 1):
            raise InputError(
                f"A loss's weight must be zero or more, and begin between 0 and 1 of the budget, not {self}."
            )

    def at(self, progress: float) -> float:
        """The weight at a share (0..1) of the budget."""
        if progress < self.begins:
            return 0.0
        if progress >= self.full_at:
            return self.value
        return self.value * (progress - self.begins) / (self.full_at - self.begins)


@dataclass(frozen=True)
class LossWeights:
    """What a network learns by: every loss with its weight. The first five are in mm, the others have no unit."""

    geodesic: Weight = field(default_factory=lambda: Weight(1.0))
    """Double geodesic (xvr)."""
    screw: Weight = field(default_factory=Weight)
    """Geodesic on SE(3)."""
    euler: Weight = field(default_factory=Weight)
    """PSSS's: Euler angles in degrees and mm."""
    projected: Weight = field(default_factory=Weight)
    """Where points fall on the detector."""
    between_views: Weight = field(default_factory=Weight)
    """The motions between the X-rays of a batch (xvr's multi-view consistency)."""
    ncc: Weight = field(default_factory=Weight)
    """Of the render at the predicted pose and that at the true one."""
    gradient_ncc: Weight = field(default_factory=Weight)
    dice: Weight = field(default_factory=Weight)
    """Of the shadows of the task's structures."""

    def __post_init__(self) -> None:
        if not any(getattr(self, f.name).value > 0 for f in dataclasses.fields(self)):
            raise InputError("A network learns nothing where every loss has the weight 0.")


class TrainingLoss:
    """The losses of one task, summed up by their weights; renders again only where an image's loss counts."""

    def __init__(
        self,
        weights: LossWeights,
        task: Task,
        camera: Intrinsics,
        grid: DensityGrid,
        step: float,
        points: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
    ) -> None:
        """`camera` is the network's, `grid` and `step` what its X-rays are rendered from, `points` (N, 3), RAS mm, the patient's."""
        if weights.dice.value > 0 and not task.structures:
            raise InputError("A Dice loss needs structures; give the task some, or the loss no weight.")
        self._weights, self._task, self._camera, self._grid, self._step = weights, task, camera, grid, step
        offsets = points - np.array(task.view.isocenter)
        self.radius = float(np.sqrt((offsets**2).sum(axis=1).mean()))
        """Root mean square distance of the points from the isocentre, mm."""
        self._points = torch.from_numpy(points)
        self._frame, self._nominal = rigid(task.view.axes, task.view.isocenter), task.view.pose

    def __call__(
        self, rotation: torch.Tensor, translation: torch.Tensor, motions: torch.Tensor, progress: float
    ) -> torch.Tensor:
        """The loss (scalar) of predicted motions against true ones (B, 4, 4), at a share of the budget."""
        w = {f.name: getattr(self._weights, f.name).at(progress) for f in dataclasses.fields(self._weights)}
        both = rotation, translation, motions[:, :3, :3], motions[:, :3, 3]
        total = rotation.new_zeros(())
        if w["geodesic"] > 0:
            total = total + w["geodesic"] * geodesic_distance(*both, self.radius).mean()
        if w["screw"] > 0:
            total = total + w["screw"] * screw_distance(*both, self.radius).mean()
        if w["euler"] > 0:
            total = total + w["euler"] * euler_distance(*both).mean()
        if w["between_views"] > 0:
            total = total + w["between_views"] * between_views_distance(*both, self.radius).mean()
        if not any(w[name] > 0 for name in ("projected", "ncc", "gradient_ncc", "dice")):
            return total
        seen, true = (motions_to_poses(r, t, self._frame, self._nominal) for r, t in (both[:2], both[2:]))
        if w["projected"] > 0:
            points = self._points.to(seen.device)
            total = total + w["projected"] * projected_distance(seen, true, points, self._camera.sdd).mean()
        if w["ncc"] > 0 or w["gradient_ncc"] > 0:
            a, b = self._rendered(self._grid, seen), self._rendered(self._grid, true)
            total = total + w["ncc"] * ncc_loss(a, b).mean() + w["gradient_ncc"] * gradient_ncc_loss(a, b).mean()
        if w["dice"] > 0:
            shadows = [
                torch.stack([soft_shadow(self._rendered(grid, poses)) for grid in self._task.structures], dim=1)
                for poses in (seen, true)
            ]
            total = total + w["dice"] * dice_loss(*shadows).mean()
        return total

    def _rendered(self, grid: DensityGrid, poses: torch.Tensor) -> torch.Tensor:
        step = self._step if grid is self._grid else None
        return differentiable_render(grid, poses, self._camera, self._task.view.isocenter, step)
