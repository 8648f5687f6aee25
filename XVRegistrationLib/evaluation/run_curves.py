"""How the pose changes over the frames of a run, as a picture: shifts and turns since the first frame, and the verdicts.

Made with Pillow, which Slicer's Python has, and without matplotlib, which it lacks.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.geometry.detector_motion import AXES, motions_since_first
from XVRegistrationLib.registration.looks import VERDICT_LOOKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.registration.looks import Look

AXIS_COLORS = (
    (0.0, 0.45, 0.70),
    (0.90, 0.60, 0.0),
    (0.0, 0.62, 0.45),
    (0.80, 0.47, 0.65),
    (0.34, 0.71, 0.91),
    (0.84, 0.37, 0.0),
)
"""In the order of `detector_motion.AXES`; told apart by the colour-blind (Okabe and Ito)."""

WIDTH, HEIGHT = 900, 300
_LEFT, _TOP, _BOTTOM, _GAP = 50, 34, 56, 16  # px
_TEXT, _GREY, _LIGHT = "#1b1f24", "#8c96a0", "#e6e9ec"
_FONT_PIXELS = 15
_MARK = 5.0
"""px from a mark's middle to its border."""
_LEAST_MARK = 3.0
"""The same where a mark still has a shape."""
_QUALITY = 92
_LEAST = 0.5
"""mm or degrees that the height of a plot stands for at least: noise of some hundredths is no motion."""


def run_curves(
    numbers: Sequence[int],
    poses: Sequence[ArrayLike | None],
    verdicts: Sequence[str],
    shown: int,
    pivot: ArrayLike,
    mirrored: bool,
) -> bytes:
    """A JPEG file of the motions of a run's frames with these numbers, poses (4, 4), None where there is none, and verdicts.

    Motions are about `pivot` (3,), RAS mm, as `motions_since_first` has them; a line marks the frame that is `shown`.
    """
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    motions = motions_since_first(poses, pivot, mirrored)
    for half, unit in enumerate(("mm", "degrees")):
        box = (half * WIDTH // 2 + _LEFT, _TOP, (half + 1) * WIDTH // 2 - _GAP, HEIGHT - _BOTTOM)
        axes = range(3 * half, 3 * half + 3)
        _draw_plot(draw, box, numbers, motions[:, axes], [AXIS_COLORS[axis] for axis in axes], shown)
        _draw_words(draw, box, [(AXES[axis], AXIS_COLORS[axis]) for axis in axes], unit)
        _draw_verdicts(draw, box, numbers, verdicts)
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=_QUALITY, subsampling=0)
    return file.getvalue()


Box = tuple[int, int, int, int]


def _across(box: Box, numbers: Sequence[int], number: float) -> float:
    """Column of a frame."""
    low, high = min(numbers) - 0.5, max(numbers) + 0.5
    return box[0] + (number - low) / (high - low) * (box[2] - box[0])


def _draw_plot(
    draw: Any,
    box: Box,
    numbers: Sequence[int],
    motions: NDArray[np.float64],
    colors: Sequence[tuple[float, float, float]],
    shown: int,
) -> None:
    """Axes, and a curve of each column of `motions` (n, 3), broken where a frame has none."""
    known = motions[np.isfinite(motions).all(axis=1)]
    low, high = (float(f(known, initial=0.0)) for f in (np.min, np.max))
    more = max(0.0, _LEAST - (high - low)) / 2 + 0.05 * (high - low)
    low, high = low - more, high + more

    def down(value: float) -> float:
        return box[3] - (value - low) / (high - low) * (box[3] - box[1])

    step = _round_step((high - low) / 4)
    for tick in np.arange(np.ceil(low / step), np.floor(high / step) + 1) * step:
        draw.line([(box[0], down(tick)), (box[2], down(tick))], fill=_LIGHT)
        draw.text((box[0] - 6, down(tick)), f"{tick + 0.0:g}", anchor="rm", fill=_TEXT, font=_font())
    column = _across(box, numbers, shown)
    draw.line([(column, box[1]), (column, box[3])], fill=_GREY, width=2)
    for values, color in zip(motions.T, colors, strict=True):
        before = None
        for number, value in zip(numbers, values, strict=True):
            now = (_across(box, numbers, number), down(value)) if np.isfinite(value) else None
            if now is not None:
                draw.ellipse((now[0] - 2, now[1] - 2, now[0] + 2, now[1] + 2), fill=_rgb(color))
            if now is not None and before is not None:
                draw.line([before, now], fill=_rgb(color), width=2)
            before = now
    draw.rectangle(box, outline=_GREY)


def _draw_words(draw: Any, box: Box, curves: Sequence[tuple[str, tuple[float, float, float]]], unit: str) -> None:
    """What the curves are, above the plot."""
    column: float = box[0]
    for name, color in curves:
        draw.line([(column, _TOP / 2), (column + 16, _TOP / 2)], fill=_rgb(color), width=3)
        draw.text((column + 21, _TOP / 2), name, anchor="lm", fill=_TEXT, font=_font())
        column += 35 + draw.textlength(name, font=_font())
    draw.text((box[2], _TOP / 2), unit, anchor="rm", fill=_TEXT, font=_font())


def _draw_verdicts(draw: Any, box: Box, numbers: Sequence[int], verdicts: Sequence[str]) -> None:
    """The verdict's mark for each frame that has one, and some of the frames' numbers, below the plot."""
    half = min(_MARK, (box[2] - box[0]) / (max(numbers) - min(numbers) + 1) / 2)
    for number, verdict in zip(numbers, verdicts, strict=True):
        if verdict in VERDICT_LOOKS:
            _draw_mark(draw, (_across(box, numbers, number), box[3] + 10), half, VERDICT_LOOKS[verdict])
    for number in sorted(
        {numbers[i] for i in np.linspace(0, len(numbers) - 1, min(len(numbers), 6)).round().astype(int)}
    ):
        draw.text((_across(box, numbers, number), box[3] + 18), str(number), anchor="mt", fill=_TEXT, font=_font())
    draw.text(((box[0] + box[2]) / 2, HEIGHT - 2), "frame", anchor="mb", fill=_TEXT, font=_font())


def _draw_mark(draw: Any, place: tuple[float, float], half: float, look: Look) -> None:
    """A mark about a place (column, row), twice `half` wide; where that is too narrow for a shape, a bar of its colour."""
    x, y = place
    box = (x - half, y - half, x + half, y + half)
    if half < _LEAST_MARK:
        draw.rectangle((x - half, y - _MARK, x + half, y + _MARK), fill=look.color)
    elif look.shape == "circle":
        draw.ellipse(box, fill=look.color)
    elif look.shape == "diamond":
        draw.polygon([(x - half, y), (x, y - half), (x + half, y), (x, y + half)], fill=look.color)
    else:
        draw.line(box, fill=look.color, width=3)
        draw.line((x - half, y + half, x + half, y - half), fill=look.color, width=3)


def _round_step(step: float) -> float:
    """The next of 1, 2, 5, 10, ... that is not smaller."""
    scale = 10.0 ** np.floor(np.log10(step))
    return float(next(scale * n for n in (1, 2, 5, 10) if scale * n >= step * (1 - 1e-9)))


def _rgb(color: tuple[float, float, float]) -> tuple[int, int, int]:
    return round(255 * color[0]), round(255 * color[1]), round(255 * color[2])


def _font() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(_FONT_PIXELS)
