"""How often blades are found on simulated X-rays, and how often something else is taken for them; by hand.

    python Testing/Benchmarks/collimators.py --volume CT1.nii.gz --volume CT2.mha 0 -o FOLDER

X-rays of 256 px of what picture_meaning.py renders, of intensities and of line integrals, each open and behind the blades of
evaluation.obstacles (a round or turned rectangular opening off centre): cut out of the picture with what they let through, and exposed
with scatter in their shadow, usual and strong. Found: 90 % of what the blades cover is left out. Too much: 5 % of the field is.
Open ones: more than 0.5 % is left out. Printed are Wilson's 95 % intervals. --real FILE prints what is left out of other X-rays.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from picture_meaning import line_integrals
from scipy.ndimage import binary_erosion
from volumes import volumes_of

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.obstacles import Obstacles, collimator_integral
from XVRegistrationLib.evaluation.rates import Rate
from XVRegistrationLib.evaluation.simulation import ExposureRange, draw_detector, expose
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.imaging.usable import left_out
from XVRegistrationLib.imaging.xray import Scale, Xray

_LEAST_COVERED, _SIZE, _EXTENT = 0.02, 256, 432.0  # share, px, mm
_LEAST_BODY = 0.5  # largest line integral: less is an X-ray of air
_OBSTACLES = Obstacles(opening=(0.45, 0.8), off_centre=0.15)
_EXPOSURES = {"usual scatter": ExposureRange(), "strong scatter": ExposureRange(scatter_to_primary=(0.5, 2.0))}


def measure(images: np.ndarray, scale: Scale) -> dict[str, list[bool]]:
    """What happened to each X-ray."""
    rows: dict[str, list[bool]] = defaultdict(list)
    spacing = _EXTENT / _SIZE
    camera = Intrinsics.centered(1020.0, (spacing, spacing), (_SIZE, _SIZE))
    for i, p in enumerate(images):
        for j, (exposure, drawn) in enumerate(_EXPOSURES.items()):
            rng = np.random.default_rng((i, j))
            blades = collimator_integral(_OBSTACLES, camera, rng)
            detector, round_ = draw_detector(rng, drawn), _is_round(blades)
            open_, _ = expose(p, camera, detector, rng)
            if open_.min() == open_.max():
                continue
            plain = left_out(_xray(open_, camera, scale))
            rows[f"open, {exposure}: something left out"].append(bool(plain.collimated.mean() > 0.005))
            rows["open: a marker seen"].append(bool(plain.marked.any()))
            if (blades > 0).mean() < _LEAST_COVERED:
                continue
            leak = rng.poisson(rng.uniform(5e-4, 5e-3) * open_.max(), p.shape)
            behind = {
                exposure: expose(p, camera, detector, rng, blades)[0],
                "no scatter": np.where(blades > 0, leak, open_),
            }
            for kind, pixels in behind.items():
                found = left_out(_xray(pixels, camera, scale)).collimated
                name = f"{kind}, {'round' if round_ else 'rectangular'}"
                rows[f"{name}: found"].append(bool(found[blades > 0].mean() > 0.9))
                rows[f"{name}: too much"].append(bool(found[blades == 0].mean() > 0.05))
    return dict(sorted(rows.items()))


def _is_round(blades: np.ndarray) -> bool:
    """Whether an opening of a collimator drawn here is a circle: as wide as its area says, or, cut by the image, at its middle."""
    open_ = blades == 0
    y, x = np.nonzero(open_ & ~binary_erosion(open_, border_value=1))
    if len(x) < 8:
        return False
    a, b, c = np.linalg.lstsq(np.column_stack([x, y, np.ones(len(x))]), (x * x + y * y).astype(float), rcond=None)[0]
    off = np.hypot(x - a / 2, y - b / 2) - np.sqrt(max(c + (a * a + b * b) / 4, 0.0))
    return bool(np.abs(off).max() < 2)


def _xray(pixels: np.ndarray, camera: Intrinsics, scale: Scale) -> Xray:
    values = pixels if scale == "intensity" else -np.log(np.maximum(pixels, 1) / pixels.max())
    return Xray("x", values, camera, scale)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volume", action="append", nargs="+", required=True, metavar=("CT", "BACKGROUND"))
    parser.add_argument("--count", type=int, default=90, help="line integrals of each CT")
    parser.add_argument("-o", "--output", type=Path, default=Path("bench-output"))
    parser.add_argument(
        "--real", action="append", default=[], metavar="FILE", help="an X-ray; of a run, a frame in its midst"
    )
    options = parser.parse_args()
    for path, background in volumes_of(options.volume):
        images = line_integrals(path, background, options.count, options.output, _SIZE)
        images = images[images.max(axis=(1, 2)) > _LEAST_BODY]
        scales: tuple[Scale, ...] = ("intensity", "attenuation")
        for scale in scales:
            print(f"{path.name}, {scale}")
            for what, happened in measure(images, scale).items():
                print(f"  {what:40} {Rate.of(happened)}")
    for name in options.real:
        frames = sitk.GetArrayFromImage(sitk.ReadImage(name)).astype(np.float32)
        frame = frames.reshape(-1, *frames.shape[-2:])[len(frames) // 3 if frames.ndim > 2 else 0]
        camera = Intrinsics.centered(1000.0, (1.0, 1.0), frame.shape[::-1])
        print(f"{Path(name).name}: {left_out(_xray(frame, camera, 'intensity')).collimated.mean():.3f} left out")


if __name__ == "__main__":
    try:
        main()
    except InputError as e:
        sys.exit(f"collimators.py: {e}")
