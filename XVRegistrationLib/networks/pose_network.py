"""What all pose networks have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol

import torch
from torch import nn

from XVRegistrationLib.networks.rotations import ROTATIONS


class Settings(Protocol):
    """What is asked of a network's settings, whatever the network."""

    @property
    def pixels(self) -> int:
        """Side of the square input, px."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form."""


class PoseNetwork(nn.Module, ABC):
    """Predicts the motion D of the camera relative to its nominal view from an X-ray."""

    settings: Settings

    @abstractmethod
    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotations (B, 3, 3) and translations (B, 3) in mm from line integrals (B, H, W) of the settings' size."""

    def learning(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """As `forward`, for training: with a regulariser (B,) to add to the loss, where the network has one."""
        return *self(images), None


def pose_layer(features: int, rotation: str) -> nn.Linear:
    """The last layer: features (B, N) to the numbers of a rotation and of a translation; at first the nominal view's."""
    identity = ROTATIONS[rotation].identity
    layer = nn.Linear(features, len(identity) + 3)
    nn.init.normal_(layer.weight, std=1e-3)
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([*identity, 0.0, 0.0, 0.0]))
    return layer


def pose_of(numbers: torch.Tensor, rotation: str, translation_scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotations (B, 3, 3) and translations (B, 3), mm, of the last layer's numbers (B, N + 3)."""
    return ROTATIONS[rotation].matrices(numbers[:, :-3]), numbers[:, -3:] * translation_scale


def standardized(images: torch.Tensor) -> torch.Tensor:
    """Images (B, H, W) with zero mean and unit standard deviation each: scale and offset of an X-ray mean nothing."""
    centred = images - images.mean(dim=(1, 2), keepdim=True)
    return centred / centred.std(dim=(1, 2), keepdim=True).clamp_min(1e-6)


def relative_motions(rotation: torch.Tensor, translation: torch.Tensor) -> torch.Tensor:
    """Matrices D (B, 4, 4), float64 on the CPU, of the network's two outputs, re-orthonormalised in float64."""
    import roma

    motion = torch.eye(4, dtype=torch.float64).repeat(len(rotation), 1, 1)
    motion[:, :3, :3] = roma.special_procrustes(rotation.detach().cpu().double())
    motion[:, :3, 3] = translation.detach().cpu().double()
    return motion
