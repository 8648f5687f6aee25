"""What a session consists of, what can be asked of it at any time, and its life: ticking, waiting, closing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import slicer

from XVRegistrationLib.panel.adjusting import Adjusting
from XVRegistrationLib.panel.comparing import Comparing
from XVRegistrationLib.panel.context import Context
from XVRegistrationLib.panel.joint import Joint
from XVRegistrationLib.panel.landmarking import Landmarking
from XVRegistrationLib.panel.model import Model
from XVRegistrationLib.panel.patient import Patient
from XVRegistrationLib.panel.registering import Registering
from XVRegistrationLib.panel.reporting import Reporting
from XVRegistrationLib.panel.reviewing import Reviewing
from XVRegistrationLib.panel.runs import Runs
from XVRegistrationLib.panel.second_view import SecondView
from XVRegistrationLib.panel.structures import Structures
from XVRegistrationLib.panel.targets import Targets
from XVRegistrationLib.panel.targets_picked import PickedTarget
from XVRegistrationLib.panel.targets_pointed import Pointing
from XVRegistrationLib.panel.viewing import Viewing
from XVRegistrationLib.panel.xray_adding import XrayAdding
from XVRegistrationLib.panel.xray_geometry import XrayGeometry
from XVRegistrationLib.panel.xray_images import XrayImages
from XVRegistrationLib.panel.xrays import Xrays

if TYPE_CHECKING:
    from pathlib import Path

    from XVRegistrationLib.panel.signal import Signal


class SessionLife:
    """The parts of a session, kept going together."""

    def __init__(self, scene: Any, parameters: Any, *, root: Path | None = None) -> None:
        """`parameters`: the parameter node, `Parameters`, or None for now. `root`: the library's folder, else the user's."""
        self._context = Context(scene, parameters, root)
        self._patient = Patient(self._context)
        self._model = Model(self._context, self._patient)
        self._xrays = Xrays(self._context, self._patient)
        self._adding = XrayAdding(self._context, self._patient, self._xrays)
        self._geometry = XrayGeometry(self._context, self._xrays)
        self._model.camera = self._xrays.camera
        self._viewing = Viewing(self._context, self._patient, self._xrays)
        self._second = SecondView(self._context, self._patient, self._xrays, self._viewing)
        self._runs = Runs(self._context, self._patient, self._xrays, self._viewing)
        self._adjusting = Adjusting(self._context, self._patient, self._xrays, self._viewing)
        self._adjusting_beside = Adjusting(
            self._context, self._patient, self._xrays, self._second, shared=self._adjusting
        )
        self._landmarking = Landmarking(self._context, self._patient, self._viewing, self._adjusting)
        self._comparing = Comparing(self._context, self._patient, self._model, self._viewing, self._second)
        self._structures = Structures(self._context, self._xrays, self._viewing)
        self._targets = Targets(self._context, self._xrays, self._viewing)
        self._picked = PickedTarget(self._context, self._xrays, self._viewing, self._targets)
        self._pointing = Pointing(self._context, self._xrays, self._targets, self._picked)
        self._registering = Registering(self._context, self._patient, self._model, self._xrays, self._viewing)
        self._joint = Joint(
            self._context, self._patient, self._model, self._xrays, self._geometry, self._viewing, self._registering
        )
        self._reviewing = Reviewing(self._context, self._xrays)
        self._reporting = Reporting(
            self._context,
            self._patient,
            self._model,
            self._xrays,
            self._registering,
            self._viewing,
            self._structures,
        )
        self._context.changed.connect(self._on_change)
        self._images = XrayImages(self._context, self._xrays, self._registering, self._viewing)
        self._closing = scene.AddObserver(slicer.vtkMRMLScene.StartCloseEvent, lambda *_event: self.scene_closing())

    # What there is

    @property
    def changed(self) -> Signal[str]:
        """Emits "patient", "model", "xrays", "status", "view", "targets", "adjust", "run", "steps" or "report" when that is to be shown anew."""
        return self._context.changed

    @property
    def scene(self) -> Any:
        return self._context.scene

    @property
    def parameters(self) -> Any:
        """The parameter node in use; None between two scenes."""
        return self._context.parameters

    def set_parameters(self, parameters: Any) -> None:
        """Work with another parameter node; with None, rest (jobs go on)."""
        self._context.parameters = parameters

    def say(self, text: str) -> None:
        """Make a sentence the status, and write it to the log."""
        self._context.say(text)

    @property
    def status(self) -> str:
        """The last sentence for the user."""
        return self._context.status

    @property
    def log(self) -> list[str]:
        """All sentences so far, with their time, oldest first (the last 500)."""
        return list(self._context.log)

    @property
    def busy(self) -> bool:
        """Whether something is under way that `wait` would wait for: anything but a training."""
        return (
            self._context.busy
            or self._patient.busy
            or self._model.busy
            or self._registering.busy
            or self._joint.busy
            or self._viewing.busy
            or self._second.busy
            or self._reporting.busy
            or self._comparing.busy
        )

    @property
    def training(self) -> bool:
        """Whether a training of the present model is under way."""
        return self._model.job.running

    # Its life

    def tick(self) -> None:
        """Take in what the child processes report and what the user changed; takes some milliseconds."""
        if self.scene.IsBatchProcessing():
            return  # a scene is being read or closed, and shows its progress through the event loop
        failed: Exception | None = None
        parts = (self._patient, self._model, self._xrays, self._registering, self._joint, self._reporting)
        moves = (self._adjusting, self._adjusting_beside)
        looks = (*moves, self._landmarking, self._comparing, self._viewing, self._second, self._runs)
        marks = (self._structures, self._targets, self._picked, self._pointing)
        for step in (self._context.poll, *(part.tick for part in (*parts, *looks, *marks))):
            try:
                step()
            except Exception as e:  # a defect of one part; the others must not stand still by it
                failed = failed or e
        if failed is not None:
            raise failed

    def wait(self, timeout: float | None = None, *, training: bool = False) -> None:
        """Tick until nothing is under way; with `training`, until that has ended too. TimeoutError after `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        self.tick()
        while self.busy or (training and self.training):
            if end is not None and time.monotonic() > end:
                raise TimeoutError(f"Still at work after {timeout} s: {self.status}")
            time.sleep(0.02)
            self.tick()

    def scene_closing(self) -> None:
        """Forget all nodes and drop what was asked of the engine; called by itself when the scene closes. Jobs go on."""
        self._context.drop_requests()
        marks = (self._pointing, self._picked, self._targets, self._structures)
        moves = (self._adjusting_beside, self._adjusting)
        looks = (*marks, self._runs, self._second, self._comparing, self._landmarking, *moves, self._viewing)
        for part in (
            self._reporting,
            self._images,
            self._joint,
            self._registering,
            *looks,
            self._xrays,
            self._model,
            self._patient,
        ):
            part.forget()

    def close(self) -> None:
        """End the engine and observe nothing any more; training jobs go on."""
        if self._closing is not None:
            self._context.scene.RemoveObserver(self._closing)
            self._closing = None
        self.scene_closing()
        self._patient.close()
        self._context.close()

    def _on_change(self, topic: str) -> None:
        if topic == "xrays":
            self._model.fit_camera()
