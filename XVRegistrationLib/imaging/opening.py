"""A collimator's opening, by its edge: light drops outwards along all of a circle, or of four straight lines.

What lies behind the blades may be full of scattered radiation, bright near the opening and noisy far from it, so that it is neither
dark nor even. Edges of anatomy drop here and rise there, and are neither straight nor round all along. Circles and turned
rectangles are searched where the picture is about 64 px, and then moved where it is about 256 px.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.imaging.opening_edges import Drops, Light, circles, drops_of, light_of, rectangles

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Score = Callable[[NDArray[np.float64]], NDArray[np.float64]]

_COARSE, _LEAST_SIDE = 64, 48  # px
_TRIES = 3  # circles, and as many rectangles
_POINTS = 128  # of an outline while it is moved
_SLIGHT = 0.02  # a drop of ln light so small weighs half
_WINDOW = 10.0  # px of an outline that are judged together
_LEAST_SCORE = (
    0.72  # for the root of the shorter side; 1.4 has a circle of light a third as wide, with the largest drops
)
_DROPPING, _RISING = 0.6, 0.2  # of an outline; where anatomy is as dark as what lies behind the blade, it does neither
_STRONG, _MOST_OUTSIDE = 0.5, 0.3  # edges, and how many of them may lie outside: what blades let through has few
_LEAST_MARGIN, _MARGIN, _SHARE = 1.0, 2.0, 0.018  # px that penumbra takes, and of half of the opening's width
_NARROW = 1.5  # px inside and outside of an outline, where it is judged


@dataclass(frozen=True, eq=False)
class Outline:
    """Points (..., n, 2) of x and y on shapes, outward normals, and for how much length (..., n) each stands."""

    points: NDArray[np.float64]
    normals: NDArray[np.float64]
    lengths: NDArray[np.float64]


def outline(shapes: NDArray[np.float64], extent: NDArray[np.float64], count: int) -> Outline:
    """About `count` points on each of the shapes (m, 3) or (m, 5)."""
    if shapes.shape[1] == 3:
        angles = 2 * np.pi * (np.arange(count) + 0.5) / count
        normals = np.broadcast_to(np.stack([np.cos(angles), np.sin(angles)], axis=-1), (len(shapes), count, 2))
        points = shapes[:, None, :2] + shapes[:, None, 2:] * normals
        return Outline(points, normals, np.repeat(2 * np.pi * shapes[:, 2:] / count, count, axis=1))
    a = shapes[:, 0]
    axes = np.stack([np.stack([np.cos(a), np.sin(a)], -1), np.stack([-np.sin(a), np.cos(a)], -1)], axis=1)  # (m, 2, 2)
    corners = np.array([[0, 0], [extent[0], 0], [0, extent[1]], extent])
    at = corners @ np.swapaxes(axes, 1, 2)  # (m, 4, 2)
    sides = shapes[:, 1:].reshape(-1, 2, 2)
    low = np.maximum(sides[..., 0], at.min(axis=1))
    high = np.minimum(sides[..., 1], at.max(axis=1))
    share = (np.arange(count // 4) + 0.5) / (count // 4)
    parts: list[Outline] = []
    for k in (0, 1):
        length = np.maximum(high - low, 0)[:, 1 - k, None]
        along = low[:, 1 - k, None] + length * share
        for end, sign in ((0, -1.0), (1, 1.0)):
            place = sides[:, k, end]
            there = np.isfinite(place)
            across = np.where(there, place, 0.0)[:, None, None] * axes[:, None, k]
            on = across + along[..., None] * axes[:, None, 1 - k]
            outwards = np.broadcast_to(sign * axes[:, None, k], on.shape)
            parts.append(Outline(on, outwards, np.broadcast_to(length * there[:, None] / len(share), along.shape)))
    fields = ([p.points for p in parts], [p.normals for p in parts], [p.lengths for p in parts])
    return Outline(*(np.concatenate(f, axis=1) for f in fields))


def at(
    fields: tuple[NDArray[np.float32], ...], points: NDArray[np.float64], aspect: float
) -> tuple[list[NDArray[np.float32]], NDArray[np.bool_]]:
    """Fields (H, W) at points (..., 2), linearly interpolated, and whether these are within the image."""
    h, w = fields[0].shape
    x, y = points[..., 0].astype(np.float32), (points[..., 1] / aspect).astype(np.float32)
    inside = (x >= 0) & (y >= 0) & (x <= w - 1) & (y <= h - 1)
    c, r = np.clip(x.astype(np.int32), 0, w - 2), np.clip(y.astype(np.int32), 0, h - 2)
    fx, fy = x - c, y - r
    i = r * w + c
    corners = ((i, (1 - fx) * (1 - fy)), (i + 1, fx * (1 - fy)), (i + w, (1 - fx) * fy), (i + w + 1, fx * fy))
    return [sum(f.ravel()[j] * weight for j, weight in corners) for f in fields], inside


def _coarse_score(drops: Drops) -> Score:
    """Of shapes: the sum of outward drops for the root of the visible length."""

    def score(shapes: NDArray[np.float64]) -> NDArray[np.float64]:
        o = outline(shapes, drops.extent, _POINTS)
        (x, y), inside = at((drops.x, drops.y), o.points, drops.aspect)
        return _weighed(x * o.normals[..., 0] + y * o.normals[..., 1], o.lengths * inside, drops.extent)

    return score


def _fine_score(light: Light, reach: float) -> Score:
    """The same of what light drops within `reach`, and what it does not go on dropping outside."""

    def score(shapes: NDArray[np.float64]) -> NDArray[np.float64]:
        o = outline(shapes, light.extent, _POINTS)
        drop, noise, inside = _drop(light, o, reach)
        return _weighed(drop / (np.abs(drop) + noise + _SLIGHT), o.lengths * inside, light.extent)

    return score


def _weighed(
    values: NDArray[np.floating], lengths: NDArray[np.float64], extent: NDArray[np.float64]
) -> NDArray[np.float64]:
    length = lengths.sum(axis=-1)
    enough = length > 0.3 * extent.min()
    return np.where(enough, (values * lengths).sum(axis=-1) / np.sqrt(np.maximum(length, 1e-9)), -np.inf)


def _drop(light: Light, o: Outline, reach: float) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Of ln light across an outline (..., n), less what it drops as far outside; its noise; and where the image shows both."""
    steps = np.array([-reach, reach, 3 * reach])
    points = o.points[None] + steps.reshape(-1, *([1] * o.points.ndim)) * o.normals
    (log, noise), inside = at((light.log, light.noise), points, light.aspect)
    drop = log[0] - log[1] - np.maximum(log[1] - log[2], 0)
    return drop, np.hypot(noise[0], noise[1]), inside[0] & inside[2]


def moved(shape: NDArray[np.float64], score: Score, step: float, turn: float) -> NDArray[np.float64]:
    """The shape where no step, and no turn of a rectangle by `turn` radians, has a larger score."""
    moves = step * np.eye(len(shape))
    if len(shape) == 3:  # one side stays where it is
        half = step / 2
        moves = np.vstack([moves, [[half, 0, half], [-half, 0, half], [0, half, half], [0, -half, half]]])
    else:  # about its middle
        sides = np.where(np.isfinite(shape[1:]), shape[1:], 0.0).reshape(2, 2)
        there = np.maximum(np.isfinite(shape[1:]).reshape(2, 2).sum(axis=1), 1)
        u, v = sides.sum(axis=1) / there
        moves[0] = turn * np.array([1, v, v, -u, -u])
    moves = np.vstack([np.zeros(len(shape)), moves, -moves])
    for _ in range(12):
        tried = shape + moves
        best = int(np.argmax(score(tried)))
        if best == 0:
            break
        shape = tried[best]
    return shape


def behind_an_edge(intensity: NDArray[np.floating], aspect: float, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where of `shape` (H, W) blades cover a picture, of which `intensity` are the means of k x k pixels; nowhere if none are found.

    `aspect` is a row's spacing over a column's. A rectangle of which the image shows one side alone is not found.
    """
    if not (intensity > 0).any() or min(intensity.shape) < _LEAST_SIDE:
        return np.zeros(shape, dtype=bool)
    light = light_of(intensity, aspect)
    k = max(1, min(intensity.shape) // (2 * _COARSE))
    h, w = (n // k * k for n in intensity.shape)
    drops = drops_of(light_of(intensity[:h, :w].reshape(h // k, k, w // k, k).mean(axis=(1, 3)), aspect))
    found = [f for f in _candidates(light, drops, 2 * k) if len(f) == 3 or np.isfinite(f).sum() > 2]
    score = _fine_score(light, 1.0)
    best = max(found, key=lambda f: float(score(f[None])[0]), default=None)
    if best is None or not _is_an_edge(light, best) or not _is_the_last(drops, best, 2 * k):
        return np.zeros(shape, dtype=bool)
    k = -(-shape[1] // light.log.shape[1])
    best = _enlarged(best, k, aspect)
    return _outside(best, np.arange(float(shape[1])), np.arange(shape[0]) * aspect, -_margin(best, k))


def _candidates(light: Light, drops: Drops, k: int) -> list[NDArray[np.float64]]:
    """A circle and a rectangle on the picture of light where it drops most; `drops` are of k x k of its pixels."""
    score, turn = _coarse_score(drops), 1.0 / float(drops.extent.min())
    found = []
    for kind in (circles(drops, _TRIES), rectangles(drops, _TRIES)):
        if kind:
            tried = [moved(moved(s, score, 1.0, turn), score, 0.5, turn / 2) for s in kind]
            fine = _enlarged(max(tried, key=lambda s: float(score(s[None])[0])), k, light.aspect)
            for step in (2.0, 1.0, 0.5):
                fine = moved(fine, _fine_score(light, max(1.0, 1.5 * step)), step, 2 * step * turn / k)
            found.append(fine)
    return found


def _enlarged(shape: NDArray[np.float64], k: int, aspect: float) -> NDArray[np.float64]:
    """A shape on the means of k x k pixels, on these pixels."""
    x, y = (k - 1) / 2, (k - 1) / 2 * aspect
    if len(shape) == 3:
        return shape * k + [x, y, 0]
    c, s = np.cos(shape[0]), np.sin(shape[0])
    u, v = c * x + s * y, c * y - s * x
    return np.array([shape[0], *(shape[1:] * k + [u, u, v, v])])


def _is_an_edge(light: Light, shape: NDArray[np.float64]) -> bool:
    """Whether light drops by more than noise along most of an outline, and rises nearly nowhere."""
    score = float(_fine_score(light, 1.0)(shape[None])[0])
    if score < _LEAST_SCORE * np.sqrt(light.extent.min()):
        return False
    o = outline(shape[None], light.extent, 4 * _POINTS)
    drop, noise, inside = _drop(light, o, _NARROW)
    use = (inside & (o.lengths > 0))[0]
    drop, noise, lengths = drop[0][use], noise[0][use], o.lengths[0][use]
    # Medians of windows: a marker or an instrument across the edge is no edge of its own.
    number = (np.cumsum(lengths) / _WINDOW).astype(int)
    windows = [number == n for n in np.unique(number)]
    typical = np.array([np.median(drop[w]) for w in windows])
    error = np.array([1.25 * np.sqrt((noise[w] ** 2).mean() / min(w.sum(), _WINDOW)) for w in windows])
    return bool((typical > 2 * error).mean() >= _DROPPING and (typical < -error).mean() <= _RISING)


def _is_the_last(drops: Drops, shape: NDArray[np.float64], k: int) -> bool:
    """Whether nearly all edges lie within an outline: beyond one that anatomy has within the opening, its other sides do not."""
    strong = np.hypot(drops.x, drops.y) > _STRONG
    h, w = strong.shape
    x, y = np.arange(w) * k + (k - 1) / 2, (np.arange(h) * k + (k - 1) / 2) * drops.aspect
    return bool(strong[_outside(shape, x, y, 1.5 * k)].sum() <= _MOST_OUTSIDE * strong.sum())


def _outside(
    shape: NDArray[np.float64], x: NDArray[np.floating], y: NDArray[np.floating], distance: float
) -> NDArray[np.bool_]:
    """(H, W) where pixels at x (W,) and y (H,) are more than `distance` outside of a shape; negative counts inwards."""
    columns, rows = x.astype(np.float32)[None, :], y.astype(np.float32)[:, None]
    if len(shape) == 3:
        return np.asarray((columns - shape[0]) ** 2 + (rows - shape[1]) ** 2 > (shape[2] + distance) ** 2)
    c, s = np.float32(np.cos(shape[0])), np.float32(np.sin(shape[0]))
    u, v = c * columns + s * rows, c * rows - s * columns
    (u0, u1), (v0, v1) = shape[1:].reshape(2, 2) + np.array([-distance, distance])
    return np.asarray((u < u0) | (u > u1) | (v < v0) | (v > v1))


def _margin(shape: NDArray[np.float64], k: int) -> float:
    """What penumbra takes of an opening, in pixels of which k are one where it was found."""
    half = shape[2] if len(shape) == 3 else min(shape[2] - shape[1], shape[4] - shape[3]) / 2
    return k * float(np.clip(_SHARE * half / k, _LEAST_MARGIN, _MARGIN))
