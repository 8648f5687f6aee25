"""The demo's patient for trying the panel: `python -m Testing.Host.demo_patient FOLDER` puts the CT, its labels and three
X-rays by an independent renderer there, unless they are there already."""

from __future__ import annotations

import sys
from pathlib import Path

from XVRegistrationLib.cli.demo import INTRINSICS, POSE_RANGE
from XVRegistrationLib.cli.progress import counting
from XVRegistrationLib.evaluation.demo_data import demo_data
from XVRegistrationLib.evaluation.simulation import NanodrrRenderer, simulate_xrays
from XVRegistrationLib.geometry.views import NominalView
from XVRegistrationLib.imaging.dicom.writer import write_dicom_dx
from XVRegistrationLib.imaging.volume import read_volume
from XVRegistrationLib.registration.card import DEFAULT_SOD

COUNT = 3
_SEED = 2026


def prepare(folder: Path) -> list[Path]:
    """X-ray files (DICOM, with geometry and without a pose) in `folder`/xrays, beside the CT and its labels."""
    data = demo_data(folder)
    files = [folder / "xrays" / f"xray-{i + 1:02d}.dcm" for i in range(COUNT)]
    if all(file.exists() for file in files):
        return files
    volume = read_volume(data.ct)
    view = NominalView("AP", (float(volume.center[0]), float(volume.center[1]), float(volume.center[2])), DEFAULT_SOD)
    with counting("X-rays by nanodrr") as progress:
        simulated = simulate_xrays(NanodrrRenderer(volume), view, INTRINSICS, COUNT, _SEED, POSE_RANGE, progress)
    for file, xray in zip(files, simulated, strict=True):
        file.parent.mkdir(exist_ok=True)
        write_dicom_dx(file, xray.pixels, xray.intrinsics, bits_stored=xray.detector.bits)
    return files


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
