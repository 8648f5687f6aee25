"""Telling others that something changed, without Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Signal(Generic[T]):
    """A list of functions that are called with a value, in the order in which they were connected."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[T], object]] = []

    def connect(self, listener: Callable[[T], object]) -> None:
        """Call `listener` at every `emit`; connecting it again changes nothing."""
        if listener not in self._listeners:
            self._listeners.append(listener)

    def disconnect(self, listener: Callable[[T], object]) -> None:
        """Call `listener` no more; one that was not connected is no error."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def emit(self, value: T) -> None:
        """Call every listener; the first exception of one is raised after all were called."""
        failed: Exception | None = None
        for listener in list(self._listeners):
            try:
                listener(value)
            except Exception as e:
                failed = failed or e
        if failed is not None:
            raise failed
