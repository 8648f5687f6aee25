"""Patients who are alike and lie differently, for tests of what is learnt from many; small, so that it takes a moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.rigid import rotation_from_euler_zxy
from XVRegistrationLib.imaging.volume import Volume, write_volume

if TYPE_CHECKING:
    from pathlib import Path

CAMERA = Intrinsics.centered(1020.0, (3.2, 3.2), (128, 128))


def patient(hu: np.ndarray, seed: int, size: float = 0.04, name: str = "patient") -> Volume:
    """The phantom with some noise, up to `size` larger or smaller, turned by up to 6 degrees and up to 60 mm elsewhere."""
    rng = np.random.default_rng(seed)
    matrix = np.eye(4)
    scale = 1 + size * rng.uniform(-1, 1)
    matrix[:3, :3] = rotation_from_euler_zxy(rng.uniform(-6, 6, 3)) @ np.diag([-3.0, 3.2, 4.0]) * scale
    center = matrix[:3, :3] @ ((np.array(hu.shape[::-1]) - 1) / 2)
    matrix[:3, 3] = rng.uniform(-60, 60, 3) - center
    noisy = np.where(hu > -500, hu + rng.integers(-20, 20, hu.shape), hu).astype(np.int16)
    return Volume(noisy, matrix, name)


def write_patients(folder: Path, hu: np.ndarray, count: int) -> list[Volume]:
    """So many patients as files."""
    folder.mkdir(parents=True, exist_ok=True)
    volumes = [patient(hu, seed, name=f"p{seed}") for seed in range(count)]
    for volume in volumes:
        write_volume(folder / f"{volume.name}.nrrd", volume)
    return volumes


def leg(shape: tuple[int, int, int] = (48, 72, 80)) -> np.ndarray:
    """HU (K, J, I) of another part of the body: a thin cylinder with a bone in it."""
    k, j, i = np.indices(shape)
    across = ((j - shape[1] / 2) / 16) ** 2 + ((i - shape[2] / 2) / 14) ** 2
    hu = np.where(across < 1, 40 + 30 * np.sin(k / 3), -1000)
    return np.where(across < 0.06, 900, hu).astype(np.int16)
