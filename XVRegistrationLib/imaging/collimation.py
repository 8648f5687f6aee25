"""What lies behind a collimator's blades, an intensifier's rim or a shutter drawn over the picture.

All three leave a field that is convex: of straight blades in any direction, with rounded corners, an iris, or a circle.
Blades are dark, and light ends along them; a drawn shutter has one value, black or white. Dense anatomy can be as dark
as a blade, and burnt-out air as even as a shutter; the field's outline is what tells them apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.imaging.field_outline import Field
from XVRegistrationLib.imaging.opening import behind_an_edge

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DARK = 0.03  # of the brightest intensity: blades let through less
_THRESHOLDS = (0.01, 0.03, 0.1, 0.2)  # of the brightest: where scatter or a filter fills what lies behind a blade
_STEP = 4.0  # times brighter, at least, it is beside a blade than behind it, all along the edge
_STEP_OF_A_FIELD = 2.5  # where a whole outline is judged
_REACH, _REACH_OF_A_FIELD = 0.02, 0.012  # of the image's side: from the edge of a blade to where that is looked at
_SIDE = 256  # px: on so many a field's outline is looked for
_LEAST_COVERED = 0.01  # of the image
_LIT = 0.8  # of a blade's outline that has light along it; anatomy may be dark along the rest
_SHUTTER_STEP = 0.1  # of the range of values: between a drawn shutter and the picture along it
_EVEN = 2.5  # times brighter, at most, is the brightest behind a blade than the darkest
_LEAST_LEAK = 2e-3  # of the brightest: differences between less are none
_AGREE = 0.8  # of what either way of finding leaves out
_LOG_RANGE = 5.0  # from the brightest to the darkest of a picture of line integrals, whose scale nobody knows


def collimated(pixels: NDArray[np.floating], attenuation: bool, aspect: float = 1.0) -> NDArray[np.bool_]:
    """(H, W) where finite `pixels` (H, W) show a blade or a shutter instead of the picture; `attenuation`: bright is dense.

    `aspect` is a row's spacing over a column's.
    Limits: a field that is not convex, a blade with anatomy as dark along more than a fifth of its edge (a straight
    one along the image's side: a tenth of what other blades leave open), and a shutter of the picture's own grey are not found.
    """
    shutter = _drawn(pixels, attenuation)
    rest = pixels[~shutter] if shutter.any() else pixels.ravel()
    if attenuation:
        low, high = np.percentile(rest[:: max(1, rest.size // 100_000)], [0.1, 99.9])
        if high <= low:
            return shutter
        light = np.exp(-np.clip((pixels - low) * (_LOG_RANGE / (high - low)), 0, 2 * _LOG_RANGE))
        light[shutter] = 0  # a white one would hide the field's other edges
    else:
        light = np.where(shutter, pixels.min(), pixels) if shutter.any() else pixels
    small = _reduced(light)
    field = _field(small)
    reach = _reach_of_a_field(small)
    nothing = np.zeros(pixels.shape, dtype=bool)
    dark = _straight_sides(light) | (nothing if field is None else _enlarged(field.beyond(-reach), pixels.shape))
    edge = behind_an_edge(small, aspect, pixels.shape)
    # Where a shadow is dark and even, that tells more shapes than an edge, which tells more precisely where it is.
    if not dark.any() or (dark & edge).sum() <= _AGREE * (dark | edge).sum():
        return shutter | (dark if dark.any() else edge)
    return shutter | edge | (nothing if field is None else _enlarged(field.beyond(-1), pixels.shape))


def _straight_sides(pixels: NDArray[np.floating]) -> NDArray[np.bool_]:
    """What lies behind straight blades along the image's sides, even where most of their edge meets dense anatomy."""
    covered = np.zeros(pixels.shape, dtype=bool)
    # Blades are large: a few hundred rows and columns tell where they end.
    k = max(1, min(pixels.shape) // _SIDE)
    bright = float(np.percentile(pixels[::k, ::k], 99.9))
    if bright <= 0:
        return covered
    dark_columns = np.percentile(pixels[::k], 95, axis=0) <= _DARK * bright
    dark_rows = np.percentile(pixels[:, ::k], 95, axis=1) <= _DARK * bright
    for side in range(4):
        # Where another blade lies, this one's edge is not lit.
        along = (dark_columns, dark_rows)[side % 2]
        turned = np.rot90(pixels, side)
        lit = turned[:, ~(along if side in (0, 1) else along[::-1])]
        # Where all count as dark (a small field, a burned-in marker), nothing tells an edge.
        rows = _blade(lit[:, ::k], bright) if lit.size else 0
        if rows:
            np.rot90(covered, side)[:rows] = True
    return covered


def _blade(pixels: NDArray[np.floating], bright: float) -> int:
    """How many of the first rows a blade covers."""
    height = pixels.shape[0]
    reach = max(2, round(_REACH * height))
    level = np.percentile(pixels, 95, axis=1)
    dark = level <= _DARK * bright
    first_light = int(np.argmin(dark)) if not dark.all() else 0
    if first_light == 0 or first_light + reach >= height:
        return 0
    behind = np.median(pixels[max(0, first_light - 2 * reach) : max(1, first_light - reach)], axis=0)
    beside = pixels[first_light + reach]
    lit = beside >= _STEP * np.maximum(behind, 1e-3 * bright)
    return min(height, first_light + reach) if lit.mean() > 0.9 else 0


def _reach_of_a_field(small: NDArray[np.floating]) -> int:
    return max(2, round(_REACH_OF_A_FIELD * min(small.shape)))


def _field(small: NDArray[np.floating]) -> Field | None:
    """The lit, convex field of any of a collimator's shapes, if all is dark and even outside of it."""
    bright = float(np.percentile(small, 99.9))
    reach = _reach_of_a_field(small)
    for threshold in _THRESHOLDS if bright > 0 else ():
        field = Field.of(~_from_the_border(small <= threshold * bright))
        if field is None or _mean(small[field.beyond(reach)] <= threshold * bright) < 0.97:
            continue
        if not _is_even(small, field.beyond(2 * reach), bright):
            continue  # a limb's straight side, or a dense body's: there is structure in it
        outline, normals = field.outline(margin=2)
        inside, outside = _at(small, outline - reach * normals), _at(small, outline + reach * normals)
        lit = inside >= _STEP_OF_A_FIELD * np.maximum(outside, 1e-3 * bright)
        if len(outline) and lit.mean() >= _LIT and field.is_cut_by_blades(outline, normals):
            return field
    return None


def _is_even(light: NDArray[np.floating], region: NDArray[np.bool_], bright: float) -> bool:
    """Whether there is nothing in a region but noise, leakage and smooth scatter; a thin one does not tell."""
    from scipy.ndimage import gaussian_filter

    if region.mean() < _LEAST_COVERED:
        return True
    alone = np.where(region, light, np.median(light[region]))  # the field's light must not spread into it
    low, high = np.percentile(gaussian_filter(alone, 2.0)[region], [5, 95])
    return bool(high <= _EVEN * max(float(low), _LEAST_LEAK * bright))


def _drawn(pixels: NDArray[np.floating], attenuation: bool) -> NDArray[np.bool_]:
    """A shutter that a program drew: one value outside of a convex field, with the picture beginning beside it."""
    nothing = np.zeros(pixels.shape, dtype=bool)
    low, high = float(pixels.min()), float(pixels.max())
    for value in _common_on_the_border(pixels):
        # Of intensities the highest value is saturation, which is left out as such.
        same = pixels == value
        if (value == high and not attenuation) or same.mean() < _LEAST_COVERED:
            continue
        small, even = _reduced(pixels), _reduced(same.astype(np.float32))
        field = Field.of(~_from_the_border(even > 0.5))
        if field is None or _mean(even[field.beyond(1.5)]) < 0.97:
            continue
        outline, normals = field.outline(margin=2)
        inside = _at(small, outline - 2.5 * normals)
        differs = np.abs(inside - value) >= _SHUTTER_STEP * (high - low)
        if len(outline) and differs.mean() >= _LIT and field.is_cut_by_blades(outline, normals, 0.95):
            # To the pixel where the value says it, and a little inwards, where it was smoothed or compressed.
            return _enlarged(field.beyond(-2), pixels.shape)
    return nothing


def _common_on_the_border(pixels: NDArray[np.floating]) -> list[float]:
    """The two values that most pixels of the image's border hold, if more than a tenth of them do."""
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    values, counts = np.unique(border, return_counts=True)
    order = np.argsort(-counts)[:2]
    return [float(values[i]) for i in order if counts[i] > 0.1 * border.size]


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if values.size else 0.0


def _from_the_border(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those parts of a region that reach the image's border."""
    from scipy.ndimage import label

    regions, _ = label(region)
    border = np.unique(np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]]))
    return np.asarray(np.isin(regions, border[border > 0]))


def _reduced(pixels: NDArray[np.floating]) -> NDArray[np.float32]:
    """The picture with means of k x k pixels, at least 256 on its shorter side; the last row and column may hold fewer."""
    k = max(1, min(pixels.shape) // _SIDE)
    if k == 1:
        return np.asarray(pixels, dtype=np.float32)
    rows, columns = (np.arange(0, n, k) for n in pixels.shape)
    sums = np.add.reduceat(np.add.reduceat(pixels.astype(np.float32), rows, axis=0), columns, axis=1)
    counts = np.outer(*(np.minimum(k, n - starts) for n, starts in zip(pixels.shape, (rows, columns), strict=True)))
    return np.asarray(sums / counts, dtype=np.float32)


def _enlarged(small: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask of the reduced picture on the picture itself."""
    k = max(1, min(shape) // _SIDE)
    return np.asarray(np.repeat(np.repeat(small, k, axis=0), k, axis=1)[: shape[0], : shape[1]])


def _at(picture: NDArray[np.floating], points: NDArray[np.float64]) -> NDArray[np.floating]:
    """Values (n,) of the pixels nearest to points (n, 2) of row and column; beyond the image, its border's."""
    row, column = (np.clip(np.round(points[:, i]), 0, picture.shape[i] - 1).astype(int) for i in (0, 1))
    return np.asarray(picture[row, column])
