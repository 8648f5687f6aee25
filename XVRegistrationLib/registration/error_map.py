"""Where an X-ray and the render at a pose disagree, as the similarity of a registration's last stage sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as functional

from XVRegistrationLib.registration.objective import depth_of, view_of
from XVRegistrationLib.registration.similarity import Similarity, patch_agreement
from XVRegistrationLib.rendering.projected_bounds import covered
from XVRegistrationLib.rendering.render import render

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.registration.search import PreparedXray
    from XVRegistrationLib.rendering.pyramid import Pyramid

PIXELS = 256
"""Along the longer side, as in the last stage."""
_PATCH, _OVERLAP = 16, 4  # px of a patch, and how many of them a pixel lies in along each axis


def error_map(
    pyramid: Pyramid, prepared: PreparedXray, pose: NDArray[np.float64], center: ArrayLike
) -> NDArray[np.float32]:
    """(h, w) 0..1 on the X-ray's detector at PIXELS: 1 - NCC of the patches around each pixel; NaN where pixels do not count.

    Patches with less contrast than the mean count less, by that share: 1 is where nothing is alike and it matters. What does not
    count is what the X-ray itself leaves out and what shows more of the body than a volume that is cut off. `pose` is (4, 4),
    camera -> RAS, mm, `center` (3,) the volume's.
    """
    beyond = pyramid.beyond
    depth, _ = depth_of(pose[None], np.asarray(center, dtype=np.float64))
    view = view_of(
        prepared.image,
        prepared.xray.intrinsics,
        [pyramid if beyond is None else pyramid.prolonged],
        PIXELS,
        max(float(depth[0]), 1.0),
        Similarity(),
        prepared.weight,
        coarsening=2.0,
    )
    weight = view.weight
    if beyond is not None:
        cover = covered(beyond, pose[None], view.intrinsics)[0]
        weight = cover if weight is None else cover * weight
    image = render(view.grids[0], pose[None], view.intrinsics, view.step).cpu()
    height, width = view.xray.shape
    size = max(_OVERLAP, min(_PATCH, min(height, width) // 2) // _OVERLAP * _OVERLAP)
    ncc, share = patch_agreement(image, view.xray, view.similarity, size, size // _OVERLAP, weight)
    matters = (share * share[0].numel()).clamp(max=1.0)
    unlike = (matters * (1 - ncc)).clamp(0.0, 1.0)
    found = _spread(unlike[0], (height, width), size, size // _OVERLAP)
    if weight is not None:
        found[(weight <= 0).numpy()] = np.nan
    return found


def _spread(values: torch.Tensor, shape: tuple[int, int], size: int, stride: int) -> NDArray[np.float32]:
    """Values (rows, columns) of patches, interpolated between their middles, on all pixels (h, w)."""
    places = []
    for pixels, patches in zip(shape, values.shape, strict=True):
        at = (torch.arange(pixels) - (size - 1) / 2) / stride
        places.append(at / max(patches - 1, 1) * 2 - 1)
    grid = torch.stack(torch.meshgrid(places[1], places[0], indexing="xy"), dim=-1)[None].float()
    spread = functional.grid_sample(
        values[None, None].float(), grid, mode="bilinear", padding_mode="border", align_corners=True
    )
    found: NDArray[np.float32] = spread[0, 0].numpy()
    return found
