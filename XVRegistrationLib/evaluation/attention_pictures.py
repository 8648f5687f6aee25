"""Where an attention network looks, drawn over the X-ray."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as functional

from XVRegistrationLib.evaluation.pictures import save_figure, window

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike

_TRANSPARENT = 0.6  # share of the colours, where attention is highest


def attention_picture(path: str | os.PathLike[str], image: ArrayLike, maps: ArrayLike) -> None:
    """Write a picture of line integrals (H, W) as a network sees them, and of its attention maps (heads, h, w) over them.

    Each head's map and their mean; colours go from none, where nothing attends to a place, to its head's highest.
    """
    from matplotlib.figure import Figure

    grey = window(image)
    heads = torch.as_tensor(np.asarray(maps, dtype=np.float32))
    shown = torch.cat([heads.mean(dim=0, keepdim=True), heads])
    # A place covers its part of the image: the map's corners are the image's.
    wide = functional.interpolate(shown[None], size=grey.shape, mode="bilinear", align_corners=False)[0].numpy()
    titles = ["X-ray", "mean of all heads", *(f"head {i}" for i in range(1, len(heads) + 1))]
    figure = Figure(figsize=(2.6 * len(titles), 3.0), facecolor="white", layout="constrained")
    for i, (axes, title) in enumerate(zip(figure.subplots(1, len(titles)), titles, strict=True)):
        axes.imshow(grey, cmap="gray")
        if i > 0:
            share = wide[i - 1] / max(float(wide[i - 1].max()), 1e-12)
            axes.imshow(share, cmap="inferno", vmin=0, vmax=1, alpha=_TRANSPARENT * share)
        axes.set_title(title, fontsize=10)
        axes.set_axis_off()
    save_figure(figure, path)
