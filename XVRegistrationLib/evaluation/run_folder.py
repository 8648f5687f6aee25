"""The folder of a run: its rows are kept while what makes them stays the same, so that a run that was ended goes on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.evaluation.measures import read_rows, write_rows
from XVRegistrationLib.evaluation.protocol import fingerprint
from XVRegistrationLib.files import write_json
from XVRegistrationLib.resources import PACKAGE, resource
from XVRegistrationLib.versions import versions

if TYPE_CHECKING:
    import os

    from XVRegistrationLib.evaluation.measures import CaseRow

ROWS, RUN, SUMMARY = "results.csv", "run.json", "summary.json"
# What a row depends on: the rooms from the geometry to the registration, and what measures it.
_ROOMS = ("geometry", "imaging", "rendering", "networks", "training", "registration")
_MEASURING = ("measures.py", "metrics.py", "image_metrics.py", "protocol_xrays.py")


class RunFolder:
    """The rows of a run by the X-rays' names, and facts about it; each is on disk as soon as it is given.

    They are those of an earlier run if it was made of the same, by the same code and versions; else the run begins anew, as
    it does where that is asked for by `fresh`. `made_of` can be written as JSON: data, settings, and code of its own.
    """

    def __init__(self, folder: Path, *made_of: Any, fresh: bool = False) -> None:
        self._folder = folder
        mark = fingerprint(made_of, code_fingerprint(), versions())
        self.facts: dict[str, Any] = {} if fresh else _read_facts(folder / RUN)
        if self.facts.get("fingerprint") != mark:
            (folder / ROWS).unlink(missing_ok=True)
            self.facts = {}
            self.note(fingerprint=mark, versions=versions())
        self.rows = {row.name: row for row in read_rows(folder / ROWS)}

    def keep(self, row: CaseRow) -> None:
        """Add a row. The table is sorted, as a larger count may fill gaps, and whole, so that Ctrl-C loses at most one."""
        self.rows[row.name] = row
        write_rows(self._folder / ROWS, [self.rows[name] for name in sorted(self.rows)])

    def note(self, **facts: Any) -> None:
        """Add facts that can be written as JSON."""
        self.facts |= facts
        write_json(self._folder / RUN, self.facts)


def code_fingerprint() -> str:
    """Hash of the source, and the verdicts' table, that registers and measures: a changed registration never goes on with the rows of another."""
    measuring = [f"evaluation/{name}" for name in _MEASURING]
    return _digest([*_sources(*_ROOMS, *measuring), resource("verdict.json")])


def source_fingerprint(*names: str) -> str:
    """Hash of source files of the library, named by their paths in it; a folder stands for all that is in it."""
    return _digest(_sources(*names))


def data_mark(path: str | os.PathLike[str]) -> list[list[Any]]:
    """What tells data from other data without reading them: name, size and time of a file, or of each file in a folder.

    Raises InputError where there is nothing.
    """
    given = Path(path)
    if not given.exists():
        raise InputError(f"{given} does not exist.")
    files = sorted(p for p in given.iterdir() if p.is_file()) if given.is_dir() else [given]
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def _sources(*names: str) -> list[Path]:
    files = []
    for path in (PACKAGE / name for name in names):
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return files


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _read_facts(path: Path) -> dict[str, Any]:
    """The facts of an earlier run; none where the file is missing or damaged."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
