"""Pictures of what is done to an X-ray or a volume before it is used, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.evaluation.xray_steps import OPPOSITE, letters_of, xray_steps
from XVRegistrationLib.files import replacing
from XVRegistrationLib.imaging.colors import color_of_label
from XVRegistrationLib.imaging.describe import finite_range
from XVRegistrationLib.imaging.inspection_volume import axis_letters
from XVRegistrationLib.imaging.volume import Volume
from XVRegistrationLib.imaging.volumes.pixels import AIR

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from XVRegistrationLib.evaluation.xray_steps import Steps
    from XVRegistrationLib.imaging.dicom.plain_words import DicomWords
    from XVRegistrationLib.imaging.partial import PartialXray
    from XVRegistrationLib.imaging.segmentation import Segmentation

_DPI, _PANEL = 110, 3.6  # inches a panel
_PLANES = {frozenset("LP"): "axial", frozenset("LF"): "coronal", frozenset("PF"): "sagittal"}
_SIDES = {"left": (0.03, 0.5), "right": (0.97, 0.5), "top": (0.5, 0.97), "bottom": (0.5, 0.03)}


def draw_xray(
    path: Path, parts: PartialXray, words: DicomWords | None, counts: NDArray[np.bool_] | None = None
) -> None:
    """Write a PNG: the image as stored, after the file's look-up tables, as line integrals, and what of it counts."""
    steps = xray_steps(parts, words, counts)
    figure, axes = _figure(len(steps.images))
    for ax, step in zip(axes, steps.images, strict=True):
        _show(ax, step.image, step.title, steps.aspect, steps.letters)
    _legend(axes[-1], steps)
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
            image, row = image[:, ::-1], OPPOSITE[row]
        if column in "HAR":
            image, column = image[::-1], OPPOSITE[column]
        plane = _PLANES[frozenset(row + column) & frozenset("LPF")]
        _show(ax, image, f"{plane}, {how} {across}", aspect, letters_of(row, column))
    _save(figure, path)


def _legend(ax: Axes, steps: Steps) -> None:
    for i, (name, color, share) in enumerate(steps.left_out):
        at = -0.04 - 0.05 * i
        ax.text(0.0, at, f"{name}: {share:.1%}", color=color, transform=ax.transAxes, va="top", fontsize=8)
    if not steps.left_out:
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


def _save(figure: Figure, path: Path) -> None:
    """Write the file without a word of metadata in it."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
