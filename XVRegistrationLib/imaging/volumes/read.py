"""Any file or folder of voxels."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.dicom.dataset import is_dicom
from XVRegistrationLib.imaging.volumes.image_files import read_image
from XVRegistrationLib.imaging.volumes.series import read_series
from XVRegistrationLib.imaging.volumes.straight import without_shear

if TYPE_CHECKING:
    import os

    from XVRegistrationLib.imaging.volumes.stored import Stored


def read_stored(path: str | os.PathLike[str], series: str | None = None, *, labels: bool = False) -> Stored:
    """Voxels of NIfTI, NRRD, MetaImage, a folder of DICOM files (`FOLDER#N` for the series number N), or one file of a series.

    Their grid is straight: a tilt is resampled, of `labels` to the nearest. Raises InputError as the readers do.
    """
    given, path = Path(path), file_of(path)
    if path != given and series is None:
        series = given.name.rpartition("#")[2]
    if not path.exists():
        raise InputError(f"{path} does not exist.")
    if path.is_dir() or is_dicom(path):
        if labels:
            raise InputError(
                f"{path} holds no labels; give a label map (NIfTI, NRRD, MetaImage) or a DICOM segmentation."
            )
        return read_series(path, series)
    stored = read_image(path)
    array, matrix, notes = without_shear(stored.array, stored.ijk_to_ras, str(path), 0 if labels else None, labels)
    return dataclasses.replace(stored, array=array, ijk_to_ras=matrix, notes=(*stored.notes, *notes))


def file_of(path: str | os.PathLike[str]) -> Path:
    """The file or folder itself, of `FOLDER#N` too."""
    path = Path(path)
    folder = path.parent / path.name.rpartition("#")[0]
    return folder if not path.exists() and "#" in path.name and folder.is_dir() else path
