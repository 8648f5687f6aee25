"""Which pixels of an X-ray say something: neither behind the collimator's blades nor saturated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.xray import Xray

_DARK = 0.03  # of the brightest intensity: blades let through less
_STEP = 4.0  # times brighter, at least, it is beside a blade than behind it, all along the edge
_REACH = 0.02  # of the image's side: from the edge of a blade to where that is looked at
_LEAST_SHARE = 0.01  # of the image: fewer pixels at the highest value are noise, not saturation
_MOST_SATURATED = 0.9  # of the image: more is an image without anything in it
_LEAST_LEFT = 0.02


def usable(xray: Xray, mask: NDArray[np.bool_] | None = None) -> NDArray[np.bool_] | None:
    """(H, W) pixels that count, of those in `mask` (H, W) if given; None where all do.

    Collimated is what lies behind straight blades or around a round field; saturated what holds the very highest value
    where many pixels do. Raises InputError for a mask of another size, and for one that leaves nothing, by itself or
    together with what was found.
    """
    pixels = np.asarray(xray.pixels)
    open_ = good = ~_collimated(xray) & ~_saturated(xray) & (True if xray.mask is None else xray.mask)
    if mask is not None:
        if mask.shape != pixels.shape:
            raise InputError(
                f"The mask of {xray.name} has {mask.shape[1]} x {mask.shape[0]} pixels, the X-ray {pixels.shape[1]} x "
                f"{pixels.shape[0]}."
            )
        good = open_ & mask.astype(bool)
    if good.mean() < _LEAST_LEFT:
        if mask is not None:
            raise InputError(_nothing_left(xray.name, mask.astype(bool), open_))
        return None  # an image that looks like nothing but blades is compared as it is
    return None if good.all() else good


def _nothing_left(name: str, mask: NDArray[np.bool_], open_: NDArray[np.bool_]) -> str:
    """Why a mask and what was found leave nothing: it is too small, or what it holds looks like no picture."""
    if mask.mean() < _LEAST_LEFT:
        return f"The mask of {name} leaves less than {_LEAST_LEFT:.0%} of its pixels: draw it larger."
    if open_.mean() < _LEAST_LEFT:
        advice = "register it without a mask if it is a picture nonetheless."
    else:
        advice = "draw the mask where the picture is neither."
    return f"Nearly everything within the mask of {name} looks collimated or saturated: {advice}"


def _collimated(xray: Xray) -> NDArray[np.bool_]:
    """What lies behind straight blades along the image's sides, or outside of a round field.

    Dense anatomy can be as dark; what tells a blade is its edge, straight or round, with light all along it.
    """
    pixels = np.asarray(xray.pixels, dtype=np.float32)
    covered = np.zeros(pixels.shape, dtype=bool)
    if xray.scale == "attenuation":
        return covered
    # Blades are large: a few hundred rows and columns tell where they end.
    k = max(1, min(pixels.shape) // 256)
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
    return covered | _outside_circle(pixels, bright)


def _blade(pixels: NDArray[np.float32], bright: float) -> int:
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


def _outside_circle(pixels: NDArray[np.float32], bright: float) -> NDArray[np.bool_]:
    """The corners around the inscribed circle of an image intensifier, if they are dark and it is lit along its rim."""
    height, width = pixels.shape
    row, column = np.ogrid[:height, :width]
    radius = np.hypot((row - (height - 1) / 2) / height, (column - (width - 1) / 2) / width)
    outside, rim = radius > 0.5 + _REACH, (radius > 0.5 - 2 * _REACH) & (radius < 0.5 - _REACH)
    corners = pixels[outside]
    if not corners.size or np.percentile(corners, 95) > _DARK * bright:
        return np.zeros(pixels.shape, dtype=bool)
    lit = np.percentile(pixels[rim], 10) >= _STEP * max(float(np.median(corners)), 1e-3 * bright)
    return np.asarray(radius > 0.5 - _REACH) if lit else np.zeros(pixels.shape, dtype=bool)


def _saturated(xray: Xray) -> NDArray[np.bool_]:
    """Pixels at the highest value, where many hold it but not nearly all; none of an image of line integrals."""
    pixels = np.asarray(xray.pixels)
    full = pixels == pixels.max()
    if xray.scale == "attenuation" or full.mean() < _LEAST_SHARE or full.mean() > _MOST_SATURATED:
        return np.zeros(pixels.shape, dtype=bool)
    return np.asarray(full)
