"""The engine's process: started with a folder of its own, listened to for its last words, and ended."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from XVRegistrationLib.jobs.engine_protocol import ADDRESS_FILE
from XVRegistrationLib.jobs.interpreter import child_environment, interpreter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class EngineLog:
    """The file that engines write to, one after the other; later ones go on in it, so that what ended the first stays."""

    def __init__(self, path: Path | None) -> None:
        """`path` is begun anew by the first engine; without one each writes to its own folder."""
        self._path = path
        self._begun = False

    def open(self, folder: Path) -> tuple[IO[bytes], Path]:
        """The open file and its path, in `folder` where it cannot be what it was to be."""
        path = self._path or folder / "log.txt"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not self._begun:
                path.write_bytes(b"")
            log = path.open("ab")
        except OSError:  # the engine is worth more than its log
            path = folder / "log.txt"
            log = path.open("ab")
        self._begun = True
        return log, path


class EngineProcess:
    """One child, from its start on."""

    def __init__(
        self, key: bytes, command: Sequence[str] | None, environment: Mapping[str, str] | None, log: EngineLog
    ) -> None:
        """Start it; `key` is what a connection to it must know. OSError where it cannot be started."""
        python = interpreter() if command is None else command
        # Ctrl-C in a terminal is for the program that waits, not for its engine.
        separate: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            separate = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
        self._folder = Path(tempfile.mkdtemp(prefix="xvregistration-engine-"))
        self.popen: subprocess.Popen[bytes] | None = None
        try:
            file, self._log = log.open(self._folder)
            with file:
                self._said = file.seek(0, os.SEEK_END)  # where this child's words begin
                self.popen = subprocess.Popen(
                    [*python, "-m", "XVRegistrationLib.jobs.engine_server", str(self._folder)],
                    stdin=subprocess.PIPE,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=child_environment() if environment is None else environment,
                    **separate,
                )
            assert self.popen.stdin is not None
            self.popen.stdin.write(key.hex().encode() + b"\n")
            self.popen.stdin.flush()
        except OSError:
            self.end()
            raise

    @property
    def id(self) -> int | None:
        """Its process id."""
        return None if self.popen is None else self.popen.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self.popen is not None and self.popen.poll() is None

    def address(self) -> str:
        """Where it listens; OSError while it does not."""
        return str(json.loads((self._folder / ADDRESS_FILE).read_text("utf-8"))["address"])

    def died(self) -> str:
        """A sentence for one that has ended, or is about to, by itself."""
        # The connection may break a moment before the process is gone.
        code = None
        if self.popen is not None:
            try:
                code = self.popen.wait(0.2)
            except subprocess.TimeoutExpired:
                code = None
        return f"The engine ended unexpectedly{'' if code is None else f' (exit code {code})'}.{self.last_words()}"

    def last_words(self) -> str:
        """The last line that it has printed, as a sentence after another; "" if there is none."""
        try:
            lines = self._log.read_bytes()[self._said :].decode("utf-8", errors="replace").splitlines()
        except OSError:
            return ""
        said = [line.strip() for line in lines if line.strip()]
        return f" Its last words: {said[-1]}" if said else ""

    def end(self) -> None:
        """End it, and remove its folder."""
        process, self.popen = self.popen, None
        if process is not None:
            # The end of its input ends it, also where a launcher stands between it and us.
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(2.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
