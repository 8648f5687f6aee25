"""Where in a volume the body is, gone through in slices, so that no second copy of the volume is needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Slices = Callable[[slice], NDArray[np.float32]]
    """Values (..., k, J, I) of some slices of a volume, or of several volumes at one place, made when asked for."""

BRICK = 4
"""Voxels along the sides of the bricks of which a body consists."""


@dataclass(frozen=True, eq=False)
class Body:
    """Where a volume holds more than the air around a body."""

    bricks: NDArray[np.bool_]
    """(k, j, i) those of 4 voxels a side that do."""
    box: tuple[slice, slice, slice]
    """(k, j, i) of the voxels that they hold."""
    whole: tuple[tuple[bool, bool], ...]
    """Of i, j, k: whether the volume goes on before and after the box, so that no body is cut off there."""

    @property
    def first(self) -> NDArray[np.float64]:
        """Index (i, j, k) in the volume of the first voxel of what is cut out of it."""
        return np.array([s.start - 1.0 for s in self.box[::-1]])

    @property
    def shape(self) -> tuple[int, int, int]:
        """That of what is cut out, with its border, (K, J, I)."""
        k, j, i = (s.stop - s.start + 2 for s in self.box)
        return k, j, i

    def cut(self, values: Slices) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Of what is cut out, without its border: which slices, and the values (..., k, J, I) in them, zero in the air around."""
        k, j, i = self.box
        cells = self.bricks[tuple(slice(s.start // BRICK, None) for s in self.box)]
        for layer, first in enumerate(range(k.start, k.stop, BRICK)):
            last = min(first + BRICK, k.stop)
            part = values(slice(first, last))[..., j, i].astype(np.float32)
            kept = np.kron(cells[layer], np.ones((BRICK, BRICK), dtype=bool))
            part *= kept[: part.shape[-2], : part.shape[-1]]
            yield slice(1 + first - k.start, 1 + last - k.start), part


def body_of(highest: NDArray[np.float32], shape: tuple[int, ...], air: float, name: str) -> Body:
    """The body in a volume (K, J, I) with the `highest` values in bricks: all but bricks without anything above `air` that are
    connected to the border.

    A scanner's noise is all that is in these, and summed up along a ray it would look like something. Raises InputError
    where there is nothing but air, and where a value is no number.
    """
    if not np.isfinite(highest).all():
        raise InputError(f"{name} holds values that are no numbers; replace them, by zero where there is nothing.")
    if not (highest > air).any():
        raise InputError(
            f"{name} holds nothing denser than air; a CT in Hounsfield units is needed, or attenuation in 1/mm."
        )
    bricks = ~_connected_to_border(highest <= air)
    box = []
    for axis, size in enumerate(shape):
        along = np.flatnonzero(bricks.any(axis=tuple(a for a in range(3) if a != axis))) * BRICK
        box.append(slice(int(along[0]), min(size, int(along[-1]) + BRICK)))
    whole = tuple((s.start > 0, s.stop < size) for s, size in zip(box, shape, strict=True))
    return Body(bricks, (box[0], box[1], box[2]), whole[::-1])


def highest_by_slices(values: Slices, count: int) -> NDArray[np.float32]:
    """The highest value in each brick (k, j, i) of a volume of so many slices."""
    firsts = range(0, count, BRICK)
    return np.concatenate([highest_in(values(slice(k, k + BRICK)), (BRICK,) * 3) for k in firsts])


def highest_in(values: NDArray[Any], brick: tuple[int, int, int]) -> NDArray[Any]:
    """The highest of (K, J, I) values in each brick of (i, j, k) voxels."""
    for axis, side in enumerate(brick[::-1]):
        values = np.maximum.reduceat(values, np.arange(0, values.shape[axis], side), axis=axis)
    return values


def _connected_to_border(chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those of the chosen cells (k, j, i) that are connected to one at the border by chosen ones."""
    parts, _ = ndimage.label(chosen)
    faces = [parts[index] for axis in range(3) for index in ((slice(None),) * axis + (end,) for end in (0, -1))]
    at_border = np.unique(np.concatenate([face.ravel() for face in faces]))
    return np.isin(parts, at_border[at_border > 0])
