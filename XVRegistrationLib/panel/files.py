"""The folder of a session: voxels for the engine. It is removed at the end, and those of sessions that crashed at the next."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path


def session_folder(root: Path) -> Path:
    """A new folder below the data folder `root`, on the same disk as the models, named by this process."""
    parent = root / "sessions"
    parent.mkdir(parents=True, exist_ok=True)
    for old in parent.iterdir():
        if _is_left_over(old):
            shutil.rmtree(old, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=parent))


def _is_left_over(folder: Path) -> bool:
    import psutil

    process = folder.name.partition("-")[0]
    if not process.isdecimal() or int(process) == os.getpid():
        return False
    with contextlib.suppress(OSError, psutil.Error):
        # Another process may have got the number since; it would have to have started after the folder was made.
        return not psutil.pid_exists(int(process)) or (
            psutil.Process(int(process)).create_time() > folder.stat().st_mtime + 1.0
        )
    return False
