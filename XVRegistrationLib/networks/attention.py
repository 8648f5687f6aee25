"""A backbone whose places attend to each other, regularised by a decoder of the X-ray's gradients.

The network of Zhang et al., "A patient-specific self-supervised model for automatic X-ray/CT registration", MICCAI 2023
(PSSS), after its figures: layers, weights and the decoder's form are not published, and are ours.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as functional
from torch import nn

from XVRegistrationLib.networks.backbones import create_backbone
from XVRegistrationLib.networks.places import HIDDEN
from XVRegistrationLib.networks.pose_network import PoseNetwork, pose_layer, pose_of, standardized

if TYPE_CHECKING:
    from XVRegistrationLib.networks.settings import NetworkSettings

RECONSTRUCTION_SHARE = 4
"""A side of the input is so many times that of the reconstructed gradient image."""
_DECODER_CHANNELS = 64
_SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


class AttentionNetwork(PoseNetwork):
    """Feature map, multi-head self-attention over its places with a learned 2D embedding of where they are, head; decoder."""

    settings: NetworkSettings

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        self.settings = settings
        self.backbone, (channels, height, width) = create_backbone(settings)
        size = settings.head_channels
        self.reduce = nn.Conv2d(channels, size, 1)
        self.rows = nn.Parameter(0.02 * torch.randn(size, height, 1))
        self.columns = nn.Parameter(0.02 * torch.randn(size, 1, width))
        self.norm = nn.LayerNorm(size)
        self.attention = nn.MultiheadAttention(size, settings.attention_heads, batch_first=True)
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.GELU(),
            nn.Linear(size * height * width, HIDDEN),
            nn.GELU(),
            pose_layer(HIDDEN, settings.rotation),
        )
        self.decoder = _Decoder(channels, max(1, settings.pixels // RECONSTRUCTION_SHARE))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotations (B, 3, 3) and translations (B, 3) in mm from line integrals (B, H, W) of the settings' size."""
        return self._pose(self._features(images))

    def reconstructing(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As `forward`, with the gradient images (B, h, w) that the decoder makes of the same features."""
        features = self._features(images)
        return *self._pose(features), self.decoder(features)

    def learning(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As `forward`, with a regulariser (B,): 1 - NCC of the decoder's images and the X-rays' gradients."""
        rotation, translation, made = self.reconstructing(images)
        wanted = gradient_images(images, made.shape[-1])
        return rotation, translation, 1 - (standardized(made) * standardized(wanted)).mean(dim=(1, 2))

    def attention_maps(self, images: torch.Tensor) -> torch.Tensor:
        """How much each place is attended to (B, heads, h, w): means over all places that attend; each map sums to one."""
        with torch.no_grad():
            places, (height, width) = self._places(self._features(images))
            _, weights = self._attended(places, weights=True)
        assert weights is not None
        return weights.mean(dim=2).unflatten(-1, (height, width))

    def _features(self, images: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.backbone(standardized(images)[:, None])
        return features

    def _places(self, features: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int]]:
        """Places (B, h * w, C) with where they are, and (h, w)."""
        reduced = self.reduce(features) + self.rows + self.columns
        return reduced.flatten(2).transpose(1, 2), (reduced.shape[2], reduced.shape[3])

    def _attended(self, places: torch.Tensor, weights: bool = False) -> tuple[torch.Tensor, torch.Tensor | None]:
        seen = self.norm(places)
        found, shares = self.attention(seen, seen, seen, need_weights=weights, average_attn_weights=False)
        return places + found, shares

    def _pose(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        attended, _ = self._attended(self._places(features)[0])
        return pose_of(self.head(attended), self.settings.rotation, self.settings.translation_scale)


class _Decoder(nn.Module):
    """Feature maps (B, C, h, w) to images (B, side, side); twice as many pixels a side with each layer."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        self.side = side
        sizes = (channels, *(max(8, _DECODER_CHANNELS >> i) for i in range(3)))
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(8, b), nn.GELU())
            for a, b in itertools.pairwise(sizes)
        )
        self.last = nn.Conv2d(sizes[-1], 1, 3, padding=1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        x = features
        for i, layer in enumerate(self.layers, 1):
            side = max(1, self.side >> (len(self.layers) - i))
            x = functional.interpolate(layer(x), size=(side, side), mode="bilinear", align_corners=False)
        made: torch.Tensor = self.last(x)[:, 0]
        return made


def gradient_images(images: torch.Tensor, side: int) -> torch.Tensor:
    """Magnitudes of the Sobel gradients of images (B, H, W), averaged down to (B, side, side)."""
    kernel = torch.tensor(_SOBEL, dtype=images.dtype, device=images.device)
    kernels = torch.stack([kernel, kernel.T])[:, None]
    padded = functional.pad(standardized(images)[:, None], (1, 1, 1, 1), mode="replicate")
    magnitude = functional.conv2d(padded, kernels).square().sum(dim=1, keepdim=True).sqrt()
    return functional.adaptive_avg_pool2d(magnitude, side)[:, 0]
