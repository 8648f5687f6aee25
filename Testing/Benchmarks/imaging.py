"""How fast X-rays and volumes open, beside the libraries that decode them."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.files import write_json
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
_SLICES, _SIZE = 600, 512
# Each reader in a process of its own, whose peak memory it is, with its modules loaded before the clock starts.
_OURS = """
from XVRegistrationLib.imaging.volume import read_volume
def read(folder):
    return read_volume(folder).array
"""
_THEIRS = """
import SimpleITK as sitk
def read(folder):
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(folder))
    return sitk.GetArrayFromImage(reader.Execute())
"""
_IMAGE_ALONE = _THEIRS.replace("GetArrayFromImage", "GetArrayViewFromImage")
_MEASURE = """
import hashlib, json, resource, sys, time
from pathlib import Path
import pydicom, SimpleITK
def peak():
    status = Path("/proc/self/status")  # what getrusage says on Linux counts the parent before it became this program
    if status.exists():
        return 1024 * int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before, start, cpu = peak(), time.perf_counter(), time.process_time()
array = read(sys.argv[1])
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
voxels = hashlib.sha256(array.tobytes()).hexdigest() if len(sys.argv) > 2 else ""
print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": peak() - before, "bytes": array.nbytes, "voxels": voxels}))
"""


def run(output: Path) -> None:
    """Measure and write imaging.json."""
    write_json(output / "imaging.json", {"series": series(), "runs, ratio to pydicom": runs()})


def runs() -> dict[str, float]:
    """Print how long a run of 100 frames takes to open, for each compression, and its ratio to pydicom and to SimpleITK.

    All three start from the closed file; ours also finds each frame's geometry, scale and mask. Returns the
    ratios to pydicom.
    """
    import pydicom
    import SimpleITK as sitk

    from Testing.Python.unit.dicom_files import compressed, write_xray

    ratios = {}
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
            ratios[syntax] = ours / theirs
            print(
                f"  {syntax:24} {ours:6.3f} s; pydicom {theirs:6.3f} s, ratio {ours / theirs:4.2f} (below {MOST:g}); "
                f"SimpleITK {itk:6.3f} s, ratio {ours / itk:4.2f}; the last frame alone {1e3 * one:5.1f} ms"
            )
    return ratios


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


def series(slices: int = _SLICES, size: int = _SIZE, repeats: int = 5) -> dict[str, Any]:
    """A CT series of `slices` images by `read_volume` and by SimpleITK: seconds, CPU seconds, peak memory over the array's size."""
    with tempfile.TemporaryDirectory() as name:
        _write_series(Path(name), slices, size)
        same = {_measured(code, name, voxels=True)["voxels"] for code in (_OURS, _THEIRS)}
        # By turns, because other work on the computer comes and goes.
        rows = [[_measured(code, name) for code in (_OURS, _THEIRS, _IMAGE_ALONE)] for _ in range(repeats)]
    result: dict[str, Any] = {"slices": slices, "size": size, "voxels identical": len(same) == 1}
    for side, who in enumerate(("ours", "SimpleITK to an array", "SimpleITK to its image")):
        of = [row[side] for row in rows]
        result[who] = {
            "seconds": float(np.median([r["seconds"] for r in of])),
            "cpu": float(np.median([r["cpu"] for r in of])),
            "peak / voxels": float(np.median([r["peak"] / r["bytes"] for r in of])),
        }
        result[who]["ours / theirs"] = float(np.median([row[0]["seconds"] / row[side]["seconds"] for row in rows]))
    print(json.dumps(result, indent=2))
    return result


def _measured(code: str, folder: str, voxels: bool = False) -> dict[str, Any]:
    command = [sys.executable, "-c", code + _MEASURE, folder, *(["voxels"] if voxels else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _write_series(folder: Path, slices: int, size: int) -> None:
    """Axial slices of noise, 12 bits, in files whose names are in no order."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    noise = np.random.default_rng(0).integers(0, 4000, (size, size)).astype("<u2")
    for k in range(slices):
        d = Dataset()
        d.SOPClassUID, d.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", f"2.25.{1000 + k}"
        d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = "2.25.1", "2.25.2", "2.25.3"
        d.Modality, d.ImageType, d.InstanceNumber = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"], k + 1
        d.Rows = d.Columns = size
        d.SamplesPerPixel, d.PhotometricInterpretation, d.PixelRepresentation = 1, "MONOCHROME2", 0
        d.BitsAllocated, d.BitsStored, d.HighBit = 16, 12, 11
        d.RescaleIntercept, d.RescaleSlope, d.RescaleType = -1024, 1, "HU"
        d.PixelSpacing, d.SliceThickness = [0.7, 0.7], 1.0
        d.ImageOrientationPatient, d.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-180, -180, float(k)]
        d.add_new("PixelData", "OW", np.roll(noise, k).tobytes())
        d.file_meta = FileMetaDataset()
        d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        d.save_as(folder / f"{k * 7 % slices:04d}.dcm", enforce_file_format=True)
