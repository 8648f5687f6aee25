"""Where a training's X-rays come from: rendered one after the other, or a pool of which a part is replaced each epoch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from XVRegistrationLib.geometry.views import draw_poses
from XVRegistrationLib.imaging.resample import cover_as
from XVRegistrationLib.rendering.grid import beyond, completed, matched_to
from XVRegistrationLib.rendering.render import render, sample_distance
from XVRegistrationLib.training.beam_objects import ObjectPool, ObjectShares
from XVRegistrationLib.training.presentation import ShownShares, presented
from XVRegistrationLib.training.randomize import randomized

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.rendering.grid import DensityGrid
    from XVRegistrationLib.training.task import Task

# Voxels and steps of the training's renders, in pixel footprints: twice coarser than needed costs no accuracy that a network
# of this resolution has, and saves half of the time that it has to learn.
COARSENESS = 2.0
# What lies beyond a CT's cut faces is its last slices over again, so much as dense.
_GUESSED = (0.6, 0.8, 1.0, 1.2)


@dataclass(frozen=True)
class Randomization:
    """How much X-rays differ beside their pose; the detector's part is `randomize.randomized`."""

    objects: ObjectShares = field(default_factory=ObjectShares)
    shown: ShownShares = field(default_factory=ShownShares)
    beyond: float = 0.5
    """Share of the X-rays that show more of the body than a CT that is cut off holds, at a guess."""
    full_at: float = 0.4
    """Share of the time budget after which the images are as hard as the shares say; until then they get harder evenly."""

    def difficulty(self, progress: float) -> float:
        """0 (easy) to 1, of a share of the budget."""
        return 1.0 if self.full_at <= 0 else min(1.0, max(0.0, progress / self.full_at))


@dataclass(frozen=True, eq=False)
class Batch:
    """X-rays to learn from."""

    images: torch.Tensor
    """(B, H, W) as the network sees them."""
    clean: torch.Tensor
    """(B, H, W) line integrals of the patient alone."""
    motions: torch.Tensor
    """(B, 4, 4) float32, true motions relative to the nominal view."""


class XraySource(Protocol):
    """What X-rays are drawn from: a batch is what is `shown` of what was `rendered`."""

    def rendered(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Line integrals (count, H, W) of the next X-rays, and their motions (count, 4, 4)."""

    def shown(self, clean: torch.Tensor, motions: torch.Tensor, difficulty: float) -> Batch:
        """Renders as a network gets them; `difficulty` (0..1) is how hard they are."""


def batches_of(
    source: XraySource, rendered: Sequence[tuple[torch.Tensor, torch.Tensor]], difficulty: float
) -> list[Batch]:
    """What is shown of several batches' renders, made at once: small operations take as long for all of them as for one."""
    counts = [len(motions) for _, motions in rendered]
    made = source.shown(torch.cat([clean for clean, _ in rendered]), torch.cat([m for _, m in rendered]), difficulty)
    parts = zip(made.images.split(counts), made.clean.split(counts), made.motions.split(counts), strict=True)
    return [Batch(*part) for part in parts]


class Stream:
    """Every X-ray is rendered for one use."""

    def __init__(
        self, task: Task, camera: Intrinsics, randomization: Randomization, device: torch.device, seed: int
    ) -> None:
        """X-rays of a task seen by the network's `camera`; the same for the same seed."""
        self._task, self._camera, self._randomization = task, camera, randomization
        self.grid, self.step = training_grid(task, camera, device)
        rest = None
        if task.patients is None and randomization.beyond > 0:
            rest = beyond(task.grid, voxel=COARSENESS * camera.footprint(task.view.sod))
        self._completed = [] if rest is None else [completed(self.grid, rest.to(device), share) for share in _GUESSED]
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator(device).manual_seed(seed)
        at_patient = task.view.sod / camera.sdd
        spacing = (camera.spacing[0] * at_patient, camera.spacing[1] * at_patient)
        self._objects = ObjectPool(camera.size, spacing, randomization.objects, self._generator)

    def rendered(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Line integrals (count, H, W) of new poses, and their motions (count, 4, 4)."""
        poses = draw_poses(self._task.view, self._task.pose_range, count, self._rng)
        motions = torch.from_numpy(self._task.view.relative(poses)).float().to(self.grid.data.device)
        coarse, patients = COARSENESS * self._camera.footprint(self._task.view.sod), self._task.patients
        grids = [self.grid] if patients is None else patients.draw(coarse)
        more = round(self._randomization.beyond * count) if self._completed else 0
        images = []
        if more:
            guess = self._completed[self._rng.integers(len(self._completed))]
            images.append(render(guess, poses[:more], self._camera, sample_distance(guess, coarse)))
        if more < count:
            images.append(shared_renders(grids, len(grids), poses[more:], self._camera, coarse))
        return cover_as(torch.cat(images), self._camera, self._task.intrinsics), motions

    def shown(self, clean: torch.Tensor, motions: torch.Tensor, difficulty: float) -> Batch:
        """Renders as a network gets them: with what lies in the beam, through a detector, processed."""
        integrals = clean + self._objects.objects(len(clean), difficulty)
        shares = self._randomization.shown
        shares = ShownShares(*(difficulty * s for s in (shares.local_contrast, shares.inverted, shares.opening)))
        images = presented(randomized(integrals, self._camera.spacing, self._generator), shares, self._generator)
        return Batch(images, clean, motions)


class Pool:
    """PSSS's incremental learning: an epoch goes through a fixed number of X-rays, then a part of them is replaced by new ones.

    Renders are kept; what else is random (objects, detector) is drawn anew for every use.
    """

    def __init__(self, stream: Stream, size: int, replaced: float) -> None:
        """`size` X-rays, rendered now, of which a share `replaced` (0..1) is new in each epoch."""
        self._stream, self._replaced = stream, max(0, min(size, round(replaced * size)))
        self._clean, self._motions = stream.rendered(size)
        self._rng = np.random.default_rng(size)
        self._order: list[int] = []
        self._begun = False
        self._oldest = 0

    def rendered(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The next X-rays of the epoch, in random order; the first epoch is the pool as it was rendered."""
        clean, motions, missing = [], [], count
        while missing > 0:
            if not self._order:
                if self._begun:
                    self._replace()
                self._begun = True
                self._order = self._rng.permutation(len(self._clean)).tolist()
            chosen, self._order = self._order[:missing], self._order[missing:]
            index = torch.tensor(chosen, device=self._clean.device)
            clean.append(self._clean[index])
            motions.append(self._motions[index])
            missing -= len(chosen)
        return torch.cat(clean), torch.cat(motions)

    def shown(self, clean: torch.Tensor, motions: torch.Tensor, difficulty: float) -> Batch:
        """As the stream shows them."""
        return self._stream.shown(clean, motions, difficulty)

    def _replace(self) -> None:
        """The oldest part of the pool makes place for new X-rays."""
        if self._replaced == 0:
            return
        places = (self._oldest + torch.arange(self._replaced, device=self._clean.device)) % len(self._clean)
        self._clean[places], self._motions[places] = self._stream.rendered(self._replaced)
        self._oldest = int(places[-1]) + 1


def shared_renders(
    grids: Iterable[DensityGrid], count: int, poses: NDArray[np.float64], camera: Intrinsics, step: float
) -> torch.Tensor:
    """Line integrals (B, H, W) of poses (B, 4, 4), of which each of `count` grids gets its share, in turn.

    Where there are more grids than poses, only as many are asked for. Samples are `step` mm apart or more.
    """
    parts = zip(np.array_split(poses, min(count, len(poses))), grids, strict=False)
    return torch.cat([render(grid, part, camera, sample_distance(grid, step)) for part, grid in parts])


def training_grid(task: Task, camera: Intrinsics, device: torch.device) -> tuple[DensityGrid, float]:
    """The grid that a training renders from, on the device, and the distance of its samples, mm."""
    coarse = COARSENESS * camera.footprint(task.view.sod)
    grid = matched_to(task.grid, coarse).to(device)
    return grid, sample_distance(grid, coarse)
