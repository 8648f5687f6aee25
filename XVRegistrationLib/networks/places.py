"""A timm backbone with a head that sees its whole feature map."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from XVRegistrationLib.networks.backbones import create_backbone
from XVRegistrationLib.networks.pose_network import PoseNetwork, pose_layer, pose_of, standardized

if TYPE_CHECKING:
    import torch

    from XVRegistrationLib.networks.settings import NetworkSettings

HIDDEN = 256
"""Units of the layer before the last."""


class PlacesNetwork(PoseNetwork):
    """The head keeps the feature map's layout: a pose is about where things are, which an average over places discards."""

    settings: NetworkSettings

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.backbone, (channels, height, width) = create_backbone(settings)
        self.head = nn.Sequential(
            nn.Conv2d(channels, settings.head_channels, 1),
            nn.Flatten(),
            nn.GELU(),
            nn.Linear(settings.head_channels * height * width, HIDDEN),
            nn.GELU(),
            pose_layer(HIDDEN, settings.rotation),
        )

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotations (B, 3, 3) and translations (B, 3) in mm from line integrals (B, H, W) of the settings' size."""
        numbers = self.head(self.backbone(standardized(images)[:, None]))
        return pose_of(numbers, self.settings.rotation, self.settings.translation_scale)
