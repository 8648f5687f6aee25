"""Parts of a volume by its labels: what an X-ray of some structures alone would show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import translation
from XVRegistrationLib.imaging.occupancy import occupancy
from XVRegistrationLib.rendering.grid import attenuation_of, grid_from_density

if TYPE_CHECKING:
    from collections.abc import Sequence

    from XVRegistrationLib.imaging.segmentation import Segmentation
    from XVRegistrationLib.imaging.volume import LabelMap, Volume
    from XVRegistrationLib.rendering.grid import DensityGrid


def structure_grid(volume: Volume, labels: LabelMap | Segmentation, values: Sequence[int]) -> DensityGrid:
    """Density grid of the structures with these label values and nothing else, in their box; rendered as any other.

    Each voxel of the volume counts by the share of it that lies in any of the structures, also where the labels lie on
    another grid; between voxel centres that is trilinear as the density is. So a structure's edge is soft, its image has
    derivatives by the pose there, and the images of a structure and of all the rest add up to that of the volume. Raises
    InputError where the structures hold nothing of the volume.
    """
    from scipy.ndimage import find_objects

    share = occupancy(labels, values, volume.array.shape, volume.ijk_to_ras)
    # A structure is a small part of most volumes: only its box is worked on.
    found = find_objects((share > 0).astype(np.uint8))
    box = found[0] if found else (slice(0, 0),) * 3
    density = attenuation_of(volume, part=box) * share[box]
    if not density.any():
        names = ", ".join(labels.names.get(value, str(value)) for value in values)
        raise InputError(f"{names or 'No structure'} holds nothing of {volume.name} that an X-ray shows.")
    place = volume.ijk_to_ras @ translation([s.start for s in box[::-1]])
    return grid_from_density(density, place, volume.name, air=0.0)
