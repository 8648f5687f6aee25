"""Labels of a volume drawn where they fall on an X-ray."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from XVRegistrationLib.geometry.rigid import translation
from XVRegistrationLib.rendering.grid import DensityGrid
from XVRegistrationLib.rendering.render import render

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.imaging.volume import LabelMap


def label_grids(labels: LabelMap, values: Iterable[int]) -> dict[int, DensityGrid]:
    """For each label value a grid that is 1 inside the structure, cropped to it; made once, projected often."""
    from scipy.ndimage import find_objects

    boxes = find_objects(labels.array)
    grids = {}
    for value in values:
        box = boxes[value - 1] if 0 < value <= len(boxes) else None
        if box is None:
            continue
        inside = np.pad((labels.array[box] == value).astype(np.float32), 1)
        first = np.array([s.start - 1 for s in box[::-1]], dtype=np.float64)
        grids[value] = DensityGrid(torch.from_numpy(inside), labels.ijk_to_ras @ translation(first))
    return grids


def project_labels(
    grids: dict[int, DensityGrid], pose: ArrayLike, intrinsics: Intrinsics, shortest: float = 1.0
) -> dict[int, NDArray[np.bool_]]:
    """Masks (H, W) of the pixels whose ray runs through a structure for at least `shortest` mm; empty ones are left out."""
    poses = np.asarray(pose, dtype=np.float64)[None]
    masks = {}
    for value, grid in grids.items():
        mask = render(grid, poses, intrinsics)[0].numpy() >= shortest
        if mask.any():
            masks[value] = mask
    return masks
