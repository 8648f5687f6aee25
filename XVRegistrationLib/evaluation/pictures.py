"""Pictures for people: an X-ray beside the DRR at its pose, with structures drawn on it, and the training's course.

Figures are made without pyplot, so that nothing is shared with, or left in, a program that plots for itself.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.files import replacing
from XVRegistrationLib.geometry.rigid import check_rigid
from XVRegistrationLib.imaging.colors import Color

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics

Outline = tuple[str, Color, "NDArray[np.bool_]"]
"""Name, colour, and mask (H, W) of a structure on the X-ray."""
Target = tuple[str, tuple[float, float]]
"""Name and stored pixel (column, row) of a planned point."""

_OUTSIDE = {"left": (0.02, 0.5), "right": (0.98, 0.5), "top": (0.5, 0.98), "bottom": (0.5, 0.02)}
_DPI = 110
_TARGETS, _ELLIPSES = "#00e5ff", "#ffb000"
_EDGES = (1.0, 0.69, 0.0, 1.0)  # red, green, blue, opacity
_STEEP = (88.0, 96.0)  # percentiles of the slopes that an edge goes on over, and that it needs somewhere
_SMOOTHED = 4.0  # variance, px of the DRR squared
_SEEN = 1.0  # px of the picture


def can_draw() -> bool:
    """Whether there is what draws pictures; Slicer's Python may have none."""
    return find_spec("matplotlib") is not None


def window(image: ArrayLike, low: float = 1.0, high: float = 99.7) -> NDArray[np.float32]:
    """Grey values (H, W) scaled to 0..1 between two percentiles; a flat image becomes zero."""
    values = np.asarray(image, dtype=np.float32)
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return np.zeros_like(values)
    bottom, top = np.percentile(finite, [low, high])
    if top <= bottom:
        return np.zeros_like(values)
    return np.nan_to_num(np.clip((values - bottom) / (top - bottom), 0.0, 1.0))


def side_markers(pose: ArrayLike, intrinsics: Intrinsics) -> dict[str, str]:
    """The patient's side (R, L, A, P, H or F) that each side of the stored image ("left", "right", "top", "bottom") faces.

    An oblique view gets the side that dominates.
    """
    matrix = check_rigid(pose)
    rightward = -matrix[:3, 0] if intrinsics.mirrored else matrix[:3, 0]
    downward = matrix[:3, 1]
    return {
        "left": _side(-rightward),
        "right": _side(rightward),
        "top": _side(-downward),
        "bottom": _side(downward),
    }


def _side(direction: NDArray[np.float64]) -> str:
    axis = int(np.argmax(np.abs(direction)))
    return ("RL", "AP", "HF")[axis][0 if direction[axis] > 0 else 1]


def xray_picture(
    path: str | os.PathLike[str],
    xray_image: NDArray[Any],
    drr: NDArray[Any],
    outlines: Sequence[Outline] = (),
    targets: Sequence[Target] = (),
    title: str = "",
    markers: dict[str, str] | None = None,
    aspect: float = 1.0,
    ellipses: Sequence[NDArray[np.float64]] = (),
) -> None:
    """Write a picture of three panels: the X-ray, the DRR at the pose found, and the X-ray with outlines and targets.

    Without any of those the last panel has the edges of the DRR on the X-ray, so that the pose can be judged.

    `xray_image` (H, W) is display grey, 0..1 with dense bright; `drr` (h, w) are line integrals of the same field of view;
    `aspect` is a pixel's height over its width; `markers` come from `side_markers`; `ellipses` are outlines (n, 2) of the
    targets' 95 % ellipses, stored px, of which those are drawn that can be seen.
    """
    from matplotlib.figure import Figure

    height, width = xray_image.shape
    for name, _, mask in outlines:
        if mask.shape != xray_image.shape:
            raise ValueError(f"The outline of {name} has shape {mask.shape}, the X-ray {xray_image.shape}.")
    entries = len({name for name, _, _ in outlines}) + bool(targets) + bool(ellipses)
    columns = 6
    legend_inches = 0.25 * -(-entries // columns) + 0.15 if entries else 0.1
    heading = 0.75 if title else 0.35
    panel = 4.6
    panel_height = panel * float(np.clip(aspect * height / width, 0.4, 2.5))
    figure = Figure(figsize=(3 * panel + 0.4, panel_height + legend_inches + heading + 0.1), facecolor="white")
    total = figure.get_figheight()
    grid = figure.add_gridspec(
        1, 3, left=0.01, right=0.99, bottom=legend_inches / total, top=1 - heading / total, wspace=0.03
    )
    # One extent for both images, whatever their resolution: pixel centres of the X-ray at integers.
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    panels = [
        ("X-ray", xray_image),
        ("DRR at the pose found", window(drr)),
        (f"X-ray with {_drawn(outlines, targets)}", xray_image),
    ]
    for i, (name, image) in enumerate(panels):
        axes = figure.add_subplot(grid[0, i])
        axes.imshow(image, cmap="gray", vmin=0, vmax=1, extent=extent, aspect=aspect, interpolation="antialiased")
        axes.set_title(name, fontsize=11)
        axes.set_xticks([])
        axes.set_yticks([])
        _draw_markers(axes, markers or {})
    axes = figure.axes[-1]
    if not (outlines or targets):
        axes.imshow(drr_edges(window(drr)), extent=extent, aspect=aspect, interpolation="antialiased")
    handles = _draw_outlines(axes, outlines) + _draw_targets(axes, targets, width)
    handles += _draw_ellipses(axes, ellipses, panel * _DPI / width * np.array([1.0, aspect]))
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    if handles:
        figure.legend(handles=handles, loc="lower center", ncols=columns, fontsize=9, frameon=False)
    if title:
        figure.suptitle(title, fontsize=13, y=1 - 0.12 / total, va="top")
    save_figure(figure, path)


def _drawn(outlines: Sequence[Outline], targets: Sequence[Target]) -> str:
    said = [name for name, there in (("structures", outlines), ("targets", targets)) if there]
    return " and ".join(said) or "edges of the DRR"


def drr_edges(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """(H, W, 4) the edges of an image of 0..1 (Canny's), as a colour over what is below them."""
    import SimpleITK as sitk

    grey = sitk.GetImageFromArray(image)
    steep = sitk.GetArrayFromImage(sitk.GradientMagnitudeRecursiveGaussian(grey, _SMOOTHED**0.5))
    rgba = np.zeros((*image.shape, 4), dtype=np.float32)
    if steep.max() > 0:
        low, high = np.percentile(steep[steep > 0.01 * steep.max()], _STEEP)
        found = sitk.CannyEdgeDetection(
            grey, lowerThreshold=float(low), upperThreshold=float(high), variance=[_SMOOTHED, _SMOOTHED]
        )
        rgba[sitk.GetArrayFromImage(found) > 0] = _EDGES
    return rgba


def training_curve(path: str | os.PathLike[str], history: Sequence[tuple[float, float, float | None]]) -> None:
    """Write a picture of (seconds, loss in mm, validation error in mm or None) against time: two axes, one a colour."""
    from matplotlib.figure import Figure

    seconds = np.array([h[0] for h in history], dtype=np.float64)
    loss = np.array([h[1] for h in history], dtype=np.float64)
    error = np.array([np.nan if h[2] is None else h[2] for h in history], dtype=np.float64)
    in_minutes = len(seconds) > 0 and seconds[-1] >= 120
    time = seconds / 60 if in_minutes else seconds
    figure = Figure(figsize=(8, 4), facecolor="white", layout="constrained")
    left = figure.add_subplot()
    left.plot(time, loss, color="tab:blue", linewidth=1.2)
    left.set_xlabel("training time, minutes" if in_minutes else "training time, seconds")
    left.set_ylabel("training loss (geodesic distance), mm", color="tab:blue")
    left.tick_params(axis="y", labelcolor="tab:blue")
    left.set_ylim(bottom=0)
    left.grid(alpha=0.25)
    known = np.isfinite(error)
    if known.any():
        right = left.twinx()
        right.plot(time[known], error[known], color="tab:red", marker="o", markersize=4, linewidth=1.2)
        right.set_ylabel("validation error (median point distance), mm", color="tab:red")
        right.tick_params(axis="y", labelcolor="tab:red")
        right.set_ylim(bottom=0)
    left.set_title("Training")
    save_figure(figure, path)


def _draw_markers(axes: Axes, markers: dict[str, str]) -> None:
    from matplotlib.patheffects import withStroke

    for side, letter in markers.items():
        x, y = _OUTSIDE[side]
        axes.text(
            x,
            y,
            letter,
            transform=axes.transAxes,
            color="#ffe680",
            fontsize=13,
            fontweight="bold",
            ha={"left": "left", "right": "right"}.get(side, "center"),
            va={"top": "top", "bottom": "bottom"}.get(side, "center"),
            path_effects=[withStroke(linewidth=2.5, foreground="black")],
        )


def _draw_outlines(axes: Axes, outlines: Sequence[Outline]) -> list[Any]:
    """Draw the contours; the legend's entries, one a name."""
    from matplotlib.lines import Line2D

    handles: dict[str, Line2D] = {}
    for name, color, mask in outlines:
        # A structure out of the picture has no contour, and the border of one that is cut off is drawn as its outline.
        if not mask.any():
            continue
        padded = np.pad(mask.astype(np.float32), 1)
        rows, columns = np.arange(-1, mask.shape[0] + 1), np.arange(-1, mask.shape[1] + 1)
        axes.contour(columns, rows, padded, levels=[0.5], colors=[color], linewidths=1.3)
        handles.setdefault(name, Line2D([], [], color=color, linewidth=2.5, label=name.replace("_", " ")))
    return list(handles.values())


def _draw_targets(axes: Axes, targets: Sequence[Target], width: int) -> list[Any]:
    """Draw circles with names beside them; the legend's entry."""
    from matplotlib.patheffects import withStroke

    color = _TARGETS
    handles: list[Any] = []
    for name, (column, row) in targets:
        circle: dict[str, Any] = {"marker": "o", "markersize": 8, "markerfacecolor": "none", "markeredgewidth": 1.8}
        handles = axes.plot([column], [row], linestyle="none", markeredgecolor=color, label="targets", **circle)
        # Names at the right end of the image go to the left of their circle, where there is room.
        inwards = column > 0.65 * width
        axes.annotate(
            name,
            (column, row),
            xytext=(-7 if inwards else 7, 5),
            textcoords="offset points",
            ha="right" if inwards else "left",
            color=color,
            fontsize=9,
            fontweight="bold",
            path_effects=[withStroke(linewidth=2.5, foreground="black")],
            annotation_clip=True,
        )
    return handles


def _draw_ellipses(axes: Axes, ellipses: Sequence[NDArray[np.float64]], scale: NDArray[np.float64]) -> list[Any]:
    """Draw the ellipses that reach a pixel of the picture from their centres; the legend's entry.

    `scale` (2,) is the picture's pixels to one of the X-ray's, along columns and rows.
    """
    from matplotlib.patheffects import withStroke

    handles: list[Any] = []
    for outline in ellipses:
        reach = np.linalg.norm((outline - outline.mean(axis=0)) * scale, axis=1).max()
        if reach >= _SEEN:  # false for NaN
            closed = np.vstack([outline, outline[:1]])
            under = [withStroke(linewidth=2.2, foreground="black")]
            handles = axes.plot(*closed.T, color=_ELLIPSES, linewidth=1.2, path_effects=under, label="95 % ellipses")
    return handles


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, whole or not at all, and empty it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)
    # Figures and axes refer to each other: without this their images stay until the next full garbage collection.
    figure.clear()
