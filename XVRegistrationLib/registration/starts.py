"""Where a registration starts from, by what an X-ray's header and the user say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.geometry.angles import header_pose
from XVRegistrationLib.geometry.rigid import invert
from XVRegistrationLib.registration.hypotheses import SOURCES, presets, shifted_onto, with_shifted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.partial import PartialXray
    from XVRegistrationLib.registration.landmarks import LandmarkPose
    from XVRegistrationLib.registration.model import PatientModel

HEADER, LANDMARKS, START = "header", "landmarks", "start"


@dataclass(frozen=True, eq=False)
class Starts:
    """What a registration starts from."""

    sources: tuple[str, ...]
    """Of `hypotheses.ALL_SOURCES`."""
    poses: dict[str, NDArray[np.float64]]
    """Kind -> (4, 4) camera -> RAS, mm."""


def starts_of(
    model: PatientModel,
    parts: Sequence[PartialXray],
    names: Sequence[str] = (),
    landmarks: LandmarkPose | None = None,
    alone: NDArray[np.float64] | None = None,
    relations: Sequence[NDArray[np.float64]] = (np.eye(4),),
) -> Starts:
    """The start `alone` (4, 4) if it is given; else the usual sources, and poses of the first X-ray's camera beside them.

    Those are what the headers of `parts` state, the usual views `names`, and landmarks. Angles do not say how the patient
    lies on the table: views are shifted to where they fall on the X-ray, and so is a copy of what the headers state.
    `relations` (4, 4) are those of the X-rays' cameras to the first one's.
    """
    if alone is not None:
        return Starts((), {START: alone})
    poses: dict[str, NDArray[np.float64]] = {}
    for part, relation in zip(parts, relations, strict=True):
        pose = header_pose(part.known, model.view.isocenter, model.view.sod)
        if pose is not None:
            kind = f"{HEADER} of {part.name}" if HEADER in poses else HEADER
            own = with_shifted(model, part.complete(), {kind: pose}, [kind])
            poses |= {name: start @ invert(relation) for name, start in own.items()}
    if names:
        views = shifted_onto(model, parts[0].complete(), presets(model.view.isocenter, model.view.sod, names))
        poses |= dict(zip(views.kinds, views.poses, strict=True))
    if landmarks is not None:
        poses[LANDMARKS] = landmarks.pose
        # Landmarks in or near a plane have another pose that explains them as well.
        poses |= {f"{LANDMARKS} {i}": pose for i, pose in enumerate(landmarks.others, 2)}
    return Starts(SOURCES, poses)
