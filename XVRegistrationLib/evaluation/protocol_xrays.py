"""A protocol's X-rays, made by the independent renderer once and kept in a folder, each with its truth."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.evaluation.polyenergetic_xrays import renderer_of
from XVRegistrationLib.evaluation.protocol import fingerprint
from XVRegistrationLib.evaluation.run_folder import source_fingerprint
from XVRegistrationLib.evaluation.simulation import (
    SimulatedXray,
    draw_detector,
    draw_pose,
    simulate_xray,
)
from XVRegistrationLib.files import replacing
from XVRegistrationLib.geometry.rigid import check_rigid, increment
from XVRegistrationLib.imaging.xray import Xray

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.evaluation.protocol import Protocol, StartError
    from XVRegistrationLib.evaluation.simulation import Renderer
    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.imaging.xray import Scale

# What draws poses and makes X-rays of a patient.
_MAKERS = (
    "geometry",
    *(f"evaluation/{name}.py" for name in ("obstacles", "patients", "protocol_xrays", "simulation", "vessels")),
)
# ... and what makes them of a tube's beam.
_BEAM_MAKERS = (
    "evaluation/polyenergetic_xrays.py",
    "imaging/attenuation.py",
    *(f"rendering/{name}.py" for name in ("materials", "polyenergetic", "spectrum")),
)


@dataclass(frozen=True, eq=False)
class TrueXray:
    """An X-ray, and beside it the truth that no registration is shown."""

    xray: Xray
    true_pose: NDArray[np.float64]
    """(4, 4) camera -> RAS, mm."""


def xrays_fingerprint(protocol: Protocol, volume: Volume) -> str:
    """What tells X-rays of this protocol and volume from others: all that they are made of and by, but for how many."""
    poses = dataclasses.replace(protocol.poses, count=1)
    parts = [
        asdict(poses),
        asdict(protocol.intrinsics),
        asdict(protocol.exposure),
        protocol.obstacles and asdict(protocol.obstacles),
    ]
    subtracted = protocol.volume.subtracted
    place = volume.ijk_to_ras.round(6).tolist()
    spectrum = protocol.spectrum
    code = source_fingerprint(*_MAKERS, *(_BEAM_MAKERS if spectrum is not None else ()))
    tube = None if spectrum is None else asdict(spectrum)
    return fingerprint(parts, tube, protocol.view, protocol.sod, subtracted, volume.fingerprint, place, code)


def protocol_xrays(
    protocol: Protocol, volume: Volume, folder: Path, progress: Callable[[int, int], None] | None = None
) -> list[TrueXray]:
    """The protocol's X-rays, read from `folder` where it has them already, made and written there where not.

    Each fingerprint has a folder of its own below `folder`, so that a changed protocol or volume never meets the X-rays of
    another. The i-th is the same whatever the count. `progress(done, count)` is called after each that is made.
    """
    own = folder / xrays_fingerprint(protocol, volume)
    count = protocol.poses.count
    renderer: Renderer | None = None
    found = []
    for i in range(count):
        path = own / f"xray-{i:04d}.npz"
        if not path.is_file():
            renderer = renderer or renderer_of(volume, protocol.spectrum)
            _write(path, _simulate(protocol, volume, renderer, i))
            if progress is not None:
                progress(i + 1, count)
        found.append(_read(path, protocol))
    return found


def _simulate(protocol: Protocol, volume: Volume, renderer: Renderer, i: int) -> SimulatedXray:
    view, camera, poses = protocol.nominal_view(volume.center), protocol.intrinsics, protocol.poses
    if not protocol.volume.subtracted:
        seed = (poses.seed, i)
        exposure, obstacles = protocol.exposure, protocol.obstacles
        return simulate_xray(renderer, view, camera, seed, poses.range, exposure, poses.min_body, obstacles)
    from XVRegistrationLib.evaluation.vessels import expose_subtracted, head_integral

    rng = np.random.default_rng((poses.seed, i))
    pose = draw_pose(renderer, view, camera, poses.range, poses.min_body, rng)
    detector = draw_detector(rng, protocol.exposure)
    head = head_integral(pose, camera, volume.center)
    pixels, detector = expose_subtracted(renderer.line_integral(pose, camera), head, camera, detector, rng)
    return SimulatedXray(pose, camera, pixels, detector)


def _write(path: Path, xray: SimulatedXray) -> None:
    detector = json.dumps(asdict(xray.detector))
    with replacing(path) as temporary, temporary.open("wb") as f:
        np.savez_compressed(f, pixels=xray.pixels, true_pose=xray.true_pose, detector=np.array(detector))


def _read(path: Path, protocol: Protocol) -> TrueXray:
    with np.load(path, allow_pickle=False) as content:
        pixels, pose = content["pixels"], content["true_pose"]
    scale: Scale = "attenuation" if protocol.volume.subtracted else "intensity"
    return TrueXray(Xray(path.stem, pixels, protocol.intrinsics, scale), check_rigid(pose, f"true pose in {path}"))


def draw_start(
    true_pose: ArrayLike, pivot: ArrayLike, error: StartError, rng: np.random.Generator
) -> NDArray[np.float64]:
    """A start (4, 4), camera -> RAS, that is wrong by up to `error` about `pivot` (3,), RAS mm, as `draw_motions` draws it."""
    return draw_motions(1, pivot, error, rng)[0] @ np.asarray(true_pose)


def draw_motions(count: int, pivot: ArrayLike, error: StartError, rng: np.random.Generator) -> NDArray[np.float64]:
    """Motions (count, 4, 4), RAS mm, that put a pose wrong by up to `error`: shift and turn about `pivot` (3,), RAS mm.

    Direction and axis are uniform over the sphere, length and angle uniform from half of the nominal ones to the whole.
    """
    directions = rng.normal(size=(2, count, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    lengths = rng.uniform(0.5, 1.0, (2, count, 1)) * np.reshape([error.mm, np.radians(error.degrees)], (2, 1, 1))
    return increment(np.concatenate(list(lengths * directions), axis=-1), pivot)
