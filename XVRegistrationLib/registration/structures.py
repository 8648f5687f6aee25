"""Several structures of one volume, each with its own pose: bones of a joint, vertebrae that moved since the CT."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import check_rigid
from XVRegistrationLib.imaging.occupancy import occupancy
from XVRegistrationLib.registration.hypotheses import Hypotheses
from XVRegistrationLib.registration.objective import Estimates
from XVRegistrationLib.registration.search import prepare_xray, registrations, search
from XVRegistrationLib.registration.several import checked_relations
from XVRegistrationLib.registration.stages import STAGES
from XVRegistrationLib.rendering.grid import attenuation_of, grid_from_density
from XVRegistrationLib.rendering.pyramid import Pyramid
from XVRegistrationLib.rendering.structure_grid import structure_grid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.imaging.segmentation import Segmentation
    from XVRegistrationLib.imaging.volume import LabelMap, Volume
    from XVRegistrationLib.imaging.xray import Xray
    from XVRegistrationLib.registration.result import Registration

REST = "rest"
"""The structure that is everything outside of those chosen."""


@dataclass(frozen=True, eq=False)
class Structure:
    """A part of a volume that moves by itself."""

    name: str
    pyramid: Pyramid
    pivot: NDArray[np.float64]
    """(3,) its centre, RAS mm."""


def structures_of(
    volume: Volume, labels: LabelMap | Segmentation, values: Sequence[int], rest: bool = True
) -> tuple[Structure, ...]:
    """The structures with these label values, by the names of `labels`, and with `rest` everything else as one more, last.

    Their sum is the volume, where they do not overlap; a rest of nothing but air is left out. The labels may lie on another
    grid: each voxel of the volume counts by its share in a structure. Raises InputError for a value without voxels in the
    volume, and for structures of one name.
    """
    names = [labels.names.get(value, str(value)) for value in values]
    _check_names([*names, REST] if rest else names)
    found = []
    for value, name in zip(values, names, strict=True):
        points = labels.points([value])
        if not len(points):
            raise InputError(f"The structure {name} has no voxels in the labels.")
        found.append(Structure(name, Pyramid(structure_grid(volume, labels, [value])), points.mean(axis=0)))
    if rest:
        others = 1 - occupancy(labels, values, volume.array.shape, volume.ijk_to_ras)
        with suppress(InputError):  # nothing denser than air is left
            grid = grid_from_density(attenuation_of(volume) * others, volume.ijk_to_ras, REST)
            found.append(Structure(REST, Pyramid(grid), np.asarray(volume.center, dtype=np.float64)))
    return tuple(found)


def _check_names(names: Sequence[str]) -> None:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise InputError(f"Structures are told apart by their names; more than one is called {' or '.join(twice)}.")


def register_structures(
    structures: Sequence[Structure],
    xrays: Sequence[Xray],
    starts: Mapping[str, ArrayLike],
    relative: Sequence[ArrayLike] | None = None,
    progress: Callable[[int, int, float], None] | None = None,
    *,
    surroundings: bool = False,
) -> dict[str, tuple[Registration, ...]]:
    """Each structure's own poses in X-rays by cameras in known relation (`register_views`): name -> one for each X-ray.

    `starts` gives a pose of the first camera for each structure by name; the pose of the whole volume is a good one.
    All are refined together, so that what lies over each other is told apart. Nothing is calibrated for structures by
    themselves: each pose is to be checked, or has failed where nothing of the structure is on an X-ray. Raises InputError
    for a structure without a start, and for structures of one name.
    """
    if not structures:
        raise InputError("No structure to register: choose one at least.")
    _check_names([s.name for s in structures])
    for s in structures:
        if s.name not in starts:
            raise InputError(f"The structure {s.name} has no start; the pose of the whole volume is a good one.")
    offsets = checked_relations(xrays, relative if relative is not None else [np.eye(4)] * len(xrays))
    began = time.perf_counter()
    prepared = [prepare_xray(x, o) for x, o in zip(xrays, offsets, strict=True)]
    poses = np.stack([check_rigid(starts[s.name], f"start of {s.name}") for s in structures])
    pivots = np.stack([s.pivot for s in structures])
    found = search(
        [s.pyramid for s in structures],
        prepared,
        pivots,
        Estimates.at(poses[None], len(prepared)),
        stages=STAGES[1:],
        surroundings=surroundings,
        progress=progress,
    )
    return {
        s.name: registrations(
            found,
            Hypotheses(poses[k : k + 1], ["given"]),
            prepared,
            pivots,
            began,
            k,
            uncalibrated="structures by themselves",
        )
        for k, s in enumerate(structures)
    }
