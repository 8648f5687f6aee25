"""Colours of labels, the same in every picture and scene."""

from __future__ import annotations

import colorsys

Color = tuple[float, float, float]
"""Red, green and blue, 0 to 1."""

# Turning the hue by the golden ratio keeps any number of successive labels apart.
_GOLDEN_RATIO = 0.618033988749895
_SHADES = ((0.75, 0.95), (0.5, 1.0), (0.85, 0.75))


def color_of_label(value: int) -> Color:
    """A colour for a label value: always the same one, and unlike its neighbours'."""
    saturation, brightness = _SHADES[value % len(_SHADES)]
    return colorsys.hsv_to_rgb(value * _GOLDEN_RATIO % 1.0, saturation, brightness)


def rgb_of_cielab(lightness: int, a: int, b: int) -> Color:
    """sRGB colour of a DICOM CIELab value, three 16-bit numbers (PS3.3, C.10.7.1.1); out of the screen's range is clipped.

    CIELab to XYZ (CIE 15) and sRGB (IEC 61966-2-1), both with the white point D65: the standard's profile has D50, but
    highdicom and dcmqi, which write nearly all of these values, mean D65.
    """
    level = lightness / 65535 * 100
    y = (level + 16) / 116
    x, z = y + (a / 65535 * 255 - 128) / 500, y - (b / 65535 * 255 - 128) / 200
    white = (0.95047, 1.0, 1.08883)
    xyz = [
        w * (t**3 if t > 6 / 29 else 3 * (6 / 29) ** 2 * (t - 4 / 29)) for w, t in zip(white, (x, y, z), strict=True)
    ]
    rows = ((3.2404542, -1.5371385, -0.4985314), (-0.969266, 1.8760108, 0.041556), (0.0556434, -0.2040259, 1.0572252))
    linear = [min(max(sum(m * v for m, v in zip(row, xyz, strict=True)), 0.0), 1.0) for row in rows]
    red, green, blue = (12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in linear)
    return red, green, blue
