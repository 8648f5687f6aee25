"""What is registered together at one moment: which frames of runs, their pixels, and where their own registrations put them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from XVRegistrationLib.panel.i18n import tr as _
from XVRegistrationLib.scene.attributes import read_intrinsics, read_scale
from XVRegistrationLib.scene.ignored import pixels_of
from XVRegistrationLib.scene.results import registration_that_holds
from XVRegistrationLib.scene.runs import run_of
from XVRegistrationLib.scene.xrays import name_of

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from XVRegistrationLib.panel.registration_task import Task


@dataclass(eq=False)
class Together:
    """A joint registration under way."""

    nodes: list[Any]
    names: str
    volume: Any
    """The volume that was chosen when this was asked for, to which alone they are registered."""
    way: str
    """How the relation of the cameras is known."""
    relative: list[NDArray[np.float64]]
    """That relation when this began, (4, 4)."""
    items: deque[int | None]
    """The frames of runs that are still to come; None is what is shown."""
    count: int
    parts: list[Task] = field(default_factory=list)
    """What is being registered now, one for each X-ray; empty between two moments."""
    before: Any = None
    """(4, 4) where the first camera was found at the last moment, mm: a start."""
    request: int = 0
    share: float = 0.0

    @property
    def fraction(self) -> float:
        """Share that is done, 0 to 1."""
        return (self.count - len(self.items) - bool(self.parts) + self.share) / self.count


def moments_of(nodes: Sequence[Any]) -> list[int | None]:
    """The frames, from 0, that X-rays are registered together at: all where all of them are runs, else what is shown (None)."""
    runs = [run_of(node) for node in nodes]
    counts = [run.count for run in runs if run is not None]
    return list(range(min(counts))) if counts and len(counts) == len(runs) else [None]


def counted_differently(nodes: Sequence[Any]) -> str:
    """Why some runs cannot be registered together, frame by frame; empty where they can, or not all of them are runs."""
    counts = {name_of(node): run.count for node in nodes if (run := run_of(node)) is not None}
    if len(counts) < len(nodes) or len(set(counts.values())) < 2:
        return ""
    said = ", ".join(_("{name} has {count}").format(name=name, count=count) for name, count in counts.items())
    return _("Runs are registered together frame by frame and need as many frames each: {said}.").format(said=said)


def pixels_of_all(nodes: Sequence[Any]) -> dict[str, NDArray[Any]]:
    """The arrays of a request: "pixels 0" (H, W) and so on, with "mask 0" where not all of them count."""
    return {f"{name} {i}": array for i, node in enumerate(nodes) for name, array in pixels_of(node).items()}


def view_of(node: Any) -> dict[str, Any]:
    """What a request says of an X-ray besides its pixels."""
    return {"name": name_of(node), "intrinsics": read_intrinsics(node).to_dict(), "scale": read_scale(node)}


def registered_starts(nodes: Sequence[Any], relative: Sequence[NDArray[np.float64]]) -> dict[str, list[list[float]]]:
    """Where the first camera was by each X-ray's own registration, as starts by name."""
    starts = {}
    for i, (node, relation) in enumerate(zip(nodes, relative, strict=True)):
        found = registration_that_holds(node)
        if found is not None:
            pose: NDArray[np.float64] = found.pose @ np.linalg.inv(relation)
            starts[f"registered {i + 1}"] = pose.tolist()
    return starts
