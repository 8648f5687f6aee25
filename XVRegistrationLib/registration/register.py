"""Registration of one X-ray: hypotheses compete at low resolution, the best is finished at the detector's useful one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.registration.attempts import register_prepared
from XVRegistrationLib.registration.hypotheses import SOURCES
from XVRegistrationLib.registration.objective import depth_of
from XVRegistrationLib.registration.search import prepare_xray

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.imaging.xray import Xray
    from XVRegistrationLib.registration.hypotheses import SearchRange
    from XVRegistrationLib.registration.model import PatientModel
    from XVRegistrationLib.registration.objective import DepthPrior
    from XVRegistrationLib.registration.result import Registration


_LEAST_RANGE_MM = 30.0


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
    search_range: SearchRange | None = None,
) -> Registration:
    """The pose of an X-ray, found without any manual start, or from the starts given.

    `sources` says where hypotheses come from (of `hypotheses.ALL_SOURCES`); the network is left out where the model has
    none. `starts` are poses (4, 4), camera -> RAS, that compete with them, by a name for where they come from; without
    `sources`, poses about them are tried as well, as far away as `search_range` says (by default 45 mm and 22 degrees; 20 mm
    and 16 degrees with `surroundings`). `mask` (H, W) says which pixels count,
    `surroundings` that the X-ray shows more than the volume, `depth` what is known of the isocentre's depth. `progress` is
    called before each render with stages done, stages in all and the highest similarity of the present stage; an
    exception from it ends the registration.

    Where the outcome of the bank's hypotheses is doubtful, the usual views and the opposites of what was found are tried too,
    unless the X-ray shows more than the volume; where that of starts alone is all but certainly wrong, other poses about
    them. A depth far outside of what the model was made for makes the verdict "check". Raises InputError for an X-ray
    without content, a mask of another size, or starts from which nothing is seen.
    """
    (found,) = register_prepared(
        model,
        [prepare_xray(xray, mask=mask)],
        sources,
        starts,
        progress=progress,
        surroundings=surroundings,
        depth=depth,
        search_range=search_range,
    )
    return _in_range(found, model)


def _in_range(found: Registration, model: PatientModel) -> Registration:
    """To be checked where the depth is far from all that the model was made for: a scale that is stated wrong looks like that."""
    depth, _ = depth_of(found.pose[None], np.array(model.view.isocenter, dtype=np.float64))
    off = abs(float(depth[0]) - model.view.sod)
    if (
        found.trust is None
        or found.verdict != "converged"
        or off <= 2 * max(model.pose_range.translation[2], _LEAST_RANGE_MM)
    ):
        return found
    reason = (
        f"The volume would be {depth[0]:.0f} mm from the source, where {model.view.sod:.0f} mm are expected: check the X-ray's "
        "distance between source and detector and its pixel spacing."
    )
    return dataclasses.replace(found, trust=dataclasses.replace(found.trust, verdict="check", reason=reason))
