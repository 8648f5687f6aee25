"""What the tests of the panel share: the window that runs the module, a session without one, and X-ray files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from Testing.Python.panel.engines import StandingEngine
from Testing.Python.panel.panels import MODULE
from Testing.Python.panel.patients import patient, write_xray
from Testing.Python.panel.standing import running_host
from XVRegistrationLib.panel import context
from XVRegistrationLib.panel.parameters import Parameters
from XVRegistrationLib.panel.session import Session
from XVRegistrationLib.scene.standalone.app import start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from Testing.Host.host import Host
    from Testing.Python.panel.standing import Standing


@pytest.fixture(scope="module", autouse=True)
def engines() -> Iterator[None]:
    """Engines go on from one session to the next."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(context, "Engine", StandingEngine)
        yield


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One library for all tests of a file, so that the bank is made once."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two X-rays of `patient()`, which do not state the distance from source to detector."""
    folder = tmp_path_factory.mktemp("files")
    return [write_xray(folder / f"{name}.nii.gz", patient(), number) for number, name in enumerate(("front", "tilted"))]


@pytest.fixture
def scene() -> Iterator[Any]:
    """The scene without anything in it."""
    scene = start().scene
    scene.Clear(0)
    yield scene
    scene.Clear(0)


@pytest.fixture(scope="module")
def one_session(root: Path) -> Iterator[Session]:
    """One session, and so one engine, for all tests of a file: as in Slicer, where scenes come and go."""
    session = Session(start().scene, None, root=root)
    yield session
    session.close()


@pytest.fixture
def session(scene: Any, one_session: Session) -> Iterator[Session]:
    """The file's session with nothing chosen."""
    one_session.set_parameters(Parameters())
    one_session.tick()
    yield one_session
    one_session.set_parameters(None)


@pytest.fixture
def host() -> Iterator[Host]:
    """The host with an empty scene; an exception that a slot or observer raised fails the test."""
    with running_host() as running:
        yield running


@pytest.fixture
def panel(host: Host, root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, open in the host, with everything that it keeps in a temporary folder."""
    monkeypatch.setenv("XVREGISTRATION_HOME", str(root))
    return host.open_module(MODULE)


@pytest.fixture
def xrays(opened: Standing) -> Iterator[Standing]:
    """A file's `opened` panel, put back; an exception that a slot or observer raised fails the test."""
    opened.put_back()
    yield opened
    opened.host.errors.check()


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
