"""X-rays for tests of the registration: noise, scatter and a contrast that the renderer does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.imaging.xray import Xray
from XVRegistrationLib.rendering.render import render

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.rendering.grid import DensityGrid


def expose(
    grid: DensityGrid,
    pose: NDArray[np.float64],
    camera: Intrinsics,
    seed: int = 0,
    *,
    scatter: float = 0.2,
    gamma: float = 0.9,
    photons: float = 3e4,
    name: str = "xray",
) -> Xray:
    """The X-ray of a grid from a pose (4, 4): a veil of `scatter` times the mean, noise of so many photons, a bent curve."""
    line_integrals = render(grid, pose[None], camera, step=0.9)[0].numpy().astype(np.float64)
    intensity = np.exp(-line_integrals)
    intensity += scatter * intensity.mean()
    counts = np.random.default_rng(seed).poisson(intensity * photons)
    shown = np.maximum(counts / counts.max(), 1e-4) ** gamma
    return Xray(name, np.round(65535 * shown).astype(np.uint16), camera)


def in_plane_error(found: NDArray[np.float64], true: NDArray[np.float64], points: NDArray[np.float64]) -> float:
    """Mean distance, mm, of points (N, 3) at two poses in the camera's frame, without depth."""
    difference = (np.linalg.inv(found) - np.linalg.inv(true)) @ np.c_[points, np.ones(len(points))].T
    return float(np.linalg.norm(difference[:2], axis=0).mean())
