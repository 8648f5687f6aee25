"""Batches made ahead by a thread, so that rendering and learning go on at the same time."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from XVRegistrationLib.training.xray_sources import Batch, batches_of

if TYPE_CHECKING:
    from types import TracebackType

    from XVRegistrationLib.training.xray_sources import XraySource

TOGETHER = 4
"""Batches that are made at once."""
_AHEAD = 4  # batches
_LOOK = 0.1  # seconds between looks whether there is still anybody to make batches for


class Prefetched:
    """The batches of a source, in its order; `difficulty` is what the next batches made are to have.

    A context manager: leaving it ends the thread, also where the source is in the middle of a batch.
    """

    def __init__(self, source: XraySource, count: int) -> None:
        """Batches of `count` X-rays."""
        self._source, self._count = source, count
        self.difficulty = 0.0
        self._ready: queue.Queue[Batch | BaseException] = queue.Queue(_AHEAD)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="training X-rays", daemon=True)

    def __enter__(self) -> Prefetched:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def next(self) -> Batch:
        """The next batch; what its making raised is raised here."""
        found = self._ready.get()
        if isinstance(found, BaseException):
            raise found
        return found

    def _work(self) -> None:
        while not self._ended.is_set():
            try:
                made = self._made()
            except BaseException as e:  # raised again where the batch is waited for
                self._hand_over(e)
                return
            for batch in made:
                self._hand_over(batch)

    def _made(self) -> list[Batch]:
        """The next batches; none where nobody is there any more."""
        rendered = []
        for _ in range(TOGETHER):
            if self._ended.is_set():
                return []
            rendered.append(self._source.rendered(self._count))
        return batches_of(self._source, rendered, self.difficulty)

    def _hand_over(self, made: Batch | BaseException) -> None:
        while not self._ended.is_set():
            try:
                self._ready.put(made, timeout=_LOOK)
                return
            except queue.Full:
                continue
