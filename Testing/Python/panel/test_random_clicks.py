"""The panel's widgets used at random, in the host; minutes, so only in `make test-long`."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from slicer.util import getNodesByClass

from Testing.Python.panel.panels import TIMEOUT
from Testing.Python.panel.patients import CAMERA, dsa_run, patient
from XVRegistrationLib.scene.volumes import add_volume

SEED = int(os.environ.get("XVREGISTRATION_SEED", "20"))
NOT_CLICKED = ("addFiles", "train", "resume", "calibration", "report", "export", "densities", "deleteModel", "install")
"""Beginnings of the names of buttons that ask for files, start trainings or remove models."""

pytestmark = pytest.mark.long


def test_widgets_in_any_order_do_what_they_say_or_are_disabled(host, panel, files, tmp_path):
    session, random = panel.logic.session, np.random.default_rng(SEED)
    host.select_node(panel.ui.volumeSelector, add_volume(host.scene, patient()))
    session.add_files([*files, dsa_run(tmp_path / "run.dcm")])
    host.wait_until(lambda: len(session.rows()) == 3 and session.model_view().ready and not session.busy, TIMEOUT)
    for row in session.rows():
        session.complete_geometry(row.node, sdd=CAMERA.sdd)
    named = [widget for name, widget in sorted(vars(panel.ui).items()) if not name.startswith(NOT_CLICKED)]
    widgets = [widget for widget in named if widget.isWidgetType()]
    end, log = time.monotonic() + 60 * float(os.environ.get("XVREGISTRATION_MINUTES", "2")), []
    while time.monotonic() < end:
        widget = widgets[random.integers(len(widgets))]
        if not (widget.isVisible() and widget.isEnabled()):
            continue
        log.append(f"{widget.className()} {widget.objectName}")
        _use(host, widget, random)
        if len(session.rows()) < 2:
            session.add_files(files)
        assert not host.errors, "\n".join([*log[-20:], str(host.errors)])
        assert "Something went wrong" not in panel.ui.statusLabel.text, "\n".join(log[-20:])
    host.wait_until(lambda: not session.busy, TIMEOUT)
    assert len(log) > 50
    assert getNodesByClass("vtkMRMLScalarVolumeNode")


def _use(host, widget, random):
    """What a user does with a widget of this kind."""
    kind = widget.className()
    if kind in ("QPushButton", "QCheckBox"):
        host.click(widget)
    elif kind == "QComboBox" and widget.count:
        widget.setCurrentIndex(int(random.integers(widget.count)))
        widget.activated.emit(widget.currentIndex)
    elif kind in ("QDoubleSpinBox", "QSpinBox"):
        host.enter_text(widget, f"{random.normal(0, 30):.1f}")
    elif kind == "QLineEdit":
        host.enter_text(widget, str(random.choice(["", "0", "note", "7, 9"])))
    elif kind == "QSlider":
        widget.setValue(int(random.integers(0, 5)))
    elif kind == "QTableWidget" and widget.rowCount and widget.isEnabled():
        host.click_cell(widget, int(random.integers(widget.rowCount)), int(random.integers(2)))
    host.process(float(random.uniform(0, 0.1)))
