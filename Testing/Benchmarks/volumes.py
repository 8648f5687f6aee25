"""Volumes given by hand on a benchmark's command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence


def volumes_of(given: Sequence[Sequence[str]]) -> list[tuple[Path, float | None]]:
    """Path, and value of what was not scanned, of each `--volume FILE [BACKGROUND]`; InputError for anything else."""
    found: list[tuple[Path, float | None]] = []
    for path, *rest in given:
        if len(rest) > 1:
            raise InputError(f"--volume takes a file and at most one value for what was not scanned, not {rest}.")
        if not Path(path).exists():
            raise InputError(f"There is no volume {path}.")
        try:
            found.append((Path(path), float(rest[0]) if rest else None))
        except ValueError:
            raise InputError(f"The value of what was not scanned must be a number, not {rest[0]!r}.") from None
    names = [path.name for path, _ in found]
    if len(set(names)) < len(names):
        raise InputError("Two volumes have the same file name; their results would overwrite each other.")
    return found
