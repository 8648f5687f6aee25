"""How the panel feels in the host: how soon it is usable, whether it is ever blocked, and, by `panel_looks`, how it follows a user.

Each measurement runs in a process of its own: `panel.py {start,heartbeat} DATA` prints its rows as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import panel_looks
from beats import Beats

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "XVRegistration/XVRegistration.py"
_STARTS = 5
_TRAINING_SECONDS = 60.0
_PATIENCE = 300.0


def run(data: Path, output: Path) -> None:
    """Print and save the tables."""
    from rich.console import Console
    from rich.table import Table

    from XVRegistrationLib.files import write_json

    child("prepare", data)
    starts = [child("start", data)["seconds"] for _ in range(_STARTS)]
    beats = child("heartbeat", data)["phases"]
    live, switches = (child(what, data, program=panel_looks.__file__)["rows"] for what in ("live", "switches"))
    console = Console(width=120)
    console.print(
        f"Module usable after it is opened: {median(starts):.2f} s (median of {_STARTS}, worst {max(starts):.2f})"
    )
    for title, rows in (
        (
            "Gaps between beats of a 10 ms timer on the main thread, chest CT, ms; without, and (drawn) with what the host draws",
            beats,
        ),
        ("Live DRRs at 256 px while the C-arm moves, drawing excluded; ms of a tick that takes one in", live),
        ("What is switched, until scene and panel show it, without drawing, ms; gaps as above", switches),
    ):
        table = Table(title=title)
        for number, column in enumerate(rows[0]):
            table.add_column(column, justify="right" if number else "left")
        for row in rows:
            table.add_row(*(v if isinstance(v, str) else f"{v:.1f}" for v in row.values()))
        console.print(table)
    write_json(output / "panel.json", {"start_s": starts, "gaps_ms": beats, "live": live, "switches_ms": switches})


def child(*arguments: str | Path, program: str = __file__) -> dict[str, Any]:
    """What a benchmark prints that runs in a process, and with models, of its own."""
    with tempfile.TemporaryDirectory(prefix="xvregistration-bench-") as home:
        environment = {**os.environ, "XVREGISTRATION_HOME": home, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, program, *(str(a.resolve()) if isinstance(a, Path) else a for a in arguments)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def prepare(data: Path) -> dict[str, Any]:
    from Testing.Host.demo_patient import prepare

    return {"xrays": len(prepare(data))}


def start(data: Path) -> dict[str, Any]:
    """Seconds from opening the module until its widgets are there, filled, and answer to events."""
    from Testing.Host import start_host

    host = start_host()
    began = time.perf_counter()
    widget = host.open_module(MODULE)
    host.wait_until(lambda: widget.ui.trainButton.toolTip)
    seconds = time.perf_counter() - began
    host.close()
    return {"seconds": seconds}


def heartbeat(data: Path) -> dict[str, Any]:
    """Gaps between the beats of a timer while everything that takes long is done, phase by phase."""
    from Testing.Host import start_host
    from Testing.Host.__main__ import load_folder

    host = start_host()
    widget = host.open_module(MODULE)
    session, ui = widget.logic.session, widget.ui
    nodes = load_folder(data)
    volume = next(node for node in nodes if node.IsA("vtkMRMLScalarVolumeNode"))
    segmentation = next(node for node in nodes if node.IsA("vtkMRMLSegmentationNode"))
    phases: list[dict[str, Any]] = []

    def phase(name: str, begin: Any, done: Any) -> None:
        beats = Beats()
        beats.start()
        host.process(0.1)
        begin()
        host.process(0.1)
        host.wait_until(done, _PATIENCE)
        beats.stop()
        phases.append({"while": name, "seconds": beats.seconds} | beats.row())

    def set_parameter(name: str, value: Any) -> None:
        setattr(session.parameters, name, value)

    def registered() -> bool:
        return all(row.state == "registered" for row in session.rows()) and not session.busy

    files = sorted((data / "xrays").glob("*.dcm"))
    phase("nothing is done", lambda: None, lambda: True)
    phase("a CT is chosen, its bank made", lambda: set_parameter("volume", volume), lambda: session.model_view().ready)
    phase("a segmentation is chosen", lambda: set_parameter("segmentation", segmentation), lambda: not session.busy)
    phase(
        "3 X-rays are read",
        lambda: session.add_files(files),
        lambda: len(session.rows()) == len(files) and not session.busy,
    )
    phase("3 X-rays are registered and drawn", session.register, registered)
    set_parameter("minutes", _TRAINING_SECONDS / 60)
    host.wait_until(lambda: ui.trainButton.isEnabled(), _PATIENCE)
    phase("a network is trained", session.start_training, lambda: (session.model_view().fraction or 0.0) > 0.5)
    phase("it is trained and 3 X-rays are registered", session.register, registered)
    session.cancel_training()
    host.wait_until(lambda: not session.training, _PATIENCE)
    host.close()
    host.errors.check()
    return {"phases": phases}


if __name__ == "__main__":
    print(json.dumps({f.__name__: f for f in (prepare, start, heartbeat)}[sys.argv[1]](Path(sys.argv[2]))))
    sys.stdout.flush()
    os._exit(0)
