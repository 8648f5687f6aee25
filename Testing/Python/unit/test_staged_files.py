"""Files that are moved to their places together: all of them, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import move_staged, staging

if TYPE_CHECKING:
    from pathlib import Path


def _write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _content(folder: Path) -> dict[str, str | None]:
    """Everything below a folder, also what is hidden; None for folders and for links to nothing."""
    found = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_text() if path.is_file() else None for path in found}


NEW = {"page": "new", "a__replaced": "new", "a__more__added": "new", "b__added": "new"}


def _assert_refused(folder: Path, why: str) -> None:
    """The new files cannot be moved into the folder, and everything stays where it was, the staged files too."""
    before = _content(folder)
    with staging(folder) as staged:
        _write(folder / staged, **NEW)
        during = _content(folder)
        with pytest.raises(InputError, match=why):
            move_staged(folder / staged, folder)
        assert _content(folder) == during
    assert _content(folder) == before


def test_all_staged_files_get_to_their_places_and_others_stay(tmp_path):
    _write(tmp_path, page="old", a__replaced="old", a__other="old")
    with staging(tmp_path) as staged:
        _write(tmp_path / staged, **NEW)
        move_staged(tmp_path / staged, tmp_path)
    files = {name: text for name, text in _content(tmp_path).items() if text is not None}
    assert files == {"page": "new", "a/replaced": "new", "a/more/added": "new", "b/added": "new", "a/other": "old"}
    assert not list(tmp_path.rglob(".part-*"))


def test_a_move_that_fails_midway_leaves_everything_as_it_was(tmp_path):
    _write(tmp_path, page="old", a__replaced="old", a__other="old")
    # The folder b cannot be made; those of a are moved before that is found.
    (tmp_path / "b").symlink_to(tmp_path / "nowhere")
    _assert_refused(tmp_path, "cannot be written to")


def test_a_file_in_the_way_of_a_folder_is_found_before_anything_is_moved(tmp_path):
    _write(tmp_path, a__replaced="old", b="a file")
    _assert_refused(tmp_path, "b is in the way")
