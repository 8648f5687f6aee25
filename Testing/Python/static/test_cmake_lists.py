"""Slicer installs what the CMake lists name and nothing else."""

from __future__ import annotations

import re
import struct
import tomllib

import numpy as np
from PIL import Image

from Testing.Host.icon import ICON, draw

LIBRARY_LISTS = "XVRegistrationLib/CMakeLists.txt"
MODULE_LISTS = "XVRegistration/CMakeLists.txt"


def test_every_python_file_of_the_library_is_listed_once(tree):
    listed = tree.cmake_set(LIBRARY_LISTS, "LIBRARY_PYTHON_SCRIPTS")
    assert len(listed) == len(set(listed))
    assert set(listed) == tree.files_below(tree.library, "*.py")


def test_every_data_file_is_listed_once(tree):
    listed = tree.cmake_set(LIBRARY_LISTS, "LIBRARY_RESOURCES")
    assert len(listed) == len(set(listed))
    assert set(listed) == tree.files_below(tree.resources)


def test_the_module_lists_its_one_python_file_its_icon_and_its_panel(tree):
    name = tree.cmake_set(MODULE_LISTS, "MODULE_NAME")[0]
    scripts = tree.cmake_set(MODULE_LISTS, "MODULE_PYTHON_SCRIPTS", MODULE_NAME=name)
    resources = tree.cmake_set(MODULE_LISTS, "MODULE_PYTHON_RESOURCES", MODULE_NAME=name)
    assert scripts == ["XVRegistration.py"]
    assert set(scripts + resources) == tree.files_below(tree.module) - {"CMakeLists.txt"}


def test_slicer_finds_exactly_one_module_in_the_module_folder(tree):
    assert [path.name for path in tree.module.glob("*.py")] == ["XVRegistration.py"]


def test_both_folders_are_built_and_the_library_keeps_its_folder(tree):
    top = tree.cmake("CMakeLists.txt")
    assert re.findall(r"add_subdirectory\((\w+)\)", top) == ["XVRegistration", "XVRegistrationLib"]
    macro = re.search(r"slicerMacroBuildScriptedModule\(([^)]*)\)", tree.cmake(LIBRARY_LISTS))
    assert macro is not None
    assert "WITH_SUBDIR" in macro.group(1).split()


def test_the_extension_says_what_the_index_asks_for(tree):
    text = (tree.root / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.search(r"^project\(XVRegistration\)$", text, re.MULTILINE)
    keys = ("HOMEPAGE", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS")
    values = dict(re.findall(r'^set\(EXTENSION_(\w+) "([^"\n]+)"\)$', text, re.MULTILINE))
    assert tuple(values) == keys
    assert values["DEPENDS"] == "PyTorch"
    assert values["ICONURL"].endswith("/XVRegistration/Resources/Icons/XVRegistration.png")
    assert "## NEXT_MODULE" in text
    assert (tree.root / "LICENSE").read_text(encoding="utf-8").count("Apache License") >= 3


def test_the_icon_is_a_png_of_128_by_128_pixels_as_it_is_drawn(tree):
    header = (tree.module / "Resources/Icons/XVRegistration.png").read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", header[16:24]) == (128, 128)
    with Image.open(ICON) as image:
        apart = np.asarray(image.convert("RGBA"), dtype=int) - np.asarray(draw(), dtype=int)
    assert np.abs(apart).mean() < 1  # versions of Pillow smooth a little differently


def test_every_folder_of_the_library_is_a_package_that_the_wheel_contains(tree):
    project = tomllib.loads((tree.root / "pyproject.toml").read_text(encoding="utf-8"))
    folders = {path.parent for path in tree.library_files()}
    assert all((folder / "__init__.py").is_file() for folder in folders)
    packages = {folder.relative_to(tree.root).as_posix().replace("/", ".") for folder in folders}
    listed = project["tool"]["setuptools"]["packages"]
    assert len(listed) == len(set(listed))
    assert set(listed) == packages | {"XVRegistrationLib.Resources"}
