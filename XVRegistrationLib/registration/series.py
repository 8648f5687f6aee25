"""Registration of a run: frames of one C-arm in turn, each started from the last."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.registration.hypotheses import SOURCES, SearchRange
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.registration.result import Registration, Trust

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.imaging.xray import Xray
    from XVRegistrationLib.registration.model import PatientModel
    from XVRegistrationLib.registration.objective import DepthPrior

LAST = "last frame"
"""Kind of the start that is the last good frame's pose."""
FROM_FRAME_TO_FRAME = SearchRange(12, 8.0, 4.0)
"""How far the patient or the C-arm may move from one frame to the next; what moves farther is started anew."""


def register_series(
    model: PatientModel,
    frames: Sequence[Xray],
    sources: Collection[str] = SOURCES,
    starts: Mapping[str, ArrayLike] | None = None,
    progress: Callable[[int, int], None] | None = None,
    *,
    masks: Sequence[NDArray[np.bool_] | None] | None = None,
    surroundings: bool = False,
    depth: DepthPrior | None = None,
) -> list[Registration]:
    """One registration a frame, in their order.

    The first frame starts from `sources` and `starts`. Each further one starts from the last frame that did not fail, and
    where it fails from there it is started anew, so that a jump or a lost frame costs only itself: one that shows nothing
    at all has the last pose and the verdict "failed", but for the first, which raises InputError. `masks` (H, W), one a
    frame or None, `surroundings` and `depth` are as in `register_xray`; with `surroundings` no verdict is "failed", so that
    every frame is followed from the one before, and a jump farther than `FROM_FRAME_TO_FRAME` is lost. `progress` is called
    with frames done and frames in all; an exception from it ends the work. Raises InputError for another number of masks
    than of frames.
    """
    marks = masks if masks is not None else [None] * len(frames)
    if len(marks) != len(frames):
        raise InputError(f"Each frame needs its mask, or None: got {len(marks)} masks for {len(frames)} frames.")
    found: list[Registration] = []
    last: Registration | None = None
    for frame, mask in zip(frames, marks, strict=True):
        register = partial(register_xray, model, frame, mask=mask, surroundings=surroundings, depth=depth)
        try:
            result = _next(register, last, sources, starts)
        except InputError as e:
            if last is None:
                raise
            result = _lost(frame, last, str(e))
        if result.verdict != "failed":
            last = result
        found.append(result)
        if progress is not None:
            progress(len(found), len(frames))
    return found


def _next(
    register: Callable[..., Registration],
    last: Registration | None,
    sources: Collection[str],
    starts: Mapping[str, ArrayLike] | None,
) -> Registration:
    """A frame from the last one, and anew where that fails; with what both took."""
    if last is None:
        return register(sources, starts)
    result = register((), {LAST: last.pose}, search_range=FROM_FRAME_TO_FRAME)
    if result.verdict != "failed":
        return result
    again = register(sources, starts)
    better = again if again.similarity > result.similarity else result
    return dataclasses.replace(better, seconds=result.seconds + again.seconds, renders=result.renders + again.renders)


def _lost(frame: Xray, last: Registration, why: str) -> Registration:
    """A frame that cannot be registered: the last pose, failed."""
    return Registration(
        frame.name, last.pose, frame.intrinsics, 0.0, 0.0, winner=LAST, trust=Trust("failed", 1.0, why, "")
    )
