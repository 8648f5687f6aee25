"""Simulated X-rays with a known pose, rendered by nanodrr: a program that this project does not share code with.

What the registration renders and what it is tested on must not come from the same renderer, or its errors would cancel.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.obstacles import collimator_integral, draw_instruments, instruments_integral
from XVRegistrationLib.geometry.conventions import nanodrr_camera
from XVRegistrationLib.geometry.views import PoseRange, draw_poses

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.evaluation.obstacles import Obstacles
    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.geometry.views import NominalView
    from XVRegistrationLib.imaging.volume import Volume

# Rays rendered at once: 500 samples of 8192 rays take about 120 MB.
_RAYS = 8192
_SAMPLES = 500
# The darkest pixels of a usable radiograph still count this many photons; the exposure is raised until they do.
_DARKEST_COUNTS = 20.0
# ... and are told apart by this many grey levels above black, or the digitiser gets more bits (up to 16).
_DARKEST_LEVELS = 16.0
# A ray crosses the body if it loses more than a centimetre of water takes; judged on so many pixels across.
_BODY_INTEGRAL = 0.2
_BODY_PIXELS = 32
_MOST_TRIES = 200


@dataclass(frozen=True)
class Detector:
    """What one simulated exposure does to the line integrals."""

    scatter_to_primary: float
    """Scattered over primary intensity, of the mean."""
    scatter_sigma_mm: float
    """Width of the scatter on the detector, mm."""
    blur_sigma_px: float
    """Focal spot and detector, px."""
    photons: float
    """Mean photons a pixel without a patient; raised until the darkest pixels count some."""
    gamma: float
    """Exponent applied to the logarithmic signal."""
    bits: int
    """Bits a pixel; raised until the darkest pixels have some grey levels."""


@dataclass(frozen=True)
class ExposureRange:
    """Bounds between which the parameters of a `Detector` are drawn; by default what radiography and fluoroscopy span."""

    scatter_to_primary: tuple[float, float] = (0.05, 0.5)
    """Drawn evenly on a logarithmic scale, as photons are."""
    scatter_sigma_mm: tuple[float, float] = (20.0, 60.0)
    blur_sigma_px: tuple[float, float] = (0.0, 1.0)
    photons: tuple[float, float] = (1e4, 1e5)
    gamma: tuple[float, float] = (0.75, 1.3)
    bits: tuple[int, int] = (12, 16)
    """Both included."""


@dataclass(frozen=True, eq=False)
class SimulatedXray:
    """An X-ray, and the truth about it."""

    true_pose: NDArray[np.float64]
    """(4, 4) camera -> RAS, mm."""
    intrinsics: Intrinsics
    pixels: NDArray[np.uint16]
    """(H, W) linear intensity as stored: bright where much radiation arrived."""
    detector: Detector


def simulate_xrays(
    renderer: Renderer,
    view: NominalView,
    intrinsics: Intrinsics,
    n: int,
    seed: int,
    pose_range: PoseRange | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[SimulatedXray]:
    """`n` X-rays at poses drawn uniformly over the range about `view`.

    The i-th X-ray of a seed is the same whatever `n`. `progress(done, n)` is called after each.
    """
    xrays = []
    for i in range(n):
        xrays.append(simulate_xray(renderer, view, intrinsics, (seed, i), pose_range))
        if progress is not None:
            progress(i + 1, n)
    return xrays


def simulate_xray(
    renderer: Renderer,
    view: NominalView,
    intrinsics: Intrinsics,
    seed: tuple[int, int],
    pose_range: PoseRange | None = None,
    exposure: ExposureRange | None = None,
    min_body: float = 0.0,
    obstacles: Obstacles | None = None,
) -> SimulatedXray:
    """The X-ray that belongs to `seed`, at a pose drawn uniformly from those of the range that see enough of the body.

    `min_body` (0..1) is the least share of pixels whose ray crosses the body, `obstacles` what is in the beam beside it.
    Raises InputError where no pose has so much body.
    """
    rng = np.random.default_rng(seed)
    pose = draw_pose(renderer, view, intrinsics, pose_range or PoseRange(), min_body, rng)
    detector = draw_detector(rng, exposure)
    integral, blades = renderer.line_integral(pose, intrinsics), None
    if obstacles is not None:
        instruments = draw_instruments(obstacles, view.isocenter, rng)
        integral = integral + instruments_integral(instruments, pose, intrinsics)
        blades = collimator_integral(obstacles, intrinsics, rng)
    pixels, detector = expose(integral, intrinsics, detector, rng, blades)
    return SimulatedXray(pose, intrinsics, pixels, detector)


def draw_pose(
    renderer: Renderer,
    view: NominalView,
    intrinsics: Intrinsics,
    pose_range: PoseRange,
    min_body: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """A pose (4, 4) drawn uniformly from those of the range that show the body on a share `min_body` of the pixels."""
    coarse = intrinsics.fitted(_BODY_PIXELS)
    for _ in range(_MOST_TRIES):
        pose: NDArray[np.float64] = draw_poses(view, pose_range, 1, rng)[0]
        if min_body <= 0 or (renderer.line_integral(pose, coarse) > _BODY_INTEGRAL).mean() >= min_body:
            return pose
    raise InputError(
        f"None of {_MOST_TRIES} poses of the range shows the body on {100 * min_body:.0f} % of the pixels; "
        "ask for a smaller share, or make the range smaller."
    )


def draw_detector(rng: np.random.Generator, exposure: ExposureRange | None = None) -> Detector:
    """Detector parameters, drawn between the bounds of `exposure`."""
    e = exposure or ExposureRange()
    return Detector(
        scatter_to_primary=float(np.exp(rng.uniform(*np.log(e.scatter_to_primary)))),
        scatter_sigma_mm=float(rng.uniform(*e.scatter_sigma_mm)),
        blur_sigma_px=float(rng.uniform(*e.blur_sigma_px)),
        photons=float(np.exp(rng.uniform(*np.log(e.photons)))),
        gamma=float(rng.uniform(*e.gamma)),
        bits=int(rng.integers(e.bits[0], e.bits[1] + 1)),
    )


def expose(
    line_integral: NDArray[np.floating[Any]],
    intrinsics: Intrinsics,
    detector: Detector,
    rng: np.random.Generator,
    blades: NDArray[np.floating[Any]] | None = None,
) -> tuple[NDArray[np.uint16], Detector]:
    """Linear intensities (H, W) uint16 of line integrals (H, W), and the detector with the exposure and bits used.

    `blades` (H, W) are a collimator's line integrals; nobody exposes for what lies behind them.
    """
    from scipy.ndimage import gaussian_filter

    primary = np.exp(-np.maximum(np.asarray(line_integral, dtype=np.float64), 0.0))
    looked_at: NDArray[np.bool_] | slice = slice(None)
    if blades is not None:
        primary, looked_at = primary * np.exp(-blades), blades == 0
    dx, dy = intrinsics.spacing
    sigma = (detector.scatter_sigma_mm / dy, detector.scatter_sigma_mm / dx)
    scatter = detector.scatter_to_primary * gaussian_filter(primary, sigma, mode="nearest", truncate=3.0)
    signal = gaussian_filter(primary + scatter, detector.blur_sigma_px, mode="nearest")
    photons = max(detector.photons, _DARKEST_COUNTS / float(np.percentile(signal[looked_at], 0.1)))
    counts = np.maximum(rng.poisson(photons * signal), 0.5)
    # The gamma bends the curve but keeps its ends: from the brightest pixel to the darkest.
    log_signal = np.log(counts.max() / counts)
    span = float(log_signal.max())
    bent = span * (log_signal / span) ** detector.gamma if span > 0 else log_signal
    darkest = float(np.exp(-np.percentile(bent[looked_at], 99.9)))
    bits = min(16, max(detector.bits, math.ceil(math.log2(_DARKEST_LEVELS / darkest))))
    pixels = np.round((2**bits - 1) * np.exp(-bent)).astype(np.uint16)
    return pixels, dataclasses.replace(detector, photons=photons, bits=bits)


class Renderer(Protocol):
    """What an X-ray is made by."""

    def line_integral(self, pose: ArrayLike, intrinsics: Intrinsics) -> NDArray[np.float32]:
        """(H, W) -ln(I / I0) along each pixel's ray, as stored (mirrored if it says so)."""
        ...


class NanodrrRenderer:
    """nanodrr with one volume loaded, on the CPU."""

    def __init__(self, volume: Volume) -> None:
        """Take over a volume; the attenuation of a CT in HU is nanodrr's own, about 70 keV."""
        try:
            import torch
            from nanodrr.data import Subject
            from nanodrr.data.preprocess import hu_to_mu
        except ImportError as e:
            raise InputError(
                "Simulated X-rays need the independent renderer nanodrr: install it with `pip install nanodrr==0.1.7`."
            ) from e
        voxels = torch.from_numpy(np.ascontiguousarray(volume.array, dtype=np.float32))[None, None]
        voxel_to_world = torch.from_numpy(np.asarray(volume.ijk_to_ras, dtype=np.float64))
        self._subject = Subject(
            hu_to_mu(voxels) if volume.units == "HU" else voxels,
            torch.zeros(1, 1, 1, 1, 1),
            voxel_to_world.float(),
            voxel_to_world.inverse().float(),
            Subject._make_voxel_to_grid(voxels.shape),
            torch.from_numpy(volume.center).float(),
            max_label=0,
            # The attenuation is computed once, above; kept beside the HU it would take the memory twice.
            convert_to_mu=False,
        )

    def line_integral(self, pose: ArrayLike, intrinsics: Intrinsics) -> NDArray[np.float32]:
        """(H, W) integral of the attenuation along each pixel's ray, unitless, as stored (mirrored if it says so)."""
        import torch
        from nanodrr.drr import DRR, render

        camera = DRR.from_carm_intrinsics(**nanodrr_camera(intrinsics))
        matrix = torch.as_tensor(np.asarray(pose), dtype=torch.float32)[None]
        width, height = intrinsics.size
        rows = max(1, _RAYS // width)
        strips = []
        with torch.no_grad():
            for first in range(0, height, rows):
                targets = camera.tgt[:, first * width : (first + rows) * width]
                strip = render(
                    self._subject,
                    camera.k_inv,
                    matrix,
                    camera.sdd,
                    height=targets.shape[1] // width,
                    width=width,
                    n_samples=_SAMPLES,
                    src=camera.src,
                    tgt=targets,
                    backend="torch",
                )
                strips.append(strip[0, 0].numpy())
        image = np.concatenate(strips)
        return np.ascontiguousarray(image[:, ::-1] if intrinsics.mirrored else image)
