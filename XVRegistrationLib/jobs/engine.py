"""The client of the engine, a child process that does the heavy work of a Slicer session: it never blocks the panel.

The engine keeps the volume and its model in memory, and ends with the process that started it. See `engine_operations`
for what can be asked of it.
"""

from __future__ import annotations

import collections
import contextlib
import secrets
import time
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from typing import TYPE_CHECKING, Any, Literal

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.jobs.engine_process import EngineLog, EngineProcess
from XVRegistrationLib.jobs.engine_protocol import ProtocolError, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

    from numpy.typing import NDArray

State = Literal["stopped", "starting", "ready", "failed"]
Kind = Literal["progress", "result", "error", "superseded"]

_START_SECONDS = 120.0  # Python with numpy on a slow disk, with a virus scanner, not torch
_PAUSE = 0.01  # s between two looks while something is waited for


@dataclass(frozen=True, eq=False)
class Message:
    """What the engine says about a request."""

    request: int
    kind: Kind
    """"progress" any number of times, then one of the others; "superseded" where a newer request made this one pointless."""
    fields: dict[str, Any] = field(default_factory=dict)
    """JSON values; an "error" has its sentence in "message", and "cancelled" if that is why."""
    arrays: dict[str, NDArray[Any]] = field(default_factory=dict)


class Engine:
    """One engine process. Only `wait` and `close` take time; everything else returns at once."""

    def __init__(
        self,
        command: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        """Nothing is started yet. `command` and `environment` replace the Python and the variables that the child gets.

        What the children print goes to the file `log`, which the first one begins anew, or where it cannot be written to
        one that is deleted at the end.
        """
        self._command = list(command) if command is not None else None
        self._environment = dict(environment) if environment is not None else None
        self._log = EngineLog(log)
        self._reason = ""
        self._state: State = "stopped"
        self._process: EngineProcess | None = None
        self._connection: Connection | None = None
        self._key = b""
        self._deadline = 0.0
        self._number = 0
        self._unsent: list[bytes] = []
        self._pending: dict[int, str] = {}
        self._inbox: collections.deque[Message] = collections.deque()

    @property
    def state(self) -> State:
        """ "stopped", "starting" (requests are kept until it listens), "ready" or "failed"; `poll` moves it on."""
        return self._state

    @property
    def process_id(self) -> int | None:
        """The child's process id while there is one."""
        return None if self._process is None else self._process.id

    @property
    def pending(self) -> list[int]:
        """Requests that have no result yet, oldest first."""
        return list(self._pending)

    def start(self) -> None:
        """Start the process, unless it runs. It remembers nothing of an earlier one."""
        if self._state in ("starting", "ready"):
            return
        self._drop()
        self._reason = ""
        self._key = secrets.token_bytes(32)
        try:
            self._process = EngineProcess(self._key, self._command, self._environment, self._log)
        except OSError as e:
            self._reason = f"The engine cannot be started: {e}"
            self._fail(self._reason)
            return
        self._state = "starting"
        self._deadline = time.monotonic() + _START_SECONDS

    def request(self, operation: str, arrays: Mapping[str, NDArray[Any]] | None = None, **fields: Any) -> int:
        """Ask for something; return the number that its messages will carry. InputError if the engine was not started."""
        if self._state not in ("starting", "ready"):
            raise InputError(self._reason or "The engine is not running; start it.")
        self._number += 1
        header = {"request": self._number, "operation": operation, "fields": fields}
        frame = encode(header, arrays)
        self._pending[self._number] = operation
        self._send(frame)
        return self._number

    def cancel(self, request: int) -> None:
        """Ask to give a request up. It still gets its last message: an error that says so, or the result that was ready."""
        if request in self._pending and self._state in ("starting", "ready"):
            self._send(encode({"cancel": request}))

    def poll(self) -> list[Message]:
        """The messages that have arrived since the last call, in their order."""
        self._advance()
        messages = list(self._inbox)
        self._inbox.clear()
        return messages

    def wait(
        self, request: int, timeout: float | None = None, on_message: Callable[[Message], None] | None = None
    ) -> Message:
        """The last message of a request; its progress goes to `on_message`, other requests' messages to a later `poll`.

        Raises InputError with the engine's sentence for an error, TimeoutError after `timeout` seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            self._advance()
            for message in [m for m in self._inbox if m.request == request]:
                self._inbox.remove(message)
                if message.kind == "progress":
                    if on_message is not None:
                        on_message(message)
                elif message.kind == "error":
                    raise InputError(message.fields["message"])
                else:
                    return message
            if request not in self._pending:
                raise InputError(f"The engine has no request {request} that could be waited for.")
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"The engine has not answered within {timeout} seconds.")
            self._pause()

    def close(self) -> None:
        """End the process and forget what was asked; it can be started again."""
        self._pending.clear()
        self._inbox.clear()
        self._drop()
        self._state = "stopped"

    def _pause(self) -> None:
        """Wait a moment, or until something arrives."""
        if self._connection is None:
            time.sleep(_PAUSE)
            return
        with contextlib.suppress(OSError):  # shows when it is read
            self._connection.poll(_PAUSE)

    def _send(self, frame: bytes) -> None:
        if self._connection is None:
            self._unsent.append(frame)
            return
        try:
            self._connection.send_bytes(frame)
        except OSError:
            assert self._process is not None
            self._fail(self._process.died())

    def _advance(self) -> None:
        """Connect if it is time, take in what has arrived, and see whether the process still lives."""
        if self._state not in ("starting", "ready"):
            return
        if self._connection is None:
            self._connect()
        if self._process is None:  # the connection failed, and that has been said
            return
        alive = self._process.alive  # asked first: its last words are still read
        try:
            while self._connection is not None and self._connection.poll(0):
                self._take(*decode(self._connection.recv_bytes()))
        except (EOFError, OSError):
            alive = False
        except ProtocolError as e:
            self._fail(f"The engine's answer cannot be understood: {e}")
            return
        if not alive:
            self._fail(self._process.died())
        elif self._state == "starting" and time.monotonic() > self._deadline:
            self._fail(f"The engine did not start within {_START_SECONDS:.0f} seconds.{self._process.last_words()}")

    def _connect(self) -> None:
        assert self._process is not None
        try:
            self._connection = Client(self._process.address(), authkey=self._key)
        except (OSError, EOFError):
            return  # it does not listen yet, or it is dead, which shows soon
        except AuthenticationError as e:
            self._fail(f"The engine refused the connection: {e}")
            return
        self._state = "ready"
        unsent, self._unsent = self._unsent, []
        for frame in unsent:
            self._send(frame)

    def _take(self, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        message = Message(header["request"], header["kind"], header["fields"], arrays)
        if message.request not in self._pending:
            return
        if message.kind != "progress":
            del self._pending[message.request]
        self._inbox.append(message)

    def _fail(self, sentence: str) -> None:
        for request in self._pending:
            self._inbox.append(Message(request, "error", {"message": sentence}))
        self._pending.clear()
        self._drop()
        self._state = "failed"

    def _drop(self) -> None:
        """End the process and close the connection."""
        self._unsent.clear()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        process, self._process = self._process, None
        if process is not None:
            process.end()
