"""What the panel waits for while a C-arm is moved by hand: live DRRs, projected structures and error maps, through the engine's
process; and the pictures that compare, made in its own."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from XVRegistrationLib.evaluation.demo_data import demo_data
from XVRegistrationLib.files import write_json
from XVRegistrationLib.geometry.camera import Intrinsics
from XVRegistrationLib.geometry.views import NominalView, PoseRange, draw_poses
from XVRegistrationLib.imaging.volume import read_label_map, read_label_names, read_volume
from XVRegistrationLib.jobs.engine import Engine
from XVRegistrationLib.panel.comparison_pictures import checkerboard, difference, edges, map_over, resized, windowed

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_CAMERA = Intrinsics.centered(1020.0, (0.76, 0.76), (512, 512))
_SIZES = (128, 256)
_FRAMES = 30
_PROJECTIONS = 5


def run(data: Path, output: Path) -> None:
    """Print and save the table: what, ms a round trip (median and 90th percentile), how many a second."""
    files = demo_data(data)
    volume, labels = read_volume(files.ct), read_label_map(files.labels, read_label_names(files.label_names))
    center = volume.center
    view = NominalView("AP", (float(center[0]), float(center[1]), float(center[2])), 700.0)
    poses = draw_poses(view, PoseRange(), _FRAMES, np.random.default_rng(3))
    camera = _CAMERA.to_dict()
    engine = Engine()
    engine.start()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        common = {"volume": "ct", "ijk_to_ras": volume.ijk_to_ras.tolist()}
        engine.wait(
            engine.request("describe_volume", **common, volume_file=_saved(folder, volume.array), name=volume.name)
        )
        values = sorted(labels.names)
        engine.wait(
            engine.request("labels", **common, labels_file=_saved(folder, labels.array, "labels"), values=values)
        )
        for pixels in _SIZES:
            times = _times(engine, "drr", poses, volume="ct", intrinsics=camera, pixels=pixels)
            rows.append(_row(f"DRR, {pixels} px", times))
        times = _times(engine, "project_labels", poses[: _PROJECTIONS + 1], volume="ct", intrinsics=camera)
        rows.append(_row(f"{len(values)} structures, 512 px", times))
        drr = engine.wait(engine.request("drr", volume="ct", intrinsics=camera, pose=poses[0].tolist(), pixels=256))
        xray = resized(drr.arrays["image"], _CAMERA.size[::-1])
        shown = {"volume": "ct", "intrinsics": camera, "name": "x", "scale": "attenuation"}
        times = _times(engine, "error_map", poses[: _PROJECTIONS + 1], arrays={"pixels": xray}, **shown)
        rows.append(_row("error map, 256 px", times))
        engine.close()
    grey = windowed(xray, 0.0, float(xray.max()))
    rows += [
        _row(f"picture: {way.__name__}, 512 px", [_seconds(way, grey, grey) for _ in range(_FRAMES)])
        for way in (checkerboard, edges, difference, map_over)
    ]
    table = Table(title="Round trips to the engine, chest CT (512x512x133)")
    for column in rows[0]:
        table.add_column(column, justify="left" if column == "what" else "right")
    for row in rows:
        table.add_row(*(v if isinstance(v, str) else f"{v:.1f}" for v in row.values()))
    Console(width=120).print(table)
    write_json(output / "panel_drr.json", rows)


def _seconds(make: Callable[..., object], *arguments: object) -> float:
    began = time.perf_counter()
    make(*arguments)
    return time.perf_counter() - began


def _times(engine: Engine, operation: str, poses: NDArray[np.float64], **fields: Any) -> list[float]:
    """Seconds from asking to having it, for each pose but the first, which pays for what is made once."""
    times = []
    for pose in poses:
        began = time.perf_counter()
        engine.wait(engine.request(operation, **fields, pose=pose.tolist()))
        times.append(time.perf_counter() - began)
    return times[1:]


def _row(what: str, times: list[float]) -> dict[str, str | float]:
    return {
        "what": what,
        "ms (median)": 1e3 * median(times),
        "ms (90 %)": 1e3 * float(np.percentile(times, 90)),
        "a second": 1 / median(times),
    }


def _saved(folder: str, array: NDArray[np.generic], name: str = "volume") -> str:
    path = Path(folder) / f"{name}.npy"
    np.save(path, array)
    return str(path)
