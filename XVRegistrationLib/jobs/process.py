"""A job's child process: starting it so that it outlives its parent, telling whether it lives, and ending all of it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.jobs.folder import LOG, update_job
from XVRegistrationLib.jobs.interpreter import child_environment, interpreter

if TYPE_CHECKING:
    import psutil

MODULE = "XVRegistrationLib.jobs.run_training"
_TO_APPEAR = 60.0  # seconds that a child may take until its number stands in the job's file
_SAME_TIME = 1.0  # seconds by which two readings of a process's time of creation may differ
_NICE = 10

# A child that ended stays in the process table until its parent asks for it: these are asked at each look.
_children: list[subprocess.Popen[bytes]] = []


def launch(folder: Path) -> None:
    """Start the child of a job folder, detached from this process, with its output in the job's log."""
    detached: dict[str, Any] = (
        {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}  # type: ignore[attr-defined,unused-ignore]
        if sys.platform == "win32"
        else {"start_new_session": True}
    )
    update_job(folder, pid=None, process_created=None, launched=time.time())
    with (folder / LOG).open("ab") as log:
        # -P and the job's own folder: nothing that lies in the current folder is imported by mistake.
        child = subprocess.Popen(
            [*interpreter(), "-P", "-m", MODULE, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=child_environment(),
            **detached,
        )
    _children.append(child)
    update_job(folder, **identity(child.pid))


def identity(pid: int) -> dict[str, Any]:
    """What tells this process from a later one with the same number."""
    import psutil

    try:
        return {"pid": pid, "process_created": psutil.Process(pid).create_time()}
    except psutil.Error:
        return {"pid": pid, "process_created": None}


def is_alive(job: dict[str, Any], folder: Path) -> bool:
    """Whether the process of a job, as its file describes it, still runs."""
    if job["pid"] is None:
        return 0 <= time.time() - float(job.get("launched") or 0) < _TO_APPEAR
    return process_of(job, folder) is not None


def process_of(job: dict[str, Any], folder: Path) -> psutil.Process | None:
    """The running process of a job; None where it is gone, also where another one has got its number."""
    import psutil

    _children[:] = [child for child in _children if child.poll() is None]
    if job["pid"] is None:
        return None
    try:
        process = psutil.Process(int(job["pid"]))
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        created = job["process_created"]
        if created is not None and abs(process.create_time() - float(created)) < _SAME_TIME:
            return process
        # The time of creation follows the computer's clock, which may have been set since.
        return process if str(folder) in process.cmdline() else None
    except psutil.Error:
        return None


def kill_tree(process: psutil.Process, patience: float = 0.0) -> None:
    """End a process and all that it has started, and wait up to `patience` seconds until they are gone."""
    import psutil

    try:
        family = [*process.children(recursive=True), process]
    except psutil.Error:
        family = [process]
    for member in family:
        try:
            member.kill()
        except psutil.Error:
            continue
    if patience > 0:
        psutil.wait_procs(family, timeout=patience)


def lower_priority() -> None:
    """Let everything else on this computer go first."""
    import psutil

    try:
        psutil.Process(os.getpid()).nice(
            psutil.BELOW_NORMAL_PRIORITY_CLASS if sys.platform == "win32" else _NICE  # type: ignore[attr-defined,unused-ignore]
        )
    except psutil.Error:
        return
    # Linux makes a group of each session, as a job is one, and niceness only counts within a group: the group gets it too.
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(_NICE))
