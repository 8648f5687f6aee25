"""The sample patient of Slicer's Sample Data module: `python -m XVRegistrationLib.evaluation.sample_patient FOLDER`.

A process of its own, as Slicer's must not load what renders the X-rays.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.demo_data import demo_data
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import NominalView, PoseRange, draw_poses
from XVRegistrationLib.imaging.dicom.writer import write_dicom_dx
from XVRegistrationLib.imaging.volume import read_volume
from XVRegistrationLib.registration.card import DEFAULT_SOD
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.render import render

if TYPE_CHECKING:
    from numpy.typing import NDArray

XRAYS = ("sample-xray-1.dcm", "sample-xray-2.dcm")
_DETECTOR = Intrinsics.centered(1020.0, (0.76, 0.76), (512, 512))
_RANGE = PoseRange((15.0, 15.0, 10.0), (20.0, 20.0, 20.0))
_PHOTONS = 2e5  # a pixel, without a patient
_SEED = 7


def sample_patient(folder: Path) -> list[Path]:
    """Files in `folder`: the demo's CT, its labels and their names, and two X-rays rendered from it, made if need be.

    The X-rays are this project's own renders with noise: they show how to use the panel, not how well it works.
    """
    data = demo_data(folder)
    files = [folder / name for name in XRAYS]
    if not all(file.exists() for file in files):
        volume = read_volume(data.ct)
        x, y, z = (float(v) for v in volume.center)
        rng = np.random.default_rng(_SEED)
        poses = draw_poses(NominalView("AP", (x, y, z), DEFAULT_SOD), _RANGE, len(files), rng)
        integrals = render(density_grid(volume), poses, _DETECTOR).numpy()
        for file, image in zip(files, integrals, strict=True):
            write_dicom_dx(file, _exposed(image, rng), _DETECTOR)
    return [data.ct, data.labels, data.label_names, *files]


def _exposed(line_integrals: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint16]:
    """16-bit linear intensities (H, W) that a detector counts behind line integrals."""
    counts = rng.poisson(_PHOTONS * np.exp(-line_integrals.astype(np.float64)))
    return np.clip(np.round(65535 * counts / (1.05 * _PHOTONS)), 0, 65535).astype(np.uint16)


if __name__ == "__main__":
    try:
        sample_patient(Path(sys.argv[1]))
    except InputError as e:
        sys.exit(str(e))
