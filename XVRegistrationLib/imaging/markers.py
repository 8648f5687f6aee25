"""What lies on a picture instead of in the patient: burned-in text, and lead markers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_MOST = 0.03  # of the image: more at one value is saturation or a shutter, not text
_LEAST_PIXELS = 6  # of a sign; fewer are dead or noisy pixels
_GAP = 0.05  # of the range of values: between text and the brightest (or darkest) of the picture
_LARGEST_SIGN = 0.15  # of the image's side
_CONTRAST = 3.0  # times darker than the air around it a lead marker is, at least
_AIR = 0.6  # of the brightest intensity, at least, there is around a lead marker
_LEAST_BODY = 0.15  # of the image is not air; else it may show nothing but vessels or a catheter
_LARGEST_LEAD = 0.08  # of the image's side
_NEAR_THE_BORDER = 0.2  # of the image's side
_SURROUNDED = 0.9  # of what surrounds a lead marker is air


def ignored(shape: tuple[int, int], rectangles: Sequence[Sequence[float]], name: str) -> NDArray[np.bool_] | None:
    """(H, W) pixels that count when rectangles (column, row, width, height; px as stored) are left out; None without any.

    Raises InputError for a rectangle that is empty, or that lies beside the image.
    """
    if not rectangles:
        return None
    counts = np.ones(shape, dtype=bool)
    for rectangle in rectangles:
        said = " ".join(f"{value:g}" for value in rectangle)
        if len(rectangle) != 4 or not np.isfinite(rectangle).all() or min(rectangle[2:]) <= 0:
            raise InputError(f"The rectangle to ignore, {said}, must be X Y W H in pixels with a positive size.")
        x, y, w, h = rectangle
        first = max(0, int(np.floor(x))), max(0, int(np.floor(y)))
        last = min(shape[1], int(np.ceil(min(x + w, shape[1])))), min(shape[0], int(np.ceil(min(y + h, shape[0]))))
        if first[0] >= last[0] or first[1] >= last[1]:
            raise InputError(
                f"The rectangle to ignore, {said}, lies beside the X-ray {name}, which has {shape[1]} x {shape[0]} pixels."
            )
        counts[first[1] : last[1], first[0] : last[0]] = False
    return counts


def marked(pixels: NDArray[np.floating], attenuation: bool) -> NDArray[np.bool_]:
    """(H, W) where finite `pixels` (H, W) show drawn text or a lead marker; `attenuation`: bright is dense.

    Limits: text is found where all of it has one value that is brighter or darker than the whole picture (not after a
    lossy compression, nor as grey on grey); a lead marker of less than a twelfth of
    the image's side, near its border, where there is air all around it, which an implant has not.
    """
    return _drawn_text(pixels) | (np.zeros(pixels.shape, dtype=bool) if attenuation else _lead(pixels))


def _drawn_text(pixels: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Signs of exactly the highest or the lowest value, with a gap to the next one."""
    found = np.zeros(pixels.shape, dtype=bool)
    low, high = float(pixels.min()), float(pixels.max())
    for value in (high, low) if high > low else ():
        same = pixels == value
        if not _LEAST_PIXELS <= same.sum() <= _MOST * pixels.size:
            continue
        rest = pixels[~same]
        nearest = float(rest.max()) if value == high else float(rest.min())
        if abs(nearest - value) >= _GAP * (high - low):
            found |= _signs(same)
    return found


def _lead(pixels: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Small dark signs with air all around them."""
    from scipy.ndimage import binary_dilation, find_objects, label

    found = np.zeros(pixels.shape, dtype=bool)
    step = max(1, pixels.size // 250_000)
    bright = float(np.percentile(pixels.ravel()[::step], 99))
    air = pixels >= _AIR * bright
    if not _MOST <= air.mean() <= 1 - _LEAST_BODY:
        return found
    dark = pixels <= _AIR / _CONTRAST * bright
    regions, _ = label(~air, structure=np.ones((3, 3)))
    for number, box in enumerate(find_objects(regions), 1):
        if max(s.stop - s.start for s in box) > _LARGEST_LEAD * min(pixels.shape):
            continue
        ends = [min(s.start, n - s.stop) for s, n in zip(box, pixels.shape, strict=True)]
        if min(ends) > _NEAR_THE_BORDER * min(pixels.shape):
            continue
        around = tuple(slice(max(0, s.start - 3), s.stop + 3) for s in box)
        sign = regions[around] == number
        if (sign & dark[around]).sum() < max(_LEAST_PIXELS, 0.3 * sign.sum()):
            continue
        ring = binary_dilation(sign, iterations=3) & ~sign
        if ring.any() and air[around][ring].mean() >= _SURROUNDED:
            found[around] |= binary_dilation(sign)
    return found


def _signs(same: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those connected parts that are as small as letters, and no single pixels."""
    from scipy.ndimage import find_objects, label

    found = np.zeros(same.shape, dtype=bool)
    regions, _ = label(same, structure=np.ones((3, 3)))
    sizes = np.bincount(regions.ravel())
    for number, box in enumerate(find_objects(regions), 1):
        small = max(s.stop - s.start for s in box) <= max(8, _LARGEST_SIGN * min(same.shape))
        if small and sizes[number] >= _LEAST_PIXELS:
            found[box] |= regions[box] == number
    return found
