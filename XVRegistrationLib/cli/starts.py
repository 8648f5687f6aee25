"""Which options of `xvregistration register` make sense together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.cli.xray_options import EACH
from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    import argparse

BY_CALIBRATION = "calibration"
"""As --relative: the cameras stood where their calibrations say."""


def check_options(options: argparse.Namespace) -> None:
    """Raise InputError for options that make no sense together, before any file is read."""
    several = len(options.xrays) > 1
    if options.frame is not None and options.series != isinstance(options.frame, slice):
        raise InputError(
            "--frame takes a range A:B with --series, which registers every frame, and a number, min, max, mean or all without it."
        )
    if options.frame == EACH and (options.landmarks or options.start):
        raise InputError(
            "--landmarks and --start are about one X-ray; choose its frame, or follow the run with --series."
        )
    if options.frame == EACH and options.relative:
        raise InputError(
            "--relative registers one X-ray of each camera together, or with --series their runs, frame by frame: give "
            "--series in place of --frame all, or choose one frame with --frame N."
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
