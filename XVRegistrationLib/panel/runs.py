"""The run that is shown: what came of its frames, the chart of their poses, and the next one that is to be looked at."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.panel.views import RunView
from XVRegistrationLib.scene.charts import remove_chart
from XVRegistrationLib.scene.run_curves import set_pose_curves
from XVRegistrationLib.scene.run_results import frame_results, stamp_of
from XVRegistrationLib.scene.runs import item_of, run_of
from XVRegistrationLib.scene.xrays import name_of

if TYPE_CHECKING:
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.patient import Patient
    from XVRegistrationLib.panel.viewing import Viewing
    from XVRegistrationLib.panel.xrays import Xrays
    from XVRegistrationLib.scene.run_results import FrameResult

_SECONDS = 0.25
"""Between two looks at the frames: while a C-arm is moved they change all the time."""


class Runs:
    """Follows the current X-ray where that is a run."""

    def __init__(self, context: Context, patient: Patient, xrays: Xrays, viewing: Viewing) -> None:
        self._context = context
        self._patient = patient
        self._xrays = xrays
        self._viewing = viewing
        self._chart: Any = None
        self.forget()

    def forget(self) -> None:
        """Let go of all nodes."""
        self._node: Any = None
        self._stamp: tuple[Any, ...] = ()
        self._frames: list[FrameResult] = []
        self._looked_at = 0.0
        self._chart = None

    @property
    def chart(self) -> Any:
        """vtkMRMLPlotChartNode of the run's poses; None without a run, or without a registered frame."""
        return self._chart if alive(self._context.scene, self._chart) else None

    def tick(self) -> None:
        if self._context.parameters is None or self._context.scene.IsClosing():
            return
        node = self._viewing.node
        if node is not None and run_of(node) is None:
            node = None
        stamp = () if node is None else (*stamp_of(node), self._patient.key)
        if node is self._node and (stamp == self._stamp or time.monotonic() - self._looked_at < _SECONDS):
            return
        self._node, self._stamp, self._looked_at = node, stamp, time.monotonic()
        self._frames = [] if node is None else frame_results(node)
        if any(frame.registered for frame in self._frames):
            center = self._patient.center
            self._chart = set_pose_curves(self._context.scene, self.chart, node, self._frames, item_of(node), center)
        elif self._chart is not None:
            remove_chart(self._context.scene, self._chart)
            self._chart = None
        self._context.changed.emit("run")

    def view(self) -> RunView | None:
        """The run that is shown; None if a single image is, or none."""
        node = self._node
        if not alive(self._context.scene, node) or not self._frames:
            return None
        count = {
            word: sum(frame.verdict == word for frame in self._frames) for word in ("converged", "check", "failed")
        }
        said = {word: sum(frame.review == word for frame in self._frames) for word in ("accepted", "rejected")}
        return RunView(name_of(node), item_of(node), len(self._frames), **count, **said)

    def can_show_next(self) -> str:
        """Why there is no next frame to be looked at; empty if there is one."""
        if self.view() is None:
            return _("Show a run.")
        return "" if self._next() is not None else _("Every frame is accepted, rejected or converged.")

    def show_next(self) -> None:
        """Show the next frame that is neither decided on nor converged, after the last one the first again."""
        item = self._next()
        if item is None:
            raise InputError(self.can_show_next())
        self._xrays.show_frame(self._node, item)

    def _next(self) -> int | None:
        if self.view() is None:
            return None
        now = item_of(self._node)
        open_ones = [f.item for f in self._frames if f.review == "open" and f.verdict != "converged" and f.item != now]
        return next((item for item in open_ones if item > now), open_ones[0] if open_ones else None)
