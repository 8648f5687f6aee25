"""The files of a folder of X-rays."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    import os


def xray_files(path: str | os.PathLike[str]) -> list[Path]:
    """The files directly in a folder, hidden ones and a DICOM directory aside, by name, 2 before 10; of a file, itself.

    Raises InputError for a folder without any.
    """
    folder = Path(path)
    if not folder.is_dir():
        return [folder]
    try:
        found = [file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")]
    except OSError as e:
        raise InputError(f"{folder} cannot be read: {e.strerror or e}.") from e
    files = [file for file in found if file.name.upper() != "DICOMDIR"]
    if not files:
        raise InputError(f"{folder} holds no files; give the folder in which the X-rays are, or their files.")
    return sorted(files, key=lambda file: _in_numbers(file.name))


def _in_numbers(name: str) -> list[str | int]:
    """A name by which names are compared as people count."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split("([0-9]+)", name))]
