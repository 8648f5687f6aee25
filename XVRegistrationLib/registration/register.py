"""Registration of one X-ray: hypotheses compete at low resolution, the best is finished at the detector's useful one."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.registration.hypotheses import (
    ALL_SOURCES,
    SCATTER,
    SOURCES,
    STRUCTURE_SCATTER,
    Scatter,
    propose,
)
from XVRegistrationLib.registration.objective import Estimates
from XVRegistrationLib.registration.search import registrations, search, sight

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.imaging.xray import Xray
    from XVRegistrationLib.registration.model import PatientModel
    from XVRegistrationLib.registration.objective import DepthPrior
    from XVRegistrationLib.registration.result import Registration


_AGAIN = "first attempt"


def register_xray(
    model: PatientModel,
    xray: Xray,
    sources: Collection[str] = SOURCES,
    starts: Mapping[str, ArrayLike] | None = None,
    progress: Callable[[int, int, float], None] | None = None,
    *,
    mask: NDArray[np.bool_] | None = None,
    surroundings: bool = False,
    depth: DepthPrior | None = None,
    scatter: Scatter | None = None,
) -> Registration:
    """The pose of an X-ray, found without any manual start, or from the starts given.

    `sources` says where hypotheses come from (of `hypotheses.ALL_SOURCES`); the network is left out where the model has
    none. `starts` are poses (4, 4), camera -> RAS, that compete with them, by a name for where they come from; without
    `sources`, poses about them are tried as well, as far away as `scatter` says (by default 45 mm and 22 degrees; 20 mm
    and 16 degrees with `surroundings`). `mask` (H, W) says which pixels count,
    `surroundings` that the X-ray shows more than the volume, `depth` what is known of the isocentre's depth. `progress` is
    called before each render with stages done, stages in all and the highest similarity of the present stage; an
    exception from it ends the registration.

    Where the outcome is doubtful, the usual views and the opposites of what was found are tried too. Raises InputError for
    an X-ray without content, a mask of another size, or starts from which nothing is seen.
    """
    about = scatter or (STRUCTURE_SCATTER if surroundings else SCATTER)
    first = _attempt(model, xray, sources, starts, progress, mask, surroundings, depth, about)
    untried = [source for source in ALL_SOURCES if source not in sources]
    if surroundings or first.verdict == "converged" or "bank" not in sources or not untried:
        return first
    second = _attempt(model, xray, untried, {_AGAIN: first.pose}, progress, mask, surroundings, depth, about)
    return _better(first, second)


def _attempt(
    model: PatientModel,
    xray: Xray,
    sources: Collection[str],
    starts: Mapping[str, ArrayLike] | None,
    progress: Callable[[int, int, float], None] | None,
    mask: NDArray[np.bool_] | None,
    surroundings: bool,
    depth: DepthPrior | None,
    scatter: Scatter,
) -> Registration:
    began = time.perf_counter()
    seen = sight(xray, mask=mask)
    hypotheses = propose(model, seen.image, xray, sources, starts, scatter)
    pivots = np.array([model.view.isocenter], dtype=np.float64)
    found = search(
        [model.pyramid],
        [seen],
        pivots,
        Estimates.at(hypotheses.poses),
        surroundings=surroundings,
        prior=depth,
        progress=progress,
    )
    return registrations(found, hypotheses, [seen], pivots, began, prior=depth, surroundings=surroundings)[0]


def _better(first: Registration, second: Registration) -> Registration:
    """The one of higher similarity, with what both of them took."""
    chosen = first
    if second.similarity > first.similarity:
        chosen = dataclasses.replace(second, winner=first.winner) if second.winner == _AGAIN else second
    return dataclasses.replace(chosen, seconds=first.seconds + second.seconds, renders=first.renders + second.renders)
