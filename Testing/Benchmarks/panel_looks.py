"""How the panel keeps up with a user who compares: live DRRs in each comparison, and how soon what was switched is there.

Measured on the chest CT with three X-rays. Each measurement runs in a process of its own: `panel_looks.py {live,switches} DATA`
prints its rows as JSON. CPU is the main thread's: on a busy machine it says what the wall time cannot.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
from beats import Beats, moment

if TYPE_CHECKING:
    from collections.abc import Callable

_LIVE_SECONDS = 6.0
_SWITCHES = 12
_PATIENCE = 600.0
_TRAINING_MINUTES = 0.1
_PAUSE = 0.002
_MAPS = ("errors", "attention")


def live(data: Path) -> list[dict[str, Any]]:
    """For each comparison: DRRs a second that arrive while the pose never rests, without views that draw them."""
    import slicer
    import slicer.util

    from XVRegistrationLib.imaging.volume import read_volume
    from XVRegistrationLib.panel.parameters import Parameters
    from XVRegistrationLib.panel.session import Session
    from XVRegistrationLib.scene.standalone.app import start
    from XVRegistrationLib.scene.volumes import add_volume

    scene = start().scene
    session = Session(scene, Parameters())
    session.parameters.volume = add_volume(scene, read_volume(data / "cxr.nii.gz"))
    session.wait(_PATIENCE)
    session.add_files(sorted((data / "xrays").glob("*.dcm"))[:1])
    session.wait(_PATIENCE)
    _train(session)
    node = session.rows()[0].node
    session.show(node)
    view = scene.AddNewNodeByClass("vtkMRMLSliceNode"), scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    session.attach_view(*view)
    session.wait(_PATIENCE)
    transform = node.GetParentTransformNode()
    pose = slicer.util.arrayFromTransformMatrix(transform)
    drr = slicer.util.getNode("DRR (xray-01)")
    rows = []
    for choice in session.comparisons():
        session.compare(choice.name)
        session.wait(_PATIENCE)
        wall, cpu, arrived, last = [], [], 0, _changed(drr)
        began, moved, engine = time.perf_counter(), pose.copy(), _engine_seconds()
        while time.perf_counter() - began < _LIVE_SECONDS:
            moved[:3, 3] = pose[:3, 3] + 20 * np.sin(time.perf_counter() - began) * pose[:3, 0]
            transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(moved))
            t, c = time.perf_counter(), time.thread_time()
            session.tick()
            now = _changed(drr)
            if now != last:  # else the tick found nothing to do
                wall.append(time.perf_counter() - t)
                cpu.append(time.thread_time() - c)
            arrived += now != last
            last = now
            time.sleep(_PAUSE)
        per_second = arrived / (time.perf_counter() - began)
        assert drr.GetImageData().GetDimensions()[0] == 256
        of_engine = {"engine's CPU": 1e3 * (_engine_seconds() - engine) / max(arrived, 1)}
        rows.append({"comparison": choice.title, "DRRs a second": per_second} | _row(wall, cpu) | of_engine)
    session.close()
    return rows


def switches(data: Path) -> list[dict[str, Any]]:
    """For each thing that is switched in the host: the time until scene and panel show it, without drawing, and gaps between beats of a timer."""
    from panel import MODULE

    from Testing.Host import start_host
    from Testing.Host.__main__ import load_folder

    host = start_host((1700, 1100))
    import qt
    import slicer

    from XVRegistrationLib.scene.layout import XRAY_VIEW

    widget = host.open_module(MODULE)
    session, ui, panel = widget.logic.session, widget.ui, widget.panel
    nodes = load_folder(data)
    session.parameters.volume = next(node for node in nodes if node.IsA("vtkMRMLScalarVolumeNode"))
    session.parameters.segmentation = next(node for node in nodes if node.IsA("vtkMRMLSegmentationNode"))

    def settle() -> None:
        host.wait_until(lambda: not session.busy, _PATIENCE)
        host.process(0.1)

    settle()
    session.add_files(sorted((data / "xrays").glob("*.dcm")))
    settle()
    _train(session, lambda: host.process(0.02))
    settle()
    session.register()
    settle()
    xrays = [row.node for row in session.rows()]
    composite = slicer.app.applicationLogic().GetSliceLogicByLayoutName(XRAY_VIEW).GetSliceCompositeNode()
    rows: list[dict[str, Any]] = []

    def measure(what: str, act: Callable[[int], None], shown: Callable[[int], Any], before: Callable[[], Any]) -> None:
        """`act(n)` switches for the n-th time, `shown(n)` says whether that is to be seen; `before` brings what is switched from."""
        wall, cpu, beats = [], [], Beats()
        for n in range(_SWITCHES):
            before()
            settle()
            beats.start()
            (began, drawn), c = moment(), time.thread_time()
            act(n)
            while not shown(n) or panel._to_show:
                host.app.processEvents()
                if time.perf_counter() - began > _PATIENCE:
                    raise TimeoutError(f"{what} is not to be seen; {session.log}")
                time.sleep(_PAUSE)
            now, drawn_now = moment()
            wall.append(now - began - (drawn_now - drawn))
            cpu.append(time.thread_time() - c)
            host.process(0.2)  # views draw it
            beats.stop()
        gaps = {f"gaps, {name}": value for name, value in beats.row().items()}
        rows.append({"switched": what} | _row(wall, cpu) | gaps)

    def way_to(name: str) -> None:
        _choose(ui.comparisonComboBox, name)

    def compared(n: int = 0) -> bool:
        """Whether what lies over the current X-ray is what was asked for, and its own."""
        node, over = session.parameters.xray, host.scene.GetNodeByID(composite.GetForegroundVolumeID() or "")
        if over is None or composite.GetBackgroundVolumeID() != node.GetID():
            return False
        is_picture = session.comparison not in ("blend", "flicker")
        own = over.GetParentTransformNode() is node.GetParentTransformNode()
        return own and bool(over.IsA("vtkMRMLVectorVolumeNode")) is is_picture

    def next_row(n: int) -> None:
        ui.xrayTable.setCurrentCell((xrays.index(session.parameters.xray) + 1) % len(xrays), 0)

    def in_sight(n: int) -> bool:
        return bool(composite.GetBackgroundVolumeID() == session.parameters.xray.GetID())

    def nothing() -> None:
        pass

    ways = [choice for choice in session.comparisons() if not choice.obstacle]
    for choice in ways:
        other = "blend" if choice.name != "blend" else "edges"
        measure(choice.title, lambda n, w=choice.name: way_to(w), compared, lambda w=other: way_to(w))
    for choice in ways:
        way_to(choice.name)
        shown = in_sight if choice.name in _MAPS else compared
        measure(f"X-ray, {choice.title}", next_row, shown, nothing)
        if choice.name in _MAPS:
            measure(f"X-ray, {choice.title} there", next_row, compared, nothing)
    way_to("blend")

    def structure(n: int) -> None:
        ui.structureTable.item(n // 2, 0).setCheckState(qt.Qt.Unchecked if n % 2 == 0 else qt.Qt.Checked)

    def drawn(n: int) -> bool:
        labels = session.parameters.xray.GetNodeReference("XVRegistration.Labels")
        number = labels.GetSegmentation().GetSegmentIdBySegmentName(session.structures()[n // 2].name)
        return not number or labels.GetDisplayNode().GetSegmentVisibility(number) == (n % 2 == 1)

    decisions = ("accepted", "rejected", "open")
    measure("a structure", structure, drawn, nothing)
    measure(
        "the decision",
        lambda n: _choose(ui.reviewComboBox, decisions[n % 3]),
        lambda n: session.review_of(session.parameters.xray).decision == decisions[n % 3],
        nothing,
    )
    host.close()
    host.errors.check()
    return rows


def _train(session: Any, pause: Callable[[], Any] = lambda: time.sleep(0.02)) -> None:
    """Some seconds of a network with attention: its map takes as long however much it has learnt."""
    session.parameters.network, session.parameters.minutes = "psss", _TRAINING_MINUTES
    session.start_training()
    end = time.monotonic() + _PATIENCE
    while session.training or not session.model_view().network:
        session.tick()
        pause()
        assert time.monotonic() < end, session.log


def _choose(combo: Any, value: str) -> None:
    """What a click on an entry of a list does."""
    index = combo.findData(value)
    combo.setCurrentIndex(index)
    combo.activated.emit(index)


def _row(wall: list[float], cpu: list[float]) -> dict[str, float]:
    """ms: median and 99th percentile of the wall time, and median of the main thread's CPU."""
    return {
        "ms": 1e3 * float(np.median(wall)),
        "99 %": 1e3 * float(np.percentile(wall, 99)),
        "CPU": 1e3 * float(np.median(cpu)),
    }


def _engine_seconds() -> float:
    """CPU that child processes have used: the engine, as nothing is trained."""
    times = [process.cpu_times() for process in psutil.Process().children()]
    return sum(t.user + t.system for t in times)


def _changed(volume_node: Any) -> int:
    """A number that grows with every change of a volume's voxels."""
    time_of_change: int = volume_node.GetImageData().GetPointData().GetScalars().GetMTime()
    return time_of_change


if __name__ == "__main__":
    print(json.dumps({"rows": {f.__name__: f for f in (live, switches)}[sys.argv[1]](Path(sys.argv[2]))}))
    sys.stdout.flush()
    os._exit(0)
