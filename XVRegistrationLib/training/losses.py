"""Distances between predicted and true motions, differentiable: what a network learns by without rendering again.

Motions are those of the camera relative to its nominal view (`geometry.views`): rotations (B, 3, 3) and translations (B, 3), mm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_SMALL = 1e-6  # mm^2 or rad^2: keeps the slope of a root finite at zero
_NEAR_PLANE = 10.0  # mm: points nearer to the source, or behind it, are taken as so far away


def geodesic_distance(
    rotation: torch.Tensor,
    translation: torch.Tensor,
    true_rotation: torch.Tensor,
    true_translation: torch.Tensor,
    radius: float,
) -> torch.Tensor:
    """Double geodesic distances (B,) in mm: sqrt((radius * angle)^2 + |shift|^2) (xvr, Gopalakrishnan et al. 2025).

    xvr takes half the source-detector distance as the radius. Here it is the root mean square distance of the patient's dense
    voxels from the isocentre, so that the distance is close to the error in mm that a point of the patient sees.
    """
    angle = rotation_distance(rotation, true_rotation)
    shift = (translation - true_translation).square().sum(dim=-1)
    return ((radius * angle).square() + shift + _SMALL).sqrt()


def rotation_distance(rotation: torch.Tensor, true_rotation: torch.Tensor) -> torch.Tensor:
    """Geodesic distances (B,) on SO(3): the angle between two rotations, radians."""
    import roma

    angle: torch.Tensor = roma.rotmat_geodesic_distance(rotation, true_rotation)
    return angle


def screw_distance(
    rotation: torch.Tensor,
    translation: torch.Tensor,
    true_rotation: torch.Tensor,
    true_translation: torch.Tensor,
    radius: float,
) -> torch.Tensor:
    """Geodesic distances (B,) on SE(3), mm: |log(D_true^-1 D)|, the rotation's part counted in arcs of `radius` mm.

    The logarithm's translation is V^-1 t with V^-1 = I - [w]/2 + (1/a^2 - (1 + cos a) / (2 a sin a)) [w]^2, a = |w| (e.g.
    Sola, A micro Lie theory, 2018, eq. 174); the last factor is 1/12 + a^2/720 near zero.
    """
    import roma

    turn = true_rotation.transpose(1, 2) @ rotation
    shift = torch.einsum("bji,bj->bi", true_rotation, translation - true_translation)
    w = roma.rotmat_to_rotvec(turn)
    square = w.square().sum(dim=-1, keepdim=True)
    angle = (square + 1e-12).sqrt()
    exact = 1 / (angle * angle) - (1 + angle.cos()) / (2 * angle * angle.sin().clamp_min(1e-6))
    factor = torch.where(angle < 0.05, 1 / 12 + square / 720, exact)
    once = torch.linalg.cross(w, shift)
    v = shift - 0.5 * once + factor * torch.linalg.cross(w, once)
    return (radius**2 * square[:, 0] + v.square().sum(dim=-1) + _SMALL).sqrt()


def euler_distance(
    rotation: torch.Tensor, translation: torch.Tensor, true_rotation: torch.Tensor, true_translation: torch.Tensor
) -> torch.Tensor:
    """PSSS's pose loss (B,): |difference of the Euler angles| in degrees + |difference of the translations| in mm, 1 : 1.

    Angles as R = Rz Rx Ry (Zhang et al. 2023; the repository's L2_PoseLoss).
    """
    degrees = euler_zxy_of(rotation) - euler_zxy_of(true_rotation)
    turned = (degrees.square().sum(dim=-1) + _SMALL).sqrt()
    return turned + ((translation - true_translation).square().sum(dim=-1) + _SMALL).sqrt()


def euler_zxy_of(rotation: torch.Tensor) -> torch.Tensor:
    """Angles (B, 3) about (x, y, z), degrees, of R = Rz Rx Ry; inverse of `geometry.rigid.rotation_from_euler_zxy`.

    Unique for |x| < 90 degrees; at 90 the slope is bounded, not right.
    """
    x = torch.asin(rotation[:, 2, 1].clamp(-1 + 1e-6, 1 - 1e-6))
    y = torch.atan2(-rotation[:, 2, 0], rotation[:, 2, 2])
    z = torch.atan2(-rotation[:, 0, 1], rotation[:, 1, 1])
    return torch.rad2deg(torch.stack([x, y, z], dim=-1))


def projected_distance(poses: torch.Tensor, true_poses: torch.Tensor, points: torch.Tensor, sdd: float) -> torch.Tensor:
    """Mean distances (B,) on the detector, mm, between where poses (B, 4, 4), camera -> RAS, put points (N, 3), RAS mm.

    `sdd` is the distance source-detector, mm. Blind to what does not move a point's shadow, so nearly to depth.
    """
    seen, true = (_on_detector(t, points, sdd) for t in (poses, true_poses))
    return ((seen - true).square().sum(dim=-1) + _SMALL).sqrt().mean(dim=-1)


def _on_detector(poses: torch.Tensor, points: torch.Tensor, sdd: float) -> torch.Tensor:
    x = torch.einsum("bji,bnj->bni", poses[:, :3, :3], points[None] - poses[:, None, :3, 3])
    return sdd * x[..., :2] / x[..., 2:].clamp_min(_NEAR_PLANE)


def between_views_distance(
    rotation: torch.Tensor,
    translation: torch.Tensor,
    true_rotation: torch.Tensor,
    true_translation: torch.Tensor,
    radius: float,
) -> torch.Tensor:
    """Consistency of several views (B,): mean double geodesic distance, mm, of each motion to every other one.

    Compared are D_j D_i^-1, predicted and true (xvr's multi-view consistency): an error that all views share costs nothing.
    A single view has none: 0.
    """
    count = len(rotation)
    i, j = (~torch.eye(count, dtype=torch.bool, device=rotation.device)).nonzero(as_tuple=True)
    if len(i) == 0:
        return rotation.sum(dim=(1, 2)) * 0
    relative = [
        (r[j] @ r[i].transpose(1, 2), t[j] - torch.einsum("bij,bkj,bk->bi", r[j], r[i], t[i]))
        for r, t in ((rotation, translation), (true_rotation, true_translation))
    ]
    return geodesic_distance(*relative[0], *relative[1], radius).reshape(count, count - 1).mean(dim=1)


def motions_to_poses(
    rotation: torch.Tensor, translation: torch.Tensor, frame: ArrayLike, nominal: ArrayLike
) -> torch.Tensor:
    """Poses (B, 4, 4), camera -> RAS, float64, of motions; gradients flow. As `NominalView.absolute`.

    `frame` (4, 4) are the nominal camera's axes at the isocentre, `nominal` (4, 4) is the nominal pose.
    """
    f, n = (torch.as_tensor(m, dtype=torch.float64, device=rotation.device) for m in (frame, nominal))
    top = torch.cat([rotation, translation[:, :, None]], dim=2).double()
    last = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=torch.float64, device=rotation.device).expand(len(rotation), 1, 4)
    return f @ torch.cat([top, last], dim=1) @ torch.linalg.inv(f) @ n
