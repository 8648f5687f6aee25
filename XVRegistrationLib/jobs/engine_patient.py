"""A volume in the engine's memory, and what has been made of it."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.labels import LabelGrid, project_labels
from XVRegistrationLib.rendering.pyramid import Pyramid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.registration.model import PatientModel
    from XVRegistrationLib.registration.result import Registration

LABEL_PIXELS = 256
"""Structures are projected at this resolution and interpolated: dozens of them then take less than a second."""


@dataclass(eq=False)
class Patient:
    """A volume and what has been made of it so far."""

    volume: Volume
    model: PatientModel | None = None
    model_folder: Path | None = None
    labels: LabelGrid | None = None
    _pyramid: Pyramid | None = None
    _projected: tuple[Any, dict[int, NDArray[np.bool_]]] = (None, {})

    @property
    def pyramid(self) -> Pyramid:
        """The density grid and its reductions, made when first asked for."""
        if self._pyramid is None:
            self._pyramid = Pyramid(density_grid(self.volume))
        return self._pyramid

    def projected(
        self, found: Registration, check: Callable[[], None], values: Sequence[int] | None = None
    ) -> dict[int, NDArray[np.bool_]]:
        """Masks (H, W) of structures where they fall on a registered X-ray, by value: of all, or of those with `values`.

        Those of all are kept for the same X-ray: a report asks for them for its pictures, and then for its files.
        """
        if self.labels is None:
            return {}
        place = functools.partial(
            project_labels, self.labels, found.pose, found.intrinsics, pixels=LABEL_PIXELS, check=check
        )
        if values is not None:
            return place(values=values)
        key = self.labels, found.pose.tobytes(), found.intrinsics
        if key != self._projected[0]:
            self._projected = key, place()
        return self._projected[1]

    def forget_projected(self) -> None:
        """Let go of what is kept: the masks of dozens of structures on a large detector take half a gigabyte."""
        self._projected = None, {}
