"""From an X-ray to a pose, through a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.networks.pose_network import relative_motions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from XVRegistrationLib.geometry.views import NominalView
    from XVRegistrationLib.networks.pose_network import PoseNetwork


def network_camera(intrinsics: Intrinsics, pixels: int) -> Intrinsics:
    """The square camera that a network sees: the model's detector, its longer side cut into `pixels` square pixels."""
    spacing = max(intrinsics.extent) / pixels
    (dx, dy), (cx, cy), (width, height) = intrinsics.spacing, intrinsics.principal_point, intrinsics.size
    # The principal point keeps its place in mm relative to the image's centre.
    offset_x, offset_y = (cx - (width - 1) / 2) * dx, (cy - (height - 1) / 2) * dy
    center = (pixels - 1) / 2
    return Intrinsics(
        intrinsics.sdd,
        (spacing, spacing),
        (center + offset_x / spacing, center + offset_y / spacing),
        (pixels, pixels),
        intrinsics.mirrored,
    )


def predict(network: PoseNetwork, view: NominalView, images: torch.Tensor) -> NDArray[np.float64]:
    """Poses (B, 4, 4), camera -> RAS, of line integrals (B, H, W) seen by the network's camera."""
    network.eval()
    with torch.no_grad():
        rotation, translation = network(images)
    return view.absolute(relative_motions(rotation, translation).numpy())
