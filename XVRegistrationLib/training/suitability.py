"""Whether a network can learn a patient from a CT."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    from XVRegistrationLib.imaging.volume import Volume

_BODY, _METAL = -300.0, 2500.0  # HU; cortical bone has up to 2000, most scanners end at 3071
_MOST_METAL = 0.02
"""Of the voxels of a body. Measured: a hip prosthesis 0.0005, a heart full of contrast agent beside calcium 0.0007."""


def metal_share(volume: Volume) -> float:
    """Share of the body's voxels that are metal, 0 to 1, of a CT in HU; 0 for anything else."""
    if volume.units != "HU":
        return 0.0
    body = metal = 0
    for plane in volume.array:  # not the whole at once: that would be a copy
        body += int(np.count_nonzero(plane > _BODY))
        metal += int(np.count_nonzero(plane > _METAL))
    return metal / body if body else 0.0


def check_suitable(volume: Volume) -> None:
    """Raise InputError for a CT that shows more metal and its artefacts than patient."""
    share = metal_share(volume)
    if share > _MOST_METAL:
        raise InputError(
            f"{volume.name} is full of metal: {share:.0%} of its body has more than {_METAL:.0f} HU. Its X-rays would show "
            "the metal's artefacts; use a CT with artefacts reduced, or one of the patient without it."
        )
