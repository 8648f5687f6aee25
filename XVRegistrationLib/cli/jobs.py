"""`xvregistration jobs`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from XVRegistrationLib.cli.progress import clock, console
from XVRegistrationLib.errors import InputError
from XVRegistrationLib.jobs.job_status import status
from XVRegistrationLib.jobs.training_job import cancel, find_job, find_jobs, forget, resume

if TYPE_CHECKING:
    import argparse

    from XVRegistrationLib.jobs.job_status import Job


def run(options: argparse.Namespace) -> int:
    """List the trainings in the background, or cancel, resume or forget those named."""
    root = None if options.root is None else Path(options.root).absolute()
    if options.action == "list":
        _check(not options.id, "`jobs list` takes no ID.")
        _list(find_jobs(root))
        return 0
    _check(bool(options.id), f"Say which job to {options.action}: `xvregistration jobs` lists them.")
    for job in [find_job(name, root) for name in options.id]:
        if options.action == "cancel":
            cancel(job)
            console.print(f"{job.id}: {status(job).message}")
        elif options.action == "resume":
            resume(job, minutes=options.minutes, volume=None if options.volume is None else Path(options.volume))
            console.print(f"{job.id} goes on in the background.")
        else:
            forget(job)
            console.print(f"{job.id} is forgotten; its model stays.")
    return 0


def _check(good: bool, otherwise: str) -> None:
    if not good:
        raise InputError(otherwise)


def _list(jobs: list[Job]) -> None:
    if not jobs:
        console.print("There are no jobs. `xvregistration train ... --background` starts one.")
        return
    table = Table("id", "state", "trained", "left", "loss", "validation", "model")
    notes = []
    for job in jobs:
        try:
            now = status(job)
        except InputError as e:  # forgotten meanwhile
            notes.append(str(e))
            continue
        table.add_row(
            job.id,
            now.state,
            f"{clock(now.elapsed)} of {clock(now.budget)}",
            "-" if now.eta is None else clock(now.eta),
            "-" if math.isnan(now.loss) else f"{now.loss:.1f} mm",
            "-" if now.validation is None else f"{now.validation:.1f} mm",
            escape(str(now.model)),
        )
        if not now.active:
            notes.append(f"{job.id}: {now.message}")
    console.print(table)
    for note in notes:
        console.print(escape(note))
