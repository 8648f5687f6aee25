"""Where `xvregistration register` starts from, by its options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.cli.xray_options import EACH
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.angles import header_pose
from XVRegistrationLib.geometry.rigid import invert
from XVRegistrationLib.registration.hypotheses import SOURCES, presets, shifted_onto, with_shifted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.partial import PartialXray
    from XVRegistrationLib.registration.landmarks import LandmarkPose
    from XVRegistrationLib.registration.model import PatientModel

HEADER, LANDMARKS, START = "header", "landmarks", "start"
BY_CALIBRATION = "calibration"
"""As --relative: the cameras stood where their calibrations say."""


@dataclass(frozen=True, eq=False)
class Starts:
    """What a registration starts from."""

    sources: tuple[str, ...]
    """Of `hypotheses.ALL_SOURCES`."""
    poses: dict[str, NDArray[np.float64]]
    """Kind -> (4, 4) camera -> RAS, mm."""


def check_options(options: argparse.Namespace) -> None:
    """Raise InputError for options that make no sense together, before any file is read."""
    several = len(options.xrays) > 1
    if options.series and options.relative:
        raise InputError(
            "--series is for frames of one C-arm in turn, --relative for cameras of one moment; use one of them."
        )
    if options.frame is not None and options.series != isinstance(options.frame, slice):
        raise InputError(
            "--frame takes a range A:B with --series, which registers every frame, and a number, min, max, mean or all without it."
        )
    if options.frame == EACH and (options.landmarks or options.start):
        raise InputError(
            "--landmarks and --start are about one X-ray; choose its frame, or follow the run with --series."
        )
    if options.landmarks and several:
        raise InputError("--landmarks are marked on one X-ray; register that one by itself.")
    if options.start and (options.preset or options.landmarks):
        other = "--landmarks" if options.landmarks else "--preset"
        raise InputError(
            f"--start is refined without any other start; leave out {other}, or give it alone, without --start."
        )
    if options.start and several and not (options.series or options.relative):
        raise InputError(
            "--start is the pose of one X-ray; register the others by themselves, or all with --series or --relative."
        )
    if options.mask and len(options.mask) not in (1, len(options.xrays)):
        raise InputError(
            f"Give --mask once for all X-rays or once for each: got {len(options.mask)} masks for {len(options.xrays)} X-rays."
        )
    if options.calibration and len(options.calibration) not in (1, len(options.xrays)):
        raise InputError(
            f"Give --calibration once for all X-rays or once for each: got {len(options.calibration)} for {len(options.xrays)} X-rays."
        )
    if options.relative == BY_CALIBRATION and len(options.calibration or ()) != len(options.xrays):
        raise InputError(f"--relative {BY_CALIBRATION} needs a --calibration for each X-ray.")
    if options.depth and not (np.isfinite(options.depth).all() and options.depth[0] > 0 and options.depth[1] >= 0):
        raise InputError(
            f"--depth takes a positive distance and a standard deviation of 0 or more, both in mm, not {options.depth[0]} "
            f"and {options.depth[1]}."
        )


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
