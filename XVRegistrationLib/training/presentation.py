"""How a finished X-ray may be shown: with local contrast, or inverted. What image processing does, not physics."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as functional

from XVRegistrationLib.imaging.resample import filled_outside

_TILES = 8


@dataclass(frozen=True)
class ShownShares:
    """Which share of the images is shown in which way, at full difficulty."""

    local_contrast: float = 0.15
    """Contrast evened out over the image, as CLAHE does."""
    inverted: float = 0.0
    """Bright where dark is meant. None by default: what an X-ray's grey levels mean is settled when it is read."""
    opening: float = 0.35
    """Shown through a collimator's opening, round or rectangular and turned, off centre; what is covered is filled as
    `filled_outside` does where a registration finds blades."""


AS_IS = ShownShares(0.0, 0.0, 0.0)
_OPENING = (0.35, 1.1)  # half its width and height, of the image's
_OFF_CENTRE, _TURN = 0.3, 0.6  # of the image's half side; rad


def presented(images: torch.Tensor, shares: ShownShares, generator: torch.Generator) -> torch.Tensor:
    """Images (B, H, W) as they may be shown; each draws for itself, the same for the same state of the generator."""
    batch = len(images)

    def some(share: float) -> torch.Tensor:
        return torch.rand(batch, generator=generator, device=images.device) < share

    if shares.local_contrast > 0:
        chosen = some(shares.local_contrast).nonzero()[:, 0]
        if len(chosen):
            strength = torch.rand(len(chosen), 1, 1, generator=generator, device=images.device)
            images = images.index_copy(0, chosen, local_contrast(images[chosen], strength))
    if shares.inverted > 0:
        highest, lowest = images.amax(dim=(1, 2), keepdim=True), images.amin(dim=(1, 2), keepdim=True)
        images = torch.where(some(shares.inverted)[:, None, None], highest + lowest - images, images)
    if shares.opening > 0:
        chosen = some(shares.opening).nonzero()[:, 0]
        if len(chosen):
            open_ = openings(len(chosen), (images.shape[2], images.shape[1]), generator)
            images = images.index_copy(0, chosen, filled_outside(images[chosen], open_))
    return images


def openings(count: int, size: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    """Masks (count, H, W), 1 within random openings of a collimator; `size` is (W, H), px."""
    width, height = size
    draws = torch.rand(6, count, 1, 1, generator=generator, device=generator.device)
    x = torch.linspace(-1, 1, width, device=generator.device)[None, None, :] - _OFF_CENTRE * (2 * draws[0] - 1)
    y = torch.linspace(-1, 1, height, device=generator.device)[None, :, None] - _OFF_CENTRE * (2 * draws[1] - 1)
    angle = _TURN * (2 * draws[2] - 1)
    wide, high = (_OPENING[0] + (_OPENING[1] - _OPENING[0]) * d for d in draws[3:5])
    u, v = angle.cos() * x + angle.sin() * y, angle.cos() * y - angle.sin() * x
    inside = torch.where(draws[5] < 0.5, u.square() + v.square() < wide.square(), (u.abs() < wide) & (v.abs() < high))
    return inside.float()


def local_contrast(images: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    """Images (B, H, W) with mean and contrast of an eighth of the image's side evened out, by `strength` (B, 1, 1), 0..1.

    By means and deviations of tiles, interpolated between their centres, as CLAHE interpolates its tiles' curves; the
    contrast is raised by no more than four times, which is what CLAHE's limit is for.
    """
    down_rows, up_rows = _tiling(images.shape[1], images.dtype, images.device)
    down_columns, up_columns = _tiling(images.shape[2], images.dtype, images.device)

    def smooth(values: torch.Tensor) -> torch.Tensor:
        return up_rows @ (down_rows @ values @ down_columns.mT) @ up_columns.mT

    mean = smooth(images)
    squares = smooth(images.square())
    whole_mean = images.mean(dim=(1, 2), keepdim=True)
    whole = torch.linalg.vector_norm(images - whole_mean, dim=(1, 2), keepdim=True) / (images[0].numel() - 1) ** 0.5
    deviation = torch.addcmul(squares, mean, mean, value=-1).clamp_min(0).sqrt()
    evened = torch.addcdiv(whole_mean, (images - mean) * whole, torch.maximum(deviation, whole / 4 + 1e-9))
    return torch.lerp(images, evened, strength)


@lru_cache
def _tiling(pixels: int, dtype: torch.dtype, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """(tiles, pixels) and (pixels, tiles): means of tiles along an axis, and what is interpolated between their centres."""
    averaged = functional.adaptive_avg_pool1d(torch.eye(pixels, dtype=dtype, device=device)[None], _TILES)[0].mT
    tiles = torch.eye(_TILES, dtype=dtype, device=device)[None]
    between = functional.interpolate(tiles, size=pixels, mode="linear", align_corners=False)[0].mT
    return averaged.contiguous(), between.contiguous()
