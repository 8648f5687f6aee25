"""With which Python, and in which environment, the child processes run."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

_LIBRARY_FOLDER = Path(__file__).resolve().parents[2]
# libgomp's threads by default wait for each other in a busy loop. Beside any other busy program, one that has
# lost its turn keeps all of them spinning: a low-priority training then learnt 14 times fewer images than so.
# Not waiting in a loop at all ("passive") is better still in company, and a third slower alone.
_SPINS = ("GOMP_SPINCOUNT", "1000")


def interpreter() -> list[str]:
    """The command that starts Python: Slicer's own inside Slicer, else the one that runs this."""
    # Inside Slicer sys.executable is the application; its Python needs the launcher of that name for its paths.
    if "slicer" in sys.modules and "SLICER_HOME" in os.environ:
        found = shutil.which("PythonSlicer")
        if found:
            return [found]
    return [sys.executable]


def wait_in_company() -> None:
    """Have this process's threads wait as its children's do, unless its environment says how; before anything loads torch."""
    os.environ.setdefault(*_SPINS)


def child_environment() -> dict[str, str]:
    """This process's environment, with which a child finds this library and writes whole lines of UTF-8 at once."""
    paths = [str(_LIBRARY_FOLDER), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        _SPINS[0]: _SPINS[1],
        **os.environ,
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }
