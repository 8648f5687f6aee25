"""Volumes and label maps as files for the child processes that work on them."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import replacing
from XVRegistrationLib.imaging.volume import check_grid
from XVRegistrationLib.scene.transforms import ijk_to_world
from XVRegistrationLib.scene.volumes import voxels

if TYPE_CHECKING:
    import os

    from numpy.typing import NDArray

PREFIX = "handover-"
"""Of the names of the files."""


def write_volume(node: Any, folder: str | os.PathLike[str]) -> tuple[Path, NDArray[np.float64]]:
    """Write the voxels (K, J, I) of a volume node to a new .npy file; return its path and the matrix IJK to RAS, mm.

    The linear transforms above the node are in the matrix. The file is never named after the volume or the patient.
    Raises InputError for what cannot be registered to: no voxels, colour, one slice, a sheared grid, a transform that
    is not linear, or a disk without room.
    """
    array = voxels(node)
    matrix = ijk_to_world(node)
    check_grid(array.shape, matrix, f"The volume {node.GetName()}")
    return write_array(array, folder), matrix


def write_array(array: NDArray[Any], folder: str | os.PathLike[str]) -> Path:
    """Write an array to a new .npy file in a folder, whole or not at all; return its path."""
    path = Path(folder) / f"{PREFIX}{uuid.uuid4().hex}.npy"
    try:
        with replacing(path) as temporary:
            np.save(temporary, np.ascontiguousarray(array), allow_pickle=False)
    except OSError as e:
        raise InputError(f"{path.parent} cannot take {array.nbytes / 1e6:.0f} MB: {e.strerror or e}.") from e
    return path


def cleanup(path: str | os.PathLike[str]) -> None:
    """Remove a handed-over file, or all of them in a folder; one that is gone, or still in use, is no error."""
    files = list(Path(path).glob(f"{PREFIX}*.npy")) if Path(path).is_dir() else [Path(path)]
    for file in files:
        try:
            file.unlink(missing_ok=True)
        except OSError:
            # On Windows a file that the engine has mapped cannot be removed yet.
            continue
