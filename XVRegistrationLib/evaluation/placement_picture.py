"""The picture of a CT on the template."""

from __future__ import annotations

from typing import TYPE_CHECKING

from XVRegistrationLib.files import replacing
from XVRegistrationLib.training.preregistration import overlays

if TYPE_CHECKING:
    from pathlib import Path

    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.training.preregistration import Placement

_DPI, _PANEL = 110, 3.2  # inches a panel


def draw_placement(path: Path, volume: Volume, template: Volume, placement: Placement) -> None:
    """Write a PNG: coronal and sagittal slices before and after, template magenta, patient green, where both agree grey."""
    from matplotlib.figure import Figure

    pictures = overlays(volume, template, placement)
    figure = Figure(figsize=(_PANEL * len(pictures), _PANEL + 0.8), dpi=_DPI, layout="constrained")
    for axes, (title, image) in zip(figure.subplots(1, len(pictures)), pictures, strict=True):
        axes.imshow(image)
        axes.set_title(title, fontsize=9)
        axes.set_axis_off()
    figure.suptitle(f"template magenta, patient green: {placement.sentence}", fontsize=9)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
