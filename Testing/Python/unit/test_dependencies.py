"""What the panel says is missing, and in which order it installs."""

from __future__ import annotations

import importlib.metadata
import importlib.util

import pytest

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.panel import dependencies


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


def _pretend_absent(monkeypatch, *absent):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in absent else real(name))


def test_nothing_is_missing_where_the_tests_run():
    assert dependencies.missing() == []
    assert dependencies.install() == []


def test_an_absent_package_and_one_that_is_too_old_are_missing(monkeypatch):
    _pretend_versions(monkeypatch, timm=None, pydicom="2.4.4", safetensors="0.4.0")
    assert dependencies.missing() == ["timm>=1.0", "pydicom>=3.0"]


def test_torch_comes_first_and_only_from_the_pytorch_extension(monkeypatch):
    _pretend_versions(monkeypatch, timm=None)
    _pretend_absent(monkeypatch, "torch")
    assert dependencies.missing() == ["torch", "timm>=1.0"]
    with pytest.raises(InputError, match=r"install PyTorch in the Extensions Manager"):
        dependencies.install()


def test_every_requirement_of_the_data_file_is_read(tree_requirements):
    assert dependencies.requirements() == tree_requirements
    assert all(">=" in requirement for requirement in tree_requirements)


@pytest.fixture
def tree_requirements():
    text = dependencies.resource("requirements.txt").read_text(encoding="utf-8")
    return [line for line in text.split("\n") if line[:1].isalpha()]
