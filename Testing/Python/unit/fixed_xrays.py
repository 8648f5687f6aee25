"""X-rays to learn from that are the same in every training, and a small task that they are of."""

from __future__ import annotations

import roma
import torch

from Testing.Python.unit.conftest import phantom_hu
from Testing.Python.unit.many_patients import CAMERA, patient
from XVRegistrationLib.geometry.views import NominalView, PoseRange
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.training.task import Task
from XVRegistrationLib.training.xray_sources import Batch

PIXELS = 32


class FixedXrays:
    """Noise with motions that mean nothing, one after the other and then from the first on; every `each`th from `first` on."""

    def __init__(self, count: int = 64, first: int = 0, each: int = 1) -> None:
        generator = torch.Generator().manual_seed(5)
        self._images = torch.rand(count, PIXELS, PIXELS, generator=generator)[first::each]
        motions = torch.eye(4).repeat(count, 1, 1)
        motions[:, :3, :3] = roma.rotvec_to_rotmat(0.3 * torch.randn(count, 3, generator=generator))
        motions[:, :3, 3] = 20 * torch.randn(count, 3, generator=generator)
        self._motions = motions[first::each]
        self._next = 0
        self.difficulties: list[float] = []
        """That X-rays were asked for with, in their order."""

    def rendered(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The next ones."""
        chosen = (self._next + torch.arange(count)) % len(self._images)
        self._next += count
        return self._images[chosen], self._motions[chosen]

    def rewind(self, place: int) -> None:
        """Begin again with the one at this place."""
        self._next = place

    def shown(self, clean: torch.Tensor, motions: torch.Tensor, difficulty: float) -> Batch:
        """As they are."""
        self.difficulties.append(difficulty)
        return Batch(clean, clean, motions)


def small_task() -> Task:
    """A patient of a few voxels."""
    volume = patient(phantom_hu((24, 36, 40)), 1)
    view = NominalView("AP", tuple(volume.center.tolist()), 700.0)
    return Task(density_grid(volume), view, PoseRange(), CAMERA)
