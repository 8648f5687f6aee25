"""Pictures of what is done to an X-ray or a volume before it is used, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.evaluation.pictures import window
from XVRegistrationLib.files import replacing
from XVRegistrationLib.imaging.colors import color_of_label
from XVRegistrationLib.imaging.describe import finite_range
from XVRegistrationLib.imaging.dicom.frames import stored_values
from XVRegistrationLib.imaging.inspection_volume import axis_letters
from XVRegistrationLib.imaging.intensity import display_integral
from XVRegistrationLib.imaging.usable import left_out
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.imaging.volumes.pixels import AIR

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.dicom.plain_words import DicomWords
    from XVRegistrationLib.imaging.partial import PartialXray
    from XVRegistrationLib.imaging.segmentation import Segmentation

_DPI, _PANEL = 110, 3.6  # inches a panel
_MOST_PIXELS = 1024
_OPPOSITE = dict(zip("RLAPHF", "LRPAFH", strict=True))
_PLANES = {frozenset("LP"): "axial", frozenset("LF"): "coronal", frozenset("PF"): "sagittal"}
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
    p = display_integral(parts)
    panels = [
        ("as understood: " + ("bright is radiation" if parts.scale == "intensity" else "bright is dense"), parts.pixels)
    ]
    if stored is not None:
        panels.insert(0, ("as stored", stored))
    figure, axes = _figure(len(panels) + 2)
    aspect = 1.0 if parts.spacing is None else parts.spacing[1] / parts.spacing[0]
    letters = _letters(*words.orientation) if words is not None and words.orientation is not None else {}
    for ax, (title, image) in zip(axes, panels, strict=False):
        _show(ax, window(_small(image)), title, aspect, letters)
    _show(axes[-2], _small(p), "line integral, bright is dense", aspect, letters)
    _show(axes[-1], _coloured(parts, p, counts), "what counts", aspect, letters)
    _legend(axes[-1], parts, counts)
    _save(figure, path)


def draw_volume(path: Path, volume: Volume) -> None:
    """Write a PNG: slices across the three axes with the sides of the patient; of vessels what is most of them all.

    The slices are the middle ones, or, of structures' densities, those through the middle of the structures.
    """
    low, high = (-200.0, 800.0) if volume.units == "HU" else finite_range(volume.array)

    def grey(image: NDArray[Any]) -> NDArray[np.float32]:
        finite = np.nan_to_num(image.astype(np.float32), nan=low, posinf=high, neginf=low)
        return np.clip((finite - low) / max(high - low, 1e-9), 0, 1)

    array, reading = volume.array, volume.reading
    if reading is not None and reading.vessels is not None:
        highest = (grey(array.max(axis=0)), grey(array.max(axis=1)), grey(array.max(axis=2)))
        _draw_slices(path, volume, highest, "highest along")
        return
    dense = array > AIR if reading is not None and reading.segmentation is not None else None
    k, j, i = (n // 2 for n in array.shape) if dense is None else _middle_of(dense)
    _draw_slices(path, volume, (grey(array[k]), grey(array[:, j]), grey(array[:, :, i])))


def draw_structures(path: Path, found: Segmentation) -> None:
    """Write a PNG: the structures in their colours on the slices across the three axes through the middle of them all."""
    labels = found.label_map()
    k, j, i = _middle_of(labels.array > 0)
    colors = np.zeros((int(labels.array.max(initial=0)) + 1, 3), dtype=np.float32)
    for value in labels.names:
        colors[value] = found.colors.get(value, color_of_label(value))
    array = labels.array
    slices = (colors[array[k]], colors[array[:, j]], colors[array[:, :, i]])
    _draw_slices(path, Volume(array, labels.ijk_to_ras), slices)


def _middle_of(where: NDArray[np.bool_]) -> tuple[int, int, int]:
    """The indices k, j, i of the middle of what is true (K, J, I), or of the grid where nothing is."""
    middle = []
    for axis in range(3):
        inside = np.flatnonzero(where.any(axis=tuple({0, 1, 2} - {axis})))
        middle.append(int(inside[0] + inside[-1]) // 2 if inside.size else where.shape[axis] // 2)
    return middle[0], middle[1], middle[2]


def _draw_slices(
    path: Path, grid: Volume, slices: tuple[NDArray[Any], NDArray[Any], NDArray[Any]], how: str = "across"
) -> None:
    """Write a PNG of three slices (H, W) or (H, W, 3) across k, j and i of a grid; `how` says what they are of it."""
    figure, axes = _figure(3)
    i, j, k = axis_letters(grid)
    di, dj, dk = grid.spacing
    ways = (("k", i, j, dj / di), ("j", i, k, dk / di), ("i", j, k, dk / dj))
    for ax, image, (across, row, column, aspect) in zip(axes, slices, ways, strict=True):
        # Seen as radiologists do: head or front on top, the patient's left side or back at the right.
        if row in "RAF":
            image, row = image[:, ::-1], _OPPOSITE[row]
        if column in "HAR":
            image, column = image[::-1], _OPPOSITE[column]
        plane = _PLANES[frozenset(row + column) & frozenset("LPF")]
        _show(ax, image, f"{plane}, {how} {across}", aspect, _letters(row, column))
    _save(figure, path)


def _coloured(parts: PartialXray, p: NDArray[np.float32], counts: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    """(H, W, 3) the line integrals, coloured where they do not count."""
    picture = np.repeat(_small(p)[..., None], 3, axis=2)
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
