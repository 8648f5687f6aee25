"""Which of the DICOM series of a folder is the volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.volumes.pixels import read_voxels
from XVRegistrationLib.imaging.volumes.slices import Series, files_below, series_of
from XVRegistrationLib.imaging.volumes.stack import stack_of
from XVRegistrationLib.imaging.volumes.stored import Stored
from XVRegistrationLib.imaging.volumes.straight import straight

if TYPE_CHECKING:
    from pathlib import Path

_ENOUGH = 2  # slices make a volume; scouts of one image are none


def read_series(path: Path, wanted: str | None = None) -> Stored:
    """The volume of a folder of DICOM files, or of the series that a DICOM file belongs to.

    Of several series in a folder, `wanted` names one by its UID, number or description, or by its `Series.key`; without
    it, the only one that is a volume is taken. Raises InputError that lists the series where that leaves a choice, and for
    slices that make no volume.
    """
    if path.is_dir():
        found, damaged = series_of(files_below(path))
        series, notes = _choose(found, path, wanted)
    else:
        series, damaged = _of_file(path)
        notes = []
    if damaged:
        notes.append(f"{damaged} damaged DICOM files were left out.")
    stack, said = stack_of(series, path)
    notes += said
    array, said = read_voxels(stack.slices)
    notes += said
    array, matrix, said = straight(array, stack, path, series.modality == "CT")
    first = stack.slices[0]
    return Stored(array, matrix, (*notes, *said), series.modality, first.rescale_type, series.key)


def _of_file(path: Path) -> tuple[Series, int]:
    """The whole series of one file: the file alone where it holds many frames, else with its neighbours in the folder."""
    alone, damaged = series_of([path])
    if not alone:
        reason = "is damaged" if damaged else "holds no image"
        raise InputError(f"{path} {reason}; give a slice of a CT, or the folder of its slices.")
    if len(alone[0].slices) > 1:
        return alone[0], 0
    found, damaged = series_of(p for p in sorted(path.parent.iterdir()) if p.is_file())
    return next(s for s in found if s.uid == alone[0].uid), damaged


def _choose(found: list[Series], folder: Path, wanted: str | None) -> tuple[Series, list[str]]:
    if not found:
        raise InputError(f"{folder} holds no DICOM series that can be read as a volume.")
    if wanted is not None:
        return _named(found, folder, wanted), []
    volumes = [s for s in found if len(s.slices) >= _ENOUGH]
    if len(volumes) == 1 or len(found) == 1:
        series = (volumes or found)[0]
        others = [s for s in found if s is not series]
        left_out = f"Series {series} was taken; no volume: {'; '.join(map(str, others))}."
        return series, [left_out] if others else []
    if not volumes:
        raise InputError(
            f"{folder} holds no DICOM series of two or more placed slices, but {_listed(found)}; a volume is needed."
        )
    raise InputError(
        f"{folder} holds several series: {_listed(found)}. Say which, by number, description or UID, or as "
        f"{folder.name}#NUMBER.",
        give=("series",),
    )


def _named(found: list[Series], folder: Path, wanted: str) -> Series:
    """The series by UID or key, number, whole description, or part of it, in this order."""
    text = wanted.strip().lower()
    ways = (
        lambda s: text in (s.uid.lower(), s.key),
        lambda s: text.lstrip("#") == s.number,
        lambda s: text == s.description.lower(),
        lambda s: bool(text) and text in s.description.lower(),
    )
    for way in ways:
        fitting = [s for s in found if way(s)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise InputError(f"{folder} holds several series '{wanted}': {_listed(fitting)}; name one by its UID.")
    raise InputError(f"{folder} holds no series '{wanted}', but {_listed(found)}.")


def _listed(found: list[Series]) -> str:
    return "; ".join(str(s) for s in sorted(found, key=lambda s: (len(s.number), s.number)))
