"""Polyenergetic images of the chest CT: what they cost beside one energy, what few bins cost in accuracy, and a picture."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import torch
from rendering_table import interleaved
from rich.console import Console
from rich.table import Table

from XVRegistrationLib.evaluation.demo_data import demo_data
from XVRegistrationLib.files import write_json
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.imaging.volume import read_volume
from XVRegistrationLib.rendering.detector import DetectorSettings, detected
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.materials import grids_of, material_grids, threshold_densities
from XVRegistrationLib.rendering.polyenergetic import (
    area_densities,
    attenuated,
    attenuated_with_derivative,
    render_polyenergetic,
    render_polyenergetic_with_jacobian,
)
from XVRegistrationLib.rendering.render import render, render_with_jacobian
from XVRegistrationLib.rendering.spectrum import Tube, beam

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from XVRegistrationLib.imaging.volume import Volume

_CAMERA = Intrinsics.centered(1020.0, (1.95, 1.95), (200, 200))
_SHOWN = Intrinsics.centered(1020.0, (1.3, 1.3), (300, 300))
_TUBE = Tube(80)


def run(data: Path, output: Path) -> None:
    """Print and save the table, and save the picture."""
    volume = read_volume(demo_data(data).ct)
    x, y, z = volume.center.tolist()
    pose = NominalView("AP", (x, y, z), 700.0).pose[None]
    one, grids, seen, center = density_grid(volume), material_grids(volume), beam(_TUBE), volume.center
    area = area_densities(grids, pose, _CAMERA)
    times = interleaved(
        {
            "one energy, value": lambda: render(one, pose, _CAMERA),
            "16 bins, two materials, value": lambda: render_polyenergetic(grids, pose, _CAMERA, seen),
            "one energy, value + all six derivatives": lambda: render_with_jacobian(one, pose, _CAMERA, center),
            "16 bins, two materials, value + all six derivatives": lambda: render_polyenergetic_with_jacobian(
                grids, pose, _CAMERA, seen, center
            ),
            "16 bins, the sum over energies alone": lambda: attenuated_with_derivative(area, seen),
        }
    )
    exact = attenuated(area, beam(_TUBE, bins=None))
    bins = {
        n: float(((attenuated(area, beam(_TUBE, bins=n)) - exact).abs() / exact.clamp_min(0.1)).max())
        for n in (8, 16, 24)
    }
    names = list(times)
    rows = []
    table = Table(title=f"200x200 DRR of the chest CT, 80 kVp, {torch.get_num_threads()} threads")
    for column in ("method", "ms (median)", "of one energy's time"):
        table.add_column(column, justify="left" if column == "method" else "right")
    for i, name in enumerate(names):
        beside = times[names[min(i, 2) - min(i, 2) % 2]]
        ratio = median(a / b for a, b in zip(times[name], beside, strict=True))
        rows.append({"method": name, "ms": 1e3 * median(times[name]), "ratio": ratio})
        table.add_row(name, f"{rows[-1]['ms']:.1f}", f"{ratio:.2f}")
    console = Console(width=120)
    console.print(table)
    for n, error in bins.items():
        console.print(f"{n} bins: -ln(I / I0) of this image is at most {100 * error:.2f} % off")
    write_json(output / "polyenergetic.json", {"times": rows, "errors": {str(n): e for n, e in bins.items()}})
    _picture(volume, pose, output / "polyenergetic.png")


def _picture(volume: Volume, pose: np.ndarray, path: Path) -> None:
    """One X-ray of soft and of hard radiation, what thresholds change, and what a detector makes of it."""
    from matplotlib.figure import Figure

    area = area_densities(material_grids(volume), pose, _SHOWN)
    masked = grids_of(threshold_densities(volume.array), volume.ijk_to_ras)
    seen = beam(_TUBE)
    plain = attenuated(area, seen)
    settings = DetectorSettings(
        3e4, electronic_noise=5, scatter_to_primary=0.8, focal_spot_sigma_px=0.4, scintillator_sigma_px=0.6
    )
    images = {
        "60 kVp": attenuated(area, beam(Tube(60))),
        "120 kVp, 0.3 mm Cu": attenuated(area, beam(Tube(120, copper_mm=0.3))),
        "80 kVp: thresholds - ours": attenuated(area_densities(masked, pose, _SHOWN), seen) - plain,
        "80 kVp, scatter, blur and noise": -detected(
            plain, _SHOWN.spacing, settings, torch.Generator().manual_seed(0)
        ).log(),
    }
    figure = Figure(figsize=(16, 4.4), layout="constrained")
    for axes, (title, image) in zip(figure.subplots(1, len(images)), images.items(), strict=True):
        drawn = axes.imshow(image[0], cmap="gray")
        figure.colorbar(drawn, ax=axes, shrink=0.8)
        axes.set_title(title)
        axes.axis("off")
    figure.savefig(path, dpi=75)
