"""Where an attention network looks, drawn over the X-ray."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as functional

from XVRegistrationLib.evaluation.pictures import save_figure, window
from XVRegistrationLib.networks.attention_on_xray import attention_maps
from XVRegistrationLib.registration.search import prepare_xray

if TYPE_CHECKING:
    import os

    from numpy.typing import ArrayLike

    from XVRegistrationLib.imaging.xray import Xray
    from XVRegistrationLib.registration.model import PatientModel

_TRANSPARENT = 0.6  # share of the colours, where attention is highest


def draw_attention(path: str | os.PathLike[str], model: PatientModel, xray: Xray) -> None:
    """Write where a model's network looks on an X-ray; InputError for a network without maps."""
    prepared = prepare_xray(xray)
    seen, maps = attention_maps(model.network, model.intrinsics, prepared.image, prepared.xray.intrinsics)
    attention_picture(path, seen.numpy(), maps.numpy())


def attention_picture(path: str | os.PathLike[str], image: ArrayLike, maps: ArrayLike) -> None:
    """Write a picture of line integrals (H, W) as a network sees them, and of its attention maps (heads, h, w) over them.

    Their mean, and each head's map; colours go from none, where a map is lowest, to the brightest, where it is highest: the
    title says by how much.
    """
    from matplotlib.figure import Figure

    grey = window(image)
    heads = torch.as_tensor(np.asarray(maps, dtype=np.float32))
    shown = torch.cat([heads.mean(dim=0, keepdim=True), heads])
    # A place covers its part of the image: the map's corners are the image's.
    wide = functional.interpolate(shown[None], size=grey.shape, mode="bilinear", align_corners=False)[0].numpy()
    titles = ["X-ray", "mean of all heads", *(f"head {i}" for i in range(1, len(heads) + 1))]
    figure = Figure(figsize=(2.8 * len(titles), 3.0), facecolor="white", layout="constrained")
    for i, (axes, title) in enumerate(zip(figure.subplots(1, len(titles)), titles, strict=True)):
        axes.imshow(grey, cmap="gray")
        if i > 0:
            low, high = float(shown[i - 1].min()), float(shown[i - 1].max())
            share = np.clip((wide[i - 1] - low) / max(high - low, 1e-12), 0, 1)
            axes.imshow(share, cmap="inferno", vmin=0, vmax=1, alpha=_TRANSPARENT * share)
            title += f", {100 * low:.1f} to {100 * high:.1f} %"
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    save_figure(figure, path)
