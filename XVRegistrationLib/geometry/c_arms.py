"""C-arms to choose by name where a file does not state its geometry."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass

from XVRegistrationLib.errors import InputError
from XVRegistrationLib.resources import resource

_SAME_SHAPE = 0.01


@dataclass(frozen=True)
class CArm:
    """What is published of a C-arm; None where it is not."""

    name: str
    title: str
    """For people."""
    kind: str
    """"mobile" or "fixed"."""
    sid: float | None
    """Distance from the source to the detector, mm, of one whose detector does not move."""
    longest_sid: float | None
    """The largest that the system can have, mm."""
    sod: float | None
    """Distance from the source to the isocentre, mm."""
    pixels: tuple[int, int] | None
    """Of an image of the whole detector: columns, rows."""
    pitch: tuple[float, float] | None
    """Distance of those pixels along columns and rows, mm."""
    sources: tuple[str, ...]
    """Where the numbers were published."""

    def spacing(self, size: tuple[int, int]) -> tuple[float, float] | None:
        """Pixel spacing, mm, of an image (width, height) of the whole detector; None for one of another shape, or if unknown."""
        if self.pixels is None or self.pitch is None:
            return None
        dx, dy = (p * n / s for p, n, s in zip(self.pitch, self.pixels, size, strict=True))
        return (dx, dy) if abs(dx * self.pitch[1] / (dy * self.pitch[0]) - 1) < _SAME_SHAPE else None


@functools.cache
def c_arms() -> dict[str, CArm]:
    """All by name, in the order in which they are offered."""
    rows = json.loads(resource("c_arms.json").read_text(encoding="utf-8"))["c_arms"]
    return {row["name"]: _c_arm(row) for row in rows}


def c_arm(name: str) -> CArm:
    """The C-arm of that name; InputError that lists the names if there is none."""
    found = c_arms().get(name)
    if found is None:
        raise InputError(f"No C-arm is called {name!r}: choose one of {', '.join(c_arms())}.")
    return found


def _c_arm(row: dict[str, object]) -> CArm:
    lists = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    return CArm(**lists)  # type: ignore[arg-type]
