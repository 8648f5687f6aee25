"""The data files are found in a source tree, in a wheel and in Slicer's install."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from XVRegistrationLib.resources import resource


def _found(folder: Path, names: set[str]) -> dict[str, str]:
    """Name -> path, as a fresh interpreter finds it that knows only the package in `folder`."""
    code = (
        "import json, sys; folder, *names = sys.argv[1:]; sys.path.insert(0, folder); "
        "from XVRegistrationLib.resources import resource; print(json.dumps({n: str(resource(n)) for n in names}))"
    )
    command = [sys.executable, "-I", "-c", code, str(folder), *sorted(names)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _check(tree, folder: Path) -> None:
    names = tree.files_below(tree.resources)
    assert names
    for name, path in _found(folder, names).items():
        assert Path(path).resolve().is_relative_to(folder.resolve())
        assert Path(path).read_bytes() == (tree.resources / name).read_bytes()


def test_in_the_source_tree_they_are_beside_the_package(tree):
    _check(tree, tree.root)


def test_a_wheel_contains_every_python_and_data_file_and_finds_them(tree, tmp_path):
    source = tmp_path / "source"
    caches = shutil.ignore_patterns("__pycache__")
    for folder in ("XVRegistrationLib", "Resources"):
        shutil.copytree(tree.root / folder, source / folder, ignore=caches)
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        if (tree.root / name).exists():
            shutil.copy(tree.root / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    built = subprocess.run([*pip, "-w", tmp_path, source], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr

    [wheel] = tmp_path.glob("xvregistration-*.whl")
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    package = unpacked / "XVRegistrationLib"
    assert tree.files_below(package, "*.py") == tree.files_below(tree.library, "*.py")
    assert tree.files_below(package / "Resources") == tree.files_below(tree.resources)
    _check(tree, unpacked)


def test_slicers_install_finds_them_inside_the_package(tree, tmp_path):
    """The layout that Slicer's macros make of the CMake lists: module and library side by side."""
    lists = "XVRegistrationLib/CMakeLists.txt"
    modules = tmp_path / "qt-scripted-modules"
    copies = [
        (tree.library / name, f"XVRegistrationLib/{name}") for name in tree.cmake_set(lists, "LIBRARY_PYTHON_SCRIPTS")
    ]
    copies += [
        (tree.resources / name, f"XVRegistrationLib/Resources/{name}")
        for name in tree.cmake_set(lists, "LIBRARY_RESOURCES")
    ]
    for source, name in copies:
        (modules / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, modules / name)
    assert "XVRegistrationLib/Resources/${resource}" in tree.cmake(lists)
    _check(tree, modules)


def test_a_missing_data_file_is_an_error_that_names_it():
    with pytest.raises(FileNotFoundError, match=r"no-such-table\.csv of XVRegistration"):
        resource("no-such-table.csv")
