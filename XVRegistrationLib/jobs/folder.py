"""A job's folder: what the job is, how far it is, and the wish that it stop. Read and written by parent and child alike."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import write_json

if TYPE_CHECKING:
    from pathlib import Path

    from XVRegistrationLib.training.trainer import Progress

FORMAT = "xvregistration job"
FORMAT_VERSION = 1
JOB, PROGRESS, LOG, CANCEL = "job.json", "progress.jsonl", "log.txt", "cancel"
STARTING, RUNNING, DONE, CANCELLED, FAILED = "starting", "running", "done", "cancelled", "failed"
INTERRUPTED = "interrupted"
"""Says that it runs, but its process is gone. Never written: it follows from the process."""

_ENTRIES = ("model", "volume", "minutes", "device", "seed", "created", "state", "message", "pid", "process_created")
_LINES_A_SECOND = 4.0
_MOST_LINES = 10_000  # a day's training is still read and drawn at once


def read_job(folder: Path) -> dict[str, Any]:
    """What `job.json` says; InputError where it is missing or not one of ours."""
    path = folder / JOB
    try:
        content: dict[str, Any] = json.loads(_text(path))
    except FileNotFoundError:
        raise InputError(f"{folder} holds no job: {JOB} is missing.") from None
    except (ValueError, OSError) as e:
        raise InputError(f"{path} cannot be read ({e}); forget the job. Its model is not affected.") from e
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is not a job of XVRegistration.")
    if content.get("version") != FORMAT_VERSION:
        raise InputError(f"{path} has format version {content.get('version')}; this program reads {FORMAT_VERSION}.")
    missing = [entry for entry in _ENTRIES if entry not in content]
    if missing:
        raise InputError(f"{path} is damaged (no {', '.join(missing)}); forget the job. Its model is not affected.")
    return content


def update_job(folder: Path, **changes: Any) -> dict[str, Any]:
    """Change entries of `job.json`, and return all of it."""
    content = {**read_job(folder), **changes}
    write_json(folder / JOB, content)
    return content


@dataclass(frozen=True)
class Row:
    """One report of a training."""

    elapsed: float
    """Seconds of training, over all runs."""
    budget: float
    """Seconds."""
    steps: int
    images: int
    loss: float
    """Geodesic distance, mm."""
    validation: float | None
    """Median error, mm, where just measured."""


class ProgressWriter:
    """Appends reports to `progress.jsonl`: all with a validation, of the others at most four a second."""

    def __init__(self, folder: Path, budget: float) -> None:
        self._path = folder / PROGRESS
        self._interval = max(1 / _LINES_A_SECOND, budget / _MOST_LINES)
        self._last = -math.inf

    def write(self, progress: Progress) -> None:
        """Append a report if it is due. A disk that is full costs the line, not the training."""
        now = time.monotonic()
        if progress.validation is None and now - self._last < self._interval:
            return
        self._last = now
        row = {
            "elapsed": round(progress.elapsed, 3),
            "budget": progress.budget,
            "steps": progress.steps,
            "images": progress.images,
            "loss": round(progress.loss, 4),
            "validation": progress.validation,
        }
        try:
            with self._path.open("ab+") as f:
                f.write(_line_start(f) + json.dumps(row).encode() + b"\n")
        except OSError:
            return


class ProgressReader:
    """Reads `progress.jsonl` on from where it stopped; each call costs what is new."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / PROGRESS
        self._offset = 0
        self._rows: list[Row] = []

    def read(self) -> list[Row]:
        """All whole lines so far. A run that went on from a checkpoint replaces what was reported after that."""
        try:
            with self._path.open("rb") as f:
                if f.seek(0, os.SEEK_END) < self._offset:
                    self._offset, self._rows = 0, []
                f.seek(self._offset)
                new = f.read()
        except OSError:
            return self._rows
        whole = new[: new.rfind(b"\n") + 1]
        self._offset += len(whole)
        for line in whole.splitlines():
            row = _row(line)
            if row is None:
                continue
            while self._rows and self._rows[-1].elapsed > row.elapsed:
                self._rows.pop()
            self._rows.append(row)
        return self._rows


def _line_start(f: Any) -> bytes:
    """A line break where a killed process left half a line."""
    end = f.seek(0, os.SEEK_END)
    if end == 0:
        return b""
    f.seek(end - 1)
    return b"" if f.read(1) == b"\n" else b"\n"


def _row(line: bytes) -> Row | None:
    """A report, or None for a line that was cut short."""
    try:
        content = json.loads(line)
        validation = content["validation"]
        return Row(
            float(content["elapsed"]),
            float(content["budget"]),
            int(content["steps"]),
            int(content["images"]),
            float(content["loss"]),
            None if validation is None else float(validation),
        )
    except (ValueError, KeyError, TypeError):
        return None


def _text(path: Path) -> str:
    """The text of a file that another process may just be replacing, which Windows refuses to open meanwhile."""
    for _ in range(20):
        try:
            return path.read_text("utf-8")
        except PermissionError:
            time.sleep(0.01)
    return path.read_text("utf-8")
