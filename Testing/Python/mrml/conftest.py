"""A scene on slicer-core, and the patient to put into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from Testing.Python.mrml.phantom import phantom_ct, phantom_labels
from XVRegistrationLib.scene.standalone.app import start

if TYPE_CHECKING:
    from collections.abc import Iterator

    from XVRegistrationLib.imaging.volume import LabelMap, Volume


@pytest.fixture
def scene() -> Iterator[Any]:
    """This process's scene, empty."""
    application = start()
    application.scene.Clear(0)
    yield application.scene
    application.scene.Clear(0)


@pytest.fixture(scope="session")
def ct() -> Volume:
    return phantom_ct()


@pytest.fixture(scope="session")
def label_map() -> LabelMap:
    return phantom_labels()
