"""What the parts of a session share: scene, parameters, the engine and what was asked of it, and the words for the user."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.jobs.engine import Engine
from XVRegistrationLib.jobs.home import data_folder
from XVRegistrationLib.panel.signal import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from XVRegistrationLib.jobs.engine import Message

_LOG_LINES = 500
NOT_ASKED = -1
"""Instead of a request's number where there is no engine that could be asked."""


@dataclass(frozen=True, eq=False)
class _Pending:
    operation: str
    on_result: Callable[[Message], object]
    on_error: Callable[[str], object]
    on_progress: Callable[[dict[str, Any]], object]
    lasting: bool


class Context:
    """The scene, the parameters and the engine of a session."""

    def __init__(self, scene: Any, parameters: Any, root: Path | None) -> None:
        self.scene = scene
        self.parameters = parameters
        self.root = root if root is not None else data_folder()
        """Folder of models and jobs."""
        self.changed: Signal[str] = Signal()
        self.status = ""
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        self.generation = 0
        """Number of engines that have died: what one knew, the next does not."""
        self._engine: Engine | None = None
        self._pending: dict[int, _Pending] = {}
        self._last_words: list[Message] = []

    @property
    def engine_log(self) -> Path:
        """What the engines of this session print; there once one has been started, if the folder can be written to."""
        return self.root / "engine.log"

    def say(self, text: str) -> None:
        """Make a sentence the status, and write it to the log."""
        self.status = text
        self.log.append(f"{time.strftime('%H:%M:%S')} {text}")
        self.changed.emit("status")

    @property
    def busy(self) -> bool:
        """Whether the engine has been asked for something that it has not answered."""
        return bool(self._pending)

    def ask(
        self,
        operation: str,
        on_result: Callable[[Message], object],
        *,
        on_error: Callable[[str], object] | None = None,
        on_progress: Callable[[dict[str, Any]], object] | None = None,
        arrays: Mapping[str, NDArray[Any]] | None = None,
        lasting: bool = False,
        **fields: Any,
    ) -> int:
        """Send a request to the engine, which is started if need be; return its number.

        Later, during `poll`, `on_result` or `on_error` is called once. The latter gets the sentence, which otherwise
        becomes the status; it is empty where a newer request made this one pointless. With `lasting` one of them is called
        also where the scene was closed meanwhile.
        """
        failed = on_error or self._say_error
        if self._engine is None:
            self._engine = Engine(log=self.engine_log)
        self._note_death()
        self._engine.start()
        try:
            number = self._engine.request(operation, arrays, **fields)
        except InputError as e:  # it could not be started, so that none has died
            self._engine.close()
            failed(str(e))
            return NOT_ASKED
        self._pending[number] = _Pending(operation, on_result, failed, on_progress or (lambda fields: None), lasting)
        return number

    def cancel(self, request: int) -> None:
        """Ask the engine to give up a request; it answers with an error."""
        if self._engine is not None and request in self._pending:
            self._engine.cancel(request)

    def drop_requests(self) -> None:
        """Cancel all requests; nobody is told of their answers, but of those that last."""
        for request in self._pending:
            self.cancel(request)
        self._pending = {number: pending for number, pending in self._pending.items() if pending.lasting}

    def poll(self) -> None:
        """Hand the engine's messages to those who asked."""
        if self._engine is None:
            return
        failed: Exception | None = None
        messages, self._last_words = [*self._last_words, *self._engine.poll()], []
        for message in messages:
            try:
                self._deliver(message)
            except InputError as e:
                self.say(str(e))
            except Exception as e:  # a defect; the other messages must not be lost by it
                failed = failed or e
        self._note_death()
        if failed is not None:
            raise failed

    def close(self) -> None:
        """End the engine."""
        self._pending.clear()
        self._last_words.clear()
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _note_death(self) -> None:
        if self._engine is not None and self._engine.state == "failed":
            # Closing forgets them. They wait for the next `poll`: whoever asks now must not be called back meanwhile.
            self._last_words += self._engine.poll()
            self._engine.close()
            self.generation += 1

    def _say_error(self, text: str) -> None:
        if text:
            self.say(text)

    def _deliver(self, message: Message) -> None:
        pending = self._pending.get(message.request)
        if pending is None:
            return
        if message.kind == "progress":
            pending.on_progress(message.fields)
            return
        del self._pending[message.request]
        if message.kind == "result":
            pending.on_result(message)
        else:
            pending.on_error(str(message.fields.get("message", "")))


def alive(scene: Any, node: Any) -> bool:
    """Whether a node is (still) in the scene."""
    return node is not None and node.GetScene() is scene


def grey(image: NDArray[Any], low: float = 1.0, high: float = 99.5) -> NDArray[np.uint8]:
    """An image (h, w) as uint8 between two percentiles of its values."""
    finite = np.nan_to_num(np.asarray(image, dtype=np.float32))
    first, last = np.percentile(finite, [low, high])
    scaled = np.clip((finite - first) / max(float(last - first), 1e-6), 0.0, 1.0)
    return (255 * scaled).astype(np.uint8)
