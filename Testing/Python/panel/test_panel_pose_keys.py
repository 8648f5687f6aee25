"""The C-arm moved by each key and each number of the panel, and by handles whose drag the DRR follows."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

from Testing.Host.clicks import handle_in
from Testing.Python.panel.panels import TIMEOUT
from Testing.Python.panel.patients import pose_of
from Testing.Python.panel.standing import panel_with_xrays
from XVRegistrationLib.geometry.rigid import invert, transform_points
from XVRegistrationLib.scene.comparison import drr_of
from XVRegistrationLib.scene.volumes import voxels
from XVRegistrationLib.scene.xrays import nodes_of, pose_from_node

CENTER = np.array([-1.0, -1.0, -1.0])
"""Of the patient's volume, RAS mm."""
KEYS = {
    "Left": ("right", -1),
    "Right": ("right", 1),
    "Up": ("down", -1),
    "Down": ("down", 1),
    "PageUp": ("depth", -1),
    "PageDown": ("depth", 1),
    "Ctrl Up": ("tilt", -1),
    "Ctrl Down": ("tilt", 1),
    "Ctrl Left": ("swing", -1),
    "Ctrl Right": ("swing", 1),
    "Ctrl PageUp": ("turn", -1),
    "Ctrl PageDown": ("turn", 1),
}
SHIFTS = {"right": (1, 0, 0), "down": (0, 1, 0), "depth": (0, 0, 1)}
"""Axis -> along which axis of the camera, which looks along its third with the second down, the patient moves."""
TURNS = {"tilt": (1, 0, 0), "swing": (0, 1, 0), "turn": (0, 0, 1)}
"""Axis -> about which axis of the camera the patient turns."""


@pytest.fixture(scope="module")
def opened(root, files):
    with panel_with_xrays(root, files) as standing:
        yield standing


@pytest.fixture
def xrays(xrays):
    """With steps of 1, and keys that do not move."""
    for button in (xrays.ui.keysButton, xrays.ui.handlesButton):
        if button.isChecked():
            xrays.host.click(button)
    xrays.host.enter_text(xrays.ui.stepSpinBox, "1")
    return xrays


def _assert_moved(axis, amount, before, after):
    """What the X-ray sees has moved from a pose (4, 4) to another along or about one axis of the detector alone."""
    center = transform_points(invert(after), CENTER) - transform_points(invert(before), CENTER)
    turned = (invert(after) @ before)[:3, :3]
    np.testing.assert_allclose(center, amount * np.array(SHIFTS.get(axis, (0, 0, 0))), atol=1e-6)
    np.testing.assert_allclose(turned, _turn(TURNS.get(axis, (0, 0, 1)), amount if axis in TURNS else 0.0), atol=1e-8)


def _turn(about, degrees):
    """(3, 3) Rodrigues' formula; about the central ray, from the column axis to the row axis: clockwise as it is seen."""
    x, y, z = about
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]], float)
    return np.eye(3) + np.sin(np.radians(degrees)) * cross + (1 - np.cos(np.radians(degrees))) * cross @ cross


def _press(xrays, widget, key):
    import qt

    *held, name = key.split()
    modifiers = qt.Qt.NoModifier
    for modifier in held:
        modifiers = modifiers | {"Ctrl": qt.Qt.ControlModifier, "Shift": qt.Qt.ShiftModifier}[modifier]
    xrays.host.key(widget, getattr(qt.Qt, f"Key_{name}"), modifiers)


def test_each_key_moves_along_its_axis_in_the_view_and_on_the_button(xrays):
    host, ui, node = xrays.host, xrays.ui, xrays.nodes[0]
    host.click(ui.keysButton)
    host.enter_text(ui.stepSpinBox, "0.5")
    for key, (axis, sign) in KEYS.items():
        for widget, pressed, steps in (
            (xrays.view(), key, 1),
            (xrays.view(), f"Shift {key}", 10),
            (ui.keysButton, key, 1),
        ):
            before = pose_from_node(node)
            _press(xrays, widget, pressed)
            _assert_moved(axis, sign * steps * 0.5, before, pose_from_node(node))


def test_what_the_keys_moved_is_drawn_and_told_in_numbers(xrays):
    host, ui, node = xrays.host, xrays.ui, xrays.nodes[0]
    host.click(ui.resetPoseButton)
    host.click(ui.keysButton)
    for key in ("Right", "Shift Down", "Ctrl PageUp"):
        _press(xrays, xrays.view(), key)
    spins = ui.rightSpinBox, ui.downSpinBox, ui.turnSpinBox
    host.wait_until(lambda: [round(float(spin.property("value")), 2) for spin in spins] == [1.0, 10.0, -1.0])
    host.wait_until(lambda: xrays.drr_is_right(node), TIMEOUT)


@pytest.mark.parametrize("axis", [*SHIFTS, *TURNS])
def test_a_number_that_is_typed_moves_along_its_axis_alone(xrays, axis):
    host, ui, node = xrays.host, xrays.ui, xrays.nodes[0]
    host.click(ui.resetPoseButton)
    start = pose_from_node(node)
    spin = getattr(ui, f"{axis}SpinBox")
    host.enter_text(spin, "7.25")
    _assert_moved(axis, 7.25, start, pose_from_node(node))
    host.enter_text(spin, "-20")
    _assert_moved(axis, -20.0, start, pose_from_node(node))
    host.wait_until(lambda: xrays.drr_is_right(node), TIMEOUT)
    shown = {name: float(getattr(ui, f"{name}SpinBox").property("value")) for name in (*SHIFTS, *TURNS)}
    assert shown == {**dict.fromkeys(shown, 0.0), axis: -20.0}


def test_undo_and_redo_have_their_keys_also_in_the_view_while_keys_move(xrays):
    host, ui, node = xrays.host, xrays.ui, xrays.nodes[0]
    host.click(ui.keysButton)
    view, poses = xrays.view(), [pose_from_node(node)]
    for key in ("Shift Left", "Ctrl Left"):  # another axis: another step
        _press(xrays, view, key)
        poses.append(pose_from_node(node))
    # A button that is pressed by a key is released, and acts, a tenth of a second later.
    for key, button, expected in (
        ("Z", ui.undoPoseButton, poses[1]),
        ("Z", ui.undoPoseButton, poses[0]),
        ("Y", ui.redoPoseButton, poses[1]),
        ("Y", ui.redoPoseButton, poses[2]),
    ):
        host.wait_until(lambda button=button: button.isEnabled() and not button.isDown())
        _press(xrays, view, f"Ctrl Shift {key}")
        host.wait_until(lambda expected=expected: np.allclose(pose_from_node(node), expected, atol=1e-9))
    host.wait_until(lambda: xrays.drr_is_right(node), TIMEOUT)


def test_keys_in_the_second_view_move_its_xray_alone(xrays):
    host, ui, session = xrays.host, xrays.ui, xrays.session
    first, second = xrays.nodes
    host.click(ui.keysButton)
    host.click(ui.biplaneCheckBox)
    host.wait_until(lambda: session.beside is second)
    xrays.settle()
    for key, (axis, sign) in KEYS.items():
        before = pose_from_node(second)
        _press(xrays, xrays.view("XVXray2"), key)
        _assert_moved(axis, sign, before, pose_from_node(second))
    np.testing.assert_allclose(pose_from_node(first), pose_of(0), atol=1e-9)
    before = pose_from_node(first), pose_from_node(second)
    _press(xrays, xrays.view(), "Shift Up")
    _assert_moved("down", -10.0, before[0], pose_from_node(first))
    np.testing.assert_allclose(pose_from_node(second), before[1], atol=1e-9)
    host.click(ui.biplaneCheckBox)


def test_the_drr_follows_a_handle_before_the_mouse_is_released(xrays):
    from Testing.Host.mouse import held

    host, ui, node = xrays.host, xrays.ui, xrays.nodes[0]
    host.wait_until(lambda: xrays.drr_is_right(node), TIMEOUT)
    before = voxels(drr_of(node)).copy()
    host.click(ui.handlesButton)
    host.process(0.3)
    view = slicer.app.layoutManager().threeDWidget(0).threeDView()
    x, y = handle_in(view, nodes_of(node).pose)
    with held(host, view, (x, y), (x + 24, y + 12)):
        assert np.abs(pose_from_node(node) - pose_of(0)).max() > 0.1
        host.wait_until(lambda: xrays.drr_is_right(node), TIMEOUT)
        assert np.abs(voxels(drr_of(node)) - before).max() > 0.05 * before.max()
    host.click(ui.handlesButton)


def test_live_drr_follows_what_moves_and_without_it_what_rests(xrays, monkeypatch):
    host, ui, node = xrays.host, xrays.ui, xrays.nodes[0]
    host.wait_until(lambda: xrays.drr_is_right(node), TIMEOUT)
    host.click(ui.keysButton)
    rest = "XVRegistrationLib.panel.viewing._REST_SECONDS"
    monkeypatch.setattr(rest, 1e9)  # the C-arm does not come to rest
    host.click(ui.liveDrrCheckBox)
    _press(xrays, xrays.view(), "Shift Right")
    host.process(0.3)
    assert not xrays.drr_is_right(node)
    host.click(ui.liveDrrCheckBox)
    host.wait_until(lambda: xrays.drr_is_right(node), TIMEOUT)
    _press(xrays, xrays.view(), "Shift Down")
    host.wait_until(lambda: xrays.drr_is_right(node), TIMEOUT)
    host.click(ui.liveDrrCheckBox)
    _press(xrays, xrays.view(), "Shift Left")
    host.process(0.3)
    assert not xrays.drr_is_right(node)
    monkeypatch.setattr(rest, 0.1)
    host.wait_until(lambda: xrays.drr_is_right(node), TIMEOUT)
    host.click(ui.liveDrrCheckBox)
