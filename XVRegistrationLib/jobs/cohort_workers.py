"""Who does the work of a cohort: this process, worker processes of Dask on this computer, or those of a Dask scheduler."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import socket
import uuid
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.jobs.cohort_case import in_words
from XVRegistrationLib.jobs.interpreter import interpreter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from distributed import Client, Future

_WORKER_MEMORY = 2_000_000_000  # bytes that a worker needs: torch, a CT and its pyramid
_SETTINGS = {
    "distributed.scheduler.allowed-failures": 3,  # so many workers may be lost over one thing
    "distributed.worker.profile.enabled": False,  # its look at the worker's stack a hundred times a second costs time
    # Without Dask's own, which make malloc give back all that is freed: a small case took 0.5 s of a processor instead of 0.35.
    "distributed.nanny.pre-spawn-environ": {},
    "distributed.worker.multiprocessing-method": "spawn",
    "distributed.admin.tick.limit": "1h",
}
_CONNECT = 10.0  # seconds in which a scheduler must answer
_FIRST_WORKER = 30.0  # seconds in which a scheduler must have a worker
_NO_SCHEDULER = (
    "No Dask scheduler answers at {address}; start one with `dask scheduler`, or do without: workers on this computer "
    "are the default."
)
_LOOK = 5.0  # seconds between looks whether the scheduler is still there
_WITHOUT_WORKERS = 120.0  # seconds without any worker, and one that is restarted takes a few


@dataclass(frozen=True)
class Trouble:
    """Why something was not done."""

    reason: str
    """One sentence."""


class Workers(Protocol):
    """Does things, some at a time."""

    @property
    def size(self) -> int:
        """How many can be under way."""

    def submit(self, what: Any, function: Callable[..., Any], *arguments: Any) -> None:
        """Begin something that is known as `what`."""

    def next(self) -> tuple[Any, Any]:
        """What is done next, and its result or Trouble; waits for it."""


def attempt(function: Callable[..., Any], arguments: tuple[Any, ...], threads: int | None = None) -> Any:
    """The result of a function, or Trouble; nothing but Ctrl-C gets through. `threads` of this process work on it."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    try:
        return function(*arguments)
    except InputError as e:
        return Trouble(in_words(e))
    except MemoryError:
        return Trouble("The memory was too small for it.")
    except OSError as e:
        return Trouble(f"A file could not be read or written: {e.strerror or type(e).__name__}.")
    except Exception as e:  # one case must not take the others with it
        trace = e.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        where = "" if trace is None else f" in {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"  # noqa: PTH119
        return Trouble(f"The program failed on it ({type(e).__name__}{where}); please report this.")


@contextmanager
def workers_of(count: int, scheduler: str = "") -> Iterator[Workers]:
    """Workers until the block ends: those of a scheduler's address, `count` processes here, or with 0 this process.

    Raises InputError where the scheduler does not answer, has no workers, or they lack this library, and where Dask is
    wanted but not installed.
    """
    if not scheduler and count == 0:
        yield _Here()
        return
    if not has_dask():
        raise InputError("Several workers need Dask: install dask[distributed], or use 0 workers, this process alone.")
    _silence()
    with _client_of(scheduler) if scheduler else _client_here(count) as client:
        import torch

        yield _Dask(client, None if scheduler else max(1, torch.get_num_threads() // count))


def _silence() -> None:
    """What is lost the rows say, in a sentence; Dask's logs have tracebacks."""
    import distributed  # which sets levels of its own  # noqa: F401

    for name in list(logging.root.manager.loggerDict):
        if name.split(".")[0] == "distributed":
            logging.getLogger(name).setLevel(logging.CRITICAL)


def has_dask() -> bool:
    """Whether Dask is installed, which Slicer's Python usually lacks."""
    return find_spec("distributed") is not None


def usual_workers() -> int:
    """How many processes this computer bears; 0 without Dask."""
    if not has_dask():
        return 0
    import psutil

    room = int(psutil.virtual_memory().available // _WORKER_MEMORY)
    return max(1, min(os.cpu_count() or 1, room))


class _Here:
    """This process, one thing after the other."""

    size = 1

    def __init__(self) -> None:
        self._waiting: list[tuple[Any, Callable[..., Any], tuple[Any, ...]]] = []

    def submit(self, what: Any, function: Callable[..., Any], *arguments: Any) -> None:
        self._waiting.append((what, function, arguments))

    def next(self) -> tuple[Any, Any]:
        what, function, arguments = self._waiting.pop(0)
        return what, attempt(function, arguments)


class _Dask:
    """The workers of a Dask client. Each has at most one thing to do, so that a lost one takes only that with it."""

    def __init__(self, client: Client, threads: int | None) -> None:
        self._client = client
        self._threads = threads
        self._running: dict[Future, Any] = {}

    @property
    def size(self) -> int:
        return max(1, sum(self._client.ncores().values()))

    def submit(self, what: Any, function: Callable[..., Any], *arguments: Any) -> None:
        key = f"xvregistration-{uuid.uuid4().hex}"  # tells nothing of the case where a cluster's log names it
        future = self._client.submit(attempt, function, arguments, self._threads, key=key, pure=False)
        self._running[future] = what

    def next(self) -> tuple[Any, Any]:
        from distributed import KilledWorker

        try:
            future = self._finished()
            what = self._running.pop(future)
            error = future.exception()
            if error is None:
                return what, future.result()
        except CancelledError as e:
            raise InputError("The Dask scheduler has ended or forgot its work; run the same again to go on.") from e
        if isinstance(error, KilledWorker):
            return what, Trouble(
                "Its worker process ended again and again while working on it: is the memory too small?"
            )
        return what, Trouble(f"Its worker could not do it ({type(error).__name__}).")

    def _finished(self) -> Future:
        """One of those that are done; waits for it. Raises InputError where nobody is left to do it."""
        from distributed import wait

        alone = 0.0
        while True:
            done = next((future for future in self._running if future.done()), None)
            if done is not None:
                return done
            with contextlib.suppress(TimeoutError):
                wait(list(self._running), timeout=_LOOK, return_when="FIRST_COMPLETED")
                continue
            if self._client.status != "running":
                raise InputError("The Dask scheduler is no longer there; run the same again to go on.")
            alone = 0.0 if self._client.ncores() else alone + _LOOK
            if alone > _WITHOUT_WORKERS:
                raise InputError("The Dask scheduler has no workers any more; run the same again to go on.")


@contextmanager
def _client_here(count: int) -> Iterator[Client]:
    """A cluster of processes on this computer, that only this one can talk to, for a while."""
    import dask
    from distributed import Client, LocalCluster

    multiprocessing.set_executable(interpreter()[0])  # within Slicer, Python is not what runs this
    quiet: dict[str, Any] = {
        # Dask's shares of the memory would stop a worker that keeps a large CT; the system ends one that is too large.
        "memory_limit": 0,
        "dashboard_address": None,
        "silence_logs": logging.CRITICAL,
    }
    with (
        dask.config.set(_SETTINGS),
        LocalCluster(n_workers=count, threads_per_worker=1, processes=True, security=True, **quiet) as cluster,
        Client(cluster) as client,
    ):
        yield client


def check_scheduler(address: str) -> None:
    """Raise InputError where nothing answers at the address of a Dask scheduler."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT).close()
    except (OSError, ValueError) as e:
        raise InputError(_NO_SCHEDULER.format(address=address)) from e


@contextmanager
def _client_of(address: str) -> Iterator[Client]:
    """A client of a scheduler that is there already."""
    from distributed import Client

    check_scheduler(address)  # Dask would try again until its time is up
    try:
        client = Client(address, timeout=_CONNECT)
    except (OSError, ValueError, TypeError, KeyError) as e:
        raise InputError(_NO_SCHEDULER.format(address=address)) from e
    with client:
        try:
            client.wait_for_workers(1, timeout=_FIRST_WORKER)
        except TimeoutError as e:
            raise InputError(
                f"The Dask scheduler at {address} has no workers; start some with `dask worker {address}`."
            ) from e
        try:
            client.submit(attempt, str, ("",), pure=False).result(timeout=_FIRST_WORKER)
        except Exception as e:
            raise InputError(
                f"The workers of the Dask scheduler at {address} cannot run XVRegistration ({type(e).__name__}); install "
                "the same version there."
            ) from e
        yield client
