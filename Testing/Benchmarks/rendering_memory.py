"""What rendering a volume takes of memory, each way in a process of its own: `peaks` starts them, `main` is one."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.conventions import nanodrr_camera
from XVRegistrationLib.geometry.rigid import translation
from XVRegistrationLib.imaging.attenuation import linear_attenuation
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.materials import material_grids
from XVRegistrationLib.rendering.render import render, render_with_jacobian
from XVRegistrationLib.rendering.spectrum import beam

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

_MIB = 2**20
_SMALL = 24  # voxels a side of the volume that compiles and warms up


@dataclass(frozen=True, eq=False)
class Scene:
    """A CT and a camera that looks at it from so many poses."""

    volume: Volume
    poses: NDArray[np.float64]
    camera: Intrinsics


def _value(scene: Scene) -> None:
    render(density_grid(scene.volume), scene.poses, scene.camera)


def _derivatives(scene: Scene) -> None:
    grid = density_grid(scene.volume)
    render_with_jacobian(grid, scene.poses, scene.camera, grid.center)


def _polyenergetic(scene: Scene) -> None:
    grids = material_grids(scene.volume)
    render_with_jacobian(grids, scene.poses, scene.camera, scene.volume.center, beam=beam(materials=grids.materials))


def _nanodrr(scene: Scene, gradient: bool) -> None:
    from nanodrr.data import Subject
    from nanodrr.drr import DRR

    mu = torch.from_numpy(linear_attenuation(scene.volume.array))[None, None]
    matrix = torch.from_numpy(scene.volume.ijk_to_ras)
    subject = Subject(
        mu, torch.zeros(1, 1, 1, 1, 1), matrix.float(), matrix.inverse().float(),
        Subject._make_voxel_to_grid(mu.shape), torch.zeros(3), max_label=0, convert_to_mu=False,
    )  # fmt: skip
    poses = torch.from_numpy(scene.poses).float().requires_grad_(gradient)
    image = DRR.from_carm_intrinsics(**nanodrr_camera(scene.camera))(subject, poses)
    if gradient:
        image.sum().backward()


WAYS: dict[str, Callable[[Scene], None]] = {
    "nanodrr value": lambda scene: _nanodrr(scene, gradient=False),
    "nanodrr gradient": lambda scene: _nanodrr(scene, gradient=True),
    "value": _value,
    "derivatives": _derivatives,
    "polyenergetic": _polyenergetic,
}


def peaks(volume: Volume, poses: NDArray[np.float64], camera: Intrinsics, ways: Iterable[str]) -> dict[str, float]:
    """MiB that each way takes at most above what the process with the CT (16 bits a voxel) had: its volume, made ready, and images.

    On Linux, where a process can be asked; elsewhere not a number.
    """
    with tempfile.TemporaryDirectory() as folder:
        scene = Path(folder) / "scene.npz"
        np.savez(scene, hu=volume.array.astype(np.int16), matrix=volume.ijk_to_ras, poses=poses)
        (Path(folder) / "camera.json").write_text(json.dumps(camera.to_dict()))
        return {way: _peak(folder, way) for way in ways}


def _peak(folder: str, way: str) -> float:
    done = subprocess.run(
        [sys.executable, __file__, folder, way], capture_output=True, text=True, check=False, timeout=1800
    )
    if done.returncode != 0:
        raise RuntimeError(f"The measurement of memory of {way} failed:\n{done.stderr[-2000:]}")
    return float(done.stdout)


def main() -> None:
    """Load the scene, render a small one by the way, then the scene; print the peak in between, MiB."""
    folder, way = Path(sys.argv[1]), WAYS[sys.argv[2]]
    with np.load(folder / "scene.npz") as content:
        hu, matrix, poses = (content[name] for name in ("hu", "matrix", "poses"))
    camera = Intrinsics.from_dict(json.loads((folder / "camera.json").read_text()))
    middle = [n // 2 - _SMALL // 2 for n in hu.shape]
    part = hu[tuple(slice(m, m + _SMALL) for m in middle)].copy()
    way(Scene(Volume(part, matrix @ translation(middle[::-1])), poses[:1], camera.fitted(32)))
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.exists():
        sys.stdout.write("nan")
        return
    clear.write_text("5")  # the highest so far is forgotten
    before = _kilobytes(status, "VmRSS:")
    way(Scene(Volume(hu, matrix), poses, camera))
    sys.stdout.write(f"{(_kilobytes(status, 'VmHWM:') - before) * 1024 / _MIB}")


def _kilobytes(status: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(name))


if __name__ == "__main__":
    main()
