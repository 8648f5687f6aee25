"""The training of the present model: a job that is started, watched, found again, cancelled and resumed."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.jobs import job_status, training_job
from XVRegistrationLib.jobs.folder import DONE
from XVRegistrationLib.networks.settings import NetworkSettings, network_named
from XVRegistrationLib.panel.context import alive
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.scene.plots import set_training_curve

if TYPE_CHECKING:
    from pathlib import Path

    from XVRegistrationLib.jobs.job_status import Job, JobStatus
    from XVRegistrationLib.panel.context import Context
    from XVRegistrationLib.panel.patient import Patient

_LOOK_SECONDS = 0.5
_PATIENCE = 5.0
"""Seconds that a training gets to stop by itself."""
_VOXELS = "volume.npy"
"""The volume in the model's folder while it is being trained: a job outlives the session, whose files it must not need."""


class Training:
    """The job that trains, or has trained, the model in use."""

    def __init__(self, context: Context, patient: Patient) -> None:
        self._context = context
        self._patient = patient
        self._job: Job | None = None
        self._looked = 0.0
        self._cancelled_at: float | None = None
        self._drawn: tuple[int, Any] = (0, None)
        self.status: JobStatus | None = None
        """How far it is; None without a job."""
        self.chart: Any = None

    @property
    def running(self) -> bool:
        return self.status is not None and self.status.active

    @property
    def job_id(self) -> str:
        return "" if self._job is None else self._job.id

    def watch(self, model: Path | None) -> None:
        """Find the job of a model folder, and watch it from now on; with None, or where there is none, no job."""
        job = None if model is None else training_job.find_training(model, self._context.root)
        self._take(job)
        if self.running:
            self._context.say(_("A training of this model is under way; it is watched."))

    def tick(self) -> None:
        if self._job is None or time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        was_running = self.running
        before = self.status
        self._look()
        if self.status is None:
            return
        if was_running and not self.running:
            self._ended()
        elif self._cancelled_at is not None and time.monotonic() - self._cancelled_at > _PATIENCE and self.running:
            self._cancelled_at = None
            training_job.kill(self._job)
        if before != self.status:
            self._draw()
            self._context.changed.emit("model")

    def start(self, model: Path) -> None:
        """Start a job on a model folder, on the present volume."""
        p = self._context.parameters
        voxels = self._keep_voxels(model)
        job = training_job.start_training(
            model,
            minutes=float(p.minutes),
            volume=voxels,
            device=p.device or None,
            network=network_named(p.network, NetworkSettings()),
            root=self._context.root,
        )
        self._started(job)
        self._context.say(_("The training has begun; it goes on when Slicer is closed."))

    def resume(self) -> None:
        obstacle = self.can_resume()
        if obstacle or self._job is None or self.status is None:
            raise InputError(obstacle)
        minutes = float(self._context.parameters.minutes) if self.status.state == DONE else None
        voxels = self._keep_voxels(self.status.model)
        self._started(training_job.resume(self._job, minutes=minutes, volume=voxels))
        self._context.say(_("The training goes on."))

    def cancel(self) -> None:
        """Ask the job to stop; it is killed if it has not after some seconds."""
        obstacle = self.can_cancel()
        if obstacle or self._job is None:
            raise InputError(obstacle)
        training_job.request_cancel(self._job)
        self._cancelled_at = time.monotonic()
        self._context.say(_("The training is being stopped; its last checkpoint stays."))

    def can_cancel(self) -> str:
        return "" if self.running else _("No training is under way.")

    def can_resume(self) -> str:
        if not self._patient.ready:
            return self._patient.view().problem or _("Choose the CT.")
        if self.status is None:
            return _("There is no training that could go on.")
        if self.status.active:
            return _("The training is under way.")
        if self.status.state == DONE and 60 * self._context.parameters.minutes <= self.status.elapsed:
            return _("The training is finished; give more minutes in all to go on with it.")
        return ""

    def curve(self) -> list[tuple[float, float, float | None]]:
        return [] if self._job is None else job_status.curve(self._job)

    def _started(self, job: Job) -> None:
        self._cancelled_at = None
        self._take(job)
        self._patient.remember("job", job.id)

    def _take(self, job: Job | None) -> None:
        self._job, self.status, self.chart, self._drawn = job, None, None, (0, None)
        if job is not None:
            self._look()
            self._draw()
        self._context.changed.emit("model")

    def _look(self) -> None:
        assert self._job is not None
        self._looked = time.monotonic()
        try:
            self.status = job_status.status(self._job)
        except InputError:  # forgotten, by the terminal for instance
            self._job, self.status = None, None
            self._context.changed.emit("model")

    def _ended(self) -> None:
        assert self.status is not None
        self._cancelled_at = None
        self._context.say(self.status.message)
        if self.status.state == DONE:
            with contextlib.suppress(OSError):
                (self.status.model / _VOXELS).unlink()

    def _draw(self) -> None:
        """The curve as a plot in the scene."""
        node = self._patient.node
        rows = self.curve()
        if not rows or not alive(self._context.scene, node) or self._drawn == (len(rows), rows[-1]):
            return
        self._drawn = len(rows), rows[-1]
        self.chart = set_training_curve(self._context.scene, node, rows)

    def _keep_voxels(self, model: Path) -> Path:
        """The volume's file, in the model's folder."""
        kept = model / _VOXELS
        source = self._patient.file
        if source is None or not source.exists():
            raise InputError(_("The volume's file is gone; choose the volume again."))
        try:
            kept.unlink(missing_ok=True)
            try:
                os.link(source, kept)
            except OSError:  # another disk, or one without links
                shutil.copyfile(source, kept)
        except OSError as e:
            raise InputError(
                _("The volume cannot be kept for the training: {reason}.").format(reason=e.strerror)
            ) from e
        return kept
