"""What grey values mean, judged by the picture alone: whether bright is radiation or dense, and linear or a logarithm.

The judgement is a softmax regression on eleven numbers that change their sign when the picture is inverted. Its table,
Resources/picture_meaning.json, is fitted on simulated X-rays by Testing/Benchmarks/picture_meaning.py, which also says
how often it is right. It is a last resort: where a file or a user says what grey values mean, that holds.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.imaging.collimation import collimated
from XVRegistrationLib.resources import resource

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.partial import PartialXray

MEANINGS = ("intensity", "inverted intensity", "attenuation", "inverted attenuation")
"""Bright is radiation, linear; the same inverted; bright is dense, a logarithm; the same inverted."""
CERTAIN = 0.97
"""A meaning is used from this certainty on."""
_LEAST_SIDE = 48  # px: smaller ones say nothing
_MOST_NOISE = 0.5  # of a picture's standard deviation is left when it is smoothed; more than that is no X-ray
_SIDE = 192  # px: on so many a picture is judged


@dataclass(frozen=True)
class Meaning:
    """What the grey values of a picture seem to mean."""

    probabilities: dict[str, float]
    """Of each of MEANINGS."""

    @property
    def best(self) -> str:
        """The most probable of MEANINGS."""
        return max(self.probabilities, key=lambda meaning: self.probabilities[meaning])

    @property
    def bright_is_dense(self) -> float:
        """Probability 0..1 that bright pixels are dense."""
        return self.probabilities["attenuation"] + self.probabilities["inverted intensity"]

    @property
    def certainty(self) -> float:
        """Probability 0..1 that the best meaning has the right sign: what decides whether a registration can succeed."""
        return max(self.bright_is_dense, 1 - self.bright_is_dense)


def recognise(pixels: NDArray[Any]) -> Meaning:
    """What grey values (H, W) mean, by the picture alone; of a picture of nothing, that nothing is known."""
    values = np.asarray(pixels, dtype=np.float32)
    if (
        not np.isfinite(values).all()
        or values.min() == values.max()
        or min(values.shape) < _LEAST_SIDE
        or _is_noise(values)
    ):
        return Meaning(dict.fromkeys(MEANINGS, 1 / len(MEANINGS)))
    return judge(features(values), _table())


def judge(numbers: NDArray[np.float64], table: dict[str, Any]) -> Meaning:
    """What the numbers of a picture, as `features` gives them, mean by a table."""
    scores = np.array(table["weights"]) @ terms(numbers / np.array(table["scales"]))
    shares = np.exp(scores - scores.max())
    return Meaning(dict(zip(MEANINGS, (float(s) for s in shares / shares.sum()), strict=True)))


def with_recognised_meaning(parts: PartialXray) -> PartialXray:
    """The X-ray with the scale that its picture shows, where its file says none and the picture is clear; else itself.

    The origin of the scale is then "derived".
    """
    if parts.origins.get("scale") != "assumed":
        return parts
    meaning = recognise(parts.pixels)
    assumed_dense = parts.scale == "attenuation"
    if meaning.certainty < CERTAIN or (meaning.bright_is_dense > 0.5) == assumed_dense:
        # Of the right sign already. Whether it is linear is less certain and matters less: the registration estimates the curve.
        return parts
    inverted = meaning.best.startswith("inverted")
    pixels = _inverted(parts.pixels) if inverted else parts.pixels
    scale: Any = meaning.best.removeprefix("inverted ")
    return dataclasses.replace(parts, pixels=pixels, scale=scale, origins={**parts.origins, "scale": "derived"})


def _inverted(pixels: NDArray[Any]) -> NDArray[Any]:
    """What was highest is 0; in a type that holds the whole range of signed integers."""
    wide = np.dtype(f"i{min(8, 2 * pixels.itemsize)}") if pixels.dtype.kind == "i" else pixels.dtype
    return np.asarray(pixels.max().astype(wide) - pixels)


def features(values: NDArray[np.float32]) -> NDArray[np.float64]:
    """(11,) numbers of a finite picture (H, W), each of the other sign for the inverted picture.

    Blades in what is dark or bright; the histogram's skewness; border against centre; evenness at both ends; skewness of
    fine and coarse structure; how strong fine structure is in what is bright against what is dark; values at both ends;
    the same for noise, which in counted photons grows with their number, and in their logarithm with its lack; the same
    for larger structure, which attenuates by the same factor anywhere; the most frequent value along the border.
    """
    from scipy.ndimage import gaussian_filter

    dark_blades, bright_blades = collimated(values, False), collimated(values.max() - values, False)
    covered = dark_blades ^ bright_blades
    small, left = _halved(values), _halved(covered.astype(np.float32)) < 0.01
    left = left if left.mean() > 0.05 else np.ones_like(left)
    low, high = np.percentile(small[left], [1, 99])
    v = np.clip((small - low) / max(high - low, 1e-9), 0, 1)
    v[~left] = np.median(v[left])
    inside = v[left]
    fine, coarse = v - gaussian_filter(v, 1.5), gaussian_filter(v, 1.0) - gaussian_filter(v, 8.0)
    strength = np.log(np.sqrt(gaussian_filter(fine**2, 4.0)) + 1e-4)
    gradient = np.log(np.hypot(*np.gradient(gaussian_filter(v, 1.0))) + 1e-3)
    height, width = v.shape
    middle = np.zeros_like(left)
    middle[height // 4 : -(height // 4), width // 4 : -(width // 4)] = True
    top, bottom = left & (v >= np.percentile(inside, 85)), left & (v <= np.percentile(inside, 15))
    return np.array(
        [
            float(dark_blades.mean() > bright_blades.mean() + 0.01)
            - float(bright_blades.mean() > dark_blades.mean() + 0.01),
            _skewness(inside),
            _difference(v, left & ~middle, left & middle),
            _difference(gradient, bottom, top),
            _skewness(fine[left]),
            _skewness(coarse[left]),
            _slope(v[left], strength[left]),
            float((inside > 0.97).mean() - (inside < 0.03).mean()),
            _noise_slope(v, left),
            _slope(v[left], np.log(np.abs(gaussian_filter(v, 2.0) - gaussian_filter(v, 5.0)) + 1e-3)[left]),
            _on_the_border(v, left),
        ]
    )


def _is_noise(values: NDArray[np.float32]) -> bool:
    """Whether neighbouring pixels have nothing to do with each other."""
    from scipy.ndimage import gaussian_filter

    small = _halved(values)
    return bool((small - gaussian_filter(small, 1.5)).std() > _MOST_NOISE * small.std())


def _noise_slope(v: NDArray[np.floating[Any]], left: NDArray[np.bool_]) -> float:
    """Change of ln noise by the value: of six classes of values, the quieter half's difference to the neighbours' mean."""
    from scipy.ndimage import uniform_filter

    noise = uniform_filter(np.abs(v - uniform_filter(v, 3)), 5)
    edges = np.quantile(v[left], np.linspace(0, 1, 7))
    centres, levels = [], []
    for low, high in pairwise(edges):
        here = left & (v >= low) & (v <= high)
        if high - low > 1e-6 and here.sum() > 20:
            centres.append((low + high) / 2)
            levels.append(np.log(float(np.quantile(noise[here], 0.2)) + 1e-4))
    return _slope(np.array(centres), np.array(levels)) if len(centres) > 2 else 0.0


def _on_the_border(v: NDArray[np.floating[Any]], left: NDArray[np.bool_]) -> float:
    """The most frequent value along the image's border, from -0.5 (the darkest) to 0.5."""
    border = np.ones_like(left)
    border[6:-6, 6:-6] = False
    values = v[left & border]
    if values.size < 20:
        return 0.0
    counts, edges = np.histogram(values, bins=20, range=(0.0, 1.0))
    return float(edges[np.argmax(counts)] + 0.025 - 0.5) * float(min(1.0, 3 * counts.max() / values.size))


def _halved(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of k x k pixels, so that the shorter side has at least _SIDE."""
    k = max(1, min(values.shape) // _SIDE)
    height, width = (n // k * k for n in values.shape)
    return np.asarray(values[:height, :width].reshape(height // k, k, width // k, k).mean(axis=(1, 3)))


def _skewness(values: NDArray[np.floating[Any]]) -> float:
    """Between -1 and 1: robust against a few extremes."""
    v = np.clip(values, *np.percentile(values, [0.2, 99.8]))
    spread = float(v.std())
    return float(np.tanh(((v - v.mean()) ** 3).mean() / spread**3 / 2)) if spread > 1e-9 else 0.0


def _difference(values: NDArray[np.floating[Any]], here: NDArray[np.bool_], there: NDArray[np.bool_]) -> float:
    return float(values[here].mean() - values[there].mean()) if here.any() and there.any() else 0.0


def _slope(x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]]) -> float:
    """Of y by x."""
    spread = float(((x - x.mean()) ** 2).mean())
    return float(((x - x.mean()) * (y - y.mean())).mean() / spread) if spread > 1e-9 else 0.0


def terms(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) a constant, the numbers, and their products."""
    i, j = np.triu_indices(len(x))
    x = np.clip(x, -4, 4)
    return np.concatenate([[1.0], x, x[i] * x[j]])


@cache
def _table() -> dict[str, Any]:
    content: dict[str, Any] = json.loads(resource("picture_meaning.json").read_text("utf-8"))
    return content
