"""The panel with X-rays that stand where they were taken from: opened once, for all tests of a file."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import slicer
from scipy.ndimage import gaussian_filter

from Testing.Python.panel.panels import MODULE, TIMEOUT, place_xrays
from Testing.Python.panel.patients import CAMERA, patient, pose_of
from XVRegistrationLib.panel.parameters import Parameters
from XVRegistrationLib.rendering.grid import density_grid
from XVRegistrationLib.rendering.render import render
from XVRegistrationLib.scene.comparison import drr_of
from XVRegistrationLib.scene.volumes import voxels
from XVRegistrationLib.scene.xrays import nodes_of, pose_from_node, set_pose

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

    from numpy.typing import NDArray

    from Testing.Host.host import Host

_BLUR = 1.5  # px
_BOXES = "biplane", "showLabels", "showOutlines", "showTargets", "linkCursors", "estimateGeometry"
"""Parameters that a test changes, and leaves so where it fails."""
_COARSE = 0.002
"""Of the largest line integral, by which a DRR, whose steps are long, differs in the mean from a fine one, both blurred.

Measured: 0.001, and 0.009 where the patient is 20 mm nearer to the source."""


@contextlib.contextmanager
def running_host() -> Iterator[Host]:
    """The host with an empty scene; an exception that a slot or observer raised is raised at the end."""
    pytest.importorskip("PySide6", reason="the extra 'panel' is not installed")
    from Testing.Host import start_host

    library = _library()
    running = start_host()
    running.close_scene()
    running.errors.clear()
    running.errors.warnings.clear()
    yield running
    running.close_module()
    running.close_scene()
    # Reloading the module loads the library anew. Other tests go on with the classes that they have imported.
    for name in _library():
        del sys.modules[name]
    sys.modules.update(library)
    running.errors.check()


@contextlib.contextmanager
def panel_with_xrays(root: Path, files: list[Path]) -> Iterator[Standing]:
    """The module with `patient()` and these X-rays of it, the even ones at `pose_of(0)`, the others at `pose_of(1)`."""
    with pytest.MonkeyPatch.context() as environment, running_host() as host:
        environment.setenv("XVREGISTRATION_HOME", str(root))
        panel = host.open_module(MODULE)
        place_xrays(host, panel, files)
        yield Standing(host, panel)


class Standing:
    """The host, its panel, and what a user sees of both."""

    def __init__(self, host: Host, panel: Any) -> None:
        self.host, self.ui, self.session = host, panel.ui, panel.logic.session
        self._panel = panel.panel
        self._grid = density_grid(patient())

    @property
    def nodes(self) -> list[Any]:
        """Image nodes of the table's X-rays."""
        return [row.node for row in self.session.rows()]

    def put_back(self) -> None:
        """All X-rays stand where they were taken from, and the first is shown alone, drawn to the end, its boxes as at first."""
        for name in _BOXES:
            setattr(self.session.parameters, name, getattr(Parameters, name))
        for number, node in enumerate(self.nodes):
            set_pose(nodes_of(node), pose_of(number % 2))
        self.session.show(self.nodes[0])
        self.host.wait_until(lambda: self.session.model_view().ready)
        self.settle()

    def settle(self) -> None:
        """Wait until all is drawn and shown."""
        self.host.wait_until(lambda: not self.session.busy and not self._panel._to_show, TIMEOUT)

    def view(self, name: str = "XVXray") -> Any:
        """The drawing of a slice view."""
        return slicer.app.layoutManager().sliceWidget(name).sliceView()

    def slice_node(self, name: str = "XVXray") -> Any:
        """vtkMRMLSliceNode of a slice view."""
        return slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode()

    def picture(self, name: str = "XVXray") -> NDArray[np.int16]:
        """(h, w, 3) what a slice view shows now."""
        view = self.view(name)
        view.forceRender()
        image = view.grab().toImage()
        image = image.convertToFormat(image.Format.Format_RGB888)
        rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
        return rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3).astype(np.int16)

    def drr_is_right(self, node: Any) -> bool:
        """Whether an X-ray's DRR shows the patient from where the X-ray stands now."""
        drr = drr_of(node)
        expected = render(self._grid, pose_from_node(node)[None], CAMERA)[0].numpy()
        if drr is None:
            return False
        difference = gaussian_filter(voxels(drr)[0], _BLUR) - gaussian_filter(expected, _BLUR)
        return bool(np.abs(difference).mean() < _COARSE * expected.max())


def _library() -> dict[str, ModuleType]:
    """The library's modules that are loaded."""
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "XVRegistrationLib"}
