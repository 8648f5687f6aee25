"""The search for one rigid pose of each structure in one X-ray or several: hypotheses, stages, and what the image leaves open."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.intensity import line_integral
from XVRegistrationLib.imaging.usable import left_out, usable
from XVRegistrationLib.registration.covariance import in_plane_alone, pose_uncertainty, sandwich_covariance
from XVRegistrationLib.registration.objective import Estimates, View, at_depth, changed, depth_of, view_of
from XVRegistrationLib.registration.response import NAMES
from XVRegistrationLib.registration.result import Registration, Start
from XVRegistrationLib.registration.stages import SearchResult, Stage, run_stages, stages_for
from XVRegistrationLib.registration.verdict import evidence_of, trust_in
from XVRegistrationLib.rendering.projected_bounds import covered, detector_part, projected_mask
from XVRegistrationLib.versions import versions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.imaging.xray import Xray
    from XVRegistrationLib.registration.hypotheses import Hypotheses
    from XVRegistrationLib.registration.objective import DepthPrior, Rendered
    from XVRegistrationLib.rendering.grid import DensityGrid
    from XVRegistrationLib.rendering.pyramid import Pyramid

_CROP_BELOW = 0.7  # of the detector's area; above, a part of it saves nothing
_LOOKED_FOR_AT = 4.0  # voxels, mm, that are enough to find where a volume falls
_LEAST_PIXELS = 32
_MOST_PROJECTED = 16  # hypotheses whose bounds on the detector are looked for


@dataclass(frozen=True, eq=False)
class PreparedXray:
    """One X-ray of a search."""

    xray: Xray
    image: torch.Tensor
    """(H, W) line integrals."""
    weight: torch.Tensor | None
    """(H, W) 0..1, which of its pixels can be used; all without it."""
    offset: NDArray[np.float64]
    """(4, 4) this camera -> the first X-ray's, mm."""
    opening: torch.Tensor | None = None
    """(H, W) 0 or 1, what a collimator leaves open; all without it."""


def prepare_xray(
    xray: Xray, offset: NDArray[np.float64] | None = None, mask: NDArray[np.bool_] | None = None
) -> PreparedXray:
    """An X-ray made ready; `mask` (H, W) says which pixels count, beside those that are collimated or saturated.

    Raises InputError for an image without content, or too small to tell anything, and for a mask that leaves nothing.
    """
    width, height = xray.intrinsics.size
    if min(width, height) < _LEAST_PIXELS:
        raise InputError(
            f"The X-ray {xray.name} has {width} x {height} pixels; a registration needs {_LEAST_PIXELS} x {_LEAST_PIXELS} at least."
        )
    good = usable(xray, mask)
    image = torch.from_numpy(line_integral(xray))
    weight = None if good is None else torch.from_numpy(good.astype(np.float32))
    open_ = ~left_out(xray).collimated
    opening = None if good is None or open_.all() else torch.from_numpy(open_.astype(np.float32))
    place = np.eye(4) if offset is None else np.asarray(offset, dtype=np.float64)
    return PreparedXray(xray, image, weight, place, opening)


def search(
    pyramids: Sequence[Pyramid],
    prepared: Sequence[PreparedXray],
    pivots: NDArray[np.float64],
    start: Estimates,
    *,
    stages: Sequence[Stage] | None = None,
    surroundings: bool = False,
    beyond: DensityGrid | None = None,
    prior: DepthPrior | None = None,
    geometry: bool = False,
    progress: Callable[[int, int, float], None] | None = None,
) -> SearchResult:
    """The best of the hypotheses, refined. `pivots` (S, 3), RAS mm, are the structures' own.

    With `surroundings` the X-rays show more than the volumes: pixels away from these do not count, and what they cut off
    goes on. Without, what lies `beyond` the first of them is shown too, and pixels that it falls on do not count. `progress` is
    called with stages done, stages in all and the highest similarity.
    """
    if prior is not None and prior.sd_mm == 0:
        start = dataclasses.replace(start, poses=at_depth(start.poses, pivots[0], prior.depth_mm))
    chosen = stages_for(len(start), surroundings, len(prepared)) if stages is None else stages
    shown = pyramids
    if surroundings or beyond is not None:
        shown = [p.continued if surroundings else p.prolonged for p in pyramids]

    def views_at(stage: Stage, estimates: Estimates) -> list[View]:
        return [_view(shown, s, pivots, stage, estimates, surroundings, beyond) for s in prepared]

    said = None if progress is None else partial(_say, progress, len(chosen))
    return run_stages(start, views_at, pivots, chosen, prior, said, geometry)


def registrations(
    found: SearchResult,
    hypotheses: Hypotheses,
    prepared: Sequence[PreparedXray],
    pivots: NDArray[np.float64],
    began: float,
    structure: int = 0,
    prior: DepthPrior | None = None,
    uncalibrated: str = "",
) -> tuple[Registration, ...]:
    """What a search found, for each X-ray; `uncalibrated` as in `verdict.trust_in`."""
    lowest: dict[str, float] = {}
    for kind, cost in zip(hypotheses.kinds, found.first_costs, strict=True):
        lowest[kind] = min(lowest.get(kind, np.inf), float(cost))
    first_of = {kind: hypotheses.poses[hypotheses.kinds.index(kind)] for kind in lowest}
    sandwich = sandwich_covariance(found, pivots)
    uncertainty = pose_uncertainty(sandwich, pivots, structure, found.estimates.poses[0, structure], prior)
    alone = in_plane_alone(found, sandwich, pivots, structure)
    evidence = evidence_of(found, float(alone[:, 0].max()), pivots, structure)
    disagree = float(alone[:, 1].max()) if len(prepared) > 1 else 0.0
    unseen = [
        s.xray.name
        for s, view, shown in zip(prepared, found.views, found.shown, strict=True)
        if not _sees(view, shown, structure)
    ]
    results = []
    for v, s in enumerate(prepared):
        pose = found.estimates.poses[0, structure] @ s.offset
        results.append(
            Registration(
                name=s.xray.name,
                pose=pose,
                intrinsics=changed(s.xray.intrinsics, found.estimates.geometry[0, v]),
                similarity=sandwich.similarity,
                seconds=time.perf_counter() - began,
                starts=tuple(Start(kind, first @ s.offset, lowest[kind]) for kind, first in first_of.items()),
                winner=hypotheses.kinds[found.start],
                versions=versions(),
                renders=found.renders,
                uncertainty=uncertainty,
                trust=trust_in(
                    evidence, uncertainty, pose, unseen=unseen, disagreement_mm=disagree, uncalibrated=uncalibrated
                ),
                evidence=evidence,
                response=dict(zip(NAMES, found.estimates.response[0, v].tolist(), strict=True)),
            )
        )
    return tuple(results)


def _sees(view: View, shown: Rendered, structure: int) -> bool:
    """Whether any pixel that counts changes with the structure's pose."""
    changes = shown.jacobians[0, 6 * structure : 6 * structure + 6].abs().amax(dim=0)
    return bool((changes if view.weight is None else changes * view.weight).any())


def _say(progress: Callable[[int, int, float], None], stages: int, stage: int, cost: float) -> None:
    progress(stage, stages, 1.0 - cost)


def _view(
    pyramids: Sequence[Pyramid],
    s: PreparedXray,
    pivots: NDArray[np.float64],
    stage: Stage,
    estimates: Estimates,
    surroundings: bool,
    beyond: DensityGrid | None,
) -> View:
    poses = estimates.poses @ s.offset
    depth = float(np.median(np.maximum(depth_of(poses[:, 0], pivots[0])[0], 1.0)))
    coarse = [p.matched_to(_LOOKED_FOR_AT) for p in pyramids]
    # Many hypotheses are about the first of them, or anywhere: the margin is what covers those.
    few = (
        poses
        if len(poses) <= _MOST_PROJECTED
        else poses[:1]
        if surroundings
        else poses[:: len(poses) // _MOST_PROJECTED]
    )
    parts = [detector_part(grid, few[:, k], s.xray.intrinsics, stage.margin_mm) for k, grid in enumerate(coarse)]
    if all(part is None for part in parts):
        raise InputError(
            f"Nothing of the volume falls on the X-ray {s.xray.name} at any start: give a start nearer to the pose, or "
            "check the X-ray's geometry."
        )
    part = _common(s.xray.intrinsics, [p for p in parts if p is not None])
    view = view_of(
        s.image,
        s.xray.intrinsics,
        pyramids,
        stage.pixels,
        depth,
        stage.similarity,
        s.weight,
        s.offset,
        stage.coarsening,
        part,
        s.opening,
    )
    if not surroundings:
        return view if beyond is None else _counting(view, covered(beyond, poses[:, 0], view.intrinsics))
    seen = torch.stack(
        [projected_mask(g, few[:, k], view.intrinsics, stage.near_mm) for k, g in enumerate(coarse)]
    ).amax(dim=0)
    return _counting(view, seen)


def _counting(view: View, pixels: torch.Tensor) -> View:
    """The view with those of its pixels left that count in `pixels` too."""
    return dataclasses.replace(view, weight=pixels if view.weight is None else pixels * view.weight)


def _common(whole: Intrinsics, parts: Sequence[Intrinsics]) -> Intrinsics | None:
    """The only part of the detector that is looked at; None for all of it."""
    if len(parts) != 1:
        return None
    width, height = parts[0].size
    return parts[0] if width * height < _CROP_BELOW * whole.size[0] * whole.size[1] else None
