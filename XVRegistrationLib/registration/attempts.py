"""One pose that X-rays share: an attempt from some hypotheses, and another from other ones where the first is doubtful."""

from __future__ import annotations

import dataclasses
import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.geometry.rigid import invert
from XVRegistrationLib.registration.hypotheses import (
    SEARCH_RANGE,
    SINGLE_STRUCTURE_SEARCH_RANGE,
    STRUCTURE_SEARCH_RANGE,
    Hypotheses,
    propose,
)
from XVRegistrationLib.registration.objective import Estimates
from XVRegistrationLib.registration.result import VERDICTS
from XVRegistrationLib.registration.search import registrations, search
from XVRegistrationLib.registration.verdict import SURROUNDED, trust_in

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.registration.hypotheses import SearchRange
    from XVRegistrationLib.registration.model import PatientModel
    from XVRegistrationLib.registration.objective import DepthPrior
    from XVRegistrationLib.registration.result import Registration
    from XVRegistrationLib.registration.search import PreparedXray

AGAIN = "first attempt"
"""Kind of the start that is what the first attempt found."""
HOPELESS = 0.97
"""Probability that a pose is wrong above which it is looked for once more, from other hypotheses about the same starts."""
_RIVALS = ("presets", "opposites")  # what else may explain an X-ray of which the bank's best pose is in doubt


def register_prepared(
    model: PatientModel,
    prepared: Sequence[PreparedXray],
    sources: Collection[str],
    starts: Mapping[str, ArrayLike] | None,
    *,
    progress: Callable[[int, int, float], None] | None = None,
    surroundings: bool = False,
    depth: DepthPrior | None = None,
    geometry: bool = False,
    search_range: SearchRange | None = None,
) -> tuple[Registration, ...]:
    """A registration for each X-ray, as `register_xray` and `register_views` describe.

    Unless the X-rays are said to show more than the volume: where the outcome is doubtful and the volume ends within the body,
    X-rays may show what it lacks; then the same is tried with only those pixels that it holds all of the body for, and the
    surer outcome counts. Where that of the bank's hypotheses is doubtful still, the usual views and the opposites of what was
    found are tried too. Where that of starts alone is all but certainly wrong, other poses about them are, away from that one
    where the range says so. The more similar outcome counts.
    """
    about = search_range or _search_range(surroundings, len(prepared))
    attempt = partial(
        _attempt, model, prepared, progress=progress, surroundings=surroundings, depth=depth, geometry=geometry
    )
    found = attempt(sources, starts, about)
    if not surroundings and found[0].verdict != "converged":
        if model.cut_off:
            held = attempt(sources, starts, about, cut_off=True)
            surer = _doubt(held) < _doubt(found)
            found = _either(found, held, surer)
            if surer:
                attempt = partial(attempt, cut_off=True)
        untried = [source for source in _RIVALS if source not in sources]
        if found[0].verdict != "converged" and "bank" in sources and untried:
            second = attempt(untried, {AGAIN: found[0].pose}, about)
            return _either(found, second, second[0].similarity > found[0].similarity)
    if not sources and _doubt(found) > HOPELESS:
        other = dataclasses.replace(about, draw=about.draw + 1)
        second = attempt((), starts, other, avoided=found[0].pose)
        return _either(found, second, second[0].similarity > found[0].similarity)
    return found


def _doubt(found: tuple[Registration, ...]) -> float:
    """Probability (0..1) that what was found is wrong."""
    return 1.0 if found[0].trust is None else found[0].trust.probability


def _search_range(surroundings: bool, views: int) -> SearchRange:
    """Where to look about starts that are given alone."""
    if not surroundings:
        return SEARCH_RANGE
    return STRUCTURE_SEARCH_RANGE if views > 1 else SINGLE_STRUCTURE_SEARCH_RANGE


def _attempt(
    model: PatientModel,
    prepared: Sequence[PreparedXray],
    sources: Collection[str],
    starts: Mapping[str, ArrayLike] | None,
    search_range: SearchRange,
    *,
    progress: Callable[[int, int, float], None] | None,
    surroundings: bool,
    depth: DepthPrior | None,
    geometry: bool,
    avoided: NDArray[np.float64] | None = None,
    cut_off: bool = False,
) -> tuple[Registration, ...]:
    began = time.perf_counter()
    hypotheses = _hypotheses(model, prepared, sources, starts, search_range, avoided, cut_off)
    pivots = np.array([model.view.isocenter], dtype=np.float64)
    found = search(
        [model.pyramid],
        prepared,
        pivots,
        Estimates.at(hypotheses.poses, len(prepared)),
        surroundings=surroundings,
        beyond=model.pyramid.beyond if cut_off else None,
        prior=depth,
        geometry=geometry,
        progress=progress,
    )
    uncalibrated = SURROUNDED if surroundings else ""
    return registrations(found, hypotheses, prepared, pivots, began, prior=depth, uncalibrated=uncalibrated)


def _hypotheses(
    model: PatientModel,
    prepared: Sequence[PreparedXray],
    sources: Collection[str],
    starts: Mapping[str, ArrayLike] | None,
    search_range: SearchRange,
    avoided: NDArray[np.float64] | None,
    cut_off: bool,
) -> Hypotheses:
    """Poses of the first camera, from what each X-ray proposes for its own."""
    first = prepared[0]
    found = propose(model, first.image, first.xray, sources, starts, search_range, first.weight, avoided, cut_off)
    # The starts, and so their opposites, are the first camera's alone.
    proposing = {"bank", "presets"} | ({"network"} if model.network is not None else set())
    if proposing.isdisjoint(sources):
        return found
    for s in prepared[1:]:
        own = propose(model, s.image, s.xray, sources, weight=s.weight, cut_off=cut_off)
        found += Hypotheses(own.poses @ invert(s.offset), own.kinds)
    return found


def _either(
    first: tuple[Registration, ...], second: tuple[Registration, ...], second_is_better: bool
) -> tuple[Registration, ...]:
    """One of two attempts, with all that both of them tried and took."""
    chosen = second if second_is_better else first
    return tuple(_with_both(c, a, b) for c, a, b in zip(chosen, first, second, strict=True))


def _with_both(chosen: Registration, first: Registration, second: Registration) -> Registration:
    """One of two attempts at an X-ray, with what both of them tried and took.

    Where the second attempt came back to the first's pose, what rivalled that pose in the first still does.
    """
    if second.winner == AGAIN:
        evidence = {**chosen.evidence, "rivalry": max(first.evidence["rivalry"], second.evidence["rivalry"])}
        chosen = dataclasses.replace(chosen, winner=first.winner, evidence=evidence)
        if chosen.uncertainty is not None and chosen.trust is not None:
            with_rival = trust_in(evidence, chosen.uncertainty, chosen.pose)
            if VERDICTS.index(with_rival.verdict) >= VERDICTS.index(chosen.trust.verdict):
                chosen = dataclasses.replace(chosen, trust=with_rival)
    proposed = {start.kind for start in first.starts}
    return dataclasses.replace(
        chosen,
        starts=first.starts + tuple(s for s in second.starts if s.kind != AGAIN and s.kind not in proposed),
        seconds=first.seconds + second.seconds,
        renders=first.renders + second.renders,
    )
