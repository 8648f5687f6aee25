"""How well a network in training does, on X-rays that stay the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from XVRegistrationLib.geometry.rigid import point_distance
from XVRegistrationLib.geometry.views import draw_poses
from XVRegistrationLib.imaging.resample import cover_as
from XVRegistrationLib.networks.predict import predict
from XVRegistrationLib.rendering.grid import matched_to
from XVRegistrationLib.training.randomize import randomized
from XVRegistrationLib.training.xray_sources import shared_renders

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.networks.pose_network import PoseNetwork
    from XVRegistrationLib.training.task import Task

_SIZE = 64


class Validation:
    """X-rays of a task from a finer grid than the training's, with poses and detectors of a fixed seed."""

    def __init__(self, task: Task, camera: Intrinsics, points: NDArray[np.float64], device: torch.device) -> None:
        """Rendered now; `points` (N, 3), RAS mm, are where errors are measured."""
        self._view, self._points = task.view, points
        self._poses = draw_poses(task.view, task.pose_range, _SIZE, np.random.default_rng(1_234_567))
        footprint = camera.footprint(task.view.sod)
        if task.patients is None:
            images = shared_renders([matched_to(task.grid, footprint / 2)], 1, self._poses, camera, footprint / 2)
        else:
            grids, count = task.patients.validation(footprint / 2), task.patients.held_out
            images = shared_renders(grids, count, self._poses, camera, footprint / 2)
        images = cover_as(images, camera, task.intrinsics)
        generator = torch.Generator(images.device).manual_seed(7)
        self._images = randomized(images, camera.spacing, generator).to(device)

    def error(self, network: PoseNetwork) -> float:
        """Median error of a network's predictions, mm; it is left in training mode."""
        predicted = predict(network, self._view, self._images)
        network.train()
        return float(np.median(point_distance(predicted, self._poses, self._points)))
