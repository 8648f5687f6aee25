"""Who may import whom."""

from __future__ import annotations

import sys

import pytest

# Each line may import the lines above it, and itself; two on one line do not know each other.
LAYERS = (
    ("geometry",),
    ("imaging",),
    ("rendering",),
    ("networks",),
    ("training", "registration"),
    ("evaluation",),
    ("jobs",),
    ("scene",),
    ("cli", "panel"),
)
BASE = {"errors", "resources", "files", "versions"}  # below all, as is the package itself
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
IN_SLICER = {"scene", "panel"}
ONLY_IN_SLICER = {"slicer", "qt", "ctk", "vtk", "vtkmodules", "slicer_core", "PyTorchUtils", "DICOMLib"}
AT_START_UP = {"slicer", "vtk", "qt", "ctk", "numpy", "XVRegistrationLib"}


def _part(tree, path) -> str:
    """The library's folder, or the file right in the package, that `path` is in."""
    return path.relative_to(tree.library).with_suffix("").parts[0]


def _parts_imported(names: set[str]) -> set[str]:
    parts = {name.split(".")[1] for name in names if name.startswith("XVRegistrationLib.")}
    return parts & (RANK.keys() | BASE)


def test_every_part_of_the_library_has_its_place_in_the_order(tree):
    parts = {_part(tree, path) for path in tree.library_files()}
    assert parts - {"__init__"} <= RANK.keys() | BASE


def test_imports_point_from_the_panel_down_to_the_geometry(tree, imports_of):
    wrong = []
    for path in tree.library_files():
        part = _part(tree, path)
        allowed = BASE | {part} | {name for name in RANK if RANK[name] < RANK.get(part, -1)}
        wrong += [f"{path.name} in {part} imports {name}" for name in _parts_imported(imports_of(path)) - allowed]
    assert not wrong


@pytest.mark.parametrize("name", ["__init__", *sorted(BASE)])
def test_the_base_imports_no_part_of_the_library(tree, imports_of, name):
    assert not _parts_imported(imports_of(tree.library / f"{name}.py")) & RANK.keys()


def test_slicer_is_known_only_to_the_scene_and_the_panel(tree, imports_of):
    wrong = [
        f"{path.relative_to(tree.library)} imports {name}"
        for path in tree.library_files()
        if _part(tree, path) not in IN_SLICER
        for name in {name.split(".")[0] for name in imports_of(path)} & ONLY_IN_SLICER
    ]
    assert not wrong


def test_widgets_are_known_only_to_the_panel(tree, imports_of):
    for path in tree.library_files():
        if _part(tree, path) != "panel":
            assert not {name.split(".")[0] for name in imports_of(path)} & {"qt", "ctk"}, path


def _loaded_with(files, tree, file_scope_imports_of) -> dict:
    """These files and all files of the library that importing them runs, with the names that each imports."""
    waiting = list(files)
    loaded = {}
    while waiting:
        path = waiting.pop()
        if path in loaded:
            continue
        loaded[path] = file_scope_imports_of(path)
        for name in loaded[path]:
            parts = name.split(".")
            if parts[0] != "XVRegistrationLib":
                continue
            for count in range(1, len(parts) + 1):
                base = tree.root.joinpath(*parts[:count])
                waiting += [file for file in (base / "__init__.py", base.with_suffix(".py")) if file.is_file()]
    return loaded


def test_slicer_starts_without_importing_any_package_that_it_may_lack(tree, file_scope_imports_of):
    files = [tree.module / "XVRegistration.py", *(tree.library / "panel").glob("*.py")]
    loaded = _loaded_with(files, tree, file_scope_imports_of)
    assert tree.library / "panel" / "dependencies.py" in loaded
    wrong = [
        f"{path.relative_to(tree.root)} imports {name}"
        for path, names in loaded.items()
        for name in {name.split(".")[0] for name in names} - AT_START_UP - sys.stdlib_module_names
    ]
    assert not wrong


def test_an_engine_starts_without_torchs_compiler(tree, file_scope_imports_of):
    """RoMa loads it, which takes as long as most of the rest together."""
    loaded = _loaded_with([tree.library / "jobs" / "engine_operations.py"], tree, file_scope_imports_of)
    assert tree.library / "networks" / "rotations.py" in loaded
    assert not [path for path, names in loaded.items() if "roma" in names]


@pytest.mark.parametrize("gone", ["imp", "pickle", "distutils", "pkg_resources"])
def test_nothing_imports_what_is_unsafe_or_gone_from_python(tree, imports_of, gone):
    files = [*tree.library_files(), tree.module / "XVRegistration.py"]
    assert not [path for path in files if gone in {name.split(".")[0] for name in imports_of(path)}]
