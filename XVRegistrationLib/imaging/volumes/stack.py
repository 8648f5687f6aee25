"""The slices of a series as one stack: sorted, without doubles, with one size and orientation."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.volumes.pixels import read_slice

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.volumes.slices import Series, Slice

# Normals of one stack differ by rounding alone; half a degree would be 2 mm at the edge of a slice.
_SAME_DIRECTION = 1e-4
_SAME_SPACING = 1e-3  # mm
_SAME_PLACE = 0.01  # mm along the normal
# A second stack with more than this share of the slices is no localiser; whoever exports must choose.
_MINOR = 0.25
_XRAYS = ("CR", "DX", "RF", "RG", "XA")
_FEW_DOUBLES = 0.1


@dataclass(frozen=True, eq=False)
class Stack:
    """Parallel slices of one size, sorted along their normal, which is that of `slices[0]`."""

    slices: tuple[Slice, ...]
    heights: NDArray[np.float64]
    """(K,) along the normal, rising, mm."""
    positions: NDArray[np.float64]
    """(K, 3) centres of the first pixels, LPS mm."""


def stack_of(series: Series, path: Path) -> tuple[Stack, list[str]]:
    """The stack of a series, and what was left out in sentences.

    Raises InputError for less than two slices, for several stacks in one series, and for different images at one place.
    """
    if not series.slices:
        if len(series.unplaced) > 1 and series.modality in _XRAYS:
            raise InputError(
                f"{path} holds {len(series.unplaced)} X-rays ({series.modality}), not the slices of a volume; "
                "to use one as an X-ray give its file."
            )
        if len(series.unplaced) == 1:
            raise InputError(
                f"{series.unplaced[0]} is one slice without a place in the patient ({series.modality or 'no modality'}); "
                "a volume with at least two slices is needed."
            )
        raise InputError(
            f"{path} has no ImagePositionPatient, ImageOrientationPatient or PixelSpacing (0020,0032; 0020,0037; "
            "0028,0030) that can be used; the slices cannot be placed."
        )
    notes = [f"{len(series.unplaced)} images without a place were left out."] if series.unplaced else []
    slices, said = _one_orientation(series.slices, path)
    notes += said
    normal = slices[0].normal
    heights = np.array([s.position @ normal for s in slices])
    order = np.argsort(heights, kind="stable")
    slices, said = _without_doubles([slices[i] for i in order], heights[order], path)
    notes += said
    if len(slices) < 2:
        raise InputError(f"{path} holds a DICOM series of one slice; a volume with at least two is needed.")
    positions = np.stack([s.position for s in slices])
    return Stack(tuple(slices), positions @ normal, positions), notes


def _one_orientation(slices: list[Slice], path: Path) -> tuple[list[Slice], list[str]]:
    """Those of the most usual size and orientation; the others must be few."""
    localizers = [s for s in slices if s.localizer]
    rest = [s for s in slices if not s.localizer] or slices
    groups: list[list[Slice]] = []
    for s in rest:
        fitting = next((g for g in groups if _alike(g[0], s)), None)
        if fitting is None:
            groups.append([s])
        else:
            fitting.append(s)
    groups.sort(key=len, reverse=True)
    others = sum(len(g) for g in groups[1:])
    if len(groups) > 1 and len(groups[1]) > _MINOR * len(groups[0]) and len(groups[1]) > 1:
        sizes = " and ".join(f"{len(g)} slices of {g[0].size[0]}x{g[0].size[1]}" for g in groups[:2])
        raise InputError(
            f"{path} holds several stacks in one series ({sizes}, in other orientations or sizes); "
            "export one of them as a series of its own."
        )
    left_out = others + (len(localizers) if rest is not slices else 0)
    said = f"{left_out} images of another size or orientation (localisers) were left out."
    return groups[0], [said] if left_out else []


def _alike(a: Slice, b: Slice) -> bool:
    return (
        a.size == b.size
        and np.allclose(a.rows, b.rows, atol=_SAME_DIRECTION)
        and np.allclose(a.columns, b.columns, atol=_SAME_DIRECTION)
        and np.allclose(a.spacing, b.spacing, atol=_SAME_SPACING)
    )


def _without_doubles(slices: list[Slice], heights: NDArray[np.float64], path: Path) -> tuple[list[Slice], list[str]]:
    """Of slices at one place the first by number; InputError where many differ, as the phases of a heart do."""
    places: dict[int, list[Slice]] = defaultdict(list)
    place = 0
    for i, s in enumerate(slices):
        place += i > 0 and heights[i] - heights[i - 1] > _SAME_PLACE
        places[place].append(s)
    doubles = [sorted(group, key=lambda s: s.number) for group in places.values() if len(group) > 1]
    if not doubles:
        return slices, []
    differing = sum(1 for group in doubles if not all(_same_image(group[0], other) for other in group[1:]))
    if differing > max(1, _FEW_DOUBLES * len(places)):
        raise InputError(
            f"{path} has different images at the same {differing} places (phases, echoes or several scans in one "
            "series); export one of them as a series of its own."
        )
    notes = [f"{len(slices) - len(places)} slices at the place of another were left out."]
    if differing:
        notes.append(f"{differing} of them differed from the one that was kept.")
    return [min(group, key=lambda s: s.number) for group in places.values()], notes


def _same_image(a: Slice, b: Slice) -> bool:
    if a.frame is None and b.frame is None and a.instance and a.instance == b.instance:
        return True
    return np.array_equal(read_slice(a), read_slice(b))
