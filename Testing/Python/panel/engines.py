"""Engines that go on from one test to the next, as Slicer's does from scene to scene: starting one takes seconds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

from XVRegistrationLib.jobs.engine import Engine

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from XVRegistrationLib.jobs.engine_process import EngineProcess

_PATIENCE = 30.0  # s, for what an engine is still at


class StandingEngine(Engine):
    """The real engine. One that is closed while it is well is kept, and is the next one that is started."""

    _kept: ClassVar[list[tuple[EngineProcess, Connection, int]]] = []

    def start(self) -> None:
        while self._kept and self._state not in ("starting", "ready"):
            process, connection, number = self._kept.pop()
            if process.alive:
                self._drop()
                self._process, self._connection, self._number = process, connection, number
                self._state = "ready"
            else:
                connection.close()
                process.end()
        super().start()

    def close(self) -> None:
        if self._is_well() and self._process is not None and self._connection is not None:
            self._kept.append((self._process, self._connection, self._number))
            self._process = self._connection = None
        super().close()

    def _is_well(self) -> bool:
        """Whether it lives and listens, once it has given up all that it was asked for."""
        for request in self.pending:
            self.cancel(request)
        end = time.monotonic() + _PATIENCE
        while self.pending and time.monotonic() < end:
            self._advance()
            self._pause()
        self._advance()
        return self._state == "ready" and not self.pending
