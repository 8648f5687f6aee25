"""Where the light of an X-ray drops, and circles and turned rectangles along which it drops outwards.

Lengths are in columns of the picture; `aspect` is what a row measures of them, so that a circle is one where pixels are not square.
A circle is (x, y, radius). A rectangle is (angle, u0, u1, v0, v1), between two lines across each of its directions
u = (cos, sin) and v = (-sin, cos); a line that the image has not is infinite.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ABOVE = 1.2  # times the mean slope of the surroundings: what a glow of scatter does not reach
_SURROUNDINGS = 9  # px
_SLIGHT = 0.01  # a drop of ln light so small weighs half
_LEVELS = 24  # of light, each with a noise of its own
_LEAST_WIDTH, _LARGEST_RADIUS = 0.15, 0.75  # of the image's shorter side
_ANGLES, _CENTRES = 32, 2.0  # directions of a circle's search, and px between centres
_TURN = 2.0  # degrees
_LEAST_DROP = 0.3  # of the largest possible, on average along a rectangle's side
_APART = 0.12  # of the shorter side: nearer circles are the same


def _last_pixel(image: NDArray[np.float32], aspect: float) -> NDArray[np.float64]:
    return np.array([image.shape[1] - 1.0, (image.shape[0] - 1.0) * aspect])


@dataclass(frozen=True, eq=False)
class Light:
    """The logarithm of light (H, W), and the standard deviation (H, W) of its noise."""

    log: NDArray[np.float32]
    noise: NDArray[np.float32]
    aspect: float

    @property
    def extent(self) -> NDArray[np.float64]:
        """(2,) x, y of the last pixel."""
        return _last_pixel(self.log, self.aspect)


@dataclass(frozen=True, eq=False)
class Drops:
    """Directions (H, W) along x and y in which light falls as along an edge, of length 0 to 1."""

    x: NDArray[np.float32]
    y: NDArray[np.float32]
    aspect: float

    @property
    def extent(self) -> NDArray[np.float64]:
        """(2,) x, y of the last pixel."""
        return _last_pixel(self.x, self.aspect)


def light_of(intensity: NDArray[np.floating], aspect: float) -> Light:
    """Of intensities (H, W), of which some are positive."""
    floor = max(1e-3 * float(np.median(intensity[intensity > 0])), 1e-5 * float(intensity.max()))
    log = np.log(np.maximum(intensity, floor)).astype(np.float32)
    return Light(log, _noise(log), aspect)


def _noise(log: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W) as it depends on the light: from how far pixels are from their four neighbours' mean."""
    middle = log[1:-1, 1:-1]
    off = np.abs(middle - (log[1:-1, :-2] + log[1:-1, 2:] + log[:-2, 1:-1] + log[2:, 1:-1]) / 4).ravel()
    parts = np.array_split(np.argsort(middle, axis=None), _LEVELS)
    levels = [float(np.median(middle.ravel()[p])) for p in parts]
    # The deviation's median is 0.6745 sigma, of which 1.25 are the neighbours' share.
    sigmas = [float(np.median(off[p])) / 0.6745 / np.sqrt(1.25) for p in parts]
    return np.interp(log, levels, sigmas).astype(np.float32)


def drops_of(light: Light) -> Drops:
    """On half of the rows and columns. A glow's slope is about the same all around; an edge stands out of its surroundings."""
    from scipy.ndimage import gaussian_filter, uniform_filter

    gy, gx = np.gradient(gaussian_filter(light.log, 0.7))
    gy /= light.aspect
    slope = np.hypot(gx, gy)
    over = np.maximum(slope - _ABOVE * uniform_filter(slope, _SURROUNDINGS), 0)
    # Smoothing and gradient leave about half of the noise.
    weight = over / (over + light.noise / 1.5 + _SLIGHT) / (slope + 1e-9)
    h, w = (n // 2 * 2 for n in slope.shape)
    x, y = (-(g * weight)[:h, :w].reshape(h // 2, 2, w // 2, 2).mean(axis=(1, 3)) for g in (gx, gy))
    return Drops(x, y, light.aspect)


def circles(drops: Drops, count: int) -> list[NDArray[np.float64]]:
    """At most `count` circles with the largest sums of outward drops for their visible length's root."""
    (h, w), aspect, short = drops.x.shape, drops.aspect, float(drops.extent.min())
    radii = np.arange(_LEAST_WIDTH * short, _LARGEST_RADIUS * short, 1.0)
    columns, rows = (np.arange(0, n, _CENTRES) for n in (w, h))
    cx, cy = (a.ravel().astype(np.intp) for a in np.meshgrid(columns, rows))
    angles = 2 * np.pi * np.arange(_ANGLES) / _ANGLES
    cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    # Beyond the image there is nothing, so that no index has to be checked.
    mx, my = int(radii[-1]) + 2, int(radii[-1] / aspect) + 2
    fields = [np.pad(f, ((my, my), (mx, mx))).ravel() for f in (drops.x, drops.y, np.ones((h, w), np.float32))]
    stride = w + 2 * mx
    base = (cy + my) * stride + cx + mx
    scores = np.empty((len(radii), len(base)))
    for k, r in enumerate(radii):
        ring = np.rint(r * sin / aspect).astype(np.intp) * stride + np.rint(r * cos).astype(np.intp)
        index = base[:, None] + ring
        seen = fields[2][index].sum(axis=1) / _ANGLES
        outwards = (fields[0][index] @ cos + fields[1][index] @ sin) / _ANGLES
        scores[k] = np.where(seen > 0.25, outwards * np.sqrt(r / np.maximum(seen, 0.25)), 0)
    found: list[NDArray[np.float64]] = []
    while len(found) < count and scores.max() > 0:
        best = np.unravel_index(np.argmax(scores), scores.shape)
        x, y, r = float(cx[best[1]]), float(cy[best[1]] * aspect), float(radii[best[0]])
        found.append(np.array([x, y, r]))
        scores[np.hypot(cx - x, cy * aspect - y) + np.abs(radii - r)[:, None] < _APART * short] = 0
    return found


def rectangles(drops: Drops, count: int) -> list[NDArray[np.float64]]:
    """At most `count` rectangles with the largest sums of outward drops."""
    h, w = drops.x.shape
    x, y = np.tile(np.arange(w), h), np.repeat(np.arange(h) * drops.aspect, w)
    least = _LEAST_WIDTH * float(drops.extent.min())
    turns = []
    for angle in np.deg2rad(np.arange(0, 90, _TURN)):
        c, s = np.cos(angle), np.sin(angle)
        along = (c * x + s * y, c * y - s * x)
        falling = (
            c * drops.x.ravel() + s * drops.y.ravel(),
            c * drops.y.ravel() - s * drops.x.ravel(),
        )
        everywhere = np.ones(h * w, dtype=bool)
        pairs = [_two_sides(along[k], falling[k], everywhere, least, 0.0) for k in (0, 1)]
        turns.append((pairs[0][1] + pairs[1][1], angle, along, falling, [p[0] for p in pairs]))
    turns.sort(key=lambda t: -t[0])
    better = []
    for _, angle, along, falling, sides in turns[: 4 * count]:
        gains = [0.0, 0.0]
        for k in (0, 1, 0, 1):
            low, high = sides[1 - k]
            between = (along[1 - k] > low + 1) & (along[1 - k] < high - 1)
            if between.any():
                sides[k], gains[k] = _two_sides(along[k], falling[k], between, least, _LEAST_DROP)
        better.append((sum(gains), np.array([angle, *sides[0], *sides[1]])))
    better.sort(key=lambda b: -b[0])
    found: list[NDArray[np.float64]] = []
    for _, box in better:
        turned = [abs(box[0] - other[0]) for other in found]
        if len(found) < count and all(min(t, np.pi / 2 - t) > np.deg2rad(5) for t in turned):
            found.append(box)
    return found


def _two_sides(
    along: NDArray[np.floating],
    falling: NDArray[np.floating],
    here: NDArray[np.bool_],
    least: float,
    cost: float,
) -> tuple[tuple[float, float], float]:
    """Where light falls most to both sides of a strip at least so wide, infinite where nowhere; the sum, less a cost a pixel."""
    place, value = (along, falling) if here.all() else (along[here], falling[here])
    if float(np.ptp(place)) < least:
        return (-np.inf, np.inf), 0.0
    first = float(place.min())
    bins = np.rint(place - first).astype(np.intp)
    falls = np.convolve(np.bincount(bins, weights=value), [0.7, 1.0, 0.7], mode="same")
    price = cost * np.bincount(bins)
    down, up = np.maximum(-falls - price, 0), np.maximum(falls - price, 0)
    # The image's own border is none of the collimator's.
    down[:2] = up[:2] = down[-2:] = up[-2:] = 0
    gap = int(least)
    together = up.copy()
    together[gap:] += np.maximum.accumulate(down)[: len(down) - gap]
    high = int(np.argmax(together))
    if down.max() > together[high]:
        return (first + int(np.argmax(down)), np.inf), float(down.max())
    low = int(np.argmax(down[: max(1, high - gap + 1)]))
    is_low, is_high = high >= gap and down[low] > 0, up[high] > 0
    return (first + low if is_low else -np.inf, first + high if is_high else np.inf), float(together[high])
