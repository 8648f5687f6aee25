"""Make the table that tells what grey values mean, Resources/picture_meaning.json, and measure how often it is right; by hand.

    python Testing/Benchmarks/picture_meaning.py --fit CT1.nii.gz -1024 --measure CT2.nii.gz -1024 --measure CT3.mha 0 -o FOLDER

X-rays of each CT are rendered by nanodrr from four sides, at random zoom - whole, its bones alone, and parts
as slender as limbs - and exposed with random scatter, blur, noise and
gamma. Each is then stored in each of the four meanings; as it is, as a display would have it (windowed, 8 bits, edges enhanced),
or behind blades. The table is fitted on the CTs of --fit alone. Printed are, for the CTs of --measure, how often it is certain, and how
often it is then wrong, with Wilson's 95 % intervals. Line integrals are kept in FOLDER.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from volumes import volumes_of

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.rates import Rate
from XVRegistrationLib.evaluation.simulation import NanodrrRenderer, draw_detector, expose
from XVRegistrationLib.files import write_json
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import VIEWS, NominalView, PoseRange, draw_poses
from XVRegistrationLib.imaging import picture_meaning
from XVRegistrationLib.imaging.picture_meaning import CERTAIN, MEANINGS, Meaning, features, recognise
from XVRegistrationLib.imaging.volume import Volume, read_volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

STORED = ("plain", "display", "blades")
_SIZE, _SEED = 144, 7
_RANGE = PoseRange((25.0, 25.0, 25.0), (70.0, 40.0, 90.0))
_BONE, _LIMBS = 200, 6  # HU; so many different parts
_PENALTY = 1e-3


def line_integrals(path: Path, background: float | None, count: int, folder: Path) -> NDArray[np.float32]:
    """(count, H, W) of one CT; from `folder` where they are there already."""
    kept = folder / f"{path.name}-{count}.npz"
    if kept.is_file():
        return np.load(kept)["p"]
    volume = read_volume(path)
    hu = np.maximum(volume.array.astype(np.float32), -1000)
    if background is not None:
        hu[volume.array == background] = -1000
    rng = np.random.default_rng(_SEED)
    parts = [hu, np.where(hu > _BONE, hu, -1000), *(_limb(hu, volume.spacing, rng) for _ in range(_LIMBS))]
    images = []
    for first, part in enumerate(parts):
        renderer = NanodrrRenderer(Volume(part, volume.ijk_to_ras))
        # Of every three X-rays one shows the whole CT, one its bones alone, one a part as slender as a limb.
        mine = [i for i in range(count) if (i % 3 if i % 3 < 2 else 2 + i // 3 % _LIMBS) == first]
        for i in mine:
            spacing = rng.uniform(0.9, 3.2)
            camera = Intrinsics.centered(1020.0, (spacing, spacing), (_SIZE, _SIZE))
            view = NominalView(VIEWS[i // 3 % len(VIEWS)], tuple(volume.center), 700.0)
            images.append(renderer.line_integral(draw_poses(view, _RANGE, 1, rng)[0], camera))
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(kept, p=np.array(images, dtype=np.float32))
    return np.array(images, dtype=np.float32)


def _limb(hu: NDArray[np.float32], spacing: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float32]:
    """What lies within a cylinder along the body, about a voxel of bone, in air."""
    bone = np.argwhere(hu[hu.shape[0] // 2] > _BONE)
    row, column = bone[rng.integers(len(bone))] if len(bone) else np.array(hu.shape[1:]) // 2
    y, x = np.ogrid[: hu.shape[1], : hu.shape[2]]
    radius = np.hypot((y - row) * spacing[1], (x - column) * spacing[0])
    return np.where(radius < rng.uniform(30, 70), hu, np.float32(-1000))


def stored_as(p: NDArray[np.float32], meaning: str, how: str, seed: tuple[int, ...]) -> NDArray[np.float32]:
    """The X-ray (H, W) of line integrals with one of MEANINGS, kept in one of the ways of STORED."""
    rng = np.random.default_rng(seed)
    camera = Intrinsics.centered(1020.0, (2.0, 2.0), p.shape[::-1])
    exposed, _ = expose(p, camera, draw_detector(rng), rng)
    pixels = exposed.astype(np.float32)
    if how == "blades":
        pixels = np.where(_field(p.shape, rng), pixels, rng.poisson(rng.uniform(5e-4, 5e-3) * pixels.max(), p.shape))
    pixels = pixels / pixels.max()
    values = -np.log(np.maximum(pixels, 1e-4)) if meaning.endswith("attenuation") else pixels
    if meaning.startswith("inverted"):
        values = values.max() - values
    return _displayed(values, rng) if how == "display" else values.astype(np.float32)


def _field(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.bool_]:
    """A turned rectangle, or a circle."""
    y, x = np.mgrid[: shape[0], : shape[1]] - (np.array(shape)[:, None, None] - 1) / 2
    angle, (w, h) = rng.uniform(-0.5, 0.5), rng.uniform(0.3, 0.52, 2) * min(shape)
    if rng.random() < 0.3:
        return np.hypot(x, y) < w
    return (abs(np.cos(angle) * x + np.sin(angle) * y) < w) & (abs(np.cos(angle) * y - np.sin(angle) * x) < h)


def _displayed(values: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.float32]:
    """Edges enhanced, windowed with both ends cut, and 8 bits."""
    from scipy.ndimage import gaussian_filter

    sharp = values + rng.uniform(0, 1) * (values - gaussian_filter(values, rng.uniform(2, 8)))
    low, high = np.percentile(sharp, [rng.uniform(0, 3), rng.uniform(96, 100)])
    return np.round(255 * np.clip((sharp - low) / max(high - low, 1e-9), 0, 1)).astype(np.float32)


def cases(images: NDArray[np.float32], number: int) -> list[tuple[str, str, NDArray[np.float32]]]:
    """Meaning, way and pixels of all variants of some line integrals."""
    return [
        (meaning, how, stored_as(p, meaning, how, (number, i, m, k)))
        for i, p in enumerate(images)
        if p.max() > 0.5
        for m, meaning in enumerate(MEANINGS)
        for k, how in enumerate(STORED)
    ]


def fit(examples: list[tuple[str, str, NDArray[np.float32]]]) -> dict[str, object]:
    """The table of a softmax regression with a quadratic penalty."""
    from scipy.optimize import minimize

    x = np.array([features(pixels) for _, _, pixels in examples])
    y = np.array([MEANINGS.index(meaning) for meaning, _, _ in examples])
    scales = np.maximum(np.sqrt((x**2).mean(axis=0)), 1e-6)
    terms = np.array([picture_meaning._terms(row) for row in x / scales])
    hot = np.eye(len(MEANINGS))[y]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        w = flat.reshape(len(MEANINGS), -1)
        scores = terms @ w.T
        scores -= scores.max(axis=1, keepdims=True)
        shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        value = -np.log(np.maximum(shares[np.arange(len(y)), y], 1e-12)).mean() + _PENALTY * (w**2).sum()
        return value, ((shares - hot).T @ terms / len(y) + 2 * _PENALTY * w).ravel()

    best = minimize(
        loss, np.zeros(len(MEANINGS) * terms.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 2000}
    )
    weights = best.x.reshape(len(MEANINGS), -1)
    return {"scales": scales.round(6).tolist(), "weights": weights.round(4).tolist(), "examples": len(y)}


def report(name: str, examples: list[tuple[str, str, NDArray[np.float32]]]) -> None:
    """How often the table is certain, and right, of X-rays whose meaning is known."""
    found = [(meaning, how, recognise(pixels)) for meaning, how, pixels in examples]
    print(f"\n{name}: {len(found)} pictures; rows are the truth, columns what was most probable")
    for meaning in MEANINGS:
        row = [sum(f.best == other for m, _, f in found if m == meaning) for other in MEANINGS]
        print(f"  {meaning:22}" + "".join(f"{n:7}" for n in row))
    for how in STORED:
        _rates(how, [(m, f) for m, h, f in found if h == how])
    _rates("all", [(m, f) for m, _, f in found])


def _rates(name: str, found: list[tuple[str, Meaning]]) -> None:
    right = [_dense(m) == (f.bright_is_dense > 0.5) for m, f in found]
    certain = [r for r, (_, f) in zip(right, found, strict=True) if f.certainty >= CERTAIN]
    print(f"  {name:8} sign right {Rate.of(right)}; certain {Rate.of([f.certainty >= CERTAIN for _, f in found])},")
    print(f"           and then wrong {Rate.of([not r for r in certain])}")


def _dense(meaning: str) -> bool:
    return meaning in ("attenuation", "inverted intensity")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for which in ("--fit", "--measure"):
        parser.add_argument(which, action="append", nargs="+", default=[], metavar=("CT", "BACKGROUND"))
    parser.add_argument("--count", type=int, default=60, help="line integrals of each CT")
    parser.add_argument("--table", type=Path, default=None, help="write the table here; else what is there is measured")
    parser.add_argument("-o", "--output", type=Path, default=Path("bench-output"))
    options = parser.parse_args()
    images = {
        (which, path): line_integrals(path, background, options.count, options.output)
        for which in ("fit", "measure")
        for path, background in volumes_of(getattr(options, which))
    }
    made = {key: cases(p, number) for number, (key, p) in enumerate(images.items())}
    examples = [case for (which, _), c in made.items() if which == "fit" for case in c]
    if examples and options.table is not None:
        write_json(options.table, fit(examples))
        picture_meaning._table.cache_clear()
    for (which, path), found in made.items():
        report(f"{path.name} ({'fitted on' if which == 'fit' else 'not seen by the fit'})", found)


if __name__ == "__main__":
    try:
        main()
    except InputError as e:
        sys.exit(f"picture_meaning.py: {e}")
