"""Pictures of what is done to an X-ray or a volume before it is used, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.evaluation.pictures import window
from XVRegistrationLib.files import replacing
from XVRegistrationLib.imaging.describe import finite_range
from XVRegistrationLib.imaging.dicom.frames import stored_values
from XVRegistrationLib.imaging.inspection import axis_letters
from XVRegistrationLib.imaging.intensity import line_integral
from XVRegistrationLib.imaging.usable import left_out, usable

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.dicom.plain_words import DicomWords
    from XVRegistrationLib.imaging.partial import PartialXray
    from XVRegistrationLib.imaging.volume import Volume

_DPI, _PANEL = 110, 3.6  # inches a panel
_MOST_PIXELS = 1024
_OPPOSITE = dict(zip("RLAPHF", "LRPAFH", strict=True))
_SIDES = {"left": (0.03, 0.5), "right": (0.97, 0.5), "top": (0.5, 0.97), "bottom": (0.5, 0.03)}
_REASONS = (
    ("collimator", "#e69f00"),
    ("saturated", "#56b4e9"),
    ("text, marker", "#cc79a7"),
    ("by the file", "#009e73"),
    ("ignored", "#d55e00"),
)


def draw_xray(
    path: Path, parts: PartialXray, words: DicomWords | None, counts: NDArray[np.bool_] | None = None
) -> None:
    """Write a PNG: the image as stored, after the file's look-up tables, as line integrals, and what of it counts."""
    stored = None if words is None else stored_values(parts.path, parts.frame)
    p = _within_what_counts(parts, line_integral(parts))
    panels = [
        ("as understood: " + ("bright is radiation" if parts.scale == "intensity" else "bright is dense"), parts.pixels)
    ]
    if stored is not None:
        panels.insert(0, ("as stored", stored))
    panels.append(("line integral, bright is dense", p))
    figure, axes = _figure(len(panels) + 1)
    aspect = 1.0 if parts.spacing is None else parts.spacing[1] / parts.spacing[0]
    letters = _letters(*words.orientation) if words is not None and words.orientation is not None else {}
    for ax, (title, image) in zip(axes, panels, strict=False):
        _show(ax, window(_small(image)), title, aspect, letters)
    _show(axes[-1], _coloured(parts, p, counts), "what counts", aspect, letters)
    _legend(axes[-1], parts, counts)
    _save(figure, path)


def draw_volume(path: Path, volume: Volume) -> None:
    """Write a PNG: the middle slices across the three axes, with the sides of the patient."""
    figure, axes = _figure(3)
    i, j, k = axis_letters(volume)
    di, dj, dk = volume.spacing
    middle = [n // 2 for n in volume.array.shape]
    low, high = (-200.0, 800.0) if volume.units == "HU" else finite_range(volume.array)
    slices: tuple[tuple[str, NDArray[Any], str, str, float], ...] = (
        ("across k", volume.array[middle[0]], i, j, dj / di),
        ("across j", volume.array[:, middle[1]], i, k, dk / di),
        ("across i", volume.array[:, :, middle[2]], j, k, dk / dj),
    )
    for ax, (title, image, row, column, aspect) in zip(axes, slices, strict=True):
        finite = np.nan_to_num(image.astype(np.float32), nan=low, posinf=high, neginf=low)
        grey = np.clip((finite - low) / max(high - low, 1e-9), 0, 1)
        # Seen as radiologists do: head or front on top, the patient's left side or back at the right.
        if row in "RAF":
            grey, row = grey[:, ::-1], _OPPOSITE[row]
        if column in "HAR":
            grey, column = grey[::-1], _OPPOSITE[column]
        _show(ax, grey, title, aspect, _letters(row, column))
    _save(figure, path)


def _within_what_counts(parts: PartialXray, p: NDArray[np.float32]) -> NDArray[np.float32]:
    """Line integrals cut to the range of those that count, so that blades do not take the greys from them."""
    good = usable(parts)
    return p if good is None else np.clip(p, *np.percentile(p[good], [0.2, 99.8]))


def _coloured(parts: PartialXray, p: NDArray[np.float32], counts: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    """(H, W, 3) the line integrals, coloured where they do not count."""
    picture = np.repeat(window(_small(p))[..., None], 3, axis=2)
    for (_, color), where in zip(_REASONS, _reasons(parts, counts), strict=True):
        rgb = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)], dtype=np.float32)
        picture[_small(where)] = 0.35 * picture[_small(where)] + 0.65 * rgb
    return picture


def _reasons(parts: PartialXray, counts: NDArray[np.bool_] | None) -> tuple[NDArray[np.bool_], ...]:
    found = left_out(parts)
    by_user = np.zeros(found.marked.shape, dtype=bool) if counts is None else ~counts
    return found.collimated, found.saturated, found.marked, found.by_the_file, by_user


def _legend(ax: Axes, parts: PartialXray, counts: NDArray[np.bool_] | None) -> None:
    y = 0.0
    for (name, color), where in zip(_REASONS, _reasons(parts, counts), strict=True):
        if where.any():
            ax.text(
                0.0, -0.04 - y, f"{name}: {where.mean():.1%}", color=color, transform=ax.transAxes, va="top", fontsize=8
            )
            y += 0.05
    if not y:
        ax.text(0.0, -0.04, "everything", transform=ax.transAxes, va="top", fontsize=8)


def _figure(count: int) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_PANEL * count, _PANEL + 0.9), dpi=_DPI, layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(1, count)))


def _show(ax: Axes, image: NDArray[Any], title: str, aspect: float, letters: dict[str, str]) -> None:
    ax.imshow(image, cmap="gray", vmin=0, vmax=1, aspect=aspect if np.isfinite(aspect) and 0.01 < aspect < 100 else 1.0)
    ax.set_title(title, fontsize=9)
    ax.set_axis_off()
    for side, letter in letters.items():
        x, y = _SIDES[side]
        ax.text(x, y, letter, color="#00e5ff", transform=ax.transAxes, ha="center", va="center", fontsize=9)


def _letters(row: str, column: str) -> dict[str, str]:
    """The patient's side at each side of an image whose rows and columns run towards `row` and `column`."""
    return {
        "left": "".join(_OPPOSITE[c] for c in row),
        "right": row,
        "top": "".join(_OPPOSITE[c] for c in column),
        "bottom": column,
    }


def _small(image: NDArray[Any]) -> NDArray[Any]:
    k = max(1, -(-max(image.shape) // _MOST_PIXELS))
    return image[::k, ::k]


def _save(figure: Figure, path: Path) -> None:
    """Write the file without a word of metadata in it."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
