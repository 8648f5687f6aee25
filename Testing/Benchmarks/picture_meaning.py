"""Make the table that tells what grey values mean, Resources/picture_meaning.json, and measure how often it is right; by hand.

    python Testing/Benchmarks/picture_meaning.py --volume CT1.nii.gz --volume CT2.nii.gz --volume CT3.mha 0 --table FILE -o FOLDER

X-rays of each CT are rendered by nanodrr from four sides, at random zoom - whole, its bones alone, and parts
as slender as limbs - and exposed with random scatter, blur, noise and
gamma. Each is then stored in each of the four meanings; as it is, as a display would have it (windowed, 8 bits, edges enhanced),
or behind blades. The table is fitted on all CTs. Printed is, for each CT by a table of the others alone, how often that is certain,
and how often it is then wrong, with Wilson's 95 % intervals. Line integrals are kept in FOLDER. --real FILE MEANING adds real X-rays,
judged by the table of all.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk
from volumes import volumes_of

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.rates import Rate
from XVRegistrationLib.evaluation.simulation import NanodrrRenderer
from XVRegistrationLib.evaluation.stored_xrays import STORED, stored_as
from XVRegistrationLib.files import write_json
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import VIEWS, NominalView, PoseRange, draw_poses
from XVRegistrationLib.imaging.picture_meaning import CERTAIN, MEANINGS, Meaning, features, judge, terms
from XVRegistrationLib.imaging.volume import Volume, read_volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIZE, _SEED = 144, 7
_RANGE = PoseRange((25.0, 25.0, 25.0), (70.0, 40.0, 90.0))
_BONE, _LIMBS = 200, 6  # HU; so many different parts
_PENALTY = 1e-3
Numbers = list[tuple[str, str, "NDArray[np.float64]"]]


def line_integrals(
    path: Path, background: float | None, count: int, folder: Path, size: int = _SIZE
) -> NDArray[np.float32]:
    """(count, size, size) of one CT; from `folder` where they are there already."""
    kept = folder / f"{path.name}-{count}-{size}.npz"
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
            spacing = rng.uniform(0.9, 3.2) * _SIZE / size
            camera = Intrinsics.centered(1020.0, (spacing, spacing), (size, size))
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


def cases(images: NDArray[np.float32], number: int) -> list[tuple[str, str, NDArray[np.float32]]]:
    """Meaning, way and pixels of all variants of some line integrals."""
    return [
        (meaning, how, stored_as(p, meaning, how, (number, i, m, k)))
        for i, p in enumerate(images)
        if p.max() > 0.5
        for m, meaning in enumerate(MEANINGS)
        for k, how in enumerate(STORED)
    ]


def numbers_of(examples: list[tuple[str, str, NDArray[np.float32]]]) -> Numbers:
    """Meaning, way and features of each picture."""
    return [(meaning, how, features(pixels)) for meaning, how, pixels in examples]


def fit(examples: Numbers) -> dict[str, Any]:
    """The table of a softmax regression with a quadratic penalty."""
    from scipy.optimize import minimize

    x = np.array([numbers for _, _, numbers in examples])
    y = np.array([MEANINGS.index(meaning) for meaning, _, _ in examples])
    # The inverted picture has the other sign in all of them, and the inverted meaning.
    x, y = np.concatenate([x, -x]), np.concatenate([y, y ^ 1])
    scales = np.maximum(np.sqrt((x**2).mean(axis=0)), 1e-6)
    t = np.array([terms(row) for row in x / scales])
    hot = np.eye(len(MEANINGS))[y]

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        w = flat.reshape(len(MEANINGS), -1)
        scores = t @ w.T
        scores -= scores.max(axis=1, keepdims=True)
        shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        value = -np.log(np.maximum(shares[np.arange(len(y)), y], 1e-12)).mean() + _PENALTY * (w**2).sum()
        return value, ((shares - hot).T @ t / len(y) + 2 * _PENALTY * w).ravel()

    best = minimize(loss, np.zeros(len(MEANINGS) * t.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 3000})
    weights = best.x.reshape(len(MEANINGS), -1)
    return {"scales": scales.round(6).tolist(), "weights": weights.round(4).tolist(), "examples": len(examples)}


def report(name: str, examples: Numbers, table: dict[str, Any]) -> list[tuple[str, str, Meaning]]:
    """Print how often a table is certain, and right, of X-rays whose meaning is known; what it made of each."""
    found = [(meaning, how, judge(numbers, table)) for meaning, how, numbers in examples]
    print(f"\n{name}: {len(found)} pictures; rows are the truth, columns what was most probable")
    for meaning in MEANINGS:
        row = [sum(f.best == other for m, _, f in found if m == meaning) for other in MEANINGS]
        print(f"  {meaning:22}" + "".join(f"{n:7}" for n in row))
    for how in STORED:
        _rates(how, [(m, f) for m, h, f in found if h == how])
    _rates("all", [(m, f) for m, _, f in found])
    return found


def _rates(name: str, found: list[tuple[str, Meaning]]) -> None:
    right = [_dense(m) == (f.bright_is_dense > 0.5) for m, f in found]
    certain = [r for r, (_, f) in zip(right, found, strict=True) if f.certainty >= CERTAIN]
    print(f"  {name:8} sign right {Rate.of(right)}; certain {Rate.of([f.certainty >= CERTAIN for _, f in found])},")
    print(f"           and then wrong {Rate.of([not r for r in certain])}")


def _dense(meaning: str) -> bool:
    return meaning in ("attenuation", "inverted intensity")


def real(files: list[list[str]], table: dict[str, Any]) -> None:
    """What the table of all makes of files whose bright pixels are known to mean "radiation" or "dense"."""
    for path, truth in files:
        pixels = sitk.GetArrayFromImage(sitk.ReadImage(path)).astype(np.float32)
        image = pixels.reshape(-1, *pixels.shape[-2:])[len(pixels) // 3 if pixels.ndim > 2 else 0]
        found = judge(features(image), table)
        said = "dense" if found.bright_is_dense > 0.5 else "radiation"
        print(f"{Path(path).name}: bright is {truth}; judged {said}, certainty {found.certainty:.3f}, {found.best}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volume", action="append", nargs="+", required=True, metavar=("CT", "BACKGROUND"))
    parser.add_argument("--real", action="append", nargs=2, default=[], metavar=("FILE", "radiation|dense"))
    parser.add_argument("--count", type=int, default=90, help="line integrals of each CT")
    parser.add_argument("--table", type=Path, default=None, help="write the table here")
    parser.add_argument("-o", "--output", type=Path, default=Path("bench-output"))
    options = parser.parse_args()
    known = {}
    for path, background in volumes_of(options.volume):
        images = line_integrals(path, background, options.count, options.output)
        known[path.name] = numbers_of(cases(images, len(known)))
    found = []
    for name, examples in known.items():
        others = [e for other, es in known.items() if other != name for e in es]
        if others:
            found += report(f"{name}, by the others", examples, fit(others))
    print("\nall left out in turn")
    _rates("all", [(m, f) for m, _, f in found])
    table = fit([e for examples in known.values() for e in examples])
    if options.table is not None:
        write_json(options.table, table)
    real(options.real, table)


if __name__ == "__main__":
    try:
        main()
    except InputError as e:
        sys.exit(f"picture_meaning.py: {e}")
