"""HDF5 files of published data sets: opened with a sentence for who lacks h5py, and read with one for what is missing."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from numpy.typing import NDArray


@contextmanager
def open_hdf5(path: str | os.PathLike[str]) -> Iterator[Any]:
    """An HDF5 file for reading; InputError where it is missing or not one, or where h5py is not installed."""
    try:
        import h5py
    except ImportError as e:
        raise InputError("Reading this data set needs h5py: install it with `pip install h5py`.") from e
    if not Path(path).is_file():
        raise InputError(f"{path} does not exist; give the data set's HDF5 file.")
    try:
        file = h5py.File(path, "r")
    except OSError as e:
        raise InputError(f"{path} is not an HDF5 file, or a damaged one ({e}).") from e
    with file:
        yield file


def read_array(group: Any, name: str, *shape: int) -> NDArray[Any]:
    """The array `name` of a group, brought to `shape` where one is given; InputError names what is missing or too short."""
    where = f"{group.file.filename}:{group.name.rstrip('/')}/{name}"
    if name not in group:
        raise InputError(f"{where} is missing; the file does not have the data set's documented layout.")
    values = np.asarray(group[name][()])
    try:
        # Points and spacings are stored as columns in some files, and as rows in others.
        return values.reshape(shape) if shape else values
    except ValueError as e:
        raise InputError(f"{where} has {values.size} numbers; the data set's layout has another count.") from e
