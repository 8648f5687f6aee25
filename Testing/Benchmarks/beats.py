"""How long the host's main thread leaves its events waiting: gaps between the beats of a timer.

The host draws by the processor, in software and on the main thread; Slicer draws by the graphics card. So each gap is also
said without the time in which views were drawn, which is what the panel itself blocks.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

_BEAT_MS = 10


class Beats:
    """A timer on the main thread that notes when it comes, and how long was drawn until then."""

    def __init__(self) -> None:
        import qt

        self._moments: list[tuple[float, float]] = []
        self._gaps: list[tuple[float, float]] = []
        self._timer: Any = qt.QTimer()
        self._timer.setInterval(_BEAT_MS)
        self._timer.timeout.connect(lambda: self._moments.append(moment()))

    def start(self) -> None:
        """A stretch begins now."""
        self._moments = [moment()]
        self._timer.start()

    def stop(self) -> None:
        """The stretch has ended; its gaps are added to those of the stretches before."""
        self._timer.stop()
        self._moments.append(moment())
        self._gaps += [(b[0] - a[0], b[1] - a[1]) for a, b in zip(self._moments, self._moments[1:], strict=False)]

    @property
    def seconds(self) -> float:
        """The length of all stretches."""
        return sum(gap for gap, _drawn in self._gaps)

    def row(self) -> dict[str, float]:
        """ms: the 99th percentile and the longest of the gaps, without what was drawn in them, and with it."""
        gaps = 1e3 * np.array(self._gaps)
        own = gaps[:, 0] - gaps[:, 1]
        return {
            "99 %": float(np.percentile(own, 99)),
            "longest": float(own.max()),
            "99 %, drawn": float(np.percentile(gaps[:, 0], 99)),
            "longest, drawn": float(gaps[:, 0].max()),
        }


def moment() -> tuple[float, float]:
    """Now, and for how long views have been drawn, s."""
    from Testing.Host.canvas import Canvas

    return time.perf_counter(), Canvas._host_seconds_drawn
