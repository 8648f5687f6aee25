"""The picture of a registration: the X-ray, its DRR, and structures and targets where they fall on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.evaluation.pictures import side_markers, xray_picture
from XVRegistrationLib.evaluation.report_table import verdict_in_words
from XVRegistrationLib.geometry.camera import project
from XVRegistrationLib.imaging.colors import color_of_label
from XVRegistrationLib.imaging.intensity import display_integral
from XVRegistrationLib.imaging.segmentation import Segmentation
from XVRegistrationLib.registration.uncertainty import ellipse_points, target_uncertainty
from XVRegistrationLib.rendering.labels import label_grid, project_labels
from XVRegistrationLib.rendering.render import render

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from XVRegistrationLib.evaluation.pictures import Outline
    from XVRegistrationLib.geometry.camera import Intrinsics
    from XVRegistrationLib.imaging.colors import Color
    from XVRegistrationLib.imaging.volume import LabelMap
    from XVRegistrationLib.imaging.xray import Xray
    from XVRegistrationLib.registration.model import PatientModel
    from XVRegistrationLib.registration.result import Registration
    from XVRegistrationLib.rendering.labels import LabelGrid

_DRR_PIXELS = 512


@dataclass(frozen=True, eq=False)
class Structures:
    """Labels made ready to be projected."""

    names: dict[int, str]
    grid: LabelGrid
    colors: dict[int, Color]
    left_out: tuple[str, ...] = ()
    """Names of those that the labels hold and nobody asked for."""

    @staticmethod
    def of(labels: LabelMap | Segmentation, values: Sequence[int]) -> Structures:
        """Structures of some label values, in their own colours if they have any; those without voxels are left out."""
        grid = label_grid(labels, values)
        own = labels.colors if isinstance(labels, Segmentation) else {}
        colors = {value: own.get(value, color_of_label(value)) for value in grid.values}
        left_out = tuple(name for value, name in labels.names.items() if value not in values)
        return Structures({value: labels.names[value] for value in grid.values}, grid, colors, left_out)

    def outlines(
        self, pose: NDArray[np.float64], intrinsics: Intrinsics, only: Sequence[str] | None = None
    ) -> list[Outline]:
        """Name, colour and mask (H, W) of each structure that an X-ray at `pose` shows."""
        values = [value for value in self.grid.values if only is None or self.names[value] in only]
        masks = project_labels(self.grid, pose, intrinsics, values=values)
        return [(self.names[value], self.colors[value], mask) for value, mask in masks.items()]


def draw_registration(
    path: Path,
    model: PatientModel,
    xray: Xray,
    result: Registration,
    structures: Structures | None = None,
    only: Sequence[str] | None = None,
    targets: Sequence[tuple[str, NDArray[np.float64]]] = (),
    title: str | None = None,
) -> None:
    """Write the picture of one registration; `targets` are names and points (3,), RAS mm.

    Around the targets are their 95 % ellipses, where the registration states its uncertainty.
    """
    small = xray.intrinsics.fitted(_DRR_PIXELS)
    drr = render(model.pyramid.finest, result.pose[None], small)[0].cpu().numpy()
    dx, dy = xray.intrinsics.spacing
    seen = [(name, project(point, result.pose, xray.intrinsics)) for name, point in targets]
    xray_picture(
        path,
        display_integral(xray),
        drr,
        structures.outlines(result.pose, xray.intrinsics, only) if structures else [],
        [(name, (float(p[0]), float(p[1]))) for name, p in seen if np.isfinite(p).all()],
        title if title is not None else f"{xray.name}: {verdict_in_words(result)}, similarity {result.similarity:.3f}",
        side_markers(result.pose, xray.intrinsics),
        dy / dx,
        _ellipses(result, [point for _, point in targets]),
    )


def _ellipses(result: Registration, points: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Outlines (n, 2), stored px, of the targets' 95 % ellipses; none where the registration states no uncertainty."""
    if result.uncertainty is None or not len(points):
        return []
    uncertainty = target_uncertainty(result, points)
    outlines = (ellipse_points(uncertainty, i) for i in range(len(points)))
    return [outline for outline in outlines if np.isfinite(outline).all()]
