"""The window in which the panel's tests run the module: one a process, emptied for each test."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from Testing.Host.host import Host


@pytest.fixture
def host() -> Iterator[Host]:
    """The host with an empty scene; an exception that a slot or observer raised fails the test."""
    pytest.importorskip("PySide6", reason="the extra 'panel' is not installed")
    from Testing.Host import start_host

    library = _library()
    running = start_host()
    running.close_scene()
    running.errors.clear()
    running.errors.warnings.clear()
    yield running
    running.close_module()
    running.close_scene()
    # Reloading the module loads the library anew. Other tests go on with the classes that they have imported.
    for name in _library():
        del sys.modules[name]
    sys.modules.update(library)
    running.errors.check()


def _library() -> dict[str, ModuleType]:
    """The library's modules that are loaded."""
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "XVRegistrationLib"}


@pytest.fixture
def new_volume() -> Callable[..., Any]:
    """`new_volume(name)`: a small volume node with a bright cube in it."""
    import slicer.util

    def add(name: str = "CT", size: int = 32) -> Any:
        values = np.zeros((size, size, size), np.int16)
        values[size // 4 : size * 3 // 4, size // 4 : size * 3 // 4, size // 4 : size * 3 // 4] = 1000
        node = slicer.util.addVolumeFromArray(values, name=name)
        node.CreateDefaultDisplayNodes()
        return node

    return add
