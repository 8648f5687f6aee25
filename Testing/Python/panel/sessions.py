"""What the tests of the session do again and again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from Testing.Python.panel.patients import CAMERA, patient, pose_of
from XVRegistrationLib.geometry.rigid import point_distance, transform_points
from XVRegistrationLib.scene.volumes import add_volume
from XVRegistrationLib.scene.xrays import pose_from_node

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from XVRegistrationLib.imaging.volume import Volume
    from XVRegistrationLib.panel.session import Session
    from XVRegistrationLib.panel.views import XrayRow

TIMEOUT = 300.0


def choose(session: Session, volume: Volume | None = None, **parameters: Any) -> None:
    """Choose a volume, and wait until X-rays can be registered to it."""
    for name, value in parameters.items():
        setattr(session.parameters, name, value)
    session.parameters.volume = add_volume(session.scene, volume or patient())
    session.wait(TIMEOUT)
    assert session.model_view().ready, session.log


def add(session: Session, files: list[Path], **geometry: Any) -> list[Any]:
    """The rows' nodes of X-rays that were read and completed."""
    session.add_files(files)
    session.wait(TIMEOUT)
    for row in session.rows():
        session.complete_geometry(row.node, **({"sdd": CAMERA.sdd} | geometry))
    session.wait(TIMEOUT)
    return [row.node for row in session.rows()]


def row_of(session: Session, node: Any) -> XrayRow:
    """The row of an X-ray."""
    return next(row for row in session.rows() if row.node is node)


def error_of(node: Any, number: int, motion: NDArray[np.float64] | None = None) -> float:
    """The mTRE, mm, of an X-ray's pose against `pose_of(number)`, over the corners of a cube of 80 mm in the patient.

    `motion` (4, 4) says how the patient was moved.
    """
    to_ras = np.eye(4) if motion is None else motion
    points = transform_points(to_ras, np.array(np.meshgrid([-40, 40], [-40, 40], [-40, 40])).reshape(3, -1).T)
    return float(point_distance(pose_from_node(node), to_ras @ pose_of(number), points))
