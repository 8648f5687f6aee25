"""The module's panel in the host: where it is, with X-rays in their places, and what of it can be seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from Testing.Python.panel.patients import CAMERA, patient, pose_of
from XVRegistrationLib.scene.volumes import add_volume
from XVRegistrationLib.scene.xrays import nodes_of, set_pose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from Testing.Host.host import Host

MODULE = Path(__file__).resolve().parents[3] / "XVRegistration/XVRegistration.py"
TIMEOUT = 240.0
SECTIONS = ("values", "together", "targets", "structures", "landmarks", "log")


def place_xrays(host: Host, panel: Any, files: Sequence[Path], sections: Sequence[str] = ()) -> None:
    """Choose the patient, add X-rays, of the first view and the second in turn, where they were taken from, and open sections."""
    session = panel.logic.session
    host.select_node(panel.ui.volumeSelector, add_volume(host.scene, patient()))
    session.add_files(files)
    host.wait_until(lambda: len(session.rows()) == len(files) and not session.busy, TIMEOUT)
    for number, row in enumerate(session.rows()):
        session.complete_geometry(row.node, sdd=CAMERA.sdd)
        set_pose(nodes_of(row.node), pose_of(number % 2))
    for name in sections:
        getattr(panel.ui, f"{name}CollapsibleButton").collapsed = False
    host.wait_until(lambda: session.model_view().ready and not session.busy, TIMEOUT)
    host.process(0.7)


def widgets_seen(panel: Any, *kinds: str) -> dict[str, Any]:
    """Those of the .ui file that can be seen, by name."""
    found = {name: w for name, w in vars(panel.ui).items() if hasattr(w, "isVisible") and w.isVisible()}
    return {name: w for name, w in found.items() if any(w.inherits(kind) for kind in kinds)}
