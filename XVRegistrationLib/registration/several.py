"""Registration of several X-rays of one patient at once: cameras in known relation, one pose for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import check_rigid
from XVRegistrationLib.registration.attempts import register_prepared
from XVRegistrationLib.registration.hypotheses import SOURCES
from XVRegistrationLib.registration.search import prepare_xray

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.imaging.xray import Xray
    from XVRegistrationLib.registration.hypotheses import SearchRange
    from XVRegistrationLib.registration.model import PatientModel
    from XVRegistrationLib.registration.objective import DepthPrior
    from XVRegistrationLib.registration.result import Registration, Trust


@dataclass(frozen=True, eq=False)
class JointRegistration:
    """One pose that several X-rays share."""

    views: tuple[Registration, ...]
    """Each X-ray's own pose and, if they were estimated, its own intrinsics; the same verdict and covariance for all, `weakest` in its own axes."""

    @property
    def trust(self) -> Trust | None:
        """How far all of it can be trusted."""
        return self.views[0].trust

    @property
    def renders(self) -> int:
        """Images rendered for all views together."""
        return self.views[0].renders


def register_views(
    model: PatientModel,
    xrays: Sequence[Xray],
    relative: Sequence[ArrayLike],
    sources: Collection[str] = SOURCES,
    starts: Mapping[str, ArrayLike] | None = None,
    progress: Callable[[int, int, float], None] | None = None,
    *,
    masks: Sequence[NDArray[np.bool_] | None] | None = None,
    surroundings: bool = False,
    depth: DepthPrior | None = None,
    geometry: bool = False,
    search_range: SearchRange | None = None,
) -> JointRegistration:
    """The poses of X-rays taken of the same, unmoved patient by cameras in known relation.

    `relative` (4, 4) each say where a camera is with respect to the first: pose of camera i = pose of the first @
    relative[i], so that the first of them is the identity. Hypotheses come from every X-ray by itself, `starts` are poses
    of the first camera. With `geometry`, distance and principal point of each view are estimated too. The rest is as in
    `register_xray`. Raises InputError for relations that are not rigid, are not as many as the X-rays, or do not begin
    with the identity, and for the geometry of a single view, which its depth could hide.
    """
    offsets = checked_relations(xrays, relative)
    if geometry and len(xrays) < 2:
        raise InputError("Distance and principal point can only be estimated from two views or more, not from one.")
    marks = masks if masks is not None else [None] * len(xrays)
    if len(marks) != len(xrays):
        raise InputError(f"Each X-ray needs its mask, or None: got {len(marks)} masks for {len(xrays)} X-rays.")
    prepared = [prepare_xray(x, o, m) for x, o, m in zip(xrays, offsets, marks, strict=True)]
    return JointRegistration(
        register_prepared(
            model,
            prepared,
            sources,
            starts,
            progress=progress,
            surroundings=surroundings,
            depth=depth,
            geometry=geometry,
            search_range=search_range,
        )
    )


def checked_relations(xrays: Sequence[Xray], relative: Sequence[ArrayLike]) -> list[NDArray[np.float64]]:
    """The relations (4, 4) of the cameras to the first one's; InputError where they are not what they should be."""
    if not xrays or len(xrays) != len(relative):
        raise InputError(
            f"Each X-ray needs the relation of its camera to the first one's: got {len(xrays)} X-rays and {len(relative)} "
            "relations."
        )
    offsets = [check_rigid(m, f"relation of {x.name} to the first X-ray") for m, x in zip(relative, xrays, strict=True)]
    if not np.allclose(offsets[0], np.eye(4), atol=1e-6):
        raise InputError("The first X-ray's relation to itself must be the identity.")
    return offsets
