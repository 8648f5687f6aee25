"""How the tests are shared out among processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from XVRegistrationLib.jobs.interpreter import wait_in_company

if TYPE_CHECKING:
    from collections.abc import Sequence

_HERE = Path(__file__).parent
_ONE_APPLICATION = ("mrml/", "panel/test_session", "panel/")
"""How paths begin of tests that use the one application a process has, in parts that take about as long as each other."""


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


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """The tests of a file stay together, and so do all of a part that shares one application, in their order."""
    for item in items:
        path = item.path.relative_to(_HERE).as_posix()
        group = next((part for part in _ONE_APPLICATION if path.startswith(part)), path)
        item.add_marker(pytest.mark.xdist_group(group))
