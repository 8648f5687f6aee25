"""What the panel says is missing, and in which order it installs."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import pytest

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.jobs.home import HOME
from XVRegistrationLib.jobs.interpreter import child_environment
from XVRegistrationLib.panel import dependencies

WITHOUT_PACKAGES = """
import importlib.metadata, re, sys

from XVRegistrationLib.panel.dependencies import TORCH, missing, requirements
from XVRegistrationLib.scene.standalone.app import start

names = {re.split("[<>=]", line)[0] for line in (*TORCH, *requirements())} | {"platformdirs"}
absent = names - {"warp-lang"} | {"warp"}


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def version(name, real=importlib.metadata.version):
    if name in names:
        raise importlib.metadata.PackageNotFoundError(name)
    return real(name)


scene = start().scene
assert not absent & set(sys.modules), absent & set(sys.modules)
sys.meta_path.insert(0, Absent())
importlib.metadata.version = version

from XVRegistrationLib.panel.parameters import Parameters
from XVRegistrationLib.panel.session import Session

session = Session(scene, Parameters())
for _ in range(3):
    session.tick()
session.library(), session.rows(), session.presets(), session.model_view(), session.patient_view()
session.can_train(), session.can_register(), session.can_add_xrays(), session.can_resume_training()
session.close()
print(missing())
"""


def _pretend_versions(monkeypatch, **pretended):
    """Let packages have another version; None for not installed."""
    real = importlib.metadata.version

    def version(name):
        if name not in pretended:
            return real(name)
        if pretended[name] is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return pretended[name]

    monkeypatch.setattr(importlib.metadata, "version", version)


def test_nothing_is_missing_where_the_tests_run():
    assert dependencies.missing() == []
    assert dependencies.install() == []


def test_an_absent_package_and_one_that_is_too_old_are_missing(monkeypatch):
    _pretend_versions(monkeypatch, timm=None, pydicom="2.3.1", safetensors="0.4.0")
    assert dependencies.missing() == ["timm>=1.0", "pydicom>=2.4"]


def test_what_writes_dicom_segmentations_is_offered_and_not_needed(monkeypatch):
    import slicer.util

    assert dependencies.missing_optional() == []
    _pretend_versions(monkeypatch, highdicom=None)
    asked, installed = [], []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, *_: asked.append(text) or len(asked) > 1)
    monkeypatch.setattr(slicer.util, "pip_install", installed.append)
    assert dependencies.missing() == []
    assert dependencies.missing_optional() == ["highdicom>=0.24"]
    dependencies.install()
    assert not asked
    dependencies.install_optional()
    assert "highdicom" in asked[0]
    assert not installed  # the user said no
    dependencies.install_optional()
    assert installed == [["highdicom>=0.24"]]


def test_torch_comes_first_and_only_from_the_pytorch_extension(monkeypatch):
    _pretend_versions(monkeypatch, timm=None, torch=None)
    assert dependencies.missing() == ["torch>=2.4", "timm>=1.0"]
    with pytest.raises(InputError, match=r"install PyTorch in the Extensions Manager"):
        dependencies.install()


@pytest.mark.parametrize(("version", "enough"), [("2.3.1+cu121", False), ("2.4.0+cpu", True), ("2.10.0", True)])
def test_a_torch_that_is_too_old_has_to_be_uninstalled_first(monkeypatch, version, enough):
    _pretend_versions(monkeypatch, torch=version)
    assert dependencies.missing() == ([] if enough else ["torch>=2.4"])
    if not enough:
        with pytest.raises(InputError, match=r"PyTorch 2.3.1\+cu121 is too old.*uninstall it in the PyTorch module"):
            dependencies.install()


def test_the_panel_opens_where_no_package_is_installed_yet(tmp_path):
    """What a fresh Slicer does: nothing that the panel would install may be needed for offering to install it."""
    (tmp_path / "without.py").write_text(WITHOUT_PACKAGES, encoding="utf-8")
    environment = {name: value for name, value in child_environment().items() if name != HOME}
    command = [sys.executable, str(tmp_path / "without.py")]
    run = subprocess.run(command, env={**environment, "HOME": str(tmp_path)}, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "torch>=2.4" in run.stdout
    assert "psutil" in run.stdout


@pytest.mark.parametrize("failure", [subprocess.CalledProcessError(1, "pip"), OSError("no route"), RuntimeError("pip")])
def test_an_installation_that_fails_is_one_sentence_and_a_refusal_is_none(monkeypatch, failure):
    """pip as Slicer 5.10 runs it; it is what fails without a network."""
    import slicer.util

    asked = []

    def pip_install(packages):
        asked.append(packages)
        raise failure

    monkeypatch.setattr(dependencies, "missing", lambda: ["timm>=1.0"])
    monkeypatch.setattr(slicer.util, "pip_install", pip_install)
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_: False)
    assert dependencies.install() == ["timm>=1.0"]
    assert not asked
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_: True)
    with pytest.raises(InputError, match="network"):
        dependencies.install()
    assert asked == [["timm>=1.0"]]


def test_every_requirement_of_the_data_file_is_read(tree_requirements):
    assert dependencies.requirements() == tree_requirements
    assert all(">=" in requirement for requirement in tree_requirements)


@pytest.fixture
def tree_requirements():
    text = dependencies.resource("requirements.txt").read_text(encoding="utf-8")
    return [line for line in text.split("\n") if line[:1].isalpha()]
