"""A density grid at the resolutions that it is rendered at."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from XVRegistrationLib.rendering.grid import beyond, coarser, continued, reduction

if TYPE_CHECKING:
    from XVRegistrationLib.rendering.grid import DensityGrid

_FAR_MM = 120.0


class Pyramid:
    """A density grid and its reductions, each made when first asked for."""

    def __init__(self, finest: DensityGrid) -> None:
        self.finest = finest
        self._levels: dict[tuple[int, int, int], DensityGrid] = {}

    def matched_to(self, footprint: float) -> DensityGrid:
        """The coarsest reduction whose voxels are no larger than `footprint`, a pixel's size at the patient, mm."""
        factors = reduction(self.finest, footprint)
        if factors not in self._levels:
            self._levels[factors] = coarser(self.finest, factors)
        return self._levels[factors]

    @cached_property
    def continued(self) -> Pyramid:
        """That of the grid with what is cut off going on beyond its faces."""
        return Pyramid(continued(self.finest))

    @cached_property
    def prolonged(self) -> Pyramid:
        """The same far beyond them: what X-rays' scatter comes from where they show more of the body than the volume holds."""
        return Pyramid(continued(self.finest, _FAR_MM))

    @cached_property
    def beyond(self) -> DensityGrid | None:
        """What the volume lacks of the body, at a guess; None where it holds all of it."""
        return beyond(self.finest)
