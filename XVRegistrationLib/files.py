"""Writing files so that nobody ever sees half of one, and reading texts that a user names."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LARGEST = 100_000_000  # bytes: what is read whole has some thousands
_ASKING = threading.Lock()
"""The umask is the whole process's, and can only be asked for by setting it."""


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`, with the same suffix, that replaces it when the block ends without an error."""
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".part-", suffix="".join(final.suffixes[-2:]), dir=final.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files that only their owner may read; give what the umask would have given.
        with _ASKING:
            umask = os.umask(0)
            os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        _replace(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing_to(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Within this, what the system says against writing becomes an InputError that says that `folder` cannot be written to."""
    try:
        yield
    except OSError as e:
        raise InputError(f"{folder} cannot be written to ({e.strerror or e}); choose another folder.") from e


def staging(folder: str | os.PathLike[str]) -> tempfile.TemporaryDirectory[str]:
    """A temporary folder in `folder`, which is made, for files that are to be moved to their places together: `move_staged`.

    It is removed at the end of a `with` block, by its `cleanup()`, and with the object. Raises InputError where nothing can be written.
    """
    with writing_to(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=".part-", dir=folder, ignore_cleanup_errors=True)


def move_staged(staged: Path, folder: Path) -> None:
    """Move all files that lie in `staged`, also in folders in it, to the same places in `folder`, and replace what is there.

    All or none: upon a failure each is put back to where it was, and no name is without a file meanwhile, as far as the disk knows
    links. Raises InputError, before anything is moved, where a folder has the name of a file or a file that of a folder, and
    where nothing can be written; should putting back fail too, it says where the earlier files are.
    """
    found = sorted(staged.rglob("*"), key=lambda path: (-len(path.parts), path))
    for source in found:
        final = folder / source.relative_to(staged)
        if final.exists() and final.is_dir() != source.is_dir():
            raise InputError(f"{final} is in the way; choose another name or folder.")
    with writing_to(folder):
        aside = Path(tempfile.mkdtemp(prefix=".part-", dir=folder))
        made: list[Path] = []
        moved: list[tuple[Path, Path, Path]] = []
        try:
            for number, source in enumerate(path for path in found if path.is_file()):
                final, old = folder / source.relative_to(staged), aside / str(number)
                for parent in [path for path in reversed(final.parents) if not path.exists()]:
                    parent.mkdir()
                    made.append(parent)
                if final.exists():
                    _keep(final, old)
                _replace(source, final)
                moved.append((source, final, old))
        except BaseException as e:
            if not _put_back(moved, made):
                raise InputError(f"{folder} cannot be written to ({e}); the earlier files are in {aside}.") from e
            shutil.rmtree(aside, ignore_errors=True)
            raise
        shutil.rmtree(aside, ignore_errors=True)


def _keep(file: Path, copy: Path) -> None:
    """The same file once more: by a link, or where the disk knows none, by a copy."""
    try:
        os.link(file, copy)
    except OSError:
        shutil.copy2(file, copy)


def _put_back(moved: list[tuple[Path, Path, Path]], made: list[Path]) -> bool:
    """Undo moves from a first to a second place, of which the former content is at the third, and folders; whether all of it."""
    try:
        for source, final, old in reversed(moved):
            _replace(final, source)
            if old.exists():
                _replace(old, final)
        for parent in reversed(made):
            parent.rmdir()
    except OSError:
        return False
    return True


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write JSON, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_text(path: str | os.PathLike[str], what: str, *, instead: str = "", largest: int = _LARGEST) -> str:
    """The text of a file that should be `what`, in UTF-8, without a byte order mark.

    Raises InputError, ending in what to do `instead`, where there is none, it has more than `largest` bytes, or is no text.
    """
    file, then = Path(path), f"; {instead}" if instead else ""
    try:
        fits = file.stat().st_size <= largest
        text = file.read_text("utf-8-sig") if fits else ""
    except FileNotFoundError as e:
        raise InputError(f"{path} does not exist{then}.") from e
    except (OSError, ValueError) as e:
        raise InputError(f"{path} cannot be read as text{then}.") from e
    if not fits:
        raise InputError(f"{path} is too large for {what}{then}.")
    return text


def _replace(temporary: Path, final: Path) -> None:
    """Rename; on Windows that is refused while another process has the old file open, which soon passes."""
    for _ in range(50 if os.name == "nt" else 0):
        try:
            temporary.replace(final)
            return
        except PermissionError:
            time.sleep(0.02)
    temporary.replace(final)
