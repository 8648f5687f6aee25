"""A process that inspects one file after another, with a limit on its memory, and says what came of each."""

from __future__ import annotations

import contextlib
import io
import os
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

MEMORY = 3 * 2**30  # bytes more than the process has after its imports


def work(connection: Connection, folder: str, cache: str) -> None:
    """Answer each list of arguments with the exit code, what was printed and what went wrong; ends with None."""
    import resource

    os.chdir(folder)
    os.environ.update(HOME=folder, TMPDIR=folder, MPLCONFIGDIR=cache)  # matplotlib keeps a list of fonts
    import SimpleITK  # noqa: F401
    from matplotlib.figure import Figure  # noqa: F401

    from XVRegistrationLib.cli import inspect  # noqa: F401
    from XVRegistrationLib.cli.main import main

    with open("/proc/self/statm") as f:  # noqa: PTH123
        now = int(f.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))
    connection.send("ready")
    while (arguments := connection.recv()) is not None:
        out, err = io.StringIO(), io.StringIO()
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code: int | str | None = main(arguments)
            connection.send((code, out.getvalue(), err.getvalue()))
        except SystemExit as e:
            connection.send((e.code, out.getvalue(), err.getvalue()))
        except BaseException:
            connection.send(("crashed", out.getvalue(), traceback.format_exc()))
