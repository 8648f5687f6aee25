"""How far a training in the background is: what its folder says, and whether its process lives."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from XVRegistrationLib.jobs.folder import (
    CANCEL,
    CANCELLED,
    INTERRUPTED,
    LOG,
    RUNNING,
    STARTING,
    ProgressReader,
    read_job,
)
from XVRegistrationLib.jobs.home import saved_training, what_is_kept
from XVRegistrationLib.jobs.process import is_alive


@dataclass(frozen=True)
class Job:
    """One training in the background."""

    folder: Path
    _progress: ProgressReader = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_progress", ProgressReader(self.folder))

    @property
    def id(self) -> str:
        """Its short name."""
        return self.folder.name


@dataclass(frozen=True)
class JobStatus:
    """How far a job is."""

    state: str
    """starting, running, done, cancelled, failed, or interrupted: it says that it runs, but its process is gone."""
    elapsed: float
    """Seconds of training, over all runs."""
    budget: float
    """Seconds."""
    images: int
    loss: float
    """mm; NaN before the first report."""
    validation: float | None
    """Latest median error, mm."""
    eta: float | None
    """Seconds that are left; None where it does not train."""
    message: str
    """One sentence."""
    model: Path
    """The model's folder."""

    @property
    def active(self) -> bool:
        """Whether its process lives."""
        return self.state in (STARTING, RUNNING)


def status(job: Job) -> JobStatus:
    """How far the job is; InputError where its folder is gone or damaged."""
    content = read_job(job.folder)
    state, message = content["state"], content["message"]
    if state in (STARTING, RUNNING) and not is_alive(content, job.folder):
        # Its last words may have been written between reading them and looking for the process.
        content = read_job(job.folder)
        state, message = _last_words(job, content)
    model = Path(content["model"])
    rows = job._progress.read()
    last = rows[-1] if rows else None
    validation = next((row.validation for row in reversed(rows) if row.validation is not None), None)
    # Before its first report a job is where the model's folder is.
    saved = saved_training(model) if validation is None else {}
    if validation is None and saved.get("history"):
        validation = saved["history"][-1]["validation"]
    budget = 60 * float(content["minutes"])
    elapsed = last.elapsed if last else float(saved.get("seconds", 0.0))
    return JobStatus(
        state=state,
        elapsed=elapsed,
        budget=budget,
        images=last.images if last else int(saved.get("images", 0)),
        loss=last.loss if last else math.nan,
        validation=validation,
        eta=max(0.0, budget - elapsed) if state == RUNNING and last else None,
        message=message,
        model=model,
    )


def curve(job: Job) -> list[tuple[float, float, float | None]]:
    """The training so far: rows of seconds, loss in mm, and validation error in mm where it was measured."""
    return [(row.elapsed, row.loss, row.validation) for row in job._progress.read()]


def _last_words(job: Job, content: dict[str, Any]) -> tuple[str, str]:
    """State and message of a job whose process is gone."""
    model = Path(content["model"])
    if content["state"] not in (STARTING, RUNNING):
        return content["state"], content["message"]
    if (job.folder / CANCEL).exists():
        return CANCELLED, f"Cancelled; {what_is_kept(model)}"
    words = f"The training's process ended without a word (killed, computer off, or disk full; see {job.folder / LOG})"
    return INTERRUPTED, f"{words}; {what_is_kept(model)}"
