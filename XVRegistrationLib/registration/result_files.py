"""The files of results in a folder: a try that failed does not replace a better one, and one without a pose leaves a reason."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.files import write_json

if TYPE_CHECKING:
    from collections.abc import Container

FAILED = "failed"
_LARGEST = 10_000_000  # bytes: a result has some thousands


def is_outdone(verdict: str, earlier: str) -> bool:
    """Whether a result must not replace an earlier one of the same X-ray: it failed and that one did not."""
    return verdict == FAILED and earlier in ("converged", "check")


def stem_of_result(folder: Path, name: str, verdict: str) -> str:
    """What the files of a result are called, without suffix: `name`, or `name`.failed where `name`.json has a better one.

    Files of an earlier try that failed are removed where this one replaces them.
    """
    if is_outdone(verdict, _verdict_in(folder / f"{name}.json")):
        return f"{name}.{FAILED}"
    for suffix in ("json", "png"):
        (folder / f"{name}.{FAILED}.{suffix}").unlink(missing_ok=True)
    return name


def unused(name: str, taken: Container[str]) -> str:
    """The name, or where that is taken the first of `name 2`, `name 3` and so on that is not."""
    candidates = itertools.chain([name], (f"{name} {i}" for i in itertools.count(2)))
    return next(candidate for candidate in candidates if candidate not in taken)


def named_by_file(name: str, file: str) -> str:
    """The name of an X-ray with its file's extension in it: RUN-0003 of RUN.dcm is RUN.dcm-0003."""
    whole = Path(file).name
    stems = (whole.removesuffix(".nii.gz"), Path(file).stem)
    stem = next((stem for stem in stems if stem != whole and (name == stem or name.startswith(f"{stem}-"))), None)
    return name if stem is None else whole + name[len(stem) :]


def no_result(name: str, reason: str) -> dict[str, Any]:
    """What stands in the file of an X-ray that has no pose: the entries by which those of a registration are judged."""
    return {"name": name, "pose": None, "verdict": FAILED, "reason": reason, "ok": False}


def write_no_result(folder: Path, name: str, reason: str, **more: Any) -> Path:
    """Write why an X-ray has no pose, and `more`, beside a better earlier result or in its place; return the file."""
    path = folder / f"{stem_of_result(folder, name, FAILED)}.json"
    write_json(path, {**no_result(name, reason), **more})
    return path


def _verdict_in(path: Path) -> str:
    """The verdict in a result's file; empty where there is none to be kept."""
    try:
        content = json.loads(path.read_text("utf-8")) if path.stat().st_size < _LARGEST else {}
        trust = content.get("trust")
        return str((trust or {}).get("verdict") or "") if content.get("pose") is not None else ""
    except (OSError, ValueError, AttributeError):
        return ""
