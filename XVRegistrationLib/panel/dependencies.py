"""The Python packages that Slicer lacks: which they are, and their installation after asking the user."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.resources import resource

TORCH = ("torch>=2.4", "torchvision")
"""Installed by the PyTorch extension only, which picks the build for the graphics card."""
OPTIONAL = ("highdicom>=0.24",)
"""What all but one thing works without: it writes DICOM segmentations."""


def requirements() -> list[str]:
    """Requirements in pip's notation of what the library needs besides torch and what Slicer brings."""
    lines = (line.strip() for line in resource("requirements.txt").read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def missing() -> list[str]:
    """What still has to be installed: requirements that are absent or too old, those of torch first."""
    importlib.invalidate_caches()
    return [requirement for requirement in (*TORCH, *requirements()) if not _satisfied(requirement)]


def missing_optional() -> list[str]:
    """What may be installed besides."""
    return [requirement for requirement in OPTIONAL if not _satisfied(requirement)]


def install_optional() -> None:
    """Ask the user and install what may be installed besides."""
    lacking = missing_optional()
    if lacking:
        _install_packages(lacking)


def check() -> None:
    """Raise InputError while something has to be installed."""
    lacking = missing()
    if lacking:
        raise InputError(f"Open the module and install what its Setup section lists: {', '.join(lacking)}.")


def install() -> list[str]:
    """What is still missing after asking the user and installing; everything if the user said no.

    PyTorch comes first: pip would otherwise take any build of it along with timm.
    """
    if any(requirement in TORCH for requirement in missing()):
        _install_torch()
    lacking = missing()
    if lacking and not any(requirement in TORCH for requirement in lacking):
        _install_packages(lacking)
    return missing()


def _satisfied(requirement: str) -> bool:
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    present = _version(wanted.name)
    return present is not None and wanted.specifier.contains(present, prereleases=True)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _install_torch() -> None:
    """Ask and install through the PyTorch extension; it leaves everything as it was if the user says no."""
    old = _version("torch")
    if old is not None and not _satisfied(TORCH[0]):  # it would be kept: PyTorch's module takes any that is there
        raise InputError(
            f"PyTorch {old} is too old, {TORCH[0]} is needed: uninstall it in the PyTorch module, restart Slicer and try again."
        )
    if importlib.util.find_spec("PyTorchUtils") is None:
        raise InputError(
            "PyTorch is installed by the extension of that name, which this Slicer does not have: "
            "install PyTorch in the Extensions Manager, restart Slicer and try again."
        )
    import PyTorchUtils

    PyTorchUtils.PyTorchUtilsLogic().installTorch(
        askConfirmation=True, torchVersionRequirement=TORCH[0].removeprefix("torch")
    )


def _install_packages(packages: list[str]) -> None:
    """Ask and install with pip; Slicer 5.12 and later show its progress and offer the restart if one is needed."""
    import slicer.util

    question = _("These Python packages will be installed into Slicer: {packages}. Continue?")
    if not slicer.util.confirmOkCancelDisplay(question.format(packages=", ".join(packages)), "XVRegistration"):
        return
    try:
        if importlib.util.find_spec("slicer.packaging") is not None:
            import slicer.packaging

            slicer.packaging.pip_ensure(packages, prompt_install=False, requester="XVRegistration")
        else:
            slicer.util.pip_install(packages)
    except (subprocess.CalledProcessError, RuntimeError, OSError) as error:
        raise InputError(
            "The packages could not be installed; is this computer connected to the network? Slicer's Python console "
            "says what pip answered."
        ) from error
