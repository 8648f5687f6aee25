"""Registration of a run: frames of one C-arm, or of several in known relation, in turn, each started from the last."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.registration.hypotheses import SOURCES, SearchRange
from XVRegistrationLib.registration.register import register_xray
from XVRegistrationLib.registration.result import Registration, Trust
from XVRegistrationLib.registration.several import JointRegistration, checked_relations, register_views

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


class _Register(Protocol):
    """Registers the X-rays of one moment, one or several, from hypotheses about them."""

    def __call__(
        self,
        sources: Collection[str],
        starts: Mapping[str, ArrayLike] | None,
        *,
        search_range: SearchRange | None = None,
    ) -> tuple[Registration, ...]: ...


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
    marks = _one_each(masks, frames)

    def register(k: int, *where: Any, **how: Any) -> tuple[Registration, ...]:
        return (register_xray(model, frames[k], *where, mask=marks[k], surroundings=surroundings, depth=depth, **how),)

    moments = [((frame,), partial(register, k)) for k, frame in enumerate(frames)]
    return [found for (found,) in _followed(moments, sources, starts, progress)]


def register_series_of_views(
    model: PatientModel,
    runs: Sequence[Sequence[Xray]],
    relative: Sequence[ArrayLike],
    sources: Collection[str] = SOURCES,
    starts: Mapping[str, ArrayLike] | None = None,
    progress: Callable[[int, int], None] | None = None,
    *,
    masks: Sequence[Sequence[NDArray[np.bool_] | None]] | None = None,
    surroundings: bool = False,
    depth: DepthPrior | None = None,
) -> list[JointRegistration]:
    """One joint registration for each moment of runs that were recorded together, one run a camera.

    The k-th frames of all runs are registered as `register_views` does it; the relations (4, 4) of the cameras to the
    first one's are the same for all frames. `starts` are poses of the first camera, and frames follow each other as in
    `register_series`: what one lost view keeps from being registered is lost in all views of that moment. `masks` has a
    sequence for each run. Raises InputError for runs of different numbers of frames, and as `register_views` does.
    """
    count = frames_in_all(runs)
    checked_relations([run[0] for run in runs], relative)
    given = masks if masks is not None else [[None] * count] * len(runs)
    if len(given) != len(runs):
        raise InputError(f"Each run needs its masks: got those of {len(given)} for {len(runs)} runs.")
    marks = [_one_each(of_run, run) for of_run, run in zip(given, runs, strict=True)]

    def register(k: int, *where: Any, **how: Any) -> tuple[Registration, ...]:
        xrays, counting = [run[k] for run in runs], [of_run[k] for of_run in marks]
        return register_views(
            model, xrays, relative, *where, masks=counting, surroundings=surroundings, depth=depth, **how
        ).views

    moments = [(tuple(run[k] for run in runs), partial(register, k)) for k in range(count)]
    return [JointRegistration(found) for found in _followed(moments, sources, starts, progress)]


def frames_in_all(runs: Sequence[Sequence[Xray]]) -> int:
    """How many frames each of some runs has; InputError where they differ, or there are none."""
    counts = [len(run) for run in runs]
    if not counts or 0 in counts:
        raise InputError("Runs that are registered together need a frame each at least.")
    if len(set(counts)) > 1:
        said = " and ".join(f"that of {run[0].name} has {count}" for run, count in zip(runs, counts, strict=True))
        raise InputError(
            f"Runs that are registered together need as many frames each; {said}: choose the frames of the same moments."
        )
    return counts[0]


def _one_each(
    masks: Sequence[NDArray[np.bool_] | None] | None, frames: Sequence[Xray]
) -> Sequence[NDArray[np.bool_] | None]:
    marks = masks if masks is not None else [None] * len(frames)
    if len(marks) != len(frames):
        raise InputError(f"Each frame needs its mask, or None: got {len(marks)} masks for {len(frames)} frames.")
    return marks


def _followed(
    moments: Sequence[tuple[tuple[Xray, ...], _Register]],
    sources: Collection[str],
    starts: Mapping[str, ArrayLike] | None,
    progress: Callable[[int, int], None] | None,
) -> list[tuple[Registration, ...]]:
    """What was found at each moment, a registration for each of its X-rays."""
    found: list[tuple[Registration, ...]] = []
    last: tuple[Registration, ...] | None = None
    for xrays, register in moments:
        try:
            result = _next(register, last, sources, starts)
        except InputError as e:
            if last is None:
                raise
            result = tuple(_lost(xray, before, str(e)) for xray, before in zip(xrays, last, strict=True))
        if result[0].verdict != "failed":
            last = result
        found.append(result)
        if progress is not None:
            progress(len(found), len(moments))
    return found


def _next(
    register: _Register,
    last: tuple[Registration, ...] | None,
    sources: Collection[str],
    starts: Mapping[str, ArrayLike] | None,
) -> tuple[Registration, ...]:
    """A moment from the last one, and anew where that fails; with what both took."""
    if last is None:
        return register(sources, starts)
    result = register((), {LAST: last[0].pose}, search_range=FROM_FRAME_TO_FRAME)
    if result[0].verdict != "failed":
        return result
    again = register(sources, starts)
    better = again if again[0].similarity > result[0].similarity else result
    return tuple(
        dataclasses.replace(b, seconds=r.seconds + a.seconds, renders=r.renders + a.renders)
        for b, r, a in zip(better, result, again, strict=True)
    )


def _lost(xray: Xray, last: Registration, why: str) -> Registration:
    """A frame that cannot be registered: the last pose, failed."""
    return Registration(
        xray.name, last.pose, xray.intrinsics, 0.0, 0.0, winner=LAST, trust=Trust("failed", 1.0, why, "")
    )
