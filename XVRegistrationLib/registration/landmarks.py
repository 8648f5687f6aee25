"""A pose from landmarks marked in the volume and on the X-ray (perspective-n-point), robust to wrong pairs.

Every triple of pairs proposes poses; those that explain the most landmarks are refined by robust least squares of the distances on the
detector. NumPy and SciPy only: it runs in Slicer.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.geometry.camera import pixel_to_camera
from XVRegistrationLib.geometry.p3p import three_point_poses
from XVRegistrationLib.geometry.rigid import increment, invert

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics

TOLERANCE_MM = 5.0
"""A pair belongs to a pose if its landmark falls so near to its mark, mm on the detector (about 3 mm in the patient)."""
CLOSE_MM = 1.5
"""Four pairs that are left of five belong to a pose if they are this near to it in the root mean square, mm on the detector."""
_LEAST = 4
_MOST_TRIPLES = 400
_CANDIDATES = 8  # refined; planar landmarks alone have two good ones
_SAME_PLACE = 3.0  # mm: poses that bring the landmarks this near to each other are one
_FLAT = 0.01  # width over length below which points count as lying on a line
_CLICK = 1.0  # mm on the detector: residuals beyond it weigh less and less in the fit
_TURN = 100.0  # mm: the lever by which a radian is made comparable to a shift


@dataclass(frozen=True, eq=False)
class LandmarkPose:
    """The pose that explains landmark pairs."""

    pose: NDArray[np.float64]
    """(4, 4) camera -> RAS, mm."""
    residual_px: NDArray[np.float64]
    """(N,) distance of each projected landmark from its mark, stored px."""
    inliers: NDArray[np.bool_]
    """(N,) pairs that the pose rests on."""
    others: NDArray[np.float64]
    """(M, 4, 4) further poses, best first, that explain the pairs within the tolerance: landmarks in or near a plane have two."""

    @property
    def remark(self) -> str:
        """What a user should know about the pairs; empty where there is nothing to say."""
        wrong = np.flatnonzero(~self.inliers) + 1
        remarks = []
        if wrong.size:
            remarks.append(f"Left out as wrong: pair {', '.join(map(str, wrong))} of {len(self.inliers)}.")
        if self.inliers.sum() == _LEAST:
            another = "another" if wrong.size else "a fifth"
            remarks.append(f"Four pairs fit, but with four a wrong one cannot be told; mark {another} landmark.")
        return " ".join(remarks)


def pose_from_landmarks(points: ArrayLike, pixels: ArrayLike, intrinsics: Intrinsics) -> LandmarkPose:
    """The pose from which points (N, 3), RAS mm, are seen at stored pixels (N, 2), with N >= 4 and all in front of the source.

    One wrong pair is found among 5 or 6, (N - 3) // 2 among more; among 4 none can be told from the right ones, and a wrong
    one is noticed only if no pose explains all four. Four pairs that remain of five are as good as those: a second wrong one
    is noticed only if they do not fit closely. Raises InputError for fewer pairs, landmarks on a line, pairs that no pose
    explains, and those that only a pose with landmarks behind the detector does.
    """
    x, seen = _checked(points, pixels, intrinsics)
    fits = [_refined(pose, x, seen, intrinsics.sdd) for pose in _candidates(x, seen, intrinsics.sdd)]
    fits.sort(key=lambda fit: fit.cost)
    needed = len(x) - max(0, (len(x) - 3) // 2)
    good = [fit for fit in fits if fit.inliers.sum() >= needed and not _on_a_line(x[fit.inliers])]
    if not good:
        raise InputError(_unexplained(fits, needed, len(x)))
    good = [fit for fit in good if (_in_camera(fit.pose, x[fit.inliers])[:, 2] < intrinsics.sdd).all()]
    if not good:
        raise InputError(
            "The landmarks would lie behind the detector: check the X-ray's source-detector distance and pixel spacing."
        )
    best = good[0].inliers
    if best.sum() == _LEAST < len(x) and _rms(good[0], x, seen, intrinsics.sdd) > CLOSE_MM:
        raise InputError(
            f"Pair {np.flatnonzero(~best)[0] + 1} of {len(x)} fits no pose, and the other four not closely enough to be trusted "
            "without it: two marks may be exchanged. Check that each mark is the same landmark as its point, or mark another."
        )
    distinct = _distinct([fit.pose for fit in good if fit.inliers.sum() >= good[0].inliers.sum()], x)
    residual = (_projected(distinct[0], x, intrinsics.sdd) - seen) / np.array(intrinsics.spacing)
    return LandmarkPose(
        distinct[0], np.linalg.norm(residual, axis=1), good[0].inliers, np.array(distinct[1:]).reshape(-1, 4, 4)
    )


@dataclass(frozen=True, eq=False)
class _Fit:
    pose: NDArray[np.float64]
    inliers: NDArray[np.bool_]
    cost: float


def _checked(
    points: ArrayLike, pixels: ArrayLike, intrinsics: Intrinsics
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The points (N, 3) and the places (N, 2) of their marks on the detector, camera mm."""
    x, p = np.asarray(points, dtype=np.float64), np.asarray(pixels, dtype=np.float64)
    if x.ndim != 2 or p.ndim != 2 or x.shape[1] != 3 or p.shape != (len(x), 2):
        raise InputError(
            f"Landmarks are pairs of a point (x, y, z) and a pixel (column, row): got {x.shape} points and {p.shape} pixels."
        )
    if not (np.isfinite(x).all() and np.isfinite(p).all()):
        raise InputError("A landmark's coordinates are not all numbers; mark it again.")
    different = len(np.unique(np.round(x, 1), axis=0))
    if different < _LEAST:
        raise InputError(f"A pose needs at least four different landmarks; there are {different}.")
    if _on_a_line(x):
        raise InputError(
            "The landmarks lie on one line in the volume, about which any turn looks the same; mark one off it."
        )
    seen = pixel_to_camera(p, intrinsics)[:, :2]
    if _on_a_line(seen):
        raise InputError("The marks lie on one line of the X-ray, which does not fix a pose; mark a landmark off it.")
    return x, seen


def _on_a_line(points: NDArray[np.float64]) -> bool:
    sizes = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    return bool(sizes[1] <= _FLAT * sizes[0])


def _candidates(x: NDArray[np.float64], seen: NDArray[np.float64], sdd: float) -> list[NDArray[np.float64]]:
    """The most promising distinct poses of all triples of pairs, or of a fixed draw of them where there are very many."""
    triples = np.array(list(combinations(range(len(x)), 3))) if len(x) <= 14 else _drawn_triples(len(x))
    rays = np.concatenate([seen, np.full((len(seen), 1), sdd)], axis=1)
    poses = three_point_poses(x[triples], rays[triples])
    depth = _in_camera(poses, x)[..., 2]
    poses = poses[(depth > 0).all(axis=1)]
    squared = ((_projected(poses, x, sdd) - seen) ** 2).sum(axis=-1)
    # A pair counts at most for its being wrong (MSAC); the second term orders those that explain nothing.
    cost = np.minimum(squared, TOLERANCE_MM**2).sum(axis=1) + 1e-6 * np.sqrt(squared).sum(axis=1)
    return _distinct(list(poses[np.argsort(cost)]), x, _CANDIDATES)


def _drawn_triples(count: int) -> NDArray[np.intp]:
    rng = np.random.default_rng(0)
    return np.array([rng.choice(count, 3, replace=False) for _ in range(_MOST_TRIPLES)])


def _distinct(
    poses: list[NDArray[np.float64]], x: NDArray[np.float64], most: int | None = None
) -> list[NDArray[np.float64]]:
    """The first of all poses (4, 4) that bring the landmarks to about the same places in the camera frame; at most `most`."""
    kept: list[NDArray[np.float64]] = []
    places: list[NDArray[np.float64]] = []
    for pose in poses:
        place = _in_camera(pose, x)
        if all(np.linalg.norm(place - other, axis=1).mean() > _SAME_PLACE for other in places):
            kept.append(pose)
            places.append(place)
        if len(kept) == most:
            break
    return kept


def _refined(pose: NDArray[np.float64], x: NDArray[np.float64], seen: NDArray[np.float64], sdd: float) -> _Fit:
    """The pose fitted to all pairs with little trust in far ones, then to those within the tolerance."""
    pose = _fitted(pose, x, seen, sdd, "cauchy")
    before = np.zeros(len(x), dtype=bool)
    for _ in range(5):
        inliers = np.linalg.norm(_projected(pose, x, sdd) - seen, axis=1) <= TOLERANCE_MM
        if inliers.sum() < _LEAST or (inliers == before).all():
            break
        pose, before = _fitted(pose, x[inliers], seen[inliers], sdd, "soft_l1"), inliers
    distance = np.linalg.norm(_projected(pose, x, sdd) - seen, axis=1)
    if (_in_camera(pose, x)[:, 2] <= 0).any():
        return _Fit(pose, np.zeros(len(x), dtype=bool), np.inf)
    return _Fit(pose, distance <= TOLERANCE_MM, float((np.minimum(distance, TOLERANCE_MM) ** 2).sum()))


def _fitted(
    pose: NDArray[np.float64], x: NDArray[np.float64], seen: NDArray[np.float64], sdd: float, loss: str
) -> NDArray[np.float64]:
    from scipy.optimize import least_squares

    pivot = x.mean(axis=0)
    scale = np.array([1.0, 1.0, 1.0, 1 / _TURN, 1 / _TURN, 1 / _TURN])

    def moved(step: NDArray[np.float64]) -> NDArray[np.float64]:
        return increment(step * scale, pivot) @ pose

    def residuals(step: NDArray[np.float64]) -> NDArray[np.float64]:
        return (_projected(moved(step), x, sdd) - seen).ravel()

    return moved(least_squares(residuals, np.zeros(6), loss=loss, f_scale=_CLICK, x_scale="jac", max_nfev=60).x)


def _in_camera(poses: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (..., N, 3) in the frames of cameras (..., 4, 4)."""
    inverse = invert(poses)
    return x @ np.swapaxes(inverse[..., :3, :3], -1, -2) + inverse[..., None, :3, 3]


def _projected(poses: NDArray[np.float64], x: NDArray[np.float64], sdd: float) -> NDArray[np.float64]:
    """Places (..., N, 2) on the detector, camera mm; a point at or behind the source is taken 1 mm in front of it."""
    q = _in_camera(poses, x)
    return sdd * q[..., :2] / np.maximum(q[..., 2:], 1.0)


def _rms(fit: _Fit, x: NDArray[np.float64], seen: NDArray[np.float64], sdd: float) -> float:
    """How far the pairs that a pose rests on are from it in the root mean square, mm on the detector."""
    miss = _projected(fit.pose, x[fit.inliers], sdd) - seen[fit.inliers]
    return float(np.sqrt((miss**2).sum(axis=1).mean()))


def _unexplained(fits: list[_Fit], needed: int, count: int) -> str:
    most = max((int(fit.inliers.sum()) for fit in fits), default=0)
    return (
        f"No pose explains these landmarks: at most {most} of {count} pairs fit within {TOLERANCE_MM:g} mm on the detector, and "
        f"{needed} must. Check that each mark on the X-ray is the same landmark as its point, and the X-ray's geometry."
    )
