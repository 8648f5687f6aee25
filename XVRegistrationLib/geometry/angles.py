"""The C-arm's angles, as DICOM and the operator call them, and the pose that they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import rigid

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def pose_from_angles(primary_deg: float, secondary_deg: float, sod: float, isocenter: ArrayLike) -> NDArray[np.float64]:
    """Pose (4, 4), camera -> RAS, mm, of a C-arm turned about `isocenter` (3,), RAS mm, with the source `sod` mm from it.

    The angles place the detector about a patient who lies supine, head first: primary positive towards the left (LAO),
    secondary positive towards the head (CRA). At zero the source is behind the patient, so that the image that one
    sees, facing the patient, is a mirrored one. Rows run towards the feet.
    """
    if not (np.isfinite([primary_deg, secondary_deg]).all() and np.isfinite(sod) and sod > 0):
        raise InputError(
            "The C-arm's angles must be numbers of degrees, and the distance from source to isocentre a positive number "
            f"of mm: got {primary_deg}, {secondary_deg} and {sod}."
        )
    (sin_a, sin_b), (cos_a, cos_b) = (f(np.radians([primary_deg, secondary_deg])) for f in (np.sin, np.cos))
    # The detector moves along a sphere: x is its direction of growing primary angle at the equator, y of falling secondary.
    x = [cos_a, sin_a, 0.0]
    y = [-sin_a * sin_b, cos_a * sin_b, -cos_b]
    z = np.array([-sin_a * cos_b, cos_a * cos_b, sin_b])
    return rigid(np.stack([x, y, z], axis=-1), np.asarray(isocenter, dtype=np.float64) - sod * z)
