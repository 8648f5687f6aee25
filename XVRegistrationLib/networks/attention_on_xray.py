"""Where an attention network looks, on the X-ray itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as functional

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.resample import resample
from XVRegistrationLib.networks.attention import AttentionNetwork
from XVRegistrationLib.networks.predict import network_camera

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.networks.pose_network import PoseNetwork

PIXELS = 256


def attends(network: PoseNetwork | None) -> bool:
    """Whether there are maps of where this network looks."""
    return isinstance(network, AttentionNetwork)


def check_attends(network: PoseNetwork | None) -> AttentionNetwork:
    """The network; InputError for one without maps."""
    if not isinstance(network, AttentionNetwork):
        raise InputError("The model's network has no attention to show; train one with the network psss.")
    return network


def attention_on_xray(
    network: PoseNetwork | None, camera: Intrinsics, image: torch.Tensor, intrinsics: Intrinsics
) -> NDArray[np.float32]:
    """(h, w) 0..1 on the detector of line integrals (H, W) at PIXELS: the heads' mean, from the lowest to the highest attention.

    `camera` is the model's. What the network's camera does not cover is 0. Raises InputError for a network without maps.
    """
    seen, maps = attention_maps(network, camera, image, intrinsics)
    square = network_camera(camera, len(seen))
    attention = maps[None].mean(dim=1, keepdim=True)
    wide = functional.interpolate(attention, size=tuple(seen.shape), mode="bilinear", align_corners=False)[0, 0]
    low, high = wide.min(), wide.max()
    shown, covered = resample((wide - low) / (high - low).clamp_min(1e-12), square, intrinsics.fitted(PIXELS))
    found: NDArray[np.float32] = torch.where(covered, shown, 0.0).float().numpy()
    return found


def attention_maps(
    network: PoseNetwork | None, camera: Intrinsics, image: torch.Tensor, intrinsics: Intrinsics
) -> tuple[torch.Tensor, torch.Tensor]:
    """Line integrals (H, W) as a network sees them, a square of its pixels, and the map (heads, h, w) of each of its heads.

    As `attention_on_xray`.
    """
    attending = check_attends(network)
    attending.eval()
    seen, _ = resample(image, intrinsics, network_camera(camera, attending.settings.pixels))
    return seen, attending.attention_maps(seen[None])[0]
