"""Segmentations of any format: label maps, Slicer's .seg.nrrd, DICOM SEG."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.dicom.dataset import is_dicom, quiet
from XVRegistrationLib.imaging.segmentation import Segmentation, of_label_map
from XVRegistrationLib.imaging.segmentation_dicom import is_segmentation, read_dicom_segmentation
from XVRegistrationLib.imaging.segmentation_nrrd import is_slicers, read_slicer_segmentation
from XVRegistrationLib.imaging.volume import read_label_map
from XVRegistrationLib.imaging.volumes.slices import files_below

if TYPE_CHECKING:
    import os


def read_segmentation(path: str | os.PathLike[str], names: dict[int, str] | None = None) -> Segmentation:
    """Read a segmentation, by its content: DICOM SEG (a file, or a folder that holds one), .seg.nrrd, or a label map.

    `names` are of a label map's values, which has none itself; they replace those of the other formats. Raises InputError
    for anything else and for damage.
    """
    path = Path(path)
    if path.is_dir():
        path = _only_segmentation(path) or path
    if path.is_file() and is_dicom(path):
        return _renamed(read_dicom_segmentation(path), names)
    if path.is_file() and is_slicers(path):
        return _renamed(read_slicer_segmentation(path), names)
    return of_label_map(read_label_map(path, names))


def _renamed(segmentation: Segmentation, names: dict[int, str] | None) -> Segmentation:
    from dataclasses import replace

    if not names:
        return segmentation
    segments = tuple(replace(s, name=names.get(s.value, s.name)) for s in segmentation.segments)
    return replace(segmentation, segments=segments)


def _only_segmentation(folder: Path) -> Path | None:
    with quiet():
        found = [path for path in files_below(folder) if is_dicom(path) and is_segmentation(path)]
    if len(found) > 1:
        raise InputError(f"{folder} holds {len(found)} DICOM segmentations; give the file of one.")
    return found[0] if found else None
