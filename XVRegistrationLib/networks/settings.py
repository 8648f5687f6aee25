"""What a network is made of; its checkpoint's card keeps it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from XVRegistrationLib.errors import InputError

PLACES, ATTENTION = "places", "attention"
ARCHITECTURES = (PLACES, ATTENTION)
BATCH, GROUP = "batch", "group"
NORMALIZATIONS = (BATCH, GROUP)
SIX_D, ADJUGATE, EULER = "6d", "quaternion_adjugate", "euler"
ROTATIONS = (SIX_D, ADJUGATE, EULER)
"""What they are, networks.rotations says."""
DEFAULT, PSSS = "default", "psss"


@dataclass(frozen=True)
class NetworkSettings:
    """What a network of our own is made of."""

    backbone: str = "test_byobnet"
    """A timm model."""
    pixels: int = 64
    """Side of the square input, px."""
    head_channels: int = 128
    """Channels that each place of the feature map keeps before the head looks at all places together."""
    translation_scale: float = 30.0
    """mm of a unit output."""
    architecture: str = PLACES
    """`places`: the head sees the whole feature map; `attention`: its places attend to each other first, and a decoder
    reconstructs the X-ray's gradients (Zhang et al. 2023)."""
    normalization: str = BATCH
    """`batch`, as timm has it, or `group`: batch normalisation replaced by group normalisation, the same in training and use."""
    rotation: str = SIX_D
    """How a rotation is written in the network's outputs: one of ROTATIONS."""
    attention_heads: int = 4
    """Of the `attention` architecture."""

    def __post_init__(self) -> None:
        for what, value, known in (
            ("architecture", self.architecture, ARCHITECTURES),
            ("normalisation", self.normalization, NORMALIZATIONS),
            ("rotation", self.rotation, ROTATIONS),
        ):
            if value not in known:
                raise InputError(f"There is no {what} {value!r} for networks; choose one of {', '.join(known)}.")
        if self.pixels < 1 or self.head_channels < 1 or not self.translation_scale > 0:
            raise InputError("A network's size, channels and translation scale must be positive.")
        if self.attention_heads < 1 or self.head_channels % self.attention_heads:
            raise InputError(f"{self.head_channels} channels cannot be divided among {self.attention_heads} heads.")

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable form."""
        return asdict(self)


def attention_settings(translation_scale: float = 30.0) -> NetworkSettings:
    """The network of Zhang et al. 2023 (PSSS): EfficientNet-b0 on 256 px with attention, its pose as Euler angles."""
    return NetworkSettings(
        backbone="efficientnet_b0",
        pixels=256,
        translation_scale=translation_scale,
        architecture=ATTENTION,
        rotation=EULER,
    )


def network_named(name: str, usual: NetworkSettings) -> NetworkSettings:
    """The settings called `default` (the `usual` ones) or `psss`; by another name the usual ones with that timm backbone."""
    if name == DEFAULT:
        return usual
    if name == PSSS:
        return replace(attention_settings(usual.translation_scale), normalization=usual.normalization)
    return replace(usual, backbone=name)
