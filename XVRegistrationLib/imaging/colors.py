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

    CIELab with the white point D50 to XYZ (CIE 15), Bradford's adaptation to D65, and the sRGB curve (IEC 61966-2-1).
    """
    level = lightness / 65535 * 100
    y = (level + 16) / 116
    x, z = y + (a / 65535 * 255 - 128) / 500, y - (b / 65535 * 255 - 128) / 200
    white = (0.96422, 1.0, 0.82521)
    xyz = [
        w * (t**3 if t > 6 / 29 else 3 * (6 / 29) ** 2 * (t - 4 / 29)) for w, t in zip(white, (x, y, z), strict=True)
    ]
    # D50 XYZ to linear sRGB: Bradford's matrix and that of sRGB in one (Lindbloom).
    rows = (
        (3.1338561, -1.6168667, -0.4906146),
        (-0.9787684, 1.9161415, 0.0334540),
        (0.0719453, -0.2289914, 1.4052427),
    )
    linear = [min(max(sum(m * v for m, v in zip(row, xyz, strict=True)), 0.0), 1.0) for row in rows]
    red, green, blue = (12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in linear)
    return red, green, blue
