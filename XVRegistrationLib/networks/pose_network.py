"""A timm backbone with a pose head."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import roma
import torch
from torch import nn

from XVRegistrationLib.networks.backbones import create_backbone


@dataclass(frozen=True)
class NetworkSettings:
    """What a network is made of; its checkpoint's card keeps it."""

    backbone: str = "test_byobnet"
    """A timm model."""
    pixels: int = 64
    """Side of the square input, px."""
    head_channels: int = 128
    """Channels that each place of the feature map keeps before the head looks at all places together."""
    translation_scale: float = 30.0
    """mm of a unit output."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form."""
        return asdict(self)


class PoseNetwork(nn.Module):
    """Predicts the motion D of the camera relative to its nominal view from an X-ray.

    The head keeps the feature map's layout: a pose is about where things are, which an average over places discards.
    Rotation as the first two columns of a matrix, made orthonormal (Zhou et al. 2019); translation in mm.
    """

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.backbone, channels, places = create_backbone(settings.backbone, settings.pixels)
        self.head = nn.Sequential(
            nn.Conv2d(channels, settings.head_channels, 1),
            nn.Flatten(),
            nn.GELU(),
            nn.Linear(settings.head_channels * places, 256),
            nn.GELU(),
            nn.Linear(256, 9),
        )
        # Start at the nominal view: the identity rotation, no translation.
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        nn.init.normal_(last.weight, std=1e-3)
        with torch.no_grad():
            last.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotations (B, 3, 3) and translations (B, 3) in mm from line integrals (B, H, W) of the settings' size."""
        features = self.head(self.backbone(standardized(images)[:, None]))
        rotation = roma.special_gramschmidt(features[:, :6].reshape(-1, 3, 2))
        return rotation, features[:, 6:] * self.settings.translation_scale


def standardized(images: torch.Tensor) -> torch.Tensor:
    """Images (B, H, W) with zero mean and unit standard deviation each: scale and offset of an X-ray mean nothing."""
    centred = images - images.mean(dim=(1, 2), keepdim=True)
    return centred / centred.std(dim=(1, 2), keepdim=True).clamp_min(1e-6)


def relative_motions(rotation: torch.Tensor, translation: torch.Tensor) -> torch.Tensor:
    """Matrices D (B, 4, 4), float64 on the CPU, of the network's two outputs, re-orthonormalised in float64."""
    motion = torch.eye(4, dtype=torch.float64).repeat(len(rotation), 1, 1)
    motion[:, :3, :3] = roma.special_procrustes(rotation.detach().cpu().double())
    motion[:, :3, 3] = translation.detach().cpu().double()
    return motion
