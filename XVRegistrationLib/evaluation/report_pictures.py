"""The pictures of a report: an X-ray, its DRR, and the X-ray with what falls on it, as JPEG files in memory.

Made with Pillow, which Slicer's Python has, and without matplotlib, which it lacks.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.pictures import drr_edges, side_markers, window
from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.imaging.intensity import display_integral
from XVRegistrationLib.imaging.xray_labels import inner_edge
from XVRegistrationLib.registration.uncertainty import ellipse_points, target_uncertainty

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

    from XVRegistrationLib.evaluation.pictures import Outline
    from XVRegistrationLib.imaging.xray import Xray
    from XVRegistrationLib.registration.export_table import Target
    from XVRegistrationLib.registration.result import Registration
    from XVRegistrationLib.rendering.pyramid import Pyramid

PIXELS = 900
"""Along the longer side of a picture."""
DRR_PIXELS = 512
EDGES = "#ffb000"
TARGETS = "#00e5ff"
_MARKERS = "#ffe680"
_QUALITY = 90
_THICKNESS = 2  # px of an outline
_RADIUS = 0.010
"""Of a target's circle, as a share of the longer side."""


@dataclass(frozen=True)
class ReportPictures:
    """JPEG files, and what is drawn."""

    xray: bytes
    overlay: bytes
    """The X-ray with outlines and targets; with the edges of the DRR where there are no structures."""
    drr: bytes = b""
    """Empty where no volume was at hand to render it."""
    legend: tuple[tuple[str, str], ...] = ()
    """What is drawn on the overlay, and its colour (#rrggbb)."""


def report_pictures(
    xray: Xray,
    found: Registration,
    drr: NDArray[np.float32] | None,
    outlines: Sequence[Outline] = (),
    targets: Sequence[Target] = (),
) -> ReportPictures:
    """The pictures of a registered X-ray; `drr` (h, w) are line integrals of the same field of view, None without a volume.

    `outlines` are masks (H, W) of structures on the X-ray, `targets` names and points (3,), RAS mm. Raises InputError for
    an X-ray that shows nothing.
    """
    from PIL import Image

    dx, dy = found.intrinsics.spacing
    width, height = found.intrinsics.size
    scale = PIXELS / max(width, height * dy / dx)
    size = max(1, round(width * scale)), max(1, round(height * dy / dx * scale))
    grey = _grey(display_integral(xray), size)
    markers = side_markers(found.pose, found.intrinsics)
    rendered = None if drr is None else _grey(window(drr), size)
    painted, legend = np.array(grey.convert("RGB")), []
    shown = [(name, color, mask) for name, color, mask in outlines if mask.any()]
    for name, color, mask in shown:
        rgb = (round(255 * color[0]), round(255 * color[1]), round(255 * color[2]))
        painted[_outline(mask, size)] = rgb
        legend.append((name.replace("_", " "), "#{:02x}{:02x}{:02x}".format(*rgb)))
    if drr is not None and not shown:
        # Found in the DRR's own values: of grey values, enlarged, there are edges everywhere.
        edges = _enlarged(drr_edges(window(drr))[..., 3] > 0, size)
        painted[edges] = _rgb(EDGES)
        legend.append(("edges of the DRR", EDGES))
    overlay = Image.fromarray(painted)
    if targets:
        to_picture = np.array([size[0] / width, size[1] / height])
        legend += _draw_targets(overlay, found, targets, to_picture)
    pictures = [_with_markers(image, markers) for image in (grey, rendered, overlay) if image is not None]
    files = [_jpeg(image) for image in pictures]
    drawn = tuple(dict(legend).items())
    made = ReportPictures(files[0], files[-1], legend=drawn)
    return made if rendered is None else replace(made, drr=files[1])


def _grey(image: NDArray[np.float32], size: tuple[int, int]) -> Picture:
    """Grey values (H, W) from 0 to 1 as an image of this size."""
    from PIL import Image

    return Image.fromarray(np.round(255 * image).astype(np.uint8)).resize(size, Image.Resampling.LANCZOS)


def _enlarged(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    from PIL import Image

    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))


def _outline(mask: NDArray[np.bool_], size: tuple[int, int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the pixels of a picture of this size that are at the inner border of a mask (H, W).

    Only the part that the structure takes is enlarged: a chest CT has ninety of them.
    """
    from PIL import Image

    (height, width), there = mask.shape, [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    scale = size[1] / height, size[0] / width
    low = [max(0, int((found[0] - 1) * s)) for found, s in zip(there, scale, strict=True)]
    high = [min(n, int(np.ceil((found[-1] + 2) * s))) for found, s, n in zip(there, scale, size[::-1], strict=True)]
    box = (low[1] / scale[1], low[0] / scale[0], min(width, high[1] / scale[1]), min(height, high[0] / scale[0]))
    part = Image.fromarray(255 * mask.astype(np.uint8))
    part = part.resize((high[1] - low[1], high[0] - low[0]), Image.Resampling.BILINEAR, box=box)
    rows, columns = np.nonzero(inner_edge(np.asarray(part) > 127, _THICKNESS))
    return rows + low[0], columns + low[1]


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _draw_targets(
    image: Picture, found: Registration, targets: Sequence[Target], scale: NDArray[np.float64]
) -> list[tuple[str, str]]:
    """Circles and names at the targets, and their 95 % ellipses; the legend's entries."""
    from PIL import ImageDraw

    draw, font = ImageDraw.Draw(image), _font(0.024)
    points = np.array([point for _, point in targets])
    pixels = np.array([project(point, found.pose, found.intrinsics) for point in points])
    places = (pixels + 0.5) * scale - 0.5
    radius, legend = _RADIUS * PIXELS, [("targets", TARGETS)]
    for outline in _ellipses(found, points):
        ring = [(float(x), float(y)) for x, y in (outline + 0.5) * scale - 0.5]
        if np.ptp(ring, axis=0).max() >= 2:
            draw.line([*ring, ring[0]], fill=EDGES, width=2)
            legend.append(("95 % ellipses of the targets", EDGES))
    for (name, _), (x, y) in zip(targets, places, strict=True):
        if not np.isfinite((x, y)).all() or not (0 <= x < image.width and 0 <= y < image.height):
            continue
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=TARGETS, width=2)
        inwards = x > 0.65 * image.width
        place = (x - 1.5 * radius, y) if inwards else (x + 1.5 * radius, y)
        style: dict[str, Any] = {"fill": TARGETS, "stroke_width": 2, "stroke_fill": "black", "font": font}
        draw.text(place, name, anchor="rm" if inwards else "lm", **style)
    return legend


def _ellipses(found: Registration, points: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Outlines (n, 2), stored px; none where the registration states no uncertainty."""
    try:
        spread = target_uncertainty(found, points)
    except InputError:
        return []
    outlines = (ellipse_points(spread, i) for i in range(len(points)))
    return [outline for outline in outlines if np.isfinite(outline).all()]


def _with_markers(image: Picture, markers: dict[str, str]) -> Picture:
    """A copy in colour with the patient's sides at its four."""
    from PIL import ImageDraw

    marked = image.convert("RGB")
    draw, font = ImageDraw.Draw(marked), _font(0.04)
    (width, height), gap = image.size, 0.012 * PIXELS
    places = {
        "left": ((gap, height / 2), "lm"),
        "right": ((width - gap, height / 2), "rm"),
        "top": ((width / 2, gap), "mt"),
        "bottom": ((width / 2, height - gap), "mb"),
    }
    for side, letter in markers.items():
        place, anchor = places[side]
        style: dict[str, Any] = {"fill": _MARKERS, "stroke_width": 2, "stroke_fill": "black", "font": font}
        draw.text(place, letter, anchor=anchor, **style)
    return marked


def _font(share: float) -> Any:
    """The font that comes with Pillow, so high as this share of a picture's longer side."""
    from PIL import ImageFont

    return ImageFont.load_default(round(share * PIXELS))


def _jpeg(image: Picture) -> bytes:
    file = io.BytesIO()
    image.save(file, format="JPEG", quality=_QUALITY, subsampling=0)
    return file.getvalue()


def rendered_drr(pyramid: Pyramid, found: Registration) -> NDArray[np.float32]:
    """The volume as the X-ray's camera sees it at the pose found: line integrals (h, w), `DRR_PIXELS` along the longer side."""
    from XVRegistrationLib.rendering.render import render, sample_distance

    grid, camera = pyramid.finest, found.intrinsics.fitted(DRR_PIXELS)
    # On a chest CT no pixel's grey value (of 255) is more than one away from that of steps a quarter as long.
    image: NDArray[np.float32] = render(grid, found.pose[None], camera, 2 * sample_distance(grid))[0].cpu().numpy()
    return image
