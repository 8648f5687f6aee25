"""What the shutters and collimator blades that a DICOM file states leave open.

The display shutter (PS3.3, C.7.6.11), also as a bitmap (C.7.6.15), and the X-ray collimator (C.8.7.3) are described alike.
Rows and columns are counted from 1. What lies on an edge is not taken to be open, unless it is the image's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.imaging.dicom.dataset import numbers, positive

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset


def opening(dataset: Dataset) -> NDArray[np.bool_] | None:
    """(H, W) pixels that no stated shutter or blade covers; None where none covers any, or nothing would be left."""
    height, width = int(dataset.Rows), int(dataset.Columns)
    open_ = np.ones((height, width), dtype=bool)
    for kind in ("Shutter", "Collimator"):
        shapes = dataset.get(f"{kind}Shape") or ()
        for shape in (shapes,) if isinstance(shapes, str) else shapes:
            match str(shape).upper():
                case "RECTANGULAR":
                    open_ &= _rectangle(dataset, kind, height, width)
                case "CIRCULAR":
                    open_ &= _circle(dataset, kind, height, width)
                case "POLYGONAL":
                    open_ &= _polygon(dataset, kind, height, width)
                case "BITMAP":
                    open_ &= _bitmap(dataset, height, width)
    return None if open_.all() or not open_.any() else open_


def _rectangle(dataset: Dataset, kind: str, height: int, width: int) -> NDArray[np.bool_]:
    def edge(name: str, otherwise: int) -> float:
        value = numbers(dataset, f"{kind}{name}Edge", 1)
        return otherwise if value is None else value[0]

    # A shutter on the image's border hides nothing.
    left, upper = edge("LeftVertical", 1), edge("UpperHorizontal", 1)
    right, lower = edge("RightVertical", width), edge("LowerHorizontal", height)
    row, column = np.arange(1, height + 1)[:, None], np.arange(1, width + 1)[None]
    return (
        ((column > left) | (left <= 1))
        & ((column < right) | (right >= width))
        & ((row > upper) | (upper <= 1))
        & ((row < lower) | (lower >= height))
    )


def _circle(dataset: Dataset, kind: str, height: int, width: int) -> NDArray[np.bool_]:
    """The radius is a number of pixels along a row; where pixels are not square the circle is an ellipse of pixels."""
    center = numbers(dataset, f"CenterOfCircular{kind}", 2)
    radius = positive(dataset, f"RadiusOfCircular{kind}", 1)
    if center is None or radius is None:
        return np.ones((height, width), dtype=bool)
    spacing = positive(dataset, "ImagerPixelSpacing", 2) or positive(dataset, "PixelSpacing", 2) or (1.0, 1.0)
    row = (np.arange(1, height + 1)[:, None] - center[0]) * spacing[0] / spacing[1]
    column = np.arange(1, width + 1)[None] - center[1]
    return np.asarray(row**2 + column**2 < radius[0] ** 2)


def _polygon(dataset: Dataset, kind: str, height: int, width: int) -> NDArray[np.bool_]:
    """Inside by the even-odd rule, row by row; the last vertex is joined to the first."""
    name = f"VerticesOfThePolygonal{kind}"
    count = int(np.size(dataset.get(name))) // 2
    values = numbers(dataset, name, 2 * count) if count >= 3 else None
    if values is None:
        return np.ones((height, width), dtype=bool)
    vertices = np.array(values).reshape(count, 2)
    ends = np.roll(vertices, -1, axis=0)
    columns = np.arange(1, width + 1)
    inside = np.zeros((height, width), dtype=bool)
    for row in range(1, height + 1):
        crossed = (vertices[:, 0] <= row) != (ends[:, 0] <= row)
        (r0, c0), (r1, c1) = vertices[crossed].T, ends[crossed].T
        at = np.sort(c0 + (row - r0) / (r1 - r0) * (c1 - c0))
        inside[row - 1] = np.searchsorted(at, columns) % 2 == 1
    return inside


def _bitmap(dataset: Dataset, height: int, width: int) -> NDArray[np.bool_]:
    """Bits of an overlay that are set are covered; an overlay that cannot be read covers nothing."""
    open_ = np.ones((height, width), dtype=bool)
    group = numbers(dataset, "ShutterOverlayGroup", 1)
    if group is None:
        return open_
    try:
        covered = np.asarray(dataset.overlay_array(int(group[0]))).astype(bool)
        origin = dataset.get((int(group[0]), 0x0050))
        top, left = (int(v) - 1 for v in (origin.value if origin is not None else (1, 1)))
    except (AttributeError, KeyError, TypeError, ValueError):
        return open_
    rows, columns = np.nonzero(covered)
    within = (rows + top >= 0) & (rows + top < height) & (columns + left >= 0) & (columns + left < width)
    open_[rows[within] + top, columns[within] + left] = False
    return open_
