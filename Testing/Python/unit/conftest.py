"""A small patient for tests of the library: an asymmetric phantom that a few pixels tell from any other pose."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.imaging.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Iterator


def phantom_hu(shape: tuple[int, int, int] = (48, 72, 80), seed: int = 1) -> np.ndarray:
    """HU (K, J, I) int16: an ellipsoid of soft tissue with lungs of air, a spine of blocks and a dozen bones, none symmetric."""
    rng = np.random.default_rng(seed)
    z, y, x = (np.linspace(-1, 1, n) for n in shape)
    z, y, x = z[:, None, None], y[None, :, None], x[None, None, :]

    def ellipsoid(center: np.ndarray, radii: np.ndarray) -> np.ndarray:
        parts = ((c - m) / r for c, m, r in zip((z, y, x), center, radii, strict=True))
        return sum(p**2 for p in parts) < 1

    hu = np.full(shape, -1000.0)
    hu[ellipsoid(np.zeros(3), np.array([0.9, 0.75, 0.85]))] = 40
    hu[ellipsoid(np.array([0.1, 0.1, 0.4]), np.array([0.55, 0.4, 0.25]))] = -800
    hu[ellipsoid(np.array([0.15, 0.05, -0.4]), np.array([0.45, 0.35, 0.22]))] = -800
    for k, center in enumerate(np.linspace(-0.75, 0.75, 6)):
        hu[ellipsoid(np.array([center, -0.45, 0.03 * k]), np.array([0.09, 0.13, 0.13]))] = 500 + 60 * k
    for _ in range(12):
        center = rng.uniform(-0.55, 0.55, 3)
        hu[ellipsoid(center, rng.uniform(0.05, 0.16, 3))] = rng.uniform(400, 1300)
    return hu.astype(np.int16)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """torch works with one thread in the tests of a file that uses this."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def phantom() -> Volume:
    """The phantom in an oblique grid: unequal spacings, a rotated frame, off the origin."""
    from XVRegistrationLib.geometry.rigid import rotation_from_euler_zxy

    matrix = np.eye(4)
    matrix[:3, :3] = rotation_from_euler_zxy([4.0, -3.0, 5.0]) @ np.diag([-3.0, 3.2, 4.0])
    array = phantom_hu()
    center = matrix[:3, :3] @ ((np.array(array.shape[::-1]) - 1) / 2)
    matrix[:3, 3] = np.array([12.0, -30.0, 55.0]) - center
    return Volume(array, matrix, "phantom")


@pytest.fixture(scope="session")
def points(phantom: Volume) -> np.ndarray:
    """(6, 3) about the phantom's centre: where poses are compared."""
    from XVRegistrationLib.registration.uncertainty import around

    return around(phantom.center)


@pytest.fixture(scope="session")
def camera() -> Intrinsics:
    """A camera that sees the phantom whole, with unequal spacings and an off-centre principal point."""
    return Intrinsics(1020.0, (3.0, 3.3), (66.0, 60.0), (128, 120))
