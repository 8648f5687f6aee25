"""Voxels as they come out of a file, before anything is said of their units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Stored:
    """A grid of voxels, with what was found and done on the way, in plain sentences."""

    array: NDArray[Any]
    """(K, J, I) values after the modality's rescale."""
    ijk_to_ras: NDArray[np.float64]
    """(4, 4), mm."""
    notes: tuple[str, ...] = ()
    modality: str = ""
    """DICOM Modality (0008,0060); empty where the format does not know it."""
    rescale_type: str = ""
    """DICOM RescaleType (0028,1054): what the values are; empty where not stated."""
    series: str | None = None
    """Key of the DICOM series (`slices.series_key`), which finds it again among others."""
