"""One registration against the truth: everything that is measured of it, as one row of a table."""

from __future__ import annotations

import csv
import math
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.evaluation.image_metrics import image_similarity
from XVRegistrationLib.evaluation.metrics import (
    axis_errors,
    double_geodesic,
    geodesic_deg,
    mpd,
    mrpd,
    mtre,
    xvr_mtre,
)
from XVRegistrationLib.files import replacing
from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.geometry.rigid import invert, transform_points
from XVRegistrationLib.registration.uncertainty import target_uncertainty

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.imaging.xray import Xray
    from XVRegistrationLib.registration.model import PatientModel
    from XVRegistrationLib.registration.result import Registration

_COMPARED_AT = 256  # px: where NCC, SSIM and CSS are measured, at most
_NAN = float("nan")


@dataclass(frozen=True)
class CaseRow:
    """One X-ray: errors, what the registration says of itself, and whether that is true. NaN is "not known"."""

    name: str
    mtre_mm: float
    """Infinite where the registration refused the X-ray."""
    start_mtre_mm: float = _NAN
    """mTRE of the start that won, of the bank its best candidate."""
    mpd_mm: float = _NAN
    mrpd_mm: float = _NAN
    rotation_deg: float = _NAN
    double_geodesic_mm: float = _NAN
    xvr_mtre_mm: float = _NAN
    in_plane_mm: float = _NAN
    shift_x_mm: float = _NAN
    shift_y_mm: float = _NAN
    depth_mm: float = _NAN
    rotation_x_deg: float = _NAN
    rotation_y_deg: float = _NAN
    rotation_z_deg: float = _NAN
    ncc: float = _NAN
    ssim: float = _NAN
    css: float = _NAN
    similarity: float = _NAN
    winner: str = ""
    verdict: str = ""
    probability: float = _NAN
    """As the registration says: that its mTRE is above 2 mm."""
    weakest: str = ""
    reason: str = ""
    renders: float = _NAN
    seconds: float = _NAN
    points: float = 0.0
    """Points on the detector at both poses: those that the next four are about."""
    covered: float = _NAN
    """Share of the points whose true projection lies in their 95 % ellipse."""
    semi_major_px: float = _NAN
    """Median of the ellipses' longer half axes, stored px."""
    error_px: float = _NAN
    """Median distance of the points from where they truly are, stored px."""
    in_plane_95_mm: float = _NAN
    """Median of the points' 95 % radius in their plane."""
    depth_95_mm: float = _NAN
    """Median half width of the points' 95 % interval along the beam."""
    depth_covered: float = _NAN
    """Share of the points whose true depth lies in that interval."""


def measure(
    result: Registration, xray: Xray, true_pose: NDArray[np.float64], points: ArrayLike, model: PatientModel
) -> CaseRow:
    """Everything about one registration; `points` (N, 3), RAS mm, are those of the mTRE."""
    pose, camera, center = result.pose, result.intrinsics, model.view.isocenter
    axes = axis_errors(pose, true_pose, points)
    x, y, z = axes.shift_mm
    return CaseRow(
        name=result.name,
        mtre_mm=mtre(pose, true_pose, points),
        start_mtre_mm=_start_error(result, true_pose, points),
        mpd_mm=mpd(pose, true_pose, camera, points),
        mrpd_mm=mrpd(pose, true_pose, points),
        rotation_deg=geodesic_deg(pose, true_pose),
        double_geodesic_mm=double_geodesic(pose, true_pose, camera.sdd, center),
        xvr_mtre_mm=xvr_mtre(pose, true_pose, points, center),
        in_plane_mm=math.hypot(x, y),
        shift_x_mm=x,
        shift_y_mm=y,
        depth_mm=z,
        rotation_x_deg=axes.rotation_deg[0],
        rotation_y_deg=axes.rotation_deg[1],
        rotation_z_deg=axes.rotation_deg[2],
        **_image_measures(result, xray, model),
        similarity=result.similarity,
        winner=result.winner,
        seconds=result.seconds,
        **_statements(result),
        **coverage(result, true_pose, points),
    )


def refused(name: str, reason: str) -> CaseRow:
    """The row of an X-ray that the registration refused with a sentence: a failure that it knows of."""
    return CaseRow(name, math.inf, verdict="failed", reason=reason, probability=1.0)


def _start_error(result: Registration, true_pose: NDArray[np.float64], points: ArrayLike) -> float:
    errors = {s.kind: mtre(s.pose, true_pose, points) for s in result.starts}
    return errors.get(result.winner, min(errors.values(), default=_NAN))


def _image_measures(result: Registration, xray: Xray, model: PatientModel) -> dict[str, Any]:
    """NCC, SSIM and CSS of the X-ray and the render at the pose found."""
    import torch

    from XVRegistrationLib.imaging.intensity import line_integral
    from XVRegistrationLib.imaging.resample import resample
    from XVRegistrationLib.rendering.render import render, sample_distance

    camera = xray.intrinsics.fitted(_COMPARED_AT)
    seen, _ = resample(torch.from_numpy(line_integral(xray)), xray.intrinsics, camera)
    footprint = camera.footprint(model.view.sod)
    grid = model.pyramid.matched_to(footprint)
    image = render(grid, result.pose[None], camera, sample_distance(grid, footprint / 2))[0].cpu()
    return asdict(image_similarity(seen.numpy(), image.numpy()))


def _statements(result: Registration) -> dict[str, Any]:
    """What the registration says of itself."""
    trust = result.trust
    said = {} if trust is None else {"probability": trust.probability, "weakest": trust.weakest, "reason": trust.reason}
    return {**said, "verdict": result.verdict, "renders": float(result.renders or _NAN)}


def coverage(result: Registration, true_pose: ArrayLike, points: ArrayLike) -> dict[str, Any]:
    """Whether the ellipses and intervals of points (N, 3), RAS mm, hold their true places: the last fields of `CaseRow`.

    Empty where the registration states no uncertainty, or no point is on the detector at both poses.
    """
    if result.uncertainty is None:
        return {}
    seen = seen_at_both(result, true_pose, points)
    if not len(seen):
        return {}
    u = target_uncertainty(result, seen)
    offset = project(seen, true_pose, result.intrinsics) - u.pixels
    depth = transform_points(invert(true_pose), seen)[:, 2] - transform_points(invert(result.pose), seen)[:, 2]
    return {
        "points": float(len(seen)),
        "covered": float((ellipse_radii(offset, u.semi_axes, u.angle_deg) <= 1).mean()),
        "semi_major_px": float(np.median(u.semi_axes[:, 0])),
        "error_px": float(np.median(np.linalg.norm(offset, axis=1))),
        "in_plane_95_mm": float(np.median(u.in_plane_mm)),
        "depth_95_mm": float(np.median(u.depth_mm)),
        "depth_covered": float((np.abs(depth) <= u.depth_mm).mean()),
    }


def seen_at_both(result: Registration, true_pose: ArrayLike, points: ArrayLike) -> NDArray[np.float64]:
    """Those (M, 3) of points (N, 3), RAS mm, that are on the detector where they truly are and where the registration puts them."""
    x, camera = np.asarray(points, dtype=np.float64), result.intrinsics
    seen: NDArray[np.float64] = x[
        _on_detector(project(x, true_pose, camera), camera.size)
        & _on_detector(project(x, result.pose, camera), camera.size)
    ]
    return seen


def _on_detector(pixels: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):  # points behind the source are NaN, and not on it
        return np.asarray(((pixels > -0.5) & (pixels < np.array(size) - 0.5)).all(axis=-1))


def ellipse_radii(offsets: ArrayLike, semi_axes: ArrayLike, angle_deg: ArrayLike) -> NDArray[np.float64]:
    """How far out (N,) offsets (N, 2) from the centre, (column, row) in px, lie in ellipses: 0 in the middle, 1 on the outline.

    `semi_axes` (N, 2), px, are the half axes, the major one first; `angle_deg` (N,) turns the major axis from +column towards
    +row.
    """
    d, axes, angle = np.asarray(offsets), np.asarray(semi_axes), np.radians(np.asarray(angle_deg))
    along = d[:, 0] * np.cos(angle) + d[:, 1] * np.sin(angle)
    across = d[:, 1] * np.cos(angle) - d[:, 0] * np.sin(angle)
    return np.hypot(along / axes[:, 0], across / axes[:, 1])


def write_rows(path: Path, rows: Sequence[CaseRow]) -> None:
    """Write rows as CSV, whole or not at all; what is not known is left blank."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as f:
        writer = csv.DictWriter(f, [field.name for field in fields(CaseRow)])
        writer.writeheader()
        writer.writerows({k: _cell(v) for k, v in asdict(row).items()} for row in rows)


def read_rows(path: Path) -> list[CaseRow]:
    """Rows that `write_rows` wrote; none where the file is missing or has other columns."""
    if not path.is_file():
        return []
    kinds = {field.name: field.type for field in fields(CaseRow)}
    with path.open(encoding="utf-8", newline="") as f:
        reader = csv.DictReader(f)
        if list(reader.fieldnames or []) != list(kinds):
            return []
        return [_row({k: v if kinds[k] == "str" else _value(v) for k, v in line.items()}) for line in reader]


def _row(values: dict[str, Any]) -> CaseRow:
    return CaseRow(**values)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return str(value)


def _value(text: str) -> Any:
    return float(text) if text else _NAN
