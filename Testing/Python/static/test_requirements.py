"""Slicer, pip and the pinned demo must ask for the same packages."""

from __future__ import annotations

import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from XVRegistrationLib.panel import dependencies

SLICER_HAS = {"numpy", "scipy", "simpleitk", "pillow", "torch", "torchvision"}
# Import names that differ from the name of the package to install.
PACKAGE_OF = {
    "warp": "warp-lang",
    "yaml": "PyYAML",
    "PIL": "pillow",
    "distributed": "dask",
    "slicer": "slicer-core",
    "vtk": "slicer-core",
    "vtkmodules": "slicer-core",
}
# Loaded only inside Slicer, which has them.
ONLY_SLICERS = {"qt", "ctk", "DICOMLib", "PyTorchUtils", "SampleData", "packaging"}


def _read(lines: list[str]) -> dict[str, Requirement]:
    requirements = [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


@pytest.fixture(scope="module")
def project(tree):
    return tomllib.loads((tree.root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def slicer_installs(tree):
    return _read((tree.resources / "requirements.txt").read_text(encoding="utf-8").splitlines())


def test_pip_asks_for_what_slicer_installs_and_for_what_slicer_has(project, slicer_installs):
    wanted = _read(project["dependencies"])
    assert wanted.keys() == slicer_installs.keys() | SLICER_HAS
    assert {name: wanted[name].specifier for name in slicer_installs} == {
        name: requirement.specifier for name, requirement in slicer_installs.items()
    }


def test_slicer_never_gets_torch_or_its_own_packages_from_pip(slicer_installs):
    assert not slicer_installs.keys() & (SLICER_HAS | {"vtk"})


def test_what_slicer_may_install_besides_and_its_torch_are_as_pip_has_them(project):
    offered, torch = _read([*dependencies.OPTIONAL]), _read([dependencies.TORCH[0]])
    standalone, wanted = _read(project["optional-dependencies"]["standalone"]), _read(project["dependencies"])
    assert offered
    assert {name: standalone[name].specifier for name in offered} == {name: r.specifier for name, r in offered.items()}
    assert torch["torch"].specifier == wanted["torch"].specifier


def test_slicer_is_not_held_to_one_version(slicer_installs):
    assert all(part.operator == ">=" for requirement in slicer_installs.values() for part in requirement.specifier)


def test_the_pins_cover_what_the_library_needs_and_satisfy_every_requirement(tree, project):
    pins = _read((tree.root / "Testing/constraints.txt").read_text(encoding="utf-8").splitlines())
    versions = {name: next(iter(pin.specifier)).version for name, pin in pins.items()}
    assert all(str(pin.specifier).startswith("==") for pin in pins.values())
    needed = _read(project["dependencies"])
    assert needed.keys() <= versions.keys()
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    for name, requirement in [
        *needed.items(),
        *((canonicalize_name(Requirement(e).name), Requirement(e)) for e in extras),
    ]:
        assert name not in versions or versions[name] in requirement.specifier, f"{requirement} against {pins[name]}"


def test_the_version_is_written_once(project, tree):
    assert "version" in project["dynamic"]
    assert "version" not in project
    assert "__version__ = " in (tree.library / "__init__.py").read_text(encoding="utf-8")


def test_everything_that_the_library_imports_is_asked_for(tree, project, imports_of):
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    known = _read(project["dependencies"] + extras).keys()
    imported = {name.split(".")[0] for path in tree.library_files() for name in imports_of(path)}
    foreign = imported - sys.stdlib_module_names - ONLY_SLICERS - {"XVRegistrationLib", "__future__"}
    assert {"torch", "warp"} <= foreign
    assert not {name for name in foreign if canonicalize_name(PACKAGE_OF.get(name, name)) not in known}
