"""How long X-rays and volumes take to open, beside the libraries that decode them."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.imaging.xray_files import read_run, read_xray_parts

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMES, SIDE, REPEATS = 100, 512, 5
SYNTAXES = (
    "ExplicitVRLittleEndian",
    "RLELossless",
    "JPEGBaselineProcess1",
    "JPEGLosslessProcess14_1",
    "JPEG2000Lossless",
)
MOST = 2.0
"""Times pydicom's own decoding that a run may take."""


def runs() -> bool:
    """Print how long a run of 100 frames takes to open, for each compression, and its ratio to pydicom and to SimpleITK.

    All three start from the closed file; ours also finds each frame's geometry, scale and mask. Whether every ratio to
    pydicom is below 2.
    """
    import pydicom
    import SimpleITK as sitk

    from Testing.Python.unit.dicom_files import compressed, write_xray

    good = True
    print(f"A run of {FRAMES} frames of {SIDE} x {SIDE}, median of {REPEATS}:")
    with tempfile.TemporaryDirectory() as folder:
        for syntax in SYNTAXES:
            eight = syntax == "JPEGBaselineProcess1"
            plain = write_xray(Path(folder) / "plain.dcm", _run(eight), bits=8 if eight else 12, **_HEADER)
            path = compressed(plain, syntax, Path(folder) / f"{syntax}.dcm") if syntax != SYNTAXES[0] else plain
            ours = _seconds(lambda p=path: read_run(p))
            theirs = _seconds(lambda p=path: pydicom.dcmread(p).pixel_array)
            itk = _seconds(lambda p=path: sitk.GetArrayFromImage(sitk.ReadImage(str(p))))
            one = _seconds(lambda p=path: read_xray_parts(p, frame=FRAMES - 1))
            good &= ours < MOST * theirs
            print(
                f"  {syntax:24} {ours:6.3f} s; pydicom {theirs:6.3f} s, ratio {ours / theirs:4.2f} (below {MOST:g}); "
                f"SimpleITK {itk:6.3f} s, ratio {ours / itk:4.2f}; the last frame alone {1e3 * one:5.1f} ms"
            )
    return good


_HEADER: dict[str, Any] = {
    "DistanceSourceToDetector": 1100,
    "ImagerPixelSpacing": [0.4, 0.4],
    "PositionerPrimaryAngle": 10,
    "PositionerSecondaryAngle": 5,
    "PixelIntensityRelationship": "DISP",
    "ShutterShape": "RECTANGULAR",
    "ShutterLeftVerticalEdge": 8,
    "ShutterRightVerticalEdge": 508,
}


def _run(eight_bits: bool) -> np.ndarray:
    """(N, H, W): smooth shadows that move, and noise, as compressible as fluoroscopy."""
    rng = np.random.default_rng(0)
    row, column = np.mgrid[:SIDE, :SIDE] / SIDE
    frames = [
        0.5 + 0.3 * np.sin(9 * row + 0.1 * i) * np.cos(7 * column) + 0.01 * rng.normal(size=row.shape)
        for i in range(FRAMES)
    ]
    scaled = np.clip(frames, 0, 1) * (255 if eight_bits else 4095)
    return scaled.astype(np.uint8 if eight_bits else np.uint16)


def _seconds(what: Callable[[], Any]) -> float:
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        what()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
