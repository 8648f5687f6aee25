"""How a network's outputs become rotations.

Here and elsewhere RoMa is imported where it is needed: it loads torch's compiler, two fifths of what the start of an
engine costs, and a bank needs none of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from XVRegistrationLib.networks.settings import ADJUGATE, EULER, SIX_D

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class RotationOutput:
    """A way to write a rotation in so many numbers."""

    identity: tuple[float, ...]
    """The numbers that say no rotation."""
    matrices: Callable[[torch.Tensor], torch.Tensor]
    """Rotation matrices (B, 3, 3) of numbers (B, N)."""


def from_two_columns(numbers: torch.Tensor) -> torch.Tensor:
    """Rotations (B, 3, 3) of the six numbers (B, 6) of two columns, made orthonormal (Zhou et al. 2019).

    Numbers are those of a matrix (3, 2), row by row.
    """
    import roma

    rotation: torch.Tensor = roma.special_gramschmidt(numbers.reshape(-1, 3, 2))
    return rotation


def from_adjugate(numbers: torch.Tensor) -> torch.Tensor:
    """Rotations (B, 3, 3) of the upper triangles (B, 10) of symmetric matrices q q^T, q = (w, x, y, z).

    Each column of q q^T is a multiple of the quaternion: the longest one is taken (Hanson and Hanson 2022; xvr). Unlike
    the quaternion itself the matrix has no sign, and so no jump.
    """
    columns = symmetric(numbers)
    longest = columns.norm(dim=1).argmax(dim=1)
    return from_quaternion(columns[torch.arange(len(columns), device=columns.device), :, longest])


def from_quaternion(numbers: torch.Tensor) -> torch.Tensor:
    """Rotations (B, 3, 3) of quaternions (B, 4), w first, of any length."""
    import roma

    unit = torch.nn.functional.normalize(numbers, dim=-1)
    rotation: torch.Tensor = roma.unitquat_to_rotmat(roma.quat_wxyz_to_xyzw(unit))
    return rotation


def from_angles(numbers: torch.Tensor, convention: str = "ZXY") -> torch.Tensor:
    """Rotations (B, 3, 3) of angles (B, 3), radians, about the axes of `convention`: R = Rz Rx Ry, as poses are drawn."""
    import roma

    rotation: torch.Tensor = roma.euler_to_rotmat(convention, numbers)
    return rotation


def symmetric(numbers: torch.Tensor) -> torch.Tensor:
    """Symmetric matrices (B, 4, 4) of their upper triangles (B, 10), row by row."""
    rows, columns = torch.triu_indices(4, 4, device=numbers.device)
    place = torch.zeros(4, 4, dtype=torch.long, device=numbers.device)
    place[rows, columns] = place[columns, rows] = torch.arange(10, device=numbers.device)
    return numbers[:, place.flatten()].reshape(-1, 4, 4)


ROTATIONS = {
    SIX_D: RotationOutput((1.0, 0.0, 0.0, 1.0, 0.0, 0.0), from_two_columns),
    ADJUGATE: RotationOutput((1.0, *(9 * (0.0,))), from_adjugate),
    EULER: RotationOutput((0.0, 0.0, 0.0), from_angles),
}
