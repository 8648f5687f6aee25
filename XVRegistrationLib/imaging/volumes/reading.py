"""How the voxels of a file become a volume: what its user says of them, kept with a model so that they are read alike again."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from XVRegistrationLib.errors import InputError

Units = Literal["HU", "1/mm"]
"""What voxel values are: Hounsfield units, or linear attenuation (of iodine alone, in a subtracted angiogram)."""


@dataclass(frozen=True)
class Reading:
    """What is said of a file's values beyond the file; of a plain CT in Hounsfield units nothing."""

    units: Units = "HU"
    """Of the stored values, where neither `vessels` nor `segmentation` gives them a meaning."""
    believed: bool = False
    """Whether the values are Hounsfield units even if they do not look like them."""
    series: str | None = None
    """Which DICOM series of a folder: UID, number, description, or `slices.series_key`."""
    background: float | None = None
    """Value of voxels that were not scanned, or were cut away: they become air."""
    vessels: tuple[float, float] | None = None
    """Of an angiogram (rotational DSA, CTA, MRA): values of what is no vessel, and of one full of contrast agent."""
    segmentation: str | None = None
    """File of the segmentation whose structures give the densities, as for MR."""
    label_names: tuple[tuple[int, str], ...] | None = None
    """Label values of that segmentation and what they are called, where its file does not say it, as a label map."""
    densities: tuple[tuple[str, float], ...] | None = None
    """HU of structures by patterns of their names, the first that fits; None for the table that comes along."""

    def __post_init__(self) -> None:
        if self.units not in ("HU", "1/mm"):
            raise InputError(f"Voxel values are 'HU' or '1/mm', not {self.units!r}.")
        if self.vessels is not None and self.segmentation is not None:
            raise InputError("Densities come from a window of values or from a segmentation, not from both.")
        if self.vessels is not None and not (
            all(map(math.isfinite, self.vessels)) and self.vessels[0] < self.vessels[1]
        ):
            low, high = self.vessels
            raise InputError(
                f"The window of vessels must rise from background to full contrast, not {low:g} to {high:g}."
            )

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable, of what was said."""
        return {name: value for name, value in asdict(self).items() if value is not None and value is not False}

    @staticmethod
    def from_dict(said: dict[str, Any]) -> Reading:
        """What `to_dict` made; InputError for anything else."""
        try:
            known = {f.name for f in fields(Reading)}
            if set(said) - known:
                raise ValueError(f"unknown: {', '.join(sorted(set(said) - known))}")
            window, table, names = said.get("vessels"), said.get("densities"), said.get("label_names")
            return Reading(
                units=said.get("units", "HU"),
                believed=bool(said.get("believed", False)),
                series=None if said.get("series") is None else str(said["series"]),
                background=None if said.get("background") is None else float(said["background"]),
                vessels=None if window is None else (float(window[0]), float(window[1])),
                segmentation=None if said.get("segmentation") is None else str(said["segmentation"]),
                label_names=None if names is None else tuple((int(value), str(name)) for value, name in names),
                densities=None if table is None else tuple((str(name), float(hu)) for name, hu in table),
            )
        except (TypeError, ValueError, IndexError, AttributeError) as e:
            if isinstance(e, InputError):
                raise
            raise InputError(f"How the model's volume is to be read is damaged ({e}); train the model again.") from e
