"""Small pictures of X-rays for lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.scene.volumes import voxels

if TYPE_CHECKING:
    from numpy.typing import NDArray


def thumbnail(node: Any, pixels: int = 48) -> NDArray[np.uint8]:
    """Grey values (h, w), 0 to 255, of a one-slice volume as it is displayed; its longer side has `pixels` pixels.

    Window and colours are the node's; unequal pixel spacings are evened out.
    """
    image = voxels(node)[0]
    rows, columns = image.shape
    dx, dy = node.GetSpacing()[:2]
    scale = pixels / max(columns * dx, rows * dy)
    small = _averaged(image, max(1, round(rows * dy * scale)), max(1, round(columns * dx * scale)))
    display = node.GetDisplayNode()
    if display is None:
        low, high = float(small.min()), float(small.max())
    else:
        low, high = display.GetWindowLevelMin(), display.GetWindowLevelMax()
    shares = np.clip((small - low) / max(high - low, 1e-12), 0.0, 1.0)
    return np.round(_brightness(display, shares) * 255).astype(np.uint8)


def _averaged(image: NDArray[Any], rows: int, columns: int) -> NDArray[np.float64]:
    """Means over a grid of (rows, columns) cells; where cells are smaller than pixels, the nearest pixel."""
    found = image.astype(np.float64)
    for axis, count in ((0, rows), (1, columns)):
        edges = np.arange(count) * found.shape[axis] // count
        widths = np.diff(np.append(edges, found.shape[axis]))
        if widths.min() > 0:
            sums = np.add.reduceat(found, edges, axis=axis)
            found = sums / np.expand_dims(widths, 1 - axis)
        else:
            found = np.take(found, edges, axis=axis)
    return found


def _brightness(display: Any, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Luminance, 0 to 1, of shares of the window through the display's colours."""
    color_node = None if display is None else display.GetColorNode()
    if color_node is None or not color_node.GetNumberOfColors():
        return shares
    count = color_node.GetNumberOfColors()
    color, table = [0.0] * 4, np.empty(count)
    for i in range(count):
        color_node.GetColor(i, color)
        table[i] = np.dot(color[:3], [0.299, 0.587, 0.114])
    return table[np.minimum((shares * count).astype(int), count - 1)]
