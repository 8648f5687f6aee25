"""Versions of what a result was made with."""

from __future__ import annotations

import platform
from importlib import metadata

import XVRegistrationLib

_PACKAGES = ("torch", "warp-lang", "timm", "numpy", "SimpleITK", "pydicom")


def versions() -> dict[str, str]:
    """Package name -> version, of this library, Python and what the result depends on."""
    found = {"xvregistration": XVRegistrationLib.__version__, "python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
