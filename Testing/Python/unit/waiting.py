"""Waiting for a job of another process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from XVRegistrationLib.jobs.job_status import status

if TYPE_CHECKING:
    from collections.abc import Callable

    from XVRegistrationLib.jobs.job_status import Job, JobStatus


def wait_until(job: Job, until: Callable[[JobStatus], bool]) -> JobStatus:
    """The job's status as soon as it is as asked; fails when the job ends before or takes minutes."""
    deadline = time.monotonic() + 180
    while not until(now := status(job)):
        assert now.active, f"{now.state}: {now.message}"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return now
