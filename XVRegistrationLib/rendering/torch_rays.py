"""The rays of one pose as tensors: what the projectors in torch start from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from XVRegistrationLib.rendering.rays import Rays


@dataclass(frozen=True, eq=False)
class RayBundle:
    """N rays s + t d from one source, t in mm from the source; rows of pixels one after the other."""

    source: torch.Tensor
    """(3,) grid indices."""
    direction: torch.Tensor
    """(N, 3) grid indices per mm."""
    length: torch.Tensor
    """(N,) from the source to the detector, mm."""
    axis: torch.Tensor
    """(N, 3) unit vectors in RAS."""

    def parts(self, samples: float, at_once: int = 2_000_000) -> Iterator[RayBundle]:
        """The same rays in groups, so that with `samples` on each ray a group has about `at_once` of them."""
        n = max(1, int(at_once / max(samples, 1.0)))
        for first in range(0, len(self.length), n):
            part = slice(first, first + n)
            yield RayBundle(self.source, self.direction[part], self.length[part], self.axis[part])


def ray_bundle(rays: Rays, pose: int, dtype: torch.dtype, device: torch.device) -> RayBundle:
    """The rays of the pose with this number, in a precision and on a device."""
    width, height = rays.size
    j, i = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    ij1 = torch.stack([i.reshape(-1), j.reshape(-1), torch.ones(width * height)], dim=-1).double()
    source, target, camera, rotation = (
        torch.from_numpy(x) for x in (rays.source[pose], rays.target[pose], rays.camera, rays.rotation[pose])
    )
    to_detector = ij1 @ camera.T
    length = to_detector.norm(dim=-1)
    direction = (ij1 @ target.T - source) / length[:, None]
    axis = to_detector / length[:, None] @ rotation.T
    source, direction, length, axis = (x.to(device=device, dtype=dtype) for x in (source, direction, length, axis))
    return RayBundle(source, direction, length, axis)


def clipped(bundle: RayBundle, low: torch.Tensor, high: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where each ray (N,) enters and leaves the box between `low` and `high` (3,), grid indices: mm from the source.

    Between source and detector only; both are 0 for a ray that misses the box.
    """
    d = bundle.direction
    near, far = (low - bundle.source) / d, (high - bundle.source) / d
    # A ray along a face of the box is 0 / 0 there: it is within.
    beside = (d == 0) & ((bundle.source < low) | (bundle.source > high))
    within = (d == 0) & ~beside
    infinity = float("inf")
    enter = torch.minimum(near, far).masked_fill(within, -infinity).masked_fill(beside, infinity)
    leave = torch.maximum(near, far).masked_fill(within, infinity).masked_fill(beside, -infinity)
    first, last = enter.amax(dim=-1).clamp(min=0), torch.minimum(leave.amin(dim=-1), bundle.length)
    crossing = last > first
    return first.where(crossing, 0.0), last.where(crossing, 0.0)
