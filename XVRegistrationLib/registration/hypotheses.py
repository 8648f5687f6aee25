"""Where a registration may start from: hypotheses about the pose of an X-ray, from every source that proposes any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as functional

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.counterparts import look_alike, mirror_symmetric, opposite
from XVRegistrationLib.geometry.rigid import check_rigid, increment, invert, translation
from XVRegistrationLib.geometry.views import PRESETS, preset_pose
from XVRegistrationLib.imaging.intensity import line_integral
from XVRegistrationLib.imaging.resample import filled_outside, resample, resample_counted
from XVRegistrationLib.imaging.usable import usable
from XVRegistrationLib.networks.predict import network_camera, predict
from XVRegistrationLib.registration.bank import bank_features, best_of_bank, similarity_where
from XVRegistrationLib.registration.objective import depth_of
from XVRegistrationLib.registration.similarity import sobel
from XVRegistrationLib.rendering.projected_bounds import covered
from XVRegistrationLib.rendering.render import render

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.imaging.xray import Xray
    from XVRegistrationLib.networks.pose_network import PoseNetwork
    from XVRegistrationLib.registration.model import PatientModel

BANK_STARTS = 12
"""Hypotheses taken from a bank of the usual size; from larger ones more, up to four times as many."""
COUNTERPARTS = 6
"""Hypotheses taken from the counterparts of all others."""
NETWORK_STARTS = 6
"""Hypotheses taken from about the network's prediction, beside it."""
PRESET_STARTS = 4
"""Hypotheses taken from the usual views."""
SOURCES = ("network", "bank")
"""Where hypotheses come from unless told otherwise."""
ALL_SOURCES = (*SOURCES, "presets", "opposites")
"""Where they may come from: also the usual views of a C-arm, and the counterparts of what the other sources propose."""


@dataclass(frozen=True)
class SearchRange:
    """Hypotheses about a start that is given alone, and so need not be near."""

    count: int
    mm: float
    """Farthest shift."""
    degrees: float
    """Largest turn."""
    draw: int = 0
    """Another number gives other hypotheses."""
    away_mm: float = 0.0
    """A second attempt leaves out what lies nearer in plane to the pose that the first one ended at."""


SEARCH_RANGE = SearchRange(256, 45.0, 22.0)
NETWORK_RANGE = SearchRange(512, 45.0, 20.0)
"""About a network's prediction: what a network of some seconds is wrong by."""
STRUCTURE_SEARCH_RANGE = SearchRange(2048, 24.0, 20.0)
"""For a structure among others in several views, of which the most alike are refined."""
SINGLE_STRUCTURE_SEARCH_RANGE = SearchRange(256, 20.0, 16.0, away_mm=16.0)
"""The same in one view, which tells less at first sight: each is refined. What it is mistaken for is a bone beside it."""


@dataclass(frozen=True, eq=False)
class Hypotheses:
    """Poses to start from, and where each comes from; the first of each kind is that kind's own best."""

    poses: NDArray[np.float64]
    """(B, 4, 4) camera -> RAS."""
    kinds: list[str]
    """One for each pose."""

    def __add__(self, other: Hypotheses) -> Hypotheses:
        return Hypotheses(np.concatenate([self.poses, other.poses]), self.kinds + other.kinds)

    def __len__(self) -> int:
        return len(self.kinds)


def propose(
    model: PatientModel,
    image: torch.Tensor,
    xray: Xray,
    sources: Collection[str] = SOURCES,
    starts: Mapping[str, ArrayLike] | None = None,
    search_range: SearchRange = SEARCH_RANGE,
    weight: torch.Tensor | None = None,
    avoided: NDArray[np.float64] | None = None,
    cut_off: bool = False,
) -> Hypotheses:
    """Hypotheses about an X-ray whose line integrals are `image` (H, W): the `starts` given, by name, and those of `sources`.

    Those about starts that are given alone lie away from the pose `avoided` (4, 4), if there is one. `weight` (H, W) says
    which of its pixels count; all without it. With `cut_off`, renders are compared where the volume holds all that the X-ray
    shows. Raises InputError for an unknown source, a start that is no pose, or where nothing proposes anything.
    """
    found = _given(sources, starts or {})
    if not sources:
        about = scattered(found, model.view.isocenter, search_range)
        found += about if avoided is None else _away_from(avoided, about, model.view.isocenter, search_range.away_mm)
    seen, good = _by_the_bank(model, image, xray, weight)
    if "network" in sources and model.network is not None:
        predicted = _predicted(model, model.network, image, xray, weight)
        about = scattered(predicted, model.view.isocenter, NETWORK_RANGE)
        found += predicted + most_similar(model, seen, about, NETWORK_STARTS, good, cut_off)
    if "bank" in sources:
        more = int(np.clip(len(model.bank.poses) // 8192, 1, 4))
        poses = best_of_bank(model.bank, seen, BANK_STARTS * more, good, model.bank_cover if cut_off else None)
        found += Hypotheses(poses, ["bank"] * len(poses))
    if "presets" in sources:
        views = shifted(model, seen, presets(model.view.isocenter, model.view.sod), good)
        found += most_similar(model, seen, views, PRESET_STARTS, good, cut_off)
    if not len(found):
        if set(sources) == {"opposites"}:
            raise InputError("There is nothing to take the opposites of; give a start, or another source with them.")
        raise InputError("This model has no network yet; register with its bank, or train it.")
    if "opposites" in sources:
        others = opposites(found.poses, model.view.isocenter)
        found += most_similar(model, seen, others, COUNTERPARTS, good, cut_off)
    return found


def _predicted(
    model: PatientModel, network: PoseNetwork, image: torch.Tensor, xray: Xray, weight: torch.Tensor | None
) -> Hypotheses:
    """What the network says of line integrals (H, W), where those that do not count are filled."""
    camera = network_camera(model.intrinsics, network.settings.pixels)
    shown = image if weight is None else filled_outside(image, weight)
    seen, _ = resample(shown, xray.intrinsics, camera)
    return Hypotheses(predict(network, model.view, seen[None]), ["network"])


def _by_the_bank(
    model: PatientModel, image: torch.Tensor, xray: Xray, weight: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Line integrals and weight (H, W), if there is one, as the bank's camera sees them."""
    if weight is None:
        return resample(image, xray.intrinsics, model.bank.intrinsics)[0], None
    return resample_counted(image, weight, xray.intrinsics, model.bank.intrinsics)


def presets(isocenter: ArrayLike, sod: float, names: Collection[str] = tuple(PRESETS)) -> Hypotheses:
    """The usual views of a C-arm about `isocenter` (3,), RAS mm, from `sod` mm, each of its own kind."""
    return Hypotheses(np.stack([preset_pose(name, isocenter, sod) for name in names]), list(names))


def opposites(poses: ArrayLike, isocenter: ArrayLike) -> Hypotheses:
    """What each of the poses (B, 4, 4) may be mistaken for: from the other side, mirrored, and both (3 B poses).

    The patient is taken as symmetric about the sagittal plane of `isocenter` (3,), RAS mm. Which of them are worth a
    refinement, `most_similar` tells.
    """
    t = np.asarray(poses, dtype=np.float64).reshape(-1, 4, 4)
    parts = {
        "opposite": opposite(t, isocenter),
        "mirrored": mirror_symmetric(t, isocenter),
        "opposite mirrored": look_alike(t, isocenter),
    }
    return Hypotheses(np.concatenate(list(parts.values())), [kind for kind in parts for _ in t])


def scattered(about: Hypotheses, pivot: ArrayLike, search_range: SearchRange = SEARCH_RANGE) -> Hypotheses:
    """Hypotheses at Sobol points about those given, turned about `pivot` (3,), RAS mm; `search_range.count` in all."""
    from scipy.stats import norm, qmc

    each = max(1, search_range.count // max(len(about), 1))
    unit = qmc.Sobol(8, scramble=True, seed=search_range.draw).random(int(2 ** np.ceil(np.log2(each))))[:each]
    # Evenly over two balls, of shifts and of rotation vectors.
    direction = norm.ppf(np.clip(unit[:, :6], 1e-9, 1 - 1e-9)).reshape(each, 2, 3)
    direction /= np.linalg.norm(direction, axis=2, keepdims=True)
    radius = np.cbrt(unit[:, 6:]) * (search_range.mm, np.radians(search_range.degrees))
    motions = increment((direction * radius[:, :, None]).reshape(each, 6), pivot)
    return Hypotheses(
        np.concatenate([motions @ pose for pose in about.poses]), [kind for kind in about.kinds for _ in range(each)]
    )


def _away_from(avoided: NDArray[np.float64], hypotheses: Hypotheses, pivot: ArrayLike, away_mm: float) -> Hypotheses:
    """Those of the hypotheses that put the pivot `away_mm` or more beside where the pose `avoided` does; all, if none does."""
    homogeneous = np.append(np.asarray(pivot, dtype=np.float64), 1.0)
    beside = invert(hypotheses.poses) @ homogeneous - invert(avoided) @ homogeneous
    kept = np.flatnonzero(np.linalg.norm(beside[:, :2], axis=1) >= away_mm)
    if not len(kept):
        return hypotheses
    return Hypotheses(hypotheses.poses[kept], [hypotheses.kinds[i] for i in kept])


def most_similar(
    model: PatientModel,
    seen: torch.Tensor,
    hypotheses: Hypotheses,
    most: int,
    weight: torch.Tensor | None = None,
    cut_off: bool = False,
) -> Hypotheses:
    """The `most` hypotheses, best first, whose renders are most like an X-ray `seen` (H, W) by the bank's camera.

    `weight` (H, W) and `cut_off` say which pixels count, as in `propose`.
    """
    similarity = similarities(model, seen, hypotheses.poses, weight, cut_off)
    order = np.argsort(-similarity, kind="stable")[:most]
    return Hypotheses(hypotheses.poses[order], [hypotheses.kinds[i] for i in order])


def shifted(
    model: PatientModel, seen: torch.Tensor, hypotheses: Hypotheses, weight: torch.Tensor | None = None
) -> Hypotheses:
    """Each hypothesis moved in its image's plane to where its render falls best on an X-ray `seen` (H, W) by the bank's camera.

    That is the peak of the cross-correlation of the Sobel gradients, in whole pixels; of those of the X-ray where all
    pixels count by `weight` (H, W).
    """
    camera = model.bank.intrinsics
    size = [2 * n for n in seen.shape]
    gradients = sobel(seen[None])
    if weight is not None:
        gradients = gradients * -functional.max_pool2d(-(weight > 0.5).to(seen.dtype)[None, None], 3, stride=1)
    spectrum = torch.fft.rfft2(gradients, s=size)
    others = torch.fft.rfft2(sobel(_renders(model, hypotheses.poses)), s=size)
    score = torch.fft.irfft2((spectrum * others.conj()).sum(dim=1), s=size)
    peak = score.flatten(1).argmax(dim=1).numpy()
    # Shifts of more than half of the doubled size are those to the other side.
    rows, columns = ((k + n // 2) % n - n // 2 for k, n in zip(np.unravel_index(peak, size), size, strict=True))
    if camera.mirrored:
        columns = -columns
    depth, _ = depth_of(hypotheses.poses, np.asarray(model.view.isocenter, dtype=np.float64))
    on_detector = np.stack([columns * camera.spacing[0], rows * camera.spacing[1], 0 * rows], axis=1)
    move = on_detector * (depth / camera.sdd)[:, None]
    return Hypotheses(hypotheses.poses @ translation(-move), hypotheses.kinds)


def shifted_onto(model: PatientModel, xray: Xray, hypotheses: Hypotheses) -> Hypotheses:
    """Each hypothesis moved in its image's plane to where it falls best on an X-ray, as `shifted` does."""
    good = usable(xray)
    weight = None if good is None else torch.from_numpy(good.astype(np.float32))
    seen, weight = _by_the_bank(model, torch.from_numpy(line_integral(xray)), xray, weight)
    return shifted(model, seen, hypotheses, weight)


def with_shifted(
    model: PatientModel, xray: Xray, starts: Mapping[str, ArrayLike], names: Collection[str]
) -> dict[str, NDArray[np.float64]]:
    """Starts (4, 4), camera -> RAS, by name, those of `names` with a copy beside them that is shifted onto an X-ray.

    It is for starts that a C-arm's angles state: they do not say how the patient lies on the table. Raises InputError for a
    start that is no pose.
    """
    found = {}
    for name, start in starts.items():
        found[name] = check_rigid(start, f"start {name!r}")
        if name in names:
            found[f"{name}, shifted"] = shifted_onto(model, xray, Hypotheses(found[name][None], [name])).poses[0]
    return found


def similarities(
    model: PatientModel,
    seen: torch.Tensor,
    poses: NDArray[np.float64],
    weight: torch.Tensor | None = None,
    cut_off: bool = False,
) -> NDArray[np.float64]:
    """Similarities (B,) of poses (B, 4, 4) to an X-ray `seen` (H, W) by the bank's camera, on the bank's own scale.

    `weight` (H, W) and `cut_off` say which pixels count, as in `propose`.
    """
    renders, beyond = _renders(model, poses), model.pyramid.beyond
    if cut_off and beyond is not None:
        cover = covered(beyond, poses, model.bank.intrinsics)
        found = similarity_where(bank_features(renders), seen, cover, weight)
    else:
        found = bank_features(renders, weight) @ bank_features(seen[None], weight)[0]
    score: NDArray[np.float64] = found.double().numpy()
    return score


def _renders(model: PatientModel, poses: NDArray[np.float64]) -> torch.Tensor:
    """Renders (B, H, W) as the bank's own."""
    camera = model.bank.intrinsics
    footprint = camera.footprint(model.view.sod)
    return render(model.pyramid.matched_to(footprint), poses, camera, footprint / 2).cpu()


def _given(sources: Collection[str], starts: Mapping[str, ArrayLike]) -> Hypotheses:
    """The starts given, where they and the sources asked for can be."""
    unknown = set(sources) - set(ALL_SOURCES)
    if unknown or not (sources or starts):
        raise InputError(
            f"Hypotheses come from {', '.join(ALL_SOURCES)}, not from {', '.join(sorted(unknown)) or 'nothing'}."
        )
    if set(starts) & set(ALL_SOURCES):
        raise InputError(f"A start that is given cannot be called {' or '.join(ALL_SOURCES)}.")
    poses = [check_rigid(pose, f"start {kind!r}") for kind, pose in starts.items()]
    return Hypotheses(np.array(poses).reshape(-1, 4, 4), list(starts))
