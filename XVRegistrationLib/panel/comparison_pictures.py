"""Pictures that compare an X-ray and its DRR, as arrays; NumPy alone, as they are made in Slicer's process while a pose moves.

Colours are told apart by those who do not see red or green.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Grey = NDArray[np.float32]

_TILES = 8  # along the longer side
_EDGE = np.array([1.0, 0.69, 0.0], dtype=np.float32)
_MORE = np.array([1.0, 0.6, 0.1], dtype=np.float32)  # the DRR is denser: orange
_LESS = np.array([0.2, 0.6, 1.0], dtype=np.float32)  # the X-ray is denser: blue
_STEEP = 88.0  # percentile of the slopes above which an edge is drawn
_HEAT = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)], dtype=np.float32) / 255
_TELLING = 128  # rows and columns tell enough of an image for its statistics
_EIGHTH = float(np.tan(np.pi / 8))
_DIM = 0.4  # of an X-ray's brightness, where a map says nothing
_OPAQUE = 0.75  # share of the colours where a map is highest


def windowed(image: NDArray[np.generic], low: float, high: float, inverted: bool = False) -> Grey:
    """Grey values (h, w) as 0 (black) to 1 by a window from `low` to `high`."""
    scaled = np.clip((np.asarray(image, dtype=np.float32) - low) / max(high - low, 1e-12), 0.0, 1.0)
    return np.asarray(np.nan_to_num(1 - scaled if inverted else scaled), dtype=np.float32)


def resized(image: NDArray[np.generic], shape: tuple[int, int]) -> Grey:
    """An image with `shape` pixels over the same area: linear between pixels, averaged where less than half as many."""
    values = np.asarray(image, dtype=np.float32)
    return _along_rows(_along_rows(values, shape[0]).T, shape[1]).T


def checkerboard(xray: Grey, drr: Grey) -> NDArray[np.uint8]:
    """(h, w, 3) X-ray and DRR, both 0..1, in turn; the X-ray has the upper left corner."""
    side = max(1, round(max(xray.shape) / _TILES))
    rows, columns = (np.arange(n) // side for n in xray.shape)
    return _in_grey(np.where((rows[:, None] + columns[None]) % 2 == 1, drr, xray))


def edges(xray: Grey, drr: Grey) -> NDArray[np.uint8]:
    """(h, w, 3) the X-ray with the DRR's edges in orange."""
    picture = _in_grey(xray)
    picture[edge_mask(drr)] = _bytes(_EDGE)
    return picture


def difference(xray: Grey, drr: Grey) -> NDArray[np.uint8]:
    """(h, w, 3) the DRR, its scale and offset fitted, minus the X-ray: black where equal, orange where more, blue where less."""
    a, b = (image[:: _step(image), :: _step(image)] for image in (xray, drr))
    # Where either is black or white it says nothing of the scale.
    inside = (a > 0) & (a < 1) & (b > 0) & (b < 1)
    a, b = (a[inside], b[inside]) if inside.sum() > 16 else (a.ravel(), b.ravel())
    gain = max(float(np.cov(a, b)[0, 1] / max(float(b.var()), 1e-9)), 0.1)
    off = np.float32(gain) * drr + np.float32(a.mean() - gain * b.mean()) - xray
    # From all blue over black to all orange.
    return np.asarray(_DIFFERENCES[_bytes(0.5 + off)])


def map_over(xray: Grey, shares: Grey) -> NDArray[np.uint8]:
    """(h, w, 3) the X-ray with a map, 0..1, over it: no colour where it is 0, bright where it is 1, dimmed where it is NaN."""
    unknown = np.isnan(shares)
    value = _bytes(np.where(unknown, 0, shares))
    clear = np.where(unknown, np.float32(_DIM), 1 - _OPACITIES[value]) * (255 * xray)
    return np.asarray(_HEATS[value] + clear[..., None] + 0.5, dtype=np.uint8)


def edge_mask(image: Grey) -> NDArray[np.bool_]:
    """(h, w) the ridges of an image's slope, where it is steep."""
    smooth = _smoothed(image)
    down, right = np.gradient(smooth)
    slope = np.hypot(down, right)
    padded = np.pad(slope, 1, mode="edge")

    def beside(row: int, column: int) -> NDArray[np.floating]:
        return padded[1 + row : 1 + row + slope.shape[0], 1 + column : 1 + column + slope.shape[1]]

    # The direction of the slope, in eighths of a turn.
    steep_down, steep_right = np.abs(down) > _EIGHTH * np.abs(right), np.abs(right) > _EIGHTH * np.abs(down)
    oblique, falling = steep_down & steep_right, (down > 0) == (right > 0)
    directions = {
        (0, 1): ~steep_down,
        (1, 1): oblique & falling,
        (1, 0): ~steep_right,
        (1, -1): oblique & ~falling,
    }
    highest = np.zeros(slope.shape, dtype=bool)
    for (row, column), along in directions.items():
        highest |= along & (slope >= beside(row, column)) & (slope > beside(-row, -column))
    step = _step(slope)
    steep = slope > max(float(np.percentile(slope[::step, ::step], _STEEP)), 1e-6)
    return np.asarray(highest & steep)


def _smoothed(image: Grey) -> Grey:
    kernel = np.array([1, 4, 6, 4, 1], dtype=np.float32) / 16
    for axis in (0, 1):
        padded = np.pad(image, [(2, 2) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        n = image.shape[axis]
        parts = (padded[i : i + n] if axis == 0 else padded[:, i : i + n] for i in range(len(kernel)))
        image = sum(k * part for k, part in zip(kernel, parts, strict=True))
    return np.asarray(image, dtype=np.float32)


def _along_rows(values: Grey, m: int) -> Grey:
    """Of an image (n, w) one (m, w) of the same height."""
    n = len(values)
    if m == n:
        return values
    if 2 * m > n:
        at = np.clip((np.arange(m) + 0.5) * (n / m) - 0.5, 0, n - 1)
        low = np.minimum(at.astype(int), max(n - 2, 0))
        share = (at - low)[:, None].astype(np.float32)
        return values[low] * (1 - share) + values[np.minimum(low + 1, n - 1)] * share
    # Whole rows are averaged: one that is cut goes to where most of it is.
    edges = np.round(np.linspace(0, n, m + 1)).astype(int)
    sums = np.add.reduceat(values, edges[:-1], axis=0)
    return np.asarray(sums / np.diff(edges)[:, None].astype(np.float32), dtype=np.float32)


def _in_grey(values: Grey) -> NDArray[np.uint8]:
    """0..1 (h, w) as (h, w, 3)."""
    return np.repeat(_bytes(values)[..., None], 3, axis=2)


def _bytes(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """0..1 as 0..255."""
    return np.clip(255 * values + np.float32(0.5), 0, 255).astype(np.uint8)


def _step(image: Grey) -> int:
    """Every how many rows and columns tell enough of an image for its statistics."""
    return max(1, max(image.shape) // _TELLING)


def _heat() -> tuple[Grey, Grey]:
    """Of a map's values in bytes: the colours (256, 3), 0..255, by their opacities, and these (256,), 0..1."""
    value = np.linspace(0, 1, 256)
    opacities = _OPAQUE * value**0.5
    places = np.linspace(0, 1, len(_HEAT))
    colors = np.stack([np.interp(value, places, _HEAT[:, c]) for c in range(3)], axis=-1)
    return (255 * opacities[:, None] * colors).astype(np.float32), opacities.astype(np.float32)


_HEATS, _OPACITIES = _heat()
_OFF = np.linspace(-1, 1, 256, dtype=np.float32)[:, None]
_DIFFERENCES = _bytes(np.abs(_OFF) * np.where(_OFF > 0, _MORE, _LESS))
"""(256, 3) colours from half of the window denser in the X-ray to half of it denser in the DRR; black in the middle."""
