"""What the tests of the session do again and again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer.util

from Testing.Python.panel.patients import CAMERA, patient, pose_of
from XVRegistrationLib.geometry.rigid import increment, invert, transform_points
from XVRegistrationLib.imaging.partial import PartialXray
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.render import render
from XVRegistrationLib.scene.pairs import keep_calibrated_pose
from XVRegistrationLib.scene.runs import add_frames, frame_nodes
from XVRegistrationLib.scene.sights import NAMES
from XVRegistrationLib.scene.transforms import ijk_to_world
from XVRegistrationLib.scene.volumes import add_volume
from XVRegistrationLib.scene.xrays import nodes_of, pose_from_node, set_pose

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.panel.session import Session
    from XVRegistrationLib.panel.views import XrayRow

TIMEOUT = 300.0


def tick_until(session: Session, reached: Callable[[], object]) -> None:
    """Tick until something is so, which need not be the end of what is under way."""
    end = time.monotonic() + TIMEOUT
    while not reached():
        assert time.monotonic() < end, session.log
        session.tick()


def choose(session: Session, volume: Volume | None = None, **parameters: Any) -> None:
    """Choose a volume, and wait until X-rays can be registered to it."""
    for name, value in parameters.items():
        setattr(session.parameters, name, value)
    session.parameters.volume = add_volume(session.scene, volume or patient())
    session.wait(TIMEOUT)
    assert session.model_view().ready, session.log


def chosen(session: Session, volume: Volume, **parameters: Any) -> Any:
    """The node of a volume that was chosen with these parameters and looked at, whether it can be used or not."""
    for name, value in parameters.items():
        setattr(session.parameters, name, value)
    session.parameters.volume = node = add_volume(session.scene, volume)
    session.wait(TIMEOUT)
    return node


def add(session: Session, files: list[Path], **geometry: Any) -> list[Any]:
    """The rows' nodes of X-rays that were read and completed."""
    session.add_files(files)
    session.wait(TIMEOUT)
    for row in session.rows():
        session.complete_geometry(row.node, **({"sdd": CAMERA.sdd} | geometry))
    session.wait(TIMEOUT)
    return [row.node for row in session.rows()]


def place(session: Session, files: list[Path]) -> list[Any]:
    """Image nodes of X-rays of the patient, at the poses that they were taken from; the first is the current one."""
    choose(session)
    nodes = add(session, files)
    for number, node in enumerate(nodes):
        set_pose(nodes_of(node), pose_of(number))
    session.show(nodes[0])
    session.wait(TIMEOUT)
    return nodes


def row_of(session: Session, node: Any) -> XrayRow:
    """The row of an X-ray."""
    return next(row for row in session.rows() if row.node is node)


def error_of(node: Any, number: int) -> float:
    """Largest difference, mm for the position, between an X-ray's pose and `pose_of(number)`."""
    return float(np.abs(pose_from_node(node) - pose_of(number)).max())


def sights(session: Session, name: str = "") -> list[Any]:
    """What is drawn and not saved: shown nodes by their name, in the order in which they were made."""
    nodes = (session.scene.GetNthNode(i) for i in range(session.scene.GetNumberOfNodes()))
    found = [n for n in nodes if n.GetName() in NAMES and not n.GetSaveWithScene()]
    return [n for n in found if n.GetDisplayNode().GetVisibility() and n.GetName() == (name or n.GetName())]


def pixels_of(node: Any, xray: Any) -> NDArray[np.float64]:
    """Stored pixels, and mm along the beam, of what a model draws on an X-ray."""
    points = slicer.util.arrayFromModelPoints(node).astype(float)
    to_world = slicer.util.arrayFromTransformMatrix(node.GetParentTransformNode(), toWorld=True)
    return transform_points(np.linalg.inv(ijk_to_world(xray)) @ to_world, points)


def middle_of(node: Any, xray: Any) -> NDArray[np.float64]:
    """The mean of `pixels_of`."""
    found: NDArray[np.float64] = pixels_of(node, xray).mean(axis=0)
    return found


def biplane_run(session: Session, counts: tuple[int, int] = (3, 3)) -> tuple[list[Any], list[NDArray[np.float64]]]:
    """Two runs whose cameras stood still in a calibration's world while the patient moved; image nodes, poses of the first."""
    relation = invert(pose_of(0)) @ pose_of(1)
    first = [
        increment([2.0 * i, -1.0 * i, 3.0 * i, 0.01 * i, 0.0, -0.01 * i], np.zeros(3)) @ pose_of(0) for i in range(3)
    ]
    grid = density_grid(patient())
    nodes: list[Any] = []
    for name, offset, count in zip("AB", (np.eye(4), relation), counts, strict=True):
        shown = render(grid, np.array(first[:count]) @ offset, CAMERA).numpy()
        known = {"sdd": CAMERA.sdd, "spacing": CAMERA.spacing}
        parts = [
            PartialXray(name, image, "attenuation", "", False, frame=i, frames=count, **known)
            for i, image in enumerate(shown)
        ]
        node = add_frames(session.scene, parts, name, partner=nodes[0] if nodes else None)
        for frame in frame_nodes(node):
            keep_calibrated_pose(frame, pose_of(0) @ offset)
        nodes.append(node)
    session.wait(TIMEOUT)
    return nodes, first
