"""The engine's process: `python -m XVRegistrationLib.jobs.engine_server FOLDER`, started by `jobs.engine.Engine`.

FOLDER is private to this process and its client; the address is written there. The first line of standard input is the
key of the connection, and the end of standard input, which comes when the client's process ends in whatever way, ends
this one. The main thread works through the requests in order; one thread takes messages in, so that a request can be
cancelled or superseded at any time, and one sends them out, so that taking in never waits for the client to read.
An operation may leave the rest of its work, such as writing files, to a thread beside, one rest after the other; requests that
leave none do not wait for it.
"""

from __future__ import annotations

import collections
import contextlib
import os
import queue
import shutil
import sys
import threading
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Listener
from pathlib import Path
from typing import TYPE_CHECKING, Any

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.files import write_json
from XVRegistrationLib.jobs.engine_protocol import ADDRESS_FILE, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

    from XVRegistrationLib.jobs.engine_operations import Operations

    Answer = tuple[dict[str, Any], dict[str, NDArray[Any]]]
    """JSON values, and arrays."""
    Rest = Callable[[], Answer]
    """Work that an operation leaves to a thread beside, and that gives the answer. Torch and Warp stay with the main thread."""

CANCELLED = "Cancelled."
_LONGEST_SOCKET_PATH = 100  # bytes; the system's limit is 104 or 108


class Cancelled(Exception):  # noqa: N818 - an outcome, not an error
    """The client does not want the result of this request any more."""


@dataclass(eq=False)
class Request:
    """Work that the client asks for."""

    number: int
    operation: str
    fields: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    send: Any
    """Called with kind, fields and arrays."""
    cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def channel(self) -> tuple[str, str] | None:
        """Of requests with the same channel only the newest matters; None for one that matters in any case."""
        channel = self.fields.get("channel", "live" if self.operation == "drr" else None)
        return None if channel is None else (self.operation, str(channel))

    def progress(self, **fields: Any) -> None:
        """Tell the client how far the work is; raises Cancelled once it does not want it any more."""
        self.check()
        self.send(self, "progress", fields)

    def check(self) -> None:
        """Raise Cancelled if the client does not want the result any more."""
        if self.cancelled.is_set():
            raise Cancelled


class Server:
    """Takes requests from one connection and answers them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._changed = threading.Condition()
        self._pending: collections.deque[Request] = collections.deque()
        self._worked_on: set[Request] = set()
        self._beside = ThreadPoolExecutor(1)
        self._rest: Future[object] | None = None
        self._outgoing: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._operations: Operations | None = None

    def run(self) -> None:
        """Work until the process is ended from outside."""
        for target in (self._take_in, self._send_out):
            threading.Thread(target=target, daemon=True).start()
        # Torch loads for seconds, while the client is connected already. If it cannot, each request will say so.
        with contextlib.suppress(Exception):
            self._loaded()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending)
                request = self._pending.popleft()
                self._worked_on.add(request)
            self._work_on(request)

    def _work_on(self, request: Request) -> None:
        rest = self._answer(request, lambda: self._loaded().run(request))
        if rest is not None:
            # One at a time: more of them would hold the memory of several.
            if self._rest is not None:
                self._rest.result()
            self._rest = self._beside.submit(self._answer, request, rest)

    def _answer(self, request: Request, work: Callable[[], Answer | Rest]) -> Rest | None:
        """Work, and send the answer; what the work leaves to be done beside is returned, and the answer with it."""
        rest = None
        try:
            request.check()
            answer = work()
            request.check()
            if callable(answer):
                rest = answer
            else:
                self._send(request, "result", *answer)
        except Cancelled:
            self._send(request, "error", {"message": CANCELLED, "cancelled": True})
        except InputError as e:
            self._send(request, "error", {"message": str(e)})
        except OSError as e:
            traceback.print_exc()
            what = f"{e.filename}: {e.strerror}" if e.filename else str(e)
            self._send(request, "error", {"message": f"A file cannot be read or written: {what}."})
        except Exception as e:  # whatever it is, the engine goes on with the next request
            traceback.print_exc()
            self._send(request, "error", {"message": f"The engine failed: {type(e).__name__}: {e}"})
        finally:
            if rest is None:
                with self._changed:
                    self._worked_on.discard(request)
        return rest

    def _loaded(self) -> Operations:
        if self._operations is None:
            from XVRegistrationLib.jobs.engine_operations import Operations

            self._operations = Operations()
        return self._operations

    def _send(
        self, request: Request, kind: str, fields: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None
    ) -> None:
        header = {"request": request.number, "kind": kind, "fields": dict(fields)}
        self._outgoing.put(encode(header, arrays))

    def _send_out(self) -> None:
        with _ends_the_process():
            while True:
                self._connection.send_bytes(self._outgoing.get())

    def _take_in(self) -> None:
        with _ends_the_process():
            while True:
                header, arrays = decode(self._connection.recv_bytes())
                with self._changed:
                    if "cancel" in header:
                        self._cancel(header["cancel"])
                    else:
                        self._take(
                            Request(header["request"], header["operation"], header["fields"], arrays, self._send)
                        )
                    self._changed.notify_all()

    def _take(self, request: Request) -> None:
        if request.channel is not None:
            for older in [r for r in self._pending if r.channel == request.channel]:
                self._pending.remove(older)
                self._send(older, "superseded", {})
        self._pending.append(request)

    def _cancel(self, number: int) -> None:
        for request in [r for r in self._worked_on if r.number == number]:
            request.cancelled.set()
        for request in [r for r in self._pending if r.number == number]:
            self._pending.remove(request)
            self._send(request, "error", {"message": CANCELLED, "cancelled": True})


@contextlib.contextmanager
def _ends_the_process() -> Any:
    """Without its connection the engine is of no use; the main thread may be deep in a computation, so nobody is asked."""
    try:
        yield
    except (EOFError, OSError):
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _watch_input(folder: Path) -> None:
    while sys.stdin.buffer.read(1):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _listener(folder: Path, key: bytes) -> Listener:
    if sys.platform == "win32":
        return Listener(family="AF_PIPE", authkey=key)
    socket = str(folder / "socket")
    if len(os.fsencode(socket)) > _LONGEST_SOCKET_PATH:
        return Listener(family="AF_UNIX", authkey=key)  # in a private folder of the system's temporary one
    return Listener(socket, family="AF_UNIX", authkey=key)


def main() -> None:
    """Listen, tell the client where, and serve it."""
    # In every state of the filters, whichever thread puts one back: these warnings quote elements of files, such as names.
    warnings.filterwarnings("ignore", module=r"(pydicom|highdicom|XVRegistrationLib\.imaging\.dicom)\b")
    folder = Path(sys.argv[1])
    key = bytes.fromhex(sys.stdin.buffer.readline().decode())
    threading.Thread(target=_watch_input, args=(folder,), daemon=True).start()
    with _listener(folder, key) as listener:
        write_json(folder / ADDRESS_FILE, {"address": listener.address})
        while True:
            try:
                connection = listener.accept()
                break
            except AuthenticationError:
                continue
    Server(connection).run()


if __name__ == "__main__":
    main()
