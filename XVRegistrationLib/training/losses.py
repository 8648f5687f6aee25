"""Distances between predicted and true motions, differentiable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import roma

if TYPE_CHECKING:
    import torch


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
    angle = roma.rotmat_geodesic_distance(rotation, true_rotation)
    shift = (translation - true_translation).square().sum(dim=-1)
    return ((radius * angle).square() + shift + 1e-6).sqrt()
