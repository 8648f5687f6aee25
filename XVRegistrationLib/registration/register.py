"""Registration of one X-ray: hypotheses from the network and the bank, coarse refinement of all, the best goes on."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.rigid import check_rigid
from XVRegistrationLib.imaging.intensity import line_integral
from XVRegistrationLib.imaging.resample import resample
from XVRegistrationLib.networks.predict import network_camera, predict
from XVRegistrationLib.registration.bank import best_of_bank
from XVRegistrationLib.registration.refine import Level, refine, target
from XVRegistrationLib.registration.result import Registration, Start
from XVRegistrationLib.versions import versions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.imaging.xray import Xray
    from XVRegistrationLib.registration.model import PatientModel

BANK_STARTS = 12
"""Hypotheses taken from the bank."""
FINALISTS = 2
"""Hypotheses that the second level refines; its best goes on alone."""
LEVELS = (Level(48, (0,), 6), Level(64, (0, 16), 15), Level(128, (0, 16), 8), Level(256, (0, 24), 5))
"""From coarse to fine; the first two are where hypotheses compete."""
SOURCES = ("network", "bank")


def register_xray(
    model: PatientModel,
    xray: Xray,
    sources: Collection[str] = SOURCES,
    starts: Mapping[str, ArrayLike] | None = None,
    progress: Callable[[int, int, float], None] | None = None,
) -> Registration:
    """The pose of an X-ray, found without any manual start, or from the starts given.

    `sources` says where hypotheses come from ("network", "bank"); the network is left out where the model has none.
    `starts` are poses (4, 4), camera -> RAS, that compete with them, by a name for where they come from; with `starts`
    alone, `sources` may be empty. `progress` is called before each render with levels done, levels in all and the highest
    similarity of the present level; an exception from it ends the registration.
    """
    began = time.perf_counter()
    image = torch.from_numpy(line_integral(xray))
    poses, kinds = _hypotheses(model, image, xray, sources, starts or {})
    first_of = {kind: poses[kinds.index(kind)] for kind in dict.fromkeys(kinds)}
    lowest_of: dict[str, float] = {}
    pivot = model.view.isocenter
    for n, level in enumerate(LEVELS):
        goal = target(image, xray.intrinsics, model.pyramid, level, model.view.sod)
        said = None if progress is None else partial(_say, progress, n)
        poses, cost = refine(poses, goal, pivot, level.iterations, said)
        if n == 0:
            lowest_of = {k: float(min(c for c, kind in zip(cost, kinds, strict=True) if kind == k)) for k in first_of}
        order = np.argsort(cost)[: FINALISTS if n == 0 else 1]
        poses, cost, kinds = poses[order], cost[order], [kinds[i] for i in order]
    return Registration(
        name=xray.name,
        pose=poses[0],
        intrinsics=xray.intrinsics,
        similarity=1.0 - float(cost[0]),
        seconds=time.perf_counter() - began,
        starts=tuple(Start(kind, pose, lowest_of[kind]) for kind, pose in first_of.items()),
        winner=kinds[0],
        versions=versions(),
    )


def _say(progress: Callable[[int, int, float], None], level: int, cost: float) -> None:
    progress(level, len(LEVELS), 1.0 - cost)


def _hypotheses(
    model: PatientModel,
    image: torch.Tensor,
    xray: Xray,
    sources: Collection[str],
    starts: Mapping[str, ArrayLike],
) -> tuple[NDArray[np.float64], list[str]]:
    """Start poses (B, 4, 4) and the kind of each; the first of each kind is that kind's own best."""
    unknown = set(sources) - set(SOURCES)
    if unknown or not (sources or starts):
        raise InputError(
            f"Hypotheses come from {' and '.join(SOURCES)}, not from {', '.join(sorted(unknown)) or 'nothing'}."
        )
    if set(starts) & set(SOURCES):
        raise InputError(f"A start that is given cannot be called {' or '.join(SOURCES)}.")
    poses = [check_rigid(pose, f"start {kind!r}")[None] for kind, pose in starts.items()]
    kinds = list(starts)
    if "network" in sources and model.network is not None:
        camera = network_camera(model.intrinsics, model.network.settings.pixels)
        seen, _ = resample(image, xray.intrinsics, camera)
        poses.append(predict(model.network, model.view, seen[None]))
        kinds.append("network")
    if "bank" in sources:
        seen, _ = resample(image, xray.intrinsics, model.bank.intrinsics)
        found = best_of_bank(model.bank, seen, BANK_STARTS)
        poses.append(found)
        kinds.extend(["bank"] * len(found))
    if not poses:
        raise InputError("This model has no network yet; register with its bank, or train it.")
    return np.concatenate(poses), kinds
