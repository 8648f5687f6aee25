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
