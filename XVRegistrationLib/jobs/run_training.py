"""The child process of a training job: `python -m XVRegistrationLib.jobs.run_training JOBFOLDER`."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.imaging.volume import Volume, read_volume
from XVRegistrationLib.jobs.checks import is_kept_volume
from XVRegistrationLib.jobs.folder import CANCEL, CANCELLED, DONE, FAILED, RUNNING, ProgressWriter, read_job, update_job
from XVRegistrationLib.jobs.home import PLAN, what_is_kept
from XVRegistrationLib.jobs.process import identity, lower_priority
from XVRegistrationLib.networks.settings import NetworkSettings
from XVRegistrationLib.registration.card import read_card, reading_of

if TYPE_CHECKING:
    from types import FrameType

    from XVRegistrationLib.training.trainer import Progress

_PARENT_WRITES = 5.0  # seconds for the parent to write the child's number, after which only the child writes job.json
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class CancelledError(Exception):
    """Somebody asked this job to stop."""


def main(folder: Path) -> int:
    """Run the job of a folder to its end; 0 when it is done, 1 when it is not."""
    job = _take_over(folder)
    lower_priority()
    stop = StopRequest(folder)
    model = Path(job["model"])
    trace = ""
    try:
        stop.check()
        state, message = DONE, _train(folder, job, stop)
    except CancelledError:
        state, message = CANCELLED, f"Cancelled; {what_is_kept(model)}"
    except InputError as e:
        state, message = FAILED, str(e)
    except OSError as e:
        why = "The disk is full" if e.errno in _DISK_FULL else "Files could not be read or written"
        state, message, trace = FAILED, f"{why} ({e}); {what_is_kept(model)}", traceback.format_exc()
    except Exception as e:
        state, trace = FAILED, traceback.format_exc()
        message = f"The training failed ({type(e).__name__}: {e}); {what_is_kept(model)}"
    # On a full disk even these may fail; that the process is gone then says that the job has ended.
    with suppress(OSError):
        sys.stderr.write(f"{trace}{state}: {message}\n")
    with suppress(OSError, InputError):
        update_job(folder, state=state, message=message)
    return 0 if state == DONE else 1


class StopRequest:
    """Whether the job is asked to stop: by the file `cancel` in its folder, or by a signal."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / CANCEL
        self._signalled = False
        signals = [signal.SIGTERM, signal.SIGINT]
        if sys.platform == "win32":
            signals.append(signal.SIGBREAK)  # type: ignore[attr-defined,unused-ignore]
        for number in signals:
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True

    def check(self) -> None:
        """Raise CancelledError if so."""
        if self._signalled or self._file.exists():
            raise CancelledError


def _take_over(folder: Path) -> dict[str, Any]:
    """The job, with this process's number in it; from now on nobody else writes its file.

    The parent has written the number of what it started, which in Slicer is Python's launcher.
    """
    deadline = time.monotonic() + _PARENT_WRITES
    while read_job(folder)["pid"] is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return update_job(folder, **identity(os.getpid()))


def _train(folder: Path, job: dict[str, Any], stop: StopRequest) -> str:
    """Train, and return the last sentence."""
    model = Path(job["model"])
    pretraining = (model / PLAN).exists()
    volume = None if pretraining else _volume(model, job)
    stop.check()
    lines = ProgressWriter(folder, 60 * job["minutes"])
    running = False

    def on_progress(progress: Progress) -> None:
        nonlocal running
        if not running:
            running = True
            update_job(folder, state=RUNNING, message="Training.")
        lines.write(progress)
        stop.check()

    def on_prepared(done: int, count: int) -> None:
        update_job(folder, state=RUNNING, message=f"Preparing the CTs: {done} of {count}.")
        stop.check()

    how: dict[str, Any] = {"minutes": job["minutes"], "device": job["device"], "progress": on_progress}
    if pretraining:
        from XVRegistrationLib.jobs.pretrain import pretrain

        done = pretrain(model, preparing=on_prepared, **how).training
    else:
        from XVRegistrationLib.jobs.train_patient import resume_training
        from XVRegistrationLib.training.checkpoints import settings_from

        stop.check()
        described, kept = job.get("network"), job.get("settings")
        network = None if described is None else NetworkSettings(**described)
        how["settings"] = None if kept is None else settings_from(kept)
        done = resume_training(model, volume=volume, seed=job["seed"], network=network, **how).training
    error = done["history"][-1]["validation"]
    return (
        f"Trained for {done['seconds'] / 60:.1f} minutes on {done['images']:,} X-rays; validation error {error:.1f} mm."
    )


def _volume(model: Path, job: dict[str, Any]) -> Volume:
    """The patient's volume; a copy that was made for this job is removed."""
    # Before the seconds that torch takes to load: whoever wrote the voxels for this job may soon remove them.
    volume = read_job_volume(job, read_card(model))
    if job["volume"] and is_kept_volume(job["volume"], model):
        with suppress(OSError):
            Path(job["volume"]).unlink()
    return volume


def read_job_volume(job: dict[str, Any], card: dict[str, Any]) -> Volume:
    """The volume of a job: from a file, or voxels as .npy that lie where the model's card says."""
    path = job["volume"] or card["volume"]["path"]
    if Path(path).suffix.lower() != ".npy":
        return read_volume(path, reading_of(card))
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as e:
        raise InputError(f"The voxels in {path} cannot be read ({e}); choose the volume again.") from e
    # The card keeps what it says of the volume: the file of voxels is not a place to come back to.
    described = card["volume"]
    matrix, units = np.array(described["ijk_to_ras"]), described.get("units", "HU")
    return Volume(array, matrix, described["name"], described["path"], units, reading_of(card))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
