"""Training in the background: a child process with a folder, which outlives the program that started it."""

from __future__ import annotations

import logging
import math
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import write_json
from XVRegistrationLib.jobs.checks import (
    check_device_name,
    check_minutes,
    check_volume,
    is_kept_volume,
    training_seconds,
)
from XVRegistrationLib.jobs.folder import (
    CANCEL,
    CANCELLED,
    FORMAT,
    FORMAT_VERSION,
    INTERRUPTED,
    JOB,
    LOG,
    RUNNING,
    STARTING,
    ProgressReader,
    read_job,
    update_job,
)
from XVRegistrationLib.jobs.home import PLAN, jobs_folder, saved_training, what_is_kept
from XVRegistrationLib.jobs.process import is_alive, kill_tree, launch, process_of
from XVRegistrationLib.registration.card import read_card

_LOOK = 0.05  # seconds between looks at a process that is to end
_TO_END = 5.0  # seconds that a killed process gets to be gone
_log = logging.getLogger(__name__)


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


def start_training(
    model: Path,
    *,
    minutes: float | None,
    volume: Path | None = None,
    device: str | None = None,
    seed: int = 0,
    root: Path | None = None,
) -> Job:
    """Train the network of a model folder for `minutes` in all in a child process, and return at once.

    The folder must hold at least a bank. A training that it holds goes on; None is up to the end of its budget.
    `volume` is needed where the card does not tell a place: a file that `read_volume` reads, or the voxels (K, J, I)
    as .npy, which then lie where the card says. Raises InputError where the training could not begin.
    """
    model = Path(model).absolute()
    card = read_card(model)
    if minutes is not None:
        check_minutes(minutes)
    seconds = training_seconds(model, card, minutes)
    check_device_name(device)
    place = check_volume(model, card, volume)
    check_not_trained_now(model, root)
    return new_job(model, seconds, place, device, seed, root)


def new_job(
    model: Path, seconds: float, volume: str | None, device: str | None = None, seed: int = 0, root: Path | None = None
) -> Job:
    """A job that has just been started for a model's folder, for `seconds` of training in all."""
    created = datetime.now(UTC)
    folder = jobs_folder(root).absolute() / f"{created:%y%m%d}-{secrets.token_hex(3)}"
    content = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "id": folder.name,
        "model": str(model),
        "volume": volume,
        "minutes": seconds / 60,
        "device": device or None,
        "seed": seed,
        "created": created.isoformat(timespec="milliseconds"),
        "state": STARTING,
        "message": "Starting.",
        "pid": None,
        "process_created": None,
    }
    write_json(folder / JOB, content)
    return _launched(Job(folder))


def find_jobs(root: Path | None = None) -> list[Job]:
    """All jobs below the data folder `root`, latest first; what is damaged is left out and said in the log."""
    found = []
    parent = jobs_folder(root)
    for folder in parent.iterdir() if parent.is_dir() else ():
        try:
            found.append((str(read_job(folder).get("created")), Job(folder.absolute())))
        except InputError as e:
            _log.warning("Left out of the list of jobs: %s", e)
    return [job for _, job in sorted(found, key=lambda pair: pair[0], reverse=True)]


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


def request_cancel(job: Job) -> None:
    """Ask the job to stop; it does so within a step, and its last checkpoint stays. Returns at once."""
    try:
        (job.folder / CANCEL).touch()
    except OSError as e:
        raise InputError(f"The job {job.id} cannot be asked to stop ({e}); kill it.") from e


def kill(job: Job, patience: float = 0.0) -> None:
    """End the job's process and all that it has started; the last checkpoint stays.

    Returns at once, or after up to `patience` seconds: the processes may take a moment to be gone.
    """
    with suppress(InputError):
        request_cancel(job)  # so that it counts as cancelled, not as interrupted
    process = process_of(read_job(job.folder), job.folder)
    if process is not None:
        kill_tree(process, patience)


def cancel(job: Job, patience: float = 5.0) -> None:
    """Stop the job: ask it, wait up to `patience` seconds, then kill it. A job that has ended stays as it is."""
    if not status(job).active:
        return
    deadline = time.monotonic() + patience
    try:
        request_cancel(job)
    except InputError:  # a full disk: it cannot be asked
        deadline = 0.0
    while time.monotonic() < deadline:
        if not is_alive(read_job(job.folder), job.folder):
            return
        time.sleep(_LOOK)
    kill(job, _TO_END)


def resume(job: Job, *, minutes: float | None = None, volume: Path | None = None) -> Job:
    """Go on with a job that was cancelled, interrupted or failed, from its last checkpoint, and return it.

    With more `minutes` in all also with one that is done. `volume` is a new place for one that has gone.
    """
    if status(job).active:
        raise InputError(f"The job {job.id} is still running.")
    content = read_job(job.folder)
    model = Path(content["model"])
    if (model / PLAN).exists():
        check_not_trained_now(model, job.folder.parent.parent)
        (job.folder / CANCEL).unlink(missing_ok=True)
        budget = float(content["minutes"]) if minutes is None else minutes
        update_job(job.folder, minutes=budget, state=STARTING, message="Starting.")
        return _launched(job)
    card = read_card(model)
    seconds = training_seconds(model, card, float(content["minutes"]) if minutes is None else minutes)
    place = _place_again(model, card, content["volume"]) if volume is None else check_volume(model, card, volume)
    check_not_trained_now(model, job.folder.parent.parent)
    (job.folder / CANCEL).unlink(missing_ok=True)
    update_job(job.folder, minutes=seconds / 60, volume=place, state=STARTING, message="Starting.")
    return _launched(job)


def forget(job: Job) -> None:
    """Remove the job's folder, never its model; InputError while it runs."""
    try:
        active = status(job).active
    except InputError:  # damaged, or gone already
        active = False
    if active:
        raise InputError(f"The job {job.id} is still running; cancel it first.")
    shutil.rmtree(job.folder, ignore_errors=True)


def find_job(name: str, root: Path | None = None) -> Job:
    """The one job whose id is or begins or ends with `name`; InputError where there is none or more than one."""
    jobs = find_jobs(root)
    exact = [job for job in jobs if job.id == name]
    found = exact or [job for job in jobs if name and (job.id.startswith(name) or job.id.endswith(name))]
    if len(found) == 1:
        return found[0]
    what = "no job" if not found else f"{len(found)} jobs"
    raise InputError(f"There is {what} {name}." if not found else f"{name} may be {what}; give more of the id.")


def find_training(model: Path, root: Path | None = None) -> Job | None:
    """The job that trains this model folder, or else the latest that has."""
    found = []
    for job in find_jobs(root):
        try:
            if read_job(job.folder)["model"] == str(Path(model).absolute()):
                found.append(job)
                if status(job).active:
                    return job
        except (InputError, KeyError):  # forgotten or damaged meanwhile
            continue
    return found[0] if found else None


def _launched(job: Job) -> Job:
    try:
        launch(job.folder)
    except OSError as e:
        update_job(job.folder, state="failed", message=f"Python could not be started: {e}.")
        raise InputError(f"The training could not be started: {e}.") from e
    return job


def _place_again(model: Path, card: dict[str, Any], before: str | None) -> str | None:
    """Where the volume of a job that ended is now, as `check_volume` says it."""
    if before is None or not is_kept_volume(before, model):
        return check_volume(model, card, None if before is None else Path(before))
    if Path(before).exists():  # the job has not come to reading it
        return before
    if card["volume"]["path"]:
        return check_volume(model, card, None)
    raise InputError(
        f"The copy of the volume with which {model} was trained has been removed, as it always is once it was read; "
        "give a file of the volume, or go on in Slicer's panel."
    )


def _last_words(job: Job, content: dict[str, Any]) -> tuple[str, str]:
    """State and message of a job whose process is gone."""
    model = Path(content["model"])
    if content["state"] not in (STARTING, RUNNING):
        return content["state"], content["message"]
    if (job.folder / CANCEL).exists():
        return CANCELLED, f"Cancelled; {what_is_kept(model)}"
    words = f"The training's process ended without a word (killed, computer off, or disk full; see {job.folder / LOG})"
    return INTERRUPTED, f"{words}; {what_is_kept(model)}"


def check_not_trained_now(model: Path, root: Path | None) -> None:
    """Raise InputError where a job trains this model's folder now."""
    job = find_training(model, root)
    if job is not None and status(job).active:
        raise InputError(f"{model} is being trained already, by the job {job.id}; cancel that first.")
