"""Rules for every text file of the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
NOT_OURS = {
    ".git",
    ".venv",
    "build",
    "dist",
    "demo-output",
    "bench-output",
    "evaluation-output",
    "__pycache__",
    ".hypothesis",
}
SUFFIXES = {".py", ".txt", ".md", ".toml", ".ui", ".json", ".yml", ".yaml", ".csv", ".cmake", ""}
LONGEST = 450
# Folders of somebody's computer: an absolute path of this kind works nowhere else.
MACHINE_PATH = re.compile(r"(?<![\w.~\-$}/])/(?:tmp|work|home|root|opt|mnt|Users|var/tmp)/\w|\b[A-Z]:\\{1,2}\w")


def _text_files() -> list[Path]:
    found = []
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        cache = any(part in NOT_OURS or part.endswith((".egg-info", "_cache")) for part in parts)
        if path.is_file() and not cache and path.suffix in SUFFIXES:
            found.append(path)
    return found


FILES = _text_files()


def _id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_files_of_the_repository_are_found():
    names = {_id(path) for path in FILES}
    assert {"CMakeLists.txt", "Makefile", ".ci/run", "XVRegistrationLib/__init__.py"} <= names


@pytest.mark.parametrize("path", FILES, ids=_id)
def test_no_file_names_a_folder_of_one_computer(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert not [f"{number}: {line}" for number, line in enumerate(lines, 1) if MACHINE_PATH.search(line)]


@pytest.mark.parametrize("path", [path for path in FILES if path.suffix == ".py"], ids=_id)
def test_a_python_file_is_read_in_one_sitting_and_says_what_it_is_for(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < LONGEST
    assert text.startswith('"""')


def test_machine_paths_are_recognised():
    folder = "tmp"
    assert MACHINE_PATH.search(f'open("/{folder}/x.nii.gz")')
    assert MACHINE_PATH.search("C:" + "\\Users")
    assert not MACHINE_PATH.search("https://example.org/home/x")
    assert not MACHINE_PATH.search("XVRegistration/Resources/UI")
