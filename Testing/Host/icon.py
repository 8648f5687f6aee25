"""The module's icon: an X-ray source, its cone through a spine, and the detector. `python -m Testing.Host.icon PNG`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

ICON = Path(__file__).resolve().parents[2] / "XVRegistration/Resources/Icons/XVRegistration.png"
SIZE = 128  # px, as the Extensions Index asks for
_FINE = 8  # drawn this many times larger, so that edges are smooth
_NIGHT, _AMBER, _CONE, _BONE, _BLUE = (12, 33, 54), (250, 176, 40), (118, 108, 74), (240, 231, 205), (70, 160, 240)
_SOURCE, _DETECTOR = (24, 20), ((56, 113), (117, 58))
_VERTEBRAE = (57, 47), (60, 64), (63, 81)


def draw() -> Image.Image:
    """The icon, (128, 128) RGBA with transparent corners."""
    image = Image.new("RGBA", (SIZE * _FINE,) * 2)
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle(_scaled((4, 4), (123, 123)), 20 * _FINE, fill=_NIGHT)
    pen.polygon(_scaled(_SOURCE, *_DETECTOR), fill=_CONE)
    for center in _VERTEBRAE:
        _vertebra(pen, center)
    for end in _DETECTOR:
        pen.line(_scaled(_SOURCE, end), fill=_AMBER, width=2 * _FINE)
    pen.line(_scaled(*_DETECTOR), fill=_BLUE, width=6 * _FINE)
    pen.ellipse(_scaled(np.subtract(_SOURCE, 8), np.add(_SOURCE, 8)), fill=_AMBER)
    return image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def _vertebra(pen: ImageDraw.ImageDraw, center: tuple[float, float]) -> None:
    """A body, with a process on either side, from the front."""
    for side in (-1, 1):
        tip = np.add(center, (side * 15, 3))
        pen.line(_scaled(center, tip), fill=_BONE, width=4 * _FINE)
        pen.ellipse(_scaled(tip - 2, tip + 2), fill=_BONE)
    pen.rounded_rectangle(_scaled(np.subtract(center, (9, 6)), np.add(center, (9, 6))), 3 * _FINE, fill=_BONE)


def _scaled(*points: object) -> list[tuple[float, float]]:
    return [(float(x) * _FINE, float(y) * _FINE) for x, y in np.asarray(points, dtype=float)]


if __name__ == "__main__":
    draw().save(Path(sys.argv[1]) if sys.argv[1:] else ICON, optimize=True)
