"""How a verdict looks wherever it is drawn: one colour and one shape for the table, the curves of a run, evaluations and cohorts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Shape = Literal["circle", "diamond", "cross", "triangle", "square"]
_MARKERS: Mapping[Shape, str] = {"circle": "o", "diamond": "D", "cross": "X", "triangle": "^", "square": "s"}


@dataclass(frozen=True)
class Look:
    """A mark that is told apart by its shape and, for colour-blind eyes too, by its colour."""

    color: str
    """#rrggbb."""
    shape: Shape

    @property
    def rgb(self) -> tuple[float, float, float]:
        """The colour, from 0 to 1."""
        red, green, blue = (int(self.color[i : i + 2], 16) / 255 for i in (1, 3, 5))
        return red, green, blue

    @property
    def marker(self) -> str:
        """The shape, as matplotlib calls it."""
        return _MARKERS[self.shape]


# Blue and orange of Okabe and Ito's colours. Their vermilion is too near to the orange without the red or green cones.
VERDICT_LOOKS: Mapping[str, Look] = {
    "converged": Look("#0072B2", "circle"),
    "check": Look("#E69F00", "diamond"),
    "failed": Look("#C1272D", "cross"),
}
UNKNOWN_LOOK = Look("#8A8A8A", "square")
"""Of what has no verdict."""
