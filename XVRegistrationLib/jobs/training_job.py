"""Training in the background: a child process with a folder, which outlives the program that started it."""

from __future__ import annotations

import dataclasses
import logging
import secrets
import shutil
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import write_json
from XVRegistrationLib.jobs.checks import (
    check_device_name,
    check_minutes,
    check_volume,
    is_kept_volume,
    training_seconds,
)
from XVRegistrationLib.jobs.folder import CANCEL, FORMAT, FORMAT_VERSION, JOB, STARTING, read_job, update_job
from XVRegistrationLib.jobs.home import PLAN, jobs_folder
from XVRegistrationLib.jobs.job_status import Job, status
from XVRegistrationLib.jobs.process import is_alive, kill_tree, launch, process_of
from XVRegistrationLib.registration.card import read_card

if TYPE_CHECKING:
    from XVRegistrationLib.networks.settings import NetworkSettings
    from XVRegistrationLib.training.trainer import TrainingSettings

_LOOK = 0.05  # seconds between looks at a process that is to end
_TO_END = 5.0  # seconds that a killed process gets to be gone
_log = logging.getLogger(__name__)


def start_training(
    model: Path,
    *,
    minutes: float | None,
    volume: Path | None = None,
    device: str | None = None,
    seed: int = 0,
    network: NetworkSettings | None = None,
    settings: TrainingSettings | None = None,
    root: Path | None = None,
) -> Job:
    """Train the network of a model folder for `minutes` in all in a child process, and return at once.

    The folder must hold at least a bank. A training that it holds goes on, else `network` says what is trained; `settings` are as
    for `resume_training`; None minutes are up to the end of its budget.
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
    return new_job(model, seconds, place, device, seed, root, network, settings)


def new_job(
    model: Path,
    seconds: float,
    volume: str | None,
    device: str | None = None,
    seed: int = 0,
    root: Path | None = None,
    network: NetworkSettings | None = None,
    settings: TrainingSettings | None = None,
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
        "network": None if network is None else network.to_dict(),
        "settings": None if settings is None else dataclasses.asdict(settings),
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


def check_not_trained_now(model: Path, root: Path | None) -> None:
    """Raise InputError where a job trains this model's folder now."""
    job = find_training(model, root)
    if job is not None and status(job).active:
        raise InputError(f"{model} is being trained already, by the job {job.id}; cancel that first.")
