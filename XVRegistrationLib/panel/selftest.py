"""The module's test for inside Slicer: from a phantom's CT to its registered X-ray, through the panel's widgets.

Needs no data. The phantom's X-ray is added up here, by numpy and not by the renderer that registers it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer.util

from XVRegistrationLib.geometry.rigid import transform_points
from XVRegistrationLib.geometry.views import NominalView, relative_motion

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_SIZE, _SPACING = 72, 4.0  # voxels along an edge, mm
_PIXELS, _PITCH = 128, 3.0  # of the X-ray: pixels along an edge, mm
_SDD, _SOD = 1200.0, 800.0  # mm
_PATIENCE = 120.0  # seconds for anything, on a slow machine


def register_a_phantom(ui: Any, logic: Any, say: Callable[[str], object] = print) -> float:
    """Do what a user does with an empty scene and a phantom; return the pose's error, mm. AssertionError if it fails."""
    session = logic.session
    say("1 Patient: a CT is chosen")
    volume = phantom_volume()
    ui.volumeSelector.setCurrentNode(volume)
    session.parameters.preset = "thorax-ap"
    _wait(lambda: session.patient_view().ok, session, "the volume is understood")
    assert "CT" in session.patient_view().kind
    _wait(lambda: session.model_view().ready, session, "the bank is ready")

    say("2 Model: a short training")
    session.parameters.minutes = 0.1
    _wait(lambda: ui.trainButton.isEnabled(), session, "a training can be started")
    ui.trainButton.click()
    _wait(lambda: session.training, session, "the training runs")
    _wait(lambda: not session.training, session, "the training has ended")
    assert session.model_view().job_state == "done", session.model_view().text

    say("3 X-rays: an image without geometry, and what it lacks")
    pose = phantom_pose(volume)
    image = phantom_xray(volume, pose)
    ui.xrayNodeSelector.setCurrentNode(image)
    _wait(lambda: ui.addNodeButton.isEnabled(), session, "the image can be added")
    ui.addNodeButton.click()
    _wait(lambda: len(session.rows()) == 1, session, "the X-ray is in the table")
    row = session.rows()[0]
    assert row.state == "incomplete", row.outcome
    assert not ui.registerButton.isEnabled()
    assert ui.registerButton.property("toolTip")
    _wait(lambda: ui.geometryGroupBox.isVisibleTo(ui.xraysCollapsibleButton), session, "the form asks for its geometry")
    ui.sddSpinBox.setValue(_SDD)
    ui.columnSpacingSpinBox.setValue(_PITCH)
    ui.rowSpacingSpinBox.setValue(_PITCH)
    _wait(lambda: ui.geometryButton.isEnabled(), session, "the geometry can be used")
    ui.geometryButton.click()
    _wait(lambda: not session.rows()[0].missing, session, "the X-ray is complete")

    say("4 Register")
    _wait(lambda: ui.registerButton.isEnabled(), session, "the X-ray can be registered")
    ui.registerButton.click()
    _wait(lambda: session.rows()[0].state in ("registered", "failed"), session, "the X-ray is registered")
    row = session.rows()[0]
    assert row.state == "registered", row.outcome
    found = slicer.util.arrayFromTransformMatrix(row.node.GetParentTransformNode(), toWorld=True)
    error = _error(found, pose, volume)
    say(f"5 See it: {row.outcome}; {error:.2f} mm from the truth")
    assert error < 10.0, f"The pose is {error:.1f} mm off."
    _wait(lambda: not session.busy, session, "everything is drawn")
    return error


def phantom_volume() -> Any:
    """Volume node of a trunk of water with a spine, ribs on one side and a heart, HU; no two sides of it look alike."""
    k, j, i = np.mgrid[:_SIZE, :_SIZE, :_SIZE].astype(np.float64) - (_SIZE - 1) / 2
    voxels = np.full((_SIZE,) * 3, -1000, dtype=np.int16)
    voxels[(i / 32) ** 2 + (j / 24) ** 2 < 1] = -700
    voxels[((i / 32) ** 2 + (j / 24) ** 2 < 1) & ((i / 29) ** 2 + (j / 21) ** 2 > 1)] = 40
    voxels[((i - 8) / 11) ** 2 + ((j + 6) / 9) ** 2 + ((k + 8) / 12) ** 2 < 1] = 60
    voxels[(i**2 + (j - 15) ** 2 < 20) & (np.mod(k, 8) > 2)] = 800
    ring = np.abs(np.hypot(i / 29, j / 21) - 1) < 0.05
    voxels[ring & (i > 0) & (np.mod(k + 0.4 * j, 9) < 2.5)] = 900
    voxels[ring & (i < 0) & (np.mod(k + 0.4 * j, 14) < 2.5)] = 900
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Phantom CT")
    slicer.util.updateVolumeFromArray(node, voxels)
    node.SetSpacing(_SPACING, _SPACING, _SPACING)
    # i to the left, j to the back, k to the head.
    node.SetIJKToRASDirections(-1, 0, 0, 0, -1, 0, 0, 0, 1)
    half = (_SIZE - 1) / 2 * _SPACING
    node.SetOrigin(half + 12.0, half - 20.0, -half + 30.0)
    return node


def phantom_pose(volume: Any) -> NDArray[np.float64]:
    """Pose (4, 4) camera -> RAS, mm, some way off the nominal view from the front."""
    nominal = NominalView("AP", _center(volume), _SOD)
    return nominal.absolute(relative_motion([4.0, -6.0, 5.0], [8.0, -10.0, 15.0]))


def phantom_xray(volume: Any, pose: NDArray[np.float64]) -> Any:
    """Volume node of one slice: line integrals through the volume on a detector that the node says nothing of."""
    voxels = slicer.util.arrayFromVolume(volume)
    density = np.clip((voxels.astype(np.float64) + 1000.0) / 1000.0, 0.0, None)
    at = (np.arange(_PIXELS) - (_PIXELS - 1) / 2) * _PITCH
    x, y = np.meshgrid(at, at)
    rays = np.stack([x / _SDD, y / _SDD, np.ones_like(x)], axis=-1)
    to_voxel = np.linalg.inv(_ijk_to_ras(volume)) @ pose
    total = np.zeros_like(x)
    step = _SPACING / 2
    reach = _SIZE * _SPACING
    for depth in np.arange(_SOD - reach, _SOD + reach, step):
        ijk = np.rint(transform_points(to_voxel, (depth * rays).reshape(-1, 3))).astype(int)
        inside = np.all((ijk >= 0) & (ijk < _SIZE), axis=1)
        i, j, k = ijk[inside].T
        total.reshape(-1)[inside] += density[k, j, i]
    length = np.linalg.norm(rays, axis=-1)
    pixels = (total * step * length * 0.02).astype(np.float32)  # 0.02/mm: water
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Phantom X-ray")
    slicer.util.updateVolumeFromArray(node, pixels[np.newaxis])
    return node


def _error(found: NDArray[np.float64], true: NDArray[np.float64], volume: Any) -> float:
    """Mean distance, mm, of points of the volume in the two cameras' frames."""
    corners = np.array(np.meshgrid(*[(-60.0, 60.0)] * 3)).reshape(3, -1).T + np.array(_center(volume))
    apart = transform_points(np.linalg.inv(found), corners) - transform_points(np.linalg.inv(true), corners)
    return float(np.linalg.norm(apart, axis=1).mean())


def _center(volume: Any) -> tuple[float, float, float]:
    x, y, z = transform_points(_ijk_to_ras(volume), np.full((1, 3), (_SIZE - 1) / 2))[0]
    return float(x), float(y), float(z)


def _ijk_to_ras(volume: Any) -> NDArray[np.float64]:
    matrix = np.eye(4)
    directions = np.zeros((3, 3))
    volume.GetIJKToRASDirections(directions)
    matrix[:3, :3] = directions * np.array(volume.GetSpacing())
    matrix[:3, 3] = volume.GetOrigin()
    return matrix


def _wait(reached: Callable[[], bool], session: Any, what: str) -> None:
    """Let Slicer work, and the panel's timer with it, until something is reached."""
    end = time.monotonic() + _PATIENCE
    while not reached():
        assert time.monotonic() < end, f"Not after {_PATIENCE:.0f} s: {what}. The panel says: {session.status}"
        slicer.app.processEvents()
        time.sleep(0.01)
