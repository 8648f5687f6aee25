"""A volume of densities out of structures, for MR and other images whose values say nothing of attenuation."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.volumes.pixels import AIR
from XVRegistrationLib.resources import resource

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.segmentation import Segmentation

Densities = tuple[tuple[str, float], ...]
"""HU of structures by patterns of their names (`*bone*`), the first that fits; letter case and underscores do not matter."""

_HIGHEST = 30_000.0


def standard_densities() -> Densities:
    """The table that comes along, whose file names the source of each value."""
    rows = json.loads(resource("densities.json").read_text("utf-8"))["structures"]
    return tuple((pattern, float(row["hu"])) for row in rows for pattern in row["patterns"])


def read_densities(path: str | os.PathLike[str]) -> Densities:
    """A table of one's own, JSON `{"femur*": 650, "muscle": 53}`; InputError for anything else."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f'{path} does not exist; give a table of densities, JSON {{"name": HU}}.')
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f'{path} is not a table of densities, JSON {{"name": HU}} ({e}).') from e
    return densities_of_text(text, str(path))


def densities_of_text(text: str, what: str) -> Densities:
    """A table that was written as JSON; InputError, which begins with `what` it is, for anything else."""
    try:
        return tuple((str(name), float(hu)) for name, hu in json.loads(text).items())
    except (ValueError, TypeError, AttributeError) as e:
        raise InputError(f'{what} is not a table of densities, JSON {{"name": HU}} ({e}).') from e


def text_of_densities(table: Densities | Mapping[str, float]) -> str:
    """A table as JSON, of which `densities_of_text` makes the same."""
    return json.dumps({str(name): float(hu) for name, hu in dict(table).items()})


def pseudo_ct(
    segmentation: Segmentation,
    shape: tuple[int, ...],
    ijk_to_ras: NDArray[np.float64],
    densities: Densities | None = None,
) -> NDArray[np.int16]:
    """(K, J, I) HU: each structure's density where it lies, air elsewhere; where structures overlap, the smaller one's.

    Raises InputError where a structure has no density, and where none lies on the grid.
    """
    table = standard_densities() if densities is None else densities
    hu = {s.value: _density(s.name, table) for s in segmentation.segments}
    labels = segmentation.on_grid(shape, ijk_to_ras).label_map()
    if not labels.names:
        raise InputError("None of the segmentation's structures lies on the volume; is it of this patient and scan?")
    values = np.full(max(int(labels.array.max()), *hu) + 1, AIR, dtype=np.int16)
    for value, density in hu.items():
        values[value] = round(density)
    return np.asarray(values[labels.array])


def _density(name: str, table: Sequence[tuple[str, float]]) -> float:
    plain = _plain(name)
    for pattern, hu in table:
        if fnmatchcase(plain, _plain(pattern)):
            if not AIR <= hu <= _HIGHEST:
                raise InputError(f"The density of {pattern} must lie between {AIR} and {_HIGHEST:.0f} HU, not {hu:g}.")
            return hu
    # The first of each row, without what stands for other letters.
    rows = {hu: pattern for pattern, hu in reversed(table)}
    known = dict.fromkeys(pattern.strip("*? ") for pattern in reversed(rows.values()))
    raise InputError(
        f"There is no density for the structure {name}: call it by a name of the table ({', '.join(known)}, ...), or give a "
        "table of densities of your own.",
        give=("label_names", "densities"),
    )


def _plain(name: str) -> str:
    return name.strip().lower().replace("_", " ")
