"""How the tests are shared out among processes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

_HERE = Path(__file__).parent
_ONE_APPLICATION = ("mrml", "panel")


def _share_the_processor() -> None:
    """Let the workers divide the cores; to be called before anything loads torch, which asks for this once.

    As many threads as there are cores in each of two workers wait for each other in busy loops (see
    `jobs.interpreter.child_environment`): a registration then took nine times the processor's time that it takes so.
    """
    workers = os.environ.get("PYTEST_XDIST_WORKER_COUNT")
    if workers is not None:
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


_share_the_processor()


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """The tests of a file stay together, and so do all that share the one application a process has, in their order."""
    for item in items:
        folder = item.path.relative_to(_HERE).parts[0]
        group = "application" if folder in _ONE_APPLICATION else str(item.path.relative_to(_HERE))
        item.add_marker(pytest.mark.xdist_group(group))
