"""How often blades are found on simulated X-rays, and how often something else is taken for them; by hand.

    python Testing/Benchmarks/collimators.py --volume CT1.nii.gz --volume CT2.mha 0 -o FOLDER

X-rays as those of picture_meaning.py, of intensities and of line integrals, each open and behind a turned rectangle of blades that let
through 0.05 to 0.5 % of the brightest. Found: 90 % of what the blades cover is left out. Too much: a fifth of the field is.
Printed are Wilson's 95 % intervals.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from picture_meaning import line_integrals
from volumes import volumes_of

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.rates import Rate
from XVRegistrationLib.evaluation.simulation import draw_detector, expose
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.imaging.usable import left_out
from XVRegistrationLib.imaging.xray import Scale, Xray

_LEAST_COVERED = 0.02


def measure(images: np.ndarray, scale: Scale) -> dict[str, list[bool]]:
    """What happened to each X-ray."""
    rows: dict[str, list[bool]] = {
        "open, something left out": [],
        "open, a marker seen": [],
        "found": [],
        "too much": [],
    }
    for i, p in enumerate(images):
        rng = np.random.default_rng(i)
        camera = Intrinsics.centered(1020.0, (2.0, 2.0), p.shape[::-1])
        pixels, _ = expose(p, camera, draw_detector(rng), rng)
        if pixels.min() == pixels.max():
            continue
        y, x = np.mgrid[: p.shape[0], : p.shape[1]] - (np.array(p.shape)[:, None, None] - 1) / 2
        angle, (w, h) = rng.uniform(-0.5, 0.5), rng.uniform(0.28, 0.52, 2) * min(p.shape)
        field = (abs(np.cos(angle) * x + np.sin(angle) * y) < w) & (abs(np.cos(angle) * y - np.sin(angle) * x) < h)
        leak = rng.poisson(rng.uniform(5e-4, 5e-3) * pixels.max(), p.shape)
        plain = left_out(_xray(pixels, camera, scale))
        rows["open, something left out"].append(bool(plain.collimated.mean() > 0.005))
        rows["open, a marker seen"].append(bool(plain.marked.any()))
        if (~field).mean() > _LEAST_COVERED:
            found = left_out(_xray(np.where(field, pixels, leak), camera, scale)).collimated
            rows["found"].append(bool(found[~field].mean() > 0.9))
            rows["too much"].append(bool(found[field].mean() > 0.2))
    return rows


def _xray(pixels: np.ndarray, camera: Intrinsics, scale: Scale) -> Xray:
    values = pixels if scale == "intensity" else -np.log(np.maximum(pixels, 1) / pixels.max())
    return Xray("x", values, camera, scale)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volume", action="append", nargs="+", required=True, metavar=("CT", "BACKGROUND"))
    parser.add_argument("--count", type=int, default=90, help="line integrals of each CT")
    parser.add_argument("-o", "--output", type=Path, default=Path("bench-output"))
    options = parser.parse_args()
    for path, background in volumes_of(options.volume):
        images = line_integrals(path, background, options.count, options.output)
        scales: tuple[Scale, ...] = ("intensity", "attenuation")
        for scale in scales:
            print(f"{path.name}, {scale}")
            for what, happened in measure(images, scale).items():
                print(f"  {what:25} {Rate.of(happened)}")


if __name__ == "__main__":
    try:
        main()
    except InputError as e:
        sys.exit(f"collimators.py: {e}")
