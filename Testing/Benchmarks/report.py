"""How long a report of ten X-rays takes in the panel: from the call to the page and its PDF, and how long anything else waits.

What else waits for is each call into the session, the one that begins and those of the timer: their time, and the main thread's
processor time in them, which other programs on the computer do not lengthen.

`report.py DATA` measures in a process of its own and prints the row as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import panel
import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 10
BAR_SECONDS = 10.0
BAR_BLOCKED_MS = 100.0
_TARGETS = {"T6": (0.0, -30.0, 40.0), "T9": (0.0, -30.0, -20.0), "heart": (20.0, 30.0, -40.0)}  # mm from the centre
_PATIENCE = 600.0


def run(data: Path, output: Path) -> None:
    """Print and save the row."""
    from rich.console import Console

    from XVRegistrationLib.files import write_json

    panel.child("prepare", data)
    row = panel.child(data, program=__file__)
    Console(width=120).print(
        f"Report of {row['xrays']} X-rays of 512 x 512 px with {row['structures']} structures and {len(_TARGETS)} targets: "
        f"{row['seconds']:.1f} s (at most {BAR_SECONDS:.0f}; {row['processor_s']:.1f} s of one core), page of {row['megabytes']:.1f} MB, its PDF and {row['files']} files for other programs. "
        f"The main thread is blocked for {row['p99_ms']:.0f} ms at the 99th percentile of {row['calls']} calls (at most {BAR_BLOCKED_MS:.0f}), "
        f"{row['longest_ms']:.0f} ms at most; of processor time {row['p99_processor_ms']:.0f} and {row['longest_processor_ms']:.0f} ms."
    )
    write_json(output / "report.json", row)


def measure(data: Path) -> dict[str, Any]:
    """Seconds of a report in the host, once the X-rays are registered."""
    from Testing.Host import start_host
    from Testing.Host.__main__ import load_folder

    host = start_host()
    from XVRegistrationLib.panel.widgets.panel import OPEN_MS
    from XVRegistrationLib.panel.widgets.pdf import print_pdf

    session = host.open_module(panel.MODULE).logic.session
    nodes = load_folder(data)
    volume = next(node for node in nodes if node.IsA("vtkMRMLScalarVolumeNode"))
    segmentation = next(node for node in nodes if node.IsA("vtkMRMLSegmentationNode"))
    session.parameters.volume, session.parameters.segmentation = volume, segmentation
    session.wait(_PATIENCE)
    targets = host.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", "Targets")
    for name, shift in _TARGETS.items():
        targets.AddControlPoint(*(np.array(session._patient.center) + shift), name)
    session.parameters.targets = targets
    files = sorted((data / "xrays").glob("*.dcm"))
    session.add_files((files * COUNT)[:COUNT])
    session.wait(_PATIENCE)
    session.register()
    session.wait(_PATIENCE)
    blocked: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        busy, began = _processor_seconds(), time.perf_counter()
        blocked.append(_timed(lambda: session.report(path, pdf=print_pdf)))
        while session.busy and time.perf_counter() - began < _PATIENCE:
            blocked.append(_timed(session.tick))
            # As the panel's timer, which does not begin to count when a tick has ended.
            time.sleep(max(0.0, OPEN_MS / 1000 - blocked[-1][0]))
        seconds, busy = time.perf_counter() - began, _processor_seconds() - busy
        size = path.stat().st_size
        assert path.read_text("utf-8").count("data:image/jpeg") == 3 * COUNT, session.status
        assert path.with_suffix(".pdf").stat().st_size, session.status
        beside = list(path.with_name("report-files").iterdir())
        assert sum(file.name.endswith("_labels.dcm") for file in beside) == COUNT, session.status
    p99, longest = 1e3 * np.percentile(blocked, 99, axis=0), 1e3 * np.max(blocked, axis=0)
    row = {
        "xrays": COUNT,
        "structures": segmentation.GetSegmentation().GetNumberOfSegments(),
        "seconds": seconds,
        "processor_s": busy,
        "megabytes": size / 1e6,
        "files": len(beside),
        "calls": len(blocked),
        "p99_ms": p99[0],
        "longest_ms": longest[0],
        "p99_processor_ms": p99[1],
        "longest_processor_ms": longest[1],
    }
    host.close()
    host.errors.check()
    return row


def _timed(call: Callable[[], None]) -> tuple[float, float]:
    """Seconds of a call, and of them those of this thread's processor."""
    before, busy = time.perf_counter(), time.thread_time()
    call()
    return time.perf_counter() - before, time.thread_time() - busy


def _processor_seconds() -> float:
    """Of this process and of the engine, which is its child."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
    sys.stdout.flush()
    os._exit(0)
