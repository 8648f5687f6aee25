"""The patient of a protocol: the volume, and the points that errors are measured at."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError, names_there
from XVRegistrationLib.evaluation.demo_data import demo_data
from XVRegistrationLib.evaluation.metrics import farthest_points
from XVRegistrationLib.evaluation.protocol import DEMO, GIVEN, VESSELS
from XVRegistrationLib.geometry.rigid import transform_points, translation
from XVRegistrationLib.imaging.attenuation import linear_attenuation
from XVRegistrationLib.imaging.volume import LabelMap, Volume, read_label_map, read_label_names, read_volume
from XVRegistrationLib.imaging.volumes.vessels import IODINE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.evaluation.protocol import Points, Protocol


_BONE = 200.0
"""HU; soft tissue is below."""


@dataclass(frozen=True, eq=False)
class Patient:
    """What X-rays are made of, and where errors count."""

    volume: Volume
    points: NDArray[np.float64]
    """(N, 3) at most 100, RAS mm: the points of the mTRE."""
    known: Volume
    """What registrations know of the volume: all, unless the protocol cuts it off."""


def load_patient(protocol: Protocol, data: Path) -> Patient:
    """The protocol's patient; `data` is the folder that keeps the demo's CT.

    Raises InputError where the protocol leaves the volume to the caller, or the volume has none of the points' structures.
    """
    source = protocol.volume
    if source.source == VESSELS:
        return _vessels()
    if source.source == GIVEN:
        raise InputError(f"The protocol {protocol.name} has no volume of its own: give one.", give=("volume",))
    labels, reading = None, source.reading
    if source.source == DEMO:
        files = demo_data(data)
        volume = read_volume(files.ct, reading)
        labels = read_label_map(files.labels, read_label_names(files.label_names))
    else:
        volume = read_volume(source.source, reading)
        if source.labels:
            labels = read_label_map(Path(source.labels), read_label_names(source.label_names))
    known = cut_off(volume, source.kept)
    return Patient(volume, structure_points(volume, labels, protocol.points), known)


def cut_off(volume: Volume, kept: Sequence[float]) -> Volume:
    """The middle of a volume, a share (0..1) of its extent along i, j and k."""
    size = np.array(volume.array.shape[::-1])
    first = np.round(size * (1 - np.asarray(kept)) / 2).astype(int)
    if not first.any():
        return volume
    i, j, k = (slice(int(a), int(n - a)) for a, n in zip(first, size, strict=True))
    return dataclasses.replace(
        volume, array=volume.array[k, j, i], ijk_to_ras=volume.ijk_to_ras @ translation(first.astype(np.float64))
    )


def structure_points(volume: Volume, labels: LabelMap | None, points: Points) -> NDArray[np.float64]:
    """At most 100 farthest-point samples (N, 3), RAS mm, of the voxels that `points` names."""
    if points.labels:
        if labels is None:
            raise InputError(f"points.labels names structures, but {volume.name} comes without a label map.")
        names = [name for name in labels.names.values() if any(fnmatch(name, p) for p in points.labels)]
        if not names:
            known = names_there(list(labels.names.values()), points.labels)
            raise InputError(f"points.labels: the label map has no structure like {', '.join(points.labels)}{known}")
        found = labels.points(labels.values(names))
        what = f"voxels of {', '.join(points.labels)}"
    else:
        threshold = _threshold(volume) if points.threshold is None else points.threshold
        found = transform_points(volume.ijk_to_ras, np.argwhere(volume.array > threshold)[:, ::-1])
        what = f"voxels above {threshold:g}"
    if len(found) == 0:
        raise InputError(f"{volume.name} has no {what} to measure errors at; correct [points] of the protocol.")
    return farthest_points(found)


def _threshold(volume: Volume) -> float:
    """Bone in the volume's unit, or a vessel that is half full."""
    if volume.reading is not None and volume.reading.vessels is not None:
        return IODINE / 2
    return _BONE if volume.units == "HU" else float(linear_attenuation(np.array([_BONE]))[0])


def _vessels() -> Patient:
    # The tree is painted only for those who ask for it: it takes seconds.
    from XVRegistrationLib.evaluation.vessels import simulate_vessels, vessel_points

    volume = simulate_vessels()
    return Patient(volume, farthest_points(vessel_points()), volume)
