"""How tests that run beside each other share the processor."""

from __future__ import annotations

import os

from XVRegistrationLib.jobs.interpreter import wait_in_company


def _share_the_processor() -> None:
    """Let the workers divide the cores; to be called before anything loads torch, which asks for this once.

    As many threads as there are cores in each of two workers wait for each other in busy loops (see
    `jobs.interpreter`): a registration then took nine times the processor's time that it takes so.
    """
    workers = os.environ.get("PYTEST_XDIST_WORKER_COUNT")
    if workers is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))
    wait_in_company()


_share_the_processor()
