"""What native libraries write to the process's standard error past Python."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_NO_DRIVER = b"Could not find or load the NVIDIA CUDA driver"
_STDERR = 2


@contextmanager
def without_driver_warning() -> Iterator[None]:
    """Keeps back the line with which Warp's native part says that there is no NVIDIA driver; all others come through."""
    try:
        kept = os.dup(_STDERR)
    except OSError:  # a program without a console has none
        yield
        return
    try:
        if sys.stderr is not None:
            sys.stderr.flush()
        with tempfile.TemporaryFile() as caught:
            os.dup2(caught.fileno(), _STDERR)
            try:
                yield
            finally:
                os.dup2(kept, _STDERR)
                caught.seek(0)
                for line in caught.read().splitlines(keepends=True):
                    if _NO_DRIVER not in line:
                        os.write(_STDERR, line)
    finally:
        os.close(kept)
